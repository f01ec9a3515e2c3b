//! The agents behind the gateway: three real ones, unchanged, and one that misbehaves (`tests/agents/README.md`).

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    free_address,
    http::{Answer, Request},
    platform::{Call, function_call},
    process::{Process, guarded},
    tap::Tap,
    tests_path, until,
};

pub(crate) const USER: &str = "agent-user";
pub(crate) const PASSWORD: &str = "the-agents-own-password";

/// The real agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sdk {
    /// Python, signalwire-sdk 3.7.5.
    Python,
    /// Python, signalwire-agents 1.1.0.
    Old,
    /// The Rust crate.
    Rust,
}

/// A running agent.
pub(crate) struct Agent {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    /// Removed with it.
    _files: Option<TempDir>,
    process: Process,
}

// === impl Sdk ===

impl Sdk {
    pub(crate) const ALL: [Sdk; 3] = [Sdk::Python, Sdk::Old, Sdk::Rust];
    pub(crate) const PYTHON: [Sdk; 2] = [Sdk::Python, Sdk::Old];

    /// Where the platform posts tool calls, at the agent.
    pub(crate) fn swaig_path(self) -> &'static str {
        match self {
            Sdk::Python | Sdk::Old => "/bank/swaig/",
            Sdk::Rust => "/bank/swaig",
        }
    }

    /// The one that all tests of this process share. It knows its own address, since the Python ones would else take that
    /// of whichever gateway asked last.
    pub(crate) fn shared(self) -> &'static Agent {
        static SHARED: [OnceLock<Agent>; 3] = [const { OnceLock::new() }; 3];
        SHARED[self as usize].get_or_init(|| {
            let address = free_address();
            let mcp = if self == Sdk::Python { "1" } else { "0" };
            self.start_at(address, &[("SWML_PROXY_URL_BASE", &format!("http://{address}")), ("AGENT_MCP", mcp)])
        })
    }

    /// One of its own, as it is.
    pub(crate) fn start(self) -> Agent {
        self.start_at(free_address(), &[])
    }

    /// One at an address that is known before it starts, told more by its environment.
    pub(crate) fn start_told(self, address: SocketAddr, env: &[(&str, &str)]) -> Agent {
        self.start_at(address, env)
    }

    /// One that wants requests signed with this key, and knows itself by this URL or by the one it is asked at.
    pub(crate) fn start_signing(self, key: &str, url: Option<&str>) -> Agent {
        let mut env = vec![("SIGNALWIRE_SIGNING_KEY", key)];
        env.extend(url.map(|url| ("SWML_PROXY_URL_BASE", url)));
        self.start_at(free_address(), &env)
    }

    /// An agent of one of the examples of policies, which plays this role, at an address that is known before it starts.
    pub(crate) fn start_playing(self, role: &str, address: SocketAddr, env: &[(&str, &str)]) -> Agent {
        let mut command = self.python("agents/example_agent.py");
        command.env("AGENT_ROLE", role).envs(env.iter().copied());
        let mut agent = Agent::start(command, address);
        agent.wait();
        agent
    }

    fn python(self, program: &str) -> Command {
        let venv = if self == Sdk::Python { "sdk" } else { "old" };
        let mut command = guarded(tests_path(&format!(".cache/venv/{venv}/bin/python")));
        command.arg(tests_path(program));
        command
    }

    fn start_at(self, address: SocketAddr, env: &[(&str, &str)]) -> Agent {
        let mut command = match self {
            Sdk::Python | Sdk::Old => self.python("agents/bank_agent.py"),
            Sdk::Rust => guarded(tests_path("agents/rust/target/release/bank-agent")),
        };
        command.envs(env.iter().copied());
        let mut agent = Agent::start(command, address);
        agent.wait();
        agent
    }
}

// === impl Agent ===

impl Agent {
    /// The agent that misbehaves; one for all tests of this process.
    pub(crate) fn broken() -> &'static Agent {
        static SHARED: OnceLock<Agent> = OnceLock::new();
        SHARED.get_or_init(|| {
            let mut command = guarded("python3");
            command.arg(tests_path("agents/broken_agent.py"));
            let mut agent = Agent::start(command, free_address());
            agent.wait();
            agent
        })
    }

    /// One with a chat for browsers, which asks this service, and with files.
    pub(crate) fn with_chat(service: SocketAddr) -> Agent {
        let files = tempfile::tempdir().expect("a folder can be made");
        let mut command = guarded(tests_path(".cache/venv/sdk/bin/python"));
        command.arg(tests_path("agents/chat_agent.py"));
        command.env("CHAT_SERVICE", format!("http://{service}/")).env("FILES", files.path());
        let mut agent = Agent::start(command, free_address());
        agent.wait();
        Agent { _files: Some(files), ..agent }
    }

    /// One of the examples in this folder, not waited for; it may end at once.
    pub(crate) fn example(folder: &Path, file: &str, arguments: &[String], env: &BTreeMap<String, String>) -> Agent {
        let mut command = guarded(tests_path(".cache/venv/sdk/bin/python"));
        command.arg(tests_path("agents/run_example.py")).arg(folder).arg(file).args(arguments).envs(env);
        for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(variable);
        }
        Agent::start(command, free_address())
    }

    fn start(mut command: Command, address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let has_password = command.get_envs().any(|(name, _)| name == "SWML_BASIC_AUTH_PASSWORD");
        if !has_password {
            command.env("SWML_BASIC_AUTH_PASSWORD", PASSWORD);
        }
        command
            .env("PORT", address.port().to_string())
            .env("SWML_BASIC_AUTH_USER", USER)
            .env("AGENT_LOG", folder.path().join("agent.jsonl"))
            .current_dir(folder.path());
        let process = Process::start(command, folder.path());
        Self { address, folder, _files: None, process }
    }

    /// Waits until it serves.
    pub(crate) fn wait(&mut self) {
        until("the agent is ready", || {
            if let Some(status) = self.process.ended() {
                panic!("the agent ended with {status}; does tests/setup have to run?\n{}", self.process.stderr());
            }
            let answer = self.request("GET", "/ready").try_send();
            answer.is_ok_and(|answer| matches!(answer.status, 200 | 404 | 401)).then_some(())
        });
    }

    /// Kills it, whatever it is doing. What it did is still known.
    pub(crate) fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.exit();
    }

    /// What it printed so far.
    pub(crate) fn printed(&self) -> String {
        self.process.stdout() + &self.process.stderr()
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A relay to it.
    pub(crate) fn tap(&self) -> Tap {
        Tap::on(self.address)
    }

    /// A request to the agent itself, past any gateway, with its own credentials.
    pub(crate) fn request(&self, method: &'static str, target: &str) -> Request {
        Request::new(method, &format!("{}{target}", self.origin())).with_user(USER, PASSWORD)
    }

    /// A document from the agent itself.
    pub(crate) fn fetch(&self, target: &str, call: &Call) -> Value {
        let request = Request { body: call.to_string().into_bytes(), ..self.request("POST", target) };
        request.header("Content-Type", "application/json").send().json()
    }

    /// A function call to the agent itself, at the URL in its own document.
    pub(crate) fn call_function(&self, url: &str, call: &Call, function: &str, arguments: &Value) -> Answer {
        Request::post(url, function_call(call, function, arguments).to_string()).send()
    }

    /// Where it is, with what it asks for.
    pub(crate) fn url(&self) -> String {
        format!("http://{USER}:{PASSWORD}@{}/bank", self.address)
    }

    /// What the agent did for a call.
    pub(crate) fn did(&self, call: &Call) -> Vec<Value> {
        self.did_all().into_iter().filter(|line| line["call_id"] == call.id).collect()
    }

    /// What the agent did at all.
    pub(crate) fn did_all(&self) -> Vec<Value> {
        let path: PathBuf = self.folder.path().join("agent.jsonl");
        let text = fs::read_to_string(path).unwrap_or_default();
        // The last line may be half written.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str::<Value>(line).expect("the agent writes JSON")).collect()
    }

    /// How often it ran a function for a call.
    pub(crate) fn ran(&self, call: &Call, function: &str) -> usize {
        self.did(call).iter().filter(|line| line["event"] == "tool" && line["function"] == function).count()
    }
}
