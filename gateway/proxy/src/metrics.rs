//! What Prometheus sees. Every label is from a closed list or from the operator's files, so nothing grows with traffic.

mod expected;
mod servers;

use std::{path::Path, time::Duration};

use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use swaigate_core::{
    orders::{Locks, Subject},
    policy::{Detector, Policies},
    record::{Repeat, Rule, Shadowed},
    switches::{Scope, Switches},
    verdict::{Decision, Reason, Route},
};

pub use self::servers::ServerMetrics;
use crate::state::Gauges;

/// The label of requests that no agent was found for.
pub const NO_AGENT: &str = "-";

/// Upper bounds in seconds: the gateway's own time is some tens of microseconds, an agent's up to minutes.
const GATEWAY_BUCKETS: &[f64] = &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0];
const AGENT_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 110.0];

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    gateway_seconds: HistogramVec,
    agent_seconds: HistogramVec,
    upstream_errors: IntCounterVec,
    /// Agents' servers.
    pub servers: ServerMetrics,
    streamed: IntCounterVec,
    /// Requests and detached exchanges under way.
    pub in_flight: IntGauge,
    connections: IntGauge,
    connections_limit: IntGauge,
    turned_away: IntCounterVec,
    cells: IntGauge,
    bindings: IntGauge,
    calls: IntGauge,
    facts: IntGauge,
    watched: IntGauge,
    watch_overflows: IntGauge,
    anomalies: IntCounterVec,
    repeats: IntGauge,
    answer_bytes: IntGauge,
    repeated: IntCounterVec,
    shadowed: IntCounterVec,
    overflows: IntGauge,
    switches: IntGaugeVec,
    switch_changes: IntCounterVec,
    lockouts: IntGaugeVec,
    lockout_changes: IntCounterVec,
    failed_authentication: IntCounterVec,
    locked_addresses: IntGauge,
    reloads: IntCounterVec,
    last_reload: Gauge,
    certificates: GaugeVec,
    unverified_upstreams: IntGaugeVec,
    is_current: IntGauge,
    /// What `/readyz` says.
    pub ready: IntGauge,
    body_bytes: IntGaugeVec,
    body_budget: IntGaugeVec,
    /// Records written to the audit log.
    pub audit_written: IntCounter,
    /// Records of refusals that were dropped, because the queue was full.
    pub audit_dropped: IntCounter,
    /// Failed writes of the audit log.
    pub audit_errors: IntCounter,
    /// 1 while the audit log can't be written or synced.
    pub audit_failing: IntGauge,
    /// Requests of strangers that are counted in the audit log, and have no record of their own.
    pub audit_counted: IntCounter,
    audit_copies_lost: IntCounterVec,
}

/// What is measured of a finished request.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'o> {
    /// The agent, or [`NO_AGENT`].
    pub agent: &'o str,
    /// What was asked.
    pub route: Route,
    /// How it ended.
    pub reason: Reason,
    /// From the head's arrival to the answer's departure, without the agent's time.
    pub gateway: Duration,
    /// The agent's time, if it was asked.
    pub agent_time: Option<Duration>,
}

/// Why a connection is closed before a request of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// As many as `connections.max` are open.
    Full,
    /// As many as `connections.max_per_address` are open from its address.
    AddressFull,
    /// Its address is in `deny` of its listener, or isn't in `allow`.
    Denied,
    /// It isn't from a proxy that the listener's `proxy_protocol` trusts.
    Untrusted,
    /// It is, and doesn't begin with a header of the PROXY protocol.
    ProxyHeader,
    /// Its TLS handshake has failed.
    Handshake,
    /// Its handshake, or a head, took longer than `connections.header_timeout`.
    Slow,
}

/// A connection that counts as open until this is dropped.
#[derive(Debug)]
pub struct OpenConnection(IntGauge);

// === impl Metrics ===

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// If two metrics had one name; they don't.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let counter = |name: &str, help: &str| {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let metric = HistogramVec::new(options, &["agent", "route"])?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let last_reload = Gauge::new(
            "swaigate_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded, in Unix seconds.",
        )?;
        registry.register(Box::new(last_reload.clone()))?;
        let certificates = GaugeVec::new(
            Opts::new(
                "swaigate_certificate_expiry_timestamp_seconds",
                "When the first certificate in a file ends, in Unix seconds.",
            ),
            &["file"],
        )?;
        registry.register(Box::new(certificates.clone()))?;
        let unverified_upstreams = IntGaugeVec::new(
            Opts::new("swaigate_upstream_unverified", "Agents whose certificate is not looked at; always 1."),
            &["agent"],
        )?;
        registry.register(Box::new(unverified_upstreams.clone()))?;
        let lockouts = IntGaugeVec::new(Opts::new("swaigate_lockouts", "Lockouts in force, by kind."), &["kind"])?;
        registry.register(Box::new(lockouts.clone()))?;
        let gauges = |name: &str, help: &str, label: &str| {
            let metric = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        build_info(&registry)?;
        process(&registry)?;
        Ok(Self {
            requests: counters(
                "swaigate_requests_total",
                "Requests by agent, route, decision and reason.",
                &["agent", "route", "decision", "reason"],
            )?,
            gateway_seconds: histogram(
                "swaigate_gateway_seconds",
                "Time a request spent in the gateway, without the agent's.",
                GATEWAY_BUCKETS,
            )?,
            agent_seconds: histogram("swaigate_agent_seconds", "Time the agent took to answer.", AGENT_BUCKETS)?,
            upstream_errors: counters(
                "swaigate_upstream_errors_total",
                "Exchanges with an agent that failed, by reason.",
                &["agent", "reason"],
            )?,
            servers: ServerMetrics::new(&registry)?,
            streamed: counters(
                "swaigate_streamed_bytes_total",
                "Bytes of answers that passed as they came.",
                &["agent", "route"],
            )?,
            in_flight: gauge("swaigate_in_flight", "Requests under way, detached exchanges included.")?,
            connections: gauge("swaigate_connections", "Connections of clients that are open.")?,
            connections_limit: gauge("swaigate_connections_limit", "How many there may be.")?,
            turned_away: counters(
                "swaigate_connections_refused_total",
                "Connections of clients that were closed before a request of theirs was read, by cause.",
                &["cause"],
            )?,
            cells: gauge("swaigate_limiter_cells", "Cells that the limits use.")?,
            bindings: gauge(
                "swaigate_document_bindings",
                "Documents that are bound to the call that used them first.",
            )?,
            calls: gauge("swaigate_calls", "Calls under way or ended whose tokens are not dead yet.")?,
            facts: gauge("swaigate_call_facts", "What was learned and done in calls, as far as rules ask for it.")?,
            watched: gauge("swaigate_watched_events", "Subjects that detection watches, and their events, together.")?,
            watch_overflows: gauge(
                "swaigate_watch_overflows",
                "Events that detection counted together, for want of room for each subject's.",
            )?,
            anomalies: counters(
                "swaigate_anomalies_total",
                "Anomalies that detection has found, by rule and by what kind of anomaly that tells.",
                &["agent", "kind", "rule"],
            )?,
            repeats: gauge(
                "swaigate_repeatable_requests",
                "Requests that may be sent again: those under way, and kept answers.",
            )?,
            answer_bytes: gauge("swaigate_kept_answer_bytes", "Bytes of answers kept for repeated requests.")?,
            shadowed: counters(
                "swaigate_shadow_refusals_total",
                "What rules in shadow would have refused, by rule and reason.",
                &["agent", "rule", "reason"],
            )?,
            repeated: counters(
                "swaigate_repeated_requests_total",
                "Requests that were sent before, by whether they joined the first or got its stored answer.",
                &["agent", "how"],
            )?,
            overflows: gauge(
                "swaigate_limiter_overflows",
                "Requests counted in a shared cell, for want of a free one.",
            )?,
            switches: gauges("swaigate_switches", "Emergency switches that are on, by scope.", "scope")?,
            switch_changes: counters(
                "swaigate_switch_changes_total",
                "Emergency switches that were turned, by which way.",
                &["action"],
            )?,
            lockouts,
            lockout_changes: counters(
                "swaigate_lockout_changes_total",
                "Lockouts that were set or ended, by which.",
                &["action"],
            )?,
            failed_authentication: counters(
                "swaigate_failed_authentication_total",
                "Requests with wrong Basic credentials.",
                &["agent"],
            )?,
            locked_addresses: gauge(
                "swaigate_locked_addresses",
                "Addresses that have to wait before another password of theirs is hashed.",
            )?,
            reloads: counters("swaigate_reloads_total", "Reloads of the configuration by result.", &["result"])?,
            last_reload,
            certificates,
            unverified_upstreams,
            is_current: gauge(
                "swaigate_last_reload_successful",
                "1 if the files were in order when they were last read, 0 if older ones are in force.",
            )?,
            ready: gauge(
                "swaigate_ready",
                "1 as long as new requests are wanted: 0 when the process is ending, or nothing can be recorded.",
            )?,
            body_bytes: gauges("swaigate_body_bytes", "Bytes of bodies in flight, by budget.", "budget")?,
            body_budget: gauges("swaigate_body_budget_bytes", "How many there may be.", "budget")?,
            audit_written: counter("swaigate_audit_records_total", "Audit records written.")?,
            audit_dropped: counter(
                "swaigate_audit_dropped_total",
                "Audit records of refusals that found the queue full.",
            )?,
            audit_errors: counter("swaigate_audit_errors_total", "Failed writes of the audit log.")?,
            audit_failing: gauge("swaigate_audit_failing", "1 while the audit log can't be written or synced.")?,
            audit_counted: counter(
                "swaigate_audit_strangers_total",
                "Requests of strangers that the audit log counts, without a record of their own.",
            )?,
            audit_copies_lost: counters(
                "swaigate_audit_copies_lost_total",
                "Audit records that could not be copied to a sink; the file has them.",
                &["sink"],
            )?,
            registry,
        })
    }

    /// Counts a finished request.
    pub fn observe(&self, seen: &Observation<'_>) {
        let route = seen.route.as_str();
        let decision = Decision::from(seen.reason).as_str();
        self.requests.with_label_values(&[seen.agent, route, decision, seen.reason.as_str()]).inc();
        self.gateway_seconds.with_label_values(&[seen.agent, route]).observe(seen.gateway.as_secs_f64());
        if let Some(time) = seen.agent_time {
            self.agent_seconds.with_label_values(&[seen.agent, route]).observe(time.as_secs_f64());
        }
    }

    /// Counts a connection as open until it is dropped.
    pub fn open_connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        usize::try_from(self.connections.get()).unwrap_or_default()
    }

    /// Counts a connection that was closed before a request of it was read.
    pub fn turned_away(&self, cause: TurnedAway) {
        self.turned_away.with_label_values(&[cause.as_str()]).inc();
    }

    /// Counts a request that was sent before.
    pub fn repeated(&self, agent: &str, how: Repeat) {
        self.repeated.with_label_values(&[agent, how.as_str()]).inc();
    }

    /// Counts what a rule in shadow would have refused.
    pub fn shadowed(&self, agent: &str, seen: Shadowed) {
        self.shadowed.with_label_values(&[agent, seen.rule.as_str(), seen.reason]).inc();
    }

    /// Counts the switches that are on.
    pub fn switches(&self, switches: &Switches) {
        for kind in Scope::KINDS {
            let count = switches.iter().filter(|switch| switch.scope.kind() == kind).count();
            self.switches.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts a switch that was turned.
    pub fn switch_turned(&self, action: &str) {
        self.switch_changes.with_label_values(&[action]).inc();
    }

    /// Counts the lockouts in force.
    pub fn lockouts(&self, locks: &Locks) {
        for kind in Subject::KINDS {
            let count = locks.iter().filter(|lock| lock.subject.kind() == kind).count();
            self.lockouts.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts a lockout that was set or ended.
    pub fn lockout_changed(&self, action: &str) {
        self.lockout_changes.with_label_values(&[action]).inc();
    }

    /// Counts a request with wrong credentials.
    pub fn failed_authentication(&self, agent: &str) {
        self.failed_authentication.with_label_values(&[agent]).inc();
    }

    /// Begins to count the records that a sink of the audit log doesn't get.
    pub fn expect_audit_sink(&self, sink: &str) {
        self.audit_copies_lost.with_label_values(&[sink]);
    }

    /// Counts a record that a sink of the audit log didn't get.
    pub fn audit_copy_lost(&self, sink: &str) {
        self.audit_copies_lost.with_label_values(&[sink]).inc();
    }

    /// Counts an anomaly.
    pub fn anomaly(&self, agent: &str, detector: &Detector) {
        self.anomalies.with_label_values(&[agent, detector.kind(), &*detector.watch.name]).inc();
    }

    /// Counts what left of an answer that passed as it came.
    pub fn streamed(&self, agent: &str, route: Route, bytes: u64) {
        self.streamed.with_label_values(&[agent, route.as_str()]).inc_by(bytes);
    }

    /// Counts a failed exchange.
    pub fn upstream_error(&self, agent: &str, reason: Reason) {
        self.upstream_errors.with_label_values(&[agent, reason.as_str()]).inc();
    }

    /// Counts a reload, or the first load.
    pub fn reloaded(&self, outcome: Result<f64, ()>) {
        let result = if outcome.is_ok() { "ok" } else { "refused" };
        self.reloads.with_label_values(&[result]).inc();
        self.is_current.set(i64::from(outcome.is_ok()));
        if let Ok(unix_seconds) = outcome {
            self.last_reload.set(unix_seconds);
        }
    }

    /// Tells when the certificates in these files end, each by its file's name, and of no others.
    pub fn certificates<'f>(&self, files: impl Iterator<Item = (&'f Path, i64)>) {
        self.certificates.reset();
        for (file, ends) in files {
            self.certificates.with_label_values(&[&*file.to_string_lossy()]).set(ends as f64);
        }
    }

    /// Tells which agents' certificates are not looked at.
    pub fn unverified_upstreams(&self, policies: &Policies) {
        self.unverified_upstreams.reset();
        for agent in policies.agents().iter().filter(|agent| agent.upstream.tls.insecure_skip_verify) {
            self.unverified_upstreams.with_label_values(&[agent.name.as_str()]).set(1);
        }
    }

    /// Tells how much of a budget for bodies is used, in bytes.
    pub fn bodies(&self, budget: &str, used: usize, size: usize) {
        for (gauge, bytes) in [(&self.body_bytes, used), (&self.body_budget, size)] {
            gauge.with_label_values(&[budget]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// Forgets the series of agents that are gone, so that renaming agents for years makes nothing grow.
    pub fn keep_agents(&self, before: &Policies, after: &Policies) {
        for agent in before.agents() {
            for detector in &agent.detect {
                let (kind, rule) = (detector.kind(), &*detector.watch.name);
                let same = after.agent(&agent.name).and_then(|agent| agent.detector(rule));
                if same.is_none_or(|same| same.kind() != kind) {
                    let _ = self.anomalies.remove_label_values(&[agent.name.as_str(), kind, rule]);
                }
            }
        }
        for agent in before.agents().iter().filter(|agent| after.agent(&agent.name).is_none()) {
            let name = agent.name.as_str();
            let _ = self.failed_authentication.remove_label_values(&[name]);
            for how in [Repeat::Joined, Repeat::Stored] {
                let _ = self.repeated.remove_label_values(&[name, how.as_str()]);
            }
            for (rule, reason) in Rule::ALL.into_iter().flat_map(|rule| Reason::ALL.iter().map(move |r| (rule, r))) {
                let _ = self.shadowed.remove_label_values(&[name, rule.as_str(), reason.as_str()]);
            }
            for route in Route::ALL.map(Route::as_str) {
                let _ = self.gateway_seconds.remove_label_values(&[name, route]);
                let _ = self.agent_seconds.remove_label_values(&[name, route]);
                let _ = self.streamed.remove_label_values(&[name, route]);
                for reason in Reason::ALL {
                    let decision = Decision::from(*reason).as_str();
                    let _ = self.requests.remove_label_values(&[name, route, decision, reason.as_str()]);
                    let _ = self.upstream_errors.remove_label_values(&[name, reason.as_str()]);
                }
            }
        }
    }

    /// All of it in Prometheus' text format.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn text(&self, gauges: Gauges, locked_addresses: usize) -> Result<Vec<u8>, prometheus::Error> {
        let Gauges { cells, bindings, calls, facts, watched, watch_overflows, repeats, answer_bytes, overflows } =
            gauges;
        for (gauge, count) in [
            (&self.cells, cells),
            (&self.bindings, bindings),
            (&self.calls, calls),
            (&self.facts, facts),
            (&self.watched, watched),
            (&self.repeats, repeats),
            (&self.answer_bytes, answer_bytes),
            (&self.locked_addresses, locked_addresses),
        ] {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.overflows.set(i64::try_from(overflows).unwrap_or(i64::MAX));
        self.watch_overflows.set(i64::try_from(watch_overflows).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

// === impl TurnedAway ===

impl TurnedAway {
    const ALL: [TurnedAway; 7] = [
        TurnedAway::Full,
        TurnedAway::AddressFull,
        TurnedAway::Denied,
        TurnedAway::Untrusted,
        TurnedAway::ProxyHeader,
        TurnedAway::Handshake,
        TurnedAway::Slow,
    ];

    fn as_str(self) -> &'static str {
        match self {
            TurnedAway::Full => "full",
            TurnedAway::AddressFull => "address_full",
            TurnedAway::Denied => "denied",
            TurnedAway::Untrusted => "untrusted",
            TurnedAway::ProxyHeader => "proxy_header",
            TurnedAway::Handshake => "handshake",
            TurnedAway::Slow => "slow",
        }
    }
}

// === impl OpenConnection ===

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn build_info(registry: &Registry) -> Result<(), prometheus::Error> {
    let options = Opts::new("swaigate_build_info", "Which build this is; always 1.")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let info = IntGauge::with_opts(options)?;
    info.set(1);
    registry.register(Box::new(info))
}

/// What every Prometheus client tells of its process: memory, processor time, descriptors and their limit, and since when
/// it runs.
#[cfg(target_os = "linux")]
fn process(registry: &Registry) -> Result<(), prometheus::Error> {
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
}

#[cfg(not(target_os = "linux"))]
fn process(_: &Registry) -> Result<(), prometheus::Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use swaigate_core::policy::{Observed, Per, Watch};

    use super::*;

    fn detector() -> Detector {
        let watch = Watch { name: "too_many".into(), per: Per::CALLER, more_than: 3, every: Duration::from_secs(60) };
        Detector { watch, on: Observed::Calls, outside: None, action: None, is_shadow: false }
    }

    #[test]
    fn a_request_is_seen_with_its_reason_and_both_times() {
        let metrics = Metrics::new().unwrap();
        metrics.observe(&Observation {
            agent: "bank",
            route: Route::Swaig,
            reason: Reason::Limited,
            gateway: Duration::from_micros(80),
            agent_time: Some(Duration::from_millis(20)),
        });
        metrics.upstream_error("bank", Reason::AgentTimeout);
        metrics.streamed("bank", Route::Asset, 7);
        metrics.reloaded(Err(()));
        metrics.turned_away(TurnedAway::Slow);
        let _open = metrics.open_connection();
        drop(metrics.open_connection());
        metrics.repeated("bank", Repeat::Joined);
        metrics.switches(&Switches::default());
        metrics.switch_turned("on");
        metrics.lockouts(&Locks::default());
        metrics.lockout_changed("on");
        metrics.failed_authentication("bank");
        metrics.shadowed("bank", Shadowed { rule: Rule::Hours, reason: "closed" });
        metrics.certificates([(Path::new("old.crt"), 5)].into_iter());
        metrics.certificates([(Path::new("tls.crt"), 1_800_000_000)].into_iter());
        metrics.audit_copy_lost("syslog");
        metrics.anomaly("bank", &detector());
        metrics.ready.set(1);
        metrics.bodies("known", 1024, 4096);
        let gauges = Gauges {
            cells: 3,
            bindings: 2,
            calls: 4,
            facts: 7,
            watched: 8,
            watch_overflows: 9,
            repeats: 5,
            answer_bytes: 6,
            overflows: 1,
        };
        let text = String::from_utf8(metrics.text(gauges, 9).unwrap()).unwrap();
        for line in [
            r#"swaigate_requests_total{agent="bank",decision="refuse",reason="limited",route="swaig"} 1"#,
            r#"swaigate_gateway_seconds_bucket{agent="bank",route="swaig",le="0.0001"} 1"#,
            r#"swaigate_agent_seconds_bucket{agent="bank",route="swaig",le="0.025"} 1"#,
            r#"swaigate_upstream_errors_total{agent="bank",reason="agent_timeout"} 1"#,
            r#"swaigate_reloads_total{result="refused"} 1"#,
            r#"swaigate_streamed_bytes_total{agent="bank",route="asset"} 7"#,
            r#"swaigate_shadow_refusals_total{agent="bank",reason="closed",rule="hours"} 1"#,
            "swaigate_connections 1",
            r#"swaigate_connections_refused_total{cause="slow"} 1"#,
            "swaigate_limiter_cells 3",
            "swaigate_document_bindings 2",
            "swaigate_calls 4",
            "swaigate_call_facts 7",
            "swaigate_watched_events 8",
            "swaigate_watch_overflows 9",
            r#"swaigate_anomalies_total{agent="bank",kind="call_volume",rule="too_many"} 1"#,
            "swaigate_last_reload_successful 0",
            "swaigate_ready 1",
            r#"swaigate_body_bytes{budget="known"} 1024"#,
            r#"swaigate_body_budget_bytes{budget="known"} 4096"#,
            "swaigate_repeatable_requests 5",
            "swaigate_kept_answer_bytes 6",
            r#"swaigate_repeated_requests_total{agent="bank",how="joined"} 1"#,
            "swaigate_limiter_overflows 1",
            r#"swaigate_switches{scope="caller"} 0"#,
            r#"swaigate_switch_changes_total{action="on"} 1"#,
            r#"swaigate_lockouts{kind="address"} 0"#,
            r#"swaigate_lockout_changes_total{action="on"} 1"#,
            r#"swaigate_failed_authentication_total{agent="bank"} 1"#,
            "swaigate_locked_addresses 9",
            r#"swaigate_certificate_expiry_timestamp_seconds{file="tls.crt"} 1800000000"#,
            "swaigate_audit_failing 0",
            "swaigate_audit_strangers_total 0",
            r#"swaigate_audit_copies_lost_total{sink="syslog"} 1"#,
            concat!(r#"swaigate_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        ] {
            assert!(text.contains(line), "{line}\nnot in\n{text}");
        }
        assert!(!text.contains("old.crt"), "{text}");
    }
}
