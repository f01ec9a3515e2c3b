//! What a policy says of TLS to its agent, in Pingora's words.

use std::sync::Arc;

use pingora_core::{
    upstreams::peer::HttpPeer,
    utils::tls::{CertKey, WrappedX509, parse_x509},
};
use swaigate_core::policy::{Certificate, UpstreamTls};

/// The peer with all that a new connection to it needs. Pingora knows kept connections apart by little of it (0.9.1: not by
/// who vouches, and of client certificates by their serial numbers), so [`UpstreamTls::digest`] is part of the group.
pub(super) fn dressed(peer: &HttpPeer, tls: &UpstreamTls) -> HttpPeer {
    let mut peer = peer.clone();
    if let Some(name) = &tls.server_name {
        peer.sni.clone_from(name);
    }
    if !tls.ca.is_empty() {
        // Pingora panics where a certificate can't be parsed; those of files were, when they were read.
        let ca = tls.ca.iter().map(|Certificate(der)| WrappedX509::new(der.clone(), parse_x509));
        peer.options.ca = Some(ca.collect());
    }
    if let Some(identity) = &tls.identity {
        let chain = identity.chain.iter().map(|Certificate(der)| der.clone()).collect();
        peer.client_cert_key = Some(Arc::new(CertKey::new(chain, identity.private_key.expose().to_vec())));
    }
    peer.options.verify_cert = !tls.insecure_skip_verify;
    peer.options.verify_hostname = !tls.insecure_skip_verify;
    peer
}
