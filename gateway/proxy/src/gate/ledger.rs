//! Each request is recorded exactly once: in the audit log, the metrics and the log. Also when the client hangs up, a
//! timeout fires or the task is dropped: a ledger that was not closed records itself.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use pingora_proxy::Session;
use swaigate_core::{
    decide::Denial,
    id::RequestId,
    policy::Agent,
    record::{Bypass, Facts},
    route::Method,
    time::Timestamp,
    verdict::{Reason, Route},
};

use super::{Outcome, client, reply::Delivery};
use crate::{
    app::App,
    audit::{Entry, Event, Slot},
    clock,
    metrics::{NO_AGENT, Observation},
};

/// The record of a request that is under way.
pub(super) struct Ledger {
    app: Arc<App>,
    head: Opening,
    slot: Option<Slot>,
    facts: Facts,
    /// How long after [`Opening::at`] it was decided.
    decided: Option<Duration>,
    agent_time: Option<Duration>,
    sent: Option<Sent>,
    is_closed: bool,
}

/// What has left of an answer that passes as it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// Its status.
    pub(super) status: u16,
    /// How much of its body.
    pub(super) bytes: u64,
}

/// The record of what an agent answers after its request has ended.
pub(super) struct LateLedger {
    app: Arc<App>,
    head: Opening,
}

#[derive(Clone)]
struct Opening {
    at: Timestamp,
    /// How long after that it came.
    past: Duration,
    started: Instant,
    request: RequestId,
    agent: Option<Arc<Agent>>,
    route: Route,
    method: &'static str,
    client: Option<IpAddr>,
}

// === impl Ledger ===

impl Ledger {
    /// For a request that has just come.
    pub(super) fn open(app: Arc<App>, session: &Session) -> Self {
        let (at, past) = clock::now_exactly();
        let head = Opening {
            at,
            past,
            started: Instant::now(),
            request: app.next_request(),
            agent: None,
            route: Route::Unknown,
            method: Method::parse(session.req_header().method.as_str()).as_str(),
            client: client::of(session, &app.trusted_proxies),
        };
        let facts = Facts::default();
        Self { app, head, slot: None, facts, decided: None, agent_time: None, sent: None, is_closed: false }
    }

    pub(super) fn app(&self) -> &App {
        &self.app
    }

    pub(super) fn request(&self) -> RequestId {
        self.head.request
    }

    /// Who sent it, as far as that is known.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.head.client
    }

    /// What it asks for, now that it is known.
    pub(super) fn asks(&mut self, agent: &Arc<Agent>, route: Route) {
        self.head.agent = Some(Arc::clone(agent));
        self.head.route = route;
    }

    pub(super) fn refused(&mut self, denial: &Denial) {
        if let Some(agent) = &denial.agent {
            self.asks(agent, denial.route);
        }
    }

    /// What it is to have ended for this reason; nothing, if that is no refusal.
    pub(super) fn denial(&self, reason: Reason) -> Option<Denial> {
        let agent = self.head.agent.as_ref().filter(|_| reason != Reason::Ok)?;
        Some(Denial::of(reason, self.head.route, agent))
    }

    /// It is decided now.
    pub(super) fn decides(&mut self) {
        self.decided = Some(self.head.past + self.head.started.elapsed());
    }

    pub(super) fn facts(&mut self) -> &mut Facts {
        &mut self.facts
    }

    pub(super) fn facts_so_far(&self) -> Facts {
        self.facts.clone()
    }

    /// Keeps a place in the audit queue: what can't be recorded is not forwarded.
    ///
    /// # Errors
    /// [`Reason::AuditFull`].
    pub(super) async fn keep_place(&mut self) -> Result<(), Reason> {
        self.slot = self.app.audit.place().await;
        if self.slot.is_some() { Ok(()) } else { Err(Reason::AuditFull) }
    }

    pub(super) fn learn(&mut self, facts: Facts, agent_time: Option<Duration>) {
        self.facts = facts;
        self.agent_time = agent_time;
    }

    /// The agent was waited for so long, and goes on.
    pub(super) fn took(&mut self, agent_time: Duration) {
        self.agent_time = Some(agent_time);
    }

    /// The head of an answer that passes as it comes has left.
    pub(super) fn has_sent_head(&mut self, status: u16) {
        self.sent = Some(Sent { status, bytes: 0 });
    }

    /// So much more of its body has.
    pub(super) fn has_sent(&mut self, bytes: usize) {
        if let Some(sent) = &mut self.sent {
            sent.bytes += bytes as u64;
        }
    }

    pub(super) fn sent(&self) -> Option<Sent> {
        self.sent
    }

    pub(super) fn for_late_answer(&self) -> LateLedger {
        LateLedger { app: Arc::clone(&self.app), head: self.head.clone() }
    }

    /// Records how it ended.
    pub(super) fn close(mut self, reason: Reason, delivery: Delivery) {
        self.record(reason, delivery);
    }

    fn record(&mut self, reason: Reason, delivery: Delivery) {
        self.is_closed = true;
        let elapsed = self.head.started.elapsed();
        let gateway = elapsed.saturating_sub(self.agent_time.unwrap_or_default());
        // A call that outlives its agent's policy must not bring back series that a reload has removed.
        let is_served = |agent: &&Arc<Agent>| self.app.policies.load().agent(&agent.name).is_some();
        let agent = self.head.agent.as_ref().filter(is_served).map_or(NO_AGENT, |agent| agent.name.as_str());
        let (route, agent_time) = (self.head.route, self.agent_time);
        self.app.metrics.agents.observe(&Observation { agent, route, reason, gateway, agent_time });
        if let Some(sent) = self.sent {
            self.app.metrics.agents.streamed(agent, route, sent.bytes);
        }
        if let Some(how) = self.facts.repeat {
            self.app.metrics.agents.repeated(agent, how);
        }
        for seen in &self.facts.would_refuse {
            self.app.metrics.agents.shadowed(agent, *seen);
        }
        if reason.is_the_agents_fault() {
            self.app.metrics.agents.upstream_error(agent, reason);
            let detail = self.facts.detail.as_deref().unwrap_or_default();
            let request = self.head.request;
            tracing::warn!(%request, agent, route = route.as_str(), reason = reason.as_str(), detail, "the agent gave no answer that can be passed on");
        }
        if !self.facts.unmediated.is_empty() {
            let names = self.facts.unmediated.iter().map(|u| format!("{} ({})", u.what, u.how.as_str()));
            let names = names.collect::<Vec<_>>().join(", ");
            tracing::info!(request = %self.head.request, agent, not_mediated = names, "the document holds what does not pass through the gateway");
        }
        for function in self.facts.unmediated.iter().filter(|it| it.how == Bypass::Unenforced) {
            let (request, function) = (self.head.request, &function.what);
            tracing::error!(%request, agent, function, "a function has rules and doesn't pass through the gateway, so it was cut from the document: give it a webhook on the agent, or `publish: false`; or `insecure_unmediated: true`, and it stays without its rules");
        }
        let facts = std::mem::take(&mut self.facts);
        let event = if facts.begins_call { Event::CallStart } else { Event::Request };
        let entry = self.head.entry(event, reason, delivery, gateway, agent_time, facts);
        let entry = Entry { bytes: self.sent.map(|sent| sent.bytes), decided: self.decided, ..entry };
        self.app.recent.note(&entry);
        match self.slot.take() {
            Some(slot) => slot.record(entry),
            None => self.app.audit.record_refusal(entry),
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if !self.is_closed {
            let status = self.sent.map_or(0, |sent| sent.status);
            self.record(Reason::ClientGone, Delivery { status, complete: false });
        }
    }
}

// === impl LateLedger ===

impl LateLedger {
    /// Records what nobody waits for any more.
    pub(super) fn record(self, outcome: Outcome) {
        let Outcome { result, facts, agent_time } = outcome;
        let reason = result.map_or_else(|denial| denial.reason, |_| Reason::Ok);
        let delivery = Delivery { status: 0, complete: false };
        let entry = self.head.entry(Event::LateAnswer, reason, delivery, Duration::ZERO, agent_time, facts);
        match self.app.audit.reserve() {
            Some(slot) => slot.record(entry),
            None => self.app.audit.record_refusal(entry),
        }
    }
}

impl Opening {
    fn entry(
        &self,
        event: Event,
        reason: Reason,
        delivery: Delivery,
        gateway: Duration,
        agent_time: Option<Duration>,
        facts: Facts,
    ) -> Entry {
        Entry {
            event,
            at: self.at,
            request: self.request,
            agent: self.agent.as_ref().map(|agent| agent.name.clone()),
            route: self.route,
            method: self.method,
            client: self.client,
            reason,
            status: delivery.status,
            delivered: delivery.complete,
            bytes: None,
            decided: None,
            gateway,
            agent_time,
            facts,
        }
    }
}
