//! `upstream.tls`: whom the gateway takes for the agent, and who it is to the agent.

use super::{
    super::tls::{Certificate, Identity, UpstreamTls},
    Secrets,
};
use crate::{
    secret::Secret,
    yaml::{Field, Fields, quoted},
};

pub(super) fn upstream(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> UpstreamTls {
    let ca = fields.take("ca");
    let ca_place = ca.is_given().then(|| ca.key_place());
    let ca = certificates(ca, secrets).unwrap_or_default();
    let identity = identity(fields, secrets);
    let server_name = fields.take("server_name").parse(name);
    let insecure_skip_verify = fields.take("insecure_skip_verify").bool().unwrap_or(false);
    if let Some(place) = ca_place.filter(|_| insecure_skip_verify) {
        let advice = "`ca` is read only where certificates are verified; remove it, or `insecure_skip_verify`";
        fields.report().note(place, advice);
    }
    UpstreamTls::new(ca, identity, server_name, insecure_skip_verify)
}

/// `certificate` and `private_key`, of which each needs the other. `None` also after a mistake.
pub fn identity(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<Identity> {
    let [certificate, private_key] = ["certificate", "private_key"].map(|key| fields.take(key));
    let lonely = match (certificate.is_given(), private_key.is_given()) {
        (true, false) => Some((&certificate, "`certificate` needs `private_key` beside it")),
        (false, true) => Some((&private_key, "`private_key` needs `certificate` beside it")),
        _ => None,
    };
    if let Some((field, message)) = lonely {
        field.report().note(field.key_place(), message);
        return None;
    }
    let chain = certificates(certificate, secrets)?;
    let private_key = self::private_key(private_key, secrets, &chain)?;
    Some(Identity { chain, private_key })
}

/// The certificates in the file that a key names; at least one.
pub fn certificates(field: Field<'_>, secrets: &dyn Secrets) -> Option<Vec<Certificate>> {
    field.resolve(|path| secrets.certificates(path).map_err(|error| unusable(path, &error)))
}

fn private_key(field: Field<'_>, secrets: &dyn Secrets, chain: &[Certificate]) -> Option<Secret> {
    field.resolve(|path| secrets.private_key(path, chain).map_err(|error| unusable(path, &error)))
}

fn unusable(path: &str, error: &str) -> String {
    format!("the file {} can't be used: {error}", quoted(path))
}

/// A name in the sense of TLS (RFC 6066, 3), or an address.
fn name(text: &str) -> Result<String, &'static str> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = text.len() <= 253 && text.split('.').all(is_label);
    if is_name || text.parse::<std::net::IpAddr>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("write a host's name, like `agent.internal`, without a port")
    }
}
