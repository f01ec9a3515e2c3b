//! A policy's own schema: every keyword is known and applies to something, and implies the type that it is about.
//!
//! JSON Schema's `maximum: 500` lets all texts pass, and a keyword that isn't known is nothing. In a policy either would
//! be a rule that isn't there.

use jsonschema::ValidationError;
use serde_json::{Map, Value};

use crate::yaml::{nearest, quoted};

/// How deep a schema may be nested.
const MAX_DEPTH: usize = 32;

/// Keywords that are about values of one type, which they imply. `integer` is a `number` here.
const OF_TYPE: [(&str, &[&str]); 4] = [
    ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ("string", &["pattern", "minLength", "maxLength", "format"]),
    (
        "array",
        &["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"],
    ),
    (
        "object",
        &[
            "properties",
            "patternProperties",
            "additionalProperties",
            "propertyNames",
            "required",
            "dependentRequired",
            "dependentSchemas",
            "minProperties",
            "maxProperties",
        ],
    ),
];

/// Keywords that are about values of any type.
const OF_ANY: [&str; 13] = [
    "type",
    "enum",
    "const",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "title",
    "description",
    "$comment",
];

/// The schema with all types that its keywords imply.
pub(super) fn prepared(written: &Value) -> Result<Value, String> {
    walked(written, Walk { path: Vec::new(), implies: true, is_condition: false })
}

/// The schema as it is written, which must have no types.
pub(super) fn condition(written: &Value) -> Result<Value, String> {
    walked(written, Walk { path: Vec::new(), implies: false, is_condition: true })
}

fn walked(written: &Value, mut walk: Walk) -> Result<Value, String> {
    let Value::Object(members) = written else {
        return Err("must be a schema: a mapping with `properties`".to_owned());
    };
    if members.is_empty() {
        return Err("says nothing; list `properties`, `required` or others, or remove it".to_owned());
    }
    if members.get("type").is_some_and(|kind| kind != "object") {
        return Err("the arguments are an object; remove `type`".to_owned());
    }
    let mut schema = members.clone();
    schema.insert("type".to_owned(), "object".into());
    let mut schema = Value::Object(schema);
    walk.schema(&mut schema)?;
    Ok(schema)
}

/// What the compiler found wrong.
pub(super) fn explained(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let shown: String = error.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
    let place = place.trim_start_matches('/').replace('/', ".");
    if place.is_empty() { shown } else { format!("{}: {shown}", quoted(&place)) }
}

struct Walk {
    path: Vec<String>,
    /// Whether types are implied: not where a value that doesn't match is what is wanted.
    implies: bool,
    /// Whether this is of a condition, where what is of another type counts.
    is_condition: bool,
}

impl Walk {
    fn schema(&mut self, schema: &mut Value) -> Result<(), String> {
        let members = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(members) => members,
            _ => return Err(self.mistake("must be a schema: a mapping")),
        };
        if self.path.len() > MAX_DEPTH {
            return Err(self.mistake("is nested too deep"));
        }
        self.keywords(members)?;
        if self.is_condition && !self.path.is_empty() && members.contains_key("type") {
            return Err(self.mistake("a condition has no `type`; what is of another one meets it"));
        }
        self.imply(members)?;
        for (keyword, value) in members.iter_mut() {
            self.path.push(keyword.clone());
            let implied = self.implies;
            self.implies &= !matches!(keyword.as_str(), "not" | "if");
            self.below(keyword, value)?;
            self.implies = implied;
            self.path.pop();
        }
        Ok(())
    }

    fn below(&mut self, keyword: &str, value: &mut Value) -> Result<(), String> {
        match (keyword, value) {
            (
                "not" | "if" | "then" | "else" | "items" | "contains" | "additionalProperties" | "propertyNames",
                schema,
            ) => self.schema(schema),
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => {
                let mut numbered = schemas.iter_mut().enumerate();
                numbered.try_for_each(|(at, schema)| self.named(&at.to_string(), schema))
            }
            ("properties" | "patternProperties" | "dependentSchemas", Value::Object(schemas)) => {
                schemas.iter_mut().try_for_each(|(name, schema)| self.named(name, schema))
            }
            // What is of the wrong kind, the compiler refuses.
            _ => Ok(()),
        }
    }

    fn named(&mut self, name: &str, schema: &mut Value) -> Result<(), String> {
        self.path.push(name.to_owned());
        self.schema(schema)?;
        self.path.pop();
        Ok(())
    }

    fn keywords(&self, members: &Map<String, Value>) -> Result<(), String> {
        let known = || OF_ANY.into_iter().chain(OF_TYPE.iter().flat_map(|(_, keywords)| keywords.iter().copied()));
        let Some(unknown) = members.keys().find(|keyword| !known().any(|known| known == *keyword)) else {
            return Ok(());
        };
        let name = quoted(unknown);
        Err(match nearest(unknown, &known().collect::<Vec<_>>()) {
            Some(keyword) => self.mistake(&format!("{name} is no keyword; did you mean `{keyword}`?")),
            None if unknown.starts_with('$') => self.mistake(&format!("{name} is not read; use an anchor of YAML")),
            None => self.mistake(&format!(
                "{name} is no keyword of JSON Schema; what is said of an argument is in `properties`"
            )),
        })
    }

    /// Adds the type that the keywords imply, and finds keywords that apply to nothing.
    fn imply(&self, members: &mut Map<String, Value>) -> Result<(), String> {
        let about = OF_TYPE.iter().filter_map(|(kind, keywords)| {
            Some((*kind, *keywords.iter().find(|keyword| members.contains_key(**keyword))?))
        });
        let about: Vec<(&str, &str)> = about.collect();
        match members.get("type") {
            Some(stated) => {
                match about.into_iter().find(|(kind, _)| !names(stated, kind)) {
                    Some((kind, keyword)) => Err(self
                        .mistake(&format!("`{keyword}` is about a value of type {kind}, and `type` says otherwise"))),
                    None => Ok(()),
                }
            }
            None => match about.as_slice() {
                [] => Ok(()),
                [(kind, _)] => {
                    if self.implies {
                        members.insert("type".to_owned(), (*kind).into());
                    }
                    Ok(())
                }
                [(_, one), (_, other), ..] => {
                    Err(self.mistake(&format!("`{one}` and `{other}` are about values of two types; add `type`")))
                }
            },
        }
    }

    fn mistake(&self, message: &str) -> String {
        if self.path.is_empty() { message.to_owned() } else { format!("{}: {message}", quoted(&self.path.join("."))) }
    }
}

/// Whether a `type` names a type.
fn names(stated: &Value, kind: &str) -> bool {
    let is = |name: &Value| name == kind || (kind == "number" && name == "integer");
    stated.as_array().map_or_else(|| is(stated), |names| names.iter().any(is))
}
