//! The tools for policies, with the log of a real gateway.

use serde_json::{Value, json};

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, Policy},
    http::{Answer, Request},
    platform::{Call, Document, Platform, function_call},
};

const RULES: &str = "\
limits: [{ per: caller, allow: 8, every: 1h }]
calls: { concurrent_per_caller: 2 }
tokens: { ended_grace: 0s }
functions:
  get_balance: { limits: [{ per: call, allow: 3, every: 1h }] }
  transfer_funds:
    requires: [{ function: get_balance, success: { pointer: /response, equals: Balance of 7 is $150.00 } }]
    confirm: { words: [\"yes\"] }
    pin: { to_account: global_data.account }
    once: true
";

fn ask(document: &Document, call: &Call, function: &str, arguments: &Value, said: &[&str]) -> Answer {
    let mut body = function_call(call, function, arguments);
    body["global_data"] = json!({ "account": "0123456789" });
    body["call_log"] = said.iter().map(|text| json!({ "role": "user", "content": text })).collect();
    Request::post(&document.function_url(function), body.to_string()).send()
}

/// What `replay` says of the log, under the policies of this folder.
fn replayed(folder: &Folder, policies: &str) -> Value {
    let arguments = ["replay", "audit/audit.jsonl", "--config", "gateway.yaml", "--policies", policies, "--json"];
    let (code, told, errors) = folder.run_to_the_end(&arguments);
    assert_eq!(code, Some(0), "{errors}");
    serde_json::from_str(&told).expect("JSON")
}

#[test]
fn the_log_of_a_gateway_is_decided_again_as_it_was_and_otherwise_by_other_policies() {
    for sdk in [Sdk::Python, Sdk::Rust] {
        let gateway = Policy::of(sdk.shared().address).and(RULES).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        let transfer = json!({ "to_account": "0123456789", "amount": 5 });
        let balance = |account: &str| json!({ "account": account });
        let asked: Vec<Answer> = vec![
            ask(&document, &call, "transfer_funds", &transfer, &[]),
            ask(&document, &call, "get_balance", &balance("8"), &[]),
            ask(&document, &call, "get_balance", &json!({ "account": [1] }), &[]),
            ask(&document, &call, "get_balance", &balance("7"), &[]),
            ask(&document, &call, "transfer_funds", &json!({ "to_account": "1", "amount": 5 }), &["hello"]),
            ask(&document, &call, "transfer_funds", &transfer, &["hello"]),
            ask(&document, &call, "transfer_funds", &transfer, &["hello", "no"]),
            ask(&document, &call, "transfer_funds", &transfer, &["hello", "no", "yes"]),
            ask(&document, &call, "transfer_funds", &transfer, &["hello", "no", "yes", "yes"]),
            ask(&document, &call, "get_balance", &balance("9"), &[]),
            ask(&document, &call, "get_balance", &balance("9"), &["more"]),
        ];
        let reasons: Vec<_> = asked.iter().map(|answer| gateway.reason_of(answer)).collect();
        for reason in
            ["precondition", "arguments_invalid", "argument_pinned", "confirmation_asked", "repeated", "limited"]
        {
            assert!(reasons.iter().any(|known| known == reason), "{sdk:?}: {reason} is not in {reasons:?}");
        }
        assert_eq!(Platform::summarize(&document, &call, 100).status, 200);
        let late = ask(&document, &call, "get_balance", &balance("7"), &["late"]);
        assert_eq!(gateway.reason_of(&late), "call_ended", "{sdk:?}");
        let (second, third) = (call.again(), call.again());
        let began = [&second, &third].map(|call| gateway.platform().fetch_request("", call).send());
        let fourth = gateway.platform().fetch_request("", &call.again()).send();
        assert_eq!([gateway.reason_of(&began[1]), gateway.reason_of(&fourth)], ["ok", "too_many_calls"], "{sdk:?}");

        let records = gateway.audit().len() as u64;
        let folder = &gateway.folder;
        let same = replayed(folder, "policies");
        assert_eq!((&same["different"], &same["undecidable"], &same["unreadable"]), (&json!(0), &json!([]), &json!(0)));
        assert_eq!(same["records"].as_u64(), Some(records), "{same:#}");

        std::fs::create_dir(folder.path("new")).expect("a folder");
        let stricter = RULES.replace("once: true", "publish: false").replace("allow: 3", "allow: 1");
        let policy = Policy::of(sdk.shared().address).and(&stricter).yaml();
        std::fs::write(folder.path("new/bank.yaml"), policy).expect("a policy");
        let other = replayed(folder, "new");
        let changes = other["changes"].as_array().expect("a list");
        let has = |function: &str, was: &str, now: &str| {
            let is_it = |change: &&Value| {
                (&change["function"], &change["was"], &change["now"]) == (&json!(function), &json!(was), &json!(now))
            };
            changes.iter().any(|change| is_it(&change))
        };
        assert!(has("transfer_funds", "ok", "function_denied"), "{other:#}");
        assert!(has("get_balance", "ok", "limited"), "{other:#}");
    }
}

#[test]
fn tests_and_explanations_are_told_on_the_command_line() {
    let folder = Folder::new("", &[&Policy::of(crate::harness::free_address()).and(RULES)]);
    let tests = |reason: &str| {
        format!("agent: bank\ntests:\n  - name: too early\n    steps: [{{ call: transfer_funds, arguments: {{ to_account: \"1\" }}, global_data: {{}}, expect: {reason} }}]\n")
            .replace("global_data: {}, ", "")
    };
    std::fs::write(folder.path("good.yaml"), tests("argument_pinned")).expect("tests");
    std::fs::write(folder.path("bad.yaml"), tests("limited")).expect("tests");
    let run = |files: &[&str]| {
        let arguments: Vec<&str> =
            ["test", "--config", "gateway.yaml"].into_iter().chain(files.iter().copied()).collect();
        folder.run_to_the_end(&arguments)
    };
    let (code, told, _) = run(&["good.yaml"]);
    assert_eq!((code, told.contains("test too early ... ok")), (Some(0), true), "{told}");
    let (code, told, _) = run(&["good.yaml", "bad.yaml"]);
    assert_eq!((code, told.contains("1 passed; 1 failed")), (Some(1), true), "{told}");
    assert!(told.contains("bad.yaml:4:13: call transfer_funds"), "{told}");

    let (code, told, _) = folder.run_to_the_end(&["explain", "bank", "transfer_funds"]);
    assert_eq!((code, told.contains("transfer_funds of bank")), (Some(0), true), "{told}");
    let (code, told, _) = folder.run_to_the_end(&["explain", "bank", "transfer_funds", "--json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((code, &told["function"]), (Some(0), &json!("transfer_funds")));
    let (code, _, errors) = folder.run_to_the_end(&["explain", "shop", "x"]);
    assert_eq!((code, errors.contains("no agent `shop`; there are bank")), (Some(1), true), "{errors}");
}
