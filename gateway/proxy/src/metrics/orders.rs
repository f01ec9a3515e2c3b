//! What Prometheus sees of emergency switches and lockouts: their kinds alone, since what they are for may be a number.

use prometheus::{IntCounterVec, IntGaugeVec};
use swaigate_core::{
    orders::{Locks, Subject},
    switches::{Scope, Switches},
};

use super::{Register, value};

/// The metrics of emergency switches and lockouts.
#[derive(Debug)]
pub struct OrderMetrics {
    switches: IntGaugeVec,
    switch_changes: IntCounterVec,
    lockouts: IntGaugeVec,
    lockout_changes: IntCounterVec,
}

// === impl OrderMetrics ===

impl OrderMetrics {
    pub(super) fn new(register: Register<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            switches: register.gauges("swaigate_switches", "Emergency switches that are on, by scope.", &["scope"])?,
            switch_changes: register.counters(
                "swaigate_switch_changes_total",
                "Emergency switches that were turned, by which way.",
                &["action"],
            )?,
            lockouts: register.gauges("swaigate_lockouts", "Lockouts in force, by kind.", &["kind"])?,
            lockout_changes: register.counters(
                "swaigate_lockout_changes_total",
                "Lockouts that were set or ended, by which.",
                &["action"],
            )?,
        })
    }

    /// Counts the switches that are on.
    pub fn switches(&self, switches: &Switches) {
        for kind in Scope::KINDS {
            let count = switches.iter().filter(|switch| switch.scope.kind() == kind).count();
            self.switches.with_label_values(&[kind]).set(value(count));
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
            self.lockouts.with_label_values(&[kind]).set(value(count));
        }
    }

    /// Counts a lockout that was set or ended.
    pub fn lockout_changed(&self, action: &str) {
        self.lockout_changes.with_label_values(&[action]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{
        Metrics,
        tests::{assert_lines, text},
    };

    #[test]
    fn orders_are_counted_by_kind_also_where_there_is_none() {
        let metrics = Metrics::new().unwrap();
        metrics.orders.switches(&Switches::default());
        metrics.orders.switch_turned("on");
        metrics.orders.lockouts(&Locks::default());
        metrics.orders.lockout_changed("on");
        let lines = [
            r#"swaigate_switches{scope="caller"} 0"#,
            r#"swaigate_switch_changes_total{action="on"} 1"#,
            r#"swaigate_lockouts{kind="address"} 0"#,
            r#"swaigate_lockout_changes_total{action="on"} 1"#,
        ];
        assert_lines(&text(&metrics), &lines);
    }
}
