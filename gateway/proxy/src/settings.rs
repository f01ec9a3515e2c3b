//! `gateway.yaml`, the policy files, and the secrets that both name.
//!
//! `policies/README.md` lists every key with its default and bounds. All paths in a file are relative to its folder.

mod admin;
mod audit;
mod certificates;
mod environment;
mod fallbacks;
mod files;
mod peers;
mod sections;
mod tls;

use std::{
    collections::BTreeSet,
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use swaigate_core::{
    keys::{Key, KeyError, KeyRing},
    lockout,
    policy::{Agent, Authentication, PublicUrl, Secrets, Seed, compile},
    secret::Secret,
    yaml::{self, Mistake},
};

pub use certificates::{CertificateFile, names as certificate_names};
pub use environment::emergency_mode;
pub use fallbacks::stand_in;
pub use files::{FileSecrets, Found, folder_of, text};
pub use peers::{Access, Peers};
pub use tls::{ClientCertificates, Tls, TlsVersion};

/// How the process runs: what `gateway.yaml` says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file they were read from, if there is one.
    pub file: Option<PathBuf>,
    /// Where the platform reaches the gateway: what the file says, else the first listener, if all are loopback.
    pub public_url: PublicUrl,
    /// Where it listens; at least one.
    pub listen: Vec<Listener>,
    /// Which proxies' `X-Forwarded-For` is read.
    pub trusted_proxies: Peers,
    /// Where metrics, health and administration are.
    pub admin: Admin,
    /// The folder of the policy files.
    pub policies: PathBuf,
    /// The keys of tokens, newest first. None: one is made and kept with the state.
    pub token_keys: Vec<TokenKey>,
    /// What is remembered between requests.
    pub state: EmbeddedState,
    /// What becomes of addresses that send wrong credentials.
    pub failed_authentication: FailedAuthentication,
    /// Where decisions are written down.
    pub audit: Audit,
    /// How many worker threads serve requests; at least 1.
    pub threads: usize,
    /// What a connection may take.
    pub connections: Connections,
    /// What all bodies together may take.
    pub bodies: Bodies,
    /// What is logged, and how.
    pub log: Log,
    /// How it stops.
    pub shutdown: Shutdown,
    /// What browsers are told, where the platform asks by https.
    pub hsts: Hsts,
    /// What is allowed but should be looked at, for the log.
    pub notes: Vec<String>,
    /// The files with certificates.
    pub certificates: Vec<CertificateFile>,
    /// The files with the private keys of these.
    pub private_keys: Vec<PathBuf>,
}

/// A place for the platform's requests.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Where it is.
    pub place: Place,
    /// Whether it may be reached from other machines without TLS.
    pub insecure_plaintext: bool,
    /// Whether and how it speaks TLS.
    pub tls: Option<Tls>,
    /// Which clients may come in.
    pub access: Access,
    /// Which proxies say for whom they come, by the PROXY protocol; none: nobody does.
    pub proxies: Option<Peers>,
}

/// Where sockets are listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An IP address and a port that isn't 0.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix {
        /// Its name.
        path: PathBuf,
        /// Its permissions: who may write to it may connect.
        mode: u32,
    },
}

/// The operator's own door; at least one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// A loopback address and a port that isn't 0.
    pub address: Option<SocketAddr>,
    /// A Unix socket.
    pub unix: Option<PathBuf>,
    /// Who may ask besides those who can read the tokens that are kept with the state.
    pub tokens: Vec<AdminToken>,
}

/// A token for the admin API.
#[derive(Debug, Clone)]
pub struct AdminToken {
    /// What whoever has it may do.
    pub role: Role,
    /// At least 32 visible ASCII characters.
    pub secret: Secret,
}

/// What somebody may do at the admin API. Each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Change something.
    Operator,
}

/// A key for tokens, as configured.
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// Its name, 1 to 64 visible ASCII characters; no two keys have tags that are the same.
    pub id: String,
    /// At least [`swaigate_core::keys::MIN_KEY_BYTES`] bytes.
    pub secret: Secret,
}

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

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The file, one JSON object a line.
    pub path: PathBuf,
    /// How many records may wait to be written, 1 to 1,000,000.
    pub queue: usize,
    /// When it is on the disk.
    pub sync: Fsync,
    /// What becomes of requests while it can't be written.
    pub on_failure: OnFailure,
    /// When a new file begins, if the gateway itself sees to that.
    pub rotate: Option<Rotate>,
    /// How many requests of strangers are recorded for each source and minute, 1 to 1,000,000; the others are counted.
    pub strangers: usize,
    /// How often its head is told, 1 s to 1 h.
    pub heads: Duration,
    /// Where else its lines go.
    pub sinks: Vec<SinkAt>,
}

/// When the audit log is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// After each batch, which is what came within some milliseconds.
    Always,
    /// At most so much later, 10 ms to 1 min.
    Every(Duration),
    /// When the operating system likes.
    Never,
}

/// What becomes of requests while the audit log can't be written and its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They are refused at once.
    Deny,
    /// They wait some seconds for a place.
    Block,
}

/// When a new file of the audit log begins, and the oldest goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotate {
    /// When the file has so many bytes, 64 KiB to 1 TiB.
    pub size: u64,
    /// When a multiple of this time since 1970 (UTC) has passed, 1 min to 366 days; `24h` is at midnight.
    pub every: Option<Duration>,
    /// How many old files are kept, 1 to 100,000; without it, all.
    pub keep: Option<usize>,
}

/// Where lines of the audit log go besides its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkAt {
    /// Standard output.
    Stdout,
    /// A syslog server by UDP, a record a datagram (RFC 5426): host and port.
    SyslogUdp(String),
    /// A syslog server by TCP, each record preceded by its length (RFC 6587): host and port.
    SyslogTcp(String),
    /// A local socket of datagrams, such as `/dev/log`.
    SyslogUnix(PathBuf),
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
    pub level: tracing::Level,
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

/// The agents of all policy files.
#[derive(Debug)]
pub struct LoadedPolicies {
    /// One for each file, in the order of the files' names; at least one.
    pub agents: Vec<Agent>,
    /// The files, in the same order.
    pub files: Vec<PathBuf>,
    /// What was seen on the way.
    pub found: Found,
}

/// How many policy files are read.
const MAX_POLICIES: usize = 1000;

/// Reads `gateway.yaml`.
///
/// # Errors
/// All mistakes in it, or why it can't be read.
pub fn load(path: &Path) -> Result<Settings, Vec<Mistake>> {
    let secrets = FileSecrets::new(files::folder_of(path));
    let settings = load_with(path, &secrets)?;
    let Found { notes, certificates, private_keys } = secrets.into_found();
    Ok(Settings { notes, certificates, private_keys, ..settings })
}

/// The same with the secrets from elsewhere.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, secrets: &dyn Secrets) -> Result<Settings, Vec<Mistake>> {
    let name = path.display().to_string();
    let text = files::text(path).map_err(|error| vec![Mistake::of_file(&name, error)])?;
    let folder = files::folder_of(path);
    let mut settings = yaml::read(&name, &text, |fields| sections::settings(fields, folder, secrets))?;
    settings.file = Some(path.to_owned());
    Ok(settings)
}

/// The keys that [`load`] asks for while it reads this text; see [`yaml::keys_of`].
pub fn keys_of(text: &str) -> BTreeSet<String> {
    let folder = Path::new("");
    yaml::keys_of(text, |fields| sections::settings(fields, folder, &FileSecrets::new(folder)))
}

/// Reads `gateway.yaml` where its secrets needn't be: for a command that talks to a gateway that has them.
///
/// # Errors
/// All mistakes in it, or why it can't be read.
pub fn load_without_secrets(path: &Path) -> Result<Settings, Vec<Mistake>> {
    load_with(path, &files::AnySecrets)
}

/// The settings without a file: the defaults, at these addresses, with paths in the current folder.
pub fn for_loopback(listen: SocketAddr, admin: SocketAddr) -> Settings {
    sections::defaults(listen, admin)
}

/// Those of `swaigate run --upstream`: the same, and what the environment says besides.
///
/// # Errors
/// What is wrong with that.
pub fn for_upstream(
    listen: SocketAddr,
    admin: SocketAddr,
    public_url: Option<PublicUrl>,
    secrets: &dyn Secrets,
) -> Result<Settings, String> {
    let mut settings = sections::defaults(listen, admin);
    let tls = fallbacks::tls(secrets, false)?;
    settings.public_url = fallbacks::origin_of(listen, tls.is_some());
    settings.listen.iter_mut().for_each(|listener| listener.tls.clone_from(&tls));
    match public_url {
        Some(public_url) => settings.public_url = public_url,
        None => {
            let said = fallbacks::public_url(&settings.listen, secrets, false)?;
            settings.public_url = said.unwrap_or(settings.public_url);
        }
    }
    Ok(settings)
}

/// Reads the policy files.
///
/// # Errors
/// All mistakes of all files; that the folder can't be read, or holds no policy.
pub fn load_policies(settings: &Settings, seed: &Seed) -> Result<LoadedPolicies, Vec<Mistake>> {
    let secrets = FileSecrets::new(&settings.policies);
    let loaded = load_policies_with(settings, &secrets, seed)?;
    let (files, agents) = loaded.into_iter().unzip();
    Ok(LoadedPolicies { agents, files, found: secrets.into_found() })
}

/// The same with the secrets from elsewhere, each agent with its file.
///
/// # Errors
/// As [`load_policies`].
pub fn load_policies_with(
    settings: &Settings,
    secrets: &dyn Secrets,
    seed: &Seed,
) -> Result<Vec<(PathBuf, Agent)>, Vec<Mistake>> {
    let (mut agents, mut mistakes) = (Vec::new(), Vec::new());
    for path in policy_files(settings)? {
        match load_policy(&path, secrets, seed, settings.bodies.budget) {
            Ok(agent) => agents.push((path, agent)),
            Err(more) => mistakes.extend(more),
        }
    }
    if mistakes.is_empty() { Ok(agents) } else { Err(mistakes) }
}

/// Every `*.yaml` and `*.yml` of the folder, in the order of their names. Folders within it, files whose name starts with a
/// dot, and `gateway.yaml` itself are passed over.
fn policy_files(settings: &Settings) -> Result<Vec<PathBuf>, Vec<Mistake>> {
    let folder = &settings.policies;
    let of_folder = |message: String| vec![Mistake::of_file(folder.display().to_string(), message)];
    let paths = files::policies_in(folder, settings.file.as_deref())
        .map_err(|error| of_folder(format!("the folder of the policies can't be read: {error}")))?;
    if paths.is_empty() {
        return Err(of_folder("no policy is here; each agent needs a file like `bank.yaml`".to_owned()));
    }
    if paths.len() > MAX_POLICIES {
        return Err(of_folder(format!("{} policies are here; at most {MAX_POLICIES} are read", paths.len())));
    }
    Ok(paths)
}

/// The ring of these keys, newest first.
///
/// # Errors
/// [`KeyError`] if there is none, if one is too short, or if two can't be told apart.
pub fn key_ring(keys: &[TokenKey]) -> Result<KeyRing, KeyError> {
    let keys = keys.iter().map(|key| Key::new(&key.id, &key.secret)).collect::<Result<_, _>>()?;
    KeyRing::new(keys)
}

// === impl EmbeddedState ===

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

// === impl Audit ===

impl Audit {
    /// With its defaults.
    pub fn at(path: PathBuf) -> Self {
        Self {
            path,
            queue: 8192,
            sync: Fsync::Every(Duration::from_secs(1)),
            on_failure: OnFailure::Deny,
            rotate: None,
            strangers: 10,
            heads: Duration::from_secs(60),
            sinks: Vec::new(),
        }
    }
}

// === impl Listener ===

impl Listener {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.place.address().is_none_or(is_loopback)
    }

    /// Whether the two differ in what only a restart changes.
    pub fn is_other(&self, other: &Self) -> bool {
        let differ = self.insecure_plaintext != other.insecure_plaintext || self.tls.is_some() != other.tls.is_some();
        differ || self.place != other.place || self.access != other.access || self.proxies != other.proxies
    }
}

// === impl Place ===

impl Place {
    /// Its address, if it is one of IP.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Place::Tcp(address) => Some(*address),
            Place::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => address.fmt(f),
            Place::Unix { path, .. } => path.display().fmt(f),
        }
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Bodies from clients that the gateway doesn't authenticate have this part of `bodies.budget` besides.
pub const STRANGERS_PART: usize = 8;

/// Reads one policy file, whose bodies must fit in this budget of `gateway.yaml`.
///
/// # Errors
/// All mistakes in it, or why it can't be read.
pub fn load_policy(path: &Path, secrets: &dyn Secrets, seed: &Seed, budget: usize) -> Result<Agent, Vec<Mistake>> {
    let name = path.display().to_string();
    let of_file = |message: String| vec![Mistake::of_file(&name, message)];
    let agent = compile(&name, &files::text(path).map_err(of_file)?, secrets, seed)?;
    let bodies = agent.bodies.request.max(agent.bodies.callback).max(agent.bodies.response);
    let largest = |who| {
        let of_them = agent.expose.paths.iter().filter(|item| item.authentication == who);
        of_them.filter_map(|item| item.body).max().unwrap_or_default()
    };
    for (key, largest, most) in [
        ("`bodies`", bodies, budget),
        ("an exposed path's `body`", largest(Authentication::Gateway), budget),
        ("a `body` with `authentication: agent`", largest(Authentication::Agent), budget / STRANGERS_PART),
    ] {
        if largest > most {
            return Err(of_file(format!(
                "{key} allows {largest} bytes, more than the {most} that gateway.yaml's `bodies.budget` has for all"
            )));
        }
    }
    Ok(agent)
}

#[cfg(test)]
mod tests;
