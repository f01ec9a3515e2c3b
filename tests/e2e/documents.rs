//! What an agent may say: its documents and its functions' answers are held to the policy.

use serde_json::{Value, json};

use crate::harness::{
    agent::{Agent, Sdk},
    free_address,
    gateway::{Gateway, Policy},
    http::Answer,
    platform::{Call, Document, Platform},
};

/// The words that callers hear instead of what isn't allowed.
const SAID: &str = "I'm sorry, I can't do that.";

/// A gateway, a call, and its document.
fn called(policy: &Policy) -> (Gateway, Call, Document) {
    let gateway = policy.clone().start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    (gateway, call, document)
}

fn route(document: &Document, call: &Call, how: &str, to: &str) -> Answer {
    Platform::call_function(document, call, "route_call", &json!({ "how": how, "to": to }))
}

/// A Python agent whose calls are recorded and have steps.
fn elaborate(sdk: Sdk) -> Agent {
    sdk.start_told(free_address(), &[("AGENT_RECORD", "1"), ("AGENT_STEPS", "1")])
}

fn main_of(document: &Document) -> Vec<Value> {
    document.json["sections"]["main"].as_array().expect("a section").clone()
}

fn names(functions: &[Value]) -> Vec<&str> {
    functions.iter().filter_map(|function| function["function"].as_str()).collect()
}

/// The verb of this name in an answer's action.
fn verb(answer: &Answer, name: &str) -> Value {
    let action = &answer.json()["action"][0]["SWML"];
    let main = action["sections"]["main"].as_array().cloned().unwrap_or_default();
    main.iter().find_map(|verb| verb.get(name).cloned()).unwrap_or_default()
}

#[test]
fn a_call_is_sent_only_where_the_policy_allows() {
    for sdk in Sdk::PYTHON {
        let rule = "destinations: { allow: [\"+1*\", \"sip:*@pbx.example.com\"], deny: [\"+1900*\"] }";
        let (gateway, call, document) = called(&Policy::of(sdk.shared().address).and(rule));
        for (how, to) in [
            ("connect", "+15551230000"),
            ("connect", "sip:desk@pbx.example.com"),
            ("connect", "url"),
            ("message", "+1 (555) 123-0000"),
            ("refer", "sip:desk@pbx.example.com"),
            ("transfer", ""),
            ("text", ""),
        ] {
            let answer = route(&document, &call, how, to);
            assert_eq!(gateway.reason_of(&answer), "ok", "{sdk:?} {how} {to}");
        }
        for (how, to, key) in [
            ("connect", "+4930123456", "to"),
            ("connect", "+19005551234", "to"),
            ("connect", "001-900-555-1234", "to"),
            ("connect", "sip:desk@elsewhere.example.com", "to"),
            ("connect", "${vars.desk}", "to"),
            ("message", "+4930123456", "to_number"),
            ("refer", "sip:desk@elsewhere.example.com", "to_uri"),
        ] {
            let refused = route(&document, &call, how, to);
            assert_eq!(refused.json(), json!({ "response": SAID }), "{sdk:?} {how} {to}");
            let record = gateway.record_of(&refused);
            assert_eq!((&record["reason"], &record["detail"]), (&json!("destination_denied"), &json!(key)), "{to}");
        }
    }
}

#[test]
fn verbs_are_cut_from_documents_and_refuse_answers() {
    for sdk in Sdk::PYTHON {
        let agent = elaborate(sdk);
        let rule = "verbs: { deny: [tap], cut: [record_call] }\nsay: { denied: No. }";
        let (gateway, call, document) = called(&Policy::of(agent.address).and(rule));
        let (plain, _, with) = called(&Policy::of(agent.address));
        assert!(with.json.to_string().contains("record_call"), "{sdk:?}: {}", plain.listen());
        assert!(!document.json.to_string().contains("record_call"), "{sdk:?}");
        assert_eq!(main_of(&document).len() + 1, main_of(&with).len(), "{sdk:?}: nothing else is cut");
        let noted = &gateway.records(&call, 1)[0]["not_mediated"];
        let cut = json!({ "what": "record_call", "how": "cut" });
        assert!(noted.as_array().expect("a list").contains(&cut), "{noted}");

        let refused = route(&document, &call, "listen", "");
        assert_eq!(refused.json(), json!({ "response": "No." }), "{sdk:?}");
        assert_eq!(gateway.reason_of(&refused), "verb_denied");
        assert_eq!(gateway.reason_of(&route(&document, &call, "connect", "+15551230000")), "ok");
    }
}

#[test]
fn calls_are_bounded_in_time() {
    for sdk in Sdk::ALL {
        let (_, _, document) = called(&Policy::of(sdk.shared().address).and("calls: { max_duration: 30m }"));
        let main = main_of(&document);
        let answers: Vec<_> = main.iter().filter_map(|verb| verb.get("answer")).collect();
        assert_eq!(answers.len(), 1, "{sdk:?}: {main:?}");
        assert_eq!(answers[0]["max_duration"], 1800, "{sdk:?}");
    }
}

#[test]
fn every_prompt_ends_in_the_policys_sections() {
    for sdk in Sdk::ALL {
        let rule = "prompt: { append: [security_boundaries, { title: Tone, body: Be brief. }] }";
        let (gateway, call, document) = called(&Policy::of(sdk.shared().address).and(rule));
        let prompt = document.ai()["prompt"].to_string();
        for section in ["Security Boundaries", "Tone", "Be brief."] {
            assert_eq!(prompt.matches(section).count(), 1, "{sdk:?} {section}: {prompt}");
        }
        if sdk != Sdk::Rust {
            let switched = route(&document, &call, "prompt", "").json();
            let prompt =
                switched["action"][0]["context_switch"]["system_prompt"].as_str().expect("a prompt").to_owned();
            assert!(prompt.starts_with("You are a pirate.\n\n# Security Boundaries\n"), "{sdk:?}: {prompt}");
            assert!(prompt.ends_with("\n\n# Tone\nBe brief."), "{sdk:?}: {prompt}");
        }
        drop(gateway);
    }
}

#[test]
fn a_gateway_behind_a_gateway_adds_nothing_twice() {
    let rule = "prompt: { append: [confirmation] }\ncalls: { max_duration: 1h }";
    let users = "users: [{ username: agent-user, password_env: AGENT_PASSWORD }]";
    let inner = Policy::of(Sdk::Python.shared().address).platform(users).and(rule).start();
    let outer = Policy::of(inner.listen()).and(rule).start();
    let document = outer.platform().fetch(&Call::new());
    let prompt = document.ai()["prompt"].to_string();
    assert_eq!(prompt.matches("Confirmation Protocol").count(), 1, "{prompt}");
}

#[test]
fn functions_that_are_not_published_are_nowhere() {
    for sdk in Sdk::PYTHON {
        let agent = elaborate(sdk);
        let rule = "functions: { transfer_funds: { publish: false } }";
        let (gateway, call, document) = called(&Policy::of(agent.address).and(rule));
        assert!(!document.json.to_string().contains("transfer_funds"), "{sdk:?}: {}", document.json);
        assert!(names(document.functions()).contains(&"get_balance"));
        let steps = &document.ai()["prompt"]["contexts"]["default"]["steps"];
        assert_eq!(steps[1]["functions"], json!(["get_balance"]), "{sdk:?}");
        let said = Platform::call_function(&document, &call, "get_balance", &json!({ "account": "1" })).response();
        assert!(said.starts_with("Balance"), "{sdk:?}: {said}");

        let hidden = "functions: { get_balance: { publish: false } }";
        let (_, _, document) = called(&Policy::of(agent.address).and(hidden));
        let steps = &document.ai()["prompt"]["contexts"]["default"]["steps"];
        assert_eq!(steps[0]["functions"], "none", "{sdk:?}: an empty list would be no clear one");
        drop(gateway);
    }
}

#[test]
fn a_function_with_rules_that_never_reaches_the_gateway_is_cut() {
    for sdk in Sdk::PYTHON {
        let rule = "functions: { get_weather: { once: true } }";
        let (gateway, call, document) = called(&Policy::of(sdk.shared().address).and(rule));
        assert!(!names(document.functions()).contains(&"get_weather"), "{sdk:?}");
        let noted = &gateway.records(&call, 1)[0]["not_mediated"];
        assert_eq!(noted, &json!([{ "what": "get_weather", "how": "unenforced" }]), "{sdk:?}");
        let log = gateway.process.stderr();
        assert!(log.contains("ERROR") && log.contains("`insecure_unmediated: true`"), "{log}");

        let kept = "functions: { get_weather: { once: true, insecure_unmediated: true } }";
        let (_, _, document) = called(&Policy::of(sdk.shared().address).and(kept));
        assert!(names(document.functions()).contains(&"get_weather"), "{sdk:?}");
    }
}

#[test]
fn what_the_platform_asks_elsewhere_is_cut_or_refused() {
    for sdk in Sdk::PYTHON {
        let strict = Policy::of(sdk.shared().address).and("egress: { allow: [] }\nrouting_callbacks: [/sip]");
        let (gateway, call, document) = called(&strict);
        let functions = names(document.functions());
        assert!(!functions.contains(&"get_weather") && functions.contains(&"get_balance"), "{sdk:?}: {functions:?}");
        let refused = route(&document, &call, "listen", "");
        assert_eq!((refused.response(), gateway.reason_of(&refused)), (SAID.to_owned(), "egress_denied".to_owned()));

        let some = "egress: { allow: [api.example.com, \"*.example.com\"] }";
        let (gateway, call, document) = called(&Policy::of(sdk.shared().address).and(some));
        assert!(names(document.functions()).contains(&"get_weather"), "{sdk:?}");
        let answer = route(&document, &call, "listen", "");
        assert_eq!(verb(&answer, "tap")["uri"], "wss://listen.example.com/call", "{sdk:?}");
        assert_eq!(gateway.reason_of(&answer), "ok");
    }
}

#[test]
fn numbers_are_redacted_in_what_is_said_and_nowhere_else() {
    for sdk in Sdk::PYTHON {
        let rule = "responses: { redact: [card_number] }";
        let (gateway, call, document) = called(&Policy::of(sdk.shared().address).and(rule));
        let card = json!({ "account": "4111 1111 1111 1111" });
        let said = Platform::call_function(&document, &call, "get_balance", &card);
        assert_eq!(said.response(), "Balance of [card number] is $150.00", "{sdk:?}");
        assert_eq!(gateway.record_of(&said)["redacted"], 1);
        let words = route(&document, &call, "words", "4111111111111111").json();
        assert_eq!(words["action"][0]["say"], "Say [card number].", "{sdk:?}");
        assert_eq!(words["action"][1]["set_global_data"]["said"], "4111111111111111", "{sdk:?}");
    }
}

#[test]
fn in_shadow_all_of_it_passes_and_is_recorded() {
    let rule = "mode: shadow\nverbs: { deny: [tap] }\negress: { allow: [] }\ndestinations: { allow: [\"+1*\"] }\n\
                functions: { transfer_funds: { publish: false } }";
    let agent = Sdk::Python.shared();
    let (gateway, call, document) = called(&Policy::of(agent.address).and(rule));
    let functions = names(document.functions());
    assert!(functions.contains(&"get_weather") && functions.contains(&"transfer_funds"), "{functions:?}");
    let seen = |answer: &Answer| {
        let record = gateway.record_of(answer);
        assert_eq!(record["reason"], "ok", "{record}");
        record["would_refuse"].to_string()
    };
    let tapped = route(&document, &call, "listen", "");
    assert_eq!(verb(&tapped, "tap")["uri"], "wss://listen.example.com/call");
    let tapped = seen(&tapped);
    assert!(tapped.contains("verb_denied") && tapped.contains("egress_denied"), "{tapped}");
    assert!(seen(&route(&document, &call, "connect", "+4930123456")).contains("destination_denied"));
}
