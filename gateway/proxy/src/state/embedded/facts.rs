//! What was learned and done in calls: functions that succeeded, arguments that passed once, questions that a caller was
//! asked, and wrong codes.
//!
//! All of it opens something or closes something, so nothing is forgotten for something new: when the table is full, what
//! can't be remembered is refused.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use swaigate_core::{
    decide::{Agreed, Check, CodeGiven, Lesson},
    id::FactKey,
};

use super::round::Round;

/// How long a used code is remembered, in seconds: a TOTP step and those beside it (RFC 6238, 5.2).
const USED_CODE: u32 = 300;

/// At most `max` facts.
#[derive(Debug)]
pub(super) struct Facts {
    max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table(HashMap<FactKey, Entry>);

#[derive(Debug, Clone, Copy)]
struct Entry {
    fact: Fact,
    /// In Unix seconds.
    expiry: u32,
}

#[derive(Debug, Clone, Copy)]
enum Fact {
    /// It is so.
    Held,
    /// The caller was asked, after so many turns of theirs.
    Asked { turns: Option<u32> },
    /// This turn of the caller's was an answer.
    Answered { turn: u32 },
    /// So many wrong codes were given.
    Wrong { count: u32 },
}

/// The table while a request is answered.
pub(super) struct Held<'t> {
    table: MutexGuard<'t, Table>,
    max: usize,
    now: u32,
    /// What is changed if nothing is against the request.
    changes: Vec<(FactKey, Option<Entry>)>,
}

// === impl Facts ===

impl Facts {
    pub(super) fn new(max: usize) -> Self {
        Self { max, table: Mutex::default() }
    }

    pub(super) fn hold(&self, now: u32) -> Held<'_> {
        Held { table: self.table(), max: self.max, now, changes: Vec::new() }
    }

    pub(super) fn learn(&self, lessons: &[Lesson], now: u32) {
        let mut held = self.hold(now);
        for Lesson { fact, expiry } in lessons {
            if held.has_room_for(fact) {
                held.table.0.insert(*fact, Entry { fact: Fact::Held, expiry: *expiry });
            }
        }
    }

    pub(super) fn forget(&self, facts: &[FactKey]) {
        let mut table = self.table();
        for fact in facts {
            table.0.remove(fact);
        }
    }

    pub(super) fn sweep(&self, now: u32) {
        self.table().0.retain(|_, entry| entry.expiry > now);
    }

    pub(super) fn len(&self) -> usize {
        self.table().0.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Held ===

impl Held<'_> {
    /// Answers all questions about facts.
    pub(super) fn answer(&mut self, round: &mut Round<'_>) -> ControlFlow<()> {
        for (index, question) in round.questions.iter().enumerate() {
            let wait = match &question.check {
                Check::Fact(fact) => self.find(fact).is_some().then_some(()).ok_or(Duration::ZERO),
                Check::Once { fact, expiry } => self.once(*fact, *expiry),
                Check::Code(code) => self.code(code),
                Check::Agreed(agreed) => self.agreed(agreed),
                Check::Rate { .. }
                | Check::Bind { .. }
                | Check::Call { .. }
                | Check::Begin(_)
                | Check::Watch { .. } => continue,
            };
            if let Err(wait) = wait {
                round.fails(index, wait)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Nothing is against the request: what it does is remembered.
    pub(super) fn take(mut self) {
        for (fact, entry) in std::mem::take(&mut self.changes) {
            match entry {
                Some(entry) => self.table.0.insert(fact, entry),
                None => self.table.0.remove(&fact),
            };
        }
    }

    fn find(&self, fact: &FactKey) -> Option<Fact> {
        self.table.0.get(fact).filter(|entry| entry.expiry > self.now).map(|entry| entry.fact)
    }

    fn has_room_for(&mut self, fact: &FactKey) -> bool {
        let now = self.now;
        if self.table.0.len() >= self.max && !self.table.0.contains_key(fact) {
            self.table.0.retain(|_, entry| entry.expiry > now);
        }
        self.table.0.len() < self.max || self.table.0.contains_key(fact)
    }

    fn once(&mut self, fact: FactKey, expiry: u32) -> Result<(), Duration> {
        if self.find(&fact).is_some() || !self.has_room_for(&fact) {
            return Err(Duration::ZERO);
        }
        self.changes.push((fact, Some(Entry { fact: Fact::Held, expiry })));
        Ok(())
    }

    /// A caller who has agreed is asked anew for the next time; one who hasn't is asked now, whatever becomes of the rest.
    fn agreed(&mut self, agreed: &Agreed) -> Result<(), Duration> {
        if let Some(Fact::Asked { turns }) = self.find(&agreed.fact) {
            let answer = turns.zip(agreed.agreed_at).filter(|(before, at)| at >= before && self.is_new(agreed, *at));
            if let Some((_, turn)) = answer.filter(|_| self.has_room_for(&agreed.answered)) {
                let entry = Entry { fact: Fact::Answered { turn }, expiry: agreed.expiry };
                self.changes.extend([(agreed.fact, None), (agreed.answered, Some(entry))]);
                return Ok(());
            }
            if agreed.trusts_model {
                self.changes.push((agreed.fact, None));
                return Ok(());
            }
        }
        if self.has_room_for(&agreed.fact) {
            let entry = Entry { fact: Fact::Asked { turns: agreed.turns }, expiry: agreed.until };
            self.table.0.insert(agreed.fact, entry);
        }
        Err(Duration::ZERO)
    }

    /// Whether a turn has answered no other question: who is asked twice and says yes once has agreed to one thing.
    fn is_new(&self, agreed: &Agreed, at: u32) -> bool {
        match self.find(&agreed.answered) {
            Some(Fact::Answered { turn }) => at > turn,
            Some(Fact::Held | Fact::Asked { .. } | Fact::Wrong { .. }) | None => true,
        }
    }

    /// Wrong codes count at once; a right one isn't looked at while too many wrong ones are remembered.
    fn code(&mut self, code: &CodeGiven) -> Result<(), Duration> {
        let locked_until = code.counters.iter().filter_map(|counter| {
            let entry = self.table.0.get(counter).filter(|entry| entry.expiry > self.now)?;
            matches!(entry.fact, Fact::Wrong { count } if count >= code.attempts).then_some(entry.expiry)
        });
        if let Some(until) = locked_until.max() {
            return Err(Duration::from_secs(u64::from(until - self.now)));
        }
        // Where wrong codes can't be counted, none is looked at.
        if !code.counters.iter().all(|counter| self.has_room_for(counter)) {
            return Err(Duration::from_secs(1));
        }
        if !code.is_right {
            let expiry = self.now.saturating_add(code.lock);
            for counter in &code.counters {
                let count = match self.find(counter) {
                    Some(Fact::Wrong { count }) => count.saturating_add(1),
                    Some(Fact::Held | Fact::Asked { .. } | Fact::Answered { .. }) | None => 1,
                };
                self.table.0.insert(*counter, Entry { fact: Fact::Wrong { count }, expiry });
            }
            return Err(Duration::ZERO);
        }
        match code.use_once {
            Some(used) => self.once(used, self.now.saturating_add(USED_CODE)),
            None => Ok(()),
        }
    }
}
