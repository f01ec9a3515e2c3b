//! What Prometheus sees of the operator's files: whether the last are in force, and until when certificates are good.

use std::path::Path;

use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec};
use swaigate_core::policy::Policies;

use super::Register;

/// The metrics of the operator's files.
#[derive(Debug)]
pub struct FileMetrics {
    reloads: IntCounterVec,
    last_reload: Gauge,
    is_current: IntGauge,
    certificates: GaugeVec,
    unverified_upstreams: IntGaugeVec,
}

// === impl FileMetrics ===

impl FileMetrics {
    pub(super) fn new(register: Register<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            reloads: register.counters(
                "swaigate_reloads_total",
                "Reloads of the configuration by result.",
                &["result"],
            )?,
            last_reload: register.time(
                "swaigate_last_reload_success_timestamp_seconds",
                "When the configuration in force was loaded, in Unix seconds.",
            )?,
            is_current: register.gauge(
                "swaigate_last_reload_successful",
                "1 if the files were in order when they were last read, 0 if older ones are in force.",
            )?,
            certificates: register.times(
                "swaigate_certificate_expiry_timestamp_seconds",
                "When the first certificate in a file ends, in Unix seconds.",
                &["file"],
            )?,
            unverified_upstreams: register.gauges(
                "swaigate_upstream_unverified",
                "Agents whose certificate is not looked at; always 1.",
                &["agent"],
            )?,
        };
        for is_loaded in [true, false] {
            metrics.reloads.with_label_values(&[result(is_loaded)]);
        }
        Ok(metrics)
    }

    /// Counts a reload, or the first load; of one that went well, with its time in Unix seconds.
    pub fn reloaded(&self, outcome: Result<f64, ()>) {
        self.reloads.with_label_values(&[result(outcome.is_ok())]).inc();
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
}

fn result(is_loaded: bool) -> &'static str {
    if is_loaded { "ok" } else { "refused" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{
        Metrics,
        tests::{assert_lines, text},
    };

    #[test]
    fn reloads_are_counted_from_zero_and_a_refused_one_leaves_the_last_good_one() {
        let metrics = Metrics::new().unwrap();
        metrics.files.reloaded(Ok(1_800_000_000.5));
        let lines = [
            r#"swaigate_reloads_total{result="ok"} 1"#,
            r#"swaigate_reloads_total{result="refused"} 0"#,
            "swaigate_last_reload_successful 1",
        ];
        assert_lines(&text(&metrics), &lines);
        metrics.files.reloaded(Err(()));
        let lines = [
            r#"swaigate_reloads_total{result="ok"} 1"#,
            r#"swaigate_reloads_total{result="refused"} 1"#,
            "swaigate_last_reload_successful 0",
            "swaigate_last_reload_success_timestamp_seconds 1800000000.5",
        ];
        assert_lines(&text(&metrics), &lines);
    }

    #[test]
    fn only_the_certificates_in_use_are_seen() {
        let metrics = Metrics::new().unwrap();
        metrics.files.certificates([(Path::new("old.crt"), 5)].into_iter());
        metrics.files.certificates([(Path::new("tls.crt"), 1_800_000_000)].into_iter());
        let text = text(&metrics);
        assert_lines(&text, &[r#"swaigate_certificate_expiry_timestamp_seconds{file="tls.crt"} 1800000000"#]);
        assert!(!text.contains("old.crt"), "{text}");
    }
}
