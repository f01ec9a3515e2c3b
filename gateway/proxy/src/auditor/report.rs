//! What a verifier has found, for people and machines.

use std::{fmt::Write, path::Path};

use serde_json::{Value, json};
use swaigate_core::chain::{Fault, Head, Note, Verifier};

/// How many faults and notes are told of each; the others are counted.
const MOST: usize = 50;

/// What was found.
#[derive(Debug)]
pub(super) struct Report {
    expected: Option<Head>,
    faults: Listed,
    notes: Listed,
    records: u64,
    head: Option<Head>,
    has_seen_the_head: bool,
}

#[derive(Debug, Default)]
struct Listed {
    told: Vec<Told>,
    count: usize,
}

#[derive(Debug)]
struct Told {
    /// The file and the line; none where something is missing at the end.
    place: Option<(String, u64)>,
    what: String,
}

// === impl Report ===

impl Report {
    pub(super) fn new(expected: Option<Head>) -> Self {
        let (faults, notes) = (Listed::default(), Listed::default());
        Self { expected, faults, notes, records: 0, head: None, has_seen_the_head: false }
    }

    pub(super) fn line(&mut self, file: &Path, line: u64, faults: Vec<Fault>, notes: Vec<Note>) {
        let place = || Some((file.display().to_string(), line));
        faults.into_iter().for_each(|fault| self.faults.add(place(), &fault.to_string()));
        notes.into_iter().for_each(|note| self.notes.add(place(), &note.to_string()));
    }

    /// The log begins with this record, and should not do so later than with the other.
    pub(super) fn begins(&mut self, wanted: u64, first: u64) {
        if first > wanted {
            self.faults.add(None, &format!("the log begins with record {first}: what was written before is missing"));
        }
    }

    /// The last line isn't whole.
    pub(super) fn unfinished(&mut self, file: &Path, line: u64, bytes: usize) {
        let what = format!("an unfinished record of {bytes} bytes: it is being written, or a crash has cut it");
        self.notes.add(Some((file.display().to_string(), line)), &what);
    }

    pub(super) fn end(&mut self, verifier: &Verifier) {
        if let Some(fault) = verifier.end() {
            self.faults.add(None, &fault.to_string());
        }
        (self.records, self.head) = (verifier.lines(), verifier.head());
        self.has_seen_the_head = verifier.has_seen_the_head();
    }

    pub(super) fn is_good(&self) -> bool {
        self.faults.count == 0
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.notes.tell("note: ", &mut text);
        self.faults.tell("", &mut text);
        let head = self.head.map_or_else(|| "unknown".to_owned(), |head| head.to_string());
        let records = self.records;
        let _ = match self.faults.count {
            0 => writeln!(text, "{records} records, each as it was written and in its place; head {head}"),
            1 => writeln!(text, "{records} records and 1 fault; head {head}"),
            faults => writeln!(text, "{records} records and {faults} faults; head {head}"),
        };
        let about_the_end = match self.expected {
            None => {
                "Whether records are missing at the end can't be told without a head (--expected-head, or --config on the gateway's machine).\n"
            }
            Some(_) if self.has_seen_the_head || !self.is_good() => "",
            Some(_) => "The expected head is older than the first of these records.\n",
        };
        text.push_str(about_the_end);
        text
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "good": self.is_good(),
            "records": self.records,
            "head": self.head.map(|head| head.to_string()),
            "head_seen": self.has_seen_the_head,
            "faults": self.faults.json(),
            "fault_count": self.faults.count,
            "notes": self.notes.json(),
        })
    }
}

// === impl Listed ===

impl Listed {
    fn add(&mut self, place: Option<(String, u64)>, what: &str) {
        self.count += 1;
        if self.told.len() < MOST {
            self.told.push(Told { place, what: what.to_owned() });
        }
    }

    fn tell(&self, kind: &str, text: &mut String) {
        for Told { place, what } in &self.told {
            let _ = match place {
                Some((file, line)) => writeln!(text, "{file}:{line}: {kind}{what}"),
                None => writeln!(text, "{kind}{what}"),
            };
        }
        if self.count > self.told.len() {
            let _ = writeln!(text, "{kind}and {} more", self.count - self.told.len());
        }
    }

    fn json(&self) -> Value {
        let one = |Told { place, what }: &Told| {
            let (file, line) = place.clone().unzip();
            json!({ "file": file, "line": line, "what": what })
        };
        self.told.iter().map(one).collect()
    }
}
