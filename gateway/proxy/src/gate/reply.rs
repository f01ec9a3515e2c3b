//! Writing an answer, so that the connection can go on where that is safe.

use std::{future::ready, time::Duration};

use bytes::Bytes;
use http::header;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use swaigate_core::{
    id::RequestId,
    verdict::{Reason, Reply},
};
use tokio::time::timeout;

use super::headers;
use crate::{app::App, upstream::X_REQUEST_ID};

/// What is left of a refused body is read up to this size, so that the client gets to read the refusal.
const DRAIN_BYTES: usize = 1024 * 1024;

/// And for at most this long.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// What was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    /// The status; 0 if nothing was written.
    pub(super) status: u16,
    /// Whether all of it was written.
    pub(super) complete: bool,
}

/// Writes an answer, which the client has to take in time.
pub(super) async fn write(
    session: &mut Session,
    app: &App,
    reply: Reply,
    reason: Reason,
    request: RequestId,
) -> Delivery {
    if reason == Reason::ClientGone {
        session.set_keepalive(None);
        return Delivery { status: 0, complete: false };
    }
    let has_unread_body = !session.as_downstream_mut().is_body_done();
    if has_unread_body {
        // Whatever is still to come of it must not be read as the next request.
        session.set_keepalive(None);
    }
    let status = reply.status;
    let written = timeout(app.body_timeout, write_whole(session, app, reply, request)).await;
    let complete = matches!(written, Ok(Ok(())));
    if complete && has_unread_body {
        let _ = timeout(DRAIN_TIME, drain(session)).await;
    }
    Delivery { status, complete }
}

/// Whether the client has closed its side while it waited: what is written to it is lost then, though writing succeeds.
pub(super) async fn has_left(session: &mut Session) -> bool {
    if !session.as_downstream_mut().is_body_done() {
        return false;
    }
    let has_left = tokio::select! {
        biased;
        closed = session.read_body_or_idle(true) => closed.is_err(),
        () = ready(()) => false,
    };
    if has_left {
        // Perhaps it was a further request that was read, and that is gone now.
        session.set_keepalive(None);
    }
    has_left
}

async fn write_whole(session: &mut Session, app: &App, reply: Reply, request: RequestId) -> pingora_core::Result<()> {
    let mut answer = ResponseHeader::build_no_case(reply.status, Some(12))?;
    answer.insert_header(header::CONTENT_TYPE, reply.content_type.as_str())?;
    answer.insert_header(header::CONTENT_LENGTH, reply.body.len())?;
    // Documents carry tokens: no cache may keep them.
    answer.insert_header(header::CACHE_CONTROL, "no-store")?;
    headers::protect(&mut answer, session, app)?;
    answer.insert_header(X_REQUEST_ID, request.to_string())?;
    if reply.challenge {
        answer.insert_header(header::WWW_AUTHENTICATE, r#"Basic realm="swaigate", charset="UTF-8""#)?;
    }
    if let Some(methods) = reply.allow {
        answer.insert_header(header::ALLOW, methods)?;
    }
    if reply.is_for_pages {
        answer.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")?;
        answer.insert_header(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "RateLimit, RateLimit-Policy, Retry-After, X-Request-Id",
        )?;
    }
    if let Some(location) = &reply.location {
        answer.insert_header(header::LOCATION, location.as_str())?;
    }
    if let Some(seconds) = reply.retry_after {
        answer.insert_header(header::RETRY_AFTER, seconds)?;
    }
    if let Some(limit) = &reply.rate_limit {
        answer.insert_header("RateLimit-Policy", limit.policy.as_str())?;
        answer.insert_header("RateLimit", limit.state.as_str())?;
    }
    let is_head = session.req_header().method == http::Method::HEAD;
    let has_no_body = is_head || reply.body.is_empty() || matches!(reply.status, 204 | 304);
    session.write_response_header(Box::new(answer), has_no_body).await?;
    if !has_no_body {
        session.write_response_body(Some(Bytes::from(reply.body)), true).await?;
    }
    Ok(())
}

async fn drain(session: &mut Session) {
    let mut drained = 0;
    while let Ok(Some(chunk)) = session.read_request_body().await {
        drained += chunk.len();
        if drained > DRAIN_BYTES {
            return;
        }
    }
}
