//! A call from its document to its summary, for each real agent as it is.

use serde_json::{Value, json};

use crate::harness::{
    agent::{Agent, PASSWORD, Sdk, USER},
    gateway::{GATEWAY_PASSWORD, Gateway, Policy},
    http::{Answer, Request},
    platform::{Call, Document, Platform},
    until,
};

/// What the platform calls on each agent: function, arguments, what it is told.
pub(crate) fn tools(sdk: Sdk) -> Vec<(&'static str, Value, &'static str)> {
    let mut tools = vec![
        ("get_balance", json!({ "account": "1234567890" }), "Balance of 1234567890 is $150.00"),
        ("transfer_funds", json!({ "to_account": "99", "amount": 25 }), "Transferred $25 to account 99"),
        // One URL serves all calls of a function, whatever the arguments.
        ("transfer_funds", json!({ "to_account": "98", "amount": 7.5 }), "Transferred $7.5 to account 98"),
    ];
    if sdk != Sdk::Rust {
        tools.push(("slow_tool", json!({ "seconds": 0 }), "slept"));
        tools.push(("startup_hook", json!({}), "The call is open."));
    }
    tools
}

#[test]
fn a_whole_call_goes_through_and_is_what_the_agent_alone_would_do() {
    for sdk in Sdk::ALL {
        let agent = sdk.start();
        let gateway = Policy::of(agent.address).start();
        let (call, direct) = (Call::new(), Call::new());
        let direct = Call { from: call.from.clone(), ..direct };
        let document = gateway.platform().fetch(&call);
        let own = Document::new(&agent.fetch("/bank", &direct).to_string());
        assert_eq!(without_urls(&document, &call), without_urls(&own, &direct), "{sdk:?}");
        nothing_leaks(&document.text, &agent, &gateway);

        for (function, arguments, expected) in tools(sdk) {
            let answer = Platform::call_function(&document, &call, function, &arguments);
            assert_eq!(answer.response(), expected, "{sdk:?}");
            let own_url = own.function_url(function);
            let direct = agent.call_function(&own_url, &direct, function, &arguments);
            assert_eq!(answer.json(), direct.json(), "{sdk:?} {function}");
            nothing_leaks(answer.text(), &agent, &gateway);
            let ran = agent.did(&call).into_iter().rfind(|line| line["function"] == function).expect("it ran");
            assert_eq!(ran["arguments"], arguments, "{sdk:?} {function}");
        }
        the_call_ends(sdk, &document, &call, &agent);
    }
}

pub(crate) fn the_call_ends(sdk: Sdk, document: &Document, call: &Call, agent: &Agent) {
    if sdk != Sdk::Rust {
        Platform::call_function(document, call, "hangup_hook", &json!({}));
        assert_eq!(agent.ran(call, "hangup_hook"), 1);
        let answer = Platform::debug(document, call);
        assert_eq!((answer.status, answer.json()), (200, json!({ "status": "ok" })));
        agent_did(agent, call, "debug_event");
    }
    let answer = Platform::summarize(document, call, 3_000_000);
    assert_eq!(answer.status, 200, "{sdk:?}: {}", answer.text());
    let summary = agent_did(agent, call, "summary");
    assert!(summary["summary"].to_string().contains("balance"), "{sdk:?}: {summary}");
}

fn agent_did(agent: &Agent, call: &Call, event: &str) -> Value {
    until(event, || agent.did(call).into_iter().find(|line| line["event"] == event))
}

/// The document without what the gateway has to change: the URLs, and the partition it keeps for them.
fn without_urls(document: &Document, call: &Call) -> Value {
    let text = document.json.to_string().replace(&call.id, "CALL");
    let mut document: Value = serde_json::from_str(&text).expect("it was JSON");
    strip(&mut document);
    document
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for key in ["web_hook_url", "post_prompt_url", "debug_webhook_url", "meta_data_token"] {
                members.remove(key);
            }
            // Each function has its own URL now; what is left of the defaults says nothing.
            members.retain(|key, value| {
                key != "defaults" || value.as_object().is_some_and(|left| left.keys().any(|key| key != "web_hook_url"))
            });
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Nobody learns where the agent is, or what opens it; its own tokens stay in the gateway's URLs.
fn nothing_leaks(text: &str, agent: &Agent, gateway: &Gateway) {
    let port = agent.address.port();
    for secret in [&agent.origin(), &format!("localhost:{port}"), &format!(":{port}"), PASSWORD, USER, GATEWAY_PASSWORD]
    {
        assert!(!text.contains(secret), "{secret} leaves in {text}");
    }
    let origin = gateway.listen().to_string();
    for (at, _) in text.match_indices("__token") {
        let url = text[..at].rfind('"').map_or(text, |start| &text[start + 1..at]);
        assert!(url.starts_with("http://call:") && url.contains(&format!("@{origin}/")), "{url}");
    }
}

#[test]
fn every_function_has_a_url_of_its_own_and_keeps_its_metadata_partition() {
    for sdk in Sdk::ALL {
        let gateway = Policy::of(sdk.shared().address).start();
        let document = gateway.platform().fetch(&Call::new());
        let mut urls: Vec<_> = document.functions().iter().filter_map(|f| f["web_hook_url"].as_str()).collect();
        let count = urls.len();
        urls.sort_unstable();
        urls.dedup();
        assert!(urls.len() == count && count >= 2, "{sdk:?}: {urls:?}");
        assert!(urls.iter().all(|url| url.contains("gw_token=")), "{sdk:?}");
        if sdk != Sdk::Rust {
            // These two share the agent's default URL, so they share their metadata too (PROTOCOL.md, 3.5).
            let token = |name: &str| document.function(name)["meta_data_token"].clone();
            assert_eq!(token("get_balance"), token("slow_tool"));
            assert_ne!(token("get_balance"), Value::Null);
        }
    }
}

#[test]
fn the_agent_does_not_see_the_metadata_token_that_is_ours() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        Platform::call_function(&document, &call, "get_balance", &json!({ "account": "1" })).response();
        let body = &agent_did(agent, &call, "tool")["body"];
        assert_eq!(body.get("meta_data_token"), None, "{sdk:?}");
        assert_eq!(body["meta_data"], json!({}), "{sdk:?}: what else was sent is still there");
    }
}

#[test]
fn a_document_fetched_by_get_serves_the_first_call_that_uses_it() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).start();
        let document = gateway.platform().fetch_by_get("");
        let (call, other) = (Call::new(), Call::new());
        let arguments = json!({ "account": "1" });
        Platform::call_function(&document, &call, "get_balance", &arguments).response();
        let refused = Platform::call_function(&document, &other, "get_balance", &arguments);
        assert_eq!((refused.status, gateway.reason_of(&refused).as_str()), (403, "token_unbound"), "{sdk:?}");
        Platform::call_function(&document, &call, "get_balance", &arguments).response();
        assert_eq!((agent.ran(&call, "get_balance"), agent.ran(&other, "get_balance")), (2, 0), "{sdk:?}");
    }
}

#[test]
fn what_stands_in_the_query_of_the_fetch_reaches_the_agent_and_its_tools() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).start();
        let call = Call::new();
        for document in [gateway.platform().fetch_with("?lang=es", &call), gateway.platform().fetch_by_get("?lang=es")]
        {
            assert!(document.ai()["prompt"].to_string().contains("Speak es."), "{sdk:?}");
            assert_eq!(document.ai()["global_data"]["lang"], "es");
        }
        let document = gateway.platform().fetch_with("?lang=es", &call);
        let arguments = json!({ "to_account": "1", "amount": 1 });
        Platform::call_function(&document, &call, "transfer_funds", &arguments).response();
        let seen = tap.seen();
        assert_eq!(seen[0].target, "/bank?lang=es");
        // The agent's own URL, byte for byte, padding and all.
        let own = agent.fetch("/bank?lang=es", &call);
        let own = Document::new(&own.to_string()).function_url("transfer_funds");
        let shape = |url: &str| (url.contains("lang=es&__token=") && url.ends_with("%3D"), url.len());
        let target = &seen.last().expect("the tool was called").target;
        assert!(target.starts_with("/bank/swaig/?lang=es&__token="), "{target}");
        assert_eq!(shape(target).0, shape(&own).0, "{target} {own}");
    }
}

#[test]
fn documents_and_urls_in_actions_are_the_gateways_too() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.start();
        let gateway = Policy::of(agent.address).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        for form in ["transfer", "execute", "text", "connect"] {
            let arguments = json!({ "how": form, "to": "+15550002222" });
            let answer = Platform::call_function(&document, &call, "route_call", &arguments);
            assert_eq!(answer.response(), "One moment, please.", "{sdk:?} {form}");
            nothing_leaks(answer.text(), &agent, &gateway);
            match minted_destination(&answer) {
                Some(url) => {
                    let next = Request::post(&url, call.to_string()).send();
                    let next = Document::new(next.text());
                    nothing_leaks(&next.text, &agent, &gateway);
                    let arguments = json!({ "to_account": "5", "amount": 1 });
                    let answer = Platform::call_function(&next, &call, "transfer_funds", &arguments);
                    assert_eq!(answer.response(), "Transferred $1 to account 5", "{sdk:?} {form}");
                }
                None => assert_eq!(form, "connect", "{}", answer.text()),
            }
        }
    }
}

/// The URL in an action from which the platform fetches its next document.
fn minted_destination(answer: &Answer) -> Option<String> {
    let text = answer.text().replace("\\\"", "\"");
    let start = text.find("http://call:")?;
    Some(text[start..].split(['"', '\\']).next().unwrap_or_default().to_owned())
}

#[test]
fn a_path_in_the_agents_url_stands_for_the_one_at_the_gateway() {
    for sdk in Sdk::ALL {
        let agent = sdk.start();
        let gateway = Policy::of(agent.address).at("/voice/money").with_upstream_path("/bank").start();
        let call = Call::new();
        let document = gateway.platform_of("/voice/money").fetch(&call);
        let url = document.function_url("get_balance");
        assert!(url.contains("/voice/money/swaig"), "{sdk:?}: {url}");
        let answer = Platform::call_function(&document, &call, "get_balance", &json!({ "account": "3" }));
        assert_eq!(answer.response(), "Balance of 3 is $150.00");
        nothing_leaks(&document.text, &agent, &gateway);
    }
}

#[test]
fn what_does_not_pass_through_the_gateway_is_named_in_the_audit() {
    for sdk in Sdk::PYTHON {
        let gateway = Policy::of(sdk.shared().address).start();
        let answer = gateway.platform().fetch_request("", &Call::new()).send();
        let record = gateway.record_of(&answer);
        let names = &record["not_mediated"];
        assert!(names.to_string().contains(r#"{"how":"data_map","what":"get_weather"}"#), "{sdk:?}: {names}");
        assert!(!names.to_string().contains("external"), "which says it of its webhook too: {names}");
        assert!(gateway.process.stderr().contains("get_weather"), "and in the log");
    }
}
