//! A routing callback sends a call to another document: the platform follows the gateway's URL of it.

use serde_json::{Value, json};

use crate::harness::{
    agent::{Agent, PASSWORD, Sdk},
    gateway::{Gateway, Policy},
    http::{Answer, Request},
    platform::{Call, Document, Platform},
};

/// What the platform posts for a call to a user of a SIP domain.
fn call_to(user: &str, call: &Call) -> String {
    let mut body: Value = serde_json::from_str(&call.to_string()).expect("it is JSON");
    body["call"]["to"] = json!(format!("sip:{user}@example.com"));
    body.to_string()
}

fn ask(gateway: &Gateway, user: &str, call: &Call) -> Answer {
    let platform = gateway.platform_of("/bank/sip");
    Request::post(&platform.url, call_to(user, call)).with_user(&platform.user, &platform.password).send()
}

#[test]
fn the_platform_follows_a_redirect_to_the_gateways_url() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).and("routing_callbacks: [/sip]").start();
        let call = Call::new();
        let answer = ask(&gateway, "spanish", &call);
        assert_eq!((answer.status, gateway.reason_of(&answer).as_str()), (307, "ok"), "{sdk:?}");
        let location = answer.header("location").expect("it is a redirect").to_owned();
        assert!(!location.contains(PASSWORD) && !location.contains(&agent.address.to_string()), "{sdk:?}: {location}");

        let followed = Request::post(&location, call_to("spanish", &call));
        let document = Document::new(followed.send().text());
        assert_eq!(document.ai()["SWAIG"]["functions"].as_array().map(Vec::is_empty), Some(false), "{sdk:?}");
        assert_eq!(document.ai()["global_data"]["lang"], "es", "{sdk:?}: the query came back to the agent");
        let balance = Platform::call_function(&document, &call, "get_balance", &json!({ "account": "1" }));
        assert!(balance.response().contains("150"), "{sdk:?}");

        // Some clients repeat the credentials they had.
        let platform = gateway.platform();
        assert_eq!(followed.clone().with_user(&platform.user, &platform.password).send().status, 200, "{sdk:?}");
        let foreign = Request::post(&location, call_to("spanish", &Call::new())).send();
        assert_eq!(gateway.reason_of(&foreign), "token_foreign_call", "{sdk:?}");
    }
}

#[test]
fn who_is_sent_nowhere_gets_the_agents_own_document() {
    for sdk in Sdk::PYTHON {
        let gateway = Policy::of(sdk.shared().address).and("routing_callbacks: [/sip]").start();
        let call = Call::new();
        let document = Document::new(ask(&gateway, "anyone", &call).text());
        Platform::call_function(&document, &call, "get_balance", &json!({ "account": "1" })).response();

        let closed = Policy::of(sdk.shared().address).start();
        assert_eq!(closed.reason_of(&ask(&closed, "anyone", &call)), "not_found", "{sdk:?}: no policy names it");
    }
}

#[test]
fn a_redirect_leads_to_no_endpoint_without_checks() {
    for sdk in Sdk::PYTHON {
        let gateway = Policy::of(sdk.shared().address).and("routing_callbacks: [/sip]").start();
        let answer = ask(&gateway, "debug", &Call::new());
        assert_eq!(gateway.reason_of(&answer), "url_forbidden", "{sdk:?}");
        assert!(answer.header("location").is_none());
    }
}

#[test]
fn a_redirect_to_a_stranger_is_named_in_the_record() {
    for sdk in Sdk::PYTHON {
        let gateway = Policy::of(sdk.shared().address).and("routing_callbacks: [/sip]").start();
        let answer = ask(&gateway, "shop", &Call::new());
        assert_eq!(answer.header("location"), Some("https://shop.example.com/agent"), "{sdk:?}");
        let record = gateway.record_of(&answer);
        assert_eq!(record["not_mediated"], json!([{ "what": "transfer", "how": "external" }]), "{sdk:?}");
    }
}

#[test]
fn what_is_not_a_fetch_is_not_redirected() {
    let gateway = Policy::of(Agent::broken().address).at("/broken/summary-redirect").start();
    let call = Call::new();
    let document = gateway.platform_of("/broken/summary-redirect").fetch(&call);
    let answer = Platform::summarize(&document, &call, 100);
    assert_eq!((answer.status, answer.header("location")), (502, None));
    assert_eq!(gateway.reason_of(&answer), "agent_status");
}
