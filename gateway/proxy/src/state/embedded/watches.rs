//! What detection has counted: for each rule and subject the times of its last events, no more of them than are usual. So
//! it is known to the event whether they are too many, however they are spread.
//!
//! The bound is on subjects and times together. When it is reached, what is over goes first; if nothing is, what finds no
//! room counts in one coarse counter for each rule, so that a flood of made-up subjects is told too, though not whose it is.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use swaigate_core::{decide::WatchKey, id::AgentName, policy::Watch};

use super::SWEEP_PAUSE;

/// At most `max` subjects and times.
#[derive(Debug)]
pub(super) struct Watches {
    max: usize,
    table: Mutex<Table>,
}

/// More than is usual has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// By one subject.
    OfOne,
    /// By all subjects together that there was no room for.
    Shared,
}

#[derive(Debug, Default)]
struct Table {
    subjects: HashMap<WatchKey, Recent>,
    shared: HashMap<(AgentName, Watch), Shared>,
    /// Subjects and times.
    size: usize,
    overflows: u64,
    /// When it was last looked through for want of room.
    swept: Option<u64>,
}

/// The last events of a subject. All times are in nanoseconds since the store was made.
#[derive(Debug, Default)]
struct Recent {
    /// At most [`Watch::more_than`], the newest last.
    times: VecDeque<u64>,
    quiet: Quiet,
}

/// Events without room, counted in windows that follow each other.
#[derive(Debug, Default)]
struct Shared {
    since: u64,
    count: u32,
    quiet: Quiet,
}

/// Until when no alarm is raised, since one was.
#[derive(Debug, Default)]
struct Quiet(u64);

// === impl Watches ===

impl Watches {
    pub(super) fn new(max: usize) -> Self {
        Self { max, table: Mutex::default() }
    }

    /// Counts an event.
    pub(super) fn see(&self, key: &WatchKey, now: u64) -> Option<Alarm> {
        let mut table = self.hold();
        // A subject that is new and its time.
        let has_room = table.size + 2 <= self.max || {
            table.sweep_now_and_then(now);
            table.size + 2 <= self.max
        };
        match table.see(key, now, has_room) {
            Seen::Usual => None,
            Seen::TooMany => Some(Alarm::OfOne),
            Seen::NoRoom => table.see_shared(key, now).then_some(Alarm::Shared),
        }
    }

    /// Forgets what is over.
    pub(super) fn sweep(&self, now: u64) {
        self.hold().sweep(now);
    }

    /// How many subjects and times are kept.
    pub(super) fn len(&self) -> usize {
        self.hold().size
    }

    /// How many events found no room.
    pub(super) fn overflows(&self) -> u64 {
        self.hold().overflows
    }

    fn hold(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Seen {
    Usual,
    TooMany,
    NoRoom,
}

// === impl Table ===

impl Table {
    fn see(&mut self, key: &WatchKey, now: u64, has_room: bool) -> Seen {
        let recent = match self.subjects.get_mut(key) {
            Some(recent) => recent,
            None if has_room => {
                self.size += 1;
                self.subjects.entry(key.clone()).or_default()
            }
            None => return Seen::NoRoom,
        };
        let (most, window) = (key.watch.more_than as usize, nanos(key.watch.every));
        let before = recent.times.len();
        recent.forget(window, now);
        let is_full = recent.times.len() >= most;
        if is_full {
            recent.times.pop_front();
        }
        let fits = is_full || has_room;
        if fits && most > 0 {
            recent.times.push_back(now);
        }
        self.size = self.size - before + recent.times.len();
        match (is_full, fits) {
            (true, _) if recent.quiet.raises(window, now) => Seen::TooMany,
            (_, false) => Seen::NoRoom,
            (_, true) => Seen::Usual,
        }
    }

    /// There are as many of these as there are rules in the policies.
    fn see_shared(&mut self, key: &WatchKey, now: u64) -> bool {
        self.overflows += 1;
        let window = nanos(key.watch.every);
        let shared = self.shared.entry((key.agent.clone(), key.watch.clone())).or_default();
        if is_over(shared.since, window, now) {
            (shared.since, shared.count) = (now, 0);
        }
        shared.count = shared.count.saturating_add(1);
        shared.count > key.watch.more_than && shared.quiet.raises(window, now)
    }

    fn sweep_now_and_then(&mut self, now: u64) {
        if self.swept.is_none_or(|swept| is_over(swept, nanos(SWEEP_PAUSE), now)) {
            self.sweep(now);
            self.swept = Some(now);
        }
    }

    fn sweep(&mut self, now: u64) {
        self.subjects.retain(|key, recent| {
            recent.forget(nanos(key.watch.every), now);
            recent.times.shrink_to_fit();
            !recent.times.is_empty() || recent.quiet.lasts(now)
        });
        self.size = self.subjects.values().map(|recent| 1 + recent.times.len()).sum();
        self.shared
            .retain(|(_, watch), shared| !is_over(shared.since, nanos(watch.every), now) || shared.quiet.lasts(now));
    }
}

// === impl Recent ===

impl Recent {
    fn forget(&mut self, window: u64, now: u64) {
        while self.times.front().is_some_and(|first| is_over(*first, window, now)) {
            self.times.pop_front();
        }
    }
}

// === impl Quiet ===

impl Quiet {
    /// Whether an alarm may be raised now; then none is for one window.
    fn raises(&mut self, window: u64, now: u64) -> bool {
        let may = !self.lasts(now);
        if may {
            self.0 = now.saturating_add(window);
        }
        may
    }

    fn lasts(&self, now: u64) -> bool {
        now < self.0
    }
}

fn is_over(since: u64, window: u64, now: u64) -> bool {
    since.saturating_add(window) <= now
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
