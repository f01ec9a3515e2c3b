//! What Prometheus sees. Every label is from a closed list or from the operator's files, so nothing grows with traffic.
//!
//! What alerts look at begins at zero, at the start or when its group is told what to expect: Prometheus sees no
//! increase in a series that begins with its first event, so an alert on the first would be silent.

mod agents;
mod audit;
mod connections;
mod files;
mod orders;
mod process;
mod register;
mod servers;
mod state;

use prometheus::{Encoder, Registry, TextEncoder};

pub use self::{
    agents::{AgentMetrics, NO_AGENT, Observation},
    audit::AuditMetrics,
    connections::{ConnectionMetrics, OpenConnection, TurnedAway},
    files::FileMetrics,
    orders::OrderMetrics,
    process::ProcessMetrics,
    servers::ServerMetrics,
};
use self::{register::Register, state::StateMetrics};
use crate::state::Gauges;

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests, by agent.
    pub agents: AgentMetrics,
    /// Agents' servers.
    pub servers: ServerMetrics,
    /// Connections of clients.
    pub connections: ConnectionMetrics,
    /// Emergency switches and lockouts.
    pub orders: OrderMetrics,
    /// The audit log.
    pub audit: AuditMetrics,
    /// The configuration and the certificates in force.
    pub files: FileMetrics,
    /// The process as a whole.
    pub process: ProcessMetrics,
    state: StateMetrics,
}

// === impl Metrics ===

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// If two metrics had one name; they don't.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let register = Register(&registry);
        Ok(Self {
            agents: AgentMetrics::new(register)?,
            servers: ServerMetrics::new(register)?,
            connections: ConnectionMetrics::new(register)?,
            orders: OrderMetrics::new(register)?,
            audit: AuditMetrics::new(register)?,
            files: FileMetrics::new(register)?,
            process: ProcessMetrics::new(register)?,
            state: StateMetrics::new(register)?,
            registry,
        })
    }

    /// All of it in Prometheus' text format.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn text(&self, gauges: Gauges, locked_addresses: usize) -> Result<Vec<u8>, prometheus::Error> {
        self.state.set(gauges, locked_addresses);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// A number of things as the value of a gauge.
fn value(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Prometheus is told while nothing is remembered.
    pub(super) fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.text(Gauges::default(), 0).unwrap()).unwrap()
    }

    #[track_caller]
    pub(super) fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|told| told == *line), "{line}\nnot in\n{text}");
        }
    }
}
