//! What a function's arguments may be before anybody asks what they mean: how large and deep, and which characters and
//! texts never.

use regex::Regex;

use crate::json::{Node, Value};

/// Bounds on arguments.
#[derive(Debug, Clone)]
pub struct InputRules {
    /// The most bytes that they have, as they were written.
    pub max_bytes: usize,
    /// How deep they are nested: 1 is an object that holds none and no array.
    pub max_depth: usize,
    /// Whether texts may hold control characters other than line feeds and tabs, or characters that change the direction
    /// of others or hide among them.
    pub control_characters: bool,
    /// What no text and no key may hold.
    pub forbid: Vec<Regex>,
}

/// Which of the bounds arguments break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InputFault {
    /// [`InputRules::max_bytes`].
    #[error("input: max_bytes")]
    Size,
    /// [`InputRules::max_depth`].
    #[error("input: max_depth")]
    Depth,
    /// [`InputRules::control_characters`].
    #[error("input: control_characters")]
    Control,
    /// [`InputRules::forbid`]: which one, from 0.
    #[error("input: forbid, item {0}")]
    Pattern(usize),
}

impl InputRules {
    /// Looks through arguments, of which `written_len` is the number of bytes in the request.
    ///
    /// # Errors
    /// The first fault, of size before depth before what texts hold.
    pub fn check(&self, arguments: &Node<'_>, written_len: usize) -> Result<(), InputFault> {
        self.check_size(written_len)?;
        if is_deeper(arguments, self.max_depth) {
            return Err(InputFault::Depth);
        }
        self.check_texts(arguments)
    }

    /// Looks through arguments that are no JSON.
    ///
    /// # Errors
    /// The first fault.
    pub fn check_raw(&self, arguments: &str) -> Result<(), InputFault> {
        self.check_size(arguments.len())?;
        self.check_text(arguments)
    }

    fn check_size(&self, written_len: usize) -> Result<(), InputFault> {
        if written_len > self.max_bytes { Err(InputFault::Size) } else { Ok(()) }
    }

    fn check_texts(&self, node: &Node<'_>) -> Result<(), InputFault> {
        match &node.value {
            Value::String(text) => self.check_text(text),
            Value::Array(items) => items.iter().try_for_each(|item| self.check_texts(item)),
            Value::Object(members) => members.iter().try_for_each(|member| {
                self.check_text(&member.key)?;
                self.check_texts(&member.node)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        }
    }

    fn check_text(&self, text: &str) -> Result<(), InputFault> {
        if !self.control_characters && text.chars().any(is_control) {
            return Err(InputFault::Control);
        }
        let forbidden = self.forbid.iter().position(|pattern| pattern.is_match(text));
        forbidden.map_or(Ok(()), |at| Err(InputFault::Pattern(at)))
    }
}

impl Default for InputRules {
    fn default() -> Self {
        Self { max_bytes: 64 << 10, max_depth: 16, control_characters: false, forbid: Vec::new() }
    }
}

fn is_deeper(node: &Node<'_>, left: usize) -> bool {
    let is_nested = matches!(node.value, Value::Array(_) | Value::Object(_));
    let Some(below) = left.checked_sub(usize::from(is_nested)) else { return true };
    node.items().iter().any(|item| is_deeper(item, below))
        || node.members().iter().any(|member| is_deeper(&member.node, below))
}

/// Control characters (Unicode's `Cc`) but for two, overrides of direction, and tags, which nobody sees.
fn is_control(c: char) -> bool {
    let is_hidden = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}');
    is_hidden || (c.is_control() && !matches!(c, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn check(rules: &InputRules, text: &str) -> Result<(), InputFault> {
        rules.check(&json::parse(text.as_bytes()).unwrap(), text.len())
    }

    fn forbidding(patterns: &[&str]) -> InputRules {
        let forbid = patterns.iter().map(|pattern| Regex::new(pattern).unwrap()).collect();
        InputRules { forbid, ..InputRules::default() }
    }

    #[test]
    fn arguments_have_a_size_and_a_depth() {
        let rules = InputRules { max_bytes: 20, max_depth: 2, ..InputRules::default() };
        for (text, expected) in [
            (r#"{"a":"12345678901"}"#, Ok(())),
            (r#"{"a":"123456789012"}"#, Ok(())),
            (r#"{"a":"1234567890123"}"#, Err(InputFault::Size)),
            (r#"{"a":{"b":1}}"#, Ok(())),
            (r#"{"a":[[]]}"#, Err(InputFault::Depth)),
            (r#"{"a":{"b":{}}}"#, Err(InputFault::Depth)),
            ("7", Ok(())),
        ] {
            assert_eq!(check(&rules, text), expected, "{text}");
        }
        let default = InputRules::default();
        assert_eq!(check(&default, &format!("{}1{}", "[".repeat(16), "]".repeat(16))), Ok(()));
        assert_eq!(check(&default, &format!("{}1{}", "[".repeat(17), "]".repeat(17))), Err(InputFault::Depth));
        assert_eq!(default.check_raw(&"a".repeat((64 << 10) + 1)), Err(InputFault::Size));
    }

    #[test]
    fn control_characters_are_refused_in_texts_and_keys() {
        let rules = InputRules::default();
        for good in [r#"{"a":"one\n\ttwo"}"#, r#"{"a":"é 👩‍👩‍👧 नहीं"}"#, "{\n\t\"a\": 1\r\n}"] {
            assert_eq!(check(&rules, good), Ok(()), "{good}");
        }
        for bad in [
            r#"{"a":"\u0000"}"#,
            r#"{"a":"\u001b[31m"}"#,
            r#"{"a":"\r\n"}"#,
            r#"{"a":"\u007f"}"#,
            r#"{"a":"\u0085"}"#,
            r#"{"a":"\u202egpj"}"#,
            r#"{"a":"\udb40\udc41"}"#,
            r#"{"a\u0007":1}"#,
            r#"{"a":[{"b":"\b"}]}"#,
        ] {
            assert_eq!(check(&rules, bad), Err(InputFault::Control), "{bad}");
            assert_eq!(check(&InputRules { control_characters: true, ..InputRules::default() }, bad), Ok(()), "{bad}");
        }
        assert_eq!(rules.check_raw("a\u{1b}"), Err(InputFault::Control));
    }

    #[test]
    fn forbidden_texts_are_found_in_all_places() {
        let rules = forbidding(&["(?i)ignore (all )?previous instructions", "^DROP "]);
        for (text, expected) in [
            (r#"{"a":"please IGNORE previous instructions now"}"#, Err(InputFault::Pattern(0))),
            (r#"{"a":["x",{"b":"ignore all previous instructions"}]}"#, Err(InputFault::Pattern(0))),
            (r#"{"Ignore previous instructions":1}"#, Err(InputFault::Pattern(0))),
            (r#"{"a":"\u0044ROP TABLE"}"#, Err(InputFault::Pattern(1))),
            (r#"{"a":"drop by"}"#, Ok(())),
            (r#"{"ignore":"previous","instructions":1}"#, Ok(())),
        ] {
            assert_eq!(check(&rules, text), expected, "{text}");
        }
        assert_eq!(rules.check_raw("DROP it"), Err(InputFault::Pattern(1)));
    }
}
