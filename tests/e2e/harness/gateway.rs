//! The program under test, with settings and policies in a folder of its own.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    sync::OnceLock,
};

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    agent::{Agent, PASSWORD, USER},
    free_address,
    http::{Answer, Request},
    platform::{Call, Platform, SIGNING_KEY},
    process::{Process, guarded},
    serial,
    tap::Tap,
    until,
};

pub(crate) const GATEWAY_USER: &str = "signalwire";
pub(crate) const GATEWAY_PASSWORD: &str = "known-to-the-platform";
pub(crate) const OTHER_PASSWORD: &str = "from-before-the-change";
pub(crate) const OTHER_SIGNING_KEY: &str = "PSKtest-before-the-change";
pub(crate) const AGENT_SIGNING_KEY: &str = "PSKtest-of-the-agent-alone";
pub(crate) const TOKEN_KEY: &str = "a-token-key-of-at-least-32-bytes-for-tests";
pub(crate) const OTHER_TOKEN_KEY: &str = "another-token-key-of-at-least-32-bytes-here";

/// The key of time-based codes, as bytes and as authenticator apps take it (RFC 6238, B).
pub(crate) const CODE_KEY: &[u8] = b"12345678901234567890";
pub(crate) const CODE_KEY_TEXT: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const CODE_PIN: &str = "4711";

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_swaigate");

/// A policy in the making. What is added is YAML.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    name: String,
    path: String,
    upstream: String,
    aliases: String,
    timeouts: String,
    more_of_upstream: String,
    password_env: &'static str,
    platform: String,
    more: String,
}

/// A folder with `gateway.yaml` and policies.
pub(crate) struct Folder {
    pub(crate) root: TempDir,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) folder: Folder,
    pub(crate) process: Process,
}

// === impl Policy ===

impl Policy {
    /// Of the agent `bank` at `/bank`, without limits.
    pub(crate) fn of(upstream: SocketAddr) -> Self {
        Self {
            name: "bank".to_owned(),
            path: "/bank".to_owned(),
            upstream: format!("http://{upstream}"),
            aliases: String::new(),
            timeouts: "{}".to_owned(),
            more_of_upstream: String::new(),
            password_env: "AGENT_PASSWORD",
            platform: format!("users: [{{ username: {GATEWAY_USER}, password_env: GATEWAY_PASSWORD }}]"),
            more: String::new(),
        }
    }

    /// Of an agent behind a tap; the agent goes on writing its own address into documents.
    pub(crate) fn through(tap: &Tap, agent: &Agent) -> Self {
        let port = agent.address.port();
        let aliases = format!("http://127.0.0.1:{port}, http://localhost:{port}");
        Self { aliases, ..Self::of(tap.address) }
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    pub(crate) fn at(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// Of an agent that is asked by TLS.
    pub(crate) fn by_https(self) -> Self {
        Self { upstream: self.upstream.replace("http://", "https://"), ..self }
    }

    /// The path at the agent that stands for the one at the gateway.
    pub(crate) fn with_upstream_path(mut self, path: &str) -> Self {
        self.upstream.push_str(path);
        self
    }

    /// With other origins under which the agent writes its own URLs.
    pub(crate) fn aliases(self, aliases: &str) -> Self {
        Self { aliases: aliases.to_owned(), ..self }
    }

    pub(crate) fn timeouts(self, timeouts: &str) -> Self {
        Self { timeouts: timeouts.to_owned(), ..self }
    }

    pub(crate) fn platform(self, platform: &str) -> Self {
        Self { platform: platform.to_owned(), ..self }
    }

    /// With more keys about whoever asks, such as `signature: all`.
    pub(crate) fn and_platform(mut self, more: &str) -> Self {
        self.platform.push_str(", ");
        self.platform.push_str(more);
        self
    }

    /// Of an agent with [`OTHER_PASSWORD`].
    pub(crate) fn with_other_password(self) -> Self {
        Self { password_env: "OTHER_PASSWORD", ..self }
    }

    /// With one more key about the agent, such as `signing_key_env: X`.
    pub(crate) fn and_upstream(mut self, more: &str) -> Self {
        self.more_of_upstream.push_str(&format!("  {more}\n"));
        self
    }

    /// With more keys.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.more.push_str(more);
        self.more.push('\n');
        self
    }

    pub(crate) fn yaml(&self) -> String {
        let Self { name, path, upstream, aliases, timeouts, more_of_upstream, password_env, platform, more } = self;
        format!(
            "agent: {name}\nmatch: {{ path: {path} }}\nupstream:\n  url: {upstream}\n  username_env: AGENT_USER\n  \
             password_env: {password_env}\n  aliases: [{aliases}]\n  timeouts: {timeouts}\n{more_of_upstream}platform: {{ {platform} }}\n{more}"
        )
    }

    /// A gateway before this agent alone.
    pub(crate) fn start(&self) -> Gateway {
        Gateway::start("", &[self])
    }
}

// === impl Folder ===

impl Folder {
    /// On free ports; `settings` is what `gateway.yaml` says besides.
    pub(crate) fn new(settings: &str, policies: &[&Policy]) -> Self {
        let root = tempfile::tempdir().expect("a folder can be made");
        fs::create_dir(root.path().join("policies")).expect("the folder can be written");
        let folder = Self { root, listen: free_address(), admin: free_address() };
        folder.write_settings(settings);
        policies.iter().for_each(|policy| folder.write_policy(&policy.name, &policy.yaml()));
        folder
    }

    pub(crate) fn write_settings(&self, settings: &str) {
        let Self { listen, admin, .. } = self;
        // Tests look at the records of requests, whoever sends them.
        let audit = if settings.contains("audit:") { "" } else { "audit: { strangers: 1000000 }\n" };
        let text =
            format!("listen: [{{ address: \"{listen}\" }}]\nadmin: {{ address: \"{admin}\" }}\n{settings}\n{audit}");
        self.write("gateway.yaml", &text);
    }

    /// With more listeners.
    pub(crate) fn listen_also(&self, listeners: &str) {
        let text = fs::read_to_string(self.path("gateway.yaml")).expect("it was written");
        self.write("gateway.yaml", &text.replacen(" }]\n", &format!(" }}, {listeners}]\n"), 1));
    }

    pub(crate) fn write_policy(&self, name: &str, text: &str) {
        self.write(&format!("policies/{name}.yaml"), text);
    }

    /// In place of what was there, at once: a reader sees the old text or the new.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let (path, new) = (self.path(path), self.path("new"));
        fs::write(&new, text).expect("the folder can be written");
        fs::rename(new, path).expect("the folder can be written");
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// The program with its secrets and nothing of this process' log settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(guarded(PROGRAM), arguments)
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(self.root.path()).env_remove("RUST_LOG");
        for (name, value) in [
            ("AGENT_USER", USER),
            ("AGENT_PASSWORD", PASSWORD),
            ("SWML_BASIC_AUTH_USER", USER),
            ("SWML_BASIC_AUTH_PASSWORD", PASSWORD),
            ("GATEWAY_PASSWORD", GATEWAY_PASSWORD),
            ("OTHER_PASSWORD", OTHER_PASSWORD),
            ("SIGNING_KEY", SIGNING_KEY),
            ("OTHER_SIGNING_KEY", OTHER_SIGNING_KEY),
            ("AGENT_SIGNING_KEY", AGENT_SIGNING_KEY),
            ("TOKEN_KEY", TOKEN_KEY),
            ("OTHER_TOKEN_KEY", OTHER_TOKEN_KEY),
            ("CODE_KEY", CODE_KEY_TEXT),
            ("CODE_PIN", CODE_PIN),
            ("CODE_PIN_HASH", hash_of_pin()),
        ] {
            command.env(name, value);
        }
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run_to_the_end(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut process = Process::start(self.command(arguments), self.root.path());
        let code = process.exit().code();
        (code, process.stdout(), process.stderr())
    }

    /// A command as an operator types it here: whether it succeeds, what it says, and what it complains of.
    pub(crate) fn operator(&self, arguments: &[&str]) -> (bool, String, String) {
        let mut command = Command::new(PROGRAM);
        // None of the gateway's secrets is in the operator's environment.
        command.args(arguments).current_dir(self.root.path()).env_clear().env("USER", "ann");
        let output = command.output().expect("it can be started");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// Starts a gateway here and waits until it serves.
    pub(crate) fn start(self, arguments: &[&str]) -> Gateway {
        self.start_told(arguments, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn start_told(self, arguments: &[&str], env: &[(&str, &str)]) -> Gateway {
        let mut command = self.command(arguments);
        command.envs(env.iter().copied());
        self.start_as(command)
    }

    /// The same by another program, which is told the gateway's arguments after its own and becomes it.
    pub(crate) fn start_by(self, launcher: &[&str]) -> Gateway {
        let mut command = guarded(launcher[0]);
        command.args(&launcher[1..]).arg(PROGRAM);
        let command = self.prepared(command, &["run", "--config", "gateway.yaml"]);
        self.start_as(command)
    }

    fn start_as(self, command: Command) -> Gateway {
        let process = Process::start(command, self.root.path());
        let mut gateway = Gateway { folder: self, process };
        gateway.wait();
        gateway
    }
}

/// With cheap parameters: a test's code is no secret.
fn hash_of_pin() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let params = Params::new(8, 1, 1, None).expect("they are allowed");
        let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        cheap.hash_password_with_salt(CODE_PIN.as_bytes(), b"saltsaltsalt").expect("it can be hashed").to_string()
    })
}

// === impl Gateway ===

impl Gateway {
    pub(crate) fn start(settings: &str, policies: &[&Policy]) -> Self {
        Folder::new(settings, policies).start(&["run", "--config", "gateway.yaml"])
    }

    fn wait(&mut self) {
        until("the gateway is ready", || {
            if let Some(status) = self.process.ended() {
                panic!("the gateway ended with {status}:\n{}", self.process.stderr());
            }
            let admin = Request::get(&format!("http://{}/readyz", self.folder.admin)).try_send();
            let ready = admin.is_ok_and(|answer| answer.status == 200);
            (ready && TcpStream::connect(self.folder.listen).is_ok()).then_some(())
        });
    }

    /// Ends it and starts another one in the same folder.
    pub(crate) fn restart(mut self) -> Self {
        self.process.signal("TERM");
        assert_eq!(self.process.exit().code(), Some(0), "{}", self.process.stderr());
        self.start_again()
    }

    /// Kills it, whatever it is doing, and starts another one in the same folder.
    pub(crate) fn crash(self) -> Self {
        self.kill().start_again()
    }

    /// Kills it, whatever it is doing.
    pub(crate) fn kill(mut self) -> Self {
        self.process.signal("KILL");
        assert_eq!(self.process.exit().code(), None);
        self
    }

    /// Starts another one in the folder of one that has ended.
    pub(crate) fn follow(mut self) -> Self {
        self.process.exit();
        self.start_again()
    }

    /// Starts another one in the same folder.
    pub(crate) fn start_again(mut self) -> Self {
        let command = self.folder.command(&["run", "--config", "gateway.yaml"]);
        self.process = Process::start(command, self.folder.root.path());
        self.wait();
        self
    }

    /// Another process of the program that takes over, or tries to. What it prints is in a folder of its own.
    pub(crate) fn heir(&self) -> Process {
        let folder = self.folder.path(&format!("heir-{}", serial()));
        fs::create_dir(&folder).expect("the folder can be written");
        Process::start(self.folder.command(&["run", "--config", "gateway.yaml", "--upgrade"]), &folder)
    }

    /// Starts another process that takes over, and waits until the one before has ended.
    pub(crate) fn upgrade(&mut self) {
        let heir = self.heir();
        let mut old = std::mem::replace(&mut self.process, heir);
        let code = old.exit().code();
        assert_eq!(
            code,
            Some(0),
            "{}
--- the new process ---
{}",
            old.stderr(),
            self.process.stderr()
        );
        assert!(self.process.ended().is_none(), "{}", self.process.stderr());
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        self.folder.listen
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.listen())
    }

    /// The platform, as it knows the agent `bank`.
    pub(crate) fn platform(&self) -> Platform {
        self.platform_of("/bank")
    }

    pub(crate) fn platform_of(&self, path: &str) -> Platform {
        Platform::at(format!("{}{path}", self.origin()))
    }

    /// A request with the platform's own credentials.
    pub(crate) fn request(&self, method: &'static str, target: &str) -> Request {
        Request::new(method, &format!("{}{target}", self.origin())).with_user(GATEWAY_USER, GATEWAY_PASSWORD)
    }

    pub(crate) fn admin(&self, path: &str) -> Answer {
        Request::get(&format!("http://{}{path}", self.folder.admin)).send()
    }

    /// The token that is kept in this file of the state's folder.
    pub(crate) fn kept_token(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path(&format!("state/{name}"))).expect("it is made at the start")
    }

    /// A request to the admin API, by whoever has the operator's token. `null` is no body.
    pub(crate) fn api(&self, method: &'static str, path: &str, body: &Value) -> Request {
        let request = Request::new(method, &format!("http://{}{path}", self.folder.admin));
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let token = self.kept_token("admin.token");
        Request { body, ..request.header("Authorization", &format!("Bearer {token}")) }
    }

    /// A command as an operator types it: whether it succeeds, what it says, and what it complains of.
    pub(crate) fn operator(&self, arguments: &[&str]) -> (bool, String, String) {
        self.folder.operator(arguments)
    }

    /// The value of a metric with exactly these labels; 0 if there is no such line.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = self.admin("/metrics").text().to_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a count"))
    }

    /// The same of one that is no count.
    pub(crate) fn metric_of(&self, series: &str) -> f64 {
        let text = self.admin("/metrics").text().to_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// All audit records so far, but for those with which sections of the log begin.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path("audit/audit.jsonl")).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let records = lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        records.filter(|record: &Value| record["event"] != "chain").collect()
    }

    /// The record of the request that got this answer.
    pub(crate) fn record_of(&self, answer: &Answer) -> Value {
        let id = answer.header("x-request-id").expect("the gateway names each request").to_owned();
        let of_it = |record: &Value| {
            record["request_id"] == id && !matches!(record["event"].as_str(), Some("late_answer" | "anomaly"))
        };
        let mut records = until("the request is recorded", || {
            let records = self.audit().into_iter().filter(of_it).collect::<Vec<_>>();
            (!records.is_empty()).then_some(records)
        });
        assert_eq!(records.len(), 1, "each request is recorded once");
        records.remove(0)
    }

    /// Why the request that got this answer ended as it did.
    pub(crate) fn reason_of(&self, answer: &Answer) -> String {
        self.record_of(answer)["reason"].as_str().expect("every record has a reason").to_owned()
    }

    /// The records of a call's requests, once there are this many.
    pub(crate) fn records(&self, call: &Call, count: usize) -> Vec<Value> {
        until("the call's requests are recorded", || {
            let records = self.audit().into_iter().filter(|record| record["call_id"] == call.id);
            Some(records.collect::<Vec<_>>()).filter(|records| records.len() >= count)
        })
    }

    /// Waits until it has loaded its configuration this many times, or refused it.
    pub(crate) fn wait_for_reloads(&self, result: &str, count: u64) {
        let series = format!("swaigate_reloads_total{{result=\"{result}\"}}");
        until("the configuration is loaded again", || (self.metric(&series) >= count).then_some(()));
    }

    /// How often it loaded its configuration.
    pub(crate) fn reloads(&self, result: &str) -> u64 {
        self.metric(&format!("swaigate_reloads_total{{result=\"{result}\"}}"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway's log ---\n{}", self.process.stderr());
        }
    }
}
