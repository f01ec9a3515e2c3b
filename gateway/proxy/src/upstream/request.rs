//! The request that an agent gets.
//!
//! It is built from a short list of headers, never copied: what a client writes in `X-Forwarded-*`, `Forwarded`,
//! `X-Original-*`, `Cookie` or hop-by-hop headers reaches no agent (PROTOCOL.md, 8). What else passes for files and streams
//! is the permit's word.

use http::{HeaderName, HeaderValue, header};
use pingora_http::RequestHeader;
use swaigate_core::{
    decide::Permit,
    policy::{Agent, HealthCheck},
    route::Method,
    signature::Made,
    verdict::Reason,
};

use super::{Envelope, Failure, X_REQUEST_ID, X_SIGNALWIRE_SHA256_SIGNATURE, X_SIGNALWIRE_SIGNATURE, failure};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is sent for a permitted request, with a body of this many bytes.
pub(super) fn permitted(permit: &Permit, length: usize, envelope: &Envelope) -> Result<RequestHeader, Failure> {
    let forward = permit.forward();
    let upstream = &permit.agent().upstream;
    let build = || -> pingora_core::Result<RequestHeader> {
        let mut request = RequestHeader::build_no_case(forward.method.as_str(), forward.target.as_bytes(), Some(16))?;
        let host = upstream.host_header();
        request.insert_header(header::HOST, host.as_str())?;
        if let Some(credentials) = upstream.credentials.as_ref().filter(|_| permit.is_authenticated()) {
            request.insert_header(header::AUTHORIZATION, credentials.header.expose())?;
        }
        request.insert_header(header::ACCEPT_ENCODING, "identity")?;
        request.insert_header(X_FORWARDED_HOST, host)?;
        request.insert_header(X_FORWARDED_PROTO, if upstream.https { "https" } else { "http" })?;
        // In another character set, or as a form, the same bytes say something else.
        let json = (permit.is_of_json() && length > 0).then_some(HeaderValue::from_static("application/json"));
        let content_type = if json.is_some() { &json } else { &envelope.content_type };
        let copied = [
            (header::CONTENT_TYPE, content_type),
            (header::ACCEPT, &envelope.accept),
            (header::USER_AGENT, &envelope.user_agent),
        ];
        for (name, value) in copied {
            if let Some(value) = value {
                request.insert_header(name, value.clone())?;
            }
        }
        for (name, value) in &envelope.passed {
            request.append_header(name, value)?;
        }
        if let Some(client) = envelope.client {
            request.insert_header(X_FORWARDED_FOR, client.to_string())?;
        }
        if let Some(id) = envelope.request {
            request.insert_header(X_REQUEST_ID, id.to_string())?;
        }
        if let Some(Made { sha1, sha256 }) = &forward.signatures {
            request.insert_header(X_SIGNALWIRE_SIGNATURE, sha1.as_str())?;
            request.insert_header(X_SIGNALWIRE_SHA256_SIGNATURE, sha256.as_str())?;
        }
        if !matches!(forward.method, Method::Get | Method::Head) {
            request.insert_header(header::CONTENT_LENGTH, length)?;
        }
        Ok(request)
    };
    let header = build().map_err(failure)?;
    // What was authorised is what is sent, byte for byte.
    if header.raw_path() == forward.target.as_bytes() {
        Ok(header)
    } else {
        Err(Failure { reason: Reason::BadRequest, detail: "the target can't be sent as it came".to_owned() })
    }
}

/// What is asked of a server to see whether it is well, with the agent's credentials if it has any.
pub(super) fn health_check(agent: &Agent, check: &HealthCheck) -> pingora_core::Result<RequestHeader> {
    let upstream = &agent.upstream;
    let mut request = RequestHeader::build_no_case("GET", check.path.as_bytes(), Some(8))?;
    request.insert_header(header::HOST, upstream.host_header())?;
    if let Some(credentials) = &upstream.credentials {
        request.insert_header(header::AUTHORIZATION, credentials.header.expose())?;
    }
    request.insert_header(header::ACCEPT_ENCODING, "identity")?;
    request.insert_header(header::USER_AGENT, concat!("swaigate/", env!("CARGO_PKG_VERSION"), " (health check)"))?;
    request.insert_header(header::CONNECTION, "close")?;
    Ok(request)
}
