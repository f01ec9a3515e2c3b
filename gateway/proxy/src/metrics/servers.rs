//! What Prometheus sees of agents' servers. The label `server` is `host:port`, as the policy has it.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Register, value};

/// The metrics of agents' servers.
#[derive(Debug)]
pub struct ServerMetrics {
    in_flight: IntGaugeVec,
    breaker: IntGaugeVec,
    up: IntGaugeVec,
    checks: IntCounterVec,
    ejections: IntCounterVec,
}

// === impl ServerMetrics ===

impl ServerMetrics {
    pub(super) fn new(register: Register<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            in_flight: register.gauges(
                "swaigate_agent_in_flight",
                "Requests under way at an agent, detached exchanges included.",
                &["agent"],
            )?,
            breaker: register.gauges(
                "swaigate_agent_breaker",
                "An agent's circuit breaker: 0 closed, 1 one request may try, 2 open.",
                &["agent"],
            )?,
            up: register.gauges(
                "swaigate_server_up",
                "Whether an agent's server gets requests: 0 if its health checks failed, or if it was ejected.",
                &["agent", "server"],
            )?,
            checks: register.counters(
                "swaigate_health_checks_total",
                "Health checks of an agent's server by result.",
                &["agent", "server", "result"],
            )?,
            ejections: register.counters(
                "swaigate_ejections_total",
                "How often an agent's server got no requests for a while, because those that it got had failed.",
                &["agent", "server"],
            )?,
        })
    }

    /// How many requests are under way at an agent.
    pub fn in_flight(&self, agent: &str, count: usize) {
        self.in_flight.with_label_values(&[agent]).set(value(count));
    }

    /// What an agent's breaker lets through.
    pub fn breaker(&self, agent: &str, level: i64) {
        self.breaker.with_label_values(&[agent]).set(level);
    }

    /// Whether a server gets requests.
    pub fn up(&self, agent: &str, server: &str, is_up: bool) {
        self.up.with_label_values(&[agent, server]).set(i64::from(is_up));
    }

    /// Counts a health check.
    pub fn checked(&self, agent: &str, server: &str, is_good: bool) {
        self.checks.with_label_values(&[agent, server, result(is_good)]).inc();
    }

    /// Counts that a server gets no requests for a while.
    pub fn ejected(&self, agent: &str, server: &str) {
        self.ejections.with_label_values(&[agent, server]).inc();
    }

    /// Forgets the series of a server that is gone.
    pub fn forget_server(&self, agent: &str, server: &str) {
        let _ = self.up.remove_label_values(&[agent, server]);
        let _ = self.ejections.remove_label_values(&[agent, server]);
        for is_good in [true, false] {
            let _ = self.checks.remove_label_values(&[agent, server, result(is_good)]);
        }
    }

    /// Forgets the series of a breaker that is gone.
    pub fn forget_breaker(&self, agent: &str) {
        let _ = self.breaker.remove_label_values(&[agent]);
    }

    /// Forgets how many requests are under way at an agent that is gone.
    pub fn forget_agent(&self, agent: &str) {
        let _ = self.in_flight.remove_label_values(&[agent]);
    }
}

fn result(is_good: bool) -> &'static str {
    if is_good { "ok" } else { "failed" }
}
