//! The files themselves, as they are in `policies`, and the gateway that runs them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::harness::{
    agent::{Agent, Sdk},
    free_address,
    gateway::{CODE_KEY_TEXT, Folder, Gateway, PROGRAM},
    platform::SIGNING_KEY,
    tap::Tap,
    tests_path,
};

/// What the examples' files name: secrets as they should be.
const ENVIRONMENT: [(&str, &str); 12] = [
    ("SWML_BASIC_AUTH_USER", "agent"),
    ("SWML_BASIC_AUTH_PASSWORD", "Zt3xW8vKq1LsP6yB0nRmC4hD9jFgA2uE"),
    ("GATEWAY_PASSWORD", "q9Lw2ZxT7vB4nM1kC8dF5hJ3sR6yP0aG"),
    ("GATEWAY_PASSWORD_BEFORE", "mN4bV7cX1zL9kJ2hG5fD8sA3pO6iU0yT"),
    ("SWAIGATE_TOKEN_KEY", "7f3a9c1e5b8d2f4a6c0e9b7d1a3f5c8e"),
    ("TRANSFER_CODE_KEY", CODE_KEY_TEXT),
    ("RECEPTION_USER", "agent"),
    ("RECEPTION_PASSWORD", "Rt5yU8iO2pA4sD7fG0hJ3kL6zX9cV1bN"),
    ("SALES_USER", "agent"),
    ("SALES_PASSWORD", "Wq2eR5tY8uI1oP4aS7dF0gH3jK6lZ9xC"),
    ("BILLING_USER", "agent"),
    ("BILLING_PASSWORD", "Bn7mQ0wE3rT6yU9iO2pA5sD8fG1hJ4kL"),
];

/// One example before one agent.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) agent: Agent,
    pub(crate) tap: Tap,
}

/// A path below `policies/`.
pub(crate) fn policies(below: &str) -> PathBuf {
    tests_path("../policies").join(below)
}

/// The policies among the examples, by their paths below `policies/examples`.
pub(crate) fn example_files() -> Vec<PathBuf> {
    let root = policies("examples");
    let files = ["", "host"].iter().flat_map(|folder| fs::read_dir(root.join(folder)).expect("the folder is there"));
    let files = files.map(|entry| entry.expect("the folder can be read").path());
    let is_policy = |path: &PathBuf| path.extension().is_some_and(|it| it == "yaml") && !path.ends_with("gateway.yaml");
    let files = files.filter(is_policy);
    let mut files: Vec<_> = files.map(|path| path.strip_prefix(&root).expect("it is below").to_owned()).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    files
}

/// What `swaigate check` finds unwise in them: file and name.
pub(crate) fn checked(config: &str) -> Vec<String> {
    let mut command = Command::new(PROGRAM);
    command.args(["check", "--json", "--config"]).arg(policies(config)).envs(ENVIRONMENT);
    let said = command.env("SIGNALWIRE_SIGNING_KEY", SIGNING_KEY).output().expect("it can be started").stdout;
    let said: Value = serde_json::from_slice(&said).expect("it is JSON");
    let warnings = said["warnings"].as_array().unwrap_or_else(|| panic!("{said}"));
    let told = |finding: &Value| {
        let file = Path::new(finding["file"].as_str().unwrap_or_default()).file_name().unwrap_or_default();
        format!("{} {}", file.display(), finding["name"].as_str().unwrap_or_default())
    };
    // Relative to `gateway.yaml`, the audit log is where this checkout is.
    warnings.iter().filter(|finding| finding["name"] != "audit_on_tmp").map(told).collect()
}

/// What `swaigate test` says of all their tests.
pub(crate) fn tried() -> (Option<i32>, String) {
    let files = fs::read_dir(policies("tests")).expect("the folder is there");
    let files = files.map(|entry| entry.expect("the folder can be read").path());
    let output = Command::new(PROGRAM).arg("test").args(files).output().expect("it can be started");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// A gateway with these examples, each with the agent that is at this address, and open or not, hours by hours.
pub(crate) fn gateway(settings: &str, files: &[(String, SocketAddr)], open: &[bool]) -> Gateway {
    let folder = Folder::new("", &[]);
    let text = fs::read_to_string(policies("examples").join(settings)).expect("it is there");
    let text = text.replace("https://agents.example.com", &format!("http://{}", folder.listen));
    let text = text.replace("127.0.0.1:8080", &folder.listen.to_string());
    folder.write("gateway.yaml", &format!("{text}\nadmin: {{ address: \"{}\" }}\n", folder.admin));
    for (file, agent) in files {
        let text = fs::read_to_string(policies("examples").join(file)).expect("it is there");
        let name = Path::new(file).file_name().expect("it has a name");
        folder.write(&name.display().to_string(), &with_hours(&placed(&text, *agent), open));
    }
    let more = [
        ("SIGNALWIRE_SIGNING_KEY", SIGNING_KEY),
        ("RECEPTION_PASSWORD", "the-password-of-reception-alone"),
        ("SALES_PASSWORD", "the-password-of-sales-alone"),
        ("BILLING_PASSWORD", "the-password-of-billing-alone"),
        ("RECEPTION_USER", crate::harness::agent::USER),
        ("SALES_USER", crate::harness::agent::USER),
        ("BILLING_USER", crate::harness::agent::USER),
    ];
    let own = ["GATEWAY_PASSWORD_BEFORE", "SWAIGATE_TOKEN_KEY", "TRANSFER_CODE_KEY"];
    let of_files = ENVIRONMENT.into_iter().filter(|(name, _)| own.contains(name));
    let env: Vec<_> = of_files.chain(more).collect();
    folder.start_told(&["run", "--config", "gateway.yaml"], &env)
}

/// The agent is here, and found under whatever host the gateway is. It isn't asked how it is, where tests listen for silence.
fn placed(text: &str, agent: SocketAddr) -> String {
    let is = |line: &str, key: &str| line.trim_start().starts_with(key);
    let place = |line: &str| match line {
        line if is(line, "url: http://127.0.0.1:") => format!("  url: http://{agent}\n"),
        line if is(line, "servers: [") => format!("  servers: ['{agent}']\n"),
        line if is(line, "health: { path: ") || line == "  host: agents.example.com" => String::new(),
        line => format!("{line}\n"),
    };
    text.lines().map(place).collect()
}

/// The hours of a file, in the order in which they stand there: open all day, or at another time of the day than now.
fn with_hours(text: &str, open: &[bool]) -> String {
    let mut parts = text.split("zone: ");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        let end = part.find([',', '\n']).unwrap_or(part.len());
        let hour = (Timestamp::now().as_second() / 3600 + 6) % 24;
        let closed = format!("['{hour:02}:00-{hour:02}:01']");
        let span = if open[number] { "['00:00-24:00']" } else { &closed };
        let part = with_list(&part[end..], "open: ", span);
        result.push_str(&format!("zone: UTC{}", with_list(&part, "holidays: ", "['2000-01-01']")));
    }
    result
}

/// With another list behind the first of these keys.
fn with_list(text: &str, key: &str, list: &str) -> String {
    let Some(start) = text.find(key).map(|at| at + key.len()) else { return text.to_owned() };
    let end = text[start..].find(']').map_or(text.len(), |at| start + at + 1);
    format!("{}{list}{}", &text[..start], &text[end..])
}

// === impl Stage ===

impl Stage {
    /// With the agent that the example is for, which checks signatures too.
    pub(crate) fn of(file: &str, role: &str, sdk: Sdk, open: &[bool]) -> Self {
        let address = free_address();
        let tap = Tap::on(address);
        let mut env = vec![("SWML_PROXY_URL_BASE", format!("http://{}", tap.address))];
        if role == "bank" {
            env.push(("SIGNALWIRE_SIGNING_KEY", SIGNING_KEY.to_owned()));
        }
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let agent = sdk.start_playing(role, address, &env);
        Self { gateway: gateway("gateway.yaml", &[(file.to_owned(), tap.address)], open), agent, tap }
    }

    /// The strictest policy, before an agent that knows nothing of it.
    pub(crate) fn strict(sdk: Sdk) -> Self {
        let address = free_address();
        let tap = Tap::on(address);
        let base = format!("http://{}", tap.address);
        let agent = sdk.start_told(address, &[("SWML_PROXY_URL_BASE", &base), ("AGENT_ROUTE", "/strict")]);
        Self { gateway: gateway("gateway.yaml", &[("strict.yaml".to_owned(), tap.address)], &[]), agent, tap }
    }
}
