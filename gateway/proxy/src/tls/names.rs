//! Which certificate a client is shown: one of the name that it asks for.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Certificates by their names.
#[derive(Debug)]
pub(super) struct ByName {
    all: Vec<Arc<CertifiedKey>>,
    /// Those that have a name, by their number, in their order; of a wildcard, what comes after `*`.
    numbers: HashMap<String, Vec<usize>>,
}

// === impl ByName ===

impl ByName {
    /// Each with its names, in lower case.
    pub(super) fn new(keys: Vec<(CertifiedKey, Vec<String>)>) -> Self {
        let mut numbers: HashMap<String, Vec<usize>> = HashMap::new();
        let mut all = Vec::new();
        for (number, (key, names)) in keys.into_iter().enumerate() {
            for name in names {
                let name = name.strip_prefix('*').unwrap_or(&name).to_owned();
                numbers.entry(name).or_default().push(number);
            }
            all.push(Arc::new(key));
        }
        Self { all, numbers }
    }

    /// The first with the name, else one with a wildcard for it (RFC 6125, 6.4.3: for one label), else the first of all; of
    /// several, one whose signature the client knows.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let wildcard = name.find('.').map(|dot| &name[dot..]);
        let names = [Some(name.as_str()), wildcard].into_iter().flatten();
        let numbers = names.filter_map(|name| self.numbers.get(name)).flatten();
        let named: Vec<_> = numbers.filter_map(|number| self.all.get(*number)).collect();
        let candidates = if named.is_empty() { self.all.iter().collect() } else { named };
        let fitting = candidates.iter().find(|key| key.key.choose_scheme(schemes).is_some());
        fitting.or(candidates.first()).copied()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rustls::{
        SignatureAlgorithm,
        sign::{Signer, SigningKey},
    };

    use super::*;

    const RSA: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;
    const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;

    /// A key that signs nothing, and says how it would.
    #[derive(Debug)]
    struct Fake(SignatureScheme);

    impl Signer for Fake {
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
            Ok(Vec::new())
        }

        fn scheme(&self) -> SignatureScheme {
            self.0
        }
    }

    impl SigningKey for Fake {
        fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
            offered.contains(&self.0).then(|| Box::new(Fake(self.0)) as Box<dyn Signer>)
        }

        fn algorithm(&self) -> SignatureAlgorithm {
            SignatureAlgorithm::RSA
        }
    }

    fn served(scheme: SignatureScheme, names: &[&str]) -> (CertifiedKey, Vec<String>) {
        let key = CertifiedKey::new(Vec::new(), Arc::new(Fake(scheme)));
        (key, names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_client_is_shown_what_has_the_name_it_asks_for() {
        let certificates = ByName::new(vec![
            served(RSA, &["first.example"]),
            served(RSA, &["*.example.com"]),
            served(RSA, &["a.example.com", "other.example"]),
            served(ECDSA, &["first.example", "elliptic.example"]),
        ]);
        let chosen = |name: Option<&str>, schemes: &[SignatureScheme]| {
            let chosen = certificates.choose(name, schemes).unwrap();
            certificates.all.iter().position(|key| Arc::ptr_eq(key, chosen)).unwrap()
        };
        for (name, number) in [
            ("first.example", 0),
            ("b.example.com", 1),
            ("a.example.com", 2),
            ("A.Example.COM", 2),
            ("other.example", 2),
            // A wildcard is for one label, and not for none.
            ("c.b.example.com", 0),
            ("example.com", 0),
            ("unknown", 0),
            ("", 0),
        ] {
            assert_eq!(chosen(Some(name), &[RSA]), number, "{name}");
        }
        assert_eq!(chosen(None, &[RSA]), 0);
        assert_eq!(chosen(Some("first.example"), &[ECDSA]), 3, "the other kind of key for the same name");
        assert_eq!(chosen(Some("first.example"), &[ECDSA, RSA]), 0);
        assert_eq!(chosen(Some("elliptic.example"), &[RSA]), 3, "a name is worth more than what the client knows");
    }
}
