//! Agents that misbehave: whoever is on the call hears a sentence, and the audit says what happened.

use serde_json::json;

use crate::harness::{
    agent::Agent,
    free_address,
    gateway::{Gateway, Policy},
    http::{Answer, Request},
    platform::{Call, Document, Platform, summary},
    tap::Tap,
    until,
};

const UNAVAILABLE: &str = "This service is temporarily unavailable. Please try again later.";
const SLOW: &str = "That is taking longer than expected. Please ask again in a moment.";

/// One gateway before the agent's scenarios, each as an agent of its own.
struct World {
    tap: Tap,
    gateway: Gateway,
}

fn world<'s>(scenarios: impl IntoIterator<Item = &'s str>) -> World {
    let tap = Agent::broken().tap();
    let policy = |scenario: &str| {
        let policy = Policy::through(&tap, Agent::broken()).named(scenario).at(&format!("/broken/{scenario}"));
        policy.timeouts("{ connect: 1s, answer: 1s, exchange: 20s }").and("bodies: { response: 1MiB }")
    };
    let mut names: Vec<_> = scenarios.into_iter().map(name_of).collect();
    names.sort_unstable();
    names.dedup();
    let policies: Vec<_> = names.into_iter().map(policy).collect();
    let gateway = Gateway::start("", &policies.iter().collect::<Vec<_>>());
    World { tap, gateway }
}

/// A scenario without its options.
fn name_of(scenario: &str) -> &str {
    scenario.split('?').next().unwrap_or(scenario)
}

impl World {
    fn fetch(&self, scenario: &str, call: &Call) -> Answer {
        self.gateway.platform_of("/broken/").fetch_request(scenario, call).send()
    }

    fn document(&self, scenario: &str, call: &Call) -> Document {
        self.gateway.platform_of("/broken/").fetch_with(scenario, call)
    }

    /// Calls the one function of a scenario whose document is in order.
    fn call_function(&self, scenario: &str, call: &Call) -> Answer {
        let document = self.document(scenario, call);
        Platform::call_function(&document, call, "check_order", &json!({ "order": "7" }))
    }
}

/// What spoils a document or an answer, and why it is refused then.
const MISBEHAVIOUR: [(&str, &str); 22] = [
    ("not-json", "agent_not_json"),
    ("truncated-json", "agent_not_json"),
    ("duplicate-keys", "agent_not_json"),
    ("not-utf8", "agent_not_json"),
    ("not-an-object", "agent_not_json"),
    ("too-deep", "agent_not_json"),
    ("nan", "agent_not_json"),
    ("html", "agent_not_json"),
    ("yaml-alias", "agent_not_json"),
    ("gzip", "agent_encoded"),
    ("unauthorized", "agent_unauthorized"),
    ("forbidden", "agent_status"),
    ("not-found", "agent_status"),
    ("server-error", "agent_status"),
    ("server-error?code=503", "agent_status"),
    ("too-large", "agent_too_large"),
    ("too-large?chunked=1", "agent_too_large"),
    ("cut-head", "agent_broken"),
    ("cut-body", "agent_broken"),
    ("cut-chunk", "agent_broken"),
    ("bad-head", "agent_broken"),
    ("two-lengths", "agent_broken"),
];

#[test]
fn a_spoiled_document_is_refused_and_the_caller_hears_it() {
    let more = [("empty", "agent_not_json"), ("no-content", "agent_status"), ("big-head?bytes=400000", "agent_broken")];
    let cases: Vec<_> = MISBEHAVIOUR.into_iter().chain(more).collect();
    let world = world(cases.iter().map(|(scenario, _)| *scenario));
    for (scenario, reason) in cases {
        let answer = world.fetch(scenario, &Call::new());
        assert_eq!(answer.last_words().as_deref(), Some(UNAVAILABLE), "{scenario}");
        assert_eq!(world.gateway.reason_of(&answer), reason, "{scenario}");
    }
}

#[test]
fn a_spoiled_answer_to_a_function_call_is_a_sentence_and_never_a_5xx() {
    let more = [
        ("yaml", "agent_not_json"),
        ("redirect", "agent_status"),
        ("redirect?code=307&to=https://other.example.com/", "agent_status"),
    ];
    let cases = MISBEHAVIOUR.into_iter().chain(more).map(|(name, reason)| (format!("swaig-{name}"), reason));
    let cases: Vec<_> = cases.collect();
    let world = world(cases.iter().map(|(scenario, _)| scenario.as_str()));
    for (scenario, reason) in &cases {
        let answer = world.call_function(scenario, &Call::new());
        assert_eq!(answer.json(), json!({ "response": UNAVAILABLE }), "{scenario}");
        assert_eq!(world.gateway.reason_of(&answer), *reason, "{scenario}");
    }
    // The document and the call: nothing was asked twice.
    assert_eq!(world.tap.seen().len(), 2 * cases.len());
}

#[test]
fn what_is_odd_but_in_order_goes_through() {
    let world = world(["wrong-type", "swaig-empty", "swaig-no-content", "swaig-wrong-type", "no-ai", "summary-empty"]);
    let call = Call::new();
    let document = world.fetch("wrong-type", &call);
    assert_eq!((document.status, document.header("content-type")), (200, Some("application/json")));
    assert!(Document::new(document.text()).function_url("check_order").contains("gw_token="));
    for scenario in ["swaig-empty", "swaig-no-content"] {
        assert_eq!(world.call_function(scenario, &call).json(), json!({}), "{scenario}");
    }
    assert_eq!(world.call_function("swaig-wrong-type", &call).response(), "check_order ran");
    assert!(world.document("no-ai", &call).text.contains("say:Hello"));
    let document = world.document("summary-empty", &call);
    assert_eq!(Platform::summarize(&document, &call, 100).status, 200);
}

#[test]
fn a_document_in_yaml_leaves_as_json_and_is_protected() {
    let world = world(["yaml"]);
    let call = Call::new();
    let answer = world.fetch("yaml", &call);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document = Document::new(answer.text());
    assert!(document.function_url("check_order").contains("gw_token="), "{}", document.text);
    assert!(document.text.contains(r#""text":"You take orders.""#), "{}", document.text);
    let ran = Platform::call_function(&document, &call, "check_order", &json!({ "order": "7" }));
    assert_eq!(ran.response(), "check_order ran");
    let other = Platform::call_function(&document, &Call::new(), "check_order", &json!({ "order": "7" }));
    assert_eq!(world.gateway.reason_of(&other), "token_foreign_call");
    assert_eq!(Platform::summarize(&document, &call, 100).status, 200);
}

#[test]
fn a_spoiled_answer_to_a_summary_says_nothing_of_the_agent() {
    let cases = [
        ("summary-server-error", 502, "agent_status"),
        ("summary-cut-head", 502, "agent_broken"),
        ("summary-forbidden", 403, "ok"),
        ("summary-not-json", 200, "ok"),
        ("summary-unauthorized", 502, "agent_unauthorized"),
    ];
    let world = world(cases.map(|(scenario, ..)| scenario));
    for (scenario, status, reason) in cases {
        let call = Call::new();
        let request = Request::post(&world.document(scenario, &call).summary_url(), summary(&call, 10).to_string());
        let answer = request.send();
        assert_eq!((answer.status, world.gateway.reason_of(&answer).as_str()), (status, reason), "{scenario}");
        assert!(!answer.text().contains("/srv/agent"), "{scenario}: {}", answer.text());
    }
}

#[test]
fn an_agent_that_is_not_there_is_unavailable() {
    let gateway = Policy::of(free_address()).timeouts("{ connect: 500ms }").start();
    let answer = gateway.platform().fetch_request("", &Call::new()).send();
    assert_eq!(answer.last_words().as_deref(), Some(UNAVAILABLE));
    assert_eq!(gateway.reason_of(&answer), "agent_unreachable");
}

#[test]
fn a_slow_agent_is_waited_for_only_so_long_and_finishes() {
    let world = world(["swaig-silent", "swaig-drip"]);
    for scenario in ["swaig-silent?seconds=2", "swaig-drip?ms=50"] {
        let call = Call::new();
        let answer = world.call_function(scenario, &call);
        assert_eq!(answer.json(), json!({ "response": SLOW }), "{scenario}");
        let record = world.gateway.record_of(&answer);
        assert_eq!((&record["reason"], &record["status"]), (&json!("answer_slow"), &json!(200)), "{scenario}");
        let late = until("the agent's answer is recorded when it comes", || {
            let records = world.gateway.audit();
            records.into_iter().find(|r| r["event"] == "late_answer" && r["request_id"] == record["request_id"])
        });
        assert_eq!((&late["reason"], &late["call_id"]), (&json!("ok"), &json!(call.id)), "{scenario}");
        assert_eq!(late["function"], "check_order");
        assert!(late["agent_us"].as_u64() > Some(1_000_000), "{late}");
    }
}

#[test]
fn a_slow_document_says_so_and_hangs_up() {
    let world = world(["silent", "drip"]);
    for scenario in ["silent?seconds=2", "drip?ms=20"] {
        let answer = world.fetch(scenario, &Call::new());
        assert_eq!(answer.last_words().as_deref(), Some(SLOW), "{scenario}");
    }
}

#[test]
fn an_exchange_that_never_ends_is_ended() {
    let tap = Agent::broken().tap();
    let timeouts = "{ connect: 1s, answer: 300ms, exchange: 600ms }";
    let policy = Policy::through(&tap, Agent::broken()).at("/broken/swaig-silent").timeouts(timeouts);
    let gateway = policy.start();
    let call = Call::new();
    let document = gateway.platform_of("/broken/swaig-silent").fetch_with("?seconds=20", &call);
    let answer = Platform::call_function(&document, &call, "check_order", &json!({ "order": "7" }));
    assert_eq!(answer.response(), SLOW);
    let late = until("the end is recorded", || gateway.audit().into_iter().find(|r| r["event"] == "late_answer"));
    assert_eq!(late["reason"], "agent_timeout");
    until("the connection to the agent is closed", || (!tap.is_open()).then_some(()));
}
