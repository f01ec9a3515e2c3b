//! When two calls of a function are the same, for `once` and for `confirm`.
//!
//! The two err on different sides. `once` takes for the same what an agent may take for the same: a model that writes
//! `5.0` for 5, or adds an argument that nobody reads, does it again. `confirm` takes for another what may be another: a
//! caller has agreed to nothing else. A code is part of neither, since the next one is a new one.

use serde_json::{Map, Value};

use super::{Called, Checked};
use crate::{
    decide::judge::Arguments,
    json::{Member, Node, quote},
    schema::{self, Leniencies},
};

// === impl Called ===

impl Called<'_> {
    /// The arguments as they were written, but for the order of their names and the code.
    pub(super) fn as_written(&self) -> String {
        let arguments = match self.arguments {
            None => return String::new(),
            // What is no JSON is what it is, letter by letter.
            Some(Arguments::Raw(raw, None)) => return format!("raw {raw}"),
            Some(arguments) => arguments.node(),
        };
        let Some(arguments) = arguments.filter(|node| node.is_object()) else {
            return arguments.map(canonical).unwrap_or_default();
        };
        let mut members: Vec<&Member<'_>> =
            arguments.members().iter().filter(|member| !self.is_code(&member.key)).collect();
        members.sort_by(|a, b| a.key.cmp(&b.key));
        let members = members.iter().map(|member| format!("{}:{}", quote(&member.key), canonical(&member.node)));
        members.collect::<Vec<_>>().join(",")
    }

    /// The arguments by what they mean, as far as the schemas say.
    pub(super) fn by_meaning(&self, checked: &Checked) -> String {
        let Value::Object(arguments) = &checked.arguments else { return self.as_written() };
        let counts = |name: &str, value: &Value| !value.is_null() && !self.is_code(name) && !checked.ignores(name);
        meant(arguments, counts).to_string()
    }

    /// The same where nothing is known of schemas.
    pub(super) fn by_themselves(&self) -> String {
        let arguments = self.arguments.and_then(Arguments::node);
        let arguments = schema::check(arguments, None, None, &Leniencies::NONE).unwrap_or_default();
        self.by_meaning(&Checked { arguments, learned: None, own: None })
    }

    fn is_code(&self, argument: &str) -> bool {
        self.rules.verify.as_ref().is_some_and(|verify| verify.argument == argument)
    }
}

// === impl Checked ===

impl Checked {
    /// Whether the agent published all arguments that it takes, and this is none of them.
    fn ignores(&self, argument: &str) -> bool {
        self.learned.as_ref().is_some_and(|schema| schema.lists_all()) && !self.declares(argument)
    }
}

fn canonical(node: &Node<'_>) -> String {
    String::from_utf8_lossy(&node.canonical()).into_owned()
}

fn meant(members: &Map<String, Value>, counts: impl Fn(&str, &Value) -> bool) -> Value {
    let mut names: Vec<_> = members.iter().filter(|(name, value)| counts(name, value)).collect();
    names.sort_by_key(|(name, _)| *name);
    Value::Array(
        names.into_iter().map(|(name, value)| Value::Array(vec![name.as_str().into(), one_form(value)])).collect(),
    )
}

/// The value with each of its numbers as the text that all ways to write it have in common.
fn one_form(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|double| number.is_f64() && double.fract() == 0.0);
            // Zero has two signs.
            whole.map_or_else(|| number.to_string(), |double| format!("{:.0}", double + 0.0)).into()
        }
        Value::Array(items) => Value::Array(items.iter().map(one_form).collect()),
        Value::Object(members) => Value::Array(vec![meant(members, |_, _| true)]),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(value: Value) -> String {
        one_form(&value).to_string()
    }

    #[test]
    fn numbers_are_the_same_however_they_are_written() {
        assert_eq!(form(json!(5)), form(json!(5.0)));
        assert_eq!(form(json!(0)), form(json!(-0.0)));
        assert_eq!(form(json!(100_000_000_000_000_000_000_000.0)), form(json!(1e23)));
        assert_eq!(form(json!({ "a": [1], "b": 2 })), form(json!({ "b": 2.0, "a": [1.0] })));
        for (one, other) in [
            (json!(5), json!(5.5)),
            (json!({ "a": 1 }), json!({ "a": 2 })),
            (json!([1, 2]), json!([2, 1])),
            (json!({}), json!([])),
            (json!("a"), json!("A")),
            (json!(1), json!(true)),
        ] {
            assert_ne!(form(one.clone()), form(other.clone()), "{one} {other}");
        }
    }
}
