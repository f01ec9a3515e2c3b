//! The store of a single gateway: governor's GCRA over dashmap, in memory.
//!
//! The bound is ours: at most `max_cells` cells. When they are used up, idle ones go first: a cell whose theoretical
//! arrival time is past says the same as no cell. If none is idle, new subjects share one overflow cell for each limit,
//! so that a flood of made-up callers can neither exhaust the memory nor escape the limit.

mod calls;
mod facts;
mod repeats;
mod round;
mod usage;
mod watches;

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dashmap::{DashMap, mapref::entry::Entry};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{NotKeyed, StateStore as GovernorStore},
};
use swaigate_core::{
    decide::{Answers, CellKey, Check, Exceeded, Family, Lesson, Question},
    id::{AgentName, CallDigest, CallerDigest, DocumentId, FactKey, RepeatKey},
    policy::Limit,
    time::Timestamp,
};

use self::{
    calls::Calls,
    facts::Facts,
    repeats::Repeats,
    round::Round,
    watches::{Alarm, Watches},
};
use super::{Begun, Gauges, Outcome, StateStore, Usage};

/// How often all cells may be looked through for idle ones while requests wait.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// How much may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Cells of limits, and as many bindings.
    pub cells: usize,
    /// Calls.
    pub calls: usize,
    /// Facts of calls.
    pub facts: usize,
    /// What detection remembers: subjects, and times of their events.
    pub watched: usize,
    /// Requests under way that may be sent again, and answers to such, together.
    pub answers: usize,
    /// The bytes of these answers.
    pub answer_bytes: usize,
}

/// The embedded store.
#[derive(Debug)]
pub struct Embedded<C: Clock = MonotonicClock> {
    clock: C,
    born: C::Instant,
    max: usize,
    calls: Calls,
    facts: Facts,
    watches: Watches,
    repeats: Repeats,
    cells: DashMap<CellKey, Arc<Cell<C>>>,
    cell_count: AtomicUsize,
    shared: DashMap<(AgentName, Family, Limit), Arc<Cell<C>>>,
    bindings: DashMap<DocumentId, Binding>,
    binding_count: AtomicUsize,
    overflows: AtomicU64,
    /// When cells were last looked through, in nanoseconds since `born`.
    swept: AtomicU64,
}

/// One counter. The lock is held over a whole request's checks, so that nobody sees a debit that is taken back.
#[derive(Debug)]
struct Cell<C: Clock> {
    lock: Mutex<()>,
    arrival: Arrival,
    limiter: RateLimiter<NotKeyed, Arrival, C, NoOpMiddleware<C::Instant>>,
    born: C::Instant,
}

/// The theoretical arrival time of GCRA, in nanoseconds since the cell was made; 0 before the first request.
#[derive(Debug, Clone, Default)]
struct Arrival(Arc<AtomicU64>);

#[derive(Debug, Clone, Copy)]
struct Binding {
    call: CallDigest,
    expiry: u32,
}

// === impl Embedded ===

impl Embedded {
    /// An empty store.
    pub fn new(bounds: Bounds) -> Self {
        Self::with_clock(bounds, MonotonicClock)
    }
}

impl<C> Embedded<C>
where
    C: Clock + Clone + Send + Sync,
{
    /// The same with another clock for its limits.
    pub fn with_clock(bounds: Bounds, clock: C) -> Self {
        Self {
            born: clock.now(),
            clock,
            max: bounds.cells,
            calls: Calls::new(bounds.calls),
            facts: Facts::new(bounds.facts),
            watches: Watches::new(bounds.watched),
            repeats: Repeats::new(bounds.answers, bounds.answer_bytes),
            cells: DashMap::new(),
            cell_count: AtomicUsize::new(0),
            shared: DashMap::new(),
            bindings: DashMap::new(),
            binding_count: AtomicUsize::new(0),
            overflows: AtomicU64::new(0),
            swept: AtomicU64::new(0),
        }
    }

    fn answer(&self, questions: &[Question], now: Timestamp) -> Answers {
        let mut round = Round::of(questions);
        let begins = self.begins_call(questions, now);
        self.watch(&mut round, begins);
        // Whether it passes is in its answers.
        let _ = self.ask_all(&mut round, begins, now);
        round.answers
    }

    /// What is watched counts first, and whatever becomes of the rest.
    fn watch(&self, round: &mut Round<'_>, begins_call: bool) {
        for (index, question) in round.questions.iter().enumerate() {
            if let Check::Watch { key, only_new_calls } = &question.check
                && !(*only_new_calls && is_of_known_call(round.questions, begins_call))
                && let Some(alarm) = self.watches.see(key, self.nanos())
            {
                round.answers.exceeded.push(Exceeded { check: index, is_shared: alarm == Alarm::Shared });
            }
        }
    }

    fn ask_all(&self, round: &mut Round<'_>, begins: bool, now: Timestamp) -> ControlFlow<()> {
        let cells = self.cells_of(round.questions, begins);
        let locks: Vec<MutexGuard<'_, ()>> = in_one_order(&cells).map(|cell| cell.hold()).collect();
        self.go_on(round, now)?;
        self.first_use(round, now, Use::Look)?;
        let before: Vec<u64> = cells.iter().map(|(_, cell)| cell.arrival.load()).collect();
        let mut facts = self.facts.hold(now.unix_seconds());
        let passed = self.count_and_take(&cells, &mut facts, round, now);
        if passed.is_break() {
            cells.iter().zip(before).for_each(|((_, cell), before)| cell.arrival.store(before));
            return passed;
        }
        facts.take();
        drop(locks);
        self.note_calls(round.questions, now);
        round.answers.begins_call = begins;
        ControlFlow::Continue(())
    }

    fn count_and_take(
        &self,
        cells: &[(usize, Arc<Cell<C>>)],
        facts: &mut facts::Held<'_>,
        round: &mut Round<'_>,
        now: Timestamp,
    ) -> ControlFlow<()> {
        debit(cells, round)?;
        facts.answer(round)?;
        self.first_use(round, now, Use::Take)?;
        self.begin(round, now)
    }

    fn begins_call(&self, questions: &[Question], now: Timestamp) -> bool {
        questions.iter().any(|question| match &question.check {
            Check::Begin(begin) => !self.calls.knows(begin, now.unix_seconds()),
            _ => false,
        })
    }

    fn begin(&self, round: &mut Round<'_>, now: Timestamp) -> ControlFlow<()> {
        for (index, question) in round.questions.iter().enumerate() {
            if let Check::Begin(begin) = &question.check
                && !self.calls.begin(begin, question.is_shadow, now.unix_seconds())
            {
                round.fails(index, Duration::ZERO)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn go_on(&self, round: &mut Round<'_>, now: Timestamp) -> ControlFlow<()> {
        for (index, question) in round.questions.iter().enumerate() {
            if let Check::Call { call, event, grace, .. } = &question.check
                && !self.calls.allows(call, *event, *grace, now.unix_seconds())
            {
                round.fails(index, Duration::ZERO)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn note_calls(&self, questions: &[Question], now: Timestamp) {
        for question in questions {
            if let Check::Call { call, event, expiry, .. } = &question.check {
                self.calls.note(call, *event, *expiry, now.unix_seconds());
            }
        }
    }

    /// The cell of each rate that counts and its question's place. A cell that two share is there once.
    fn cells_of(&self, questions: &[Question], begins_call: bool) -> Vec<(usize, Arc<Cell<C>>)> {
        let knows_call = is_of_known_call(questions, begins_call);
        let mut cells: Vec<(usize, Arc<Cell<C>>)> = Vec::with_capacity(questions.len());
        for (index, question) in questions.iter().enumerate() {
            if let Check::Rate { cell: key, only_new_calls } = &question.check
                && !(*only_new_calls && knows_call)
            {
                let cell = self.cell(key);
                if !cells.iter().any(|(_, known)| Arc::ptr_eq(known, &cell)) {
                    cells.push((index, cell));
                }
            }
        }
        cells
    }

    fn cell(&self, key: &CellKey) -> Arc<Cell<C>> {
        if let Some(cell) = self.cells.get(key) {
            return Arc::clone(&cell);
        }
        if !self.take_place(&self.cell_count) {
            self.sweep_now_and_then();
            if !self.take_place(&self.cell_count) {
                return self.shared_cell(key);
            }
        }
        match self.cells.entry(key.clone()) {
            Entry::Occupied(cell) => {
                self.cell_count.fetch_sub(1, Ordering::Relaxed);
                Arc::clone(cell.get())
            }
            Entry::Vacant(place) => Arc::clone(&place.insert(Arc::new(Cell::new(&key.limit, &self.clock)))),
        }
    }

    /// There are as many of these as there are limits in the policies.
    fn shared_cell(&self, key: &CellKey) -> Arc<Cell<C>> {
        self.overflows.fetch_add(1, Ordering::Relaxed);
        let name = (key.agent.clone(), key.family.clone(), key.limit.clone());
        Arc::clone(&self.shared.entry(name).or_insert_with(|| Arc::new(Cell::new(&key.limit, &self.clock))))
    }

    fn take_place(&self, count: &AtomicUsize) -> bool {
        let free = |count| (count < self.max).then_some(count + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
    }

    /// Since it was made.
    fn nanos(&self) -> u64 {
        self.clock.now().duration_since(self.born).as_u64()
    }

    fn sweep_now_and_then(&self) {
        let now = self.nanos();
        let swept = self.swept.load(Ordering::Relaxed);
        let pause = u64::try_from(SWEEP_PAUSE.as_nanos()).unwrap_or(u64::MAX);
        let due = swept == 0 || now.saturating_sub(swept) >= pause;
        if due && self.swept.compare_exchange(swept, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.sweep_cells();
        }
    }

    fn sweep_cells(&self) {
        self.cells.retain(|_, cell| {
            // Whoever else holds the cell is about to count in it.
            let keep = Arc::strong_count(cell) > 1 || !cell.is_idle();
            if !keep {
                self.cell_count.fetch_sub(1, Ordering::Relaxed);
            }
            keep
        });
        self.shared.retain(|_, cell| Arc::strong_count(cell) > 1 || !cell.is_idle());
    }

    fn first_use(&self, round: &mut Round<'_>, now: Timestamp, mode: Use) -> ControlFlow<()> {
        for (index, question) in round.questions.iter().enumerate() {
            if let Check::Bind { document, call, until, expiry } = &question.check {
                let binding = Binding { call: *call, expiry: *expiry };
                if !self.bind(document, binding, *until, now, mode) {
                    round.fails(index, Duration::ZERO)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn bind(&self, document: &DocumentId, binding: Binding, until: u32, now: Timestamp, mode: Use) -> bool {
        if let Some(known) = self.bindings.get(document) {
            return known.call == binding.call;
        }
        if now.unix_seconds() > until {
            return false;
        }
        match mode {
            Use::Look => true,
            Use::Take => self.bind_first(document, binding),
        }
    }

    /// A store that is full binds nothing more: the document stays unusable, no other call's binding is forgotten.
    fn bind_first(&self, document: &DocumentId, binding: Binding) -> bool {
        if !self.take_place(&self.binding_count) {
            return false;
        }
        match self.bindings.entry(*document) {
            Entry::Vacant(place) => {
                place.insert(binding);
                true
            }
            Entry::Occupied(known) => {
                self.binding_count.fetch_sub(1, Ordering::Relaxed);
                known.get().call == binding.call
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Use {
    Look,
    Take,
}

#[async_trait]
impl<C> StateStore for Embedded<C>
where
    C: Clock + Clone + Send + Sync,
{
    async fn apply(&self, questions: &[Question], now: Timestamp) -> Answers {
        if questions.is_empty() { Answers::default() } else { self.answer(questions, now) }
    }

    async fn learn(&self, lessons: &[Lesson], now: Timestamp) {
        self.facts.learn(lessons, now.unix_seconds());
    }

    async fn forget(&self, facts: &[FactKey]) {
        self.facts.forget(facts);
    }

    async fn begin(&self, request: RepeatKey) -> Begun {
        self.repeats.begin(request, Instant::now())
    }

    fn finish(&self, request: RepeatKey, outcome: Outcome) {
        self.repeats.finish(request, outcome, Instant::now());
    }

    fn abandon(&self, request: RepeatKey) {
        self.repeats.abandon(request);
    }

    fn delivered(&self, request: RepeatKey) {
        self.repeats.delivered(request, Instant::now());
    }

    fn sweep(&self, now: Timestamp) {
        self.sweep_cells();
        self.repeats.sweep(Instant::now());
        let now = now.unix_seconds();
        self.calls.sweep(now);
        self.facts.sweep(now);
        self.watches.sweep(self.nanos());
        self.bindings.retain(|_, binding| {
            let keep = binding.expiry > now;
            if !keep {
                self.binding_count.fetch_sub(1, Ordering::Relaxed);
            }
            keep
        });
    }

    fn usage(&self, caller: &[CallerDigest]) -> Usage {
        self.used_by(caller)
    }

    fn gauges(&self) -> Gauges {
        let (repeats, answer_bytes) = self.repeats.size();
        Gauges {
            calls: self.calls.len(),
            facts: self.facts.len(),
            watched: self.watches.len(),
            watch_overflows: self.watches.overflows(),
            repeats,
            answer_bytes,
            cells: self.cell_count.load(Ordering::Relaxed) + self.shared.len(),
            bindings: self.binding_count.load(Ordering::Relaxed),
            overflows: self.overflows.load(Ordering::Relaxed),
        }
    }
}

/// A call that goes on has no part in what counts those that begin.
fn is_of_known_call(questions: &[Question], begins_call: bool) -> bool {
    !begins_call && questions.iter().any(|question| matches!(question.check, Check::Begin(_)))
}

/// Cells in the order in which all requests lock them, so that no two wait for each other.
fn in_one_order<C: Clock>(cells: &[(usize, Arc<Cell<C>>)]) -> impl Iterator<Item = &Arc<Cell<C>>> {
    let mut ordered: Vec<_> = cells.iter().map(|(_, cell)| cell).collect();
    ordered.sort_by_key(|cell| Arc::as_ptr(cell).addr());
    ordered.into_iter()
}

/// Counts in each cell, up to the first that has no room.
fn debit<C: Clock>(cells: &[(usize, Arc<Cell<C>>)], round: &mut Round<'_>) -> ControlFlow<()> {
    for (index, cell) in cells {
        if let Err(wait) = cell.debit() {
            round.fails(*index, wait)?;
        }
    }
    ControlFlow::Continue(())
}

// === impl Cell ===

impl<C: Clock> Cell<C> {
    fn new(limit: &Limit, clock: &C) -> Self
    where
        C: Clone,
    {
        let arrival = Arrival::default();
        let limiter = RateLimiter::new(quota(limit), arrival.clone(), clock.clone());
        Self { lock: Mutex::new(()), arrival, limiter, born: clock.now() }
    }

    fn hold(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one request, or says how long until there is room for it.
    fn debit(&self) -> Result<(), Duration> {
        let clock = self.limiter.clock();
        self.limiter.check().map_err(|until| until.wait_time_from(clock.now()))
    }

    fn is_idle(&self) -> bool {
        let now = self.limiter.clock().now().duration_since(self.born).as_u64();
        self.arrival.load() <= now
    }
}

// === impl Arrival ===

impl Arrival {
    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn store(&self, nanos: u64) {
        self.0.store(nanos, Ordering::Release);
    }
}

impl GovernorStore for Arrival {
    type Key = NotKeyed;

    /// Only whoever holds the cell's lock gets here, so the value can't change in between.
    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let before = self.load();
        let (outcome, after) = decide((before != 0).then(|| Nanos::new(before)))?;
        self.store(after.as_u64());
        Ok(outcome)
    }
}

/// A limit in governor's terms.
fn quota(limit: &Limit) -> Quota {
    let one = std::num::NonZeroU32::MIN;
    let burst = std::num::NonZeroU32::new(limit.burst).unwrap_or(one);
    Quota::with_period(step(limit)).unwrap_or(Quota::per_second(one)).allow_burst(burst)
}

/// How long it takes until there is room for one more.
fn step(limit: &Limit) -> Duration {
    (limit.every / limit.allow.max(1)).max(Duration::from_nanos(1))
}

#[cfg(test)]
mod tests;
