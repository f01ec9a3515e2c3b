//! A document in YAML, told as JSON.
//!
//! Only what JSON can say is read: whatever lets a small text stand for a large one, or two readers see two documents,
//! is refused. Words and numbers are those of YAML 1.2's core schema.

use std::collections::HashSet;

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use super::{MAX_BYTES, scalar::Scalar};
use crate::json::{MAX_DEPTH, quote};

/// Why a text is no YAML that can be told as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at line {line}, column {column}")]
pub struct NotJson {
    /// What is wrong. It holds nothing of the text but single characters.
    pub what: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

/// The JSON text of a YAML text whose root is a mapping.
///
/// # Errors
/// [`NotJson`] for what is no YAML, for anchors, aliases, tags, directives, merge keys, keys that are no text or occur
/// twice, infinity and what is no number, several documents, a root that is no mapping, more than [`MAX_DEPTH`] levels,
/// and more than [`MAX_BYTES`].
pub fn to_json(text: &str) -> Result<String, NotJson> {
    if text.len() > MAX_BYTES {
        return Err(NotJson { what: format!("YAML of more than {MAX_BYTES} bytes"), line: 1, column: 1 });
    }
    let mut writer = Writer::default();
    for event in Parser::new_from_str_with_options(text, options()) {
        let (event, span) = event.map_err(|error| refusal(error.info(), error.marker()))?;
        writer.event(event).map_err(|what| refusal(what, &span.start))?;
    }
    Ok(writer.out)
}

fn options() -> granit_parser::Options {
    granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
        // So that one without an anchor is called what it is.
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    }
}

fn refusal(what: impl Into<String>, at: &Marker) -> NotJson {
    NotJson { what: what.into(), line: at.line().max(1), column: at.col() + 1 }
}

const ROOT: &str = "neither JSON nor a mapping in YAML";

/// Writes JSON as the parser goes through the YAML.
#[derive(Default)]
struct Writer {
    out: String,
    open: Vec<Open>,
    has_document: bool,
}

/// A list or mapping that has not ended yet.
enum Open {
    List { is_empty: bool },
    Mapping { keys: HashSet<String>, has_key: bool },
}

// === impl Writer ===

impl Writer {
    fn event(&mut self, event: Event<'_>) -> Result<(), &'static str> {
        match event {
            Event::DocumentStart(..) if self.has_document => Err("a second document"),
            Event::DocumentStart(..) => {
                self.has_document = true;
                Ok(())
            }
            Event::StreamEnd if self.out.is_empty() => Err(ROOT),
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::Scalar(text, style, 0, None) => self.scalar(&text, style),
            Event::SequenceStart(_, 0, None) => self.start(Open::List { is_empty: true }, '['),
            Event::MappingStart(_, 0, None) => self.start(Open::mapping(), '{'),
            Event::SequenceEnd => self.end(']'),
            Event::MappingEnd => self.end('}'),
            Event::Scalar(_, _, 0, Some(_)) | Event::SequenceStart(_, 0, _) | Event::MappingStart(_, 0, _) => {
                Err("a tag; JSON has none")
            }
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Anchor(..) => {
                Err("an anchor; write the value out where it is meant")
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => Err("an alias; write the value out"),
            _ => Err("YAML that JSON has no word for"),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle) -> Result<(), &'static str> {
        let scalar = match style {
            ScalarStyle::Plain => Scalar::of_plain(text),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => {
                Scalar::Text
            }
        };
        if matches!(self.open.last(), Some(Open::Mapping { has_key: false, .. })) {
            return self.key(text, style, &scalar);
        }
        self.before_value()?;
        match scalar {
            Scalar::Null => self.out.push_str("null"),
            Scalar::Bool(true) => self.out.push_str("true"),
            Scalar::Bool(false) => self.out.push_str("false"),
            Scalar::Number(number) => self.out.push_str(&number),
            Scalar::NotInJson => return Err("a number that JSON has no word for"),
            Scalar::Text => self.out.push_str(&quote(text)),
        }
        Ok(())
    }

    fn key(&mut self, text: &str, style: ScalarStyle, scalar: &Scalar) -> Result<(), &'static str> {
        let Some(Open::Mapping { keys, has_key }) = self.open.last_mut() else { return Err(ROOT) };
        // The cases of a `switch` are often numbers, which are told as they are written.
        let is_text = match scalar {
            Scalar::Text => true,
            Scalar::Number(number) => number == text,
            Scalar::Null | Scalar::Bool(_) | Scalar::NotInJson => false,
        };
        if !is_text {
            return Err("a key that is no text; put it in quotes");
        }
        if text == "<<" && style == ScalarStyle::Plain {
            return Err("a merge key; write the keys out");
        }
        let comma = if keys.is_empty() { "" } else { "," };
        if !keys.insert(text.to_owned()) {
            return Err("a key that occurs twice in one mapping");
        }
        *has_key = true;
        self.out.push_str(comma);
        self.out.push_str(&quote(text));
        self.out.push(':');
        Ok(())
    }

    fn start(&mut self, open: Open, bracket: char) -> Result<(), &'static str> {
        let is_root = self.open.is_empty() && bracket == '{';
        if !is_root {
            self.before_value()?;
        }
        if self.open.len() == MAX_DEPTH {
            return Err("nested too deep");
        }
        self.open.push(open);
        self.out.push(bracket);
        Ok(())
    }

    fn end(&mut self, bracket: char) -> Result<(), &'static str> {
        self.open.pop();
        self.out.push(bracket);
        Ok(())
    }

    /// Makes room for a value in what is open.
    fn before_value(&mut self) -> Result<(), &'static str> {
        match self.open.last_mut() {
            None => Err(ROOT),
            Some(Open::Mapping { has_key: false, .. }) => Err("a key that is no text; put it in quotes"),
            Some(Open::Mapping { has_key, .. }) => {
                *has_key = false;
                Ok(())
            }
            Some(Open::List { is_empty }) => {
                if !std::mem::replace(is_empty, false) {
                    self.out.push(',');
                }
                Ok(())
            }
        }
    }
}

impl Open {
    fn mapping() -> Self {
        Open::Mapping { keys: HashSet::new(), has_key: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn what_json_can_say_is_said_in_json() {
        let cases = [
            ("a: 1", r#"{"a":1}"#),
            ("---\n# words\na: [1, 'x', \"y\\n\"] # more\n...\n", r#"{"a":[1,"x","y\n"]}"#),
            (
                "a: {b: , c: ~}\nd:\n- e: yes\n  f: on\n- - 1\n  - 2\n",
                r#"{"a":{"b":null,"c":null},"d":[{"e":"yes","f":"on"},[1,2]]}"#,
            ),
            ("a: |\n  x\n  y\nb: >-\n  x\n  y\n", r#"{"a":"x\ny\n","b":"x y"}"#),
            (
                "version: 1.0.0\nto: +15550001111\nx: ${call.to}",
                r#"{"version":"1.0.0","to":"+15550001111","x":"${call.to}"}"#,
            ),
            ("case: {1: a, -2: b}", r#"{"case":{"1":"a","-2":"b"}}"#),
            ("'1': a\n\"true\": b\n'<<': c", r#"{"1":"a","true":"b","<<":"c"}"#),
            ("a: \"\\u0000\\x41\"", r#"{"a":"\u0000A"}"#),
        ];
        for (yaml, expected) in cases {
            assert_eq!(to_json(yaml).as_deref(), Ok(expected), "{yaml}");
            json::parse(expected.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_json_can_not_say_is_refused() {
        let cases = [
            ("a: &x 1\nb: *x", "an anchor", (1, 7)),
            ("a: &x [1]", "an anchor", (1, 7)),
            ("a: 1\nb: *x", "an alias", (2, 4)),
            ("a: !!str 1", "a tag", (1, 10)),
            ("a: ! x", "a tag", (1, 6)),
            ("a: !x {}", "a tag", (1, 7)),
            ("%YAML 1.1\n---\na: 1", "directives", (1, 1)),
            ("<<: {a: 1}", "a merge key", (1, 1)),
            ("a: 1\na: 2", "twice", (2, 1)),
            ("a: 1\n\"\\x61\": 2", "twice", (2, 1)),
            ("1: a\n'1': b", "twice", (2, 1)),
            ("01: a", "no text", (1, 1)),
            ("a: {true: a}", "no text", (1, 5)),
            ("~: a", "no text", (1, 1)),
            ("? [a]\n: b", "no text", (1, 3)),
            ("? {a: b}\n: b", "no text", (1, 3)),
            ("a: .nan", "no word", (1, 4)),
            ("a: -.inf", "no word", (1, 4)),
            ("a: 1\n---\nb: 1", "second", (2, 1)),
            ("a: 1\n--- 2", "second", (2, 1)),
            ("a: \tb: c", "not allowed", (1, 6)),
            ("a: 'x", "unclosed quote", (1, 4)),
            ("a: %{x}", "unexpected", (1, 4)),
            ("", "mapping", (1, 1)),
            ("# words", "mapping", (1, 8)),
            ("Path not found", "mapping", (1, 1)),
            ("<html>Oops</html>", "mapping", (1, 1)),
            ("- a", "mapping", (1, 1)),
            ("null", "mapping", (1, 1)),
        ];
        for (yaml, what, (line, column)) in cases {
            let error = to_json(yaml).unwrap_err();
            assert!(error.what.contains(what), "{yaml:?}: {error}");
            assert_eq!((error.line, error.column), (line, column), "{yaml:?}: {error}");
        }
    }

    #[test]
    fn what_costs_more_than_it_says_is_refused() {
        let nested = |depth: usize| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
        json::parse(to_json(&nested(MAX_DEPTH - 1)).unwrap().as_bytes()).unwrap();
        assert!(to_json(&nested(MAX_DEPTH)).is_err());
        let stairs = |depth: usize| (0..depth).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>();
        json::parse(to_json(&stairs(MAX_DEPTH - 1)).unwrap().as_bytes()).unwrap();
        assert!(to_json(&stairs(MAX_DEPTH + 2)).is_err());
        assert!(to_json(&format!("a: {}", "x".repeat(MAX_BYTES))).is_err());
        for word in ["[", "{", "- ", "? ", "a: ", "[[a]: ", "\"", "!", "&a ", "*", "|", "\t", "%", "a: [", "---\n"] {
            let _ = to_json(&word.repeat(MAX_BYTES / word.len()));
        }
    }

    proptest::proptest! {
        /// Whatever it is, it is refused or told in JSON of which nothing is doubted; nothing makes it panic.
        #[test]
        fn what_is_told_is_json(text in "a: ([a-b]: |- |[\\[\\]{},:?&*!|>'\"%#<~.0-9x]|\n|\n  |\\PC){0,40}") {
            if let Ok(out) = to_json(&text) {
                proptest::prop_assert!(json::parse(out.as_bytes()).unwrap().is_object());
            }
        }
    }
}
