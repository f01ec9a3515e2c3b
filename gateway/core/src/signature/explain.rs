//! Which of URL, key, body or scheme is off, when a signature doesn't verify: what is likely is tried.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::{Carried, Scheme, SigningKey, body_digest, is_form, lower_hex, signature};

/// A signature that doesn't verify, and what its operator has.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The URL that the platform is told to ask; with its user and password, if it is signed with them.
    pub url: &'a str,
    /// The origin under which the gateway is published, such as `https://agents.example.com`.
    pub public: &'a str,
    /// The `Content-Type`.
    pub content_type: &'a str,
    /// The body, as it came.
    pub body: &'a [u8],
    /// What the request carries.
    pub carried: Carried<'a>,
    /// The keys, each with a name; those that count for this agent first.
    pub keys: &'a [(String, SigningKey)],
    /// How many of them count for this agent.
    pub listed: usize,
}

/// What is known of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// It verifies, with this key.
    Verifies(Scheme, String),
    /// It would, but for these.
    Off(Vec<Off>),
    /// Nothing that was tried makes it verify.
    Unknown,
    /// There is none.
    Missing,
}

/// One thing that is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Off {
    /// The URL: this one was signed.
    Url(String),
    /// The body: this is how it was when it was signed.
    Body(&'static str),
    /// The key: it is this one, which isn't listed for the agent.
    Key(String),
    /// The scheme, or how the value is written.
    Scheme(&'static str),
}

const NO_FORM: &str = "the value is that of a form in scheme B, and the Content-Type is no form's";

/// Tries what is likely. The explanation with the fewest faults wins.
pub fn explain(attempt: &Attempt<'_>) -> Explanation {
    let values = values(&attempt.carried);
    if values.is_empty() {
        return Explanation::Missing;
    }
    let (urls, bodies) = (urls(attempt), bodies(attempt.body));
    let mut best: Option<(Vec<Off>, Scheme, String)> = None;
    for (value, scheme, misread) in &values {
        for (url, wrong_url) in &urls {
            for (body, wrong_body) in &bodies {
                let named = || body_digest(url).is_some_and(|named| named == lower_hex(&Sha256::digest(body)));
                if *scheme == Scheme::BodySha256 && !named() {
                    continue;
                }
                for (place, (name, key)) in attempt.keys.iter().enumerate() {
                    if signature(key, *scheme, url, body) != *value {
                        continue;
                    }
                    let is_no_form = *scheme == Scheme::Form && !is_form(Some(attempt.content_type));
                    let misread = misread.or(is_no_form.then_some(NO_FORM));
                    let foreign_key = (place >= attempt.listed).then(|| Off::Key(name.clone()));
                    let off = [wrong_url.clone(), wrong_body.map(Off::Body), foreign_key, misread.map(Off::Scheme)];
                    let off: Vec<Off> = off.into_iter().flatten().collect();
                    if best.as_ref().is_none_or(|(known, ..)| off.len() < known.len()) {
                        best = Some((off, *scheme, name.clone()));
                    }
                }
            }
        }
    }
    match best {
        None => Explanation::Unknown,
        Some((off, scheme, key)) if off.is_empty() => Explanation::Verifies(scheme, key),
        Some((off, ..)) => Explanation::Off(off),
    }
}

type Value = (String, Scheme, Option<&'static str>);

/// The readings of what is carried: as it should be, and as it may have been written instead. Of two headers the
/// stronger counts, so the weaker is not looked at.
fn values(carried: &Carried<'_>) -> Vec<Value> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match carried {
        Carried { sha256: Some(value), .. } => {
            let value = text(value);
            vec![
                (value.clone(), Scheme::Sha256, None),
                (value.to_lowercase(), Scheme::Sha256, Some(NO_HEX)),
                (hex_of_base64(&value), Scheme::Sha256, Some(NO_HEX)),
                (value.clone(), Scheme::Sha1, Some("the value is the SHA-1 one, in the header of the SHA-256 one")),
                (value, Scheme::Form, Some("the value is scheme B's, in the header of scheme A's SHA-256")),
            ]
        }
        Carried { sha1: Some(value), .. } => {
            let value = text(value);
            vec![
                (value.clone(), Scheme::Sha1, None),
                (value.clone(), Scheme::Form, None),
                (value.clone(), Scheme::BodySha256, None),
                (value.to_lowercase(), Scheme::Sha1, Some(NO_HEX)),
                (hex_of_base64(&value), Scheme::Sha1, Some(NO_HEX)),
                (value, Scheme::Sha256, Some("the value is the SHA-256 one, in the header of the SHA-1 one")),
            ]
        }
        Carried { .. } => Vec::new(),
    }
}

const NO_HEX: &str = "the value is not in lower-case hex";

fn hex_of_base64(value: &str) -> String {
    STANDARD.decode(value).map(|bytes| lower_hex(&bytes)).unwrap_or_default()
}

/// The URL as it is, and others that differ in one thing or in two.
fn urls(attempt: &Attempt<'_>) -> Vec<(String, Option<Off>)> {
    let given = without_userinfo(attempt.url);
    // What the gateway goes by: its own origin, in whose place the URL may have another.
    let right = at_origin(&given, attempt.public);
    let mut urls = vec![right.clone(), given.clone(), attempt.url.to_owned()];
    for base in [right.clone(), given.clone()] {
        urls.extend(spellings(&base).into_iter().flat_map(|url| spellings(&url)));
    }
    let mut seen: Vec<(String, Option<Off>)> = Vec::new();
    for url in urls {
        if !seen.iter().any(|(known, _)| *known == url) {
            // Port and userinfo are no fault: both spellings are accepted.
            let plain = without_userinfo(&url);
            let is_right = plain == right || with_other_port(&right).as_ref() == Some(&plain);
            let off = (!is_right).then(|| Off::Url(url.clone()));
            seen.push((url, off));
        }
    }
    seen
}

fn spellings(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (rest, String::new()),
    };
    let other_scheme = if scheme == "https" { "http" } else { "https" };
    let other_slash = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
    let decoded = url::form_urlencoded::parse(query.as_bytes())
        .map(|(key, value)| if value.is_empty() { key.into_owned() } else { format!("{key}={value}") })
        .collect::<Vec<_>>()
        .join("&");
    let mut all = vec![
        url.to_owned(),
        format!("{other_scheme}://{rest}"),
        format!("{scheme}://{other_slash}{query}"),
        format!("{scheme}://{path}"),
        format!("{scheme}://{path}{decoded}"),
    ];
    all.extend(with_other_port(url));
    all
}

/// With the scheme's own port, or without it.
fn with_other_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let port = if scheme == "https" { ":443" } else { ":80" };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let other = match authority.strip_suffix(port) {
        Some(bare) => bare.to_owned(),
        // The colons of an IPv6 address stand before its bracket.
        None if authority.rsplit(']').next().is_some_and(|port| port.contains(':')) => return None,
        None => format!("{authority}{port}"),
    };
    Some(format!("{scheme}://{other}{target}"))
}

fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{target}")
}

fn at_origin(url: &str, origin: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let target = rest.find(['/', '?']).and_then(|end| rest.get(end..)).unwrap_or_default();
    format!("{origin}{target}")
}

/// The body as it is, and as something on its way, or whoever saved it, may have found it.
fn bodies(body: &[u8]) -> Vec<(Cow<'_, [u8]>, Option<&'static str>)> {
    let mut bodies: Vec<(Cow<'_, [u8]>, Option<&'static str>)> = vec![(Cow::Borrowed(body), None)];
    let trimmed = body.trim_ascii_end();
    if trimmed.len() < body.len() {
        bodies.push((Cow::Borrowed(trimmed), Some("it had no white space at its end")));
    }
    bodies.push((Cow::Owned([trimmed, b"\n"].concat()), Some("it ended in a newline")));
    bodies.push((Cow::Borrowed(b""), Some("it was empty")));
    if let Ok(text) = std::str::from_utf8(body) {
        let unix = text.replace("\r\n", "\n");
        bodies.push((Cow::Owned(unix.replace('\n', "\r\n").into_bytes()), Some("its lines ended in CR LF")));
        bodies.push((Cow::Owned(unix.into_bytes()), Some("its lines ended in LF")));
    }
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
        // Keys in another order, or numbers written otherwise, can't be guessed.
        bodies.push((Cow::Owned(json.to_string().into_bytes()), Some("it was compact JSON")));
        let pretty = serde_json::to_vec_pretty(&json).unwrap_or_default();
        bodies.push((Cow::Owned(pretty), Some("it was indented JSON")));
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{secret::Secret, signature::sign};

    const URL: &str = "https://agents.example.com/bank?a=%31";
    const BODY: &[u8] = br#"{"call":{"call_id":"c"}}"#;

    fn key(name: &str) -> (String, SigningKey) {
        (name.to_owned(), SigningKey(Secret::new(format!("the key that is called {name}"))))
    }

    fn explained(signed_url: &str, signed_body: &[u8], signer: &str, url: &str, body: &[u8]) -> Explanation {
        let keys = [key("bank"), key("shop")];
        let (_, signer) = keys.iter().find(|(name, _)| name == signer).unwrap();
        let made = sign(signer, signed_url, signed_body);
        let carried = Carried { sha256: Some(made.sha256.as_bytes()), sha1: None };
        explain(&Attempt {
            url,
            public: "https://agents.example.com",
            content_type: "application/json",
            body,
            carried,
            keys: &keys,
            listed: 1,
        })
    }

    fn off(url: &str) -> Explanation {
        Explanation::Off(vec![Off::Url(url.to_owned())])
    }

    #[test]
    fn what_verifies_is_said_to() {
        let right = Explanation::Verifies(Scheme::Sha256, "bank".to_owned());
        assert_eq!(explained(URL, BODY, "bank", URL, BODY), right);
        assert_eq!(explained(URL, BODY, "bank", "https://user:p@ss@agents.example.com/bank?a=%31", BODY), right);
        assert_eq!(explained("https://agents.example.com:443/bank?a=%31", BODY, "bank", URL, BODY), right);
        // In front of the gateway somebody may ask it under another name: it goes by its own.
        assert_eq!(explained(URL, BODY, "bank", "https://10.0.0.1:8080/bank?a=%31", BODY), right);
        let with_userinfo = "https://user:p@ss@agents.example.com/bank?a=%31";
        assert_eq!(explained(with_userinfo, BODY, "bank", with_userinfo, BODY), right);
        assert_eq!(with_other_port("https://[::1]/x").as_deref(), Some("https://[::1]:443/x"));
        assert_eq!(with_other_port("https://[::1]:8443/x"), None);
    }

    #[test]
    fn a_url_that_is_off_is_named() {
        for signed in [
            "http://agents.example.com/bank?a=%31",
            "https://agents.example.com/bank/?a=%31",
            "https://agents.example.com/bank",
            "http://agents.example.com/bank",
        ] {
            assert_eq!(explained(signed, BODY, "bank", URL, BODY), off(signed));
        }
        let elsewhere = "https://10.0.0.1:8080/bank?a=%31";
        assert_eq!(explained(elsewhere, BODY, "bank", elsewhere, BODY), off(elsewhere), "the gateway is not there");
    }

    #[test]
    fn a_body_a_key_or_a_scheme_that_is_off_is_named() {
        let off = |off| Explanation::Off(vec![off]);
        assert_eq!(explained(URL, b"{}\n", "bank", URL, b"{}"), off(Off::Body("it ended in a newline")));
        assert_eq!(explained(URL, b"{}", "bank", URL, b"{}\n"), off(Off::Body("it had no white space at its end")));
        assert_eq!(explained(URL, br#"{"a":1}"#, "bank", URL, br#"{ "a": 1 }"#), off(Off::Body("it was compact JSON")));
        assert_eq!(explained(URL, b"", "bank", URL, BODY), off(Off::Body("it was empty")));
        assert_eq!(explained(URL, BODY, "shop", URL, BODY), off(Off::Key("shop".to_owned())));
        let both = Explanation::Off(vec![
            Off::Url("http://agents.example.com/bank?a=%31".to_owned()),
            Off::Key("shop".to_owned()),
        ]);
        assert_eq!(explained("http://agents.example.com/bank?a=%31", BODY, "shop", URL, BODY), both);

        let keys = [key("bank")];
        let made = sign(&keys[0].1, URL, BODY);
        let with = |carried| {
            explain(&Attempt {
                url: URL,
                public: "https://agents.example.com",
                content_type: "application/json",
                body: BODY,
                carried,
                keys: &keys,
                listed: 1,
            })
        };
        let upper = made.sha256.to_uppercase();
        let sha256 = |value| with(Carried { sha256: Some(value), sha1: None });
        assert_eq!(sha256(upper.as_bytes()), off(Off::Scheme("the value is not in lower-case hex")));
        assert!(matches!(sha256(made.sha1.as_bytes()), Explanation::Off(off) if matches!(off[..], [Off::Scheme(_)])));
        let base64 = STANDARD.encode(keys[0].1.sha256(&[URL.as_bytes(), BODY]));
        assert_eq!(sha256(base64.as_bytes()), off(Off::Scheme("the value is not in lower-case hex")));
        let form = signature(&keys[0].1, Scheme::Form, URL, b"a=1");
        let form = Carried { sha1: Some(form.as_bytes()), sha256: None };
        let of_form = |content_type| {
            let public = "https://agents.example.com";
            explain(&Attempt { url: URL, public, content_type, body: b"a=1", carried: form, keys: &keys, listed: 1 })
        };
        assert_eq!(of_form("application/json"), off(Off::Scheme(NO_FORM)));
        assert!(matches!(of_form("application/x-www-form-urlencoded"), Explanation::Verifies(Scheme::Form, _)));
        assert_eq!(sha256(b"00"), Explanation::Unknown);
        assert_eq!(with(Carried::default()), Explanation::Missing);
    }
}
