//! What all requests share.

mod board;
mod fleets;
mod loads;
mod recent;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use http::HeaderValue;
use swaigate_core::{
    basic::Fingerprint,
    decide::Admitted,
    id::{AgentName, RequestId},
    policy::{Agent, Policies},
    time::Timestamp,
    verdict::{Reply, Route},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub(crate) use self::fleets::{digest, score};
pub use self::{
    board::{Board, Follower, Unchanged, Wanted, WantedLock},
    fleets::{Due, Fleet, Fleets, NotNow, Station, View, Visit},
    loads::{Loaded, Loads},
    recent::{Decided, EACH, Recent, Sieve},
};
use crate::{
    audit::Audit,
    clock,
    metrics::Metrics,
    random::{self, NoRandomness},
    settings::{Connections, Hsts, Peers, STRANGERS_PART},
    state::{FailedAttempts, StateStore},
};

/// How many passwords may be hashed at once: each takes a core and some tens of mebibytes for some tens of milliseconds.
const HASHES_AT_ONCE: usize = 2;

/// How many verified passwords are remembered.
const MAX_VERIFIED: usize = 1024;

/// How long an agent's word on its health is good.
const HEALTH_TTL: Duration = Duration::from_secs(1);

/// The budget's unit in bytes.
const UNIT: usize = 1024;

/// What all requests share.
pub struct App {
    /// The policies in force. A request holds one set from start to end.
    pub policies: ArcSwap<Policies>,
    /// Counts and bindings.
    pub state: Box<dyn StateStore>,
    /// The audit log's queue.
    pub audit: Audit,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What is turned off, and who is locked out.
    pub board: Board,
    /// The last decisions.
    pub recent: Recent,
    /// When the configuration was loaded.
    pub loads: Loads,
    /// When the gateway started.
    pub started: Timestamp,
    /// Where wrong credentials came from.
    pub failures: FailedAttempts,
    /// Passwords that a hash has vouched for.
    pub verified: Verified,
    /// What agents last said of their health.
    pub health: Health,
    /// The agents' servers.
    pub fleets: Fleets,
    /// The bytes of all bodies in flight, but for those of [`App::strangers`].
    pub bodies: Budget,
    /// The bytes of all requests' bodies that the gateway authenticates nobody for: an eighth of the others, so that
    /// strangers can only crowd out each other.
    pub strangers: Budget,
    /// Permits to hash a password.
    pub hashing: Semaphore,
    /// How long a request's body may take, or an answer to be taken.
    pub body_timeout: Duration,
    /// How many bytes of a body have to come each second.
    pub body_rate: usize,
    /// Which proxies' `X-Forwarded-For` is read.
    pub trusted_proxies: Peers,
    /// What connections may take.
    pub connections: Connections,
    /// `Strict-Transport-Security`, for answers by https.
    pub hsts: HeaderValue,
    draining: watch::Sender<bool>,
    in_flight: AtomicUsize,
    /// What the ids of this process' requests begin with.
    process: [u8; 4],
    requests: AtomicU64,
}

/// Fingerprints of passwords that a hash has vouched for; the oldest knowledge is not worth more than the newest, so a
/// full set is emptied.
#[derive(Debug, Default)]
pub struct Verified(DashMap<Fingerprint, ()>);

/// What agents last said of their health. Anyone may ask for it, and must not reach the agent with each question.
#[derive(Debug, Default)]
pub struct Health(DashMap<AgentName, (Instant, Reply)>);

/// A number of bytes that all bodies in flight share.
#[derive(Debug)]
pub struct Budget {
    left: Arc<Semaphore>,
    /// All of it, in units.
    size: usize,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug, Default)]
pub struct Reserved {
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

/// The budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSpent;

/// Counts a request as under way until it is dropped.
pub struct Flight(Arc<App>);

/// What an [`App`] is made of.
pub struct Parts {
    /// See [`App::policies`].
    pub policies: Arc<Policies>,
    /// See [`App::state`].
    pub state: Box<dyn StateStore>,
    /// See [`App::board`].
    pub board: Board,
    /// See [`App::failures`].
    pub failures: FailedAttempts,
    /// See [`App::audit`].
    pub audit: Audit,
    /// See [`App::metrics`].
    pub metrics: Arc<Metrics>,
    /// See [`App::bodies`], in bytes.
    pub body_budget: usize,
    /// See [`App::body_timeout`].
    pub body_timeout: Duration,
    /// See [`App::body_rate`].
    pub body_rate: usize,
    /// See [`App::trusted_proxies`].
    pub trusted_proxies: Peers,
    /// See [`App::connections`].
    pub connections: Connections,
    /// See [`App::hsts`].
    pub hsts: Hsts,
}

// === impl App ===

impl App {
    /// Puts the parts together.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn new(parts: Parts) -> Result<Self, NoRandomness> {
        parts.metrics.agents.expect(&parts.policies);
        Ok(Self {
            fleets: Fleets::new(&parts.policies, Arc::clone(&parts.metrics)),
            policies: ArcSwap::new(parts.policies),
            state: parts.state,
            audit: parts.audit,
            metrics: parts.metrics,
            board: parts.board,
            recent: Recent::default(),
            loads: Loads::new(clock::now()),
            started: clock::now(),
            failures: parts.failures,
            verified: Verified::default(),
            health: Health::default(),
            bodies: Budget::new(parts.body_budget),
            strangers: Budget::new(parts.body_budget / STRANGERS_PART),
            hashing: Semaphore::new(HASHES_AT_ONCE),
            body_timeout: parts.body_timeout,
            body_rate: parts.body_rate,
            trusted_proxies: parts.trusted_proxies,
            connections: parts.connections,
            hsts: header(parts.hsts),
            draining: watch::Sender::new(false),
            in_flight: AtomicUsize::new(0),
            process: random::bytes()?,
            requests: AtomicU64::new(0),
        })
    }

    /// The id of one more request: unique, not secret.
    pub fn next_request(&self) -> RequestId {
        let count = self.requests.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut id = [0; 12];
        let (front, back) = id.split_at_mut(4);
        front.copy_from_slice(&self.process);
        back.copy_from_slice(&count);
        RequestId(id)
    }

    /// Counts a request as under way.
    pub fn take_off(self: &Arc<Self>) -> Flight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.metrics.process.in_flight.inc();
        Flight(Arc::clone(self))
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn metrics_text(&self) -> Result<Vec<u8>, prometheus::Error> {
        self.metrics.process.ready.set(i64::from(!self.is_draining() && self.audit.has_room()));
        for (name, budget) in [("known", &self.bodies), ("strangers", &self.strangers)] {
            let (used, size) = budget.used_of();
            self.metrics.process.bodies(name, used, size);
        }
        self.metrics.text(self.state.gauges(), self.failures.waiting(clock::now()))
    }

    /// How many requests and detached exchanges are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// From now on the gateway isn't ready, and connections are closed after their request.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// It is ready again: whoever was to take over didn't.
    pub fn go_on(&self) {
        self.draining.send_replace(false);
    }

    /// Whether it is shutting down.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// The same for who has to be told when it changes.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.process.in_flight.dec();
    }
}

fn header(Hsts { max_age, include_subdomains }: Hsts) -> HeaderValue {
    let below = if include_subdomains { "; includeSubDomains" } else { "" };
    // A number and these words are always a value.
    HeaderValue::try_from(format!("max-age={}{below}", max_age.as_secs()))
        .unwrap_or_else(|_| HeaderValue::from_static("max-age=0"))
}

// === impl Verified ===

impl Verified {
    /// Whether the password behind this was verified.
    pub fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.0.contains_key(fingerprint)
    }

    /// Remembers that it was.
    pub fn insert(&self, fingerprint: Fingerprint) {
        if self.0.len() >= MAX_VERIFIED {
            self.0.clear();
        }
        self.0.insert(fingerprint, ());
    }
}

// === impl Health ===

impl Health {
    /// An answer that is still good, if the request asks for one.
    pub fn recent(&self, admitted: &Admitted) -> Option<Reply> {
        if admitted.route() != Route::Health {
            return None;
        }
        let known = self.0.get(&admitted.agent().name)?;
        let (at, reply) = known.value();
        (at.elapsed() < HEALTH_TTL).then(|| reply.clone())
    }

    /// Remembers an agent's answer; a reload forgets those that are gone.
    pub fn remember(&self, agent: &Agent, route: Route, reply: &Reply) {
        if route == Route::Health {
            self.0.insert(agent.name.clone(), (Instant::now(), reply.clone()));
        }
    }

    /// Forgets the agents that are gone.
    pub fn keep_agents(&self, policies: &Policies) {
        self.0.retain(|name, _| policies.agent(name).is_some());
    }
}

// === impl Budget ===

impl Budget {
    fn new(bytes: usize) -> Self {
        let size = (bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(size)), size }
    }

    /// How much of it is used, and all of it, in bytes.
    fn used_of(&self) -> (usize, usize) {
        (self.size.saturating_sub(self.left.available_permits()) * UNIT, self.size * UNIT)
    }

    /// Makes a reservation large enough for `bytes`.
    ///
    /// # Errors
    /// [`BudgetSpent`]; the reservation is as it was.
    pub fn grow(&self, reserved: &mut Reserved, bytes: usize) -> Result<(), BudgetSpent> {
        let missing = bytes.saturating_sub(reserved.bytes).div_ceil(UNIT);
        if missing == 0 {
            return Ok(());
        }
        let units = u32::try_from(missing).map_err(|_| BudgetSpent)?;
        let more = Arc::clone(&self.left).try_acquire_many_owned(units).map_err(|_| BudgetSpent)?;
        match &mut reserved.permit {
            Some(permit) => permit.merge(more),
            None => reserved.permit = Some(more),
        }
        reserved.bytes += missing * UNIT;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let budget = Budget::new(10 * UNIT);
        let (mut a, mut b) = (Reserved::default(), Reserved::default());
        assert_eq!(budget.grow(&mut a, 4 * UNIT + 1), Ok(()));
        assert_eq!(budget.grow(&mut a, 5 * UNIT), Ok(()), "already reserved");
        assert_eq!(budget.grow(&mut b, 5 * UNIT + 1), Err(BudgetSpent));
        assert_eq!(budget.grow(&mut b, 5 * UNIT), Ok(()));
        assert_eq!(budget.used_of(), (10 * UNIT, 10 * UNIT));
        drop(a);
        assert_eq!(budget.used_of(), (5 * UNIT, 10 * UNIT));
        assert_eq!(budget.grow(&mut b, 10 * UNIT), Ok(()));
    }
}
