//! What Prometheus sees of what is remembered.

use prometheus::IntGauge;

use super::{Register, value};
use crate::state::Gauges;

/// The metrics of what is remembered.
#[derive(Debug)]
pub(super) struct StateMetrics {
    cells: IntGauge,
    overflows: IntGauge,
    bindings: IntGauge,
    calls: IntGauge,
    facts: IntGauge,
    watched: IntGauge,
    watch_overflows: IntGauge,
    repeats: IntGauge,
    answer_bytes: IntGauge,
    locked_addresses: IntGauge,
}

// === impl StateMetrics ===

impl StateMetrics {
    pub(super) fn new(register: Register<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            cells: register.gauge("swaigate_limiter_cells", "Cells that the limits use.")?,
            overflows: register
                .gauge("swaigate_limiter_overflows", "Requests counted in a shared cell, for want of a free one.")?,
            bindings: register
                .gauge("swaigate_document_bindings", "Documents that are bound to the call that used them first.")?,
            calls: register.gauge("swaigate_calls", "Calls under way or ended whose tokens are not dead yet.")?,
            facts: register
                .gauge("swaigate_call_facts", "What was learned and done in calls, as far as rules ask for it.")?,
            watched: register
                .gauge("swaigate_watched_events", "Subjects that detection watches, and their events, together.")?,
            watch_overflows: register.gauge(
                "swaigate_watch_overflows",
                "Events that detection counted together, for want of room for each subject's.",
            )?,
            repeats: register.gauge(
                "swaigate_repeatable_requests",
                "Requests that may be sent again: those under way, and kept answers.",
            )?,
            answer_bytes: register
                .gauge("swaigate_kept_answer_bytes", "Bytes of answers kept for repeated requests.")?,
            locked_addresses: register.gauge(
                "swaigate_locked_addresses",
                "Addresses that have to wait before another password of theirs is hashed.",
            )?,
        })
    }

    pub(super) fn set(&self, gauges: Gauges, locked_addresses: usize) {
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
            gauge.set(value(count));
        }
        self.overflows.set(value(overflows));
        self.watch_overflows.set(value(watch_overflows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, tests::assert_lines};

    #[test]
    fn what_is_remembered_is_seen_each_by_its_own_name() {
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
        let text = String::from_utf8(Metrics::new().unwrap().text(gauges, 10).unwrap()).unwrap();
        let lines = [
            "swaigate_limiter_cells 3",
            "swaigate_document_bindings 2",
            "swaigate_calls 4",
            "swaigate_call_facts 7",
            "swaigate_watched_events 8",
            "swaigate_watch_overflows 9",
            "swaigate_repeatable_requests 5",
            "swaigate_kept_answer_bytes 6",
            "swaigate_limiter_overflows 1",
            "swaigate_locked_addresses 10",
        ];
        assert_lines(&text, &lines);
    }
}
