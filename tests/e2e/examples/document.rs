//! What stands in a document, wherever it is, and what to call its functions with.

use serde_json::{Value, json};

/// A function of a document.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) definition: Value,
    /// Its own, or that of the defaults.
    pub(super) url: Option<String>,
}

/// Every function that is defined anywhere in a document, in the order they stand.
pub(super) fn functions(document: &Value) -> Vec<Function> {
    let mut found = Vec::new();
    collect(document, &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<Function>) {
    match value {
        Value::Object(members) => {
            let default = &value["defaults"]["web_hook_url"];
            let definitions = members.get("functions").and_then(Value::as_array).into_iter().flatten();
            found.extend(definitions.filter_map(|definition| Function::of(definition, default)));
            members.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Function {
    fn of(definition: &Value, default: &Value) -> Option<Self> {
        let inherited = if definition.get("data_map").is_some() { None } else { default.as_str() };
        Some(Self {
            name: definition["function"].as_str()?.to_owned(),
            url: definition["web_hook_url"].as_str().or(inherited).map(str::to_owned),
            definition: definition.clone(),
        })
    }
}

/// The first value under this key, anywhere.
pub(super) fn find<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(members) => members.get(key).or_else(|| members.values().find_map(|value| find(value, key))),
        Value::Array(items) => items.iter().find_map(|item| find(item, key)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Strings that are URLs as a whole, each with the keys and the names of functions around it.
pub(super) fn urls<'v>(value: &'v Value, around: &[&'v str], found: &mut Vec<(Vec<&'v str>, &'v str)>) {
    match value {
        Value::Object(members) => {
            let function = members.get("function").and_then(Value::as_str);
            for (key, value) in members {
                let inner = around.iter().copied().chain(function).chain([key.as_str()]).collect::<Vec<_>>();
                urls(value, &inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| urls(item, around, found)),
        Value::String(text) if text.contains("://") && !text.contains(' ') => found.push((around.to_vec(), text)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Arguments for a function with these parameters.
pub(super) fn arguments(definition: &Value) -> Value {
    let properties = definition["parameters"]["properties"].as_object();
    let given = properties.into_iter().flatten().map(|(name, schema)| (name.clone(), example_of(schema)));
    Value::Object(given.collect())
}

fn example_of(schema: &Value) -> Value {
    match (schema["enum"].get(0), schema["type"].as_str().unwrap_or_default()) {
        (Some(first), _) => first.clone(),
        (None, "integer" | "number") => json!(2),
        (None, "boolean") => json!(true),
        (None, "array") => json!([example_of(&schema["items"])]),
        (None, "object") => json!({}),
        (None, _) => json!("Springfield"),
    }
}

/// What is left of a value whose words are never the same.
pub(super) fn form(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), form(value))).collect(),
        Value::Array(items) => items.iter().map(form).collect(),
        Value::String(text) => json!(if text.is_empty() { "" } else { "words" }),
        Value::Number(_) => json!(0),
        Value::Null | Value::Bool(_) => value.clone(),
    }
}
