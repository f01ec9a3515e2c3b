//! Certificates and private keys, in PEM files. What comes out of here can be used: a server that is made of it starts.

use std::path::PathBuf;

use rustls::{
    Error, InconsistentKeys,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use swaigate_core::{policy::Certificate, secret::Secret};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::clock;

/// The longest file that is read, in bytes: the roots of a whole system have a quarter of that.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// A certificate ends soon if it ends within so many seconds.
const SOON: i64 = 7 * 86_400;

/// A file with certificates that are in use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateFile {
    /// The file.
    pub path: PathBuf,
    /// When the first of its certificates ends, in Unix seconds.
    pub ends: i64,
}

/// The certificates of a PEM file; at least one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Certificate>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let certificates = parsed.map_err(|error| format!("it is no PEM file: {}", told(&error)))?;
    if certificates.is_empty() {
        return Err("it holds no certificate; one in PEM form begins with `-----BEGIN CERTIFICATE-----`".to_owned());
    }
    for (number, certificate) in certificates.iter().enumerate() {
        parse(certificate).ok_or_else(|| format!("certificate {} in it is damaged", number + 1))?;
    }
    Ok(certificates.iter().map(|certificate| Certificate(certificate.to_vec())).collect())
}

/// The private key of a PEM file, as DER, which is that of the first of these certificates.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_private_key(file: &Secret, of: &[Certificate]) -> Result<Secret, String> {
    let bytes = file.expose();
    let key = PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(bytes) => {
            "its key is encrypted, and no passphrase is asked for; decrypt it with `openssl pkey`".to_owned()
        }
        pem::Error::NoItemsFound => {
            "it holds no private key; one in PEM form begins with `-----BEGIN PRIVATE KEY-----`".to_owned()
        }
        other => format!("it is no PEM file: {}", told(&other)),
    })?;
    let secret = Secret::new(key.secret_der());
    let chain = of.iter().map(|certificate| CertificateDer::from(certificate.0.clone())).collect();
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(_) => Ok(secret),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("its key is not that of the certificate".to_owned())
        }
        Err(error) => Err(format!("its key and the certificate can't be used: {error}")),
    }
}

/// When a certificate ends, in Unix seconds; and what should be looked at, if it isn't good now or not for long.
pub(super) fn times(certificate: &Certificate) -> Option<(i64, Option<String>)> {
    let der = CertificateDer::from(certificate.0.as_slice());
    let validity = &parse(&der)?.validity;
    let (begins, ends) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = i64::try_from(clock::now().0 / 1000).unwrap_or(i64::MAX);
    let note = if now < begins {
        Some(format!("is not good before {}", validity.not_before))
    } else if now >= ends {
        Some(format!("was good until {} only", validity.not_after))
    } else if ends - now < SOON {
        Some(format!("is good until {} only", validity.not_after))
    } else {
        None
    };
    Some((ends, note))
}

/// The names of a certificate for which a server may show it, in lower case; of a wildcard, with its `*.`.
pub fn names(certificate: &Certificate) -> Vec<String> {
    let der = CertificateDer::from(certificate.0.as_slice());
    let Some(parsed) = parse(&der) else { return Vec::new() };
    let Ok(Some(alternative)) = parsed.subject_alternative_name() else { return Vec::new() };
    let names = alternative.value.general_names.iter();
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

fn parse<'d>(der: &'d CertificateDer<'_>) -> Option<X509Certificate<'d>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

fn is_encrypted(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// The crate's own words hold bytes of the file, which may be a key.
fn told(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section in it has no end",
        pem::Error::IllegalSectionStart { .. } => "a section in it begins wrongly",
        pem::Error::Base64Decode(_) => "what is in it is no base64",
        _ => "it can't be read",
    }
}
