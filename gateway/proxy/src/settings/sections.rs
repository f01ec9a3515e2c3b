//! The sections of `gateway.yaml`, each read into its struct.

use std::{
    net::SocketAddr,
    num::NonZero,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use swaigate_core::{
    keys::Key,
    lockout,
    policy::{PublicUrl, Secrets, secret_in_env, secret_in_file},
    yaml::{self, Field, Fields},
};
use tracing::Level;

use super::{
    Admin, Audit, Bodies, Connections, EmbeddedState, FailedAuthentication, Hsts, Listener, Log, LogFormat, Place,
    Settings, Shutdown, TokenKey,
    admin::admin,
    fallbacks, key_ring,
    peers::{Access, Peers, entrance, peers},
    tls,
};

/// Memory that is shared by all requests.
const BYTES: RangeInclusive<usize> = 64 << 10..=64 << 30;

/// How many listeners, and how many keys, there may be.
pub(super) const MAX_LISTED: usize = 16;

const WITHOUT_TLS: &str = "add `tls: { certificate: FILE, private_key: FILE }`, or listen on 127.0.0.1 behind a TLS \
    terminator, or add `insecure_plaintext: true` where the network between is yours alone";

pub(super) fn settings(fields: &mut Fields<'_>, folder: &Path, secrets: &dyn Secrets) -> Option<Settings> {
    let public_url = fields.take("public_url");
    let listen = listeners(fields.take("listen").required(), folder, secrets);
    let trusted_proxies = peers(fields.take("trusted_proxies"));
    let admin = fields.take("admin").section(|fields| admin(fields, &listen, (folder, secrets)));
    let public_url = public(public_url, &listen, secrets);
    let policies = path(fields.take("policies"), folder, "policies");
    let token_keys = token_keys(fields.take("token_keys"), secrets);
    let state = fields.take("state").section(|fields| state(fields, folder));
    let audit = fields.take("audit").section(|fields| super::audit::audit(fields, folder));
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

// === addresses ===

fn listeners(field: Field<'_>, folder: &Path, secrets: &dyn Secrets) -> Vec<Listener> {
    let (report, place, given) = (field.report(), field.place(), field.is_given());
    let items = field.list(MAX_LISTED);
    if given && items.as_ref().is_some_and(Vec::is_empty) {
        report.note(place, "`listen` must list an address, like `{ address: \"127.0.0.1:8080\" }`");
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for item in items.unwrap_or_default() {
        let place = item.place();
        let Some(listener) = item.mapping(|fields| listener(fields, folder, secrets)) else { continue };
        if listeners.iter().any(|other| other.place == listener.place) {
            report.note(place, format!("`{}` is listed twice", listener.place));
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(fields: &mut Fields<'_>, folder: &Path, secrets: &dyn Secrets) -> Option<Listener> {
    let report = fields.report();
    let (place, at) = place(fields, folder);
    let tls = fields.take("tls");
    let (has_tls, tls_place) = (tls.is_given(), tls.key_place());
    let tls = tls.mapping(|fields| tls::tls(fields, secrets));
    let insecure_plaintext = fields.take("insecure_plaintext").bool().unwrap_or(false);
    if has_tls && insecure_plaintext {
        report.note(tls_place, "`tls` and `insecure_plaintext` exclude each other; keep one");
    }
    let (access, proxies) = entrance(fields, place.as_ref().is_none_or(|place| place.address().is_some()));
    let mut listener = Listener { place: place?, insecure_plaintext, tls, access, proxies };
    if has_tls || insecure_plaintext || listener.place.address().is_none() {
        return Some(listener);
    }
    match fallbacks::tls(secrets, !listener.is_loopback()) {
        Ok(tls) => listener.tls = tls,
        Err(error) => report.note(at, error),
    }
    if !listener.is_loopback() && listener.tls.is_none() {
        let place = &listener.place;
        report.note(at, format!("other machines can reach `{place}`, and it has no `tls`; {WITHOUT_TLS}"));
    }
    Some(listener)
}

/// An `address`, or the path of a socket: `unix`, with its `mode`; and where it is written.
fn place(fields: &mut Fields<'_>, folder: &Path) -> (Option<Place>, yaml::Place) {
    let (report, at) = (fields.report(), fields.place());
    let mode = fields.take("mode");
    let (mode_place, has_mode) = (mode.place(), mode.is_given());
    let mode = mode.parse(permissions).unwrap_or(0o600);
    match fields.take_one_of(["address", "unix"]) {
        None => {
            report.note(at, "a listener needs an `address`, or the path of a socket: `unix`");
            (None, at)
        }
        Some(("unix", field)) => (Some(Place::Unix { path: path(field, folder, "gateway.sock"), mode }), at),
        Some((_, field)) => {
            let at = field.place();
            if has_mode {
                report.note(
                    mode_place,
                    "`mode` is the permissions of a socket in the file system; an `address` has none",
                );
            }
            (field.parse(address).map(Place::Tcp), at)
        }
    }
}

/// Of a file, as `chmod` takes them.
fn permissions(text: &str) -> Result<u32, &'static str> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & 0o600 == 0o600 && *mode <= 0o777);
    mode.ok_or("write permissions as `chmod` takes them, in quotes and with those of the owner, like `\"0660\"`")
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        _ => Err("write an IP address and a port, like `127.0.0.1:8080` or `[::1]:8080`".to_owned()),
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

// === keys and paths ===

fn token_keys(field: Field<'_>, secrets: &dyn Secrets) -> Vec<TokenKey> {
    let (report, place, given) = (field.report(), field.place(), field.is_given());
    let items = field.list(MAX_LISTED);
    if given && items.as_ref().is_some_and(Vec::is_empty) {
        report.note(place, "`token_keys` must list a key; without it, one is made and kept with the state");
    }
    let mut keys: Vec<TokenKey> = Vec::new();
    for item in items.unwrap_or_default() {
        let place = item.place();
        let Some(key) = item.mapping(|fields| token_key(fields, secrets)) else { continue };
        keys.push(key);
        if let Err(error) = key_ring(&keys) {
            report.note(place, error.to_string());
            keys.pop();
        }
    }
    keys
}

fn token_key(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<TokenKey> {
    fields.refuse(
        "secret",
        "a secret is never written in this file; name where it is with `secret_env` or `secret_file`",
    );
    let id = fields.take("id").required().parse(key_id);
    let Some((key, field)) = fields.take_one_of(["secret_env", "secret_file"]) else {
        fields.report().note(fields.place(), "a key needs `secret_env` or `secret_file`");
        return None;
    };
    let (report, place) = (field.report(), field.key_place());
    let secret = if key == "secret_env" { secret_in_env(field, secrets) } else { secret_in_file(field, secrets) };
    let (id, secret) = (id?, secret?);
    Key::new(&id, &secret).map_err(|error| report.note(place, format!("`{key}`: {error}"))).ok()?;
    Some(TokenKey { id, secret })
}

fn key_id(text: &str) -> Result<String, &'static str> {
    if (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("the id of a key is 1 to 64 visible ASCII characters")
    }
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

pub(super) const MOMENT: Duration = Duration::from_millis(10);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

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
