//! How agents' servers are, for whoever looks at a running gateway.

use std::time::Instant;

use swaigate_core::id::AgentName;

use super::Fleets;

/// An agent's servers, as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The agent.
    pub agent: AgentName,
    /// How many requests are under way at it.
    pub in_flight: usize,
    /// Whether requests are let through: `closed`, `half_open` (one may try) or `open` (none is); nothing without a breaker.
    pub breaker: Option<&'static str>,
    /// Each server by its name, and whether requests are sent there.
    pub servers: Vec<(String, bool)>,
}

impl Fleets {
    /// All agents' servers, by the agents' names.
    pub fn view(&self, now: Instant) -> Vec<View> {
        let current = self.current.load();
        let view = |fleet: &super::Fleet| View {
            agent: fleet.agent.name.clone(),
            in_flight: fleet.load.in_flight(),
            breaker: fleet.agent.upstream.breaker.is_some().then(|| match fleet.load.breaker().level(now) {
                0 => "closed",
                1 => "half_open",
                _ => "open",
            }),
            servers: fleet.stations().map(|server| (server.name().to_owned(), server.is_usable(now))).collect(),
        };
        let mut all: Vec<View> = current.values().map(|fleet| view(fleet)).collect();
        all.sort_by(|a, b| a.agent.cmp(&b.agent));
        all
    }
}
