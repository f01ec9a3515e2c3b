//! What holds for a function of an agent, and where each part of it comes from. Of secrets it shows where they are, as a
//! policy does.

use std::path::Path;

use serde_json::{Value, json};
use swaigate_core::{
    id::{AgentName, FunctionName},
    policy::{Agent, FunctionRules, Given},
    yaml::Place,
};

/// The keys of a function but for `say`, and what is built in where no file has them.
const KEYS: &[(&str, &str)] = &[
    ("publish", "true"),
    ("input", r#"{"max_bytes":"64KiB","max_depth":16,"control_characters":"deny"}"#),
    ("arguments", r#""learned""#),
    ("learned_schema", "\"enforce\""),
    ("unknown_schema", "\"allow\""),
    ("lenient", r#"["numeric_strings","integral_floats","boolean_strings","null_optionals"]"#),
    ("hours", "always"),
    ("callers", "all"),
    ("requires", "none"),
    ("confirm", "nothing"),
    ("verify", "nothing"),
    ("pin", "none"),
    ("once", "false"),
    ("limits", "none"),
    ("insecure_unmediated", "false"),
    ("sensitive", "none"),
    ("mode", "\"enforce\""),
    ("shadow", "none"),
];

/// The keys of an agent that hold for all of its functions together.
const OF_AGENT: &[(&str, &str)] = &[
    ("limits", "none"),
    ("callers", "{\"unidentified\":\"per_call\"}"),
    ("calls", "none"),
    ("sensitive", "none"),
    ("responses", "none"),
    ("destinations", "all"),
    ("verbs", "all"),
    ("egress", "all"),
    ("detect", "none"),
    ("mode", "\"enforce\""),
    ("shadow", "none"),
];

/// What holds for a function.
#[derive(Debug)]
pub struct Explanation {
    agent: AgentName,
    function: FunctionName,
    is_named: bool,
    /// Of the function, and of its agent.
    keys: [Vec<Key>; 2],
}

/// A key, and what holds for it.
#[derive(Debug)]
struct Key {
    name: String,
    /// As JSON, or in a word where nothing is.
    value: String,
    from: From,
}

/// Where something comes from.
#[derive(Debug, Clone, Copy)]
enum From {
    BuiltIn,
    Agent(Place),
    Default(Place),
    Function(Place),
}

// === impl Explanation ===

impl Explanation {
    /// What holds for a function of this agent.
    pub fn of(agent: &Agent, function: &FunctionName) -> Self {
        let rules = agent.functions.rules(function.as_str());
        let of_function = KEYS.iter().flat_map(|(key, built_in)| of_function(agent, rules, key, built_in));
        let said = rules.say.all();
        let sentences = said.iter().map(|(key, sentence)| said_by(agent, rules, key, sentence));
        let of_agent = OF_AGENT.iter().map(|(key, built_in)| of_agent(agent, key, built_in));
        Self {
            agent: agent.name.clone(),
            function: function.clone(),
            is_named: agent.functions.names().any(|name| name == function),
            keys: [of_function.chain(sentences).collect(), of_agent.collect()],
        }
    }

    /// For a terminal, of a policy in this file.
    pub fn text_by(&self, file: &Path) -> String {
        let Self { agent, function, is_named, keys: [of_function, of_agent] } = self;
        let mut text = format!("{function} of {agent}, by {}\n", file.display());
        if function.is_hook() {
            text.push_str("The platform calls it by itself, so none of the rules for functions holds.\n");
        } else if !is_named {
            text.push_str("The policy doesn't name it, so `functions.default` holds.\n");
        }
        let all = || of_function.iter().chain(of_agent);
        let names = all().map(|key| key.name.len()).max().unwrap_or_default();
        let places = all().map(|key| key.told(file).len()).max().unwrap_or_default();
        for (head, keys) in [("\n", of_function), ("\nfor all functions of the agent together\n", of_agent)] {
            text.push_str(head);
            for key in keys {
                let (name, place, value) = (&key.name, key.told(file), &key.value);
                text.push_str(&format!("  {name:<names$}  {place:<places$}  {value}\n"));
            }
        }
        text
    }

    /// For a program, of a policy in this file.
    pub fn json_by(&self, file: &Path) -> Value {
        let mut told = self.json();
        told["agent"] = self.agent.as_str().into();
        told["file"] = file.display().to_string().into();
        told["of_agent"] = self.json_of_agent();
        told
    }

    /// What holds for the function, for a program.
    pub fn json(&self) -> Value {
        let [of_function, _] = &self.keys;
        let keys: Vec<Value> = of_function.iter().map(Key::json).collect();
        json!({ "function": self.function.as_str(), "is_named": self.is_named, "keys": keys })
    }

    /// What holds for all functions of the agent together, for a program.
    pub fn json_of_agent(&self) -> Value {
        let [_, of_agent] = &self.keys;
        of_agent.iter().map(Key::json).collect()
    }
}

/// What holds for a key: what is nearest to the function. Sensitive names and rules in shadow add up.
fn of_function(agent: &Agent, rules: &FunctionRules, key: &str, built_in: &str) -> Vec<Key> {
    let given = rules.given(key).map(Key::of);
    let of_agent = agent.given.iter().filter(|given| given.key == key).map(Key::at_agent);
    let nothing = Key::new(key, built_in, From::BuiltIn);
    let mut found: Vec<Key> = match key {
        "sensitive" => given.chain(of_agent).chain([always_sensitive()]).collect(),
        "mode" => mode(given.chain(of_agent).collect()),
        "shadow" => given.collect(),
        _ => given.take(1).collect(),
    };
    if found.is_empty() {
        found.push(nothing);
    }
    found
}

/// What is in shadow anywhere is in shadow.
fn mode(mut given: Vec<Key>) -> Vec<Key> {
    let shadow = given.iter().position(|key| key.value == "\"shadow\"");
    let nearest = shadow.unwrap_or_default();
    if nearest < given.len() { vec![given.swap_remove(nearest)] } else { Vec::new() }
}

fn always_sensitive() -> Key {
    let names = json!(swaigate_core::sanitize::ALWAYS_SENSITIVE);
    Key::new("sensitive", &names.to_string(), From::BuiltIn)
}

/// A sentence, and the nearest file's key that says it.
fn said_by(agent: &Agent, rules: &FunctionRules, key: &str, sentence: &str) -> Key {
    let says = |given: &&Given| given.value.get(key).is_some();
    let by_function = rules.given("say").find(says).map(From::of_function);
    let by_agent = || agent.given.iter().filter(|given| given.key == "say").find(says);
    let from = by_function.or_else(|| by_agent().map(|given| From::Agent(given.place))).unwrap_or(From::BuiltIn);
    Key::new(&format!("say.{key}"), &json!(sentence).to_string(), from)
}

fn of_agent(agent: &Agent, key: &str, built_in: &str) -> Key {
    let given = agent.given.iter().find(|given| given.key == key);
    given.map_or_else(|| Key::new(key, built_in, From::BuiltIn), Key::at_agent)
}

// === impl Key ===

impl Key {
    fn new(name: &str, value: &str, from: From) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), from }
    }

    fn of(given: &Given) -> Self {
        Self::new(given.key, &given.value.to_string(), From::of_function(given))
    }

    fn told(&self, file: &Path) -> String {
        let at = |Place { line, column }| format!("{}:{line}:{column}", file.display());
        match self.from {
            From::BuiltIn => "built in".to_owned(),
            From::Agent(place) => at(place),
            From::Default(place) => format!("{} (functions.default)", at(place)),
            From::Function(place) => at(place),
        }
    }

    fn json(&self) -> Value {
        let (level, place) = match self.from {
            From::BuiltIn => ("built_in", None),
            From::Agent(place) => ("agent", Some(place)),
            From::Default(place) => ("default", Some(place)),
            From::Function(place) => ("function", Some(place)),
        };
        let value = serde_json::from_str(&self.value).unwrap_or(Value::Null);
        let mut told = json!({ "key": self.name, "value": value, "level": level });
        if let Some(Place { line, column }) = place {
            told["line"] = line.into();
            told["column"] = column.into();
        }
        told
    }

    fn at_agent(given: &Given) -> Self {
        Self::new(given.key, &given.value.to_string(), From::Agent(given.place))
    }
}

// === impl From ===

impl From {
    fn of_function(given: &Given) -> Self {
        if given.by_default { Self::Default(given.place) } else { Self::Function(given.place) }
    }
}
