//! Which server made a call's document.

use std::{collections::HashMap, sync::Arc};

/// How many calls are remembered, in each of two halves.
const HALF: usize = 1 << 15;

/// The servers of the calls whose documents were made last, by the calls' numbers. When the newer half is full, the older
/// one is forgotten.
#[derive(Debug, Default)]
pub(super) struct Homes {
    newer: HashMap<u64, Arc<str>>,
    older: HashMap<u64, Arc<str>>,
}

// === impl Homes ===

impl Homes {
    pub(super) fn of(&self, number: u64) -> Option<&Arc<str>> {
        self.newer.get(&number).or_else(|| self.older.get(&number))
    }

    pub(super) fn note(&mut self, number: u64, server: &Arc<str>) {
        if self.newer.len() >= HALF {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(number, Arc::clone(server));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_no_more_than_there_is_room_for() {
        let (mut homes, server) = (Homes::default(), Arc::from("a:1"));
        for number in 0..10 * HALF as u64 {
            homes.note(number, &server);
            assert!(homes.of(number.saturating_sub(HALF as u64 - 1)).is_some());
            assert!(homes.newer.len() + homes.older.len() <= 2 * HALF);
        }
        assert!(homes.of(0).is_none());
    }
}
