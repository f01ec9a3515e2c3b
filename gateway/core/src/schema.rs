//! Argument schemas: what an agent publishes of its functions' arguments, what a policy asks of them, and the check of a
//! call's arguments against both.
//!
//! JSON Schema 2020-12 is `jsonschema`'s; an agent may name another draft. Nothing is fetched, and patterns take linear
//! time. What models do to arguments, [`Leniencies`] forgive: the check is of a copy in which that is put right. What the
//! agent gets is what was sent.

mod catalogue;
mod learned;
mod number;
mod own;
mod shape;

use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value};

use crate::json::{self, Node};
pub use catalogue::Catalogue;
pub use learned::Unknown;
use shape::Shape;

/// The largest schema of an agent's that is learned, in bytes of JSON.
pub const MAX_LEARNED: usize = 64 << 10;

/// The largest pattern within a schema, in bytes of its compiled form.
const MAX_PATTERN: usize = 256 << 10;

/// The longest name of an argument that is told.
const MAX_TOLD: usize = 64;

/// A schema of a function's arguments, compiled.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    shape: Shape,
    lists_all: bool,
}

/// A condition on arguments, under which something more is asked for.
///
/// What is of another type than its keywords are about meets it: were `amount: { minimum: 500 }` not met by "six hundred",
/// that would be the way around.
#[derive(Debug)]
pub struct Condition(Schema);

/// Which habits of models are forgiven. All of them, unless a policy says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leniencies {
    /// `"500"` is 500, where a number is expected.
    pub numeric_strings: bool,
    /// `5.0` is 5, where an integer is expected. JSON Schema says so; without this it is none.
    pub integral_floats: bool,
    /// `"true"` and `"false"`, in any case, are true and false, where a boolean is expected.
    pub boolean_strings: bool,
    /// `null` is nothing, for an argument that isn't required and can't be null.
    pub null_optionals: bool,
}

/// What is wrong with a call's arguments. It holds no value of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The argument at fault; the missing one, for `required`. `None` if it is no single one, or if its name is not plain
    /// (`[A-Za-z0-9_ -]`, up to 64): what a model is told must not be what it was made to say.
    pub argument: Option<String>,
    /// The keyword of JSON Schema that isn't met.
    pub keyword: String,
    /// Which schema isn't met; `None` if it is neither: no schema was asked.
    pub of: Option<Author>,
}

/// Whose a schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The agent published it.
    Agent,
    /// It is the policy's own.
    Policy,
}

/// Checks a call's arguments against what the agent published and what the policy says. Missing arguments are an empty
/// object.
///
/// Returns the arguments as the schemas took them, with all that was forgiven put right.
///
/// # Errors
/// The first [`Violation`]. A number that can't be held exactly is one: it must not pass for another number. So is a name that
/// differs in its case alone from one of the policy's: an agent may take it for that.
pub fn check(
    arguments: Option<&Node<'_>>,
    learned: Option<&Schema>,
    own: Option<&Schema>,
    lenient: &Leniencies,
) -> Result<Value, Violation> {
    let mut object = Map::new();
    if let Some(arguments) = arguments {
        if !arguments.is_object() {
            return Err(Violation { argument: None, keyword: "type".to_owned(), of: None });
        }
        for member in arguments.members() {
            let value = exact(&member.node).ok_or_else(|| Violation::new(Some(&member.key), "type"))?;
            object.insert(member.key.clone().into_owned(), value);
        }
    }
    // One after the other: where the agent wants text and the policy a number, the agent's schema sees text.
    let mut arguments = Value::Object(object);
    for (author, schema) in [(Author::Agent, learned), (Author::Policy, own)] {
        let Some(schema) = schema else { continue };
        let by = |violation: Violation| Violation { of: Some(author), ..violation };
        schema.shape.coerce_arguments(&mut arguments, lenient).map_err(by)?;
        // To be sure that there is no error costs less than to look for one.
        if !schema.validator.is_valid(&arguments) {
            let found = schema.validator.validate(&arguments).err().map(|error| Violation::of(&error));
            return Err(by(found.unwrap_or_else(|| Violation::new(None, "type"))));
        }
    }
    let twin = own.and_then(|own| own.shape.twin(&arguments));
    twin.map_or(Ok(()), |name| Err(Violation::new(Some(name), "properties")))?;
    Ok(arguments)
}

/// The value, if all of its numbers can be held exactly.
fn exact(node: &Node<'_>) -> Option<Value> {
    Some(match &node.value {
        json::Value::Null => Value::Null,
        json::Value::Bool(value) => Value::Bool(*value),
        json::Value::Number(text) => Value::Number(number::exact(text)?),
        json::Value::String(text) => Value::String(text.clone().into_owned()),
        json::Value::Array(items) => Value::Array(items.iter().map(exact).collect::<Option<_>>()?),
        json::Value::Object(members) => {
            let member = |member: &json::Member<'_>| Some((member.key.clone().into_owned(), exact(&member.node)?));
            Value::Object(members.iter().map(member).collect::<Option<_>>()?)
        }
    })
}

// === impl Schema ===

impl Schema {
    /// Compiles what an agent publishes: a schema, or a bare map of its properties (PROTOCOL.md, 12). Formats are not
    /// checked, since agents name them for the model.
    ///
    /// # Errors
    /// [`Unknown`]: nothing can be said about arguments by it.
    pub fn learned(published: &Value) -> Result<Self, Unknown> {
        let prepared = learned::prepared(published)?;
        let validator = compile(&prepared, false).map_err(|_| Unknown::NotASchema)?;
        Ok(Self { validator, shape: Shape::of(&prepared, &prepared), lists_all: lists_all(&prepared) })
    }

    /// Compiles a policy's own: an object's schema, in which keywords imply their type. Formats are checked.
    ///
    /// # Errors
    /// What is wrong with it, where, and what to write instead.
    pub fn of_policy(written: &Value) -> Result<Self, String> {
        let prepared = own::prepared(written)?;
        let validator = compile(&prepared, true).map_err(|error| own::explained(&error))?;
        Ok(Self { validator, shape: Shape::of(&prepared, &prepared), lists_all: lists_all(&prepared) })
    }

    /// Whether its properties are all arguments that it knows of.
    pub fn lists_all(&self) -> bool {
        self.lists_all
    }

    /// Whether it says what this argument is.
    pub fn declares(&self, argument: &str) -> bool {
        self.shape.declares(argument)
    }
}

/// Whether nothing of a schema but its `properties` names arguments.
fn lists_all(schema: &Value) -> bool {
    const OTHERS: [&str; 9] = [
        "patternProperties",
        "additionalProperties",
        "unevaluatedProperties",
        "dependentSchemas",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
        "$ref",
    ];
    OTHERS.iter().all(|key| schema.get(key).is_none_or(|value| *value == Value::Bool(false)))
}

fn compile(schema: &Value, is_own: bool) -> Result<Validator, Box<ValidationError<'static>>> {
    let patterns = PatternOptions::regex().size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN);
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .should_validate_formats(is_own)
        .should_ignore_unknown_formats(!is_own)
        .build(schema)
        .map_err(Box::new)
}

// === impl Condition ===

impl Condition {
    /// Compiles what a policy says.
    ///
    /// # Errors
    /// As those of [`Schema::of_policy`], and where a type is written.
    pub fn of_policy(written: &Value) -> Result<Self, String> {
        let (plain, typed) = (own::condition(written)?, own::prepared(written)?);
        let validator = compile(&plain, true).map_err(|error| own::explained(&error))?;
        Ok(Self(Schema { validator, shape: Shape::of(&typed, &typed), lists_all: false }))
    }

    /// Whether a call's arguments meet it, or can't be told not to. Missing ones are an empty object.
    pub fn is_met(&self, arguments: Option<&Node<'_>>, lenient: &Leniencies) -> bool {
        let Ok(mut arguments) = check(arguments, None, None, lenient) else { return true };
        let Self(Schema { validator, shape, .. }) = self;
        shape.coerce_arguments(&mut arguments, lenient).is_err()
            || shape.twin(&arguments).is_some()
            || validator.is_valid(&arguments)
    }
}

// === impl Leniencies ===

impl Leniencies {
    /// None is forgiven.
    pub const NONE: Self =
        Self { numeric_strings: false, integral_floats: false, boolean_strings: false, null_optionals: false };

    /// Those that are forgiven, by their names in policies; nothing, if all are.
    pub fn told(&self) -> Option<String> {
        let Self { numeric_strings, integral_floats, boolean_strings, null_optionals } = *self;
        let all = [
            (numeric_strings, "numeric_strings"),
            (integral_floats, "integral_floats"),
            (boolean_strings, "boolean_strings"),
            (null_optionals, "null_optionals"),
        ];
        let names: Vec<_> = all.into_iter().filter(|(is_forgiven, _)| *is_forgiven).map(|(_, name)| name).collect();
        (names.len() < 4).then(|| names.join(","))
    }
}

impl Default for Leniencies {
    fn default() -> Self {
        Self { numeric_strings: true, integral_floats: true, boolean_strings: true, null_optionals: true }
    }
}

// === impl Violation ===

impl Violation {
    fn new(argument: Option<&str>, keyword: &str) -> Self {
        let argument = argument.filter(|name| is_plain(name)).map(str::to_owned);
        Self { argument, keyword: keyword.to_owned(), of: None }
    }

    fn of(error: &ValidationError<'_>) -> Self {
        let first = error.instance_path().iter().next().map(|segment| segment.to_string());
        let argument = first.or_else(|| named(error.kind()));
        Self::new(argument.as_deref(), error.kind().keyword())
    }
}

/// The argument that an error of the arguments as a whole is about.
fn named(kind: &ValidationErrorKind) -> Option<String> {
    match kind {
        ValidationErrorKind::Required { property } => property.as_str().map(str::to_owned),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected.first().cloned(),
        _ => None,
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b' ' | b'-');
    (1..=MAX_TOLD).contains(&name.len()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests;
