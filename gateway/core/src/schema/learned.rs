//! What agents publish, as a schema that can be compiled.

use serde_json::{Map, Value, json};

use super::MAX_LEARNED;

/// How many values one may hold, with those that references repeat.
const MAX_VALUES: usize = 20_000;

/// How many patterns it may hold: each takes up to `MAX_PATTERN` once it is compiled.
const MAX_PATTERNS: usize = 32;

/// How deep a schema may be nested, through references too.
const MAX_DEPTH: usize = 64;

/// Why nothing is known of a function's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// It is larger than [`MAX_LEARNED`], or holds more than 32 patterns.
    #[error("larger than {} KiB, or of more than {MAX_PATTERNS} patterns", MAX_LEARNED >> 10)]
    TooLarge,
    /// The platform puts text in place of `${…}` or `%{…}` in it.
    #[error("it holds expressions that the platform replaces")]
    Templated,
    /// It refers to what is outside of it, or to itself without end.
    #[error("it refers to what it doesn't hold, or to itself")]
    Reference,
    /// It is no JSON Schema, or none of an object.
    #[error("not a JSON Schema of an object")]
    NotASchema,
}

/// The schema that is meant by what an agent publishes.
pub(super) fn prepared(published: &Value) -> Result<Value, Unknown> {
    if serde_json::to_vec(published).map_err(|_| Unknown::NotASchema)?.len() > MAX_LEARNED {
        return Err(Unknown::TooLarge);
    }
    if is_templated(published) {
        return Err(Unknown::Templated);
    }
    let members = published.as_object().ok_or(Unknown::NotASchema)?;
    let mut schema =
        if is_bare(members) { json!({ "type": "object", "properties": members }) } else { published.clone() };
    if schema.get("type").is_some_and(|kind| kind != "object") {
        return Err(Unknown::NotASchema);
    }
    if patterns(&schema) > MAX_PATTERNS {
        return Err(Unknown::TooLarge);
    }
    allow_nulls(&mut schema);
    let mut references = References { root: &schema, left: MAX_VALUES };
    references.follow(&schema, 0)?;
    Ok(schema)
}

/// Whether this is a map of properties: all of it are schemas, and nothing says that it is one itself.
fn is_bare(members: &Map<String, Value>) -> bool {
    let says_type = members.get("type").is_some_and(|kind| kind.is_string() || kind.is_array());
    let has_properties = !members.contains_key("type")
        && members.get("properties").and_then(Value::as_object).is_some_and(|map| map.values().all(Value::is_object));
    !says_type && !has_properties && members.values().all(Value::is_object)
}

/// The platform's rule for text with expressions in it, wherever it stands.
fn is_templated(value: &Value) -> bool {
    let expression = |text: &str| text.contains("${") || text.contains("%{");
    match value {
        Value::String(text) => expression(text),
        Value::Array(items) => items.iter().any(is_templated),
        Value::Object(members) => members.iter().any(|(key, value)| expression(key) || is_templated(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn patterns(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(patterns).sum(),
        Value::Object(members) => {
            let own = usize::from(members.get("pattern").is_some_and(Value::is_string));
            let of_names = members.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
            own + of_names + members.values().map(patterns).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Says in JSON Schema what `nullable: true` says in OpenAPI.
fn allow_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(allow_nulls),
        Value::Object(members) => {
            members.values_mut().for_each(allow_nulls);
            if members.get("nullable") == Some(&Value::Bool(true)) {
                if let Some(kind) = members.get_mut("type").filter(|kind| kind.is_string()) {
                    *kind = json!([kind.clone(), "null"]);
                }
                if let Some(Value::Array(values)) = members.get_mut("enum")
                    && !values.contains(&Value::Null)
                {
                    values.push(Value::Null);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The work of following all references: one that leads to itself would be followed without end when values are checked,
/// and a few that lead to each other twice would take as long.
struct References<'s> {
    root: &'s Value,
    left: usize,
}

impl References<'_> {
    fn follow(&mut self, value: &Value, depth: usize) -> Result<(), Unknown> {
        self.left = self.left.checked_sub(1).ok_or(Unknown::Reference)?;
        if depth > MAX_DEPTH {
            return Err(Unknown::Reference);
        }
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.follow(item, depth + 1)),
            Value::Object(members) => {
                self.resolve(members, depth)?;
                members.values().try_for_each(|member| self.follow(member, depth + 1))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    /// A reference is a pointer within the schema. Names of other kinds would need the rules by which they are found.
    fn resolve(&mut self, members: &Map<String, Value>, depth: usize) -> Result<(), Unknown> {
        let named = ["$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$id"];
        if named.iter().any(|key| members.get(*key).is_some_and(|value| !value.is_object())) {
            return Err(Unknown::Reference);
        }
        // In old drafts, `id` is what `$id` is.
        if self.root.get("$schema").is_some() && members.get("id").is_some_and(Value::is_string) {
            return Err(Unknown::Reference);
        }
        let Some(Value::String(reference)) = members.get("$ref") else { return Ok(()) };
        let pointer = reference.strip_prefix("#/").filter(|pointer| !pointer.contains('%'));
        let root = self.root;
        let target = pointer.and_then(|_| root.pointer(reference.get(1..)?)).ok_or(Unknown::Reference)?;
        self.follow(target, depth + 1)
    }
}
