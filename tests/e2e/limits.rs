//! Who has asked too often hears so; the agent hears nothing.

use serde_json::json;

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, Gateway, Policy},
    http::Request,
    platform::{Call, Document, Platform},
};

const TEN: &str = "limits: [{ per: caller, allow: 10, every: 10m }]";
const SAID: &str = "You've made too many requests. Please wait a moment.";

fn ask(document: &Document, call: &Call) -> String {
    Platform::call_function(document, call, "get_balance", &json!({ "account": "1" })).response()
}

fn is_answered(document: &Document, call: &Call) -> bool {
    let said = ask(document, call);
    assert!(said == SAID || said.starts_with("Balance"), "{said}");
    said != SAID
}

/// How many of so many calls were answered.
fn answered(document: &Document, call: &Call, times: usize) -> usize {
    (0..times).filter(|_| is_answered(document, call)).count()
}

#[test]
fn the_eleventh_call_is_refused_with_the_policys_sentence() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let say = "say: { limited: \"Slow down, please.\" }";
        let gateway = Policy::through(&tap, agent).and(TEN).and(say).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        assert_eq!((0..10).filter(|_| ask(&document, &call).starts_with("Balance")).count(), 10, "{sdk:?}");
        let refused = tap.stays_silent("the eleventh call", || {
            Platform::call_function(&document, &call, "get_balance", &json!({ "account": "1" }))
        });
        assert_eq!(refused.json(), json!({ "response": "Slow down, please." }), "{sdk:?}");
        assert_eq!(gateway.reason_of(&refused), "limited");
        assert_eq!(agent.ran(&call, "get_balance"), 10, "{sdk:?}");

        // Another function of the same caller counts with it, in another call too; another caller is free.
        let again = call.again();
        let second = gateway.platform().fetch(&again);
        let said =
            Platform::call_function(&second, &again, "transfer_funds", &json!({ "to_account": "1", "amount": 1 }))
                .response();
        assert_eq!(said, "Slow down, please.", "{sdk:?}");
        let other = Call::new();
        assert!(ask(&gateway.platform().fetch(&other), &other).starts_with("Balance"), "{sdk:?}");
    }
}

#[test]
fn all_callers_of_one_address_may_share_a_limit() {
    let agent = Sdk::Rust.shared();
    let tap = agent.tap();
    let gateway = Policy::through(&tap, agent).and("limits: [{ per: address, allow: 3, every: 1h }]").start();
    // Fetches and functions are counted apart.
    let calls: Vec<_> = (0..3).map(|_| Call::new()).collect();
    let documents: Vec<_> = calls.iter().map(|call| gateway.platform().fetch(call)).collect();
    let fourth = tap.stays_silent("the fourth call", || gateway.platform().fetch_request("", &Call::new()).send());
    assert_eq!(fourth.last_words().as_deref(), Some(SAID));
    let said: Vec<_> = documents.iter().zip(&calls).map(|(document, call)| ask(document, call)).collect();
    assert!(said.iter().all(|said| said.starts_with("Balance")), "{said:?}");
    assert_eq!(ask(&documents[0], &calls[0]), SAID);
}

#[test]
fn hooks_summaries_and_debug_events_have_no_limit() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).and("limits: [{ per: caller, allow: 1, every: 1h }]").start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        assert_eq!(answered(&document, &call, 2), 1);
        for hook in ["startup_hook", "hangup_hook"] {
            (0..3).for_each(|_| drop(Platform::call_function(&document, &call, hook, &json!({})).response()));
            assert_eq!(agent.ran(&call, hook), 3, "{sdk:?} {hook}");
        }
        assert_eq!(Platform::debug(&document, &call).status, 200, "{sdk:?}");
        assert_eq!(Platform::summarize(&document, &call, 1000).status, 200, "{sdk:?}");
        assert!(agent.did(&call).iter().any(|line| line["event"] == "summary"), "{sdk:?}");
    }
}

#[test]
fn a_caller_who_calls_too_often_gets_a_document_that_says_so_and_hangs_up() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).and("limits: [{ per: caller, allow: 2, every: 1h }]").start();
        let call = Call::new();
        let first = gateway.platform().fetch(&call);
        gateway.platform().fetch(&call.again());
        let refused = tap.stays_silent("the third call", || gateway.platform().fetch_request("", &call.again()).send());
        assert_eq!(refused.last_words().as_deref(), Some(SAID), "{sdk:?}");
        assert_eq!(gateway.reason_of(&refused), "limited");
        // Calls that begin are counted apart from functions.
        assert_eq!(answered(&first, &call, 3), 2, "{sdk:?}");
    }
}

#[test]
fn a_limit_per_call_counts_each_call_alone() {
    for sdk in Sdk::ALL {
        let gateway = Policy::of(sdk.shared().address).and("limits: [{ per: call, allow: 3, every: 1h }]").start();
        let call = Call::new();
        let again = call.again();
        for call in [&call, &again] {
            assert_eq!(answered(&gateway.platform().fetch(call), call, 5), 3, "{sdk:?}");
        }
    }
}

#[test]
fn callers_without_a_number_are_counted_as_the_policy_says() {
    let limits = "limits: [{ per: caller, allow: 2, every: 1h }, { per: call, allow: 4, every: 1h }]";
    let both = |gateway: &Gateway| {
        [Call::withheld(), Call::by_sip()].map(|call| answered(&gateway.platform().fetch(&call), &call, 6))
    };
    for sdk in Sdk::ALL {
        let policy = Policy::of(sdk.shared().address).and(limits);
        assert_eq!(both(&policy.start()), [4, 4], "{sdk:?}: the limits per call alone");
        let shared = policy.and("callers: { unidentified: shared }");
        assert_eq!(both(&shared.start()), [2, 0], "{sdk:?}: all of them are one caller");
    }
}

#[test]
fn the_caller_is_the_one_of_the_fetch_whatever_a_function_call_says() {
    let agent = Sdk::Python.shared();
    let gateway = Policy::of(agent.address).and("limits: [{ per: caller, allow: 2, every: 1h }]").start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    assert_eq!(answered(&document, &call, 2), 2);
    let pretender = Call { from: "+15559998888".to_owned(), ..call.clone() };
    let refused = Platform::call_function(&document, &pretender, "get_balance", &json!({ "account": "1" }));
    assert_eq!(refused.response(), SAID);
    let record = gateway.record_of(&refused);
    assert_eq!((&record["caller_disagrees"], record.get("caller")), (&json!(true), None));
}

#[test]
fn counts_survive_a_reload_and_a_changed_limit_counts_anew() {
    let agent = Sdk::Rust.shared();
    let policy = Policy::of(agent.address).and(TEN);
    let gateway = Folder::new("", &[&policy]).start(&["run", "--config", "gateway.yaml"]);
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    assert_eq!(answered(&document, &call, 11), 10);
    let before = gateway.reloads("ok");
    gateway.folder.write_policy("bank", &policy.clone().and("sensitive: [account]").yaml());
    gateway.wait_for_reloads("ok", before + 1);
    assert_eq!(answered(&document, &call, 2), 0, "what was used up stays used up");

    let wider = Policy::of(agent.address).and("limits: [{ per: caller, allow: 12, every: 10m }]");
    let before = gateway.reloads("ok");
    gateway.folder.write_policy("bank", &wider.yaml());
    gateway.wait_for_reloads("ok", before + 1);
    assert_eq!(answered(&document, &call, 13), 12);
}

#[test]
fn refused_calls_count_for_nobody() {
    let agent = Sdk::Rust.shared();
    let gateway = Policy::of(agent.address).and("limits: [{ per: caller, allow: 3, every: 1h }]").start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    let mut forged = document.function_request(&call, "get_balance", &json!({}));
    forged.url.push_str("&x=1");
    (0..5).for_each(|_| assert_eq!(forged.send().status, 403));
    assert_eq!(answered(&document, &call, 4), 3);
}

#[test]
fn a_text_message_and_a_chat_are_refused_in_their_own_form() {
    let gateway = Policy::of(Sdk::Rust.shared().address).and("limits: [{ per: caller, allow: 1, every: 1h }]").start();
    let platform = gateway.platform();
    let call = Call::new();
    let message = |id: &str| {
        json!({ "message": { "message_id": id, "direction": "inbound", "type": "sms",
        "from": call.from, "to": "+15559990001", "body": "hello" }, "params": {} })
    };
    let ask = |body: &serde_json::Value| {
        Request::post(&platform.url, body.to_string()).with_user(&platform.user, &platform.password).send()
    };
    assert_eq!(gateway.reason_of(&ask(&message(&call.id))), "ok");
    let refused = ask(&message(&Call::new().id));
    assert_eq!(gateway.record_of(&refused)["medium"], "messaging");
    assert_eq!(refused.json()["sections"]["main"], json!([{ "reply": { "body": SAID } }]));

    let chat = Call { from: call.from.clone(), ..Call::new() };
    let mut body: serde_json::Value = serde_json::from_str(&chat.to_string()).expect("it is JSON");
    body["params"] = json!({ "user_meta_data": { "url": "https://shop.example.com" } });
    let refused = ask(&body);
    assert_eq!(gateway.record_of(&refused)["medium"], "chat");
    let prompt = refused.json()["sections"]["main"][0]["ai"]["prompt"]["text"].clone();
    assert!(prompt.as_str().is_some_and(|text| text.ends_with(SAID)), "{prompt}");
}
