//! `tests/agents/examples.yaml`: every example, how it runs, and what is expected of it.

use std::{collections::BTreeMap, fmt, fs};

use serde::Deserialize;
use serde_json::Value;

use crate::harness::tests_path;

/// One file of the examples' folder: it runs, in one or more ways, or it says why it doesn't.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    pub(super) file: String,
    #[serde(default)]
    pub(super) runs: Vec<Run>,
    pub(super) left_out: Option<LeftOut>,
}

/// Why an example can't be behind a gateway.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeftOut {
    pub(super) why: String,
    /// What it prints when it is run; what proves the reason.
    pub(super) prints: String,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
}

/// A process of an example.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// Besides what `run_example.py` reads: keys of services, which are never asked.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    pub(super) agents: Vec<Served>,
}

/// An agent that a process serves.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Served {
    /// `match.path` of its policy.
    pub(super) path: String,
    /// More of its policy.
    #[serde(default)]
    pub(super) policy: String,
    /// Other addresses it takes for its own.
    #[serde(default)]
    pub(super) aliases: String,
    /// Where its documents are, behind the path; each is fetched.
    #[serde(default = "the_path_alone")]
    pub(super) documents: Vec<String>,
    /// Functions, of all its documents, of which there is something to say.
    #[serde(default)]
    pub(super) tools: BTreeMap<String, Tool>,
    /// What the audit record says of its documents: what, and how.
    #[serde(default)]
    pub(super) not_mediated: BTreeMap<String, String>,
    /// Keys under which URLs of others stand that are no way around the gateway, such as files.
    #[serde(default)]
    pub(super) foreign: Vec<String>,
    /// The status of all its answers, and why, when it is broken in itself.
    pub(super) broken: Option<Broken>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Broken {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) why: String,
}

/// What is special about calling a function.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tool {
    /// Arguments in place of those that are made from its parameters.
    pub(super) arguments: Option<Value>,
    /// The host it asks, which nobody reaches here: what it says then is compared.
    pub(super) asks: Option<String>,
    /// Why two answers are never the same; then only their form is compared.
    pub(super) varies: Option<String>,
    /// Why the agent itself answers no call of it.
    pub(super) refused: Option<String>,
}

// === impl Tool ===

impl Tool {
    /// Of a function of which there is nothing to say.
    pub(super) const EMPTY: Self = Self { arguments: None, asks: None, varies: None, refused: None };
}

impl fmt::Display for Tool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arguments: _, asks, varies, refused } = self;
        let notes = [("without", asks), ("in form, since", varies), ("refused, since", refused)];
        let mut notes = notes.iter().filter_map(|(what, why)| Some((what, why.as_ref()?)));
        notes.try_for_each(|(what, why)| write!(out, " ({what} {why})"))
    }
}

fn the_path_alone() -> Vec<String> {
    vec![String::new()]
}

/// The table.
pub(super) fn read() -> Vec<Example> {
    let path = tests_path("agents/examples.yaml");
    let text = fs::read_to_string(&path).expect("the table is there");
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
