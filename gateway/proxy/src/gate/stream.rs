//! An answer that passes as it comes: a file of the agent, or a path that the policy exposes so.
//!
//! One piece is in memory at a time: the next one is read when the client has taken the last, so a slow client slows the
//! agent down. Three times bound it: `timeouts.answer` the agent's head and each pause, the time for a body each write,
//! and `timeouts.exchange` the whole. Nothing of it goes on without the client.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, Version, header};
use pingora_core::{Error, ErrorType};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use swaigate_core::{
    decide::{self, Denial, Permit},
    id::RequestId,
    policy::{Leak, Policies},
    verdict::Reason,
};
use tokio::time::timeout;

use super::{Exchange, guard, head, ledger::Ledger, reply::Delivery};
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
    let started = Instant::now();
    let permit = &exchange.permit;
    let limit = permit.agent().upstream.timeouts.exchange;
    let passed = timeout(limit, pass(session, upstreams, &exchange, ledger)).await;
    let expired = || Failure { reason: Reason::AgentTimeout, detail: format!("no whole answer in {limit:?}") };
    let passed = passed.unwrap_or_else(|_| Err(Stop::Failed(expired())));
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

async fn pass(
    session: &mut Session,
    upstreams: &Upstreams,
    exchange: &Exchange,
    ledger: &mut Ledger,
) -> Result<(), Stop> {
    let Exchange { permit, policies, body, envelope, .. } = exchange;
    let mut envelope = envelope.clone();
    envelope.request = Some(ledger.request());
    envelope.passed = head::passed(session, permit);
    let opening = upstreams.open(permit, body.bytes(), &envelope);
    let mut answer = while_client_waits(session, opening).await.map_err(Stop::Failed)?;
    let has_body = write_head(session, permit, policies, &answer, ledger).await?;
    let mut screen = policies.screen();
    while let Some(piece) = while_client_waits(session, answer.next()).await.map_err(Stop::Failed)? {
        let piece = screen.pass(&piece).map_err(|Leak| Stop::Failed(leaked()))?;
        write(session, piece, ledger).await?;
    }
    write(session, screen.finish(), ledger).await?;
    if has_body {
        session.write_response_body(None, true).await.map_err(|_| Stop::Failed(left()))?;
    }
    upstreams.close(answer).await;
    Ok(())
}

async fn while_client_waits<T>(
    session: &mut Session,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        _ = session.read_body_or_idle(true) => Err(left()),
    }
}

/// Writes the head, and says whether a body belongs to it.
async fn write_head(
    session: &mut Session,
    permit: &Permit,
    policies: &Policies,
    answer: &Incoming,
    ledger: &mut Ledger,
) -> Result<bool, Stop> {
    let head = answer.head();
    let released = guard(|| decide::release_head(permit, policies, head, ledger.facts()));
    let headers = released.unwrap_or_else(|_| Err(permit.deny(Reason::Internal))).map_err(Stop::Denied)?;
    let has_body = session.req_header().method != http::Method::HEAD && !matches!(head.status, 204 | 304);
    let built = build(head.status, &headers, ledger.request()).map_err(|_| Stop::Failed(unfit()))?;
    let built = framed(session, built, has_body).map_err(|_| Stop::Failed(unfit()))?;
    session.write_response_header(Box::new(built), !has_body).await.map_err(|_| Stop::Failed(left()))?;
    ledger.has_sent_head(head.status);
    Ok(has_body)
}

fn build(status: u16, headers: &[&(String, String)], request: RequestId) -> pingora_core::Result<ResponseHeader> {
    let mut head = ResponseHeader::build_no_case(status, Some(headers.len() + 6))?;
    head.insert_header(header::CONTENT_TYPE, "application/octet-stream")?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    let mut replaced = Vec::new();
    for (name, value) in headers {
        if !replaced.contains(name) {
            head.remove_header(name.as_str());
            replaced.push(name.clone());
        }
        head.append_header(name.clone(), value.as_str())?;
    }
    head.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    head.insert_header(X_REQUEST_ID, request.to_string())?;
    Ok(head)
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

async fn write(session: &mut Session, piece: Vec<u8>, ledger: &mut Ledger) -> Result<(), Stop> {
    if piece.is_empty() {
        return Ok(());
    }
    let length = piece.len();
    session.write_response_body(Some(Bytes::from(piece)), false).await.map_err(|_| Stop::Failed(left()))?;
    ledger.has_sent(length);
    Ok(())
}

fn left() -> Failure {
    Failure { reason: Reason::ClientGone, detail: "the client left before the answer's end".to_owned() }
}

fn leaked() -> Failure {
    Failure { reason: Reason::CredentialInDocument, detail: "the answer was cut".to_owned() }
}

fn unfit() -> Failure {
    Failure { reason: Reason::AgentBroken, detail: "the answer's head can't be passed on".to_owned() }
}
