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
mod ownership;
mod servers;
mod shadow;
mod template;
mod tls;
pub(crate) mod unescape;

use std::{collections::HashSet, sync::Arc, time::Duration};

pub use compile::{
    InvalidOrigin, Secrets, certificates, compile, compile_for_upstream, compile_for_upstream_with, default_policy,
    identity, keys_of, secret_in_env, secret_in_file,
};
pub use detect::{Action, Detector, Observed, Watch};
pub use documents::{Destinations, Egress, HostPattern, PromptRules, PromptSection, ResponseRules, VerbRules};
pub use exposed::{Authentication, Expose, Exposed, ExposedPath};
pub use functions::{ArgumentRules, CallFact, Confirm, FunctionRules, Functions, Given, Pin, Requirement, Verify};
pub use leaks::{Leak, Screen};
pub use ownership::Owned;
pub use servers::{BreakerRules, Ejection, HealthCheck, Server};
pub use shadow::Shadow;
pub use template::{NotATemplate, Template};
pub use tls::{Certificate, Identity, UpstreamTls};

use crate::{
    basic::Users,
    id::AgentName,
    keys::{KeyRing, MacKey},
    origin::Authority,
    pattern::Access,
    record::Rule,
    sanitize::SensitiveNames,
    schema::Catalogue,
    secret::Secret,
    signature::SigningKey,
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

/// Where an agent really is, and how it is asked.
#[derive(Debug)]
pub struct Upstream {
    /// Whether it speaks TLS.
    pub https: bool,
    /// The name or address by which it is asked, without brackets: in `Host`, and in URLs that it makes of that.
    pub host: String,
    /// The port that belongs to it.
    pub port: u16,
    /// Where its requests are sent; at least one. If the file lists none, that is [`Upstream::host`] itself.
    pub servers: Vec<Server>,
    /// How they are asked whether they are well, if they are.
    pub health: Option<HealthCheck>,
    /// Which of them gets no requests for a while.
    pub eject: Ejection,
    /// When none of them does, if ever.
    pub breaker: Option<BreakerRules>,
    /// How many requests may be under way at it, on all servers together.
    pub max_in_flight: u32,
    /// What stands for [`Agent::path`] on the agent: equal to it unless `upstream.url` has a path.
    pub path: String,
    /// The credentials that the agent itself asks for.
    pub credentials: Option<UpstreamCredentials>,
    /// Other origins under which the agent writes its own URLs.
    pub aliases: Vec<Authority>,
    /// How long to wait for it.
    pub timeouts: Timeouts,
    /// How requests are signed for it, if it checks that.
    pub signing: Option<UpstreamSigning>,
    /// How it is asked by TLS, where it is.
    pub tls: UpstreamTls,
}

/// How requests are signed for an agent.
#[derive(Debug)]
pub struct UpstreamSigning {
    /// With which key.
    pub key: SigningKey,
    /// What the agent takes its own URL to begin with, if that isn't [`Upstream::origin`]; without a slash at its end.
    pub base: Option<String>,
}

/// What the agent asks for, and what must never be seen outside.
#[derive(Debug)]
pub struct UpstreamCredentials {
    /// The `Authorization` header for the agent.
    pub header: Secret,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// How long the gateway waits for an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the answer, before the caller is told that it takes longer than expected. The platform gives up after
    /// 120 s (PROTOCOL.md, 4.5), so this is less.
    pub answer: Duration,
    /// For the whole exchange, also after the caller was told.
    pub exchange: Duration,
}

/// Who may talk to an agent through the gateway.
#[derive(Debug)]
pub struct Platform {
    /// The users and their passwords.
    pub users: Users,
    /// Whether one of them is the user whose password was made at start.
    pub uses_generated_password: bool,
    /// What stands in the URLs of documents.
    pub url_credentials: UrlCredentials,
    /// Which requests have to be signed, if any key is known.
    pub signing: Option<Signing>,
}

/// What is asked of the platform's signatures. One that is there is checked, wherever that is.
#[derive(Debug)]
pub struct Signing {
    /// Who may have signed.
    pub keys: Vec<SigningKey>,
    /// What has to be signed.
    pub required: Required,
    /// `insecure_unsigned_get`: documents may be fetched by GET, which can't be signed, though signatures are required.
    pub allows_get: bool,
}

/// Which requests have to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// Those that fetch documents: the platform signs no others (PROTOCOL.md, 7).
    Swml,
    /// Every POST of the platform's.
    All,
    /// None.
    Nothing,
}

/// The credentials in rewritten URLs.
#[derive(Debug)]
pub enum UrlCredentials {
    /// Made for the document: good for its call and its kind of URL only.
    PerCall,
    /// `insecure_static_url_credentials`: the first user's own, `user:password`, percent-encoded.
    Static(Secret),
}

/// How long tokens live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRules {
    /// For tools, and for SWML of the same call. A call may last 14,400 s.
    pub lifetime: Duration,
    /// The same for conversations of AI chat, which fetch their document but once.
    pub chat_lifetime: Duration,
    /// How much longer hooks, summaries and callbacks are accepted, which come after the call's end.
    pub grace: Duration,
    /// How long a call's functions and documents go on being served after its end was heard of.
    pub ended_grace: Duration,
    /// What becomes of documents that were fetched without a call id.
    pub unbound: Unbound,
}

/// What becomes of the tokens of a document that was fetched without a call id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbound {
    /// The first call that uses one, within this time of its issue, owns the whole document.
    Bind(Duration),
    /// They are refused.
    Deny,
}

/// What a caller without a number of its own (withheld, SIP, WebRTC) is limited by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnidentifiedCallers {
    /// By the limits per call alone.
    PerCall,
    /// All of them together as if they were one caller.
    Shared,
}

/// How many calls there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRules {
    /// How many may begin.
    pub limits: Vec<LimitRule>,
    /// How many a caller may have at once.
    pub concurrent_per_caller: Option<u32>,
    /// How many there may be at once.
    pub concurrent: Option<u32>,
    /// After how long without a request a call is over, for `concurrent` and `concurrent_per_caller`.
    pub idle: Duration,
    /// How long a call may last, as its document asks the platform to end it then.
    pub max_duration: Option<Duration>,
}

/// A limit: GCRA with a burst of `burst` and one more each `every / allow`.
///
/// In any window `w` it lets through at most `burst + w * allow / every`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Whose requests are counted together.
    pub per: Per,
    /// How many in [`Limit::every`]; at least 1.
    pub allow: u32,
    /// In how long; at least 1 ms.
    pub every: Duration,
    /// How many at once; at least 1, `allow` unless the file says otherwise.
    pub burst: u32,
}

/// A limit, enforced or tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRule {
    /// The limit.
    pub limit: Limit,
    /// Whether it is in shadow: it counts, and refuses nothing.
    pub is_shadow: bool,
}

/// Whose requests a limit counts together: those that are equal in all of these. In none: all of the agent's.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Per {
    /// The remote party.
    pub caller: bool,
    /// The call.
    pub call: bool,
    /// The function.
    pub function: bool,
    /// The source address: an IPv4 address, or the first 64 bits of an IPv6 address.
    pub address: bool,
}

/// What is said to a caller in place of the agent's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentences {
    /// A limit is reached.
    pub limited: String,
    /// The function isn't there, or an emergency switch is on.
    pub disabled: String,
    /// It is out of hours.
    pub closed: String,
    /// It isn't for this caller.
    pub caller: String,
    /// An argument is wrong; `{argument}` stands for its name.
    pub argument: String,
    /// Another function must have succeeded before.
    pub precondition: String,
    /// The same was done already.
    pub repeated: String,
    /// A code is missing or wrong.
    pub code: String,
    /// Too many wrong codes were given.
    pub locked: String,
    /// The caller, or all callers, have too many calls.
    pub busy: String,
    /// The agent tried what its policy doesn't allow.
    pub denied: String,
    /// The call has lasted longer than its tokens live.
    pub expired: String,
    /// The call has ended.
    pub ended: String,
    /// The agent takes longer than [`Timeouts::answer`].
    pub slow: String,
    /// The agent has as much to do as it may have at once.
    pub hold: String,
    /// The agent doesn't answer, or not with what the gateway can vouch for.
    pub unavailable: String,
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

// === impl Per ===

impl Per {
    /// Each caller's.
    pub const CALLER: Self = Self { caller: true, call: false, function: false, address: false };
    /// Each call's.
    pub const CALL: Self = Self { caller: false, call: true, function: false, address: false };
    /// Each address's.
    pub const ADDRESS: Self = Self { caller: false, call: false, function: false, address: true };

    /// Its parts as policies name them: `agent`, if there is none.
    pub fn names(self) -> Vec<&'static str> {
        let Self { caller, call, function, address } = self;
        let parts = [(caller, "caller"), (call, "call"), (function, "function"), (address, "address")];
        let named: Vec<_> = parts.into_iter().filter(|(is_part, _)| *is_part).map(|(_, name)| name).collect();
        if named.is_empty() { vec!["agent"] } else { named }
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
}

impl Agent {
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

impl Upstream {
    /// `host:port`, or the host alone for the scheme's default port: the `Host` header.
    pub fn host_header(&self) -> String {
        let host = servers::bracketed(&self.host);
        let default = if self.https { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }

    /// `http://host:port`, without a slash at its end.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.host_header())
    }
}

impl Sentences {
    /// All of them, by their keys.
    pub fn all(&self) -> [(&'static str, &str); 15] {
        [
            ("limited", &self.limited),
            ("disabled", &self.disabled),
            ("closed", &self.closed),
            ("caller", &self.caller),
            ("argument", &self.argument),
            ("precondition", &self.precondition),
            ("repeated", &self.repeated),
            ("code", &self.code),
            ("locked", &self.locked),
            ("busy", &self.busy),
            ("expired", &self.expired),
            ("ended", &self.ended),
            ("slow", &self.slow),
            ("hold", &self.hold),
            ("unavailable", &self.unavailable),
        ]
    }
}

impl Default for Sentences {
    fn default() -> Self {
        Self {
            limited: "You've made too many requests. Please wait a moment.".into(),
            disabled: "This service is temporarily unavailable.".into(),
            closed: "That isn't available at this time. Please try again during opening hours.".into(),
            caller: "I'm sorry, that isn't available for this caller.".into(),
            argument: "That didn't work: please ask the caller for {argument} again.".into(),
            precondition: "That isn't possible yet: another step has to be completed first.".into(),
            repeated: "That has already been done in this call.".into(),
            code: "Please ask the caller for their verification code, and try again with it.".into(),
            locked: "Too many wrong codes were given. Please try again later.".into(),
            busy: "All lines are busy. Please call again later.".into(),
            denied: "I'm sorry, I can't do that.".into(),
            expired: "This call has gone on for too long. Please call again.".into(),
            ended: "This call has ended. Please call again.".into(),
            slow: "That is taking longer than expected. Please ask again in a moment.".into(),
            hold: "Please hold: there is a lot to do right now. Please ask again in a moment.".into(),
            unavailable: "This service is temporarily unavailable. Please try again later.".into(),
        }
    }
}

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(14_400),
            chat_lifetime: Duration::from_secs(86_400),
            grace: Duration::from_secs(900),
            ended_grace: Duration::from_secs(60),
            unbound: Unbound::Bind(Duration::from_secs(300)),
        }
    }
}

impl Default for CallRules {
    fn default() -> Self {
        Self {
            limits: Vec::new(),
            concurrent_per_caller: None,
            concurrent: None,
            idle: Duration::from_secs(3600),
            max_duration: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(110), exchange: Duration::from_secs(300) }
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
