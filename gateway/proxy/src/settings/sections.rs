//! `gateway.yaml` as a whole, and its small sections, each read into its struct.

use std::{
    net::SocketAddr,
    num::NonZero,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use swaigate_core::{
    lockout,
    policy::{PublicUrl, Secrets},
    yaml::{Field, Fields},
};
use tracing::Level;

use super::{
    Settings,
    admin::{Admin, admin},
    audit::{Audit, audit},
    fallbacks,
    listen::{Listener, Place, listeners},
    peers::{Access, Peers, peers},
    token_keys::token_keys,
};

/// Memory that is shared by all requests.
const BYTES: RangeInclusive<usize> = 64 << 10..=64 << 30;

/// How many listeners, and how many keys, there may be.
pub(super) const MAX_LISTED: usize = 16;

pub(super) const MOMENT: Duration = Duration::from_millis(10);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// State kept in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedState {
    /// The folder of what outlives a restart.
    pub path: PathBuf,
    /// How many rate cells are kept, 16 to 10,000,000. Beyond it the idlest go first.
    pub max_cells: usize,
    /// How many calls are remembered until their tokens die, 16 to 10,000,000. Beyond it the first go first.
    pub max_calls: usize,
    /// How many facts of calls are remembered, for rules that ask for them, 16 to 10,000,000.
    pub max_facts: usize,
    /// How many subjects and events detection remembers, 16 to 10,000,000.
    pub max_watched: usize,
    /// How many requests that may be sent again are under way or answered, 16 to 10,000,000.
    pub max_answers: usize,
    /// The bytes of these answers, 64 KiB to 64 GiB.
    pub max_answer_bytes: usize,
}

/// How wrong credentials are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedAuthentication {
    /// How the wait of an address grows.
    pub rules: lockout::Rules,
    /// How many addresses are remembered, 16 to 10,000,000.
    pub max_addresses: usize,
}

/// Limits on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// How many may be open at once, 1 to 1,000,000.
    pub max: usize,
    /// How many of one address may be, 1 to 1,000,000; at most as many as in all.
    pub max_per_address: usize,
    /// How long the whole head of a request may take, 10 ms to 5 min.
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests, 1 s to 1 h, in whole seconds.
    pub keepalive: Duration,
    /// How many bytes a head may have, its target, names and values together, 1 KiB to 256 KiB.
    pub max_head: usize,
    /// How many header fields, 8 to 256: Pingora reads no more.
    pub max_headers: usize,
}

/// Limits on bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bodies {
    /// How many bytes all bodies in flight in the process may have together, 64 KiB to 64 GiB.
    pub budget: usize,
    /// How long one may take to arrive, or an answer to be taken, 10 ms to 10 min.
    pub timeout: Duration,
    /// How many bytes of one have to come each second, on average, up to 1 GiB; 0: any.
    pub min_rate: usize,
}

/// The program's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// What is logged: this and everything worse.
    pub level: Level,
    /// How it is written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How the process stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// How long it still accepts requests after it said that it isn't ready, up to 10 min.
    pub delay: Duration,
    /// How long requests under way may take to end after that, up to 1 h.
    pub drain: Duration,
}

/// HTTP Strict Transport Security (RFC 6797).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// For how long a browser asks by https only, up to 2 years; nothing: from now on no longer.
    pub max_age: Duration,
    /// Whether that holds for all hosts below this one, too.
    pub include_subdomains: bool,
}

/// The whole file. `None` also after a mistake.
pub(super) fn settings(fields: &mut Fields<'_>, folder: &Path, secrets: &dyn Secrets) -> Option<Settings> {
    let public_url = fields.take("public_url");
    let listen = listeners(fields.take("listen").required(), folder, secrets);
    let trusted_proxies = peers(fields.take("trusted_proxies"));
    let admin = fields.take("admin").section(|fields| admin(fields, &listen, (folder, secrets)));
    let public_url = public(public_url, &listen, secrets);
    let policies = path(fields.take("policies"), folder, "policies");
    let token_keys = token_keys(fields.take("token_keys"), secrets);
    let state = fields.take("state").section(|fields| state(fields, folder));
    let audit = fields.take("audit").section(|fields| audit(fields, folder));
    Some(Settings {
        policies,
        token_keys,
        state,
        failed_authentication: fields.take("failed_authentication").section(failed_authentication),
        audit,
        threads: count(fields.take("threads"), 1..=1024, default_threads()),
        connections: fields.take("connections").section(connections),
        bodies: fields.take("bodies").section(bodies),
        log: fields.take("log").section(log),
        shutdown: fields.take("shutdown").section(shutdown),
        hsts: fields.take("hsts").section(hsts),
        file: None,
        notes: Vec::new(),
        certificates: Vec::new(),
        private_keys: Vec::new(),
        public_url: public_url?,
        listen,
        trusted_proxies,
        admin,
    })
}

/// The settings without a file. They are those of an empty one, as a test checks.
pub(super) fn defaults(listen: SocketAddr, admin: SocketAddr) -> Settings {
    Settings {
        file: None,
        public_url: fallbacks::origin_of(listen, false),
        listen: vec![Listener {
            place: Place::Tcp(listen),
            insecure_plaintext: false,
            tls: None,
            access: Access::default(),
            proxies: None,
        }],
        trusted_proxies: Peers::default(),
        admin: Admin { address: Some(admin), unix: None, tokens: Vec::new() },
        policies: PathBuf::from("policies"),
        token_keys: Vec::new(),
        state: EmbeddedState::at(PathBuf::from("state")),
        failed_authentication: FailedAuthentication::default(),
        audit: Audit::at(PathBuf::from("audit/audit.jsonl")),
        threads: default_threads(),
        connections: Connections::default(),
        bodies: Bodies::default(),
        log: Log::default(),
        shutdown: Shutdown::default(),
        hsts: Hsts::default(),
        notes: Vec::new(),
        certificates: Vec::new(),
        private_keys: Vec::new(),
    }
}

fn public(field: Field<'_>, listen: &[Listener], secrets: &dyn Secrets) -> Option<PublicUrl> {
    if field.is_given() {
        return field.parse(str::parse);
    }
    let (report, place) = (field.report(), field.key_place());
    let first = listen.iter().find_map(|listener| Some((listener.place.address()?, listener.tls.is_some())));
    // Without a listener there is a mistake about that already.
    let is_required = !listen.is_empty() && (first.is_none() || !listen.iter().all(Listener::is_loopback));
    match fallbacks::public_url(listen, secrets, is_required) {
        Ok(None) => {}
        Ok(said) => return said,
        Err(error) => report.note(place, error),
    }
    if is_required {
        let message =
            "`public_url` is missing: where does the platform reach the gateway? Like `https://agents.example.com`";
        report.note(place, message);
    }
    first.map(|(address, is_tls)| fallbacks::origin_of(address, is_tls))
}

pub(super) fn path(field: Field<'_>, folder: &Path, default: &str) -> PathBuf {
    let parsed = field.parse(|text| {
        if text.is_empty() || text.contains('\0') {
            Err("write a path, like `policies/`")
        } else {
            // Without `.` and slashes at the end, which would stand in what is told of files there.
            Ok(folder.join(text).components().collect())
        }
    });
    parsed.unwrap_or_else(|| folder.join(default))
}

// === the small sections ===

fn state(fields: &mut Fields<'_>, folder: &Path) -> EmbeddedState {
    fields.refuse("redis", "a Redis store is not in this version; use `embedded`");
    fields.take("embedded").section(|fields| {
        let default = EmbeddedState::at(path(fields.take("path"), folder, "state"));
        let mut many = |key, default| count(fields.take(key), 16..=10_000_000, default);
        EmbeddedState {
            max_cells: many("max_cells", default.max_cells),
            max_calls: many("max_calls", default.max_calls),
            max_facts: many("max_facts", default.max_facts),
            max_watched: many("max_watched", default.max_watched),
            max_answers: many("max_answers", default.max_answers),
            max_answer_bytes: fields.take("max_answer_bytes").size(BYTES).unwrap_or(default.max_answer_bytes),
            path: default.path,
        }
    })
}

fn failed_authentication(fields: &mut Fields<'_>) -> FailedAuthentication {
    let FailedAuthentication { rules: default, max_addresses } = FailedAuthentication::default();
    let free = fields.take("free").integer(0..=1000).and_then(|free| u32::try_from(free).ok());
    let delay = fields.take("delay").duration(MOMENT..=60 * MINUTE).unwrap_or(default.delay);
    let max_delay = fields.take("max_delay").duration(delay..=DAY).unwrap_or(default.max_delay.max(delay));
    // Whoever is forgotten doesn't wait, so nobody is forgotten while they wait.
    let forget = fields.take("forget").duration(max_delay..=7 * DAY).unwrap_or(default.forget.max(max_delay));
    FailedAuthentication {
        rules: lockout::Rules { free: free.unwrap_or(default.free), delay, max_delay, forget },
        max_addresses: count(fields.take("max_addresses"), 16..=10_000_000, max_addresses),
    }
}

fn connections(fields: &mut Fields<'_>) -> Connections {
    let default = Connections::default();
    let max = count(fields.take("max"), 1..=1_000_000, default.max);
    Connections {
        max,
        max_per_address: count(fields.take("max_per_address"), 1..=1_000_000, max),
        header_timeout: fields.take("header_timeout").duration(MOMENT..=5 * MINUTE).unwrap_or(default.header_timeout),
        keepalive: fields.take("keepalive").duration(Duration::from_secs(1)..=60 * MINUTE).unwrap_or(default.keepalive),
        max_head: fields.take("max_head").size(1 << 10..=256 << 10).unwrap_or(default.max_head),
        max_headers: count(fields.take("max_headers"), 8..=256, default.max_headers),
    }
}

fn bodies(fields: &mut Fields<'_>) -> Bodies {
    let default = Bodies::default();
    Bodies {
        budget: fields.take("budget").size(BYTES).unwrap_or(default.budget),
        timeout: fields.take("timeout").duration(MOMENT..=10 * MINUTE).unwrap_or(default.timeout),
        min_rate: fields.take("min_rate").size(0..=1 << 30).unwrap_or(default.min_rate),
    }
}

fn log(fields: &mut Fields<'_>) -> Log {
    let default = Log::default();
    let levels = [("error", Level::ERROR), ("warn", Level::WARN), ("info", Level::INFO), ("debug", Level::DEBUG)];
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    Log {
        level: fields.take("level").choice(&levels).unwrap_or(default.level),
        format: fields.take("format").choice(&formats).unwrap_or(default.format),
    }
}

fn shutdown(fields: &mut Fields<'_>) -> Shutdown {
    let default = Shutdown::default();
    Shutdown {
        delay: fields.take("delay").duration(Duration::ZERO..=10 * MINUTE).unwrap_or(default.delay),
        drain: fields.take("drain").duration(Duration::ZERO..=60 * MINUTE).unwrap_or(default.drain),
    }
}

fn hsts(fields: &mut Fields<'_>) -> Hsts {
    let default = Hsts::default();
    let years = Duration::ZERO..=2 * 365 * DAY;
    Hsts {
        max_age: fields.take("max_age").duration(years).unwrap_or(default.max_age),
        include_subdomains: fields.take("include_subdomains").bool().unwrap_or(default.include_subdomains),
    }
}

pub(super) fn count(field: Field<'_>, bounds: RangeInclusive<u64>, default: usize) -> usize {
    field.integer(bounds).and_then(|count| usize::try_from(count).ok()).unwrap_or(default)
}

fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(1024)
}

// === the defaults ===

impl EmbeddedState {
    /// With its default bounds.
    fn at(path: PathBuf) -> Self {
        Self {
            path,
            max_cells: 100_000,
            max_calls: 100_000,
            max_facts: 200_000,
            max_watched: 200_000,
            max_answers: 65_536,
            max_answer_bytes: 64 << 20,
        }
    }
}

impl Default for FailedAuthentication {
    fn default() -> Self {
        Self { rules: lockout::Rules::default(), max_addresses: 100_000 }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: 10_000,
            max_per_address: 10_000,
            header_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(75),
            max_head: 32 << 10,
            max_headers: 100,
        }
    }
}

impl Default for Bodies {
    fn default() -> Self {
        Self { budget: 256 << 20, timeout: Duration::from_secs(30), min_rate: 1 << 10 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::INFO, format: LogFormat::Text }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { delay: Duration::ZERO, drain: Duration::from_secs(120) }
    }
}

impl Default for Hsts {
    fn default() -> Self {
        Self { max_age: 365 * DAY, include_subdomains: false }
    }
}
