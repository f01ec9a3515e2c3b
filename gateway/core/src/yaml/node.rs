//! YAML text as a tree that knows where each key and value stood.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_yaml::{
    Error, Location, MessageFormatter, Spanned, UserMessageFormatter,
    budget::BudgetBreach,
    options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
};

use super::{Place, quoted};

/// The longest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// How deep lists and mappings may be nested.
pub const MAX_DEPTH: usize = 32;

/// How many keys and values a file may have, with those that aliases repeat.
const MAX_NODES: usize = 20_000;

/// How many anchors, and how many aliases, a file may have.
const MAX_ALIASES: usize = 100;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

pub(super) fn parse(text: &str) -> Result<Node, (Place, String)> {
    if text.len() > MAX_BYTES {
        return Err((Place::START, format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len())));
    }
    let node: Node = serde_yaml::from_str_with_options(text, options()).map_err(|error| {
        let place = error.location().map_or(Place::START, Place::from);
        (place, describe(&error))
    })?;
    match node.value {
        Value::Null => Err((Place::START, "the file has no keys".to_owned())),
        _ => Ok(node),
    }
}

/// What a file may cost to read. A settings file comes from the operator, and still from somewhere.
fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_events: 3 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_recorded_anchor_events: MAX_NODES,
            max_recorded_anchor_bytes: MAX_BYTES,
            max_total_scalar_bytes: MAX_BYTES,
            max_merge_keys: 0,
            max_inclusion_depth: 0,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: MAX_ALIASES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn describe(error: &Error) -> String {
    match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("{} is given twice", quoted(key)),
        Error::MergeKeyNotAllowed { .. } => "`<<` is not read; write the keys out".to_owned(),
        Error::MultipleDocuments { .. } => "only one document may be in a file; remove the `---`".to_owned(),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("nested more than {MAX_DEPTH} deep")
        }
        Error::Budget { breach: BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. }, .. } => {
            format!("more than {MAX_NODES} keys and values")
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "anchors and aliases that make too much of too little; write the values out".to_owned()
        }
        other => UserMessageFormatter.format_message(other).into_owned(),
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let from_one = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).max(1);
        Self { line: from_one(location.line()), column: from_one(location.column()) }
    }
}

// === how serde reads it ===

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: spanned.referenced.into(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = items.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut mapping = Vec::new();
        let mut keys = HashSet::new();
        while let Some((key, node)) = entries.next_entry::<Spanned<String>, Node>()? {
            // The parser tells `1` from `"1"`; a file's keys are text, so here they are twins.
            if !keys.insert(key.value.clone()) {
                return Err(A::Error::custom(format!("{} is given twice", quoted(&key.value))));
            }
            mapping.push(Entry { key: key.value, place: key.referenced.into(), node });
        }
        Ok(Value::Mapping(mapping))
    }
}
