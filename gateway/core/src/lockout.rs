//! How long an address waits after wrong credentials, before another password of its is hashed.

use std::time::Duration;

use crate::time::Timestamp;

/// How the wait grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How many failures cost nothing.
    pub free: u32,
    /// The wait after the first failure beyond those; each further one doubles it.
    pub delay: Duration,
    /// The longest wait.
    pub max_delay: Duration,
    /// After how long without a failure all of them are forgotten. At least [`Rules::max_delay`], or waits end early.
    pub forget: Duration,
}

/// The failures of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    count: u32,
    last: Timestamp,
}

// === impl Failures ===

impl Failures {
    /// One more failure, after those there were.
    pub fn after(before: Option<Failures>, rules: &Rules, now: Timestamp) -> Self {
        let remembered = before.filter(|before| !before.are_forgotten(rules, now));
        Self { count: remembered.map_or(0, |before| before.count).saturating_add(1), last: now }
    }

    /// How long it is until a password may be hashed again; nothing if it may be now. A clock that was set back makes no
    /// wait longer than its rule.
    pub fn wait(&self, rules: &Rules, now: Timestamp) -> Option<Duration> {
        if self.are_forgotten(rules, now) {
            return None;
        }
        let whole = self.whole_wait(rules);
        whole.checked_sub(self.age(now)).filter(|rest| !rest.is_zero())
    }

    /// Whether the failures are too long ago to matter.
    pub fn are_forgotten(&self, rules: &Rules, now: Timestamp) -> bool {
        self.age(now) >= rules.forget
    }

    fn age(&self, now: Timestamp) -> Duration {
        Duration::from_millis(now.0.saturating_sub(self.last.0))
    }

    fn whole_wait(&self, rules: &Rules) -> Duration {
        let Some(doublings) = self.count.checked_sub(rules.free).and_then(|beyond| beyond.checked_sub(1)) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        rules.delay.saturating_mul(factor).min(rules.max_delay)
    }
}

impl Default for Rules {
    fn default() -> Self {
        let [delay, max_delay, forget] = [1, 900, 3600].map(Duration::from_secs);
        Self { free: 5, delay, max_delay, forget }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000);

    fn after(seconds: u64) -> Timestamp {
        Timestamp(START.0 + seconds * 1000)
    }

    /// As many failures, all at the start.
    fn failures(count: usize) -> Failures {
        let rules = Rules::default();
        (1..count).fold(Failures::after(None, &rules, START), |before, _| Failures::after(Some(before), &rules, START))
    }

    fn waits(count: usize, at: Timestamp) -> Option<u64> {
        failures(count).wait(&Rules::default(), at).map(|wait| wait.as_secs())
    }

    #[test]
    fn some_failures_are_free_and_each_more_doubles_the_wait() {
        for (count, wait) in
            [(1, None), (5, None), (6, Some(1)), (7, Some(2)), (8, Some(4)), (15, Some(512)), (16, Some(900))]
        {
            assert_eq!(waits(count, START), wait, "{count} failures");
        }
        assert_eq!(waits(10_000, START), Some(900), "there is a longest wait");
    }

    #[test]
    fn a_wait_runs_from_the_last_failure_and_ends() {
        assert_eq!((waits(9, after(3)), waits(9, after(8))), (Some(5), None));
        let rules = Rules::default();
        let again = Failures::after(Some(failures(9)), &rules, after(8));
        assert_eq!(again.wait(&rules, after(8)), Some(Duration::from_secs(16)));
        assert_eq!(waits(9, Timestamp(0)), Some(8), "also when the clock is set back");
    }

    #[test]
    fn failures_of_long_ago_are_forgotten() {
        let rules = Rules::default();
        assert!(!failures(20).are_forgotten(&rules, after(3599)) && failures(20).are_forgotten(&rules, after(3600)));
        assert_eq!(Failures::after(Some(failures(20)), &rules, after(3600)).wait(&rules, after(3600)), None);
        let short = Rules { forget: Duration::from_secs(5), ..rules };
        assert_eq!(failures(20).wait(&short, after(5)), None, "what is forgotten makes nobody wait");
    }

    #[test]
    fn no_rule_makes_it_overflow() {
        let long = Duration::from_secs(u64::MAX);
        let rules = Rules { free: 0, delay: long, max_delay: long, forget: long };
        let many = Failures { count: u32::MAX, last: START };
        assert_eq!(many.wait(&rules, START), Some(long));
        assert_eq!(Failures::after(Some(many), &rules, START), many);
    }
}
