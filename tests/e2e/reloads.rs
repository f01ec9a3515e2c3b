//! What is changed while the gateway runs, and what is wrong before it does.

use std::fs;

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, Gateway, Policy},
    platform::Call,
    until,
};

fn policy() -> Policy {
    Policy::of(Sdk::Rust.shared().address)
}

/// What callers hear, which each version of the policy here says in other words.
fn said(gateway: &Gateway) -> Option<String> {
    let call = Call::new();
    gateway.platform().fetch(&call);
    gateway.platform().fetch_request("", &call.again()).send().last_words()
}

fn saying(words: &str) -> String {
    policy().and(&format!("limits: [{{ per: caller, allow: 1, every: 1h }}]\nsay: {{ limited: \"{words}\" }}")).yaml()
}

#[test]
fn a_changed_file_takes_effect_and_a_bad_one_does_not() {
    let gateway = policy().start();
    let change = |text: &str, result: &str| {
        let before = gateway.reloads(result);
        gateway.folder.write_policy("bank", text);
        gateway.wait_for_reloads(result, before + 1);
    };
    change(&saying("The first words."), "ok");
    assert_eq!(said(&gateway).as_deref(), Some("The first words."));

    change(&saying("Never said.").replace("limited:", "limted:"), "refused");
    assert_eq!(said(&gateway).as_deref(), Some("The first words."), "the last good one stays");
    let line = saying("").lines().position(|line| line.starts_with("say:")).expect("it has that line") + 1;
    let told = format!("policies/bank.yaml:{line}:8: ");
    assert!(gateway.process.stderr().contains(&told), "{told} in {}", gateway.process.stderr());
    assert!(gateway.process.stderr().contains("`limited`"), "the nearest key");

    change(&saying("The second words."), "ok");
    assert_eq!(said(&gateway).as_deref(), Some("The second words."));
}

#[test]
fn sighup_loads_again_and_secrets_in_files_too() {
    let folder = Folder::new("", &[&policy().platform("users: [{ username: signalwire, password_file: password }]")]);
    let secret = folder.path("policies/password");
    fs::write(&secret, "the-first-password-of-all").expect("the folder can be written");
    let gateway = folder.start(&["run", "--config", "gateway.yaml"]);
    let status = |password: &str| {
        gateway.platform().with_user("signalwire", password).fetch_request("", &Call::new()).send().status
    };
    assert_eq!((status("the-first-password-of-all"), status("the-second-password")), (200, 401));
    fs::write(&secret, "the-second-password").expect("the folder can be written");
    gateway.process.signal("HUP");
    until("the new password is good", || (status("the-second-password") == 200).then_some(()));
    assert_eq!(status("the-first-password-of-all"), 401);
}

#[test]
fn agents_come_and_go() {
    let gateway = policy().start();
    let reload = |change: &dyn Fn()| {
        let before = gateway.reloads("ok");
        change();
        gateway.wait_for_reloads("ok", before + 1);
    };
    let second = policy().named("second").at("/second").with_upstream_path("/bank");
    reload(&|| gateway.folder.write_policy("second", &second.yaml()));
    gateway.platform_of("/second").fetch(&Call::new());
    // A request is counted when its answer has been written, which the client may see first.
    let is_seen = || gateway.admin("/metrics").text().contains(r#"agent="second""#);
    until("it has series of its own", || is_seen().then_some(()));
    fs::remove_file(gateway.folder.path("policies/second.yaml")).expect("it was there");
    let status = || gateway.platform_of("/second").fetch_request("", &Call::new()).send().status;
    until("it is gone", || (status() == 404).then_some(()));
    until("its series go with it", || (!is_seen()).then_some(()));
}

#[test]
fn a_call_under_way_outlives_a_reload_and_a_restart() {
    let agent = Sdk::Rust.shared();
    let gateway = policy().start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    let ask = || {
        let arguments = serde_json::json!({ "account": "1" });
        document.function_request(&call, "get_balance", &arguments).send().response()
    };
    let before = gateway.reloads("ok");
    gateway.process.signal("HUP");
    gateway.wait_for_reloads("ok", before + 1);
    assert_eq!(ask(), "Balance of 1 is $150.00");
    let gateway = gateway.restart();
    assert_eq!(ask(), "Balance of 1 is $150.00", "the token key is kept");
    assert_eq!(agent.ran(&call, "get_balance"), 2);
    drop(gateway);
}

/// All mistakes at once, each with its place and what was probably meant.
const BROKEN: &str = "\
agent: bank
mach: { path: /bank }
upstream:
  url: ftp://127.0.0.1:3000
  usernam_env: AGENT_USER
limits:
  - { per: calller, allow: 10, every: 1m }
  - { per: call, allow: 0, every: 60 }
";

#[test]
fn check_tells_all_mistakes_at_once() {
    let folder = Folder::new("", &[]);
    folder.write_policy("bank", BROKEN);
    let (code, _, told) = folder.run_to_the_end(&["check", "--config", "gateway.yaml"]);
    assert_eq!(code, Some(1), "{told}");
    let expected = [
        ("2:1", "`match`"),
        ("4:8", "http"),
        ("5:3", "`username_env`"),
        ("7:12", "`caller`"),
        ("8:25", "1000000"),
        ("8:35", "unit"),
    ];
    for (place, meant) in expected {
        let line = told.lines().find(|line| line.contains(&format!("policies/bank.yaml:{place}: ")));
        let line = line.unwrap_or_else(|| panic!("{place} is not in:\n{told}"));
        assert!(line.contains(meant), "{meant} is not in: {line}");
    }
    assert!(told.contains("6 mistakes"), "{told}");
}

#[test]
fn check_is_content_with_what_is_in_order_and_run_refuses_what_is_not() {
    let folder = Folder::new("", &[&policy()]);
    let (code, said, told) = folder.run_to_the_end(&["check", "--config", "gateway.yaml"]);
    assert_eq!((code, said.contains("in order, with 1 policy")), (Some(0), true), "{said}{told}");
    folder.write_settings("thread: 2");
    for command in ["check", "run"] {
        let (code, _, told) = folder.run_to_the_end(&[command, "--config", "gateway.yaml"]);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("gateway.yaml:3:1: ") && told.contains("`threads`"), "{told}");
    }
}
