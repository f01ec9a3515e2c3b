//! Whether lines are what a chain has sealed, all of them and in this order.

use std::fmt;

use super::{Chain, ChainId, ChainKey, Head, Opening, Sealed};

/// How many records may be missing within a section: more is a forged number.
const MAX_MISSING: u64 = 10_000_000;

/// How many records may have been written before a file: their keys are passed through one by one, a million in a second or
/// less.
const MAX_BEFORE: u64 = 2_000_000_000;

/// Looks at lines, one after the other.
pub struct Verifier {
    /// Where each known chain is: only forward.
    chains: Vec<Chain>,
    at: Place,
    expected: Option<Head>,
    /// Whether the record of the expected head was there, if there is one.
    was_seen: bool,
    records: u64,
    doubt: Option<Doubt>,
}

/// What the next record tells about a line at which something was wrong.
struct Doubt {
    /// The chain, if the line's number or its MAC was changed, and not what it seemed to be.
    otherwise: Chain,
    /// Whether records seem to be missing before it.
    is_gap: bool,
}

/// Where the lines are.
enum Place {
    /// Before the first.
    Outside,
    /// In a section whose beginning isn't there, or under a key that isn't known.
    Unknown { seq: u64 },
    /// After a record of this chain, by its place in the list.
    In(usize),
}

/// What is wrong with a line, or with what should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It ends with no number and MAC.
    NotSealed,
    /// The record of this number is not as it was written.
    Changed(u64),
    /// The records of these numbers, first and last, should stand before this line.
    Missing(u64, u64),
    /// The record of the first number stands where that of the second should: it was moved, or is there twice.
    OutOfOrder(u64, u64),
    /// The section's beginning was removed, so nothing in it can be checked.
    NoBeginning,
    /// Another chain begins, whose key isn't given.
    OtherChain(ChainId),
    /// The record of this number is authentic, and the one before it isn't that which it was written after.
    Forked(u64),
    /// The end is missing: the records of these numbers, first and last.
    CutTail(u64, u64),
    /// At the number of the expected head stands another record.
    NotTheHead(u64),
    /// The expected head is of a chain of which nothing is there.
    NoSuchChain(ChainId),
}

/// What is worth to be known, and no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A section begins: its number, the number of its first record, and what it says.
    Section(u64, Opening),
    /// What was written before this number is in files that weren't given.
    BeginsWith(u64),
}

// === impl Verifier ===

impl Verifier {
    /// By these verification keys, and perhaps up to a head that is known from elsewhere.
    pub fn new(keys: &[ChainKey], expected: Option<Head>) -> Self {
        let chains = keys.iter().map(Chain::begin).collect();
        Self { chains, at: Place::Outside, expected, was_seen: false, records: 0, doubt: None }
    }

    /// Looks at the next line. Faults and notes are added to the lists.
    pub fn line(&mut self, line: &[u8], faults: &mut Vec<Fault>, notes: &mut Vec<Note>) {
        self.records += 1;
        let Some(sealed) = Sealed::read(line) else { return faults.push(Fault::NotSealed) };
        match (sealed.opening(), &self.at) {
            (Some(opening), _) => self.section(&sealed, opening, faults, notes),
            (None, Place::In(chain)) => {
                let chain = *chain;
                self.record(&sealed, chain, faults);
            }
            (None, Place::Unknown { .. }) => self.at = Place::Unknown { seq: sealed.seq },
            (None, Place::Outside) => {
                faults.push(Fault::NoBeginning);
                self.at = Place::Unknown { seq: sealed.seq };
            }
        }
    }

    fn record(&mut self, sealed: &Sealed<'_>, index: usize, faults: &mut Vec<Fault>) {
        let Some(chain) = self.chains.get_mut(index) else { return };
        let doubt = self.doubt.take();
        if let Some(other) = doubt.as_ref().filter(|doubt| doubt.otherwise.has_sealed(chain.section, sealed)) {
            chain.clone_from(&other.otherwise);
        }
        let due = chain.seq + 1;
        let mac = chain.key.seal(chain.section, &chain.mac, sealed.record);
        match sealed.seq.checked_sub(due) {
            Some(0) if mac == sealed.mac => {}
            Some(0) if doubt.as_ref().is_some_and(|doubt| doubt.is_gap) => {
                faults.push(Fault::NoBeginning);
                self.at = Place::Unknown { seq: sealed.seq };
                return;
            }
            Some(0) => {
                faults.push(Fault::Changed(sealed.seq));
                self.doubt = Some(Doubt { otherwise: chain.after(due, mac), is_gap: false });
            }
            Some(missing) if missing <= MAX_MISSING => {
                // What the record was written after isn't there, so its own MAC can't be checked.
                faults.push(Fault::Missing(due, sealed.seq - 1));
                self.doubt = Some(Doubt { otherwise: chain.after(due, sealed.mac), is_gap: true });
                chain.skip(missing);
            }
            Some(_) | None => {
                self.doubt = doubt;
                return faults.push(Fault::OutOfOrder(sealed.seq, due));
            }
        }
        chain.advance(sealed.seq, sealed.mac);
        self.compare_with_head(index, faults);
    }

    /// A section has its own keys, so whatever was wrong before, from here on it can be checked again.
    fn section(&mut self, sealed: &Sealed<'_>, opening: Opening, faults: &mut Vec<Fault>, notes: &mut Vec<Note>) {
        let named = opening.chain.parse::<ChainId>();
        let found = self.chains.iter().position(|chain| named == Ok(chain.id));
        let Some(index) = found else {
            faults.extend(named.map_or(Some(Fault::Changed(sealed.seq)), |id| Some(Fault::OtherChain(id))));
            self.at = Place::Unknown { seq: sealed.seq };
            return;
        };
        let Some(before) = self.chains.get(index).cloned() else { return };
        let Some(skipped) = sealed.seq.checked_sub(before.seq + 1).filter(|skipped| *skipped <= MAX_BEFORE) else {
            return faults.push(Fault::OutOfOrder(sealed.seq, before.seq + 1));
        };
        let mut chain = before.clone();
        chain.section = opening.section;
        chain.skip(skipped);
        let previous = super::array(opening.previous.as_bytes()).unwrap_or([0; 32]);
        if chain.key.seal(chain.section, &previous, sealed.record) != sealed.mac {
            // Not a word of it can be believed, but for its numbers, if what follows fits.
            faults.push(Fault::Changed(sealed.seq));
        } else {
            self.compare_with_previous(sealed.seq, &previous, &before, faults, notes);
            notes.push(Note::Section(sealed.seq, opening));
        }
        chain.advance(sealed.seq, sealed.mac);
        if let Some(place) = self.chains.get_mut(index) {
            *place = chain;
        }
        self.at = Place::In(index);
        self.doubt = None;
        self.compare_with_head(index, faults);
    }

    fn compare_with_previous(
        &self,
        seq: u64,
        previous: &[u8; 32],
        before: &Chain,
        faults: &mut Vec<Fault>,
        notes: &mut Vec<Note>,
    ) {
        let last = match self.at {
            Place::Outside if seq > 1 => return notes.push(Note::BeginsWith(seq)),
            Place::Outside => return,
            Place::Unknown { seq } => seq,
            Place::In(_) => before.seq,
        };
        if seq > last + 1 {
            faults.push(Fault::Missing(last + 1, seq - 1));
        } else if seq <= last {
            faults.push(Fault::OutOfOrder(seq, last + 1));
        } else if matches!(self.at, Place::In(_)) && *previous != before.mac {
            faults.push(Fault::Forked(seq));
        }
    }

    fn compare_with_head(&mut self, index: usize, faults: &mut Vec<Fault>) {
        let (Some(chain), Some(expected)) = (self.chains.get(index), self.expected) else { return };
        if chain.id == expected.chain && chain.seq == expected.seq {
            self.was_seen = true;
            if chain.mac != expected.mac {
                faults.push(Fault::NotTheHead(expected.seq));
            }
        }
    }

    /// What is missing at the end, by the expected head; nothing without one.
    pub fn end(&self) -> Option<Fault> {
        let expected = self.expected.filter(|expected| !self.was_seen && expected.seq > 0)?;
        let of_it = self.chains.iter().find(|chain| chain.id == expected.chain);
        let Some(chain) = of_it else { return Some(Fault::NoSuchChain(expected.chain)) };
        let is_cut = chain.seq < expected.seq;
        is_cut.then_some(Fault::CutTail(chain.seq + 1, expected.seq))
    }

    /// Whether the record of the expected head was among them.
    pub fn has_seen_the_head(&self) -> bool {
        self.was_seen
    }

    /// The head of what was looked at, if it is known.
    pub fn head(&self) -> Option<Head> {
        match self.at {
            Place::In(index) => self.chains.get(index).map(Chain::head),
            Place::Outside | Place::Unknown { .. } => None,
        }
    }

    /// How many lines there were.
    pub fn lines(&self) -> u64 {
        self.records
    }
}

// === words ===

fn span(f: &mut fmt::Formatter<'_>, first: u64, last: u64) -> fmt::Result {
    if first == last { write!(f, "record {first} is") } else { write!(f, "records {first} to {last} are") }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotSealed => f.write_str("this is no record of the log: it has no `seq` and `mac` at its end"),
            Fault::Changed(seq) => write!(f, "record {seq} is not as it was written"),
            Fault::Missing(first, last) => span(f, *first, *last).and_then(|()| f.write_str(" missing before this line")),
            Fault::OutOfOrder(seq, due) => {
                write!(f, "record {seq} stands where record {due} should: it was moved, or put in again")
            }
            Fault::NoBeginning => f.write_str(
                "the beginning of this section (`\"event\":\"chain\"`) is missing, so its records can't be checked; give the file before it too",
            ),
            Fault::OtherChain(id) => {
                write!(f, "another chain goes on here, `{id}`: its records can't be checked without its key")
            }
            Fault::Forked(seq) => {
                write!(f, "record {seq} was written after another record than the one that stands before it")
            }
            Fault::CutTail(first, last) => span(f, *first, *last).and_then(|()| f.write_str(" missing at the end")),
            Fault::NotTheHead(seq) => write!(f, "record {seq} is not the one of the expected head"),
            Fault::NoSuchChain(id) => write!(f, "nothing of the expected head's chain `{id}` is here"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::BeginsWith(seq) => write!(f, "the log begins with record {seq}; those before it were not looked at"),
            Note::Section(seq, Opening { section, after, cut_bytes, .. }) => {
                write!(f, "section {section} begins with record {seq}, after a {after}")?;
                match (after.as_str(), cut_bytes) {
                    ("crash", None) => f.write_str(": what wasn't on the disk by then is lost"),
                    ("crash", Some(bytes)) => {
                        write!(
                            f,
                            ": what wasn't on the disk by then is lost, and {bytes} bytes of an unfinished record were cut off"
                        )
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}
