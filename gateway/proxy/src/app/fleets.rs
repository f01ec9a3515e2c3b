//! The agents' servers: which of them are up, how much is under way, and which agent isn't asked for a while.
//!
//! What is known outlives a reload as long as agent and server keep their names. A request is counted by its [`Visit`],
//! whatever becomes of it.
//!
//! This isn't `pingora-load-balancing`, which knows neither ejection nor breaker nor bound, doesn't keep a call where it
//! is, and can't be given other servers once it runs.

mod breaker;
mod fleet;
mod homes;
mod order;
mod standing;
mod view;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
pub(crate) use order::{digest, score};
use swaigate_core::{
    decide::Permit,
    id::AgentName,
    policy::{Agent, Policies},
    verdict::{Reason, Route},
};
use tokio::sync::watch;

use self::{
    breaker::{Pass, Turn},
    order::Home,
};
pub use self::{
    fleet::{Fleet, Station},
    view::View,
};
use crate::metrics::Metrics;

/// All agents' servers.
pub struct Fleets {
    current: ArcSwap<HashMap<AgentName, Arc<Fleet>>>,
    changes: watch::Sender<()>,
    metrics: Arc<Metrics>,
    requests: AtomicU64,
}

/// A request that is under way at an agent, until this is dropped.
pub struct Visit {
    fleet: Arc<Fleet>,
    metrics: Arc<Metrics>,
    home: Home,
    is_document: bool,
    pass: Pass,
    at: Option<Arc<Station>>,
    has_ended: bool,
}

/// An agent that can't be asked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotNow {
    /// Why.
    pub reason: Reason,
    /// For the operator.
    pub detail: String,
}

/// A server that is to be asked how it is.
pub struct Due {
    /// Whose it is.
    pub fleet: Arc<Fleet>,
    /// Which.
    pub station: Arc<Station>,
}

// === impl Fleets ===

impl Fleets {
    /// Of these agents, of which nothing is known yet.
    pub fn new(policies: &Policies, metrics: Arc<Metrics>) -> Self {
        let fleets = Self {
            current: ArcSwap::default(),
            changes: watch::Sender::default(),
            metrics,
            requests: AtomicU64::default(),
        };
        fleets.follow(policies);
        fleets
    }

    /// From now on, these agents and servers are there and no others.
    pub fn follow(&self, policies: &Policies) {
        let before = self.current.load_full();
        let fleet = |agent: &Arc<Agent>| {
            let fleet = Fleet::of(agent, before.get(&agent.name).map(AsRef::as_ref));
            (agent.name.clone(), Arc::new(fleet))
        };
        let after: HashMap<_, _> = policies.agents().iter().map(fleet).collect();
        for fleet in after.values().filter(|fleet| fleet.agent.upstream.health.is_none()) {
            fleet.stations().for_each(|station| station.standing().unchecked());
        }
        self.forget_series(&before, &after);
        self.current.store(Arc::new(after));
        self.changes.send_replace(());
    }

    /// Tells whenever [`Fleets::follow`] has been called.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Counts a permitted request as under way at its agent.
    ///
    /// # Errors
    /// [`NotNow`], if as many are under way as may be, or if the agent isn't asked for a while.
    pub fn enter(&self, permit: &Permit, now: Instant) -> Result<Visit, NotNow> {
        self.enter_with(permit.agent(), permit.home(), permit.route() == Route::Swml, now)
    }

    fn enter_with(
        &self,
        agent: &Arc<Agent>,
        home: Option<[u8; 16]>,
        is_document: bool,
        now: Instant,
    ) -> Result<Visit, NotNow> {
        let fleet = self.of(agent);
        let most = agent.upstream.max_in_flight;
        let is_full = fleet.load.enter() >= most as usize;
        let home = match home {
            Some([a, b, c, d, e, f, g, h, ..]) => Home::At(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            None => Home::Anywhere(self.requests.fetch_add(1, Ordering::Relaxed)),
        };
        let metrics = Arc::clone(&self.metrics);
        let mut visit = Visit { fleet, metrics, home, is_document, pass: Pass::Free, at: None, has_ended: false };
        if is_full {
            let detail = format!("{most} requests are under way, which is `upstream.max_in_flight`");
            return Err(NotNow { reason: Reason::AgentBusy, detail });
        }
        if let Some(rules) = &agent.upstream.breaker {
            let passed = visit.fleet.load.breaker().pass(now, rules);
            visit.pass = passed.map_err(|wait| NotNow {
                reason: Reason::AgentUnavailable,
                detail: format!("what it was asked has failed too often; it is tried again in {wait:.1?}"),
            })?;
        }
        Ok(visit)
    }

    /// The servers whose next health check is due, and when the next ones are.
    pub fn due(&self, now: Instant) -> (Vec<Due>, Option<Instant>) {
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        for fleet in self.current.load().values() {
            let Some(check) = &fleet.agent.upstream.health else { continue };
            for station in fleet.stations() {
                let later = match station.standing().take_check(now, check.every) {
                    Ok(()) => {
                        due.push(Due { fleet: Arc::clone(fleet), station: Arc::clone(station) });
                        now + check.every
                    }
                    Err(later) => later,
                };
                next = Some(next.map_or(later, |next| next.min(later)));
            }
        }
        (due, next)
    }

    /// A health check has ended; `why` says what was wrong, if something was.
    pub fn checked(&self, due: &Due, why: Option<&str>) {
        let Due { fleet, station } = due;
        let Some(rules) = &fleet.agent.upstream.health else { return };
        let (agent, server) = (fleet.agent.name.as_str(), station.name());
        let turned = station.standing().checked(why.is_none(), rules);
        if self.has(fleet, station) {
            self.metrics.servers.checked(agent, server, why.is_none());
        }
        match turned {
            Some(true) => tracing::info!(agent, server, "the server is up"),
            Some(false) => tracing::warn!(agent, server, why, "the server is down and gets no requests"),
            None => {}
        }
    }

    /// Writes what is the case now into the metrics.
    pub fn measure(&self, now: Instant) {
        for fleet in self.current.load().values() {
            let agent = fleet.agent.name.as_str();
            self.metrics.servers.in_flight(agent, fleet.load.in_flight());
            for station in fleet.stations() {
                self.metrics.servers.up(agent, station.name(), station.is_usable(now));
            }
            if fleet.agent.upstream.breaker.is_some() {
                self.metrics.servers.breaker(agent, fleet.load.breaker().level(now));
            }
        }
    }

    /// The servers that a request under this policy may be sent to: it may be older than the policy in force.
    fn of(&self, agent: &Arc<Agent>) -> Arc<Fleet> {
        let current = self.current.load();
        let known = current.get(&agent.name);
        match known {
            Some(fleet) if Arc::ptr_eq(&fleet.agent, agent) => Arc::clone(fleet),
            _ => Arc::new(Fleet::of(agent, known.map(AsRef::as_ref))),
        }
    }

    /// Whether it is still there.
    fn has(&self, fleet: &Fleet, station: &Arc<Station>) -> bool {
        let current = self.current.load();
        let known = current.get(&fleet.agent.name);
        known.is_some_and(|fleet| fleet.stations().any(|known| Arc::ptr_eq(known, station)))
    }

    fn forget_series(&self, before: &HashMap<AgentName, Arc<Fleet>>, after: &HashMap<AgentName, Arc<Fleet>>) {
        for (name, old) in before {
            let new = after.get(name);
            let kept: HashSet<&str> = new.iter().flat_map(|fleet| fleet.stations()).map(|it| it.name()).collect();
            for gone in old.stations().filter(|station| !kept.contains(station.name())) {
                self.metrics.servers.forget_server(name.as_str(), gone.name());
            }
            if new.is_none_or(|fleet| fleet.agent.upstream.breaker.is_none()) {
                self.metrics.servers.forget_breaker(name.as_str());
            }
            if new.is_none() {
                self.metrics.servers.forget_agent(name.as_str());
            }
        }
    }
}

// === impl Visit ===

impl Visit {
    /// The servers that may be asked, the one to ask first at the front.
    ///
    /// # Errors
    /// [`NotNow`], if none is up.
    pub fn places(&self, now: Instant) -> Result<Vec<Arc<Station>>, NotNow> {
        let places = self.fleet.places(self.home, now);
        if places.is_empty() {
            let detail = "no server is up, by its health checks".to_owned();
            return Err(NotNow { reason: Reason::AgentUnavailable, detail });
        }
        Ok(places)
    }

    /// What draws among the addresses of a server's name.
    pub fn number(&self) -> u64 {
        match self.home {
            Home::At(number) | Home::Anywhere(number) => number,
        }
    }

    /// It is sent to this server now. One that it was sent to before has failed.
    pub fn goes_to(&mut self, station: &Arc<Station>, now: Instant) {
        self.note_failure(now);
        station.enter();
        if let Some(before) = self.at.replace(Arc::clone(station)) {
            before.leave();
        }
    }

    /// It was answered, or what it was sent to has failed.
    pub fn ends(&mut self, is_answered: bool, now: Instant) {
        self.has_ended = true;
        if !is_answered {
            self.note_failure(now);
        } else if let Some(station) = &self.at {
            station.standing().succeeded(now, &self.fleet.agent.upstream.eject);
            if let (Home::At(number), true) = (self.home, self.is_document) {
                self.fleet.keep(number, station);
            }
        }
        let Some(rules) = &self.fleet.agent.upstream.breaker else { return };
        let mut breaker = self.fleet.load.breaker();
        let turned = if is_answered { breaker.succeeded(self.pass) } else { breaker.failed(self.pass, now, rules) };
        let agent = self.fleet.agent.name.as_str();
        match turned {
            Some(Turn::Opened) => {
                tracing::warn!(agent, wait = ?rules.span, "what the agent was asked has failed too often: it isn't asked for a while");
            }
            Some(Turn::Closed) => tracing::info!(agent, "the agent answers again"),
            None => {}
        }
    }

    /// The server that it was sent to last, if the agent has several.
    pub fn server(&self) -> Option<Arc<str>> {
        let station = self.at.as_ref().filter(|_| self.fleet.stations().nth(1).is_some())?;
        Some(Arc::clone(&station.name))
    }

    fn note_failure(&mut self, now: Instant) {
        let Some(station) = &self.at else { return };
        if let Some(span) = self.fleet.failed(station, now) {
            let (agent, server) = (self.fleet.agent.name.as_str(), station.name());
            tracing::warn!(agent, server, ?span, "requests to the server fail: it gets none for a while");
            self.metrics.servers.ejected(agent, server);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(station) = self.at.take() {
            station.leave();
        }
        if !self.has_ended {
            self.fleet.load.breaker().given_back(self.pass, Instant::now());
        }
        self.fleet.load.leave();
    }
}

#[cfg(test)]
mod tests;
