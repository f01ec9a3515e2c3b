//! What the listeners say of themselves by TLS: made of the settings, and swapped as a whole when files change.
//!
//! A connection keeps what its handshake went by, so a swap breaks none. With the new configuration goes what was kept for
//! resumption: nobody comes in by a session that an older list of authorities let in.

mod names;

use std::sync::Arc;

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ServerSessionMemoryCache, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use swaigate_core::policy::{Certificate, Identity};

use self::names::ByName;
use crate::settings::{self, ClientCertificates, Listener, Place, Tls, TlsVersion};

/// What is offered above TLS (ALPN), the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How many sessions a listener remembers, for clients who come back.
const SESSIONS: usize = 4096;

/// What the handshakes of one listener go by; each takes what is stored when it begins.
pub type Front = Arc<ArcSwap<ServerConfig>>;

/// The TLS of all listeners that have any, by their places.
#[derive(Debug, Default)]
pub struct Fronts(Vec<(Place, Front)>);

/// Configurations that are made and not yet in force.
#[derive(Debug)]
pub struct Next(Vec<(Front, Arc<ServerConfig>)>);

// === impl Fronts ===

impl Fronts {
    /// For these listeners.
    ///
    /// # Errors
    /// If what a file holds can't be used; the settings have looked at each certificate and its key.
    pub fn new(listen: &[Listener]) -> anyhow::Result<Self> {
        let with_tls = listen.iter().filter_map(|listener| Some((listener.place.clone(), listener.tls.as_ref()?)));
        let fronts = with_tls.map(|(place, tls)| Ok((place, Arc::new(ArcSwap::from(config(tls)?)))));
        fronts.collect::<anyhow::Result<_>>().map(Self)
    }

    /// That of the listener at this place.
    pub fn of(&self, place: &Place) -> Option<Front> {
        self.0.iter().find(|(own, _)| own == place).map(|(_, front)| Arc::clone(front))
    }

    /// What these settings make of the same listeners. One that has TLS now, or hasn't any more, needs a restart.
    ///
    /// # Errors
    /// As [`Fronts::new`].
    pub fn next(&self, listen: &[Listener]) -> anyhow::Result<Next> {
        let next = listen.iter().filter_map(|listener| Some((self.of(&listener.place)?, listener.tls.as_ref()?)));
        next.map(|(front, tls)| Ok((front, config(tls)?))).collect::<anyhow::Result<_>>().map(Next)
    }
}

// === impl Next ===

impl Next {
    /// From now on handshakes go by them.
    pub fn take_over(self) {
        self.0.into_iter().for_each(|(front, config)| front.store(config));
    }
}

/// rustls knows no version before 1.2 and no cipher without forward secrecy and authentication, so there is nothing to
/// turn off. A ticket is the number of a session that is kept here, so there is no key of tickets that could be stolen.
fn config(tls: &Tls) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let keys = tls.certificates.iter().map(|identity| certified(identity, &provider)).collect::<Result<_, _>>()?;
    let versions: &[_] = match tls.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
    let builder = match verifier(tls, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(keys)));
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

fn verifier(tls: &Tls, provider: Arc<CryptoProvider>) -> anyhow::Result<Option<Arc<dyn ClientCertVerifier>>> {
    if tls.client_ca.is_empty() {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for Certificate(der) in &tls.client_ca {
        roots.add(CertificateDer::from(der.clone())).context("`client_ca` holds what is no authority")?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match tls.client_certificates {
        ClientCertificates::Required => builder,
        ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map(Some).context("`client_ca` can't be used")
}

fn certified(identity: &Identity, provider: &CryptoProvider) -> anyhow::Result<(CertifiedKey, Vec<String>)> {
    let chain = identity.chain.iter().map(|Certificate(der)| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::try_from(identity.private_key.expose().to_vec());
    let key = key.map_err(|reason| anyhow!("a private key can't be used: {reason}"))?;
    let names = identity.chain.first().map(settings::certificate_names).unwrap_or_default();
    Ok((CertifiedKey::from_der(chain, key, provider)?, names))
}
