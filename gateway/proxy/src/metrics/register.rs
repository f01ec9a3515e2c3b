//! How metrics are made, so that none is missing in what Prometheus sees.

use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

/// Makes metrics that this registry shows. Each method fails if the name is taken, or is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Register<'r>(pub(super) &'r Registry);

// === impl Register ===

impl Register<'_> {
    pub(super) fn counter(self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.show(IntCounter::new(name, help)?)
    }

    pub(super) fn counters(self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.show(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauge(self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.show(IntGauge::new(name, help)?)
    }

    pub(super) fn gauges(self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.show(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A time in Unix seconds, with what is less than one.
    pub(super) fn time(self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.show(Gauge::new(name, help)?)
    }

    /// Times in Unix seconds, with what is less than one.
    pub(super) fn times(self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.show(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// `buckets` are upper bounds, from the lowest.
    pub(super) fn histograms(
        self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.show(HistogramVec::new(options, labels)?)
    }

    /// Any other metric.
    pub(super) fn show<M: Collector + Clone + 'static>(self, metric: M) -> prometheus::Result<M> {
        self.0.register(Box::new(metric.clone())).map(|()| metric)
    }
}
