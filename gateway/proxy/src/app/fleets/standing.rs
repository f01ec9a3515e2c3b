//! What is known of one server: what its health checks say, and how its last requests ended.

use std::time::{Duration, Instant};

use swaigate_core::policy::{Ejection, HealthCheck};

/// How much longer than the first time a server is away that failed again each time it came back.
const MOST_TIMES: u32 = 10;

/// What is known of a server. It is up until it is known to be down.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Whether its health checks say that it is down.
    is_down: bool,
    /// Whether a health check has ended.
    is_checked: bool,
    /// How many checks in a row say otherwise.
    against: u32,
    /// When it was asked last.
    asked: Option<Instant>,
    /// How many of its last requests have failed in a row.
    failures: u32,
    /// Until when it gets none, and how many times in a row that has come.
    ejected: Option<(Instant, u32)>,
}

// === impl Standing ===

impl Standing {
    /// Whether its health checks let it have requests.
    pub(super) fn is_up(&self) -> bool {
        !self.is_down
    }

    /// Whether it is away because its requests failed.
    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected.is_some_and(|(until, _)| until > now)
    }

    /// Whether a health check is due; then it is taken for begun. Else, when it is.
    pub(super) fn take_check(&mut self, now: Instant, every: Duration) -> Result<(), Instant> {
        match self.asked.map(|asked| asked + every).filter(|due| *due > now) {
            Some(due) => Err(due),
            None => {
                self.asked = Some(now);
                Ok(())
            }
        }
    }

    /// A health check has ended. The first one decides alone. Says whether the server is up from now on, if that is new.
    pub(super) fn checked(&mut self, is_good: bool, rules: &HealthCheck) -> Option<bool> {
        let is_first = !std::mem::replace(&mut self.is_checked, true);
        if is_good == self.is_up() {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if is_good { rules.healthy } else { rules.unhealthy };
        if !is_first && self.against < needed {
            return None;
        }
        self.against = 0;
        self.is_down = !is_good;
        Some(is_good)
    }

    /// It is no longer asked how it is.
    pub(super) fn unchecked(&mut self) {
        (self.is_down, self.is_checked, self.against, self.asked) = (false, false, 0, None);
    }

    /// A request was answered. A server that has been back for as long as it was away has no past.
    pub(super) fn succeeded(&mut self, now: Instant, rules: &Ejection) {
        self.failures = 0;
        if self.ejected.is_some_and(|(until, times)| now >= until + rules.span * times) {
            self.ejected = None;
        }
    }

    /// A request has failed. Says whether that is once too often.
    pub(super) fn failed(&mut self, now: Instant, rules: &Ejection) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures >= rules.failures && !self.is_ejected(now)
    }

    /// Sends it away, and says for how long.
    pub(super) fn eject(&mut self, now: Instant, rules: &Ejection) -> Duration {
        let times = self.ejected.map_or(1, |(_, times)| (times + 1).min(MOST_TIMES));
        let span = rules.span * times;
        self.failures = 0;
        self.ejected = Some((now + span, times));
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Ejection = Ejection { failures: 3, span: Duration::from_secs(30), max_percent: 50 };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn check() -> HealthCheck {
        let [every, timeout] = [seconds(10), seconds(2)];
        HealthCheck { path: "/health".to_owned(), every, timeout, healthy: 2, unhealthy: 3, expect: None }
    }

    /// What the checks bring about, one after the other.
    fn turns(standing: &mut Standing, checks: &str) -> Vec<Option<bool>> {
        checks.chars().map(|check_| standing.checked(check_ == '+', &check())).collect()
    }

    #[test]
    fn checks_in_a_row_turn_it() {
        let mut standing = Standing::default();
        assert_eq!(turns(&mut standing, "+--+--"), [None; 6]);
        assert_eq!(turns(&mut standing, "-"), [Some(false)]);
        assert!(!standing.is_up());
        assert_eq!(turns(&mut standing, "+-+"), [None; 3]);
        assert_eq!(turns(&mut standing, "+"), [Some(true)]);
        assert!(standing.is_up());
    }

    #[test]
    fn the_first_check_decides_alone() {
        let mut standing = Standing::default();
        assert!(standing.is_up(), "until something else is known");
        assert_eq!(turns(&mut standing, "-"), [Some(false)]);
        standing.unchecked();
        assert!(standing.is_up(), "nobody asks any more");
    }

    #[test]
    fn a_check_is_due_every_so_often() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        assert_eq!(standing.take_check(now, seconds(10)), Ok(()));
        assert_eq!(standing.take_check(now + seconds(4), seconds(10)), Err(now + seconds(10)));
        assert_eq!(standing.take_check(now + seconds(4), seconds(3)), Ok(()), "the policy has changed");
    }

    #[test]
    fn failures_in_a_row_send_it_away_each_time_longer() {
        let (mut standing, mut now) = (Standing::default(), Instant::now());
        assert!(!standing.failed(now, &RULES) && !standing.failed(now, &RULES));
        standing.succeeded(now, &RULES);
        for times in [1, 2, 3] {
            let reached: Vec<_> = (0..3).map(|_| standing.failed(now, &RULES)).collect();
            assert_eq!(reached, [false, false, true]);
            assert_eq!(standing.eject(now, &RULES), seconds(30 * times));
            assert!(standing.is_ejected(now + seconds(30 * times - 1)));
            now += seconds(30 * times);
            assert!(!standing.is_ejected(now));
            standing.succeeded(now, &RULES);
        }
        standing.succeeded(now + seconds(90), &RULES);
        assert_eq!(standing.eject(now, &RULES), seconds(30), "it was back for as long as it was away");
        for _ in 0..50 {
            assert!(standing.eject(now, &RULES) <= seconds(300));
        }
    }
}
