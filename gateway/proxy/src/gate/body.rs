//! Reading a request's body: all of it, or a reason.

use bytes::{Bytes, BytesMut};
use http::{Method, header};
use pingora_proxy::Session;
use swaigate_core::{
    decide::Admitted,
    verdict::{Reason, Route},
};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::app::{App, Budget, Reserved};

/// How long a body may come as slowly as it likes.
const GRACE: Duration = Duration::from_secs(3);

/// A body and its share of the process' byte budget.
pub(super) struct Body {
    bytes: Bytes,
    _reserved: Reserved,
}

/// How slowly a body may come.
struct Pace {
    since: Instant,
    /// Bytes in each second, on average; 0: any.
    least: usize,
}

/// Reads a body of at most the policy's size, in at most the time for a body, and not more slowly than one may come.
///
/// # Errors
/// [`Reason::BodyTooLarge`], [`Reason::BodyTimeout`], [`Reason::Overloaded`] or, if the client leaves,
/// [`Reason::ClientGone`]; [`Reason::BadRequest`] for the body of a GET, which many servers don't look for and read as the
/// next request.
pub(super) async fn read(session: &mut Session, app: &App, admitted: &Admitted) -> Result<Body, Reason> {
    if session.as_downstream_mut().is_body_empty() {
        return Ok(Body { bytes: Bytes::new(), _reserved: Reserved::default() });
    }
    if matches!(session.req_header().method, Method::GET | Method::HEAD) {
        return Err(Reason::BadRequest);
    }
    if session.req_header().headers.contains_key(header::TRANSFER_ENCODING) {
        // Where a chunk ends is not told alike everywhere (extensions with a line feed, sizes that are missing): what
        // comes behind the last one must not be read as another request.
        session.set_keepalive(None);
    }
    let budget = if admitted.route() == Route::Open { &app.strangers } else { &app.bodies };
    let pace = Pace { since: Instant::now(), least: app.body_rate };
    let whole = read_all(session, budget, &pace, admitted.body_limit());
    timeout(app.body_timeout, whole).await.unwrap_or(Err(Reason::BodyTimeout))
}

async fn read_all(session: &mut Session, budget: &Budget, pace: &Pace, limit: usize) -> Result<Body, Reason> {
    // Pingora leaves this to us, and a client that asks would wait a second for it.
    if session.req_header().headers.contains_key(header::EXPECT) {
        session.as_downstream_mut().write_continue_response().await.map_err(|_| Reason::ClientGone)?;
    }
    let mut reserved = Reserved::default();
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut size = 0;
    while let Some(chunk) = pace.wait_for(session.read_request_body(), size).await? {
        size += chunk.len();
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

// === impl Pace ===

impl Pace {
    /// What comes behind so many bytes.
    async fn wait_for(
        &self,
        chunk: impl Future<Output = pingora_core::Result<Option<Bytes>>>,
        size: usize,
    ) -> Result<Option<Bytes>, Reason> {
        let read = match self.deadline(size) {
            Some(deadline) => timeout_at(deadline, chunk).await.map_err(|_| Reason::BodyTimeout)?,
            None => chunk.await,
        };
        read.map_err(|error| reason_of(&error))
    }

    /// When more than so many bytes have to be there.
    fn deadline(&self, size: usize) -> Option<Instant> {
        let needed = (self.least > 0).then(|| Duration::from_secs_f64(size as f64 / self.least as f64))?;
        Some(self.since + needed.max(GRACE))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_a_pace_after_its_first_seconds() {
        let since = Instant::now();
        let within = |least, size| Pace { since, least }.deadline(size).map(|deadline| (deadline - since).as_secs());
        assert_eq!(within(100, 0), Some(3));
        assert_eq!(within(100, 300), Some(3));
        assert_eq!(within(100, 1000), Some(10), "what has come early is time won");
        assert_eq!(within(1, 64 << 30), Some(64 << 30));
        assert_eq!(within(0, 0), None);
    }
}
