//! What Prometheus sees of the audit log.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::Register;

/// The metrics of the audit log.
#[derive(Debug)]
pub struct AuditMetrics {
    /// Records written.
    pub written: IntCounter,
    /// Records of refusals that were dropped, because the queue was full.
    pub dropped: IntCounter,
    /// Failed writes.
    pub errors: IntCounter,
    /// 1 while it can't be written or synced.
    pub failing: IntGauge,
    /// Requests of strangers that are counted, and have no record of their own.
    pub counted: IntCounter,
    copies_lost: IntCounterVec,
}

// === impl AuditMetrics ===

impl AuditMetrics {
    pub(super) fn new(register: Register<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            written: register.counter("swaigate_audit_records_total", "Audit records written.")?,
            dropped: register
                .counter("swaigate_audit_dropped_total", "Audit records of refusals that found the queue full.")?,
            errors: register.counter("swaigate_audit_errors_total", "Failed writes of the audit log.")?,
            failing: register.gauge("swaigate_audit_failing", "1 while the audit log can't be written or synced.")?,
            counted: register.counter(
                "swaigate_audit_strangers_total",
                "Requests of strangers that the audit log counts, without a record of their own.",
            )?,
            copies_lost: register.counters(
                "swaigate_audit_copies_lost_total",
                "Audit records that could not be copied to a sink; the file has them.",
                &["sink"],
            )?,
        })
    }

    /// Begins to count the records that a sink doesn't get.
    pub fn expect_sink(&self, sink: &str) {
        self.copies_lost.with_label_values(&[sink]);
    }

    /// Counts a record that a sink didn't get.
    pub fn copy_lost(&self, sink: &str) {
        self.copies_lost.with_label_values(&[sink]).inc();
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::{
        Metrics,
        tests::{assert_lines, text},
    };

    #[test]
    fn the_audit_log_is_seen_before_anything_happens_to_it() {
        let metrics = Metrics::new().unwrap();
        metrics.audit.expect_sink("stdout");
        metrics.audit.copy_lost("syslog");
        let lines = [
            "swaigate_audit_records_total 0",
            "swaigate_audit_dropped_total 0",
            "swaigate_audit_errors_total 0",
            "swaigate_audit_failing 0",
            "swaigate_audit_strangers_total 0",
            r#"swaigate_audit_copies_lost_total{sink="stdout"} 0"#,
            r#"swaigate_audit_copies_lost_total{sink="syslog"} 1"#,
        ];
        assert_lines(&text(&metrics), &lines);
    }
}
