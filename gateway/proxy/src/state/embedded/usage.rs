//! What a caller has used, for whoever asks about them. Nothing is counted by looking.

use std::time::Duration;

use governor::clock::{Clock, Reference};
use swaigate_core::{decide::Part, id::CallerDigest, policy::Limit};

use super::{Cell, Embedded, step};
use crate::state::{Usage, Used};

impl<C> Embedded<C>
where
    C: Clock + Clone + Send + Sync,
{
    /// Looks through all cells: some milliseconds for a hundred thousand.
    pub(super) fn used_by(&self, caller: &[CallerDigest]) -> Usage {
        let is_of_caller = |part: Part<CallerDigest>| matches!(part, Part::Of(digest) if caller.contains(&digest));
        let counted = self.cells.iter().filter(|cell| is_of_caller(cell.key().subject.caller));
        let limits = counted.filter_map(|cell| {
            let (left, full_in) = cell.value().left(&cell.key().limit)?;
            Some(Used { cell: cell.key().clone(), left, full_in })
        });
        Usage { limits: limits.collect(), calls: self.calls.under_way(caller) }
    }
}

impl<C: Clock> Cell<C> {
    /// How many more requests pass now, and how long it is until all may; nothing if they may now.
    fn left(&self, limit: &Limit) -> Option<(u32, Duration)> {
        let now = self.limiter.clock().now().duration_since(self.born).as_u64();
        let ahead = self.arrival.load().checked_sub(now).filter(|ahead| *ahead > 0)?;
        let step = u64::try_from(step(limit).as_nanos()).unwrap_or(u64::MAX).max(1);
        // GCRA lets one through as long as the arrival time isn't more than the burst but one ahead.
        let tolerance = step.saturating_mul(u64::from(limit.burst.max(1)) - 1);
        let left = tolerance.checked_sub(ahead).map_or(0, |rest| rest / step + 1);
        Some((u32::try_from(left).unwrap_or(u32::MAX), Duration::from_nanos(ahead)))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use swaigate_core::{
        decide::{CellKey, Check, Family, Question, Subject},
        policy::Per,
        time::Timestamp,
    };

    use super::{super::Bounds, *};
    use crate::state::StateStore;

    const CALLER: CallerDigest = CallerDigest([1; 16]);

    fn key(burst: u32) -> CellKey {
        let limit = Limit { per: Per::CALLER, allow: 10, every: Duration::from_secs(60), burst };
        let subject = Subject { caller: Part::Of(CALLER), ..Subject::default() };
        CellKey { agent: "bank".parse().unwrap(), family: Family::Functions, limit, subject }
    }

    fn store(clock: &FakeRelativeClock) -> Embedded<FakeRelativeClock> {
        let bounds = Bounds { cells: 100, calls: 100, facts: 100, watched: 100, answers: 100, answer_bytes: 1 << 20 };
        Embedded::with_clock(bounds, clock.clone())
    }

    /// Whether one more passes; it is counted then.
    fn passes(store: &Embedded<FakeRelativeClock>, key: &CellKey) -> bool {
        let check = Check::Rate { cell: key.clone(), only_new_calls: false };
        store.answer(&[Question::for_store(check, false)], Timestamp(0)).refused.is_none()
    }

    #[test]
    fn as_many_are_left_as_pass() {
        for burst in [1, 3, 10] {
            let (clock, key) = (FakeRelativeClock::default(), key(burst));
            let store = store(&clock);
            assert_eq!(store.usage(&[CALLER]), Usage::default(), "nothing is used");
            for wait in [0, 1, 5, 6, 7, 20, 0, 61] {
                clock.advance(Duration::from_secs(wait));
                let told = store.usage(&[CALLER]).limits.first().map_or(burst, |used| used.left);
                let mut passed = 0;
                while passes(&store, &key) {
                    passed += 1;
                }
                assert_eq!(told, passed, "burst {burst}, after {wait} s");
            }
            assert_eq!(store.usage(&[CallerDigest([2; 16])]), Usage::default(), "another has used nothing");
        }
    }
}
