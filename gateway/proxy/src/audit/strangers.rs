//! Requests of strangers: a few of each source are recorded, and of the others how many there were.
//!
//! A stranger is whoever has proved nothing, and whose request went no further. Each source (an IPv4 address, the first
//! 64 bits of an IPv6 address) has so many records a minute, and all of them together a hundred times as many. What is
//! beyond that is counted by source and reason, and told in one record for each source when the minute is over. At most
//! [`MAX_SOURCES`] are told apart; those that come then share one count. So a flood fills neither the disk nor the memory.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use swaigate_core::{
    decide::{Part, address_part},
    time::Timestamp,
    verdict::Reason,
};

use crate::clock;

/// How many sources are told apart in a minute.
pub(super) const MAX_SOURCES: usize = 4096;

/// How many sources may use up all of their records in a minute.
const AT_ONCE: usize = 100;

const MINUTE: u64 = 60_000;

/// Who has asked in this minute.
#[derive(Debug)]
pub(super) struct Strangers {
    each: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    minute: u64,
    /// How many were recorded, of all sources.
    recorded: usize,
    sources: HashMap<Part<IpAddr>, Source>,
    /// Those of all who found the table full.
    others: Source,
}

#[derive(Debug, Default)]
struct Source {
    recorded: usize,
    counted: Option<Counted>,
}

/// Requests that have no record of their own.
#[derive(Debug)]
struct Counted {
    first: Timestamp,
    last: Timestamp,
    reasons: BTreeMap<&'static str, u64>,
}

/// The record of what was counted.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    time: String,
    event: &'static str,
    /// The source; missing where several share the count.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    until: String,
    count: u64,
    reasons: BTreeMap<&'static str, u64>,
}

// === impl Strangers ===

impl Strangers {
    /// So many records a source and minute.
    pub(super) fn new(each: usize) -> Self {
        Self { each, table: Mutex::default() }
    }

    /// Whether this request has a record of its own; else it is counted.
    pub(super) fn has_record(&self, client: Option<IpAddr>, reason: Reason, at: Timestamp) -> bool {
        let mut table = self.table();
        let table = &mut *table;
        let source = address_part(client);
        let may_be_added = table.sources.len() < MAX_SOURCES || table.sources.contains_key(&source);
        let source = if may_be_added { table.sources.entry(source).or_default() } else { &mut table.others };
        if source.recorded < self.each && table.recorded < self.each.saturating_mul(AT_ONCE) {
            source.recorded += 1;
            table.recorded += 1;
            return true;
        }
        let counted = source.counted.get_or_insert_with(|| Counted { first: at, last: at, reasons: BTreeMap::new() });
        counted.last = counted.last.max(at);
        *counted.reasons.entry(reason.as_str()).or_default() += 1;
        false
    }

    /// What was counted, if the minute is over, or if this is the end.
    pub(super) fn due(&self, now: Timestamp, is_end: bool) -> Vec<Summary> {
        let mut table = self.table();
        let minute = now.0 / MINUTE;
        if minute == table.minute && !is_end {
            return Vec::new();
        }
        let before = std::mem::replace(&mut *table, Table { minute, ..Table::default() });
        drop(table);
        let told = before.sources.into_iter().filter_map(|(source, of_it)| Some((name(source), of_it.counted?)));
        let others = before.others.counted.map(|counted| (None, counted));
        let mut told: Vec<_> = told.chain(others).collect();
        told.sort_by_key(|(_, counted)| counted.first);
        told.into_iter().map(|(client, counted)| Summary::new(client, counted)).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(source: Part<IpAddr>) -> Option<String> {
    match source {
        Part::Of(address @ IpAddr::V4(_)) => Some(address.to_string()),
        Part::Of(network @ IpAddr::V6(_)) => Some(format!("{network}/64")),
        Part::Any | Part::Unidentified => None,
    }
}

impl Summary {
    fn new(client: Option<String>, counted: Counted) -> Self {
        Self {
            time: clock::rfc3339(counted.first),
            event: "strangers",
            client,
            until: clock::rfc3339(counted.last),
            count: counted.reasons.values().sum(),
            reasons: counted.reasons,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_700_000_040_000);

    fn ask(strangers: &Strangers, client: &str, times: usize) -> usize {
        let client = Some(client.parse().unwrap());
        (0..times).filter(|_| strangers.has_record(client, Reason::CredentialsMissing, START)).count()
    }

    #[test]
    fn the_first_of_a_source_are_recorded_and_the_others_counted() {
        let strangers = Strangers::new(3);
        assert!(strangers.due(START, false).is_empty());
        assert_eq!(ask(&strangers, "192.0.2.1", 1000), 3);
        assert!(!strangers.has_record(Some("192.0.2.1".parse().unwrap()), Reason::NotFound, Timestamp(START.0 + 7)));
        assert_eq!(ask(&strangers, "192.0.2.2", 3), 3, "another source has its own");
        let later = Timestamp(START.0 + MINUTE);
        assert!(strangers.due(Timestamp(later.0 - 1), false).is_empty(), "the minute isn't over");
        let told = serde_json::to_value(strangers.due(later, false)).unwrap();
        assert_eq!(
            told,
            serde_json::json!([{ "time": "2023-11-14T22:14:00.000Z", "event": "strangers", "client": "192.0.2.1",
                "until": "2023-11-14T22:14:00.007Z", "count": 998,
                "reasons": { "credentials_missing": 997, "not_found": 1 } }])
        );
        assert_eq!(ask(&strangers, "192.0.2.1", 4), 3, "a new minute");
        assert_eq!(strangers.due(later, true).len(), 1, "the end");
    }

    #[test]
    fn a_host_has_all_of_its_ipv6_addresses_at_once() {
        let strangers = Strangers::new(2);
        let recorded: usize = (0..100).map(|host| ask(&strangers, &format!("2001:db8::{host}"), 1)).sum();
        assert_eq!(recorded, 2);
        let told = serde_json::to_value(strangers.due(START, true)).unwrap();
        assert_eq!((&told[0]["client"], &told[0]["count"]), (&"2001:db8::/64".into(), &98.into()));
    }

    #[test]
    fn a_flood_from_everywhere_has_bounds() {
        let strangers = Strangers::new(1);
        let sources = MAX_SOURCES + 1000;
        let recorded: usize = (0..sources).map(|n| ask(&strangers, &format!("10.{}.{}.1", n / 256, n % 256), 2)).sum();
        assert_eq!(recorded, AT_ONCE);
        assert_eq!(strangers.table().sources.len(), MAX_SOURCES);
        let told = strangers.due(START, true);
        assert_eq!(told.len(), MAX_SOURCES + 1);
        let shared = told.iter().find(|summary| summary.client.is_none()).unwrap();
        assert_eq!(shared.count, 2000);
        assert_eq!(told.iter().map(|summary| summary.count).sum::<u64>() as usize, 2 * sources - AT_ONCE);
    }
}
