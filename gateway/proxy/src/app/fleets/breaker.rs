//! A circuit breaker: an agent at which everything fails isn't asked for a while, so that callers hear so at once and it
//! can recover. Then one request tries; when that succeeds, all are let through again.

use std::time::{Duration, Instant};

use swaigate_core::policy::BreakerRules;

/// Whether requests are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaker {
    /// They are; so many failed last, in a row.
    Closed { failures: u32 },
    /// They aren't until then.
    Open { until: Instant },
    /// One of them was, then.
    HalfOpen { since: Instant },
}

/// How a request was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Like all others.
    Free,
    /// As the one that tries.
    Trial,
}

/// What a request's end did to the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It opened: nothing is let through.
    Opened,
    /// It closed: everything is.
    Closed,
}

// === impl Breaker ===

impl Default for Breaker {
    fn default() -> Self {
        Breaker::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Lets a request through, or says how long to wait. A trial that has no end in that time is followed by another.
    pub(super) fn pass(&mut self, now: Instant, rules: &BreakerRules) -> Result<Pass, Duration> {
        let due = match *self {
            Breaker::Closed { .. } => return Ok(Pass::Free),
            Breaker::Open { until } => until,
            Breaker::HalfOpen { since } => since + rules.span,
        };
        if due > now {
            return Err(due - now);
        }
        *self = Breaker::HalfOpen { since: now };
        Ok(Pass::Trial)
    }

    /// A request was answered. Those of before the breaker opened say nothing of what is now.
    pub(super) fn succeeded(&mut self, pass: Pass) -> Option<Turn> {
        let is_closed = matches!(self, Breaker::Closed { .. });
        if !is_closed && pass == Pass::Free {
            return None;
        }
        *self = Breaker::default();
        (!is_closed).then_some(Turn::Closed)
    }

    /// A request has failed.
    pub(super) fn failed(&mut self, pass: Pass, now: Instant, rules: &BreakerRules) -> Option<Turn> {
        let opens = match self {
            Breaker::Closed { failures } => {
                *failures = failures.saturating_add(1);
                *failures >= rules.failures
            }
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => pass == Pass::Trial,
        };
        if opens {
            *self = Breaker::Open { until: now + rules.span };
        }
        opens.then_some(Turn::Opened)
    }

    /// A request ended without telling anything of the agent: another one may try.
    pub(super) fn given_back(&mut self, pass: Pass, now: Instant) {
        if pass == Pass::Trial && matches!(self, Breaker::HalfOpen { .. }) {
            *self = Breaker::Open { until: now };
        }
    }

    /// For metrics: 0 where everything is let through, 1 where one request may try, 2 where nothing is.
    pub(super) fn level(&self, now: Instant) -> i64 {
        match *self {
            Breaker::Closed { .. } => 0,
            Breaker::Open { until } if until > now => 2,
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BreakerRules = BreakerRules { failures: 3, span: Duration::from_secs(10) };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A breaker that has just opened.
    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        let turns: Vec<_> = (0..3).map(|_| breaker.failed(Pass::Free, now, &RULES)).collect();
        assert_eq!(turns, [None, None, Some(Turn::Opened)]);
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(breaker.failed(Pass::Free, now, &RULES), None);
            assert_eq!(breaker.failed(Pass::Free, now, &RULES), None);
            assert_eq!(breaker.succeeded(Pass::Free), None);
        }
        assert_eq!(breaker.pass(now, &RULES), Ok(Pass::Free));
        assert_eq!(open(now).pass(now + seconds(4), &RULES), Err(seconds(6)));
    }

    #[test]
    fn then_one_request_tries_and_its_end_decides() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + seconds(10);
        assert_eq!((breaker.level(now), breaker.level(later)), (2, 1));
        assert_eq!(breaker.pass(later, &RULES), Ok(Pass::Trial));
        assert_eq!(breaker.pass(later, &RULES), Err(seconds(10)), "one at a time");
        assert_eq!(breaker.failed(Pass::Trial, later, &RULES), Some(Turn::Opened));
        assert_eq!(breaker.pass(later + seconds(9), &RULES), Err(seconds(1)));
        assert_eq!(breaker.pass(later + seconds(10), &RULES), Ok(Pass::Trial));
        assert_eq!(breaker.succeeded(Pass::Trial), Some(Turn::Closed));
        assert_eq!(breaker.pass(later + seconds(10), &RULES), Ok(Pass::Free));
        assert_eq!(breaker.level(later), 0);
    }

    #[test]
    fn a_trial_without_an_end_does_not_keep_it_open() {
        let now = Instant::now();
        let mut breaker = open(now);
        assert_eq!(breaker.pass(now + seconds(10), &RULES), Ok(Pass::Trial));
        assert_eq!(breaker.pass(now + seconds(20), &RULES), Ok(Pass::Trial), "the first one hangs");
        breaker.given_back(Pass::Trial, now + seconds(21));
        assert_eq!(breaker.pass(now + seconds(21), &RULES), Ok(Pass::Trial), "its client has left");
    }

    #[test]
    fn what_was_under_way_when_it_opened_changes_nothing() {
        let now = Instant::now();
        let mut breaker = open(now);
        assert_eq!(breaker.succeeded(Pass::Free), None);
        assert_eq!(breaker.failed(Pass::Free, now + seconds(5), &RULES), None);
        breaker.given_back(Pass::Free, now);
        assert_eq!(breaker.pass(now + seconds(9), &RULES), Err(seconds(1)));
    }
}
