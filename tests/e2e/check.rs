//! `swaigate check`: what is wrong in the files is told, and what is unwise.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::harness::{
    free_address,
    gateway::{Folder, Policy},
};

const WISE: &str = "\
agent: bank
upstream: { url: http://127.0.0.1:3000 }
platform:
  users: [{ username: signalwire, password_file: password }]
  signing_keys_env: [SIGNING_KEY]
tokens: { unbound: deny }
limits: [{ per: caller, allow: 10, every: 1m }]
sensitive: [to_account]
prompt: { append: [security_boundaries, confirmation] }
detect: [{ name: calls, on: calls, per: caller, more_than: 20, every: 1h }]
functions: { default: { publish: false }, get_balance: { publish: true } }
";

/// A folder of which nothing is said, with this policy.
fn folder(policy: &str) -> Folder {
    let settings = "public_url: https://agents.example.com\ntoken_keys: [{ id: a, secret_env: TOKEN_KEY }]\naudit: { path: /var/log/swaigate/audit.jsonl }";
    let folder = Folder::new(settings, &[]);
    folder.write_policy("bank", policy);
    let secret = folder.path("policies/password");
    fs::write(&secret, "Zt3xW8vKq1LsP6yB0nRmC4hD9jFgA2uE").expect("the folder can be written");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).expect("it is ours");
    folder
}

fn check(folder: &Folder, more: &[&str]) -> (Option<i32>, String, String) {
    folder.run_to_the_end(&[&["check"], more].concat())
}

#[test]
fn nothing_is_said_of_files_that_are_wise() {
    let folder = folder(WISE);
    let (code, said, told) = check(&folder, &["--strict"]);
    assert_eq!((code, said.as_str()), (Some(0), "gateway.yaml: in order, with 1 policy\n"), "{told}");
}

#[test]
fn what_is_unwise_is_told_at_its_key_and_fails_only_where_that_is_asked_for() {
    let folder = folder(&WISE.replace("deny", "bind").replace("limits: [{ per: caller, allow: 10, every: 1m }]\n", ""));
    let secret = folder.path("policies/password");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let (code, said, _) = check(&folder, &[]);
    assert_eq!(code, Some(0));
    for (place, name) in [("1:1", "no_limits"), ("4:35", "readable_secret"), ("6:11", "unbound_documents")] {
        let is_told = |line: &str| {
            line.contains(&format!("policies/bank.yaml:{place}: warning: ")) && line.ends_with(&format!(" [{name}]"))
        };
        assert!(said.lines().any(is_told), "{name} is not in:\n{said}");
    }
    assert!(said.ends_with("in order, with 1 policy; 3 warnings\n"), "{said}");
    assert_eq!(check(&folder, &["--strict"]).0, Some(1));

    let (code, said, _) = check(&folder, &["--json"]);
    let said: Value = serde_json::from_str(&said).expect("it is JSON");
    assert_eq!((code, &said["policies"]), (Some(0), &json!(1)));
    let limits = said["warnings"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "no_limits"));
    let limits = limits.expect("it is there too");
    assert_eq!((&limits["line"], &limits["column"], &limits["agent"]), (&json!(1), &json!(1), &json!("bank")));
    assert!(limits["file"].as_str().is_some_and(|file| file.ends_with("policies/bank.yaml")), "{limits}");
}

#[test]
fn mistakes_are_told_to_machines_too() {
    let folder = folder(&WISE.replace("unbound", "unbond"));
    let (code, said, _) = check(&folder, &["--json"]);
    let said: Value = serde_json::from_str(&said).expect("it is JSON");
    let mistakes = said["mistakes"].as_array().expect("there are some");
    assert_eq!((code, mistakes.len()), (Some(1), 1));
    assert_eq!((&mistakes[0]["line"], &mistakes[0]["column"]), (&json!(6), &json!(11)), "{mistakes:?}");
}

#[test]
fn the_guides_checklist_is_gone_through() {
    let (code, said, _) = check(&folder(WISE), &["--checklist", "--strict"]);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "met            Strong Basic Auth credentials (32+ characters): ",
        "met            Rate limiting implemented: ",
        "can't be told  Incident response plan documented: ",
    ] {
        assert!(said.contains(line), "{line} is not in:\n{said}");
    }
    let weak = Folder::new("", &[&Policy::of(free_address())]);
    let (code, said, _) = check(&weak, &["--checklist", "--strict"]);
    assert!(code == Some(1) && said.contains("not met        Rate limiting implemented: "), "{said}");
}
