//! Which types a schema expects where: what is needed to put right what models do to values.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::{Leniencies, Violation, number};

/// How deep a schema is looked into for types. What lies deeper is checked as it stands.
const MAX_DEPTH: usize = 24;

/// The types that a value may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Types(u8);

/// What is expected in one place.
#[derive(Debug, Default)]
pub(super) struct Shape {
    types: Types,
    required: Vec<String>,
    properties: BTreeMap<String, Shape>,
    others: Option<Box<Shape>>,
    items: Option<Box<Shape>>,
}

/// A value that is refused before the schema sees it: `5.0` for an integer, where that isn't forgiven.
struct NotAnInteger;

// === impl Types ===

impl Types {
    /// Nothing is said, so anything is expected.
    const ANY: Self = Self(0);
    const NULL: Self = Self(1);
    const BOOLEAN: Self = Self(2);
    const INTEGER: Self = Self(4);
    const NUMBER: Self = Self(8);
    const STRING: Self = Self(16);
    const ARRAY: Self = Self(32);
    const OBJECT: Self = Self(64);

    fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::ANY,
        }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.is_f64() => Self::NUMBER,
            Value::Number(_) => Self::INTEGER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Either of them; anything, if that is one.
    fn or(self, other: Self) -> Self {
        if self == Self::ANY || other == Self::ANY { Self::ANY } else { Self(self.0 | other.0) }
    }

    fn any_of(all: impl Iterator<Item = Self>) -> Self {
        all.reduce(Self::or).unwrap_or(Self::ANY)
    }
}

// === impl Shape ===

impl Shape {
    pub(super) fn declares(&self, property: &str) -> bool {
        self.properties.contains_key(property)
    }

    /// The shape of a schema. References within `root` are followed; they were found to come to an end.
    pub(super) fn of(schema: &Value, root: &Value) -> Self {
        Self::at_depth(schema, root, 0)
    }

    fn at_depth(schema: &Value, root: &Value, depth: usize) -> Self {
        let Some(schema) = schema.as_object().filter(|_| depth < MAX_DEPTH) else { return Self::default() };
        let below = |schema: &Value| Self::at_depth(schema, root, depth + 1);
        let mut shape = Self { types: stated(schema), ..Self::default() };
        if let Some(required) = schema.get("required").and_then(Value::as_array) {
            shape.required = required.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            shape.properties = properties.iter().map(|(name, schema)| (name.clone(), below(schema))).collect();
        }
        shape.others = schema.get("additionalProperties").map(below).map(Box::new);
        if !schema.contains_key("prefixItems") {
            shape.items = schema.get("items").map(below).map(Box::new);
        }
        if let Some(target) = reference(schema).and_then(|pointer| root.pointer(pointer)) {
            shape.narrow(below(target));
        }
        for part in list(schema, "allOf") {
            shape.narrow(below(part));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(branches) = list(schema, key).map(below).reduce(Self::or) {
                shape.narrow(branches);
            }
        }
        shape
    }

    /// What another schema for the same place adds.
    fn narrow(&mut self, other: Self) {
        if self.types == Types::ANY {
            self.types = other.types;
        }
        self.required.extend(other.required);
        for (name, shape) in other.properties {
            match self.properties.get_mut(&name) {
                Some(known) => known.narrow(shape),
                None => drop(self.properties.insert(name, shape)),
            }
        }
        self.others = self.others.take().or(other.others);
        self.items = self.items.take().or(other.items);
    }

    /// What either of two schemas expects.
    fn or(mut self, other: Self) -> Self {
        self.types = self.types.or(other.types);
        self.required.retain(|name| other.required.contains(name));
        for (name, shape) in other.properties {
            let merged = match self.properties.remove(&name) {
                Some(known) => known.or(shape),
                None => shape,
            };
            self.properties.insert(name, merged);
        }
        self.others = self.others.take().or(other.others);
        self.items = self.items.take().or(other.items);
        self
    }

    /// Puts right in a call's arguments what may be forgiven.
    pub(super) fn coerce_arguments(&self, arguments: &mut Value, lenient: &Leniencies) -> Result<(), Violation> {
        let Value::Object(members) = arguments else { return Ok(()) };
        for (name, value) in members.iter_mut() {
            if let Some(shape) = self.property(name) {
                shape.coerce(value, lenient).map_err(|NotAnInteger| Violation::new(Some(name), "type"))?;
            }
        }
        self.drop_nulls(members, lenient);
        Ok(())
    }

    /// An argument that isn't one of the schema's, and is named like one but for its case.
    pub(super) fn twin<'a>(&self, arguments: &'a Value) -> Option<&'a str> {
        let names = arguments.as_object()?.keys().map(String::as_str);
        let is_twin = |name: &str| {
            let folded = folded(name);
            self.properties.keys().any(|known| self::folded(known).eq(folded.clone()))
        };
        names.filter(|name| !self.properties.contains_key(*name)).find(|name| is_twin(name))
    }

    fn property(&self, name: &str) -> Option<&Shape> {
        self.properties.get(name).or(self.others.as_deref())
    }

    fn coerce(&self, value: &mut Value, lenient: &Leniencies) -> Result<(), NotAnInteger> {
        match value {
            Value::Object(members) => {
                for (name, value) in members.iter_mut() {
                    if let Some(shape) = self.property(name) {
                        shape.coerce(value, lenient)?;
                    }
                }
                self.drop_nulls(members, lenient);
            }
            Value::Array(items) => {
                if let Some(shape) = &self.items {
                    items.iter_mut().try_for_each(|item| shape.coerce(item, lenient))?;
                }
            }
            Value::String(text) => {
                if let Some(meant) = self.meant(text, lenient) {
                    *value = meant;
                    return self.coerce_float(value, lenient);
                }
            }
            Value::Number(_) => self.coerce_float(value, lenient)?,
            Value::Null | Value::Bool(_) => {}
        }
        Ok(())
    }

    /// What a string stands for, where no string is expected.
    fn meant(&self, text: &str, lenient: &Leniencies) -> Option<Value> {
        if self.types == Types::ANY || self.types.has(Types::STRING) {
            return None;
        }
        let wants_number = self.types.has(Types::NUMBER) || self.types.has(Types::INTEGER);
        let number = number::exact_in_string(text).filter(|_| lenient.numeric_strings && wants_number);
        if let Some(number) = number {
            return Some(Value::Number(number));
        }
        let boolean = ["false", "true"].iter().position(|word| text.eq_ignore_ascii_case(word));
        boolean.filter(|_| lenient.boolean_strings && self.types.has(Types::BOOLEAN)).map(|at| Value::Bool(at == 1))
    }

    /// Makes an integer of a double where only that is expected.
    fn coerce_float(&self, value: &mut Value, lenient: &Leniencies) -> Result<(), NotAnInteger> {
        let Value::Number(number) = value else { return Ok(()) };
        if !number.is_f64() || !self.types.has(Types::INTEGER) || self.types.has(Types::NUMBER) {
            return Ok(());
        }
        let Some(double) = number.as_f64().filter(|double| double.fract() == 0.0) else { return Ok(()) };
        if !lenient.integral_floats {
            return Err(NotAnInteger);
        }
        *number = integer(double).unwrap_or_else(|| number.clone());
        Ok(())
    }

    fn drop_nulls(&self, members: &mut Map<String, Value>, lenient: &Leniencies) {
        if !lenient.null_optionals || !members.values().any(Value::is_null) {
            return;
        }
        members.retain(|name, value| {
            let Some(shape) = self.properties.get(name).filter(|_| value.is_null()) else { return true };
            shape.types.has(Types::NULL) || self.required.iter().any(|required| required == name)
        });
    }
}

/// The types that a schema names, or those of the only values that it allows.
fn stated(schema: &Map<String, Value>) -> Types {
    match schema.get("type") {
        Some(Value::String(name)) => Types::named(name),
        Some(Value::Array(names)) => Types::any_of(names.iter().filter_map(Value::as_str).map(Types::named)),
        _ => match (schema.get("enum"), schema.get("const")) {
            (Some(Value::Array(values)), _) => Types::any_of(values.iter().map(Types::of)),
            (_, Some(value)) => Types::of(value),
            (_, None) => Types::ANY,
        },
    }
}

/// A name as parsers compare it that don't tell the case.
fn folded(name: &str) -> impl Iterator<Item = char> + Clone {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// The place in the whole that a schema refers to.
fn reference(schema: &Map<String, Value>) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix('#')
}

fn list<'s>(schema: &'s Map<String, Value>, key: &str) -> impl Iterator<Item = &'s Value> {
    schema.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

/// A double without a fraction as an integer, where 64 bits hold it.
fn integer(double: f64) -> Option<Number> {
    let text = format!("{double:.0}");
    text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok()
}
