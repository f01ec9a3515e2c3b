//! Arguments made fit for the audit log, and foreign words made fit for a terminal.

use crate::json::{Edits, Node, Value, quote};

/// What stands in place of a sensitive value.
pub const REDACTED: &str = "[REDACTED]";

/// How many bytes of arguments one audit record keeps.
pub const MAX_ARGUMENTS: usize = 4096;

/// The argument names that are never written down, besides the policy's own.
pub const ALWAYS_SENSITIVE: [&str; 4] = ["password", "ssn", "credit_card", "pin"];

/// Names of arguments whose values are not written down, at any depth and in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensitiveNames(Vec<String>);

impl SensitiveNames {
    /// [`ALWAYS_SENSITIVE`] and these.
    pub fn with(names: impl IntoIterator<Item = String>) -> Self {
        let own = names.into_iter().map(|name| name.to_lowercase());
        Self(ALWAYS_SENSITIVE.map(str::to_owned).into_iter().chain(own).collect())
    }

    /// These and those.
    pub fn and(&self, names: impl IntoIterator<Item = String>) -> Self {
        let own = names.into_iter().map(|name| name.to_lowercase());
        Self(self.0.iter().cloned().chain(own).collect())
    }

    /// Whether a value under this name is sensitive.
    pub fn contains(&self, name: &str) -> bool {
        if name.is_ascii() {
            return self.0.iter().any(|sensitive| name.eq_ignore_ascii_case(sensitive));
        }
        self.0.contains(&name.to_lowercase())
    }
}

/// The arguments as JSON, each sensitive value replaced by [`REDACTED`]. `text` is what `arguments` was parsed from.
///
/// Arguments that are longer than [`MAX_ARGUMENTS`] are replaced whole by their length, as `{"bytes": n}`.
pub fn redact(arguments: &Node<'_>, text: &str, sensitive: &SensitiveNames) -> String {
    let mut edits = Edits::default();
    collect(arguments, sensitive, &mut edits);
    let redacted = edits.apply_within(text, arguments.span.clone()).unwrap_or_default();
    if redacted.len() > MAX_ARGUMENTS { format!("{{\"bytes\":{}}}", redacted.len()) } else { redacted }
}

/// Whether arguments that [`redact`] made are those that came: nothing was redacted, and they are not their length alone.
pub fn is_whole(redacted: &str) -> bool {
    let length = redacted.strip_prefix("{\"bytes\":").and_then(|rest| rest.strip_suffix('}'));
    let is_length = length.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    !is_length && !redacted.contains(REDACTED)
}

/// A foreign text within a line: no character that ends the line or moves a terminal's cursor, and at most `max` of them.
pub fn printable(text: &str, max: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(max) {
        match c {
            ' '..='~' => shown.push(c),
            // Letters and digits alone: marks, controls and direction overrides change what stands beside them.
            _ if c.is_alphanumeric() => shown.push(c),
            _ => shown.extend(c.escape_unicode()),
        }
    }
    if text.chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}

fn collect(node: &Node<'_>, sensitive: &SensitiveNames, edits: &mut Edits) {
    match &node.value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, sensitive, edits)),
        Value::Object(members) => {
            for member in members {
                if sensitive.contains(&member.key) {
                    edits.replace(member.node.span.clone(), quote(REDACTED));
                } else {
                    collect(&member.node, sensitive, edits);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn redacted(body: &str, own: &[&str]) -> String {
        let names = SensitiveNames::with(own.iter().map(|name| (*name).to_owned()));
        let parsed = json::parse(body.as_bytes()).unwrap();
        redact(parsed.get("argument").unwrap(), body, &names)
    }

    #[test]
    fn sensitive_values_go_at_any_depth_and_in_any_case() {
        let body =
            r#"{"x":"pin","argument":{"PIN":1234,"a":[{"ssn":{"n":1}}],"Account":"42","pinned":1,"note":"ok"},"y":0}"#;
        assert_eq!(
            redacted(body, &["account"]),
            r#"{"PIN":"[REDACTED]","a":[{"ssn":"[REDACTED]"}],"Account":"[REDACTED]","pinned":1,"note":"ok"}"#
        );
    }

    #[test]
    fn an_escaped_name_is_the_same_name() {
        assert_eq!(redacted(r#"{"argument":{"p\u0069n":1}}"#, &[]), r#"{"p\u0069n":"[REDACTED]"}"#);
    }

    #[test]
    fn nothing_foreign_ends_a_line_or_speaks_to_a_terminal() {
        let hostile = "a\nb\u{1b}[2J\u{85}\u{202e}\u{2028}é";
        assert_eq!(printable(hostile, 20), r"a\u{a}b\u{1b}[2J\u{85}\u{202e}\u{2028}é");
        assert_eq!(printable("abcdef", 3), "abc…");
    }

    #[test]
    fn arguments_are_known_to_be_whole() {
        for whole in ["{}", r#"{"a":1}"#, r#"{"bytes":"4"}"#, r#"{"bytes":4,"a":1}"#] {
            assert!(is_whole(whole), "{whole}");
        }
        for cut in [r#"{"bytes":4104}"#, r#"{"a":{"pin":"[REDACTED]"}}"#, r#""[REDACTED]""#] {
            assert!(!is_whole(cut), "{cut}");
        }
    }

    #[test]
    fn long_arguments_become_their_length() {
        let body = format!(r#"{{"argument":{{"a":"{}"}}}}"#, "x".repeat(MAX_ARGUMENTS));
        assert_eq!(redacted(&body, &[]), r#"{"bytes":4104}"#);
    }
}
