//! The platform's signatures of its requests (PROTOCOL.md, 7): checked on what comes in, made for agents that check them.
//!
//! None of them holds a time or a nonce: a request that was captured can be sent again for as long as its key is listed.

mod explain;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

pub use explain::{Attempt, Explanation, Off, explain};

use crate::{
    id::hex,
    origin::Authority,
    secret::{Secret, constant_time_eq, percent_encode},
};

/// The shortest signing key, in bytes. The platform's have more than 20.
pub const MIN_KEY: usize = 16;

/// The query parameter that stands for a body which isn't a form, in scheme B.
const BODY_SHA256: &str = "bodySHA256";

/// A key that the platform and whoever checks its signatures share.
#[derive(Debug, Clone)]
pub struct SigningKey(Secret);

/// What proves that a request is the platform's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Scheme A: hex of HMAC-SHA-256 over URL and body.
    Sha256,
    /// Scheme A: hex of HMAC-SHA-1 over URL and body.
    Sha1,
    /// Scheme B: base64 of HMAC-SHA-1 over the URL and the form's sorted keys and values.
    Form,
    /// Scheme B: base64 of HMAC-SHA-1 over a URL that holds the body's SHA-256.
    BodySha256,
}

/// The signatures that a request carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried<'h> {
    /// `X-SignalWire-SHA256-Signature`.
    pub sha256: Option<&'h [u8]>,
    /// `X-SignalWire-Signature`, or `X-Twilio-Signature` in its place.
    pub sha1: Option<&'h [u8]>,
}

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Message<'m> {
    /// Whether the platform's URL is https.
    pub https: bool,
    /// Its host and port.
    pub authority: &'m Authority,
    /// Its path and query, as they came.
    pub target: &'m str,
    /// The user and password in it: text messages are signed over a URL with them, calls over one without.
    pub userinfo: Option<(&'m str, &'m [u8])>,
    /// The `Content-Type`.
    pub content_type: Option<&'m str>,
    /// The body, as it came.
    pub body: &'m [u8],
}

/// Both signatures of scheme A.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// `X-SignalWire-Signature`.
    pub sha1: String,
    /// `X-SignalWire-SHA256-Signature`.
    pub sha256: String,
}

/// Signs a request as the platform signs calls. `url` is what the receiver takes for its own, without userinfo.
pub fn sign(key: &SigningKey, url: &str, body: &[u8]) -> Made {
    let parts = [url.as_bytes(), body];
    Made { sha1: lower_hex(&key.sha1(&parts)), sha256: lower_hex(&key.sha256(&parts)) }
}

/// Checks what a request carries. If it carries both, only the stronger counts: a wrong one is not made up for by the
/// weaker.
///
/// `None` if no listed key made it over this request.
pub fn verify(keys: &[SigningKey], carried: Carried<'_>, message: &Message<'_>) -> Option<Scheme> {
    let found = |claimed: &[u8], schemes: &[Scheme]| {
        let urls = message.urls();
        let all = schemes.iter().flat_map(|scheme| keys.iter().map(move |key| (*scheme, key)));
        // All are tried, so that the time doesn't tell which of them was right.
        let right = all
            .filter(|(scheme, key)| urls.iter().filter(|url| matches(key, *scheme, claimed, url, message)).count() > 0);
        right.map(|(scheme, _)| scheme).reduce(|_, last| last)
    };
    match carried {
        Carried { sha256: Some(claimed), .. } => found(claimed, &[Scheme::Sha256]),
        Carried { sha1: Some(claimed), .. } if claimed.len() == 40 => found(claimed, &[Scheme::Sha1]),
        Carried { sha1: Some(claimed), .. } => found(claimed, &[Scheme::Form, Scheme::BodySha256]),
        Carried { sha256: None, sha1: None } => None,
    }
}

fn matches(key: &SigningKey, scheme: Scheme, claimed: &[u8], url: &str, message: &Message<'_>) -> bool {
    let body = message.body;
    match scheme {
        Scheme::Sha256 | Scheme::Sha1 => constant_time_eq(claimed, signature(key, scheme, url, body).as_bytes()),
        Scheme::Form => {
            is_form(message.content_type) && constant_time_eq(claimed, signature(key, scheme, url, body).as_bytes())
        }
        Scheme::BodySha256 => {
            let named = body_digest(message.target)
                .is_some_and(|named| constant_time_eq(named.as_bytes(), lower_hex(&Sha256::digest(body)).as_bytes()));
            named && constant_time_eq(claimed, signature(key, scheme, url, body).as_bytes())
        }
    }
}

/// The signature of a request in one of the schemes, as a header carries it.
fn signature(key: &SigningKey, scheme: Scheme, url: &str, body: &[u8]) -> String {
    let url = url.as_bytes();
    match scheme {
        Scheme::Sha256 => lower_hex(&key.sha256(&[url, body])),
        Scheme::Sha1 => lower_hex(&key.sha1(&[url, body])),
        Scheme::Form => STANDARD.encode(key.sha1(&[url, sorted_form(body).as_bytes()])),
        Scheme::BodySha256 => STANDARD.encode(key.sha1(&[url])),
    }
}

fn is_form(content_type: Option<&str>) -> bool {
    let media_type = content_type.and_then(|content_type| content_type.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A form's keys, each with its value behind it, in the order of the keys; values of one key in the order they were sent.
fn sorted_form(body: &[u8]) -> String {
    let mut pairs: Vec<_> = form_urlencoded::parse(body).collect();
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

/// What a target says of its body.
fn body_digest(target: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == BODY_SHA256).map(|(_, digest)| digest.into_owned())
}

fn lower_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    // Writing to a string can't fail.
    let _ = hex(bytes, &mut text);
    text
}

// === impl SigningKey ===

impl SigningKey {
    /// A key of at least [`MIN_KEY`] bytes; `None` for a shorter one.
    pub fn new(secret: Secret) -> Option<Self> {
        (secret.len() >= MIN_KEY).then_some(Self(secret))
    }

    /// Whether this is the same key.
    pub fn is(&self, other: &SigningKey) -> bool {
        constant_time_eq(self.0.expose(), other.0.expose())
    }

    fn sha1(&self, parts: &[&[u8]]) -> [u8; 20] {
        // HMAC takes a key of any length.
        let mac = Hmac::<Sha1>::new_from_slice(self.0.expose()).unwrap_or_else(|_| Hmac::new(&Default::default()));
        parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into()
    }

    fn sha256(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.expose()).unwrap_or_else(|_| Hmac::new(&Default::default()));
        parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into()
    }
}

// === impl Carried ===

impl Carried<'_> {
    /// Whether the request carries one.
    pub fn is_some(&self) -> bool {
        self.sha256.is_some() || self.sha1.is_some()
    }
}

// === impl Message ===

impl Message<'_> {
    /// The URLs that the platform may have signed for this: with and without the scheme's own port, with and without
    /// userinfo, in both spellings of it, and with and without the slash of an empty path. At most twelve.
    fn urls(&self) -> Vec<String> {
        let scheme = if self.https { "https" } else { "http" };
        let default = if self.https { 443 } else { 80 };
        let Authority { host, port } = self.authority;
        let authorities = match port {
            Some(port) if *port != default => vec![format!("{host}:{port}")],
            Some(_) | None => vec![host.clone(), format!("{host}:{default}")],
        };
        let mut targets = vec![self.target];
        if self.target == "/" || self.target.starts_with("/?") {
            targets.extend(self.target.strip_prefix('/'));
        }
        let mut urls = Vec::new();
        for userinfo in self.userinfos() {
            for authority in &authorities {
                urls.extend(targets.iter().map(|target| format!("{scheme}://{userinfo}{authority}{target}")));
            }
        }
        urls
    }

    fn userinfos(&self) -> Vec<String> {
        let mut all = vec![String::new()];
        if let Some((user, password)) = self.userinfo {
            let [user_encoded, encoded] = [user.as_bytes(), password].map(percent_encode);
            let [user_encoded, encoded] = [&user_encoded, &encoded].map(|part| part.expose_str().unwrap_or_default());
            all.push(format!("{user_encoded}:{encoded}@"));
            all.extend(std::str::from_utf8(password).map(|password| format!("{user}:{password}@")));
            all.dedup();
        }
        all
    }
}

// === impl Scheme ===

impl Scheme {
    /// Its name in audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Sha256 => "sha256",
            Scheme::Sha1 => "sha1",
            Scheme::Form => "form",
            Scheme::BodySha256 => "body_sha256",
        }
    }
}

#[cfg(test)]
mod tests;
