//! What the decision needs of a request's head, and the framing that another server may read differently.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use pingora_proxy::Session;
use swaigate_core::{
    decide::{Head, Permit},
    route::Method,
    signature::Carried,
    verdict::Reason,
};

use crate::{
    settings::Connections,
    upstream::{Envelope, X_SIGNALWIRE_SHA256_SIGNATURE, X_SIGNALWIRE_SIGNATURE},
};

/// The older name of the platform's signature (PROTOCOL.md, 7).
const X_TWILIO_SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-signature");

/// What of a head is used. It is copied out once, since the session is needed for the body.
pub(super) struct OwnedHead {
    method: Method,
    target: String,
    host: String,
    authorization: Option<HeaderValue>,
    content_length: Option<u64>,
    sha256_signature: Option<HeaderValue>,
    signature: Option<HeaderValue>,
    /// What the agent sees of it.
    pub(super) envelope: Envelope,
}

/// Reads the head of a request that came from there.
///
/// # Errors
/// [`Reason::HeaderTooLarge`], or [`Reason::BadRequest`] for framing that the agent may read differently: no or several
/// hosts, a length and a transfer coding, lengths that are repeated, other codings than `chunked`, an upgrade, a target
/// that isn't origin-form or isn't ASCII, and what isn't ASCII in a header that is read. Pingora 0.9.1 itself refuses lengths that differ, several hosts, and codings
/// that don't end in `chunked`; it passes the rest, and drops a length beside a coding.
pub(super) fn read(session: &Session, limits: &Connections, client: Option<IpAddr>) -> Result<OwnedHead, Reason> {
    let request = session.req_header();
    let headers = &request.headers;
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size + request.raw_path().len() > limits.max_head || headers.len() > limits.max_headers {
        return Err(Reason::HeaderTooLarge);
    }
    let host = match request.version {
        Version::HTTP_2 => request.uri.authority().map(|authority| authority.as_str()),
        _ => one(headers, header::HOST)?,
    };
    let host = host.filter(|host| !host.is_empty()).ok_or(Reason::BadRequest)?;
    let content_length = content_length(headers)?;
    check_coding(headers, content_length)?;
    check_bytes(&session.as_downstream().to_h1_raw(), request.raw_path())?;
    let target = std::str::from_utf8(request.raw_path()).map_err(|_| Reason::BadRequest)?;
    let copied = |name: HeaderName| match headers.get(&name) {
        Some(value) if value.to_str().is_err() => Err(Reason::BadRequest),
        value => Ok(value.cloned()),
    };
    Ok(OwnedHead {
        method: Method::parse(request.method.as_str()),
        target: target.to_owned(),
        host: host.to_owned(),
        authorization: one_value(headers, header::AUTHORIZATION)?,
        content_length,
        sha256_signature: one_value(headers, X_SIGNALWIRE_SHA256_SIGNATURE)?,
        signature: match one_value(headers, X_SIGNALWIRE_SIGNATURE)? {
            Some(signature) => Some(signature),
            None => one_value(headers, X_TWILIO_SIGNATURE)?,
        },
        envelope: Envelope {
            request: None,
            client,
            content_type: copied(header::CONTENT_TYPE)?,
            accept: copied(header::ACCEPT)?,
            user_agent: copied(header::USER_AGENT)?,
            passed: Vec::new(),
        },
    })
}

/// Those of a request's headers that a permit lets through besides the usual ones, but for hop-by-hop ones.
pub(super) fn passed(session: &Session, permit: &Permit) -> Vec<(HeaderName, HeaderValue)> {
    let headers = &session.req_header().headers;
    let is_nominated = |name: &HeaderName| {
        let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        named.flat_map(|value| value.split(',')).any(|own| own.trim().eq_ignore_ascii_case(name.as_str()))
    };
    let names = permit.request_headers().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    let names = names.filter(|name| !is_nominated(name));
    names.flat_map(|name| headers.get_all(&name).iter().map(move |value| (name.clone(), value.clone()))).collect()
}

// === impl OwnedHead ===

impl OwnedHead {
    pub(super) fn borrow(&self) -> Head<'_> {
        Head {
            method: self.method,
            target: &self.target,
            host: &self.host,
            authorization: self.authorization.as_ref().map(HeaderValue::as_bytes),
            content_length: self.content_length,
            content_type: self.envelope.content_type.as_ref().and_then(|value| value.to_str().ok()),
            signatures: Carried {
                sha256: self.sha256_signature.as_ref().map(HeaderValue::as_bytes),
                sha1: self.signature.as_ref().map(HeaderValue::as_bytes),
            },
            client: self.envelope.client,
        }
    }
}

fn one(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, Reason> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Reason::BadRequest),
        (Some(_), Some(_)) => Err(Reason::BadRequest),
    }
}

fn one_value(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<HeaderValue>, Reason> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.cloned()),
        (_, Some(_)) => Err(Reason::BadRequest),
    }
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Reason> {
    match one(headers, header::CONTENT_LENGTH)? {
        None => Ok(None),
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().map(Some).map_err(|_| Reason::BadRequest)
        }
        Some(_) => Err(Reason::BadRequest),
    }
}

fn check_coding(headers: &HeaderMap, content_length: Option<u64>) -> Result<(), Reason> {
    if headers.contains_key(header::UPGRADE) {
        return Err(Reason::BadRequest);
    }
    match one(headers, header::TRANSFER_ENCODING)? {
        None => Ok(()),
        Some(coding) if coding.eq_ignore_ascii_case("chunked") && content_length.is_none() => Ok(()),
        Some(_) => Err(Reason::BadRequest),
    }
}

/// What Pingora takes away before anyone can look at it: a length beside a coding, the fragment of a target, and line
/// feeds that stand alone.
fn check_bytes(head: &[u8], target: &[u8]) -> Result<(), Reason> {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').skip_while(|line| line == b"\r\n");
    let request = lines.next().ok_or(Reason::BadRequest)?;
    if !request.ends_with(b"\r\n") || request.split(|byte| *byte == b' ').nth(1) != Some(target) {
        return Err(Reason::BadRequest);
    }
    let (mut has_length, mut has_coding) = (false, false);
    for line in lines {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        has_length |= name.eq_ignore_ascii_case(b"content-length");
        has_coding |= name.eq_ignore_ascii_case(b"transfer-encoding");
        if !line.ends_with(b"\r\n") {
            return Err(Reason::BadRequest);
        }
    }
    if has_length && has_coding { Err(Reason::BadRequest) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_takes_away_is_seen_in_the_bytes() {
        let proper = "POST /bank?a=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
        let check = |head: &str| check_bytes(head.as_bytes(), b"/bank?a=1");
        assert_eq!(check(proper), Ok(()));
        assert_eq!(check(&format!("\r\n{proper}")), Ok(()));
        for head in [
            proper.replace("a=1", "a=1#x"),
            proper.replace("\r\n", "\n"),
            proper.replace("a\r\n", "a\n"),
            proper.replace("1.1\r\n", "1.1\n"),
            proper.replace("Host: a", "Transfer-encoding: chunked"),
            String::new(),
        ] {
            assert_eq!(check(&head), Err(Reason::BadRequest), "{head:?}");
        }
    }
}
