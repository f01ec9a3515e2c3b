//! What is allowed, compiled: every duration, size, host and name is resolved when a file is loaded.
//!
//! [`compile`] turns one agent's YAML file into an [`Agent`], or into all of its mistakes. [`Policies`] is the whole set:
//! the agents, the keys and the public URL. A request holds one set from its start to its end.

mod compile;
mod detect;
mod documents;
mod exposed;
mod functions;
mod leaks;
mod limits;
mod ownership;
mod platform;
mod sentences;
mod servers;
mod shadow;
mod template;
mod tls;
mod tokens;
pub(crate) mod unescape;
mod upstream;

use std::{collections::HashSet, sync::Arc};

pub use compile::{
    InvalidOrigin, Secrets, certificates, compile, compile_for_upstream, compile_for_upstream_with, default_policy,
    identity, keys_of, secret_in_env, secret_in_file,
};
pub use detect::{Action, Detector, Observed, Watch};
pub use documents::{Destinations, Egress, HostPattern, PromptRules, PromptSection, ResponseRules, VerbRules};
pub use exposed::{Authentication, Expose, Exposed, ExposedPath};
pub use functions::{ArgumentRules, CallFact, Confirm, FunctionRules, Functions, Given, Pin, Requirement, Verify};
pub use leaks::{Leak, Screen};
pub use limits::{CallRules, Limit, LimitRule, Per, UnidentifiedCallers};
pub use ownership::Owned;
pub use platform::{Platform, Required, Signing, UrlCredentials};
pub use sentences::Sentences;
pub use servers::{BreakerRules, Ejection, HealthCheck, Server};
pub use shadow::Shadow;
pub use template::{NotATemplate, Template};
pub use tls::{Certificate, Identity, UpstreamTls};
pub use tokens::{TokenRules, Unbound};
pub use upstream::{Timeouts, Upstream, UpstreamCredentials, UpstreamSigning};

use crate::{
    id::AgentName,
    keys::{KeyRing, MacKey},
    origin::Authority,
    pattern::Access,
    record::Rule,
    sanitize::SensitiveNames,
    schema::Catalogue,
    secret::Secret,
};

/// How many schemas that agents published are remembered.
const MAX_SCHEMAS: usize = 10_000;

/// And how many bytes of JSON they have together.
const MAX_SCHEMA_BYTES: usize = 16 << 20;

/// Everything a decision reads that is the same for all requests until the next reload.
#[derive(Debug)]
pub struct Policies {
    public: PublicUrl,
    agents: Vec<Arc<Agent>>,
    keys: KeyRing,
    owned: ownership::Owners,
    leaks: leaks::Leaks,
    schemas: Arc<Catalogue>,
}

/// Where the platform reaches the gateway: every rewritten URL starts here. It has no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// Whether the scheme is https.
    pub https: bool,
    /// Host and, if it isn't the scheme's default, port.
    pub authority: Authority,
}

/// One protected agent and the rules for it.
#[derive(Debug)]
pub struct Agent {
    /// Its name: in metrics, audit records and MACs.
    pub name: AgentName,
    /// The public path under which it lives: empty for `/`, else like `/bank`, without a slash at its end.
    pub path: String,
    /// The only host for which it answers, lower case and without port; `None`: any.
    pub host: Option<String>,
    /// Where it really is.
    pub upstream: Upstream,
    /// Who may talk to it.
    pub platform: Platform,
    /// How long tokens live.
    pub tokens: TokenRules,
    /// What callers without a number of their own are limited by.
    pub unidentified_callers: UnidentifiedCallers,
    /// Who may call.
    pub callers: Access,
    /// The limits on function calls and, counted apart, on SWML fetches.
    pub limits: Vec<LimitRule>,
    /// How many calls there may be.
    pub calls: CallRules,
    /// What is said to a caller.
    pub say: Sentences,
    /// Arguments whose values are not written down.
    pub sensitive: SensitiveNames,
    /// Paths below [`Agent::path`] at which documents are fetched besides it, without a slash at their end.
    pub routing_callbacks: Vec<String>,
    /// What else of the agent is reachable.
    pub expose: Expose,
    /// The largest bodies, in bytes.
    pub bodies: BodyLimits,
    /// What single functions may be called for, by whom and when.
    pub functions: Functions,
    /// What is done to the answers of its functions.
    pub responses: ResponseRules,
    /// What is added to prompts.
    pub prompt: PromptRules,
    /// Which verbs its documents may use.
    pub verbs: VerbRules,
    /// Where they may send calls and messages.
    pub destinations: Destinations,
    /// Which hosts they may make the platform ask.
    pub egress: Egress,
    /// What is unusual.
    pub detect: Vec<Arc<Detector>>,
    /// Which of the agent's rules are in shadow.
    pub shadow: Shadow,
    /// Where the keys stand that hold for all of its functions, and what they say.
    pub given: Vec<Given>,
}

/// The largest bodies that are read, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Of a SWML fetch or a function call.
    pub request: usize,
    /// Of a summary or another callback, which can be megabytes.
    pub callback: usize,
    /// Of the agent's answer.
    pub response: usize,
}

/// What is needed besides a file to compile it.
#[derive(Debug)]
pub struct Seed {
    /// Made anew at each start: for digests of credentials that never leave the process.
    pub process_key: MacKey,
    /// The password of user `signalwire` where no user is configured; made at start.
    pub generated_password: Secret,
}

/// The user name where none is configured, as in the SDKs.
pub const DEFAULT_USER: &str = "signalwire";

// === impl Policies ===

impl Policies {
    /// All agents together.
    ///
    /// # Errors
    /// A sentence for each pair of agents that can't be told apart.
    pub fn new(public: PublicUrl, agents: Vec<Agent>, keys: KeyRing) -> Result<Self, Vec<String>> {
        let agents: Vec<Arc<Agent>> = agents.into_iter().map(Arc::new).collect();
        let mut mistakes = Vec::new();
        let (mut names, mut places) = (HashSet::new(), HashSet::new());
        for agent in &agents {
            let Agent { name, path, host, .. } = agent.as_ref();
            if !names.insert(name) {
                mistakes.push(format!("two policy files are for an agent `{name}`"));
            }
            if !places.insert((host, path)) {
                mistakes.push(format!("agent `{name}`: another agent has the same `match`"));
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let owned = ownership::Owners::new(&public, &agents);
        let credentials = agents.iter().filter_map(|agent| agent.upstream.credentials.as_ref());
        let leaks = leaks::Leaks::of(credentials)
            .map_err(|error| vec![format!("the agents' credentials can't be looked for in what leaves: {error}")])?;
        let schemas = Arc::new(Catalogue::new(MAX_SCHEMAS, MAX_SCHEMA_BYTES));
        let policies = Self { public, agents, keys, owned, leaks, schemas };
        let shown: Vec<String> = policies.agents.iter().filter_map(|agent| policies.shown_secret(agent)).collect();
        if shown.is_empty() { Ok(policies) } else { Err(shown) }
    }

    /// Why an agent's documents could never leave, if so: each would hold an agent's own credentials.
    fn shown_secret(&self, agent: &Agent) -> Option<String> {
        let UrlCredentials::Static(userinfo) = &agent.platform.url_credentials else { return None };
        let shown = userinfo.expose_str().is_some_and(|userinfo| self.leak(&format!("{userinfo}@")));
        let name = &agent.name;
        shown.then(|| {
            format!("agent `{name}`: `insecure_static_url_credentials` would show a password that an agent has")
        })
    }

    /// The same, with what agents published under the policies of before.
    pub fn with_schemas_of(self, before: &Policies) -> Self {
        Self { schemas: Arc::clone(&before.schemas), ..self }
    }

    /// The schemas that agents published.
    pub fn schemas(&self) -> &Catalogue {
        &self.schemas
    }

    /// Where the platform reaches the gateway.
    pub fn public(&self) -> &PublicUrl {
        &self.public
    }

    /// Where the URLs of this agent start: at the public URL, or under the only host for which it answers.
    pub fn origin_of(&self, agent: &Agent) -> PublicUrl {
        let mut origin = self.public.clone();
        if let Some(host) = &agent.host {
            origin.authority.host.clone_from(host);
        }
        origin
    }

    /// The agents.
    pub fn agents(&self) -> &[Arc<Agent>] {
        &self.agents
    }

    /// The agent of that name.
    pub fn agent(&self, name: &AgentName) -> Option<&Arc<Agent>> {
        self.agents.iter().find(|agent| agent.name == *name)
    }

    /// The keys in force.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Whose URL this is, if it is a protected agent's. `writer` is the agent that wrote it.
    pub fn owner(&self, authority: &Authority, path: &str, writer: &Agent) -> Option<Owned> {
        self.owned.find(&self.agents, authority, path, writer)
    }

    /// Whether this is the gateway's own host and port, also where no agent lives at a path.
    pub fn is_public(&self, authority: &Authority) -> bool {
        self.owned.is_public(authority)
    }

    /// Whether a text holds an agent's credentials, in one of the spellings that documents use: as they are, in
    /// base64, escaped as JSON or percent-encoded, also several times over.
    pub fn leak(&self, text: &str) -> bool {
        self.leaks.is_in(text)
    }

    /// Looks for the same credentials in an answer that passes piece by piece, where nothing is decoded.
    pub fn screen(&self) -> Screen<'_> {
        self.leaks.screen()
    }
}

// === impl PublicUrl ===

impl PublicUrl {
    /// `https://host:port`, without a slash at its end.
    pub fn origin(&self) -> String {
        self.with_userinfo("")
    }

    /// The origin with `user:password@` in it; nothing for an empty one.
    pub fn with_userinfo(&self, userinfo: &str) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let at = if userinfo.is_empty() { "" } else { "@" };
        let authority = &self.authority;
        format!("{scheme}://{userinfo}{at}{authority}")
    }
}

// === impl Agent ===

impl Agent {
    /// What of a public path lies below this agent: `Some("")` for its own path, `Some("/swaig")`, or `None`.
    pub fn strip_path<'p>(&self, path: &'p str) -> Option<&'p str> {
        below(&self.path, path)
    }

    /// The rule of `detect` of this name.
    pub fn detector(&self, name: &str) -> Option<&Arc<Detector>> {
        self.detect.iter().find(|detector| *detector.watch.name == *name)
    }

    /// Whether this rule for the whole agent is in shadow.
    pub fn is_shadow(&self, rule: Rule) -> bool {
        self.shadow.has(rule)
    }

    /// Whether it has a rule for what its documents and answers do, beyond their URLs.
    pub(crate) fn has_rules_for_words(&self) -> bool {
        let has_verbs = !self.verbs.deny.is_empty() || !self.verbs.cut.is_empty();
        let has_words = has_verbs || !self.prompt.append.is_empty() || self.calls.max_duration.is_some();
        let has_places = !self.destinations.access.is_empty();
        has_words || has_places || self.egress.allow.is_some() || self.functions.concern_documents()
    }

    /// The agent's own path for what lies below its public one.
    pub(crate) fn upstream_path(&self, below: &str) -> String {
        ownership::upstream_path(self, below)
    }
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { request: 1 << 20, callback: 16 << 20, response: 4 << 20 }
    }
}

/// What of a path lies below a base, at a segment's border.
fn below<'p>(base: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}
