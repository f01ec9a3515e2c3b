//! Whoever is locked out by a person is so on the next request, and stays so until a person says otherwise.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{
    agent::Sdk,
    gateway::{GATEWAY_USER, Gateway, Policy},
    http::Request,
    platform::{Call, Document, Platform},
    until,
};

const SAID: &str = "I'm sorry, that isn't available for this caller.";

fn lock_out(gateway: &Gateway, subject: Value) -> String {
    let order = json!({ "subject": subject, "who": "ann", "why": "scans, ticket 17" });
    let answer = gateway.api("POST", "/v1/lockouts", &order).send();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().expect("it has an id").to_owned()
}

fn let_in(gateway: &Gateway, id: &str) {
    let word = json!({ "who": "bob", "why": "all clear" });
    let answer = gateway.api("DELETE", &format!("/v1/lockouts/{id}"), &word).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn lockouts(gateway: &Gateway) -> Vec<Value> {
    gateway.api("GET", "/v1/lockouts", &Value::Null).send().json().as_array().expect("it is a list").clone()
}

/// The records of changes, once there are so many.
fn recorded(gateway: &Gateway, count: usize) -> Vec<Value> {
    until("the changes are recorded", || {
        let changes = gateway.audit().into_iter().filter(|record| record["event"] == "lockout").collect::<Vec<_>>();
        (changes.len() == count).then_some(changes)
    })
}

fn says(document: &Document, call: &Call, function: &str) -> String {
    Platform::call_function(document, call, function, &json!({ "account": "1" })).response()
}

#[test]
fn an_address_that_is_locked_out_gets_nothing_and_its_neighbours_everything() {
    let agent = Sdk::Rust.shared();
    let tap = agent.tap();
    let gateway = Policy::through(&tap, agent).and("expose: [health]").start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    // All tests ask from 127.0.0.1.
    lock_out(&gateway, json!({ "address": "127.0.0.2" }));
    lock_out(&gateway, json!({ "address": "2001:db8::/64" }));
    assert_ne!(says(&document, &call, "get_balance"), SAID);
    let id = lock_out(&gateway, json!({ "address": "127.0.0.0/8" }));
    let function = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
    for request in [
        gateway.platform().fetch_request("", &call.again()),
        function.clone(),
        gateway.request("GET", "/bank/health"),
        gateway.request("GET", "/nothing").anonymous(),
    ] {
        let refused = tap.stays_silent("who is locked out", || request.send());
        assert_eq!((refused.status, refused.text()), (403, "{\"error\":\"forbidden\"}"), "{}", request.url);
        let record = gateway.record_of(&refused);
        let told = (&record["reason"], &record["lockout"], &record["agent"]);
        assert_eq!(told, (&json!("address_locked"), &json!("address 127.0.0.0/8"), &Value::Null));
    }
    assert_eq!(gateway.admin("/readyz").status, 200, "the operator's door is another");
    let_in(&gateway, &id);
    assert_eq!(function.send().status, 200);
}

#[test]
fn a_caller_who_is_locked_out_hears_so_whoever_the_body_names() {
    for sdk in [Sdk::Rust, Sdk::PYTHON[0]] {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).start();
        let (call, other) = (Call::new(), Call::new());
        let (document, others) = (gateway.platform().fetch(&call), gateway.platform().fetch(&other));
        let id = lock_out(&gateway, json!({ "caller": call.from }));
        let refused = Platform::call_function(&document, &call, "get_balance", &json!({ "account": "1" }));
        let record = gateway.record_of(&refused);
        assert_eq!((refused.response().as_str(), &record["reason"]), (SAID, &json!("caller_locked")), "{sdk:?}");
        assert_eq!(record["lockout"], format!("caller {}", call.from));
        let pretender = Call { from: "+15559998888".to_owned(), ..call.clone() };
        assert_eq!(says(&document, &pretender, "get_balance"), SAID, "{sdk:?}");
        let again = gateway.platform().fetch_request("", &call.again()).send();
        assert_eq!(again.last_words().as_deref(), Some(SAID), "{sdk:?}");
        // And nobody else is, not even by naming the caller.
        let naming = Call { from: call.from.clone(), ..other.clone() };
        assert!(says(&others, &other, "get_balance") != SAID && says(&others, &naming, "get_balance") != SAID);
        // A clean-up passes.
        assert_eq!(Platform::summarize(&document, &call, 1000).status, 200, "{sdk:?}");
        assert_eq!(agent.ran(&call, "get_balance"), 0, "{sdk:?}");
        let_in(&gateway, &id);
        let newer = call.again();
        assert_ne!(says(&gateway.platform().fetch(&newer), &newer, "get_balance"), SAID, "{sdk:?}");
    }
}

#[test]
fn the_password_of_a_user_who_is_locked_out_is_as_good_as_a_wrong_one() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    let id = lock_out(&gateway, json!({ "user": GATEWAY_USER }));
    let fetch = gateway.platform().fetch_request("", &call.again());
    let (locked, wrong) = (fetch.send(), fetch.clone().with_user(GATEWAY_USER, "a guess").send());
    let unlocked = |name: &str| fetch.clone().with_user(name, "a guess").send();
    for (answer, reason) in
        [(&locked, "user_locked"), (&wrong, "user_locked"), (&unlocked("nobody"), "credentials_wrong")]
    {
        assert_eq!((answer.status, answer.text()), (401, "{\"error\":\"unauthorized\"}"));
        assert_eq!(gateway.reason_of(answer), reason);
    }
    assert_ne!(says(&document, &call, "get_balance"), SAID, "calls under way go on");
    let_in(&gateway, &id);
    assert_eq!(fetch.send().status, 200);
}

#[test]
fn a_lockout_outlives_a_crash_is_recorded_and_ends_by_itself() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let kept = lock_out(&gateway, json!({ "address": "192.0.2.0/24" }));
    lock_out(&gateway, json!({ "user": "nobody" }));
    // Once more is the same lockout, with the later word.
    let again = json!({ "subject": { "address": "192.0.2.0/24" }, "who": "eve", "why": "still" });
    let answer = gateway.api("POST", "/v1/lockouts", &again).send();
    assert_eq!((answer.status, answer.json()["id"].as_str()), (200, Some(kept.as_str())));
    let before = lockouts(&gateway);
    // An order is on the disk when it is acknowledged; its record follows within milliseconds.
    recorded(&gateway, 3);
    let gateway = gateway.crash();
    assert_eq!(lockouts(&gateway), before);
    assert_eq!(gateway.metric("swaigate_lockouts{kind=\"address\"}"), 1);
    let_in(&gateway, &kept);
    let started = Instant::now();
    let short = json!({ "subject": { "caller": "+15550000001" }, "who": "ann", "why": "for a while", "for": "1s" });
    assert_eq!(gateway.api("POST", "/v1/lockouts", &short).send().status, 201);
    until("its time is over", || (lockouts(&gateway).len() == 1).then_some(()));
    assert!(started.elapsed().as_millis() >= 1000);
    let records = recorded(&gateway, 6);
    let told: Vec<_> = records.iter().map(|record| [&record["action"], &record["who"], &record["lockout"]]).collect();
    let (network, nobody, caller) = ("address 192.0.2.0/24", "user nobody", "caller +15550000001");
    assert_eq!(
        told,
        [
            ["on", "ann", network],
            ["on", "ann", nobody],
            ["on", "eve", network],
            ["off", "bob", network],
            ["on", "ann", caller],
            ["off", "swaigate", caller],
        ]
    );
    assert_eq!(records[3]["lockout_id"], kept);
    assert_eq!(gateway.metric("swaigate_lockout_changes_total{action=\"off\"}"), 2);
}

#[test]
fn mistakes_lock_nobody_out_and_say_what_is_meant() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let order = |subject: Value| json!({ "subject": subject, "who": "ann", "why": "x" });
    for (body, words) in [
        (order(json!({})), "`subject` must be"),
        (order(json!({ "address": "127.0.0.1", "user": "x" })), "`subject` must be"),
        (order(json!({ "address": "example.com" })), "must be an IP address or a network"),
        (order(json!({ "address": "0.0.0.0/0" })), "turn an emergency switch on"),
        (order(json!({ "address": "127.0.0.1/8" })), "the network is 127.0.0.0/8"),
        (order(json!({ "caller": "anonymous" })), "phone number"),
        (order(json!({ "user": "call" })), "the user of all calls under way"),
        (json!({ "subject": { "user": "x" }, "who": "ann" }), "missing field `why`"),
        (json!({ "subject": { "user": "x" }, "who": "ann", "why": "x", "for": "0s" }), "from 1s to 8784h"),
    ] {
        let refused = gateway.api("POST", "/v1/lockouts", &body).send();
        let said = refused.json()["error"].as_str().expect("it says what is wrong").to_owned();
        assert!(refused.status == 400 && said.contains(words), "{body}: {said}");
    }
    let word = json!({ "who": "ann", "why": "x" });
    assert_eq!(gateway.api("DELETE", "/v1/lockouts/0123456789abcdef", &word).send().status, 404);
    assert!(lockouts(&gateway).is_empty());
}

#[test]
fn the_command_line_tells_plainly_who_is_locked_out() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let lockout = |arguments: &[&str]| gateway.operator(&[&["lockout"], arguments].concat());
    let (done, said, _) = lockout(&["list"]);
    assert!(done && said.starts_with("Nobody is locked out"), "{said}");
    let (done, said, told) = lockout(&["on", "--address", "127.0.0.0/8", "--why", "scans", "--for", "1h"]);
    assert!(done && said.contains("In force from the next request on: address 127.0.0.0/8"), "{said}{told}");
    assert!(said.contains("by ann: scans") && said.contains("1 lockout is in force"), "{said}");
    let asked: Request = gateway.platform().fetch_request("", &Call::new());
    assert_eq!(asked.send().status, 403);
    assert!(lockout(&["on", "--caller", "+1 555 000 0002", "--why", "fraud", "--who", "bob"]).0);
    let (done, said, told) = lockout(&["off", "--address", "127.0.0.1", "--why", "mended"]);
    assert!(!done && said.contains("2 lockouts are in force") && told.contains("nothing was changed"), "{said}{told}");
    let (done, said, _) = lockout(&["off", "--address", "127.0.0.0/8", "--why", "mended"]);
    assert!(done && said.contains("Ended: address 127.0.0.0/8") && said.contains("caller +15550000002"), "{said}");
    assert_eq!(asked.send().status, 200);
    for wrong in [&["on", "--why", "x"][..], &["on", "--user", "a", "--caller", "+15550000002", "--why", "x"]] {
        assert!(!lockout(wrong).0, "{wrong:?}");
    }
}
