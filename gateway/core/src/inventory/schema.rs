//! A function's parameters as YAML, for a comment: each line safe to stand there, whatever the agent wrote.

use crate::{
    json::{Node, Value},
    sanitize::printable,
};

/// How many lines one function gets, how deep they are nested, and how many characters a word of the agent's has.
const MAX_LINES: usize = 40;
const MAX_DEPTH: usize = 8;
const MAX_WORD: usize = 80;

/// The lines, without an indentation of their own.
pub(super) fn yaml(node: &Node<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    block(node, 0, &mut lines);
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        lines.push("# … and more, which is left out here".to_owned());
    }
    lines
}

fn block(node: &Node<'_>, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    for member in node.members() {
        let key = scalar(&member.key);
        match inline(&member.node, depth) {
            Some(value) => lines.push(format!("{indent}{key}: {value}")),
            None => {
                lines.push(format!("{indent}{key}:"));
                block(&member.node, depth + 1, lines);
            }
        }
        if lines.len() > MAX_LINES {
            return;
        }
    }
    for item in node.items().iter().take(MAX_LINES) {
        match inline(item, depth) {
            Some(value) => lines.push(format!("{indent}- {value}")),
            None => {
                let from = lines.len();
                block(item, depth + 1, lines);
                if let Some(first) = lines.get_mut(from)
                    && let Some(rest) = first.get(indent.len() + 1..)
                {
                    *first = format!("{indent}-{rest}");
                }
            }
        }
    }
}

/// What stands on the line of its key: all but what holds more.
fn inline(node: &Node<'_>, depth: usize) -> Option<String> {
    match &node.value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(printable(number, MAX_WORD)),
        Value::String(text) => Some(scalar(text)),
        Value::Object(members) if members.is_empty() => Some("{}".to_owned()),
        Value::Object(_) if depth >= MAX_DEPTH => Some("{} # … nested too deep to be shown".to_owned()),
        Value::Array(items) if depth >= MAX_DEPTH && !items.is_empty() => {
            Some("[] # … nested too deep to be shown".to_owned())
        }
        Value::Array(items) => flow(items),
        Value::Object(_) => None,
    }
}

/// A short list of plain values on one line.
fn flow(items: &[Node<'_>]) -> Option<String> {
    const MAX_ITEMS: usize = 12;
    let is_plain = |item: &Node<'_>| !matches!(item.value, Value::Array(_) | Value::Object(_));
    if items.len() > MAX_ITEMS || !items.iter().all(is_plain) {
        return None;
    }
    let shown: Vec<String> = items.iter().filter_map(|item| inline(item, MAX_DEPTH)).collect();
    Some(format!("[{}]", shown.join(", ")))
}

/// A word of the agent's as YAML: plain where every reader takes it for a string, else in double quotes.
pub(super) fn scalar(text: &str) -> String {
    const NOT_STRINGS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_word = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let is_string = !NOT_STRINGS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if starts_well && is_word && is_string && text.len() <= MAX_WORD {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars().take(MAX_WORD) {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ if c.is_alphanumeric() => quoted.push(c),
            _ => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    let more = if text.chars().nth(MAX_WORD).is_some() { "…" } else { "" };
    format!("{quoted}{more}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn lines(text: &str) -> Vec<String> {
        yaml(&json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_schema_reads_as_yaml() {
        let text = r#"{"type":"object","properties":{"amount":{"type":"number","minimum":0.50},"to":{"type":"string",
            "enum":["a b","true"],"description":"Where: to"}},"required":["to"],"anyOf":[{"a":1,"b":{"c":2}},{}]}"#;
        let expected = r#"type: object
properties:
  amount:
    type: number
    minimum: 0.50
  to:
    type: string
    enum: ["a b", "true"]
    description: "Where: to"
required: [to]
anyOf:
  - a: 1
    b:
      c: 2
  - {}"#;
        assert_eq!(lines(text).join("\n"), expected);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = r#"{"a":["x","no",null,1,true],"b\n: c":{"d\"e":"f\u2028\u0007g"},"-":[[{"h":[{"i":1}]}]],"":"é"}"#;
        let read: serde_json::Value = serde_yaml::from_str(&lines(text).join("\n")).unwrap();
        assert_eq!(read, serde_json::from_str::<serde_json::Value>(text).unwrap());
    }

    #[test]
    fn nothing_ends_its_line() {
        for line in
            lines(r#"{"a\nagent: evil\r\u0085\u2028":"x\n\u001b[2Jy","\u001b]0;title\u0007":[{"b\u202e":"\u000b"}]}"#)
        {
            assert!(!line.chars().any(|c| c.is_control() || "\u{2028}\u{2029}\u{202e}".contains(c)), "{line:?}");
        }
    }

    #[test]
    fn it_is_as_long_as_a_page_at_most() {
        let wide =
            format!("{{{}\"z\":1}}", (0..1000).map(|n| format!("\"k{n}\":{{\"t\":[{n},{{}}]}},")).collect::<String>());
        assert_eq!(lines(&wide).len(), MAX_LINES + 1);
        let long = format!("{{\"k\":\"{}\"}}", "x".repeat(5000));
        assert!(lines(&long)[0].len() < 2 * MAX_WORD, "{:?}", lines(&long));
        let deep = format!("{}1{}", "{\"k\":".repeat(40), "}".repeat(40));
        assert_eq!(lines(&deep).last().unwrap().trim(), "k: {} # … nested too deep to be shown");
    }
}
