//! What Prometheus sees of the process: which build it is, and what it has in hand.

use prometheus::{IntGauge, IntGaugeVec, Opts};

use super::{Register, value};

/// The metrics of the process as a whole.
#[derive(Debug)]
pub struct ProcessMetrics {
    /// Requests and detached exchanges under way.
    pub in_flight: IntGauge,
    /// What `/readyz` says.
    pub ready: IntGauge,
    body_bytes: IntGaugeVec,
    body_budget: IntGaugeVec,
}

// === impl ProcessMetrics ===

impl ProcessMetrics {
    pub(super) fn new(register: Register<'_>) -> prometheus::Result<Self> {
        build_info(register)?;
        system(register)?;
        Ok(Self {
            in_flight: register.gauge("swaigate_in_flight", "Requests under way, detached exchanges included.")?,
            ready: register.gauge(
                "swaigate_ready",
                "1 as long as new requests are wanted: 0 when the process is ending, or nothing can be recorded.",
            )?,
            body_bytes: register.gauges("swaigate_body_bytes", "Bytes of bodies in flight, by budget.", &["budget"])?,
            body_budget: register.gauges("swaigate_body_budget_bytes", "How many there may be.", &["budget"])?,
        })
    }

    /// Tells how much of a budget for bodies is used, in bytes.
    pub fn bodies(&self, budget: &str, used: usize, size: usize) {
        for (gauge, bytes) in [(&self.body_bytes, used), (&self.body_budget, size)] {
            gauge.with_label_values(&[budget]).set(value(bytes));
        }
    }
}

fn build_info(register: Register<'_>) -> prometheus::Result<()> {
    let options = Opts::new("swaigate_build_info", "Which build this is; always 1.")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    register.show(IntGauge::with_opts(options)?).map(|info| info.set(1))
}

/// What every Prometheus client tells of its process: memory, processor time, descriptors and their limit, and since
/// when it runs.
#[cfg(target_os = "linux")]
fn system(register: Register<'_>) -> prometheus::Result<()> {
    register.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
}

#[cfg(not(target_os = "linux"))]
fn system(_: Register<'_>) -> prometheus::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::metrics::{
        Metrics,
        tests::{assert_lines, text},
    };

    #[test]
    fn the_process_tells_its_build_and_what_it_has_in_hand() {
        let metrics = Metrics::new().unwrap();
        metrics.process.in_flight.inc();
        metrics.process.ready.set(1);
        metrics.process.bodies("known", 1024, 4096);
        let lines = [
            "swaigate_in_flight 1",
            "swaigate_ready 1",
            r#"swaigate_body_bytes{budget="known"} 1024"#,
            r#"swaigate_body_budget_bytes{budget="known"} 4096"#,
            concat!(r#"swaigate_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        ];
        assert_lines(&text(&metrics), &lines);
    }
}
