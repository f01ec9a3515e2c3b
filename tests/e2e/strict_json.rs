//! Bodies that two parsers could read differently never reach an agent.

use serde_json::json;

use crate::harness::{
    agent::Sdk,
    gateway::Policy,
    http::Request,
    platform::{Call, function_call},
};

/// What is sent in place of `BODY`, a proper function call, and why it is refused.
fn cases(call: &Call) -> Vec<(String, &'static str)> {
    let proper = function_call(call, "get_balance", &json!({ "account": "1" })).to_string();
    let id = &call.id;
    // Everything but what the case is about.
    let with = |members: &str| format!(r#"{{"call_id":"{id}",{members}}}"#);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    vec![
        (String::new(), "body_not_json"),
        ("no json".to_owned(), "body_not_json"),
        (format!("[{proper}]"), "body_not_json"),
        ("\"text\"".to_owned(), "body_not_json"),
        (format!("{proper}{proper}"), "body_not_json"),
        (format!("{proper} x"), "body_not_json"),
        (format!("\u{feff}{proper}"), "body_not_json"),
        (proper.replacen('"', "'", 2), "body_not_json"),
        (proper[..proper.len() - 1].to_owned(), "body_not_json"),
        (with(r#""function":"get_balance","x":NaN"#), "body_not_json"),
        (with(r#""function":"get_balance","x":01"#), "body_not_json"),
        (with(r#""function":"get_balance",}"#), "body_not_json"),
        (with(r#""function":"get_balance" /* x */"#), "body_not_json"),
        (with(r#""function":"get_balance","function":"transfer_funds""#), "body_duplicate_key"),
        (with(r#""function":"get_balance","funct\u0069on":"transfer_funds""#), "body_duplicate_key"),
        (with(r#""function":"get_balance","call_id":"other""#), "body_duplicate_key"),
        (
            with(r#""function":"get_balance","argument":{"parsed":[{"account":"1","account":"2"}]}"#),
            "body_duplicate_key",
        ),
        (with(r#""function":"get_balance","global_data":{"a":{"b":1,"b":2}}"#), "body_duplicate_key"),
        (with(&format!(r#""function":"get_balance","x":{deep}"#)), "body_too_deep"),
        (with(r#""x":1"#), "function_missing"),
        (with(r#""function":7"#), "function_missing"),
        (with(r#""function":"""#), "function_missing"),
        (with(r#""function":["get_balance"]"#), "function_missing"),
        (
            with(r#""function":"get_balance","argument":{"parsed":[{"account":"1"}],"raw":"{\"account\":\"2\"}"}"#),
            "arguments_disagree",
        ),
        (
            with(
                r#""function":"get_balance","argument":{"parsed":[{"account":"1"}],"raw":"{\"account\":\"2\",\"account\":\"1\"}"}"#,
            ),
            "arguments_disagree",
        ),
        (
            with(r#""function":"get_balance","argument":{"parsed":[{"account":"1"}]},"arguments":{"account":"2"}"#),
            "arguments_disagree",
        ),
    ]
}

#[test]
fn what_can_be_read_two_ways_is_refused() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        let url = document.function_url("get_balance");
        let not_utf8 = [b"{\"function\":\"get_balance\",\"x\":\"".as_slice(), b"\xff\xfe\"}"].concat();
        let cases = cases(&call).into_iter().map(|(body, reason)| (body.into_bytes(), reason));
        for (body, reason) in cases.chain([(not_utf8, "body_not_json")]) {
            let shown = String::from_utf8_lossy(&body).into_owned();
            let answer = tap.stays_silent(&shown, || Request::post(&url, body).send());
            assert_eq!((answer.status, gateway.reason_of(&answer).as_str()), (400, reason), "{sdk:?}: {shown}");
        }
        assert_eq!(agent.ran(&call, "get_balance"), 0, "{sdk:?}");
    }
}

/// What the platform mends or leaves out is no reason to refuse.
#[test]
fn what_can_be_read_one_way_reaches_the_agent() {
    let arguments = [
        json!({ "parsed": [{ "account": "1" }], "raw": "{ \"account\" : \"\\u0031\" }" }),
        json!({ "parsed": [{ "account": "1" }], "raw": "account: 1" }),
        json!({ "parsed": [{ "account": "1" }] }),
    ];
    for sdk in Sdk::ALL {
        let gateway = Policy::of(sdk.shared().address).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        for argument in &arguments {
            let mut body = function_call(&call, "get_balance", &json!({}));
            body["argument"] = argument.clone();
            let answer = Request::post(&document.function_url("get_balance"), body.to_string()).send();
            assert_eq!(answer.response(), "Balance of 1 is $150.00", "{sdk:?} {argument}");
        }
    }
}

#[test]
fn fetches_and_summaries_are_read_as_strictly() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).start();
        let call = Call::new();
        let platform = gateway.platform();
        let document = platform.fetch(&call);
        let fetch = platform.fetch_request("", &call);
        for body in [r#"{"call":{"call_id":"a","call_id":"b"}}"#, "[]", "{", "call_id=a"] {
            for request in [fetch.clone(), Request::post(&document.summary_url(), "")] {
                let request = Request { body: body.into(), ..request };
                let answer = tap.stays_silent(body, || request.send());
                assert_eq!(answer.status, 400, "{sdk:?}: {body}");
            }
        }
    }
}
