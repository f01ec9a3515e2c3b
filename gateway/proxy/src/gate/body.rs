//! Reading a request's body: all of it, or a reason.

use bytes::{Bytes, BytesMut};
use http::header;
use pingora_proxy::Session;
use swaigate_core::{
    decide::Admitted,
    verdict::{Reason, Route},
};
use tokio::time::timeout;

use crate::app::{App, Budget, Reserved};

/// A body and its share of the process' byte budget.
pub(super) struct Body {
    bytes: Bytes,
    _reserved: Reserved,
}

/// Reads a body of at most the policy's size, in at most the time for a body.
///
/// # Errors
/// [`Reason::BodyTooLarge`], [`Reason::BodyTimeout`], [`Reason::Overloaded`] or, if the client leaves,
/// [`Reason::ClientGone`].
pub(super) async fn read(session: &mut Session, app: &App, admitted: &Admitted) -> Result<Body, Reason> {
    if session.as_downstream_mut().is_body_empty() {
        return Ok(Body { bytes: Bytes::new(), _reserved: Reserved::default() });
    }
    let budget = if admitted.route() == Route::Open { &app.strangers } else { &app.bodies };
    let whole = read_all(session, budget, admitted.body_limit());
    timeout(app.body_timeout, whole).await.unwrap_or(Err(Reason::BodyTimeout))
}

async fn read_all(session: &mut Session, budget: &Budget, limit: usize) -> Result<Body, Reason> {
    // Pingora leaves this to us, and a client that asks would wait a second for it.
    if session.req_header().headers.contains_key(header::EXPECT) {
        session.as_downstream_mut().write_continue_response().await.map_err(|_| Reason::ClientGone)?;
    }
    let mut reserved = Reserved::default();
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(chunk) = session.read_request_body().await.map_err(|error| reason_of(&error))? {
        let size = first.as_ref().map_or(rest.len(), Bytes::len) + chunk.len();
        if size > limit {
            return Err(Reason::BodyTooLarge);
        }
        budget.grow(&mut reserved, size).map_err(|_| Reason::Overloaded)?;
        if first.is_none() && rest.is_empty() {
            // Most bodies are one chunk, which needn't be copied.
            first = Some(chunk);
            continue;
        }
        if let Some(first) = first.take() {
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&chunk);
    }
    Ok(Body { bytes: first.unwrap_or_else(|| rest.freeze()), _reserved: reserved })
}

fn reason_of(error: &pingora_core::Error) -> Reason {
    match error.etype() {
        pingora_core::ErrorType::ReadTimedout => Reason::BodyTimeout,
        _ => Reason::ClientGone,
    }
}

// === impl Body ===

impl Body {
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}
