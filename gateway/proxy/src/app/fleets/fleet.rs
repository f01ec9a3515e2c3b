//! One agent's servers.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use swaigate_core::policy::{Agent, Server};

use super::{
    breaker::Breaker,
    homes::Homes,
    order::{Candidate, Home, digest, order},
    standing::Standing,
};

/// One agent's servers, under one policy.
pub struct Fleet {
    /// The policy.
    pub agent: Arc<Agent>,
    pub(super) load: Arc<Load>,
    /// With their weights.
    servers: Vec<(u32, Arc<Station>)>,
}

/// What is under way at an agent, and where.
#[derive(Default)]
pub(super) struct Load {
    in_flight: AtomicUsize,
    breaker: Mutex<Breaker>,
    homes: Mutex<Homes>,
}

/// A server.
pub struct Station {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Both, as they are shown.
    pub(super) name: Arc<str>,
    digest: u64,
    in_flight: AtomicUsize,
    standing: Mutex<Standing>,
}

// === impl Fleet ===

impl Fleet {
    /// Under this policy; what is known of those of before goes on.
    pub(super) fn of(agent: &Arc<Agent>, before: Option<&Fleet>) -> Self {
        let station = |server: &Server| {
            let name = server.authority();
            let known = before.and_then(|fleet| fleet.stations().find(|station| *station.name == *name));
            let station = known.map_or_else(|| Arc::new(Station::new(server, &name)), Arc::clone);
            (server.weight, station)
        };
        let load = before.map_or_else(Arc::default, |fleet| Arc::clone(&fleet.load));
        Self { agent: Arc::clone(agent), load, servers: agent.upstream.servers.iter().map(station).collect() }
    }

    pub(super) fn stations(&self) -> impl Iterator<Item = &Arc<Station>> {
        self.servers.iter().map(|(_, station)| station)
    }

    /// The servers that may be asked, the one to ask first at the front. Those that were sent away count as long as one
    /// is left that wasn't.
    pub(super) fn places(&self, home: Home, now: Instant) -> Vec<Arc<Station>> {
        let mut usable: Vec<_> = self.servers.iter().filter(|(_, station)| station.is_usable(now)).collect();
        if usable.is_empty() {
            usable = self.servers.iter().filter(|(_, station)| station.standing().is_up()).collect();
        }
        if let [(_, only)] = usable.as_slice() {
            return vec![Arc::clone(only)];
        }
        let candidates: Vec<_> = usable.iter().map(|(weight, station)| station.candidate(*weight)).collect();
        let places = order(&candidates, home).into_iter().filter_map(|place| usable.get(place));
        let mut places: Vec<_> = places.map(|(_, station)| Arc::clone(station)).collect();
        if let Home::At(number) = home {
            let kept = self.load.homes().of(number).and_then(|name| places.iter().position(|it| it.name == *name));
            if let Some(kept) = kept {
                places[..=kept].rotate_right(1);
            }
        }
        places
    }

    /// A call's document was made by this server: the rest of the call belongs there, too.
    pub(super) fn keep(&self, number: u64, station: &Station) {
        if self.servers.len() > 1 {
            self.load.homes().note(number, &station.name);
        }
    }

    /// A request to one of them has failed. If it is sent away for that, says for how long.
    pub(super) fn failed(&self, station: &Arc<Station>, now: Instant) -> Option<Duration> {
        let rules = &self.agent.upstream.eject;
        let is_due = station.standing().failed(now, rules);
        // Two at once may pass this together; `places` makes do with those that were sent away.
        (is_due && self.can_spare(station, now)).then(|| station.standing().eject(now, rules))
    }

    fn can_spare(&self, station: &Arc<Station>, now: Instant) -> bool {
        let percent = self.agent.upstream.eject.max_percent as usize;
        let most = if percent == 0 { 0 } else { (self.servers.len() * percent / 100).max(1) };
        let away = self.stations().filter(|it| it.standing().is_ejected(now)).count();
        away < most && self.stations().any(|other| !Arc::ptr_eq(other, station) && other.is_usable(now))
    }
}

// === impl Load ===

impl Load {
    /// Counts one more, and says how many there were.
    pub(super) fn enter(&self) -> usize {
        self.in_flight.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn homes(&self) -> MutexGuard<'_, Homes> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Station ===

impl Station {
    fn new(server: &Server, name: &str) -> Self {
        let Server { host, port, .. } = server;
        Self {
            host: host.clone(),
            port: *port,
            name: name.into(),
            digest: digest(name),
            in_flight: AtomicUsize::default(),
            standing: Mutex::default(),
        }
    }

    /// `host:port`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is up and wasn't sent away.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        let standing = self.standing();
        standing.is_up() && !standing.is_ejected(now)
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn candidate(&self, weight: u32) -> Candidate {
        Candidate { digest: self.digest, weight, in_flight: self.in_flight.load(Ordering::Relaxed) }
    }
}
