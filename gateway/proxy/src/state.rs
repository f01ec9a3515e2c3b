//! What outlives a request: who has asked how often, which call owns which document and which has ended, and what was
//! answered to a request that may be sent again.
//!
//! A plan's checks are answered all at once: [`StateStore::apply`] is the one round trip of a request, and nothing above
//! this trait assumes that there is one gateway only.

mod archive;
mod embedded;
mod failures;
mod kept;
mod written;

use std::{sync::Arc, time::Duration};

pub use archive::{Archive, NoArchive, Ordered};
use async_trait::async_trait;
pub use embedded::{Bounds, Embedded};
pub use failures::FailedAttempts;
pub use kept::{Import, Kept, Recovered};
use swaigate_core::{
    decide::{Answers, CellKey, Denial, Lesson, Question},
    id::{AgentName, CallerDigest, FactKey, RepeatKey},
    time::Timestamp,
    verdict::Reply,
};
use tokio::sync::watch;
pub use written::{NoLock, NoSwitch, Written, WrittenLock, WrittenScope, WrittenSubject};

/// Where counts, bindings, calls and answers are kept.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// Answers all questions of one request. A request that one of them refuses is counted by none, but for what the
    /// refusal itself is: a wrong code, or a question that the caller is asked; and for what detection watches.
    async fn apply(&self, questions: &[Question], now: Timestamp) -> Answers;

    /// Remembers what an answer taught, before it leaves.
    async fn learn(&self, lessons: &[Lesson], now: Timestamp);

    /// What was remembered as done was not.
    async fn forget(&self, facts: &[FactKey]);

    /// Takes part in a request that may have been sent before. Whoever is the first ends it, with
    /// [`finish`](Self::finish) or [`abandon`](Self::abandon).
    async fn begin(&self, request: RepeatKey) -> Begun;

    /// Tells those who wait what became of the first. An answer is kept for those who are still to come; a refusal isn't.
    fn finish(&self, request: RepeatKey, outcome: Outcome);

    /// The first came to nothing: one of those who wait is the first now.
    fn abandon(&self, request: RepeatKey);

    /// A kept answer was written whole to somebody who asked.
    fn delivered(&self, request: RepeatKey);

    /// Forgets what no longer matters. Called now and then.
    fn sweep(&self, now: Timestamp);

    /// What a caller, whom these digests stand for, has used of limits, and how many calls of theirs are under way. Changes
    /// nothing.
    fn usage(&self, caller: &[CallerDigest]) -> Usage;

    /// How much is kept.
    fn gauges(&self) -> Gauges;
}

/// What became of a request.
pub type Outcome = Arc<Result<Reply, Denial>>;

/// What is known of a request that may have been sent before.
#[derive(Debug)]
pub enum Begun {
    /// Nothing: it is the first.
    First,
    /// It is under way. The channel closes without an outcome if the first is abandoned.
    UnderWay(watch::Receiver<Option<Outcome>>),
    /// It was answered.
    Answered(Outcome),
    /// As many as may be are under way.
    Full,
}

/// What a caller has used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of each limit that counts by the caller and isn't unused.
    pub limits: Vec<Used>,
    /// How many calls are under way at each agent that counts them.
    pub calls: Vec<(AgentName, usize)>,
}

/// What was used of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The limit, and what counts in it.
    pub cell: CellKey,
    /// How many more requests pass now.
    pub left: u32,
    /// How long it is until all of it is free again.
    pub full_in: Duration,
}

/// How much a store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Cells of limits.
    pub cells: usize,
    /// Documents bound to a call.
    pub bindings: usize,
    /// Calls under way or ended.
    pub calls: usize,
    /// What was learned and done in calls.
    pub facts: usize,
    /// What detection remembers: subjects, and times of their events.
    pub watched: usize,
    /// Events that detection counted together, for want of room for each subject's.
    pub watch_overflows: u64,
    /// Requests under way that may be sent again, and kept answers.
    pub repeats: usize,
    /// The bytes of the kept answers.
    pub answer_bytes: usize,
    /// Requests that were counted in a shared cell, because all cells were in use.
    pub overflows: u64,
}
