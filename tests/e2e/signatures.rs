//! The platform signs what it fetches; the gateway checks that, and signs for agents that check it too (PROTOCOL.md, 7).

use std::fs;

use serde_json::json;

use crate::{
    harness::{
        agent::{Agent, Sdk},
        gateway::{AGENT_SIGNING_KEY, Folder, Gateway, OTHER_SIGNING_KEY, Policy},
        http::{Answer, Request},
        platform::{Call, Document, Platform, SIGNING_KEY, signed_with, summary},
    },
    whole_call::{the_call_ends, tools},
};

const SIGNED: &str = "signing_keys_env: [SIGNING_KEY, OTHER_SIGNING_KEY]";

fn plays_a_whole_call(sdk: Sdk, agent: &Agent, gateway: &Gateway) {
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    for (function, arguments, expected) in tools(sdk) {
        let answer = Platform::call_function(&document, &call, function, &arguments);
        assert_eq!(answer.response(), expected, "{sdk:?}");
    }
    if sdk != Sdk::Rust {
        let answer = Platform::call_function(&document, &call, "route_call", &json!({ "how": "execute" }));
        let dest = answer.json()["action"][0]["SWML"]["sections"]["main"][0]["execute"]["dest"].clone();
        let more = signed_with(SIGNING_KEY, Request::post(dest.as_str().expect("a URL"), call.to_string()));
        assert!(!Document::new(more.send().text()).functions().is_empty(), "{sdk:?}: a document of the same call");
    }
    the_call_ends(sdk, &document, &call, agent);
}

#[test]
fn a_whole_call_is_signed_on_both_sides() {
    for sdk in Sdk::ALL {
        let agent = sdk.start_signing(AGENT_SIGNING_KEY, None);
        if sdk == Sdk::Python {
            for path in ["/bank", "/bank/swaig/", "/bank/post_prompt/"] {
                let unsigned = Request { body: b"{}".to_vec(), ..agent.request("POST", path) };
                assert_eq!(unsigned.send().status, 403, "the agent checks {path}");
            }
        }
        let policy = Policy::of(agent.address).and_platform(SIGNED).and_upstream("signing_key_env: AGENT_SIGNING_KEY");
        plays_a_whole_call(sdk, &agent, &policy.start());
    }
}

#[test]
fn an_agent_that_knows_itself_by_another_url_is_signed_for_under_that() {
    let agent = Sdk::Python.start_signing(AGENT_SIGNING_KEY, Some("https://old-name.example.com"));
    let policy = Policy::of(agent.address).aliases("https://old-name.example.com");
    let policy = policy.and_platform(SIGNED).and_upstream("signing_key_env: AGENT_SIGNING_KEY");
    let off = policy.start();
    let answer = off.platform().fetch_request("", &Call::new()).send();
    assert_eq!(off.reason_of(&answer), "agent_status", "the agent sees another URL than was signed");

    let gateway = policy.and_upstream("signing_base: https://old-name.example.com").start();
    plays_a_whole_call(Sdk::Python, &agent, &gateway);
}

#[test]
fn an_agent_with_another_key_refuses_and_the_gateway_says_so() {
    let agent = Sdk::Python.start_signing(AGENT_SIGNING_KEY, None);
    for more in ["", "signing_key_env: OTHER_SIGNING_KEY"] {
        let gateway = Policy::of(agent.address).and_upstream(more).start();
        let answer = gateway.platform().fetch_request("", &Call::new()).send();
        assert!(answer.last_words().is_some());
        let record = gateway.record_of(&answer);
        assert_eq!((&record["reason"], &record["detail"]), (&json!("agent_status"), &json!("status 403")), "{more}");
    }
}

/// What the gateway says to a fetch that is signed so, or not at all.
fn fetch(gateway: &Gateway, key: Option<&str>) -> Answer {
    let platform = gateway.platform();
    let request = Request::post(&platform.url, Call::new().to_string());
    let request = key.map_or(request.clone(), |key| signed_with(key, request));
    request.with_user(&platform.user, &platform.password).send()
}

#[test]
fn a_fetch_has_to_be_signed_by_one_of_the_keys() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).and_platform(SIGNED).start();
        for key in [SIGNING_KEY, OTHER_SIGNING_KEY] {
            let answer = fetch(&gateway, Some(key));
            assert_eq!(gateway.record_of(&answer)["signature"], "sha256", "{sdk:?}");
        }
        // Its older name, and the weaker signature alone.
        let platform = gateway.platform();
        let signed = platform.fetch_request("", &Call::new());
        let sha1 = signed.headers.iter().find(|(name, _)| name == "X-SignalWire-Signature").cloned();
        let older = Request { headers: Vec::new(), ..signed }.with_user(&platform.user, &platform.password);
        let older = older
            .header("Content-Type", "application/json")
            .header("X-Twilio-Signature", &sha1.expect("it is signed").1);
        assert_eq!(gateway.record_of(&older.send())["signature"], "sha1", "{sdk:?}");
        tap.stays_silent("without a right signature", || {
            for (key, reason) in [(None, "signature_missing"), (Some(AGENT_SIGNING_KEY), "signature_wrong")] {
                let answer = fetch(&gateway, key);
                assert_eq!((answer.status, gateway.reason_of(&answer).as_str()), (403, reason), "{sdk:?}");
            }
            let answer = gateway.request("GET", "/bank").send();
            assert_eq!((answer.status, gateway.reason_of(&answer).as_str()), (403, "unsigned_get"), "{sdk:?}");
            let changed = gateway.platform().fetch_request("", &Call::new());
            let changed = Request { body: Call::new().to_string().into_bytes(), ..changed }.send();
            assert_eq!(gateway.reason_of(&changed), "signature_wrong", "{sdk:?}: another body");
            let moved = gateway.platform().fetch_request("", &Call::new());
            let moved = Request { url: format!("{}?lang=es", moved.url), ..moved }.send();
            assert_eq!(gateway.reason_of(&moved), "signature_wrong", "{sdk:?}: another URL");
        });
        let tapped = tap.seen().into_iter().all(|seen| seen.header("x-signalwire-signature").is_none());
        assert!(tapped, "{sdk:?}: the agent sees no signature that isn't made for it");
    }
}

#[test]
fn what_else_has_to_be_signed_is_the_policys_choice() {
    let agent = Sdk::Rust.shared();
    let call = Call::new();
    for (choice, unsigned, get) in [
        ("signature: swml", "ok", "unsigned_get"),
        ("signature: all", "signature_missing", "unsigned_get"),
        ("signature: if_present", "ok", "ok"),
        ("insecure_unsigned_get: true", "ok", "ok"),
    ] {
        let gateway = Policy::of(agent.address).and_platform(SIGNED).and_platform(choice).start();
        let document = gateway.platform().fetch(&call);
        let request = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
        assert_eq!(gateway.reason_of(&request.send()), unsigned, "{choice}");
        let signed = document.function_request(&call, "get_balance", &json!({ "account": "2" }));
        assert_eq!(gateway.reason_of(&signed_with(SIGNING_KEY, signed).send()), "ok", "{choice}");
        let wrong = document.function_request(&call, "get_balance", &json!({ "account": "3" }));
        let wrong = signed_with(AGENT_SIGNING_KEY, wrong).send();
        assert_eq!(gateway.reason_of(&wrong), "signature_wrong", "{choice}: one that is there is checked");
        let handed_in = Request::post(&document.summary_url(), summary(&call, 100).to_string()).send();
        assert_eq!(gateway.reason_of(&handed_in), unsigned, "{choice}");
        assert_eq!(gateway.reason_of(&gateway.request("GET", "/bank").send()), get, "{choice}");
    }
}

#[test]
fn a_signature_that_does_not_verify_is_explained() {
    let policy = Policy::of(Sdk::Rust.shared().address).and_platform("signing_keys_env: [SIGNING_KEY]");
    let other = Policy::of(Sdk::Rust.shared().address).named("shop").at("/shop");
    let other = other.and_platform("signing_keys_env: [OTHER_SIGNING_KEY]");
    let folder = Folder::new("public_url: https://agents.example.com", &[&policy, &other]);
    let body = Call::new().to_string();
    fs::write(folder.path("body.json"), &body).expect("the folder can be written");
    let explain = |signed_url: &str, key: &str, url: &str| {
        let signed = signed_with(key, Request::post(signed_url, body.clone()));
        let value = signed.headers.iter().find(|(name, _)| name == "X-SignalWire-SHA256-Signature");
        let value = value.map(|(_, value)| value.clone()).expect("it is signed");
        let (code, told, error) = folder.run_to_the_end(&[
            "signature",
            "explain",
            "--agent",
            "bank",
            "--url",
            url,
            "--body",
            "body.json",
            "--sha256-signature",
            &value,
        ]);
        assert!(!told.contains(key) && !error.contains(key), "{told}{error}");
        (code, told)
    };
    let url = "https://agents.example.com/bank";
    let (code, told) = explain(url, SIGNING_KEY, url);
    assert!(code == Some(0) && told.contains("It verifies: scheme sha256, with key 1 of agent `bank`"), "{told}");
    for (signed_url, key, asked, expected) in [
        (
            "http://agents.example.com/bank",
            SIGNING_KEY,
            url,
            "the URL: what was signed is http://agents.example.com/bank",
        ),
        (
            "https://10.0.0.7:8080/bank",
            SIGNING_KEY,
            "https://10.0.0.7:8080/bank",
            "the URL: what was signed is https://10.0.0.7:8080/bank",
        ),
        (url, OTHER_SIGNING_KEY, url, "the key: it is key 1 of agent `shop`"),
        (url, AGENT_SIGNING_KEY, url, "nothing that was tried makes it"),
    ] {
        let (code, told) = explain(signed_url, key, asked);
        assert!(code == Some(1) && told.contains(expected), "{expected} is not in {told}");
    }
}
