use std::collections::HashSet;

use governor::clock::FakeRelativeClock;
use proptest::prelude::*;
use swaigate_core::{
    decide::{Part, Refusal, Subject},
    id::CallerDigest,
    policy::Per,
};

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn limit(per: Per, allow: u32, every_ms: u64, burst: u32) -> Limit {
    Limit { per, allow, every: Duration::from_millis(every_ms), burst }
}

/// A store, as it answers checks of which none is in shadow.
trait Asked {
    fn asked(&self, checks: &[Check], now: Timestamp) -> Result<(), Refusal>;
}

impl Asked for Embedded<FakeRelativeClock> {
    fn asked(&self, checks: &[Check], now: Timestamp) -> Result<(), Refusal> {
        let questions: Vec<_> = checks.iter().map(|check| Question::for_store(check.clone(), false)).collect();
        self.answer(&questions, now).refused.map_or(Ok(()), Err)
    }
}

fn rate(limit: &Limit, subject: u64) -> Check {
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&subject.to_be_bytes());
    let cell = CellKey {
        agent: "bank".parse().unwrap(),
        family: Family::Functions,
        limit: limit.clone(),
        subject: Subject { caller: Part::Of(CallerDigest(digest)), ..Subject::default() },
    };
    Check::Rate { cell, only_new_calls: false }
}

fn bind(document: u8, call: u8) -> Check {
    Check::Bind {
        document: DocumentId([document; 16]),
        call: CallDigest([call; 16]),
        until: NOW.unix_seconds() + 60,
        expiry: NOW.unix_seconds() + 600,
    }
}

fn store(max: usize) -> (Embedded<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    let bounds = Bounds { cells: max, calls: max, facts: max, answers: max, answer_bytes: 1 << 20 };
    (Embedded::with_clock(bounds, clock.clone()), clock)
}

fn later(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

#[test]
fn ten_pass_and_the_eleventh_waits_its_step() {
    let (store, clock) = store(100);
    let ten = limit(Per::CALLER, 10, 60_000, 10);
    for _ in 0..10 {
        assert_eq!(store.asked(&[rate(&ten, 1)], NOW), Ok(()));
    }
    let refused = store.asked(&[rate(&ten, 1)], NOW).unwrap_err();
    assert_eq!(refused, Refusal { check: 0, wait: Duration::from_secs(6) });
    assert_eq!(store.asked(&[rate(&ten, 2)], NOW), Ok(()), "another caller is another cell");
    clock.advance(Duration::from_secs(6));
    assert_eq!(store.asked(&[rate(&ten, 1)], NOW), Ok(()));
    assert!(store.asked(&[rate(&ten, 1)], NOW).is_err());
}

#[test]
fn a_refused_request_counts_nowhere() {
    let (store, _) = store(100);
    let (wide, narrow) = (limit(Per::CALLER, 100, 60_000, 100), limit(Per::CALL, 1, 60_000, 1));
    assert_eq!(store.asked(&[rate(&wide, 1), rate(&narrow, 1)], NOW), Ok(()));
    for _ in 0..500 {
        assert_eq!(store.asked(&[rate(&wide, 1), rate(&narrow, 1)], NOW).unwrap_err().check, 1);
    }
    for _ in 0..99 {
        assert_eq!(store.asked(&[rate(&wide, 1)], NOW), Ok(()));
    }
    assert!(store.asked(&[rate(&wide, 1)], NOW).is_err(), "99 and the first were counted, and nothing else");
}

#[test]
fn a_limit_that_is_listed_twice_counts_once() {
    let (store, _) = store(100);
    let two = limit(Per::CALLER, 2, 60_000, 2);
    for _ in 0..2 {
        assert_eq!(store.asked(&[rate(&two, 1), rate(&two, 1)], NOW), Ok(()));
    }
    assert!(store.asked(&[rate(&two, 1), rate(&two, 1)], NOW).is_err());
}

#[test]
fn a_full_store_forgets_idle_cells_first_and_then_shares_one() {
    let (store, clock) = store(10);
    let one = limit(Per::CALLER, 1, 60_000, 1);
    for subject in 0..10 {
        assert_eq!(store.asked(&[rate(&one, subject)], NOW), Ok(()));
    }
    // All are busy: newcomers share one cell, and those who are known keep theirs.
    assert_eq!(store.asked(&[rate(&one, 10)], NOW), Ok(()));
    assert!(store.asked(&[rate(&one, 11)], NOW).is_err());
    assert!(store.asked(&[rate(&one, 3)], NOW).is_err());
    assert_eq!(store.gauges(), Gauges { cells: 11, bindings: 0, overflows: 2, ..Gauges::default() });
    // A minute later all are idle and make room.
    clock.advance(Duration::from_secs(61));
    for subject in 20..30 {
        assert_eq!(store.asked(&[rate(&one, subject)], NOW), Ok(()));
    }
    assert_eq!(store.gauges().cells, 10);
}

#[test]
fn a_flood_of_made_up_callers_stays_within_the_bound() {
    let (store, clock) = store(1000);
    let ten = limit(Per::CALLER, 10, 60_000, 10);
    let mut passed = 0;
    for subject in 0..50_000 {
        clock.advance(Duration::from_micros(1));
        passed += u32::from(store.asked(&[rate(&ten, subject)], NOW).is_ok());
        assert!(store.gauges().cells <= 1001);
    }
    assert_eq!(passed, 1010, "a thousand with a cell of their own, and the shared cell's burst");
}

#[test]
fn sweeping_forgets_idle_cells_and_dead_documents_only() {
    let (store, clock) = store(100);
    let one = limit(Per::CALLER, 1, 60_000, 1);
    assert_eq!(store.asked(&[rate(&one, 1), bind(1, 1)], NOW), Ok(()));
    store.sweep(NOW);
    assert_eq!(store.gauges(), Gauges { cells: 1, bindings: 1, overflows: 0, ..Gauges::default() });
    clock.advance(Duration::from_secs(61));
    store.sweep(later(599));
    assert_eq!(store.gauges(), Gauges { cells: 0, bindings: 1, overflows: 0, ..Gauges::default() });
    store.sweep(later(600));
    assert_eq!(store.gauges(), Gauges::default());
}

#[test]
fn the_first_call_owns_a_document() {
    let (store, _) = store(100);
    assert_eq!(store.asked(&[bind(1, 1)], later(60)), Ok(()));
    assert!(store.asked(&[bind(1, 2)], later(60)).is_err(), "another call");
    assert_eq!(store.asked(&[bind(1, 1)], later(500)), Ok(()), "the owner, long after the window");
    assert!(store.asked(&[bind(2, 1)], later(61)).is_err(), "a first use after the window");
    assert_eq!(store.gauges().bindings, 1);
}

#[test]
fn a_limited_first_use_binds_nothing_and_a_foreign_one_counts_nothing() {
    let (store, _) = store(100);
    let one = limit(Per::CALLER, 1, 60_000, 1);
    assert_eq!(store.asked(&[rate(&one, 1)], NOW), Ok(()));
    assert_eq!(store.asked(&[rate(&one, 1), bind(1, 1)], NOW).unwrap_err().check, 0);
    assert_eq!(store.asked(&[bind(1, 2)], NOW), Ok(()));
    assert_eq!(store.asked(&[rate(&one, 2), bind(1, 1)], NOW).unwrap_err().check, 1);
    assert_eq!(store.asked(&[rate(&one, 2)], NOW), Ok(()));
}

#[test]
fn a_store_full_of_documents_binds_no_more_and_forgets_none() {
    let (store, _) = store(2);
    for document in 1..=2 {
        assert_eq!(store.asked(&[bind(document, 1)], NOW), Ok(()));
    }
    assert!(store.asked(&[bind(3, 1)], NOW).is_err());
    assert_eq!(store.asked(&[bind(1, 1)], NOW), Ok(()));
}

#[test]
fn many_threads_never_get_more_than_the_burst() {
    let (store, _) = store(100);
    let fifty = limit(Per::CALLER, 50, 60_000, 50);
    let hundred = limit(Per::CALL, 100, 60_000, 100);
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (store, fifty, hundred) = (&store, &fifty, &hundred);
                // Half of them list the limits the other way round.
                let mut checks = vec![rate(fifty, 1), rate(hundred, 1)];
                if thread % 2 == 0 {
                    checks.reverse();
                }
                scope.spawn(move || (0..500).filter(|_| store.asked(&checks, NOW).is_ok()).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 50);
}

proptest! {
    /// In any window `w` at most `burst + w / step` pass, and whoever waits as long as he is told gets through.
    #[test]
    fn a_limit_never_exceeds_its_bound_and_is_reached(
        allow in 1u32..20, every_ms in 1u64..20_000, burst in 1u32..20, pauses in prop::collection::vec(0u64..3_000, 1..200)
    ) {
        let (store, clock) = store(10);
        let limit = limit(Per::CALLER, allow, every_ms, burst);
        let step = limit.every / limit.allow;
        let mut elapsed = Duration::ZERO;
        let mut passed = Vec::new();
        for pause in pauses {
            clock.advance(Duration::from_millis(pause));
            elapsed += Duration::from_millis(pause);
            match store.asked(&[rate(&limit, 1)], NOW) {
                Ok(()) => passed.push(elapsed),
                Err(Refusal { wait, .. }) => {
                    prop_assert!(wait <= step, "one step at most");
                    clock.advance(wait);
                    elapsed += wait;
                    prop_assert_eq!(store.asked(&[rate(&limit, 1)], NOW), Ok(()));
                    passed.push(elapsed);
                }
            }
        }
        for (i, from) in passed.iter().enumerate() {
            for (j, to) in passed.iter().enumerate().skip(i) {
                let window = (*to - *from).as_nanos();
                let bound = u128::from(burst) + window / step.as_nanos().max(1);
                prop_assert!((j - i + 1) as u128 <= bound, "{} in {window} ns", j - i + 1);
            }
        }
        // Reached: after a long rest, the whole burst passes at once, and not one more.
        clock.advance(step * burst);
        for _ in 0..burst {
            prop_assert_eq!(store.asked(&[rate(&limit, 1)], NOW), Ok(()));
        }
        prop_assert!(store.asked(&[rate(&limit, 1)], NOW).is_err());
    }

    /// Whatever is asked, at most `max` cells and bindings are kept.
    #[test]
    fn nothing_grows_past_its_bound(max in 1usize..20, asked in prop::collection::vec((0u64..100, 0u8..100, 0u64..5_000), 1..300)) {
        let (store, clock) = store(max);
        let two = limit(Per::CALLER, 2, 1_000, 2);
        let mut calls = HashSet::new();
        for (subject, document, pause) in asked {
            clock.advance(Duration::from_millis(pause));
            if store.asked(&[rate(&two, subject), bind(document, 1)], NOW).is_ok() {
                calls.insert(document);
            }
            let gauges = store.gauges();
            prop_assert!(gauges.cells <= max + 1 && gauges.bindings <= max);
        }
        prop_assert!(calls.len() <= max);
    }
}
