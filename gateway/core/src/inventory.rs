//! What an agent's document holds, told to its operator: its functions and which of them a gateway can guard, the origins
//! of its URLs, and what in it is a weakness. `swaigate init` writes a policy from it, `swaigate doctor` judges by it.
//!
//! Whose a URL is, is asked of the same [`Policies`] as when documents leave. All names in it are the agent's words:
//! function names are of [`FunctionName`](crate::id::FunctionName)'s characters, everything else is made printable.

mod document;
mod draft;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

pub use draft::{AGENT_PASSWORD, AGENT_USER, Draft, PLATFORM_PASSWORD};

use crate::{json::Node, policy::Policies, record::Bypass};

/// What a document holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The functions that have a name, each once, in the order they stand.
    pub functions: Vec<Function>,
    /// How many definitions have no name that a function can have.
    pub nameless: usize,
    /// The origins of http URLs, `https://host:port`, with what stands there.
    pub origins: BTreeMap<String, Origin>,
    /// Whether the agent's own credentials stand in it.
    pub shows_credentials: bool,
    /// Where URLs of the agent cross a network in plain: origins.
    pub plain_http: BTreeSet<String>,
    /// Verbs that take a call's sound, words or caller elsewhere.
    pub verbs: BTreeSet<&'static str>,
    /// Whether it names MCP servers, whose functions the platform calls by itself.
    pub mcp_servers: bool,
    /// Whether it includes functions of other servers.
    pub includes: bool,
    /// How many SWML documents in strings can't be read.
    pub unreadable: usize,
}

/// A function.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// How the platform calls it.
    pub way: Way,
    /// The parameters it publishes, as lines of YAML; none, if it publishes none.
    pub parameters: Vec<String>,
}

/// How the platform calls a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// At a URL of the agent, so through a gateway.
    Agent {
        /// Path and query, as the document has them.
        target: String,
        /// The token in its query, in whichever of the SDKs' spellings.
        token: Option<String>,
    },
    /// Around any gateway.
    Around(Bypass),
    /// Not at all: it has no URL.
    Nowhere,
}

/// Where URLs point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whose it is.
    pub whose: Whose,
    /// What stands there: functions, or the keys of URLs.
    pub uses: BTreeSet<String>,
}

/// Whose an origin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The agent's, by its policy.
    Own,
    /// The agent's, by what it writes there: its own credentials, or its own endpoints. A policy names it as an alias.
    Alias,
    /// Someone else's.
    Foreign,
}

/// The verbs that an operator wants to know of, and why.
pub const WATCHED_VERBS: &[(&str, &str)] = &[
    ("connect", "connects the caller to another number"),
    ("join_conference", "puts the caller among others"),
    ("live_transcribe", "passes on what is said"),
    ("live_translate", "passes on what is said"),
    ("pay", "takes a payment"),
    ("record", "records what is said"),
    ("record_call", "records the call"),
    ("request", "asks a server, from the platform"),
    ("send_sms", "sends a message"),
    ("sip_refer", "sends the caller elsewhere"),
    ("stream", "passes on the call's sound"),
    ("tap", "passes on the call's sound"),
    ("transcribe", "passes on what is said"),
    ("transfer", "sends the caller elsewhere"),
];

// === impl Inventory ===

impl Inventory {
    /// Takes stock of a document that the first agent of `policies` wrote. `text` is what `root` was parsed from.
    pub fn of(text: &str, root: &Node<'_>, policies: &Policies) -> Self {
        document::take_stock(text, root, policies)
    }

    /// The functions that pass through a gateway and have no token of the agent's own.
    pub fn without_token(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().filter_map(|function| match function.way {
            Way::Agent { token: None, .. } => Some(function.name.as_str()),
            Way::Agent { token: Some(_), .. } | Way::Around(_) | Way::Nowhere => None,
        })
    }

    /// The functions that no gateway sees, with the reason.
    pub fn around(&self) -> impl Iterator<Item = (&str, Bypass)> {
        self.functions.iter().filter_map(|function| match function.way {
            Way::Around(how) => Some((function.name.as_str(), how)),
            Way::Agent { .. } | Way::Nowhere => None,
        })
    }

    /// The origins of this kind.
    pub fn origins_of(&self, whose: Whose) -> impl Iterator<Item = (&str, &Origin)> {
        self.origins
            .iter()
            .filter(move |(_, origin)| origin.whose == whose)
            .map(|(text, origin)| (text.as_str(), origin))
    }
}
