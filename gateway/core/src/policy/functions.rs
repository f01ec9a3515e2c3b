//! What single functions may be called for: the rules of a policy's `functions`.
//!
//! Each key of a function stands alone: what a function doesn't say, `default` says, and what that doesn't either is
//! built in. It is put together when the file is loaded.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{LimitRule, Sentences, Shadow, Template};
use crate::{
    code::Code,
    hours::Hours,
    id::FunctionName,
    input::InputRules,
    json::Node,
    pattern::Access,
    record::Rule,
    sanitize::SensitiveNames,
    schema::{Condition, Leniencies, Schema},
    turns::Words,
    yaml::{Fields, Place},
};

/// The rules for an agent's functions.
#[derive(Debug)]
pub struct Functions {
    default: Arc<FunctionRules>,
    named: HashMap<FunctionName, Arc<FunctionRules>>,
    /// What the answers of a function are looked through for: other functions require it.
    sought: HashMap<FunctionName, Vec<Arc<Requirement>>>,
    has_slow_codes: bool,
}

/// The rules for one function.
#[derive(Debug, Clone)]
pub struct FunctionRules {
    /// Whether the function is there at all: else it is cut from documents, and refused if it is called.
    pub publish: bool,
    /// What its arguments may be before anybody asks what they mean.
    pub input: Arc<InputRules>,
    /// What is asked of its arguments.
    pub arguments: ArgumentRules,
    /// When it may be called.
    pub hours: Option<Arc<Hours>>,
    /// Who may call it.
    pub callers: Access,
    /// Which functions must have succeeded before, in this call.
    pub requires: Vec<Arc<Requirement>>,
    /// What the caller has to agree to.
    pub confirm: Option<Arc<Confirm>>,
    /// What the caller has to know.
    pub verify: Option<Arc<Verify>>,
    /// Which arguments must equal a fact of the call.
    pub pin: Vec<Pin>,
    /// Whether the same arguments pass at most once in a call.
    pub once: bool,
    /// How often it may be called, counted for this function alone.
    pub limits: Vec<LimitRule>,
    /// `insecure_unmediated`: the function stays in documents though it never reaches the gateway and other rules of its
    /// own can't be enforced.
    pub allows_unmediated: bool,
    /// What is said to a caller.
    pub say: Sentences,
    /// Arguments whose values are neither written down nor said.
    pub sensitive: SensitiveNames,
    /// Which rules are in shadow.
    pub shadow: Shadow,
    /// Where each key that is given stands, and what it says.
    pub given: Vec<Given>,
}

/// What is asked of a function's arguments.
#[derive(Debug, Clone)]
pub struct ArgumentRules {
    /// The policy's own schema.
    pub own: Option<Arc<Schema>>,
    /// Whether the schema that the agent published is enforced.
    pub learned: bool,
    /// Whether calls are refused of which that schema isn't known any more, or can't be told.
    pub denies_unknown: bool,
    /// What is forgiven.
    pub lenient: Leniencies,
}

/// Something that another function's answer must have held, in this call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Which function.
    pub function: FunctionName,
    /// Where in its answer: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What must be there, as JSON. Numbers are equal by value, objects in any order.
    pub equals: String,
}

/// What a caller has to agree to before a function is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm {
    /// What the model is told to ask.
    pub say: Template,
    /// With which words a caller agrees; `None`, by `insecure_model_only`: that the model asks again is enough.
    pub words: Option<Words>,
    /// How long the question stands.
    pub within: Duration,
}

/// A code that a caller has to know before a function is called.
#[derive(Debug, Clone)]
pub struct Verify {
    /// The argument that holds it.
    pub argument: String,
    /// With which arguments it is asked for; `None`: always.
    pub when: Option<Arc<Condition>>,
    /// What it is.
    pub code: Code,
    /// How many wrong ones there may be, for each call and for each caller; at least 1.
    pub attempts: u32,
    /// How long none is looked at after that many.
    pub lock: Duration,
}

/// An argument that must equal a fact of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The argument.
    pub argument: String,
    /// The fact.
    pub to: CallFact,
}

/// A fact of a call, as the platform tells it with each function call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFact {
    /// The caller's number, as far as it agrees with the token's.
    Caller,
    /// What lies in `global_data`, key by key.
    GlobalData(Vec<String>),
    /// What lies in `meta_data`, key by key.
    MetaData(Vec<String>),
}

/// A key that a file gives. Where `default` and the function itself have it, there are two.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The key.
    pub key: &'static str,
    /// Where it stands.
    pub place: Place,
    /// Whether it stands under `functions.default`.
    pub by_default: bool,
    /// Its value.
    pub value: serde_json::Value,
    /// A digest of the value: of the same the same.
    pub digest: [u8; 4],
    /// The same of each of its members.
    pub members: BTreeMap<String, [u8; 4]>,
}

// === impl Functions ===

impl Functions {
    /// These rules, and `default` for all others.
    pub fn new(default: FunctionRules, named: HashMap<FunctionName, Arc<FunctionRules>>) -> Self {
        let default = Arc::new(default);
        let mut sought: HashMap<FunctionName, Vec<Arc<Requirement>>> = HashMap::new();
        for requirement in named.values().chain([&default]).flat_map(|rules| &rules.requires) {
            let of_function = sought.entry(requirement.function.clone()).or_default();
            if !of_function.contains(requirement) {
                of_function.push(Arc::clone(requirement));
            }
        }
        let codes = named.values().chain([&default]).filter_map(|rules| rules.verify.as_ref());
        let has_slow_codes = codes.into_iter().any(|verify| verify.code.is_slow());
        Self { default, named, sought, has_slow_codes }
    }

    /// The rules for this function.
    pub fn rules(&self, name: &str) -> &Arc<FunctionRules> {
        self.named.get(name).unwrap_or(&self.default)
    }

    /// The rules for functions that the policy doesn't name.
    pub fn default_rules(&self) -> &Arc<FunctionRules> {
        &self.default
    }

    /// Whether a code takes long to check: then it is done where it is no harm.
    pub fn has_slow_codes(&self) -> bool {
        self.has_slow_codes
    }

    /// The same with all rules changed.
    #[must_use]
    pub fn with(&self, change: impl Fn(FunctionRules) -> FunctionRules) -> Self {
        let changed = |rules: &Arc<FunctionRules>| change(rules.as_ref().clone());
        let named = self.named.iter().map(|(name, rules)| (name.clone(), Arc::new(changed(rules)))).collect();
        Self::new(changed(&self.default), named)
    }

    /// The functions that the policy names.
    pub fn names(&self) -> impl Iterator<Item = &FunctionName> {
        self.named.keys()
    }

    /// Whether any of the rules changes what a document may hold.
    pub(crate) fn concern_documents(&self) -> bool {
        self.named.values().chain([&self.default]).any(|rules| !rules.publish || rules.needs_gateway())
    }

    /// Whether callers have to agree to any function in words of their own.
    pub(crate) fn ask_for_words(&self) -> bool {
        self.named.values().chain([&self.default]).any(|rules| rules.asks_for_words())
    }

    /// What the answers of this function are looked through for.
    pub fn sought_of(&self, name: &str) -> &[Arc<Requirement>] {
        self.sought.get(name).map_or(&[], Vec::as_slice)
    }
}

// === impl FunctionRules ===

impl FunctionRules {
    /// Where a key is given: by the function itself, and by `functions.default`.
    pub fn given(&self, key: &str) -> impl Iterator<Item = &Given> {
        let of_level = |by_default| self.given.iter().filter(move |given| given.by_default == by_default);
        of_level(false).chain(of_level(true)).filter(move |given| given.key == key)
    }

    /// A digest of what a key says, or what a key within it does: of the same the same, and zeros where no file has it.
    pub fn digest(&self, key: &str, within: Option<&str>) -> [u8; 4] {
        let given = self.given(key).next();
        let digest = given.and_then(|given| within.map_or(Some(&given.digest), |within| given.members.get(within)));
        digest.copied().unwrap_or_default()
    }

    /// Whether any of its rules can be enforced only where calls pass through the gateway.
    pub fn needs_gateway(&self) -> bool {
        self.arguments.own.is_some()
            || self.hours.is_some()
            || self.confirm.is_some()
            || self.verify.is_some()
            || !self.callers.is_empty()
            || !self.requires.is_empty()
            || !self.pin.is_empty()
            || self.once
            || !self.limits.is_empty()
    }

    /// Whether the caller has to agree in words of their own, which the gateway has to see.
    pub fn asks_for_words(&self) -> bool {
        self.confirm.as_ref().is_some_and(|confirm| confirm.words.is_some())
    }

    /// Whether this rule is in shadow.
    pub fn is_shadow(&self, rule: Rule) -> bool {
        self.shadow.has(rule)
    }
}

// === impl Given ===

impl Given {
    /// What a file has for a key, if it has something.
    pub(super) fn of(fields: &Fields<'_>, key: &'static str, by_default: bool) -> Option<Self> {
        let (place, value) = fields.look(key)?;
        let members = value.as_object().into_iter().flatten();
        let members = members.map(|(name, value)| (name.clone(), digest(value))).collect();
        Some(Self { key, place, by_default, digest: digest(&value), members, value })
    }
}

fn digest(value: &serde_json::Value) -> [u8; 4] {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(value.to_string()));
    [a, b, c, d]
}

// === impl Requirement ===

impl Requirement {
    /// What must be where, as `pointer=value`.
    pub fn told(&self) -> String {
        format!("{}={}", self.pointer, self.equals)
    }

    /// Whether an answer of the function meets it.
    pub fn is_met_by(&self, answer: &Node<'_>) -> bool {
        let wanted = crate::json::parse(self.equals.as_bytes());
        let found = answer.at_pointer(&self.pointer);
        wanted.is_ok_and(|wanted| found.is_some_and(|found| found.means(&wanted)))
    }
}

// === impl Pin ===

impl Pin {
    /// What must equal what, as `argument=fact`.
    pub fn told(&self) -> String {
        let Self { argument, to } = self;
        match to {
            CallFact::Caller => format!("{argument}=caller"),
            CallFact::GlobalData(path) => format!("{argument}=global_data.{}", path.join(".")),
            CallFact::MetaData(path) => format!("{argument}=meta_data.{}", path.join(".")),
        }
    }
}

// === impl CallFact ===

impl CallFact {
    /// The path in the body of a function call, but for [`CallFact::Caller`].
    pub(crate) fn find<'b>(&self, body: &'b Node<'b>) -> Option<&'b Node<'b>> {
        let (key, path) = match self {
            CallFact::Caller => return None,
            CallFact::GlobalData(path) => ("global_data", path),
            CallFact::MetaData(path) => ("meta_data", path),
        };
        path.iter().try_fold(body.get(key)?, |node, key| node.get(key))
    }
}
