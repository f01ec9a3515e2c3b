//! `init` and `doctor`: what is asked of an agent before it is protected.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{
    agent::{Agent, PASSWORD, Sdk, USER},
    free_address,
    gateway::{Folder, GATEWAY_PASSWORD, GATEWAY_USER, Policy},
    platform::{Call, Platform},
};

/// Runs `init` in a folder; nothing it says holds the agent's password.
fn init(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String, String) {
    let (code, stdout, stderr) = folder.run_to_the_end(&[&["init"], arguments].concat());
    assert!(!stdout.contains(PASSWORD) && !stderr.contains(PASSWORD), "{stdout}{stderr}");
    (code, stdout, stderr)
}

fn functions_run(agent: &Agent) -> usize {
    agent.did_all().iter().filter(|line| line["event"] == "tool").count()
}

#[test]
fn a_written_policy_protects_the_agent_it_was_written_for() {
    for sdk in Sdk::ALL {
        let agent = sdk.start();
        let folder = Folder::new("", &[]);
        let (code, _, told) = init(&folder, &["--upstream", &agent.url()]);
        assert_eq!(code, Some(0), "{sdk:?}: {told}");
        assert_eq!(functions_run(&agent), 0, "{sdk:?}");
        for expected in ["export SWML_BASIC_AUTH_PASSWORD=", "export GATEWAY_PASSWORD=", "stand in its document"] {
            assert!(told.contains(expected), "{sdk:?}: {expected} is not in\n{told}");
        }
        let file = fs::read_to_string(folder.path("policies/bank.yaml")).expect("it is written");
        assert!(!file.contains(PASSWORD) && !file.contains(USER), "{file}");
        assert!(file.contains("#   get_balance: # passes through the gateway"), "{file}");
        let runs_by_itself = file.contains("#   get_weather: # doesn't pass through the gateway");
        assert_eq!(runs_by_itself, sdk != Sdk::Rust, "{file}");

        let (code, said, mistakes) = folder.run_to_the_end(&["check", "--config", "gateway.yaml"]);
        assert_eq!(code, Some(0), "{sdk:?}: {said}{mistakes}");
        let gateway = folder.start(&["run", "--config", "gateway.yaml"]);
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        let answer = Platform::call_function(&document, &call, "get_balance", &json!({ "account": "7" }));
        assert_eq!(answer.response(), "Balance of 7 is $150.00", "{sdk:?}");
        assert_eq!(agent.ran(&call, "get_balance"), 1, "{sdk:?}");
    }
}

#[test]
fn a_policy_that_is_there_is_written_over_only_by_force() {
    let agent = Sdk::Rust.shared();
    let folder = Folder::new("", &[]);
    let url = agent.url();
    let written = || fs::read_to_string(folder.path("policies/shop.yaml")).expect("it is there");
    folder.write_policy("shop", "mine");
    let (code, _, told) = init(&folder, &["--upstream", &url, "--agent", "shop"]);
    assert_eq!((code, written().as_str()), (Some(1), "mine"), "{told}");
    assert!(told.contains("--force"), "{told}");
    let (code, _, told) = init(&folder, &["--upstream", &url, "--agent", "shop", "--force"]);
    assert_eq!((code, written().contains("\nagent: shop\n")), (Some(0), true), "{told}");

    let (code, printed, _) = init(&folder, &["--upstream", &url, "--output", "-"]);
    assert_eq!((code, printed.contains("\nagent: bank\n")), (Some(0), true), "{printed}");
    assert!(!folder.path("policies/bank.yaml").exists());
    let (code, ..) = init(&folder, &["--upstream", &url, "--output", "mine.yaml"]);
    assert_eq!((code, fs::read_to_string(folder.path("mine.yaml")).ok()), (Some(0), Some(printed)));
}

#[test]
fn an_agent_that_gives_no_document_gets_no_policy() {
    let agent = Sdk::Python.shared();
    let folder = Folder::new("", &[]);
    let nobody = free_address();
    for (url, expected) in [
        (format!("http://{USER}:wrong@{}/bank", agent.address), "refuses the user and password"),
        (format!("http://{}/bank", agent.address), "asks for a password"),
        (format!("http://{USER}:{PASSWORD}@{}/nowhere", agent.address), "is that the agent's path?"),
        (format!("http://{USER}:{PASSWORD}@{nobody}/bank"), "doesn't answer"),
        (format!("http://{USER}:{PASSWORD}@{}/broken/duplicate-keys", Agent::broken().address), "twice"),
        (format!("http://{USER}:{PASSWORD}@{}/broken/server-error", Agent::broken().address), "answers 500"),
        (format!("ftp://{USER}:{PASSWORD}@127.0.0.1/"), "http"),
    ] {
        let (code, _, told) = init(&folder, &["--upstream", &url]);
        assert_eq!(code, Some(1), "{url}: {told}");
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
    let left = fs::read_dir(folder.path("policies")).expect("the folder").count();
    assert_eq!(left, 0, "nothing is written");
}

/// Runs `doctor --json`: its status, the names of what it found, worst first, and what it printed. Nothing it says holds
/// the password.
fn doctor(url: &str, more: &[&str]) -> (Option<i32>, Vec<String>, Value) {
    let folder = Folder::new("", &[]);
    let (code, stdout, stderr) = folder.run_to_the_end(&[&["doctor", "--json", "--upstream", url], more].concat());
    for secret in [PASSWORD, GATEWAY_PASSWORD] {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "{stdout}{stderr}");
    }
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    let findings = report["findings"].as_array().expect("a list").iter();
    let ids = findings.map(|finding| finding["id"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(report["unanswered"], json!([]), "{report}");
    assert!(report["requests"].as_u64().is_some_and(|requests| requests <= 26), "{report}");
    (code, ids, report)
}

/// The agent's document as a GET gets it, which keeps what a forged header changed, without what is made anew each time.
fn document(agent: &Agent) -> String {
    let text = agent.request("GET", "/bank/swaig?call_id=call-1").send().text().to_owned();
    let mut parts = text.split("__token=");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('"').map_or("", |(_, rest)| rest))
}

const PYTHON: [&str; 12] = [
    "host_poisoned",
    "credentials_in_document",
    "host_trusted",
    "functions_without_token",
    "ambiguous_json",
    "check_for_input",
    "debug",
    "large_bodies",
    "unknown_paths",
    "tokens_expire_early",
    "unsigned",
    "tokens_undecided",
];

const RUST: [&str; 6] = [
    "credentials_in_document",
    "host_trusted",
    "functions_without_token",
    "ambiguous_json",
    "large_bodies",
    "unsigned",
];

#[test]
fn the_doctor_finds_what_each_sdk_is_known_for_and_leaves_the_agent_as_it_was() {
    for (sdk, expected) in [(Sdk::Python, &PYTHON[..]), (Sdk::Old, &PYTHON), (Sdk::Rust, &RUST)] {
        let agent = sdk.start();
        // A POST first, as every call has it: it tells a Python agent where it is.
        agent.fetch("/bank", &Call::new());
        let before = document(&agent);
        let (code, found, report) = doctor(&agent.url(), &[]);
        assert_eq!((code, found), (Some(1), expected.iter().map(|id| (*id).to_owned()).collect()), "{sdk:?}: {report}");
        assert_eq!(functions_run(&agent), 0, "{sdk:?}");
        assert_eq!(document(&agent), before, "{sdk:?}");
        let without = report["findings"].as_array().expect("a list").iter();
        let without = without.filter(|finding| finding["id"] == "functions_without_token");
        let seen: Vec<_> = without.map(|finding| finding["seen"].as_str().unwrap_or_default()).collect();
        assert_eq!(seen[0].contains("transfer_funds"), sdk == Sdk::Rust, "{sdk:?}: {seen:?}");
    }
}

#[test]
fn an_agent_that_knows_its_address_is_not_poisoned_and_one_with_mcp_runs_functions_there() {
    let agent = Sdk::Python.shared();
    let (code, found, report) = doctor(&agent.url(), &[]);
    assert_eq!(code, Some(1), "{report}");
    assert!(found.contains(&"mcp".to_owned()), "{found:?}");
    assert!(!found.iter().any(|id| id.starts_with("host_") || id == "mcp_open"), "{found:?}");
}

#[test]
fn only_a_call_tells_whether_a_function_runs_without_its_token() {
    for (sdk, runs) in [(Sdk::Python, 0), (Sdk::Old, 1), (Sdk::Rust, 1)] {
        let agent = sdk.start();
        let (_, found, report) = doctor(&agent.url(), &["--call", "transfer_funds"]);
        assert_eq!(found.contains(&"token_not_required".to_owned()), runs == 1, "{sdk:?}: {report}");
        assert!(!found.contains(&"foreign_token".to_owned()), "{sdk:?}: {report}");
        assert!(!found.contains(&"tokens_undecided".to_owned()), "{sdk:?}: {report}");
        assert_eq!(functions_run(&agent), runs, "{sdk:?}");
    }
}

#[test]
fn behind_a_gateway_the_same_agents_have_no_weakness() {
    for sdk in Sdk::ALL {
        let agent = sdk.start();
        let gateway = Policy::of(agent.address).start();
        let url = format!("http://{GATEWAY_USER}:{GATEWAY_PASSWORD}@{}/bank", gateway.listen());
        for more in [&[][..], &["--call", "transfer_funds"]] {
            let (code, found, report) = doctor(&url, more);
            assert_eq!(code, Some(0), "{sdk:?} {more:?}: {report}");
            // An SDK's own tokens pass through a gateway; nothing else is left of the agent's.
            let notes: &[&str] = if sdk == Sdk::Rust { &["unsigned"] } else { &["tokens_expire_early", "unsigned"] };
            assert_eq!(found, notes, "{sdk:?} {more:?}");
        }
        assert_eq!(functions_run(&agent), 0, "{sdk:?}");
    }
}

#[test]
fn where_signatures_are_asked_for_the_key_is_named() {
    let agent = Sdk::Rust.shared();
    let gateway = Policy::of(agent.address).and_platform("signing_keys_env: [SIGNING_KEY]").start();
    let url = format!("http://{GATEWAY_USER}:{GATEWAY_PASSWORD}@{}/bank", gateway.listen());
    let (code, _, told) = Folder::new("", &[]).run_to_the_end(&["doctor", "--upstream", &url]);
    assert!(code == Some(2) && told.contains("--signing-key-env"), "{told}");
    let (code, found, report) = doctor(&url, &["--signing-key-env", "SIGNING_KEY"]);
    assert_eq!((code, found), (Some(0), vec![]), "{report}");
    let key = ["init", "--upstream", &url, "--output", "-", "--signing-key-env", "SIGNING_KEY"];
    let (code, written, told) = Folder::new("", &[]).run_to_the_end(&key);
    assert!(code == Some(0) && written.contains("get_balance"), "{written}{told}");
    let (code, _, told) =
        Folder::new("", &[]).run_to_the_end(&["doctor", "--upstream", &url, "--signing-key-env", "NO_KEY"]);
    assert!(code == Some(2) && told.contains("NO_KEY is not set"), "{told}");
}

#[test]
fn forged_headers_can_be_left_out() {
    let agent = Sdk::Old.start();
    let tap = agent.tap();
    let url = format!("http://{USER}:{PASSWORD}@{}/bank", tap.address);
    let (_, found, _) = doctor(&url, &["--no-forged-headers"]);
    let sent = String::from_utf8_lossy(&tap.bytes()).into_owned();
    assert!(!sent.contains("invalid") && !sent.to_lowercase().contains("forwarded"), "{sent}");
    assert!(!found.iter().any(|id| id.starts_with("host_")), "{found:?}");
    let (_, found, _) = doctor(&url, &[]);
    assert!(found.contains(&"host_trusted".to_owned()), "{found:?}");
    let called = tap.seen().into_iter().filter(|seen| seen.method == "POST" && seen.target.contains("/swaig"));
    let called: Vec<_> = called.map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert!(!called.is_empty() && called.iter().all(|body| body.contains("swaigate_doctor_nothing")), "{called:?}");
}

#[test]
fn what_cannot_be_examined_is_neither_well_nor_ill() {
    let python = Sdk::Python.shared();
    let broken = Agent::broken().address;
    let folder = Folder::new("", &[]);
    for (url, more) in [
        (format!("http://{USER}:{PASSWORD}@{}/bank", free_address()), &[][..]),
        (format!("http://{USER}:wrong@{}/bank", python.address), &[]),
        (format!("http://{USER}:{PASSWORD}@{broken}/broken/not-json"), &[]),
        (format!("http://{USER}:{PASSWORD}@{broken}/broken/cut-body"), &[]),
        (python.url(), &["--call", "nothing_like_that"]),
    ] {
        let (code, stdout, stderr) = folder.run_to_the_end(&[&["doctor", "--upstream", &url], more].concat());
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{url}: {stderr}");
        assert!(stderr.starts_with("swaigate: ") && !stderr.contains(PASSWORD), "{stderr}");
    }
}

#[test]
fn the_doctors_page_names_each_weakness_and_what_covers_it() {
    let agent = Sdk::Rust.shared();
    let (code, page, _) = Folder::new("", &[]).run_to_the_end(&["doctor", "--upstream", &agent.url()]);
    assert_eq!(code, Some(1), "{page}");
    for expected in ["high      credentials_in_document\n", "in Swaigate: always on; ", "no function was called.\n"] {
        assert!(page.contains(expected), "{expected} is not in\n{page}");
    }
    assert!(page.lines().all(|line| line.len() <= 100), "{page}");
    assert!(!page.contains(PASSWORD), "{page}");
}
