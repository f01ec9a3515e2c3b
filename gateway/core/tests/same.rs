//! Which calls of a function are the same: for `once`, what an agent may take for the same; for `confirm`, nothing else.

#[path = "support/world.rs"]
mod world;

use serde_json::{Value, json};
use swaigate_core::{decide::Check, id::FactKey, route::Method, token::Kind};
use world::{CALL, CALLER, Request, Wanted, World};

/// Of `{"type":"object","properties":{"amount":{"type":"number"},"to":{"type":"string"}}}`, as the bank publishes it.
fn published() -> Value {
    json!({ "type": "object", "properties": { "amount": { "type": "number" }, "to": { "type": "string" } } })
}

/// A call of `f` with this `argument`. `knows` says whether its agent has published what it takes.
fn asks(rules: &str, argument: &Value, knows: bool) -> Vec<Check> {
    let world = World::bank_with(&format!("functions: {{ f: {{ {rules} }} }}"));
    let mut body = json!({ "function": "f", "argument": argument, "call_id": CALL, "caller_id_num": CALLER });
    let mut wanted = Wanted::new(Kind::Tool, "f", "bank", "/bank/swaig");
    if knows {
        body["argument_desc"] = published();
        wanted.claims.schema = digest();
    }
    let target = format!("/bank/swaig?gw_token={}", wanted.token());
    let request = Request::of_platform(Method::Post, &target, body.to_string());
    world.ask(&request).unwrap_or_else(|refused| panic!("{argument}: {refused:?}")).checks
}

/// The digest of [`published`], as a document's token carries it.
fn digest() -> [u8; 8] {
    use sha2::{Digest, Sha256};
    let canonical = r#"{"properties":{"amount":{"type":"number"},"to":{"type":"string"}},"type":"object"}"#;
    Sha256::digest(canonical)[..8].try_into().expect("eight bytes")
}

fn parsed(arguments: &Value) -> Value {
    json!({ "parsed": [arguments] })
}

fn once(argument: &Value, knows: bool) -> FactKey {
    let fact = |check: &Check| if let Check::Once { fact, .. } = check { Some(*fact) } else { None };
    asks("once: true", argument, knows).iter().find_map(fact).expect("it is asked")
}

fn confirm(rules: &str, argument: &Value) -> FactKey {
    let fact = |check: &Check| if let Check::Agreed(agreed) = check { Some(agreed.fact) } else { None };
    asks(rules, argument, false).iter().find_map(fact).expect("it is asked")
}

#[test]
fn once_is_not_got_around_by_another_spelling() {
    let first = once(&parsed(&json!({ "amount": 5, "to": "Ana" })), true);
    for same in [
        r#"{"amount":5.0,"to":"Ana"}"#,
        r#"{"amount":5e0,"to":"Ana"}"#,
        r#"{"to":"Ana","amount":"5"}"#,
        r#"{"amount":"5.00","to":"Ana"}"#,
        r#"{"amount":5,"to":"Ana","again":1}"#,
        r#"{"amount":5,"to":"Ana","note":null}"#,
    ] {
        // As text: JSON of Rust's would write the numbers its own way.
        assert_eq!(once(&json!({ "raw": same }), true), first, "{same}");
    }
    for other in [
        json!({ "amount": 6, "to": "Ana" }),
        json!({ "amount": 5, "to": "ana" }),
        json!({ "amount": 5 }),
        json!({ "to": "Ana" }),
    ] {
        assert_ne!(once(&parsed(&other), true), first, "{other}");
    }
}

#[test]
fn where_nothing_was_published_every_argument_counts() {
    let first = once(&parsed(&json!({ "amount": 5 })), false);
    assert_eq!(once(&json!({ "raw": r#"{"amount":5.0}"# }), false), first);
    assert_eq!(once(&json!({ "raw": r#"{"amount":5,"note":null}"# }), false), first);
    assert_ne!(once(&parsed(&json!({ "amount": 5, "to": "Bo" })), false), first);
}

#[test]
fn a_new_code_makes_no_other_call() {
    let verified = |rule: &str| format!("{rule}, verify: {{ argument: code, code_env: GATEWAY_PASSWORD }}");
    let of = |rule: &str, code: &str| asks(&verified(rule), &parsed(&json!({ "amount": 5, "code": code })), false);
    for rule in ["once: true", "confirm: { insecure_model_only: true }"] {
        let facts = |code: &str| -> Vec<Check> {
            let checks = of(rule, code);
            checks.into_iter().filter(|check| matches!(check, Check::Once { .. } | Check::Agreed(_))).collect()
        };
        assert_eq!(facts("1111"), facts("2222"), "{rule}");
    }
}

#[test]
fn a_caller_has_agreed_to_nothing_else() {
    let rule = "confirm: { words: [aye] }";
    let first = confirm(rule, &parsed(&json!({ "amount": 5, "to": "Ana" })));
    assert_eq!(confirm(rule, &parsed(&json!({ "to": "Ana", "amount": 5 }))), first);
    for other in [json!({ "amount": 5, "to": "Bo" }), json!({ "amount": 5, "to": "Ana", "then": "x" }), json!({})] {
        assert_ne!(confirm(rule, &parsed(&other)), first, "{other}");
    }
    // What is no JSON is another call with each letter.
    let raw = |text: &str| confirm(rule, &json!({ "raw": text }));
    assert_eq!(raw("{amount: 5"), raw("{amount: 5"));
    assert_ne!(raw("{amount: 5"), raw("{amount: 500"));
}
