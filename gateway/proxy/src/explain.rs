//! `swaigate explain`: what holds for one function, and where each part of it comes from.
//!
//! It needs no secret: a policy names where secrets are, and that is all that is shown of them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use swaigate_core::{
    id::{AgentName, FunctionName},
    policy::{Agent, FunctionRules, Given},
    yaml::Place,
};

use crate::{rehearsal::StandIns, reload, run, settings};

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

/// What the command line says.
#[derive(Debug, Args)]
pub struct Explain {
    /// The file that `run` is given
    #[arg(long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
    /// The agent
    #[arg(value_name = "AGENT")]
    agent: AgentName,
    /// The function
    #[arg(value_name = "FUNCTION")]
    function: FunctionName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What holds for a function.
#[derive(Debug)]
pub struct Explanation {
    agent: AgentName,
    function: FunctionName,
    file: PathBuf,
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

// === impl Explain ===

impl Explain {
    /// Prints what holds.
    ///
    /// # Errors
    /// All mistakes in the files; that there is no such agent.
    pub fn run(&self) -> anyhow::Result<()> {
        let secrets = StandIns::default();
        let settings = settings::load_with(&self.config, &secrets).map_err(|mistakes| reload::told(&mistakes))?;
        let agents = settings::load_policies_with(&settings, &secrets, &run::seed()?);
        let agents = agents.map_err(|mistakes| reload::told(&mistakes))?;
        let found = agents.iter().find(|(_, agent)| agent.name == self.agent);
        let (file, agent) = found.with_context(|| {
            let names: Vec<_> = agents.iter().map(|(_, agent)| agent.name.as_str()).collect();
            format!("there is no agent `{}`; there are {}", self.agent, names.join(", "))
        })?;
        let explanation = Explanation::of(agent, &self.function, file);
        if self.json {
            println!("{:#}", explanation.json());
        } else {
            print!("{}", explanation.text());
        }
        Ok(())
    }
}

// === impl Explanation ===

impl Explanation {
    /// What holds for a function of this agent, whose policy is in this file.
    pub fn of(agent: &Agent, function: &FunctionName, file: &Path) -> Self {
        let rules = agent.functions.rules(function.as_str());
        let of_function = KEYS.iter().flat_map(|(key, built_in)| of_function(agent, rules, key, built_in));
        let said = rules.say.all();
        let sentences = said.iter().map(|(key, sentence)| said_by(agent, rules, key, sentence));
        let of_agent = OF_AGENT.iter().map(|(key, built_in)| of_agent(agent, key, built_in));
        Self {
            agent: agent.name.clone(),
            function: function.clone(),
            file: file.to_owned(),
            is_named: agent.functions.names().any(|name| name == function),
            keys: [of_function.chain(sentences).collect(), of_agent.collect()],
        }
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let Self { agent, function, file, is_named, keys: [of_function, of_agent] } = self;
        let mut text = format!("{function} of {agent}, by {}\n", file.display());
        if function.is_hook() {
            text.push_str("The platform calls it by itself, so none of the rules for functions holds.\n");
        } else if !is_named {
            text.push_str("The policy doesn't name it, so `functions.default` holds.\n");
        }
        let all = || of_function.iter().chain(of_agent);
        let names = all().map(|key| key.name.len()).max().unwrap_or_default();
        let places = all().map(|key| self.told(key).len()).max().unwrap_or_default();
        for (head, keys) in [("\n", of_function), ("\nfor all functions of the agent together\n", of_agent)] {
            text.push_str(head);
            for key in keys {
                let (name, place, value) = (&key.name, self.told(key), &key.value);
                text.push_str(&format!("  {name:<names$}  {place:<places$}  {value}\n"));
            }
        }
        text
    }

    /// For a program.
    pub fn json(&self) -> Value {
        let Self { agent, function, file, is_named, keys } = self;
        let [of_function, of_agent] = keys.each_ref().map(|keys| keys.iter().map(|key| self.as_json(key)).collect());
        let [of_function, of_agent]: [Vec<Value>; 2] = [of_function, of_agent];
        json!({ "agent": agent.as_str(), "function": function.as_str(), "file": file.display().to_string(),
            "is_named": is_named, "keys": of_function, "of_agent": of_agent })
    }

    fn told(&self, key: &Key) -> String {
        let at = |Place { line, column }| format!("{}:{line}:{column}", self.file.display());
        match key.from {
            From::BuiltIn => "built in".to_owned(),
            From::Agent(place) => at(place),
            From::Default(place) => format!("{} (functions.default)", at(place)),
            From::Function(place) => at(place),
        }
    }

    fn as_json(&self, key: &Key) -> Value {
        let (level, place) = match key.from {
            From::BuiltIn => ("built_in", None),
            From::Agent(place) => ("agent", Some(place)),
            From::Default(place) => ("default", Some(place)),
            From::Function(place) => ("function", Some(place)),
        };
        let value = serde_json::from_str(&key.value).unwrap_or(Value::Null);
        let mut told = json!({ "key": key.name, "value": value, "level": level });
        if let Some(Place { line, column }) = place {
            told["line"] = line.into();
            told["column"] = column.into();
        }
        told
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
