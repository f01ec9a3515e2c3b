//! What Prometheus sees of requests. The label `agent` is an agent's name, or [`NO_AGENT`].

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};
use swaigate_core::{
    policy::{Detector, Policies},
    record::{Repeat, Rule, Shadowed},
    verdict::{Decision, Reason, Route},
};

use super::Register;

/// The label of requests that no agent was found for.
pub const NO_AGENT: &str = "-";

/// Upper bounds in seconds: the gateway's own time is some tens of microseconds, an agent's up to minutes.
const GATEWAY_BUCKETS: &[f64] = &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0];
const AGENT_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 110.0];

/// The metrics of requests, by agent.
#[derive(Debug)]
pub struct AgentMetrics {
    requests: IntCounterVec,
    gateway_seconds: HistogramVec,
    agent_seconds: HistogramVec,
    upstream_errors: IntCounterVec,
    streamed: IntCounterVec,
    anomalies: IntCounterVec,
    shadowed: IntCounterVec,
    repeated: IntCounterVec,
    failed_authentication: IntCounterVec,
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

// === impl AgentMetrics ===

impl AgentMetrics {
    pub(super) fn new(register: Register<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            requests: register.counters(
                "swaigate_requests_total",
                "Requests by agent, route, decision and reason.",
                &["agent", "route", "decision", "reason"],
            )?,
            gateway_seconds: register.histograms(
                "swaigate_gateway_seconds",
                "Time a request spent in the gateway, without the agent's.",
                &["agent", "route"],
                GATEWAY_BUCKETS,
            )?,
            agent_seconds: register.histograms(
                "swaigate_agent_seconds",
                "Time the agent took to answer.",
                &["agent", "route"],
                AGENT_BUCKETS,
            )?,
            upstream_errors: register.counters(
                "swaigate_upstream_errors_total",
                "Exchanges with an agent that failed, by reason.",
                &["agent", "reason"],
            )?,
            streamed: register.counters(
                "swaigate_streamed_bytes_total",
                "Bytes of answers that passed as they came.",
                &["agent", "route"],
            )?,
            anomalies: register.counters(
                "swaigate_anomalies_total",
                "Anomalies that detection has found, by rule and by what kind of anomaly that tells.",
                &["agent", "kind", "rule"],
            )?,
            shadowed: register.counters(
                "swaigate_shadow_refusals_total",
                "What rules in shadow would have refused, by rule and reason.",
                &["agent", "rule", "reason"],
            )?,
            repeated: register.counters(
                "swaigate_repeated_requests_total",
                "Requests that were sent before, by whether they joined the first or got its stored answer.",
                &["agent", "how"],
            )?,
            failed_authentication: register.counters(
                "swaigate_failed_authentication_total",
                "Requests with wrong Basic credentials.",
                &["agent"],
            )?,
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

    /// Counts a failed exchange.
    pub fn upstream_error(&self, agent: &str, reason: Reason) {
        self.upstream_errors.with_label_values(&[agent, reason.as_str()]).inc();
    }

    /// Counts what left of an answer that passed as it came.
    pub fn streamed(&self, agent: &str, route: Route, bytes: u64) {
        self.streamed.with_label_values(&[agent, route.as_str()]).inc_by(bytes);
    }

    /// Counts an anomaly.
    pub fn anomaly(&self, agent: &str, detector: &Detector) {
        self.anomalies.with_label_values(&[agent, detector.kind(), &*detector.watch.name]).inc();
    }

    /// Counts what a rule in shadow would have refused.
    pub fn shadowed(&self, agent: &str, seen: Shadowed) {
        self.shadowed.with_label_values(&[agent, seen.rule.as_str(), seen.reason]).inc();
    }

    /// Counts a request that was sent before.
    pub fn repeated(&self, agent: &str, how: Repeat) {
        self.repeated.with_label_values(&[agent, how.as_str()]).inc();
    }

    /// Counts a request with wrong credentials.
    pub fn failed_authentication(&self, agent: &str) {
        self.failed_authentication.with_label_values(&[agent]).inc();
    }

    /// Begins to count what alerts look at, for these agents.
    pub fn expect(&self, policies: &Policies) {
        self.expect_requests(NO_AGENT, Route::Unknown, Reason::Internal);
        for agent in policies.agents() {
            let name = agent.name.as_str();
            self.failed_authentication.with_label_values(&[name]);
            for detector in &agent.detect {
                self.anomalies.with_label_values(&[name, detector.kind(), &*detector.watch.name]);
            }
            for reason in Reason::ALL.iter().filter(|reason| reason.is_the_agents_fault()) {
                self.upstream_errors.with_label_values(&[name, reason.as_str()]);
            }
            Route::ALL.into_iter().for_each(|route| self.expect_requests(name, route, Reason::Internal));
            for reason in [Reason::Ok, Reason::Overloaded, Reason::AuditFull] {
                [Route::Swml, Route::Swaig].into_iter().for_each(|route| self.expect_requests(name, route, reason));
            }
        }
    }

    fn expect_requests(&self, agent: &str, route: Route, reason: Reason) {
        let decision = Decision::from(reason).as_str();
        self.requests.with_label_values(&[agent, route.as_str(), decision, reason.as_str()]);
    }

    /// Forgets the series of agents that are gone, so that renaming agents for years makes nothing grow.
    pub fn keep(&self, before: &Policies, after: &Policies) {
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
            self.forget(agent.name.as_str());
        }
    }

    /// Its anomalies are told by its policy.
    fn forget(&self, name: &str) {
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

#[cfg(test)]
mod tests {
    use swaigate_core::policy::{Observed, Per, Watch};

    use super::*;
    use crate::metrics::{
        Metrics,
        tests::{assert_lines, text},
    };

    fn detector() -> Detector {
        let watch = Watch { name: "too_many".into(), per: Per::CALLER, more_than: 3, every: Duration::from_secs(60) };
        Detector { watch, on: Observed::Calls, outside: None, action: None, is_shadow: false }
    }

    #[test]
    fn a_request_is_seen_with_its_reason_and_both_times() {
        let metrics = Metrics::new().unwrap();
        metrics.agents.observe(&Observation {
            agent: "bank",
            route: Route::Swaig,
            reason: Reason::Limited,
            gateway: Duration::from_micros(80),
            agent_time: Some(Duration::from_millis(20)),
        });
        let lines = [
            r#"swaigate_requests_total{agent="bank",decision="refuse",reason="limited",route="swaig"} 1"#,
            r#"swaigate_gateway_seconds_bucket{agent="bank",route="swaig",le="0.00005"} 0"#,
            r#"swaigate_gateway_seconds_bucket{agent="bank",route="swaig",le="0.0001"} 1"#,
            r#"swaigate_agent_seconds_bucket{agent="bank",route="swaig",le="0.01"} 0"#,
            r#"swaigate_agent_seconds_bucket{agent="bank",route="swaig",le="0.025"} 1"#,
        ];
        assert_lines(&text(&metrics), &lines);
    }

    #[test]
    fn what_else_happened_to_requests_is_counted() {
        let metrics = Metrics::new().unwrap();
        metrics.agents.upstream_error("bank", Reason::AgentTimeout);
        metrics.agents.streamed("bank", Route::Asset, 7);
        metrics.agents.anomaly("bank", &detector());
        metrics.agents.shadowed("bank", Shadowed { rule: Rule::Hours, reason: "closed" });
        metrics.agents.repeated("bank", Repeat::Joined);
        metrics.agents.failed_authentication("bank");
        let lines = [
            r#"swaigate_upstream_errors_total{agent="bank",reason="agent_timeout"} 1"#,
            r#"swaigate_streamed_bytes_total{agent="bank",route="asset"} 7"#,
            r#"swaigate_anomalies_total{agent="bank",kind="call_volume",rule="too_many"} 1"#,
            r#"swaigate_shadow_refusals_total{agent="bank",reason="closed",rule="hours"} 1"#,
            r#"swaigate_repeated_requests_total{agent="bank",how="joined"} 1"#,
            r#"swaigate_failed_authentication_total{agent="bank"} 1"#,
        ];
        assert_lines(&text(&metrics), &lines);
    }
}
