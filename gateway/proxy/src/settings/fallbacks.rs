//! The SDK's own environment variables, for what `gateway.yaml` doesn't say: whoever ran an agent without a gateway has
//! set them already. They mean what they mean there (PROTOCOL.md, 8).

use std::net::SocketAddr;

use swaigate_core::{
    origin::Authority,
    policy::{Identity, PublicUrl, Secrets},
    secret::Secret,
};

use super::{Listener, Tls};

const ENABLED: &str = "SWML_SSL_ENABLED";
const CERTIFICATE: &str = "SWML_SSL_CERT_PATH";
const PRIVATE_KEY: &str = "SWML_SSL_KEY_PATH";
const DOMAIN: &str = "SWML_DOMAIN";
const PUBLIC_URL: &str = "SWML_PROXY_URL_BASE";

/// The TLS of a listener of which the file says neither that it has any nor that it has none.
///
/// # Errors
/// What is wrong with the variables, or with the files that they name.
pub(super) fn tls(secrets: &dyn Secrets, is_required: bool) -> Result<Option<Tls>, String> {
    let Some(value) = secrets.fallback(ENABLED, is_required) else { return Ok(None) };
    match value.expose_str().map(str::to_lowercase).as_deref() {
        Some("true" | "1" | "yes") => {}
        Some("false" | "0" | "no") => return Ok(None),
        _ => return Err(format!("{ENABLED} must be `true` or `false`")),
    }
    let [certificate, private_key] = [CERTIFICATE, PRIVATE_KEY].map(|name| path(name, secrets));
    let (certificate, private_key) = (certificate?, private_key?);
    let unusable = |name: &str, path: &str, error| format!("{name}: the file `{path}` can't be used: {error}");
    let chain = secrets.certificates(&certificate).map_err(|error| unusable(CERTIFICATE, &certificate, error))?;
    let key = secrets.private_key(&private_key, &chain).map_err(|error| unusable(PRIVATE_KEY, &private_key, error))?;
    Ok(Some(Tls::of(vec![Identity { chain, private_key: key }])))
}

fn path(name: &str, secrets: &dyn Secrets) -> Result<String, String> {
    let value = secrets.fallback(name, true);
    let text = value.as_ref().and_then(Secret::expose_str);
    text.map(str::to_owned).ok_or_else(|| format!("{ENABLED} is set, and {name} isn't: it names the file"))
}

/// Where the platform reaches the gateway, if the environment says so.
///
/// # Errors
/// What is wrong with the variable.
pub(super) fn public_url(
    listen: &[Listener],
    secrets: &dyn Secrets,
    is_required: bool,
) -> Result<Option<PublicUrl>, String> {
    let text =
        |name: &str| secrets.fallback(name, is_required).map(|value| value.expose_str().unwrap_or_default().to_owned());
    if let Some(url) = text(PUBLIC_URL) {
        return url.parse().map(Some).map_err(|error| format!("{PUBLIC_URL}: {error}"));
    }
    let mut with_tls = listen.iter().filter(|listener| listener.tls.is_some());
    let Some(address) = with_tls.find_map(|listener| listener.place.address()) else { return Ok(None) };
    let Some(domain) = text(DOMAIN) else { return Ok(None) };
    let url = format!("https://{domain}:{}", address.port());
    url.parse().map(Some).map_err(|error| format!("{DOMAIN}: {error}"))
}

/// The origin of a listener, for whoever is on the same machine.
pub(super) fn origin_of(address: SocketAddr, https: bool) -> PublicUrl {
    let host = match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    let default = if https { 443 } else { 80 };
    let port = (address.port() != default).then_some(address.port());
    PublicUrl { https, authority: Authority { host, port } }
}

/// What the variables might say where nobody looks: so that a file that goes by them is in order.
pub fn stand_in(name: &str) -> Option<Secret> {
    match name {
        ENABLED => Some("true"),
        CERTIFICATE | PRIVATE_KEY => Some("stand-in.pem"),
        PUBLIC_URL => Some("https://gateway.invalid"),
        _ => None,
    }
    .map(Secret::new)
}
