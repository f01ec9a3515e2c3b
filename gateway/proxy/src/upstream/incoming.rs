//! An answer of an agent that is read as it comes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use pingora_core::{protocols::http::v1::client::HttpSession, upstreams::peer::HttpPeer};
use swaigate_core::{
    decide::{AgentHead, Permit},
    verdict::Reason,
};
use tokio::time::timeout;

use super::{Envelope, Failure, Upstreams, failure, final_head, is_gateways_failure};
use crate::app::Visit;

/// An answer whose head is here. Dropped before its end, it closes the connection to the agent.
pub(crate) struct Incoming {
    session: HttpSession,
    peer: HttpPeer,
    head: AgentHead,
    pause: Duration,
    visit: Visit,
}

impl Upstreams {
    /// Sends a permitted request and reads the head of its answer; it and each piece of the body may take as long as
    /// the policy lets an answer take. How long all of it takes is the caller's to bound.
    ///
    /// Sent once more where [`Upstreams::exchange`] does.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn open(&self, permit: &Permit, body: Bytes, envelope: &Envelope) -> Result<Incoming, Failure> {
        let pause = permit.agent().upstream.timeouts.answer;
        let mut visit = self.enter(permit)?;
        let opening = self.head(permit, body, envelope, &mut visit);
        let opened = timeout(pause, opening).await.unwrap_or_else(|_| Err(silent(pause)));
        let is_answered = match &opened {
            Ok((.., head)) => Some(!is_gateways_failure(head.status)),
            Err(failure) => failure.is_answered(),
        };
        if let Some(is_answered) = is_answered {
            visit.ends(is_answered, Instant::now());
        }
        opened.map(|(session, peer, head)| Incoming { session, peer, head, pause, visit })
    }

    async fn head(
        &self,
        permit: &Permit,
        body: Bytes,
        envelope: &Envelope,
        visit: &mut Visit,
    ) -> Result<(HttpSession, HttpPeer, AgentHead), Failure> {
        let (mut session, peer) = self.send(permit, body, envelope, visit).await?;
        let header = final_head(&mut session).await?;
        let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
        let named = header.headers.iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?)));
        let head = AgentHead { status: header.status.as_u16(), headers: named.collect() };
        Ok((session, peer, head))
    }

    /// Keeps the connection of an answer that was read to its end.
    pub(crate) async fn close(&self, answer: Incoming) {
        self.release(answer.session, &answer.peer).await;
    }
}

// === impl Incoming ===

impl Incoming {
    pub(crate) fn head(&self) -> &AgentHead {
        &self.head
    }

    /// The server that it comes from, if the agent has several.
    pub(crate) fn server(&self) -> Option<Arc<str>> {
        self.visit.server()
    }

    /// The next piece of the body; `None` behind the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let next = match timeout(self.pause, self.session.read_body_bytes()).await {
            Ok(read) => read.map_err(failure),
            Err(_) => Err(silent(self.pause)),
        };
        if next.is_err() {
            self.visit.ends(false, Instant::now());
        }
        next
    }
}

fn silent(pause: Duration) -> Failure {
    Failure { reason: Reason::AgentTimeout, detail: format!("nothing came for {pause:?}") }
}
