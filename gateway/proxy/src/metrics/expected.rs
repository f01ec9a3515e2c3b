//! What begins at zero. Prometheus sees no increase in a series that begins with its first event, so an alert on the first
//! would be silent.

use swaigate_core::{
    policy::Policies,
    verdict::{Decision, Reason, Route},
};

use super::{Metrics, NO_AGENT, TurnedAway};

impl Metrics {
    /// Begins to count what alerts look at, for these agents.
    pub fn expect_agents(&self, policies: &Policies) {
        for result in ["ok", "refused"] {
            self.reloads.with_label_values(&[result]);
        }
        self.expect(NO_AGENT, Route::Unknown, Reason::Internal);
        for agent in policies.agents() {
            let name = agent.name.as_str();
            self.failed_authentication.with_label_values(&[name]);
            for detector in &agent.detect {
                self.anomalies.with_label_values(&[name, detector.kind(), &*detector.watch.name]);
            }
            for reason in Reason::ALL.iter().filter(|reason| reason.is_the_agents_fault()) {
                self.upstream_errors.with_label_values(&[name, reason.as_str()]);
            }
            Route::ALL.into_iter().for_each(|route| self.expect(name, route, Reason::Internal));
            for reason in [Reason::Ok, Reason::Overloaded, Reason::AuditFull] {
                [Route::Swml, Route::Swaig].into_iter().for_each(|route| self.expect(name, route, reason));
            }
        }
    }

    fn expect(&self, agent: &str, route: Route, reason: Reason) {
        let decision = Decision::from(reason).as_str();
        self.requests.with_label_values(&[agent, route.as_str(), decision, reason.as_str()]);
    }

    /// Tells how many connections there may be, and begins to count those that are turned away.
    pub fn expect_connections(&self, limit: usize) {
        self.connections_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        for cause in TurnedAway::ALL {
            self.turned_away.with_label_values(&[cause.as_str()]);
        }
    }
}
