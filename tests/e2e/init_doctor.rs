//! `init` and `doctor`: what is asked of an agent before it is protected.

use std::fs;

use serde_json::json;

use crate::harness::{
    agent::{Agent, PASSWORD, Sdk, USER},
    free_address,
    gateway::Folder,
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
