//! `arguments`, `learned_schema`, `unknown_schema`, `lenient`: what a function's arguments must be.

use std::sync::Arc;

use super::super::ArgumentRules;
use crate::{
    schema::{Condition, Leniencies, Schema},
    yaml::{Field, quoted},
};

/// The words of `lenient`.
const HABITS: [&str; 4] = ["numeric_strings", "integral_floats", "boolean_strings", "null_optionals"];

/// `arguments`: a JSON Schema of the policy's own, or the word for none.
pub(super) fn own(field: Field<'_>) -> Option<Option<Arc<Schema>>> {
    if field.is_mapping() {
        return schema(field).map(|schema| Some(Arc::new(schema)));
    }
    field.parse(|text| match text {
        "learned" => Ok(None),
        _ => Err("write `learned`, or a JSON Schema like `{ properties: { amount: { maximum: 100 } } }`"),
    })
}

/// A JSON Schema of arguments.
pub(super) fn schema(field: Field<'_>) -> Option<Schema> {
    compiled(field, Schema::of_policy)
}

/// The same as a condition.
pub(super) fn condition(field: Field<'_>) -> Option<Condition> {
    compiled(field, Condition::of_policy)
}

fn compiled<T>(field: Field<'_>, compile: fn(&serde_json::Value) -> Result<T, String>) -> Option<T> {
    let (report, place, name) = (field.report(), field.place(), field.name().to_owned());
    let written = field.json()?;
    compile(&written).map_err(|message| report.note(place, format!("{name}: {message}"))).ok()
}

/// `learned_schema`: whether the schema that the agent published is enforced.
pub(super) fn learned(field: Field<'_>) -> Option<bool> {
    field.choice(&[("enforce", true), ("ignore", false)])
}

/// `unknown_schema`: whether calls are refused of which that schema isn't known.
pub(super) fn denies_unknown(field: Field<'_>) -> Option<bool> {
    field.choice(&[("allow", false), ("deny", true)])
}

/// `lenient`: which habits of models are forgiven. An empty list forgives none.
pub(super) fn leniencies(field: Field<'_>) -> Option<Leniencies> {
    let mut lenient = Leniencies::NONE;
    let items = field.list(HABITS.len())?;
    let complete = items.into_iter().map(|item| item.parse(|word| forgive(&mut lenient, word)));
    // All of them are read, so that all mistakes are told.
    let complete = complete.filter(Option::is_none).count() == 0;
    complete.then_some(lenient)
}

fn forgive(lenient: &mut Leniencies, word: &str) -> Result<(), String> {
    match word {
        "numeric_strings" => lenient.numeric_strings = true,
        "integral_floats" => lenient.integral_floats = true,
        "boolean_strings" => lenient.boolean_strings = true,
        "null_optionals" => lenient.null_optionals = true,
        _ => return Err(format!("{} can't be forgiven; write {}", quoted(word), HABITS.map(quoted).join(", "))),
    }
    Ok(())
}

// === impl ArgumentRules ===

impl Default for ArgumentRules {
    fn default() -> Self {
        Self { own: None, learned: true, denies_unknown: false, lenient: Leniencies::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{schema, yaml};

    fn read<T>(text: &str, reader: impl FnOnce(Field<'_>) -> Option<T>) -> Result<T, String> {
        yaml::read("p", &format!("key: {text}"), |fields| reader(fields.take("key")))
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn arguments_are_a_schema() {
        let own = read("{ properties: { amount: { maximum: 500 } }, required: [amount] }", schema).unwrap();
        let missing = schema::check(None, None, Some(&own), &Leniencies::default()).unwrap_err();
        assert_eq!(missing.argument.as_deref(), Some("amount"));
        let mistake = read("{ properties: { amount: { maximun: 500 } } }", schema).unwrap_err();
        assert!(mistake.contains("`properties.amount`: `maximun` is no keyword; did you mean `maximum`?"), "{mistake}");
    }

    #[test]
    fn lenient_names_what_is_forgiven() {
        let all = "[numeric_strings, integral_floats, boolean_strings, null_optionals]";
        assert_eq!(read(all, leniencies), Ok(Leniencies::default()));
        assert_eq!(read("[]", leniencies), Ok(Leniencies::NONE));
        let some = Leniencies { null_optionals: true, ..Leniencies::NONE };
        assert_eq!(read("[null_optionals]", leniencies), Ok(some));
        let mistake = read("[typos]", leniencies).unwrap_err();
        assert!(mistake.contains("`typos` can't be forgiven; write `numeric_strings`"), "{mistake}");
    }
}
