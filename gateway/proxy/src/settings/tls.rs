//! `listen[].tls`: with which certificates a listener answers, and whom it lets in.

use swaigate_core::{
    policy::{self, Certificate, Identity, Secrets},
    yaml::Fields,
};

/// How many certificates a listener may have.
const MAX_CERTIFICATES: usize = 100;

/// The TLS of a listener.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What it may show; at least one. The first is for clients that ask for no name, or for one that none has.
    pub certificates: Vec<Identity>,
    /// Who vouches for clients' certificates; none: no client is asked for one.
    pub client_ca: Vec<Certificate>,
    /// Whether a client may come without one.
    pub client_certificates: ClientCertificates,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// Whether a client needs a certificate, where there is a `client_ca`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Without one there is no connection.
    Required,
    /// One that is shown has to be right.
    Optional,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2 (RFC 5246), of which only what has forward secrecy and authenticated encryption.
    Tls12,
    /// 1.3 (RFC 8446).
    Tls13,
}

// === impl Tls ===

impl Tls {
    /// With these certificates, for everyone.
    pub(super) fn of(certificates: Vec<Identity>) -> Self {
        Self {
            certificates,
            client_ca: Vec::new(),
            client_certificates: ClientCertificates::Required,
            min_version: TlsVersion::Tls12,
        }
    }
}

/// `None` also after a mistake.
pub(super) fn tls(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<Tls> {
    let certificates = certificates(fields, secrets);
    let ca = fields.take("client_ca");
    let has_ca = ca.is_given();
    let client_ca = policy::certificates(ca, secrets);
    let field = fields.take("client_certificates");
    if field.is_given() && !has_ca {
        field.report().note(field.key_place(), "`client_certificates` is read only beside `client_ca`");
    }
    let choices = [("required", ClientCertificates::Required), ("optional", ClientCertificates::Optional)];
    let client_certificates = field.choice(&choices);
    let min_version = fields.take("min_version").choice(&[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)]);
    let default = Tls::of(certificates?);
    Some(Tls {
        client_ca: client_ca.unwrap_or_default(),
        client_certificates: client_certificates.unwrap_or(default.client_certificates),
        min_version: min_version.unwrap_or(default.min_version),
        ..default
    })
}

/// One in place, or a list.
fn certificates(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<Vec<Identity>> {
    let listed = fields.take("certificates");
    if !listed.is_given() {
        return identity(fields, secrets).map(|identity| vec![identity]);
    }
    for key in ["certificate", "private_key"] {
        fields.refuse(key, "write it in `certificates`, or write no `certificates`");
    }
    let (report, place) = (listed.report(), listed.place());
    let items = listed.list(MAX_CERTIFICATES)?;
    if items.is_empty() {
        report.note(place, "`certificates` must list one");
        return None;
    }
    let all: Vec<_> = items.into_iter().map(|item| item.mapping(|fields| identity(fields, secrets))).collect();
    all.into_iter().collect()
}

fn identity(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<Identity> {
    if fields.look("certificate").is_none() && fields.look("private_key").is_none() {
        fields.report().note(fields.place(), "`certificate` and `private_key` are missing: the files of both");
    }
    policy::identity(fields, secrets)
}

#[cfg(test)]
mod tests;
