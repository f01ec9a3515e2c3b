//! What every answer tells a browser, which is whom an attacker makes ask: that nothing in it is to be run, framed or told
//! to others, and that it is to be asked for by https.

use http::{HeaderName, header};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use crate::app::App;

/// Where an answer says nothing itself; a page that the policy exposes may, with `response_headers`.
const DEFAULTS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // URLs carry tokens.
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Adds them to the head of an answer.
pub(super) fn protect(head: &mut ResponseHeader, session: &Session, app: &App) -> pingora_core::Result<()> {
    for (name, value) in DEFAULTS {
        if !head.headers.contains_key(&name) {
            head.insert_header(name, value)?;
        }
    }
    // RFC 6797, 7.2: only by https, which may end at the gateway or in front of it.
    let is_tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    if is_tls || app.policies.load().public().https {
        head.insert_header(header::STRICT_TRANSPORT_SECURITY, app.hsts.clone())?;
    }
    Ok(())
}
