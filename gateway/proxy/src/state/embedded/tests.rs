use std::collections::HashSet;

use governor::clock::FakeRelativeClock;
use proptest::prelude::*;
use swaigate_core::{
    decide::{Agreed, Begin, CallEvent, CallKey, CodeGiven, Part, Refusal, Subject, WatchKey},
    id::CallerDigest,
    policy::{Per, Watch},
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
    let bounds = Bounds { cells: max, calls: max, facts: max, watched: max, answers: max, answer_bytes: 1 << 20 };
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

// === calls under way ===

fn begin(call: u8, caller: u8, per_caller: Option<u32>, per_agent: Option<u32>) -> Check {
    Check::Begin(Begin {
        call: CallKey { call: CallDigest([call; 16]), agent: "bank".parse().unwrap() },
        aliases: vec![CallDigest([call + 100; 16])],
        caller: Part::Of(CallerDigest([caller; 16])),
        per_caller,
        per_agent,
        idle: 600,
        expiry: NOW.unix_seconds() + 14_400,
    })
}

fn happens(call: u8, event: CallEvent) -> Check {
    let call = CallKey { call: CallDigest([call; 16]), agent: "bank".parse().unwrap() };
    Check::Call { call, event, grace: 60, expiry: NOW.unix_seconds() + 14_400 }
}

#[test]
fn a_caller_has_so_many_calls_at_once_and_no_more() {
    let (store, _) = store(100);
    let fetch = |call, caller| {
        let checks = [happens(call, CallEvent::Fetched), begin(call, caller, Some(2), Some(3))];
        store.asked(&checks, NOW).map_err(|refusal| refusal.check)
    };
    assert_eq!([fetch(1, 1), fetch(2, 1)], [Ok(()), Ok(())]);
    assert_eq!(fetch(3, 1), Err(1), "a third of one caller");
    assert_eq!(fetch(1, 1), Ok(()), "a known one is free");
    assert_eq!(fetch(4, 2), Ok(()), "another caller");
    assert_eq!(fetch(5, 3), Err(1), "a fourth of all");
    let end = happens(1, CallEvent::Ended { issued: NOW.unix_seconds() });
    assert_eq!(store.asked(&[end], NOW), Ok(()));
    assert_eq!(fetch(6, 1), Ok(()), "an end makes room");
}

#[test]
fn an_idle_call_makes_room_and_one_that_is_used_does_not() {
    let (store, _) = store(100);
    let fetch = |call, at| store.asked(&[happens(call, CallEvent::Fetched), begin(call, 1, Some(1), None)], at);
    assert_eq!(fetch(1, NOW), Ok(()));
    assert_eq!(store.asked(&[happens(1, CallEvent::Used)], later(599)), Ok(()));
    assert!(fetch(2, later(601)).is_err());
    assert_eq!(fetch(2, later(1200)), Ok(()));
}

#[test]
fn a_known_call_counts_in_no_limit_of_calls_that_begin() {
    let (store, _) = store(100);
    let one = limit(Per::CALLER, 1, 3_600_000, 1);
    let fetch = |call, only_new_calls| {
        let Check::Rate { cell, .. } = rate(&one, 1) else { unreachable!() };
        let rate = Check::Rate { cell, only_new_calls };
        let checks = [happens(call, CallEvent::Fetched), begin(call, 1, None, None), rate];
        let questions: Vec<_> = checks.into_iter().map(|check| Question::for_store(check, false)).collect();
        let answers = store.answer(&questions, NOW);
        (answers.refused.is_none(), answers.begins_call)
    };
    assert_eq!(fetch(1, true), (true, true));
    assert_eq!(fetch(1, true), (true, false), "the fallback of a known call is free");
    assert_eq!(fetch(2, true), (false, false), "a second call isn't");
    assert_eq!(fetch(1, false), (false, false), "a limit by address counts each request");
}

// === facts of calls ===

const FACT: FactKey = FactKey([7; 16]);
const EXPIRY: u32 = 1_700_014_400;

#[test]
fn a_fact_holds_once_it_is_learned_and_until_it_expires() {
    let (store, _) = store(100);
    let met = [Check::Fact(FACT)];
    assert!(store.asked(&met, NOW).is_err());
    store.facts.learn(&[Lesson { fact: FACT, expiry: NOW.unix_seconds() + 10 }], NOW.unix_seconds());
    assert_eq!(store.asked(&met, later(9)), Ok(()));
    assert!(store.asked(&met, later(10)).is_err());
}

#[test]
fn once_is_once_unless_something_else_refuses_or_it_is_taken_back() {
    let (store, _) = store(100);
    let one = limit(Per::CALLER, 1, 60_000, 1);
    let once = Check::Once { fact: FACT, expiry: EXPIRY };
    assert_eq!(store.asked(&[rate(&one, 1)], NOW), Ok(()));
    assert_eq!(store.asked(&[once.clone(), rate(&one, 1)], NOW).unwrap_err().check, 1, "the limit refuses");
    assert_eq!(store.asked(std::slice::from_ref(&once), NOW), Ok(()), "what was refused was not done");
    assert!(store.asked(std::slice::from_ref(&once), NOW).is_err());
    store.facts.forget(&[FACT]);
    assert_eq!(store.asked(&[once], NOW), Ok(()));
}

fn agreed(turns: Option<u32>, agreed_at: Option<u32>, trusts_model: bool) -> Check {
    agreed_to(FACT, turns, agreed_at, trusts_model)
}

fn agreed_to(fact: FactKey, turns: Option<u32>, agreed_at: Option<u32>, trusts_model: bool) -> Check {
    let (answered, expiry, until) = (FactKey([99; 16]), NOW.unix_seconds() + 3600, NOW.unix_seconds() + 60);
    Check::Agreed(Agreed { fact, answered, expiry, turns, agreed_at, trusts_model, until })
}

#[test]
fn one_yes_answers_one_question() {
    let (store, _) = store(100);
    let other = FactKey([98; 16]);
    let ask = |fact, turns, at| store.asked(&[agreed_to(fact, Some(turns), Some(at), false)], NOW).is_ok();
    assert!(!ask(FACT, 3, 2) && !ask(other, 3, 2), "both are asked");
    assert!(ask(FACT, 4, 3), "the caller says yes, once");
    assert!(!ask(other, 4, 3), "that was the answer to the first");
    assert!(ask(other, 5, 4), "and this to the second");
    assert!(!ask(FACT, 5, 4) && !ask(FACT, 5, 4));
}

#[test]
fn a_caller_agrees_after_the_question_in_time_and_once() {
    let (store, _) = store(100);
    let ask = |turns, agreed_at, at| store.asked(&[agreed(turns, agreed_at, false)], at).is_ok();
    assert!(!ask(Some(3), Some(2), NOW), "asked; a yes from before is none");
    assert!(!ask(Some(3), Some(2), NOW), "nothing was said since");
    assert!(ask(Some(4), Some(3), NOW), "a turn after the question");
    assert!(!ask(Some(4), Some(3), NOW), "for the next time it is asked anew");
    assert!(!ask(Some(5), Some(4), later(60)), "too late: asked again");
    let (store, _) = self::store(100);
    let ask = |turns, agreed_at, trusts| store.asked(&[agreed(turns, agreed_at, trusts)], NOW).is_ok();
    assert!(!ask(None, None, false));
    assert!(!ask(Some(9), Some(8), false), "without a log at the question, no turn is known to be after it");
    let (store, _) = self::store(100);
    let ask = |trusts| store.asked(&[agreed(None, None, trusts)], NOW).is_ok();
    assert!(!ask(true));
    assert!(ask(true), "the model's word");
}

#[test]
fn wrong_codes_lock_also_the_right_one() {
    let (store, _) = store(100);
    let code = |is_right, use_once| {
        let counters = vec![FactKey([1; 16]), FactKey([2; 16])];
        Check::Code(CodeGiven { counters, is_right, use_once, attempts: 2, lock: 30 })
    };
    let ask = |is_right, at| store.asked(&[code(is_right, None)], at).map_err(|refusal| refusal.wait.as_secs());
    assert_eq!(ask(false, NOW), Err(0));
    assert_eq!(ask(true, NOW), Ok(()));
    assert_eq!(ask(false, NOW), Err(0));
    assert_eq!(ask(true, later(1)), Err(29), "two wrong ones");
    assert_eq!(ask(true, later(30)), Ok(()));
    let once = |at| store.asked(&[code(true, Some(FACT))], at).is_ok();
    assert!(once(later(31)));
    assert!(!once(later(32)), "a code is good for one use");
}

#[test]
fn a_full_table_refuses_what_it_cannot_remember() {
    let (store, _) = store(16);
    for n in 0..16 {
        assert_eq!(store.asked(&[Check::Once { fact: FactKey([n; 16]), expiry: EXPIRY }], NOW), Ok(()));
    }
    assert!(store.asked(&[Check::Once { fact: FactKey([99; 16]), expiry: EXPIRY }], NOW).is_err());
    let code = CodeGiven { counters: vec![FactKey([98; 16])], is_right: true, use_once: None, attempts: 1, lock: 1 };
    assert!(store.asked(&[Check::Code(code)], NOW).is_err(), "wrong ones couldn't be counted");
    assert_eq!(store.facts.len(), 16);
    store.sweep(Timestamp(u64::from(EXPIRY) * 1000));
    assert_eq!(store.facts.len(), 0);
}

#[test]
fn what_is_in_shadow_is_told_and_refuses_nothing() {
    let (store, _) = store(100);
    let one = limit(Per::CALLER, 1, 60_000, 1);
    let ask = || {
        let questions = [Question::for_store(rate(&one, 1), true), Question::for_store(Check::Fact(FACT), true)];
        store.answer(&questions, NOW)
    };
    assert_eq!(ask().shadowed, [1]);
    let again = ask();
    assert_eq!((again.refused, again.shadowed), (None, vec![0, 1]));
}

// === detection ===

fn watch(more_than: u32, every_secs: u64, caller: u8) -> Check {
    let watch = Watch { name: "rule".into(), per: Per::CALLER, more_than, every: Duration::from_secs(every_secs) };
    let subject = Subject { caller: Part::Of(CallerDigest([caller; 16])), ..Subject::default() };
    Check::Watch { key: WatchKey { agent: "bank".parse().unwrap(), watch, subject }, only_new_calls: false }
}

/// What these checks exceed: whether it is of one subject or of several.
fn exceeded(store: &Embedded<FakeRelativeClock>, checks: &[Check]) -> Vec<bool> {
    let questions: Vec<_> = checks.iter().map(|check| Question::for_store(check.clone(), false)).collect();
    store.answer(&questions, NOW).exceeded.iter().map(|exceeded| exceeded.is_shared).collect()
}

/// After which of the events, each so many seconds after the one before, an alarm is raised.
fn alarms(more_than: u32, every_secs: u64, pauses: &[u64]) -> Vec<usize> {
    let (store, clock) = store(1000);
    let rings = |(place, pause): (usize, &u64)| {
        clock.advance(Duration::from_secs(*pause));
        (!exceeded(&store, &[watch(more_than, every_secs, 1)]).is_empty()).then_some(place + 1)
    };
    pauses.iter().enumerate().filter_map(rings).collect()
}

#[test]
fn one_more_than_is_usual_raises_an_alarm_however_events_are_spread() {
    assert_eq!(alarms(2, 3600, &[0, 0, 0]), [3], "at once");
    assert_eq!(alarms(2, 3600, &[0, 1200, 1200]), [3], "evenly");
    assert_eq!(alarms(2, 3600, &[0, 1799, 1800]), [3], "just within");
    assert_eq!(alarms(2, 3600, &[0, 1800, 1800, 1800, 1800]), [] as [usize; 0], "just not");
    assert_eq!(alarms(2, 3600, &[0, 0, 3600, 0, 0]), [5], "the first two are over");
    assert_eq!(alarms(100, 600, &[5; 100]), [] as [usize; 0]);
    assert_eq!(alarms(100, 600, &[5; 101]), [101]);
    assert_eq!(alarms(0, 60, &[0]), [1], "nothing is usual");
}

#[test]
fn an_alarm_is_raised_again_only_after_its_window() {
    assert_eq!(alarms(2, 60, &[0, 0, 0, 10, 10, 10, 10, 10, 10, 10]), [3, 9], "it goes on");
    assert_eq!(alarms(0, 60, &[0, 59, 1, 30]), [1, 3]);
    let (store, _) = store(100);
    let ring = |caller| exceeded(&store, &[watch(0, 60, caller)]).len();
    assert_eq!([ring(1), ring(1), ring(2)], [1, 0, 1], "another subject is another alarm");
}

#[test]
fn what_is_watched_counts_also_if_the_request_is_refused() {
    let (store, _) = store(100);
    let one = limit(Per::CALLER, 1, 60_000, 1);
    let ask = || exceeded(&store, &[rate(&one, 1), watch(2, 60, 1)]);
    assert_eq!([ask(), ask(), ask()], [vec![], vec![], vec![false]]);
    assert!(store.asked(&[rate(&one, 1)], NOW).is_err(), "all but the first were refused");
}

#[test]
fn a_call_that_goes_on_does_not_begin() {
    let (store, _) = store(100);
    let Check::Watch { key, .. } = watch(0, 1, 1) else { unreachable!() };
    let fetch = || {
        let check = Check::Watch { key: key.clone(), only_new_calls: true };
        exceeded(&store, &[happens(1, CallEvent::Fetched), begin(1, 1, None, None), check]).len()
    };
    assert_eq!(fetch(), 1);
    store.sweep(NOW);
    assert_eq!((fetch(), store.gauges().watched), (0, 1), "the quiet after the alarm is all that is kept");
}

#[test]
fn a_flood_of_subjects_stays_within_the_bound_and_is_told() {
    let (store, clock) = store(16);
    let see = |more_than, caller| exceeded(&store, &[watch(more_than, 60, caller)]);
    assert!(see(2, 1).is_empty());
    (2..=8).for_each(|caller| assert!(see(2, caller).is_empty()));
    assert_eq!(store.gauges().watched, 16);
    // From here on all that finds no room counts together.
    assert_eq!([see(2, 9), see(2, 10), see(2, 11), see(2, 12)], [vec![], vec![], vec![true], vec![]]);
    assert!(see(2, 1).is_empty(), "a known subject has no room for more times");
    assert_eq!((store.gauges().watched, store.gauges().watch_overflows), (16, 5));
    // What is over makes room.
    clock.advance(Duration::from_secs(60));
    assert_eq!([see(2, 9), see(2, 9), see(2, 9)], [vec![], vec![], vec![false]]);
    assert_eq!(store.gauges().watched, 3);
    clock.advance(Duration::from_secs(60));
    store.sweep(NOW);
    assert_eq!(store.gauges().watched, 0);
}

proptest! {
    /// An event raises an alarm exactly if it and more than the usual number before it are within the window, and none
    /// was raised within the last.
    #[test]
    fn alarms_are_exact(more_than in 0u32..6, every in 1u64..50, pauses in prop::collection::vec(0u64..30, 1..200)) {
        let (mut at, mut times, mut quiet_until) = (0, Vec::new(), 0);
        let mut expected = Vec::new();
        for (place, pause) in pauses.iter().enumerate() {
            at += pause;
            times.push(at);
            let within = times.iter().filter(|time| **time + every > at).count();
            if within > more_than as usize && at >= quiet_until {
                quiet_until = at + every;
                expected.push(place + 1);
            }
        }
        prop_assert_eq!(alarms(more_than, every, &pauses), expected);
    }

    /// Whatever is watched, no more is kept than may be.
    #[test]
    fn what_is_watched_stays_within_its_bound(max in 2usize..20, seen in prop::collection::vec((0u8..30, 0u32..4, 0u64..20), 1..300)) {
        let (store, clock) = store(max);
        for (caller, more_than, pause) in seen {
            clock.advance(Duration::from_secs(pause));
            exceeded(&store, &[watch(more_than, 30, caller)]);
            prop_assert!(store.gauges().watched <= max);
        }
    }
}
