//! Requests that the platform may send again: the one that is under way, and the answers of those that have ended.
//!
//! A request has no id of its own, so an equal one later may be meant. An answer that was delivered is kept for
//! [`DELIVERED`] only; one that was not, as long as the platform goes on asking (PROTOCOL.md, 4.5).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use swaigate_core::id::RepeatKey;
use tokio::sync::watch;

use crate::state::{Begun, Outcome};

/// How long an answer is kept that was delivered: the platform asks again after a second.
const DELIVERED: Duration = Duration::from_secs(3);

/// How long an answer is kept that was not: four attempts of 120 s, and the pauses between them.
const UNDELIVERED: Duration = Duration::from_secs(500);

/// What an answer weighs besides its body, in bytes.
const OVERHEAD: usize = 512;

/// At most `max` requests and `max_bytes` of answers. The answer whose time is over first makes room.
#[derive(Debug)]
pub(super) struct Repeats {
    max: usize,
    max_bytes: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    requests: HashMap<RepeatKey, Request>,
    /// The kept answers by the time they are forgotten; the number tells those of one moment apart.
    forget: BTreeMap<(Instant, u64), RepeatKey>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
enum Request {
    UnderWay(watch::Sender<Option<Outcome>>),
    Answered { outcome: Outcome, weight: usize, forget: (Instant, u64) },
}

// === impl Repeats ===

impl Repeats {
    pub(super) fn new(max: usize, max_bytes: usize) -> Self {
        Self { max, max_bytes, table: Mutex::default() }
    }

    pub(super) fn begin(&self, key: RepeatKey, now: Instant) -> Begun {
        let mut table = self.hold();
        table.forget_until(now);
        match table.requests.get(&key) {
            Some(Request::UnderWay(outcome)) => Begun::UnderWay(outcome.subscribe()),
            Some(Request::Answered { outcome, .. }) => Begun::Answered(Arc::clone(outcome)),
            None => {
                if table.requests.len() >= self.max && !table.forget_first() {
                    return Begun::Full;
                }
                table.requests.insert(key, Request::UnderWay(watch::Sender::new(None)));
                Begun::First
            }
        }
    }

    pub(super) fn finish(&self, key: RepeatKey, outcome: Outcome, now: Instant) {
        let mut table = self.hold();
        let Some(Request::UnderWay(waiting)) = table.requests.remove(&key) else { return };
        // What the agent itself refused may be taken when it is asked again.
        if let Ok(reply) = outcome.as_ref()
            && reply.status < 400
        {
            table.keep(key, &outcome, reply.body.len() + OVERHEAD, now + UNDELIVERED, self.max_bytes);
        }
        waiting.send_replace(Some(outcome));
    }

    pub(super) fn abandon(&self, key: RepeatKey) {
        let mut table = self.hold();
        if let Some(Request::UnderWay(_)) = table.requests.get(&key) {
            table.requests.remove(&key);
        }
    }

    pub(super) fn delivered(&self, key: RepeatKey, now: Instant) {
        let mut table = self.hold();
        let number = table.number();
        let Some(Request::Answered { forget, .. }) = table.requests.get_mut(&key) else { return };
        let sooner = (now + DELIVERED, number);
        if sooner < *forget {
            let before = std::mem::replace(forget, sooner);
            table.forget.remove(&before);
            table.forget.insert(sooner, key);
        }
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.hold().forget_until(now);
    }

    /// How many requests are known, and how many bytes are kept.
    pub(super) fn size(&self) -> (usize, usize) {
        let table = self.hold();
        (table.requests.len(), table.bytes)
    }

    fn hold(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// An answer that is too large to be kept is not: the platform's next attempt runs anew.
    fn keep(&mut self, key: RepeatKey, outcome: &Outcome, weight: usize, until: Instant, max_bytes: usize) {
        while self.bytes + weight > max_bytes {
            if !self.forget_first() {
                return;
            }
        }
        let forget = (until, self.number());
        self.bytes += weight;
        self.forget.insert(forget, key);
        self.requests.insert(key, Request::Answered { outcome: Arc::clone(outcome), weight, forget });
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn forget_until(&mut self, now: Instant) {
        while self.forget.first_key_value().is_some_and(|((until, _), _)| *until <= now) {
            self.forget_first();
        }
    }

    /// Whether there was an answer to forget.
    fn forget_first(&mut self) -> bool {
        let Some((_, key)) = self.forget.pop_first() else { return false };
        if let Some(Request::Answered { weight, .. }) = self.requests.remove(&key) {
            self.bytes -= weight;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use swaigate_core::{
        decide::Denial,
        verdict::{Reason, Reply},
    };

    use super::*;

    const KEY: RepeatKey = RepeatKey([1; 32]);

    fn answer(body: &str) -> Outcome {
        Arc::new(Ok(Reply::json(200, body)))
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn is_first(begun: &Begun) -> bool {
        matches!(begun, Begun::First)
    }

    fn body_of(begun: Begun) -> Option<String> {
        let Begun::Answered(outcome) = begun else { return None };
        let reply = outcome.as_ref().as_ref().ok()?;
        Some(String::from_utf8_lossy(&reply.body).into_owned())
    }

    #[test]
    fn a_repetition_joins_the_request_under_way() {
        let (repeats, now) = (Repeats::new(10, 10_000), Instant::now());
        assert!(is_first(&repeats.begin(KEY, now)));
        let Begun::UnderWay(joined) = repeats.begin(KEY, now) else { panic!("it did not join") };
        assert!(joined.borrow().is_none());
        repeats.finish(KEY, answer("{}"), now);
        assert!(joined.borrow().as_ref().is_some_and(|outcome| outcome.is_ok()));
    }

    #[test]
    fn an_answer_is_kept_until_it_has_been_delivered_for_a_while() {
        let (repeats, now) = (Repeats::new(10, 10_000), Instant::now());
        assert!(is_first(&repeats.begin(KEY, now)));
        repeats.finish(KEY, answer("a"), now);
        assert_eq!(body_of(repeats.begin(KEY, now + seconds(499))).as_deref(), Some("a"));
        let later = now + seconds(100);
        repeats.delivered(KEY, later);
        assert_eq!(body_of(repeats.begin(KEY, later + seconds(2))).as_deref(), Some("a"));
        repeats.delivered(KEY, later + seconds(2));
        assert!(is_first(&repeats.begin(KEY, later + seconds(3))), "a second delivery prolongs nothing");
    }

    #[test]
    fn an_answer_that_is_never_delivered_is_forgotten_in_the_end() {
        let (repeats, now) = (Repeats::new(10, 10_000), Instant::now());
        assert!(is_first(&repeats.begin(KEY, now)));
        repeats.finish(KEY, answer("a"), now);
        assert!(is_first(&repeats.begin(KEY, now + seconds(500))));
    }

    #[test]
    fn a_refusal_is_told_to_those_who_wait_and_not_kept() {
        let (repeats, now) = (Repeats::new(10, 10_000), Instant::now());
        assert!(is_first(&repeats.begin(KEY, now)));
        let Begun::UnderWay(joined) = repeats.begin(KEY, now) else { panic!("it did not join") };
        repeats.finish(KEY, Arc::new(Err(Denial::stranger(Reason::AgentTimeout))), now);
        assert!(joined.borrow().as_ref().is_some_and(|outcome| outcome.is_err()));
        assert!(is_first(&repeats.begin(KEY, now)));
        repeats.finish(KEY, Arc::new(Ok(Reply::json(422, "{}"))), now);
        assert!(is_first(&repeats.begin(KEY, now)), "nor is the agent's own");
    }

    #[test]
    fn whoever_waits_for_an_abandoned_request_is_told() {
        let (repeats, now) = (Repeats::new(10, 10_000), Instant::now());
        assert!(is_first(&repeats.begin(KEY, now)));
        let Begun::UnderWay(joined) = repeats.begin(KEY, now) else { panic!("it did not join") };
        repeats.abandon(KEY);
        assert!(joined.has_changed().is_err());
        assert!(is_first(&repeats.begin(KEY, now)));
    }

    #[test]
    fn entries_and_bytes_are_bounded() {
        let (repeats, now) = (Repeats::new(3, 3 * (OVERHEAD + 100)), Instant::now());
        let key = |n| RepeatKey([n; 32]);
        for n in 0..10 {
            assert!(is_first(&repeats.begin(key(n), now)));
            repeats.finish(key(n), answer(&"x".repeat(100)), now);
        }
        assert_eq!(repeats.size(), (3, 3 * (OVERHEAD + 100)));
        assert!(is_first(&repeats.begin(key(10), now)));
        repeats.finish(key(10), answer(&"x".repeat(5_000)), now);
        assert!(is_first(&repeats.begin(key(10), now)), "it was too large");
        assert!(is_first(&repeats.begin(key(11), now)));
        assert!(is_first(&repeats.begin(key(12), now)));
        assert!(matches!(repeats.begin(key(13), now), Begun::Full), "all are under way");
        assert_eq!(repeats.size(), (3, 0));
    }
}
