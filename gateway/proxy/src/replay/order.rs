//! The order in which things happened. A record is written when its request has ended, and others may have come and gone
//! meanwhile; so records wait here until no earlier one can come any more.

use std::{cmp::Reverse, collections::BinaryHeap};

use swaigate_core::time::Timestamp;

use super::record::Record;

/// How long a request takes at most, in microseconds: an agent has less than 120 seconds to answer, a body 10 minutes to
/// come by the longest setting; few take a second.
const LONGEST: u64 = 180_000_000;

/// How many records wait at most. A log with more requests within [`LONGEST`] is taken as it comes beyond that.
const MAX_WAITING: usize = 500_000;

/// Records, and what comes of them later, by time.
#[derive(Debug)]
pub(super) struct Order<L> {
    waiting: BinaryHeap<Reverse<Entry<L>>>,
    /// The latest time that was seen. All times are in microseconds since 1970.
    latest: u64,
    pushed: u64,
}

/// Something that happened.
#[derive(Debug)]
pub(super) enum Happened<L> {
    /// A request came, at this time.
    Request(Timestamp, Box<Record>),
    /// Something came of an earlier one.
    Later(L),
}

#[derive(Debug)]
struct Entry<L> {
    at: u64,
    /// What came of earlier requests comes before the requests of the same moment.
    is_request: bool,
    /// The order in which requests came to their process.
    arrival: u64,
    /// The order of the log.
    pushed: u64,
    happened: Happened<L>,
}

// === impl Order ===

impl<L> Order<L> {
    pub(super) fn new() -> Self {
        Self { waiting: BinaryHeap::new(), latest: 0, pushed: 0 }
    }

    /// A record of the log is read.
    pub(super) fn request(&mut self, at: Timestamp, record: Record) {
        self.latest = self.latest.max(record.answered_at(at));
        let arrival = record.arrival().1;
        self.push(record.decided_at(at), true, arrival, Happened::Request(at, Box::new(record)));
    }

    /// Something comes of a request.
    pub(super) fn later(&mut self, at: u64, later: L) {
        self.push(at, false, 0, Happened::Later(later));
    }

    /// What happened next, once no earlier record can come; or once the log has ended.
    pub(super) fn next(&mut self, has_ended: bool) -> Option<(u64, Happened<L>)> {
        let is_settled = |Reverse(entry): &Reverse<Entry<L>>| entry.at.saturating_add(LONGEST) <= self.latest;
        let is_due = has_ended || self.waiting.len() > MAX_WAITING || self.waiting.peek().is_some_and(is_settled);
        if !is_due {
            return None;
        }
        self.waiting.pop().map(|Reverse(entry)| (entry.at, entry.happened))
    }

    fn push(&mut self, at: u64, is_request: bool, arrival: u64, happened: Happened<L>) {
        self.pushed += 1;
        self.waiting.push(Reverse(Entry { at, is_request, arrival, pushed: self.pushed, happened }));
    }
}

impl<L> Entry<L> {
    fn key(&self) -> (u64, bool, u64, u64) {
        (self.at, self.is_request, self.arrival, self.pushed)
    }
}

impl<L> PartialEq for Entry<L> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<L> Eq for Entry<L> {}

impl<L> PartialOrd for Entry<L> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<L> Ord for Entry<L> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
