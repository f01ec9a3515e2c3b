//! How an agent is asked by TLS.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::secret::Secret;

/// A certificate (X.509), as DER.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Certificate(pub Vec<u8>);

/// Who one side of a connection is: its certificate and those that vouch for it, and the private key of the first.
#[derive(Debug, Clone)]
pub struct Identity {
    /// At least one; its own is the first.
    pub chain: Vec<Certificate>,
    /// As DER: PKCS #8, PKCS #1 or SEC 1.
    pub private_key: Secret,
}

/// How an agent is asked by TLS.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// Who vouches for the agent's certificate. None: whoever the machine trusts.
    pub ca: Vec<Certificate>,
    /// Who the gateway is to the agent.
    pub identity: Option<Identity>,
    /// The name that is asked for, and that the agent's certificate must have, in place of the host.
    pub server_name: Option<String>,
    /// Any certificate will do, so whoever is in between can be the agent.
    pub insecure_skip_verify: bool,
    digest: u64,
}

// === impl UpstreamTls ===

impl UpstreamTls {
    /// All of it.
    pub fn new(
        ca: Vec<Certificate>,
        identity: Option<Identity>,
        server_name: Option<String>,
        insecure_skip_verify: bool,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        (&ca, &server_name, insecure_skip_verify).hash(&mut hasher);
        identity.as_ref().map(|identity| &identity.chain).hash(&mut hasher);
        Self { ca, identity, server_name, insecure_skip_verify, digest: hasher.finish() }
    }

    /// Differs where anything else does: a connection that was made by one may not be used by another.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_makes_another_connection() {
        let certificate = |text: &str| Certificate(text.into());
        let identity = Identity { chain: vec![certificate("own")], private_key: Secret::new("key") };
        let plain = || UpstreamTls::new(Vec::new(), None, None, false);
        let all = [
            plain(),
            UpstreamTls::new(vec![certificate("a")], None, None, false),
            UpstreamTls::new(vec![certificate("b")], None, None, false),
            UpstreamTls::new(Vec::new(), Some(identity), None, false),
            UpstreamTls::new(Vec::new(), None, Some("a".to_owned()), false),
            UpstreamTls::new(Vec::new(), None, None, true),
        ];
        let mut digests: Vec<u64> = all.iter().map(UpstreamTls::digest).collect();
        assert_eq!(digests[0], plain().digest());
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), all.len());
    }
}
