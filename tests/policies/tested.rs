//! `swaigate test`.

use std::{fs, path::PathBuf};

use swaigate::trial::{Tally, try_files};

fn shipped(folder: &str) -> Vec<PathBuf> {
    let folder = format!("{}/../../policies/{folder}", env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(folder).expect("the folder is shipped").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

#[test]
fn a_policy_that_changes_documents_is_tried_too() {
    let rules = "calls: { max_duration: 10m }\nprompt: { append: [confirmation] }\negress: { allow: [] }";
    let policy = format!("agent: bank\nupstream: {{ url: 'http://127.0.0.1:3000' }}\n{rules}\n");
    let tests = "policy: bank.yaml\ntests: [{ name: a call, steps: [{ begin: call }, { call: get_balance }] }]\n";
    let tally = tried(&policy, tests).expect("tests without a mistake");
    assert_eq!((tally.passed, tally.failures), (1, Vec::<String>::new()));
}

/// What comes of tests of this policy.
fn tried(policy: &str, tests: &str) -> anyhow::Result<Tally> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("bank.yaml"), policy).expect("a policy");
    let path = folder.path().join("tests.yaml");
    fs::write(&path, tests).expect("tests");
    try_files(&[path], None, |_| ())
}

#[test]
fn the_shipped_policies_do_what_their_tests_say() {
    let tally = try_files(&shipped("tests"), None, |_| ()).expect("tests without a mistake");
    assert_eq!(tally.failures, Vec::<String>::new());
    assert!(tally.passed > 10);
}

#[test]
fn each_example_has_its_tests() {
    let tested: Vec<_> = shipped("tests").iter().map(|path| path.file_name().map(ToOwned::to_owned)).collect();
    for example in shipped("examples") {
        let name = example.file_name().map(ToOwned::to_owned);
        let is_policy = fs::read_to_string(&example).expect("a file").contains("\nagent:");
        assert!(!is_policy || tested.contains(&name), "policies/tests lacks {name:?}");
    }
}

#[test]
fn the_pages_example_is_one() {
    let page = include_str!("../../policies/README.md");
    let start = page.find("policy: ../examples/bank.yaml").expect("the example");
    let (example, _) = page[start..].split_once("```").expect("its end");
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tests.yaml");
    fs::write(&path, example.replace("..", policies)).expect("tests");
    let tally = try_files(&[path], None, |_| ()).expect("tests without a mistake");
    assert_eq!((tally.passed, tally.failures), (1, Vec::new()));
}

const POLICY: &str = r#"
agent: bank
upstream: { url: "http://127.0.0.1:3000", username_env: AGENT_USER, password_env: AGENT_PASSWORD, signing_key_env: AGENT_KEY }
platform:
  users: [{ username: signalwire, password_env: PASSWORD }, { username: other, password_hash_env: HASH }]
  signing_keys_env: [SIGNING_KEY]
calls: { concurrent_per_caller: 1 }
functions:
  verify_caller: { verify: { argument: code, code_hash_env: CODE_HASH } }
  transfer_funds:
    requires: [{ function: look_up, success: { pointer: /action/0/set_global_data/known, equals: true } }]
    verify: { argument: code, totp_env: TOTP, when: { properties: { amount: { minimum: 1000 } }, required: [amount] } }
    confirm: { words: ["yes"] }
    pin: { account: global_data.account }
  hidden: { publish: false }
  tried: { mode: shadow, hours: { zone: UTC, open: ["Mon 01:00-02:00"] } }
"#;

const TESTS: &str = r#"
policy: bank.yaml
environment: { CODE_HASH: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$Jj3HHfVBGsHkrvzcgRvwqw" }
functions: { look_up: { number: { type: integer } }, hidden: {}, of_the_agent: {} }
tests:
  - name: a transfer needs to be known, a code and a yes
    at: 2026-11-24T10:00:00-05:00
    global_data: { account: "1" }
    steps:
      - { begin: call, publishes: [look_up, of_the_agent], lacks: [hidden] }
      - { call: transfer_funds, arguments: { account: "1" }, expect: precondition }
      - { call: look_up, arguments: { number: x }, expect: arguments_invalid, says: number again }
      - { call: look_up, arguments: { number: 1 }, answer: { response: ok, action: [{ set_global_data: { known: true } }] } }
      - { call: transfer_funds, arguments: { account: "2" }, expect: argument_pinned }
      - { call: transfer_funds, arguments: { account: "1", amount: 5000 }, expect: code_missing }
      - { call: transfer_funds, arguments: { account: "1", amount: 5000 }, code: wrong, expect: code_wrong }
      - { call: transfer_funds, arguments: { account: "1", amount: 5000 }, code: valid, expect: confirmation_asked }
      - { call: transfer_funds, arguments: { account: "1", amount: 5 }, expect: confirmation_asked }
      - turn: "no"
      - { call: transfer_funds, arguments: { account: "1", amount: 5 }, expect: confirmation_asked }
      - turn: "yes"
      - { call: transfer_funds, arguments: { account: "1", amount: 5 }, says: ok }
  - name: a caller has one call at a time
    caller: "+1 555 123 0009"
    client: 192.0.2.7
    steps:
      - begin: first
      - { begin: second, expect: too_many_calls, says: All lines are busy }
      - { begin: of another, caller: withheld }
      - end: first
      - begin: third
      - { call: tried, in: third, shadow: [hours] }
      - { call: hidden, in: third, expect: function_denied }
  - name: a code that is known by its hash alone can't be made up
    steps:
      - { call: verify_caller, code: wrong, expect: code_wrong }
"#;

#[test]
fn all_steps_do_what_they_say() {
    let tally = tried(POLICY, TESTS).expect("tests without a mistake");
    assert_eq!((tally.passed, tally.failures), (3, Vec::new()));
}

#[test]
fn a_wrong_expectation_fails_where_it_stands_and_says_what_came() {
    let one = |step: &str| {
        let tests =
            format!("policy: bank.yaml\ntests:\n  - name: one\n    steps:\n      - call: look_up\n      - {step}\n");
        let tally = tried(POLICY, &tests).expect("tests without a mistake");
        assert_eq!((tally.passed, tally.failures.len()), (0, 1), "{step}");
        let failure = &tally.failures[0];
        assert!(failure.contains("tests.yaml:6:9: "), "{failure}");
        failure.clone()
    };
    let failure = one("{ call: look_up, expect: limited }");
    assert!(
        failure.contains("call look_up\n    expected limited (A limit is reached.)\n    came     ok (The agent"),
        "{failure}"
    );
    for (step, told) in [
        ("{ call: hidden }", "came     function_denied"),
        ("{ call: look_up, says: something else }", "heard            \"ok\""),
        ("{ call: tried }", "in shadow that would refuse: none\n    came: hours"),
        ("{ call: look_up, shadow: [once] }", "would refuse: once\n    came: none"),
        ("{ begin: x, caller: withheld, publishes: [hidden] }", "the document lacks the function `hidden`"),
        ("{ begin: x, caller: withheld, lacks: [look_up] }", "the document has the function `look_up`"),
        ("{ call: look_up, in: nowhere }", "there is no call `nowhere`"),
        ("at: 2020-01-01T00:00:00Z", "time doesn't go back"),
        ("end: nothing", "there is no call `nothing`"),
        ("{ call: verify_caller, code: valid }", "knows the code by its hash alone"),
        ("{ call: look_up, code: valid }", "asks for no code here"),
    ] {
        let failure = one(step);
        assert!(failure.contains(told), "{step}: {failure}");
    }
    // A step that is done several times says which time it was.
    let tests = "policy: bank.yaml\ntests: [{ name: x, steps: [{ begin: x, times: 2 }] }]";
    let failure = tried(POLICY, tests).expect("tests without a mistake").failures.remove(0);
    assert!(failure.contains("call `x` begins, time 2 of 2\n    expected ok"), "{failure}");
}

#[test]
fn mistakes_have_their_places() {
    let step = |step: &str| format!("policy: bank.yaml\ntests:\n  - name: one\n    steps: [{step}]\n");
    for (tests, told) in [
        ("tests: []".to_owned(), "tests.yaml:1:1: `policy` is missing"),
        ("policy: bank.yaml\nagent: bank\ntests: []".to_owned(), "`agent` and `policy` exclude each other"),
        ("policy: bank.yaml\ntests: []".to_owned(), "there are no tests"),
        ("agent: bank\ntests: [{ name: x, steps: [] }]".to_owned(), "name that with --config"),
        (
            "policy: nothing.yaml\ntests: [{ name: x, steps: [] }]".to_owned(),
            "nothing.yaml:1:1: the file can't be read",
        ),
        (step("{ expects: ok }"), "4:13: nothing happens here; a step has one of call, begin"),
        (step("{ call: f, expct: ok }"), "4:24: unknown key `expct`; did you mean `expect`?"),
        (step("{ call: f, expect: lmited }"), "`expect`: write `ok`, or a reason"),
        (step("{ call: f, turn: x }"), "exclude each other"),
        (step("{ after: 5 }"), "`after` needs a unit"),
        (step("{ at: yesterday }"), "write a time like"),
        (step("{ begin: x, caller: nobody }"), "or `withheld`"),
    ] {
        let told_us = tried(POLICY, &tests).expect_err(&tests).to_string();
        assert!(told_us.contains(told), "{tests}: {told_us}");
    }
}
