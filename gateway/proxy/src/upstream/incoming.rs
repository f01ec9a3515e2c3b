//! An answer of an agent that is read as it comes.

use std::time::Duration;

use bytes::Bytes;
use pingora_core::{protocols::http::v1::client::HttpSession, upstreams::peer::HttpPeer};
use swaigate_core::{
    decide::{AgentHead, Permit},
    verdict::Reason,
};
use tokio::time::timeout;

use super::{Envelope, Failure, Upstreams, failure, final_head};

/// An answer whose head is here. Dropped before its end, it closes the connection to the agent.
pub(crate) struct Incoming {
    session: HttpSession,
    peer: HttpPeer,
    head: AgentHead,
    pause: Duration,
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
        let opening = async {
            let (mut session, peer) = self.send(permit, body, envelope).await?;
            let header = final_head(&mut session).await?;
            let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
            let named = header.headers.iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?)));
            let head = AgentHead { status: header.status.as_u16(), headers: named.collect() };
            Ok(Incoming { session, peer, head, pause })
        };
        timeout(pause, opening).await.unwrap_or_else(|_| Err(silent(pause)))
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

    /// The next piece of the body; `None` behind the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match timeout(self.pause, self.session.read_body_bytes()).await {
            Ok(read) => read.map_err(failure),
            Err(_) => Err(silent(self.pause)),
        }
    }
}

fn silent(pause: Duration) -> Failure {
    Failure { reason: Reason::AgentTimeout, detail: format!("nothing came for {pause:?}") }
}
