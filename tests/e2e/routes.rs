//! Only what the protocol needs can be reached, unless the policy exposes more.

use serde_json::json;

use crate::harness::{
    agent::{PASSWORD, Sdk},
    free_address,
    gateway::{Gateway, Policy},
    http::Request,
    platform::Call,
};

/// What SDKs serve besides the protocol's endpoints (PROTOCOL.md, 1.1 to 1.3), and what nobody serves.
const CLOSED: [&str; 27] = [
    "/",
    "/other",
    "/bankx",
    "/health",
    "/ready",
    "/sip",
    "/mcp",
    "/bank/mcp",
    "/bank/mcp/",
    "/bank/debug",
    "/bank/debug/",
    "/bank/check_for_input",
    "/bank/check_for_input?conversation_id=1",
    "/bank/sip",
    "/bank/health",
    "/bank/ready",
    "/bank/static/app.js",
    "/bank/swaig/get_balance",
    "/bank/get_balance",
    "/bank/post_prompt_override",
    "/bank/escalate",
    "/bank//swaig",
    "/bank/SWAIG",
    "/bank/%73waig",
    "/Bank",
    "/metrics",
    "/bank/debug?gw_token=",
];

#[test]
fn everything_else_is_not_there() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).start();
        for path in CLOSED {
            for method in ["GET", "POST"] {
                let request = gateway.request(method, path);
                let answer = tap.stays_silent(path, || request.send());
                assert_eq!(
                    (answer.status, answer.text()),
                    (404, r#"{"error":"not found"}"#),
                    "{sdk:?} {method} {path}"
                );
                assert_eq!(gateway.reason_of(&answer), "not_found");
            }
        }
    }
}

#[test]
fn endpoints_are_asked_with_their_own_methods() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).start();
        for (path, methods, allow) in [
            ("/bank", ["PUT", "DELETE", "OPTIONS", "HEAD"].as_slice(), "GET, POST"),
            ("/bank/swaig/", &["GET", "PUT", "HEAD", "OPTIONS"], "POST"),
            ("/bank/post_prompt", &["GET", "PUT"], "POST"),
            ("/bank/debug_events/", &["GET"], "POST"),
        ] {
            for method in methods {
                let answer = tap.stays_silent(path, || gateway.request(method, path).send());
                let found = (answer.status, answer.header("allow"));
                assert_eq!(found, (405, Some(allow)), "{sdk:?} {method} {path}");
            }
        }
    }
}

#[test]
fn a_minted_url_is_no_way_to_another_path() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        let proper = document.function_request(&call, "get_balance", &json!({}));
        for path in ["/bank/mcp/", "/bank/debug/", "/bank/check_for_input", "/bank", "/bank/post_prompt/"] {
            let url = proper.url.replacen(sdk.swaig_path(), path, 1);
            let answer = tap.stays_silent(path, || Request { url, ..proper.clone() }.send());
            assert_eq!((answer.status, gateway.reason_of(&answer).as_str()), (403, "token_mismatch"), "{sdk:?} {path}");
        }
    }
}

#[test]
fn what_the_policy_exposes_is_reachable_with_credentials() {
    let agent = Sdk::Python.shared();
    let tap = agent.tap();
    let gateway = Policy::through(&tap, agent).and("expose: [/mcp, /files/*]").start();
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let request = Request { body: list.to_string().into_bytes(), ..gateway.request("POST", "/bank/mcp") };
    let request = request.header("Content-Type", "application/json");
    let answer = request.send();
    assert!(answer.text().contains("transfer_funds"), "{}", answer.text());
    tap.stays_silent("without credentials", || assert_eq!(request.anonymous().send().status, 401));
    let below = gateway.request("GET", "/bank/files/a/b.txt?c=%2F").send();
    assert_ne!(gateway.reason_of(&below), "not_found");
    assert_eq!(tap.seen().last().map(|seen| seen.target.clone()).as_deref(), Some("/bank/files/a/b.txt?c=%2F"));
    for path in ["/bank/mcp/", "/bank/files", "/bank/debug"] {
        tap.stays_silent(path, || assert_eq!(gateway.request("GET", path).send().status, 404, "{path}"));
    }
}

#[test]
fn health_is_public_where_it_is_exposed_and_says_nothing_but_a_word() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).and("expose: [health]").start();
        let health = Request::get(&format!("{}/bank/health", gateway.origin()));
        let answer = health.send();
        assert_eq!((answer.status, answer.text()), (200, r#"{"status":"ok"}"#), "{sdk:?}");
        assert_eq!(tap.only().target, "/health");
        let own = agent.request("GET", "/health").send();
        assert!(own.text().contains("bank"), "the agent's own answer names it: {}", own.text());
        let posted = Request::post(&health.url, "{}").send();
        assert_eq!(posted.status, 405);
    }
}

#[test]
fn an_agent_that_is_not_well_is_unavailable_and_nothing_more() {
    let policy = Policy::of(free_address()).timeouts("{ connect: 500ms }").and("expose: [health]");
    let gateway = policy.start();
    let answer = Request::get(&format!("{}/bank/health", gateway.origin())).send();
    assert!(answer.status >= 500, "{}", answer.text());
    assert!(!answer.text().contains(PASSWORD) && !answer.text().contains("127.0.0.1"), "{}", answer.text());
}

#[test]
fn each_host_and_path_has_its_own_agent() {
    let (bank, other) = (Sdk::Rust.shared(), Sdk::Python.shared());
    let taps = [bank.tap(), other.tap()];
    let by_path = Policy::through(&taps[0], bank);
    let deeper = Policy::through(&taps[1], other).named("deeper").at("/bank/vip").with_upstream_path("/bank");
    let gateway = Gateway::start("", &[&by_path, &deeper]);
    gateway.platform_of("/bank").fetch(&Call::new());
    gateway.platform_of("/bank/vip").fetch(&Call::new());
    assert_eq!(taps.map(|tap| tap.only().target), ["/bank", "/bank"]);
}
