//! Keys and values, read as what they must be.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use bytesize::ByteSize;
use jiff::fmt::friendly::{Spacing, SpanParser, SpanPrinter};

use super::{
    Place, Report,
    node::{Entry, Node, Value},
    quoted,
};

/// The keys of a mapping, each of which can be taken once.
#[derive(Debug)]
pub struct Fields<'r> {
    report: &'r Report,
    path: String,
    place: Place,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
}

/// A value of the file; or the place where there could be one, for a key that the file doesn't have.
///
/// The readers return `None` for a missing value, and for a wrong one, which they note.
#[derive(Debug)]
#[must_use]
pub struct Field<'r> {
    report: &'r Report,
    /// Where in the file's form it is, as in [`super::keys_of`]; empty where nobody asks.
    path: String,
    name: String,
    key: Place,
    node: Option<Node>,
}

// === impl Fields ===

impl<'r> Fields<'r> {
    /// Takes a key's value out. The key is known from now on, so a misspelt one can be told what was meant.
    pub fn take(&mut self, key: &'static str) -> Field<'r> {
        self.known.push(key);
        let path = self.report.known(&self.path, key);
        let (place, node) = match self.remove(key) {
            Some(entry) => (entry.place, Some(entry.node)),
            None => (self.place, None),
        };
        Field { report: self.report, path, name: quoted(key), key: place, node }
    }

    /// Where a key stands and its value as JSON, if the file has it and JSON can hold it. It is still to be taken.
    pub fn look(&self, key: &str) -> Option<(Place, serde_json::Value)> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some((entry.place, json(entry.node.clone()).ok()?))
    }

    /// Takes the one of several keys that the file has. Two of them are a mistake.
    pub fn take_one_of<const N: usize>(&mut self, keys: [&'static str; N]) -> Option<(&'static str, Field<'r>)> {
        let fields: Vec<_> = keys.into_iter().map(|key| (key, self.take(key))).collect();
        let mut given = fields.into_iter().filter(|(_, field)| field.is_given());
        let first = given.next()?;
        for (key, field) in given {
            self.report.note(field.key, format!("`{key}` and `{}` exclude each other; keep one", first.0));
        }
        Some(first)
    }

    /// Notes why a key that one might expect isn't read, if the file has it.
    pub fn refuse(&mut self, key: &'static str, message: &str) {
        if let Some(entry) = self.remove(key) {
            self.report.note(entry.place, message);
        }
    }

    /// Where the mapping begins.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The report, for mistakes that need more than one value to see.
    pub fn report(&self) -> &'r Report {
        self.report
    }

    fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    fn close(self) {
        for entry in &self.entries {
            let advice = match nearest(&entry.key, &self.known) {
                Some(key) => format!("did you mean `{key}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.report.note(entry.place, format!("unknown key {}; {advice}", quoted(&entry.key)));
        }
    }
}

// === impl Field ===

impl<'r> Field<'r> {
    pub(super) fn of_file(report: &'r Report, node: Node) -> Self {
        Self { report, path: String::new(), name: "the file".to_owned(), key: node.place, node: Some(node) }
    }

    /// Whether the file has a value here.
    pub fn is_given(&self) -> bool {
        self.node.is_some()
    }

    /// Whether the file has a mapping here.
    pub fn is_mapping(&self) -> bool {
        matches!(&self.node, Some(Node { value: Value::Mapping(_), .. }))
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the file has a list here.
    pub fn is_list(&self) -> bool {
        matches!(&self.node, Some(Node { value: Value::List(_), .. }))
    }

    /// Where the key stands; for a key that the file doesn't have, where the mapping begins that could have it.
    pub fn key_place(&self) -> Place {
        self.key
    }

    /// Where the value stands; for a missing one, [`Field::key_place`].
    pub fn place(&self) -> Place {
        self.node.as_ref().map_or(self.key, |node| node.place)
    }

    /// The report, for mistakes that need more than one value to see.
    pub fn report(&self) -> &'r Report {
        self.report
    }

    /// Notes a missing value as a mistake.
    pub fn required(self) -> Self {
        if self.node.is_none() {
            self.report.note(self.key, format!("{} is missing", self.name));
        }
        self
    }

    /// Text.
    pub fn text(self) -> Option<String> {
        self.parse(|text| Ok::<_, String>(text.to_owned()))
    }

    /// Text, from which `parse` makes a value.
    pub fn parse<T, E: Display>(self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let place = self.place();
        self.parse_at(place, parse)
    }

    /// Text, which names something outside of the file that `resolve` looks up. If it can't be had, that is noted at
    /// the key.
    pub fn resolve<T, E: Display>(self, resolve: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let key = self.key;
        self.parse_at(key, resolve)
    }

    /// One of these words.
    pub fn choice<T: Copy>(self, choices: &[(&'static str, T)]) -> Option<T> {
        self.parse(|text| {
            let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            found.ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| quoted(word)).collect();
                format!("must be {}, not {}", words.join(" or "), quoted(text))
            })
        })
    }

    /// `true` or `false`.
    pub fn bool(self) -> Option<bool> {
        self.read("true or false", |value| match value {
            Value::Bool(value) => Ok(Ok(value)),
            other => Err(other),
        })
    }

    /// A whole number within these bounds.
    pub fn integer(self, bounds: RangeInclusive<u64>) -> Option<u64> {
        self.read("a whole number", |value| match value {
            Value::Integer(number) => Ok(u64::try_from(number)
                .ok()
                .filter(|number| bounds.contains(number))
                .ok_or_else(|| format!("is {number}; it must be from {} to {}", bounds.start(), bounds.end()))),
            other => Err(other),
        })
    }

    /// A duration within these bounds, like `500ms`, `10s`, `1h30m`. A number without a unit is a mistake.
    pub fn duration(self, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        self.read("a duration like `500ms`, `10s` or `1h30m`", |value| match value {
            Value::Text(text) => Ok(parse_duration(&text).and_then(|duration| {
                let within = bounds.contains(&duration).then_some(duration);
                within.ok_or_else(|| {
                    let [low, high] = [bounds.start(), bounds.end()].map(|bound| show_duration(*bound));
                    format!("is {}; it must be from {low} to {high}", quoted(&text))
                })
            })),
            Value::Integer(number) => {
                Ok(Err(format!("needs a unit: `{number}s` for seconds, `{number}m` for minutes")))
            }
            other => Err(other),
        })
    }

    /// A size in bytes within these bounds, like `256KiB`, `16MiB`. A number without a unit is a mistake.
    pub fn size(self, bounds: RangeInclusive<usize>) -> Option<usize> {
        self.read("a size like `256KiB` or `16MiB`", |value| match value {
            Value::Text(text) => Ok(parse_size(&text).and_then(|size| {
                let within = usize::try_from(size).ok().filter(|size| bounds.contains(size));
                within.ok_or_else(|| {
                    let [low, high] = [bounds.start(), bounds.end()].map(|bound| show_size(*bound));
                    format!("is {}; it must be from {low} to {high}", quoted(&text))
                })
            })),
            Value::Integer(number) => {
                Ok(Err(format!("needs a unit: `{number}KiB`, `{number}MiB`, or `{number}B` for bytes")))
            }
            other => Err(other),
        })
    }

    /// A list of at most so many items.
    pub fn list(self, most: usize) -> Option<Vec<Field<'r>>> {
        let (report, name) = (self.report, format!("an item of {}", self.name));
        let path = report.item_of(&self.path);
        let items = self.read("a list", |value| match value {
            Value::List(items) if items.len() > most => {
                Ok(Err(format!("has {} items; at most {most} are allowed", items.len())))
            }
            Value::List(items) => Ok(Ok(items)),
            other => Err(other),
        })?;
        Some(
            items
                .into_iter()
                .map(|node| Field { report, path: path.clone(), name: name.clone(), key: node.place, node: Some(node) })
                .collect(),
        )
    }

    /// A mapping, whose keys `fill` takes. Those it leaves are unknown.
    pub fn mapping<T>(self, fill: impl FnOnce(&mut Fields<'r>) -> Option<T>) -> Option<T> {
        let (report, path, place) = (self.report, self.path.clone(), self.place());
        let entries = self.entries()?;
        Fields { report, path, place, entries, known: Vec::new() }.fill(fill)
    }

    /// A mapping that may be missing, which is the same as an empty one.
    pub fn section<T>(self, fill: impl FnOnce(&mut Fields<'r>) -> T) -> T {
        let (report, path, place) = (self.report, self.path.clone(), self.place());
        let entries = self.entries().unwrap_or_default();
        Fields { report, path, place, entries, known: Vec::new() }.fill(fill)
    }

    /// A mapping whose keys are names of the operator's own, at most so many, in the order of the file.
    pub fn map(self, most: usize) -> Option<Vec<(String, Field<'r>)>> {
        let (report, place, name) = (self.report, self.place(), self.name.clone());
        let path = report.free_key_of(&self.path);
        let entries = self.entries()?;
        if entries.len() > most {
            report.note(place, format!("{name} has {} keys; at most {most} are allowed", entries.len()));
            return None;
        }
        let field = |Entry { key, place, node }| {
            let name = quoted(&key);
            (key, Field { report, path: path.clone(), name, key: place, node: Some(node) })
        };
        Some(entries.into_iter().map(field).collect())
    }

    /// Any value, as JSON. A number that JSON can't hold, or not exactly, is a mistake.
    pub fn json(self) -> Option<serde_json::Value> {
        let Self { report, name, node, .. } = self;
        let node = node?;
        let place = node.place;
        json(node).map_err(|message| report.note(place, format!("{name} {message}"))).ok()
    }

    fn entries(self) -> Option<Vec<Entry>> {
        self.read("a mapping of keys to values", |value| match value {
            Value::Mapping(entries) => Ok(Ok(entries)),
            other => Err(other),
        })
    }

    fn parse_at<T, E: Display>(self, place: Place, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let (report, name) = (self.report, self.name.clone());
        let text = self.read("text", |value| match value {
            Value::Text(text) => Ok(Ok(text)),
            other => Err(other),
        })?;
        parse(&text).map_err(|error| report.note(place, format!("{name}: {error}"))).ok()
    }

    /// Reads a value: `Err` gives back one of the wrong kind, `Ok(Err)` says what is wrong with one of the right kind.
    fn read<T>(self, wanted: &str, read: impl FnOnce(Value) -> Result<Result<T, String>, Value>) -> Option<T> {
        let Self { report, name, key, node, .. } = self;
        let Node { mut place, value } = node?;
        let message = match read(value) {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(message)) => message,
            Err(Value::Null) => {
                place = key;
                format!("has no value; it must be {wanted}, or the key must go")
            }
            Err(Value::Bool(_) | Value::Integer(_) | Value::Float(_)) if wanted == "text" => {
                "must be text; put it in quotes".to_owned()
            }
            Err(other) => format!("must be {wanted}, not {}", kind(&other)),
        };
        report.note(place, format!("{name} {message}"));
        None
    }
}

impl<'r> Fields<'r> {
    fn fill<T>(mut self, fill: impl FnOnce(&mut Self) -> T) -> T {
        let value = fill(&mut self);
        self.close();
        value
    }
}

fn json(node: Node) -> Result<serde_json::Value, &'static str> {
    const NO_NUMBER: &str = "holds a number that is too large; put it in quotes";
    Ok(match node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => value.into(),
        Value::Integer(number) => serde_json::Number::from_i128(number).ok_or(NO_NUMBER)?.into(),
        Value::Float(number) => serde_json::Number::from_f64(number).ok_or(NO_NUMBER)?.into(),
        Value::Text(text) => text.into(),
        Value::List(items) => items.into_iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Mapping(entries) => {
            let member = |Entry { key, node, .. }| json(node).map(|value| (key, value));
            let members = entries.into_iter().map(member).collect::<Result<serde_json::Map<_, _>, _>>()?;
            members.into()
        }
    })
}

/// A duration as a file would have it: `1m50s`.
pub(crate) fn show_duration(duration: Duration) -> String {
    SpanPrinter::new().spacing(Spacing::None).unsigned_duration_to_string(&duration)
}

/// Reads a duration as files have it.
///
/// # Errors
/// What is wrong, to be put behind the name of the key.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    SpanParser::new().parse_unsigned_duration(text).map_err(|_| {
        format!("is {}; write a duration like `500ms`, `10s`, `5m` or `1h30m`, in hours at most", quoted(text))
    })
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size = text.ends_with(|c: char| c.is_ascii_alphabetic()).then(|| text.parse::<ByteSize>().ok()).flatten();
    size.map(|size| size.as_u64()).ok_or_else(|| format!("is {}; write a size like `256KiB` or `16MiB`", quoted(text)))
}

fn show_size(bytes: usize) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let exact = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    exact.map_or_else(|| format!("{bytes}B"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// The known key that a misspelt one is most like, if it is like one.
pub fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    if key.len() > 64 {
        return None;
    }
    let within = |distance: usize, candidate: &str| distance <= (candidate.len() / 3).max(1);
    let distances = known.iter().map(|candidate| (strsim::osa_distance(key, candidate), *candidate));
    let close = distances.filter(|(distance, candidate)| within(*distance, candidate));
    close.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a decimal number",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Mapping(_) => "a mapping",
    }
}
