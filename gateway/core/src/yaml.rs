//! Settings files: YAML in; a finished value, or all of the file's mistakes, out. And agents' documents in YAML, which
//! [`to_json`] tells as JSON.
//!
//! [`read`] hands the file's keys to a function that takes each by its name, as a [`Field`], and reads it as what it
//! must be. What is wrong is noted with its line and column and reading goes on, so that one run shows everything there
//! is to mend. A key that was not taken is unknown, and that is a mistake too: no key is ever ignored.

mod field;
mod json;
mod node;
mod outline;
mod scalar;

use std::{cell::RefCell, collections::BTreeSet, fmt};

pub(crate) use field::show_duration;
pub use field::{Field, Fields, nearest, parse_duration};
pub use json::{NotJson, to_json};
pub use node::{MAX_BYTES, MAX_DEPTH};
pub use outline::{Leaf, Outline};

/// Something that is wrong in a settings file.
///
/// It prints as `policies/bank.yaml:3:5: unknown key …`, which editors and terminals make a link of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file, as the operator named it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

/// The mistakes found so far in one file.
#[derive(Debug)]
pub struct Report {
    file: String,
    mistakes: RefCell<Vec<Mistake>>,
    keys: Option<RefCell<BTreeSet<String>>>,
}

/// Reads a file's text with `fill`, which takes the keys of its outermost mapping.
///
/// `fill` returns `None` only if it noted a mistake.
///
/// # Errors
/// All mistakes, in the order of their places: those that `fill` noted, keys it didn't take, and text that is no YAML,
/// is longer than [`MAX_BYTES`], deeper than [`MAX_DEPTH`] or grows by its aliases.
pub fn read<T>(file: &str, text: &str, fill: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Result<T, Vec<Mistake>> {
    let report = Report { file: file.to_owned(), mistakes: RefCell::default(), keys: None };
    let value = report.fill(text, fill);
    report.close(value)
}

/// The keys that `fill` asks for while it reads this text, whether the text has them or not: those of the file's
/// outermost mapping, of each section, and of each mapping that is required or in a list, if the text has one there. So a
/// text that has every key tells all that there are, and tests compare that with what is written about them.
///
/// A key of a mapping stands behind a dot, an item of a list is `[]`, and a key that is free to choose is `*`:
/// `limits[].allow`, `functions.*.limits`.
pub fn keys_of<T>(text: &str, fill: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> BTreeSet<String> {
    let report = Report { file: String::new(), mistakes: RefCell::default(), keys: Some(RefCell::default()) };
    report.fill(text, fill);
    report.keys.map(RefCell::into_inner).unwrap_or_default()
}

// === impl Mistake ===

impl Mistake {
    /// A mistake of a file as a whole.
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: 1, column: 1, message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

impl std::error::Error for Mistake {}

// === impl Place ===

impl Place {
    /// The beginning of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

// === impl Report ===

impl Report {
    /// Notes a mistake.
    pub fn note(&self, at: Place, message: impl Into<String>) {
        let Place { line, column } = at;
        let mistake = Mistake { file: self.file.clone(), line, column, message: message.into() };
        self.mistakes.borrow_mut().push(mistake);
    }

    fn fill<T>(&self, text: &str, fill: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Option<T> {
        match node::parse(text) {
            Ok(node) => Field::of_file(self, node).mapping(fill),
            Err((place, message)) => {
                self.note(place, message);
                None
            }
        }
    }

    /// Notes that a key is known, and says where it is; nothing, where nobody asks for keys.
    fn known(&self, mapping: &str, key: &str) -> String {
        let Some(keys) = &self.keys else { return String::new() };
        let path = if mapping.is_empty() { key.to_owned() } else { format!("{mapping}.{key}") };
        keys.borrow_mut().insert(path.clone());
        path
    }

    fn item_of(&self, list: &str) -> String {
        if self.keys.is_some() { format!("{list}[]") } else { String::new() }
    }

    fn free_key_of(&self, mapping: &str) -> String {
        if self.keys.is_some() { format!("{mapping}.*") } else { String::new() }
    }

    fn close<T>(self, value: Option<T>) -> Result<T, Vec<Mistake>> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        match value {
            Some(value) if mistakes.is_empty() => Ok(value),
            None if mistakes.is_empty() => Err(vec![Mistake::of_file(self.file, "the file can't be used")]),
            _ => Err(mistakes),
        }
    }
}

/// A name or value of the file within a message: in backticks, on one line, and not longer than a line.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{shown}{more}`")
}

#[cfg(test)]
mod tests;
