//! An answer that passes as it comes: a file of the agent, or a path that the policy exposes so.
//!
//! One piece is in memory at a time: the next one is read when the client has taken the last, so a slow client slows the
//! agent down. Three times bound it: `timeouts.answer` the agent's head and each pause, `bodies.timeout` each write, and
//! `timeouts.exchange` the whole; whoever is waited for when that is over is to blame. Nothing of it goes on without the
//! client.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, Version, header};
use pingora_core::{Error, ErrorType};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use swaigate_core::{
    decide::{self, Denial, Permit},
    policy::{Leak, Policies},
    verdict::Reason,
};
use tokio::time::timeout;

use super::{Exchange, guard, head, headers, ledger::Ledger, reply::Delivery};
use crate::upstream::{Failure, Incoming, Upstreams, X_REQUEST_ID};

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How an answer ended whose head has left.
pub(super) struct Ended {
    pub(super) reason: Reason,
    pub(super) delivery: Delivery,
}

/// Passes the answer of an exchange on.
///
/// # Errors
/// A [`Denial`] as long as nothing has left. Later failures are in [`Ended`], and then [`cut`] is due.
pub(super) async fn pass_on(
    session: &mut Session,
    upstreams: &Upstreams,
    exchange: Exchange,
    ledger: &mut Ledger,
) -> Result<Ended, Denial> {
    let Exchange { permit, policies, body, mut envelope, .. } = exchange;
    let (started, limit) = (Instant::now(), permit.agent().upstream.timeouts.exchange);
    envelope.request = Some(ledger.request());
    envelope.passed = head::passed(session, &permit);
    let opening = async {
        let opened = upstreams.open(&permit, body.bytes(), &envelope).await;
        drop(body);
        opened
    };
    let mut stream = Stream { session, ledger, started, limit };
    let passed = stream.pass(upstreams, &permit, &policies, opening).await;
    ledger.took(started.elapsed());
    let reason = match passed {
        Ok(()) => Reason::Ok,
        Err(Stop::Denied(denial)) => return Err(denial),
        Err(Stop::Failed(failure)) => {
            ledger.facts().detail = Some(failure.detail);
            failure.reason
        }
    };
    match ledger.sent() {
        Some(sent) => {
            let delivery = Delivery { status: sent.status, complete: reason == Reason::Ok };
            Ok(Ended { reason, delivery })
        }
        None => Err(permit.deny(reason)),
    }
}

/// What makes Pingora close the connection without ending the answer: the client sees that something is missing.
pub(super) fn cut() -> Box<Error> {
    Error::new_down(ErrorType::WriteError)
}

/// Why an answer stops short.
enum Stop {
    /// Its head isn't fit to leave.
    Denied(Denial),
    Failed(Failure),
}

/// The client's side of an answer that passes as it comes.
struct Stream<'s> {
    session: &'s mut Session,
    ledger: &'s mut Ledger,
    started: Instant,
    limit: Duration,
}

// === impl Stream ===

impl Stream<'_> {
    async fn pass(
        &mut self,
        upstreams: &Upstreams,
        permit: &Permit,
        policies: &Policies,
        opening: impl Future<Output = Result<Incoming, Failure>>,
    ) -> Result<(), Stop> {
        let mut answer = self.wait_for(opening).await?;
        self.ledger.facts().server = answer.server();
        let has_body = self.write_head(permit, policies, &answer).await?;
        let mut screen = policies.screen();
        while let Some(piece) = self.wait_for(answer.next()).await? {
            let piece = screen.pass(&piece).map_err(|Leak| Stop::Failed(leaked()))?;
            self.write(piece).await?;
        }
        self.write(screen.finish()).await?;
        if has_body {
            let end = self.session.write_response_body(None, true);
            in_time(self.started, self.limit, end).await?;
        }
        upstreams.close(answer).await;
        Ok(())
    }

    /// Waits for the agent, as long as the client does.
    async fn wait_for<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Stop> {
        let limit = self.limit;
        let expired = || Failure { reason: Reason::AgentTimeout, detail: format!("no whole answer in {limit:?}") };
        tokio::select! {
            done = timeout(limit.saturating_sub(self.started.elapsed()), work) => {
                done.unwrap_or_else(|_| Err(expired())).map_err(Stop::Failed)
            }
            _ = self.session.read_body_or_idle(true) => Err(Stop::Failed(left("it closed the connection"))),
        }
    }

    /// Writes the head, and says whether a body belongs to it.
    async fn write_head(&mut self, permit: &Permit, policies: &Policies, answer: &Incoming) -> Result<bool, Stop> {
        let head = answer.head();
        let facts = self.ledger.facts();
        let released = guard(|| decide::release_head(permit, policies, head, facts));
        let headers = released.unwrap_or_else(|_| Err(permit.deny(Reason::Internal))).map_err(Stop::Denied)?;
        let has_body = self.session.req_header().method != http::Method::HEAD && !matches!(head.status, 204 | 304);
        let built = self.build(head.status, &headers).map_err(|_| Stop::Failed(unfit()))?;
        let built = framed(self.session, built, has_body).map_err(|_| Stop::Failed(unfit()))?;
        let written = self.session.write_response_header(Box::new(built), !has_body);
        in_time(self.started, self.limit, written).await?;
        self.ledger.has_sent_head(head.status);
        Ok(has_body)
    }

    fn build(&self, status: u16, headers: &[&(String, String)]) -> pingora_core::Result<ResponseHeader> {
        let mut head = ResponseHeader::build_no_case(status, Some(headers.len() + 8))?;
        for (name, value) in headers {
            head.append_header(name.clone(), value.as_str())?;
        }
        for (name, value) in [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")] {
            if !head.headers.contains_key(&name) {
                head.insert_header(name, value)?;
            }
        }
        // Whatever the agent says of it.
        head.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
        headers::protect(&mut head, self.session, self.ledger.app())?;
        head.insert_header(X_REQUEST_ID, self.ledger.request().to_string())?;
        Ok(head)
    }

    async fn write(&mut self, piece: Vec<u8>) -> Result<(), Stop> {
        if piece.is_empty() {
            return Ok(());
        }
        let length = piece.len();
        let written = self.session.write_response_body(Some(Bytes::from(piece)), false);
        in_time(self.started, self.limit, written).await?;
        self.ledger.has_sent(length);
        Ok(())
    }
}

/// Waits for the client to take what is written.
async fn in_time(
    started: Instant,
    limit: Duration,
    written: impl Future<Output = pingora_core::Result<()>>,
) -> Result<(), Stop> {
    match timeout(limit.saturating_sub(started.elapsed()), written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Stop::Failed(left(error.etype().as_str()))),
        Err(_) => Err(Stop::Failed(left("it took too long"))),
    }
}

/// Without a length, each piece is a chunk, which Pingora writes at once, and nginx is told to do the same. A client of
/// HTTP/1.0 knows no chunks: for it the answer ends with the connection.
fn framed(session: &mut Session, mut head: ResponseHeader, has_body: bool) -> pingora_core::Result<ResponseHeader> {
    if head.status.as_u16() == 204 {
        head.remove_header(&header::CONTENT_LENGTH);
    }
    if !has_body {
        head.remove_header(&header::TRANSFER_ENCODING);
    } else if !head.headers.contains_key(header::CONTENT_LENGTH) {
        head.insert_header(X_ACCEL_BUFFERING, "no")?;
        if session.req_header().version == Version::HTTP_11 {
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        } else {
            session.set_keepalive(None);
        }
    }
    Ok(head)
}

fn left(how: &str) -> Failure {
    Failure { reason: Reason::ClientGone, detail: format!("the client didn't take the answer: {how}") }
}

fn leaked() -> Failure {
    Failure { reason: Reason::CredentialInDocument, detail: "the answer was cut".to_owned() }
}

fn unfit() -> Failure {
    Failure { reason: Reason::AgentBroken, detail: "the answer's head can't be passed on".to_owned() }
}
