//! What came of a replay, as a page and as JSON.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Value, json};
use swaigate_core::record::Rule;

use super::{record::Record, verdict::Verdict};

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Report {
    examples: usize,
    /// The time of the first record and of the last.
    times: Option<(String, String)>,
    records: u64,
    unreadable: u64,
    same: u64,
    different: u64,
    undecidable: BTreeMap<(&'static str, &'static str), u64>,
    not_policy: BTreeMap<String, u64>,
    of_refused_calls: u64,
    changes: BTreeMap<Change, u64>,
    shown: Vec<(String, String, Change)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    agent: String,
    function: Option<String>,
    was: String,
    now: String,
}

// === impl Report ===

impl Report {
    /// An empty one, which will show so many examples.
    pub(super) fn new(examples: usize) -> Self {
        Self { examples, ..Self::default() }
    }

    /// Something that no request is.
    pub(super) fn other(&mut self, event: String) {
        *self.not_policy.entry(event).or_default() += 1;
    }

    pub(super) fn unreadable(&mut self) {
        self.unreadable += 1;
    }

    pub(super) fn count(&mut self, record: &Record, verdict: Verdict) {
        self.records += 1;
        let time = record.time().to_owned();
        self.times = Some((self.times.take().map_or_else(|| time.clone(), |(first, _)| first), time.clone()));
        match verdict {
            Verdict::Same => self.same += 1,
            Verdict::Different { was, now } => {
                self.different += 1;
                let agent = record.agent.clone().unwrap_or_default();
                let change = Change { agent, function: record.function.clone(), was, now };
                if self.shown.len() < self.examples {
                    self.shown.push((record.request_id.clone(), time, change.clone()));
                }
                *self.changes.entry(change).or_default() += 1;
            }
            Verdict::Undecidable(rule, why) => {
                *self.undecidable.entry((rule.map_or("", Rule::as_str), why)).or_default() += 1;
            }
            Verdict::NotPolicy(what) => *self.not_policy.entry(what).or_default() += 1,
            Verdict::OfRefusedCall => self.of_refused_calls += 1,
        }
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Self { records, same, different, of_refused_calls, .. } = self;
        let (first, last) = self.times.clone().unwrap_or_default();
        writeln!(text, "{records} records from {first} to {last}\n")?;
        writeln!(text, "{same:>9}  decided the same")?;
        writeln!(text, "{different:>9}  decided differently")?;
        writeln!(text, "{:>9}  undecidable", self.undecidable.values().sum::<u64>())?;
        for ((rule, why), count) in &self.undecidable {
            let rule = if rule.is_empty() { String::new() } else { format!("{rule}: ") };
            writeln!(text, "{:>21}  {rule}{why}", count)?;
        }
        writeln!(text, "{of_refused_calls:>9}  of calls that would not have begun")?;
        writeln!(text, "{:>9}  not for a policy to decide", self.not_policy.values().sum::<u64>())?;
        for (what, count) in &self.not_policy {
            writeln!(text, "{count:>21}  {what}")?;
        }
        if self.unreadable > 0 {
            writeln!(text, "{:>9}  lines that are no records", self.unreadable)?;
        }
        if !self.changes.is_empty() {
            writeln!(text, "\ndifferences")?;
            self.changes.iter().try_for_each(|(change, count)| writeln!(text, "{count:>9}  {}", change.told()))?;
            writeln!(text, "\nthe first of them")?;
            let mut shown = self.shown.iter();
            shown.try_for_each(|(request, time, change)| writeln!(text, "{request}  {time}  {}", change.told()))?;
        }
        Ok(())
    }

    /// For a program.
    pub fn json(&self) -> Value {
        let undecidable = self.undecidable.iter().map(|((rule, why), count)| {
            let rule = Some(rule).filter(|rule| !rule.is_empty());
            json!({ "rule": rule, "why": why, "count": count })
        });
        let changes = self.changes.iter().map(|(change, count)| {
            let mut told = change.json();
            told["count"] = (*count).into();
            told
        });
        let examples = self.shown.iter().map(|(request, time, change)| {
            let mut told = change.json();
            told["request_id"] = request.as_str().into();
            told["time"] = time.as_str().into();
            told
        });
        json!({
            "records": self.records,
            "unreadable": self.unreadable,
            "same": self.same,
            "different": self.different,
            "undecidable": undecidable.collect::<Vec<_>>(),
            "of_refused_calls": self.of_refused_calls,
            "not_policy": self.not_policy,
            "changes": changes.collect::<Vec<_>>(),
            "examples": examples.collect::<Vec<_>>(),
        })
    }
}

// === impl Change ===

impl Change {
    fn told(&self) -> String {
        let Self { agent, function, was, now } = self;
        let what = function.as_deref().unwrap_or("a document");
        format!("{agent} {what}: {was} → {now}")
    }

    fn json(&self) -> Value {
        let Self { agent, function, was, now } = self;
        json!({ "agent": agent, "function": function, "was": was, "now": now })
    }
}
