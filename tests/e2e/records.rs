//! What the operator sees: health, metrics, the audit log. And what nobody sees there.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{
    agent::{PASSWORD, Sdk},
    gateway::{GATEWAY_PASSWORD, Gateway, Policy},
    http::{Request, basic, without_userinfo},
    platform::{Call, Document, Platform, function_call},
    raw::Raw,
    until,
};

#[test]
fn the_operator_has_four_pages_and_the_public_none_of_them() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let page = |path: &str| (gateway.admin(path).status, gateway.admin(path).text().to_owned());
    assert_eq!(page("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(page("/readyz"), (200, "ready\n".to_owned()));
    let version = gateway.admin("/version").json();
    assert_eq!((&version["name"], &version["version"]), (&json!("swaigate"), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(page("/bank").0, 404);
    assert_eq!(Request::post(&format!("http://{}/metrics", gateway.folder.admin), "x").send().status, 405);
    for path in ["/healthz", "/readyz", "/metrics", "/version"] {
        assert_eq!(gateway.request("GET", path).send().status, 404, "{path}");
    }
}

/// One of each: a document, two calls that are answered, one over the limit, one without a token, a stranger, a summary.
fn traffic(gateway: &Gateway, call: &Call) -> Document {
    let document = gateway.platform().fetch(call);
    let arguments = json!({ "account": "1" });
    (0..3).for_each(|_| drop(Platform::call_function(&document, call, "get_balance", &arguments).response()));
    let swaig = format!("{}/bank/swaig", gateway.origin());
    let body = function_call(call, "get_balance", &arguments).to_string();
    assert_eq!(Request::post(&swaig, body.clone()).with_user("signalwire", GATEWAY_PASSWORD).send().status, 403);
    assert_eq!(Request::post(&swaig, body).send().status, 401);
    assert_eq!(gateway.request("GET", "/nowhere").send().status, 404);
    assert_eq!(Platform::summarize(&document, call, 100).status, 200);
    document
}

const LIMITS: &str = "limits: [{ per: caller, allow: 2, every: 1h }]";

#[test]
fn metrics_count_each_request_once_by_route_and_reason() {
    for sdk in Sdk::ALL {
        let gateway = Policy::of(sdk.shared().address).and(LIMITS).start();
        traffic(&gateway, &Call::new());
        let requests = |agent: &str, route: &str, decision: &str, reason: &str| {
            format!(
                r#"swaigate_requests_total{{agent="{agent}",decision="{decision}",reason="{reason}",route="{route}"}}"#
            )
        };
        for (series, count) in [
            (requests("bank", "swml", "allow", "ok"), 1),
            (requests("bank", "swaig", "allow", "ok"), 2),
            (requests("bank", "swaig", "refuse", "limited"), 1),
            (requests("bank", "swaig", "refuse", "token_missing"), 1),
            (requests("bank", "swaig", "refuse", "credentials_missing"), 1),
            (requests("bank", "post_prompt", "allow", "ok"), 1),
            (requests("-", "unknown", "refuse", "not_found"), 1),
            (r#"swaigate_gateway_seconds_count{agent="bank",route="swaig"}"#.to_owned(), 5),
            (r#"swaigate_agent_seconds_count{agent="bank",route="swaig"}"#.to_owned(), 2),
            ("swaigate_limiter_cells".to_owned(), 2),
            ("swaigate_in_flight".to_owned(), 0),
            (r#"swaigate_reloads_total{result="ok"}"#.to_owned(), 1),
            (format!(r#"swaigate_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION")), 1),
        ] {
            until(&series, || (gateway.metric(&series) == count).then_some(()));
        }
    }
}

#[test]
fn neither_metrics_nor_log_hold_numbers_tokens_or_passwords() {
    for sdk in Sdk::ALL {
        let gateway = Gateway::start("log: { level: debug }", &[&Policy::of(sdk.shared().address).and(LIMITS)]);
        let call = Call::new();
        let document = traffic(&gateway, &call);
        let url = document.function_url("get_balance");
        let per_call = without_userinfo(&url).1.expect("minted URLs have credentials").1;
        let token = url.split("gw_token=").nth(1).expect("minted URLs have a token");
        let places = [gateway.process.stderr(), gateway.process.stdout(), gateway.admin("/metrics").text().to_owned()];
        for secret in
            [&call.from, &call.from[1..], "+15559990001", token, &per_call, GATEWAY_PASSWORD, PASSWORD, "__token"]
        {
            for place in &places {
                assert!(!place.contains(secret), "{sdk:?}: {secret} is in\n{place}");
            }
        }
    }
}

#[test]
fn a_record_tells_who_asked_what_and_what_came_of_it() {
    for sdk in Sdk::ALL {
        let gateway = Policy::of(sdk.shared().address).and(LIMITS).start();
        let call = Call::new();
        traffic(&gateway, &call);
        let found = |record: &Value| {
            let text = |key: &str| record[key].as_str().unwrap_or("-").to_owned();
            [text("route"), text("method"), text("user"), text("function"), text("decision"), text("reason")]
        };
        let expected = [
            ["swml", "POST", "signalwire", "-", "allow", "ok"],
            ["swaig", "POST", "call", "get_balance", "allow", "ok"],
            ["swaig", "POST", "call", "get_balance", "allow", "ok"],
            ["swaig", "POST", "call", "get_balance", "refuse", "limited"],
            ["swaig", "POST", "signalwire", "get_balance", "refuse", "token_missing"],
            ["swaig", "POST", "-", "-", "refuse", "credentials_missing"],
            ["unknown", "GET", "-", "-", "refuse", "not_found"],
            ["post_prompt", "POST", "call", "-", "allow", "ok"],
        ];
        let mut all = until("all are recorded", || Some(gateway.audit()).filter(|all| all.len() == 8));
        // A record is written when its answer has left, which may be after the next request has come.
        let order = |record: &Value| expected.iter().position(|line| *line == found(record));
        all.sort_by_key(order);
        assert_eq!(all.iter().map(found).collect::<Vec<_>>(), expected, "{sdk:?}");
        for record in &all {
            assert!(record["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{record}");
            let event = if record["route"] == "swml" { "call_start" } else { "request" };
            assert_eq!((&record["event"], &record["client"]), (&json!(event), &json!("127.0.0.1")), "{record}");
            assert!(record["gateway_us"].is_u64() && record["delivered"] == true, "{record}");
            let asked = record["decision"] == "allow";
            assert_eq!(record["agent_us"].is_u64(), asked, "{record}");
        }
        assert_eq!((&all[0]["caller"], &all[0]["called"]), (&json!(call.from), &json!("+15559990001")));
        assert_eq!((&all[1]["call_id"], &all[1]["caller"]), (&json!(call.id), &json!(call.from)));
        assert_eq!(all[1]["document"], all[0]["document"], "what belongs together can be found");
        assert_eq!(all[1]["arguments"], json!({ "account": "1" }));
        let mode =
            std::fs::metadata(gateway.folder.path("audit/audit.jsonl")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn sensitive_arguments_are_redacted_at_any_depth_and_reach_the_agent() {
    let secrets = json!({
        "account": "1", "PIN": "s3cret-1", "to_account": "s3cret-2",
        "nested": [{ "password": "s3cret-3", "list": [{ "credit_card": { "number": "s3cret-4" } }] }], "ssn": ["s3cret-5"],
    });
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).and("sensitive: [to_account]").start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        let answer = Platform::call_function(&document, &call, "get_balance", &secrets);
        let redacted = json!({
            "account": "1", "PIN": "[REDACTED]", "to_account": "[REDACTED]",
            "nested": [{ "password": "[REDACTED]", "list": [{ "credit_card": "[REDACTED]" }] }], "ssn": "[REDACTED]",
        });
        assert_eq!(gateway.record_of(&answer)["arguments"], redacted, "{sdk:?}");
        assert!(gateway.audit().iter().all(|record| !record.to_string().contains("s3cret")), "{sdk:?}");
        assert_eq!(agent.did(&call).last().expect("it ran")["arguments"], secrets, "{sdk:?}");
    }
}

#[test]
fn arguments_that_cannot_be_taken_apart_are_not_written_down() {
    let gateway = Policy::of(Sdk::Python.shared().address).start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    let mut body = function_call(&call, "get_balance", &json!({}));
    body["argument"] = json!({ "raw": "pin: s3cret" });
    let answer = Request::post(&document.function_url("get_balance"), body.to_string()).send();
    let record = gateway.record_of(&answer);
    assert!(record["arguments"] == "[REDACTED]" && !record.to_string().contains("s3cret"), "{record}");
}

#[test]
fn whoever_leaves_early_is_recorded_once_too() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let mut raw = Raw::connect(gateway.listen());
    let authorization = basic("signalwire", GATEWAY_PASSWORD);
    raw.write(format!(
        "POST /bank HTTP/1.1\r\nHost: gateway\r\nAuthorization: {authorization}\r\nContent-Length: 100\r\n\r\nhalf"
    ));
    raw.finish();
    drop(raw);
    let records = until("it is recorded", || Some(gateway.audit()).filter(|records| !records.is_empty()));
    let found: Vec<_> = records.iter().map(|record| (&record["route"], &record["reason"])).collect();
    assert_eq!(found, [(&json!("swml"), &json!("client_gone"))]);
}
