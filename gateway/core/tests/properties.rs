//! What holds for every document and every request, tried on random ones.

#[path = "support/world.rs"]
mod world;

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use swaigate_core::{
    basic,
    decide::Permit,
    record::Facts,
    route::Method,
    secret::Secret,
    token::{self, Kind, UnverifiedToken},
};
use world::{CALL, Request, Wanted, World};

static WORLD: LazyLock<World> = LazyLock::new(World::bank);

/// Host and port of the agents, and all of their credentials: none of it may be in what leaves.
const INSIDE: [&str; 9] =
    ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "shop.internal", "s3cr3t", "pw.1", "bank-user", "shop-user"];

const OWN_ORIGINS: [&str; 12] = [
    "http://127.0.0.1:3000",
    "http://bank-user:s3cr3t/p@ss@127.0.0.1:3000",
    "http://bank-user:s3cr3t%2Fp%40ss@127.0.0.1:3000",
    "HTTP://localhost:3000",
    "https://LOCALHOST:3000",
    "http://0.0.0.0:3000",
    "http://[::1]:3000",
    "http://x@127.0.0.1:3000",
    "http://shop-user:pw.1@shop.internal:8080",
    "https://old-name.example.com",
    "https://agents.example.com",
    "https://call:old@agents.example.com",
];

const KEYS: [&str; 34] = [
    "web_hook_url",
    "post_prompt_url",
    "debug_webhook_url",
    "url",
    "urls",
    "dest",
    "transfer",
    "confirm",
    "wait_url",
    "status_url",
    "recording_status_callback",
    "webhook",
    "wait_file",
    "functions",
    "defaults",
    "function",
    "name",
    "data_map",
    "webhooks",
    "includes",
    "SWAIG",
    "ai",
    "sections",
    "main",
    "action",
    "SWML",
    "raw_swml",
    "params",
    "request",
    "meta_data_token",
    "web_hook_auth_user",
    "auth_password",
    "response",
    "global_data",
];

/// A permission to answer a fetch of the bank's document.
fn permit() -> Permit {
    let (method, body) = world::platform_use(Kind::Swml, "", CALL);
    WORLD.ask(&Request::of_platform(method, "/bank", body)).expect("a fetch").permit
}

fn released(document: &str) -> Option<String> {
    let reply = WORLD.release(&permit(), document.as_bytes(), &mut Facts::default()).ok()?;
    Some(String::from_utf8(reply.body).expect("UTF-8"))
}

// === documents ===

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "/bank(/swaig|/post_prompt|/next|/a%20b|//x)?/?",
        "/held(/swaig|/menu)?",
        "/[a-z~%41]{0,8}(/[a-z]{0,3})?",
    ]
}

fn any_query() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("?".to_owned()),
        "\\?(__token=[a-z%=]{0,6})?(&[a-z]{0,3}=?[a-z%3D]{0,3}){0,3}",
        Just("?gw_token=OLD&x=1".to_owned()),
        Just("#x".to_owned()),
    ]
}

fn own_url() -> impl Strategy<Value = String> {
    (prop::sample::select(&OWN_ORIGINS[..]), any_path(), any_query())
        .prop_map(|(origin, path, query)| format!("{origin}{path}{query}"))
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        own_url(),
        own_url(),
        own_url().prop_map(|url| format!("see {url} or ({url}), \u{1f600}\"{url}\".")),
        own_url().prop_map(|url| format!("https://example.net/?next={url}")),
        (own_url(), own_url())
            .prop_map(|(one, two)| format!("{}?next={two}", one.split('?').next().unwrap_or_default())),
        Just("https://example.net/x?y#z".to_owned()),
        Just("https://${vars.host}/x".to_owned()),
        Just("http://127.0.0.1:3000/${vars.path}".to_owned()),
        Just("say:hello".to_owned()),
        Just("wss://media.example.net/s".to_owned()),
        "[a-z \\\\\"/\u{e9}\u{1f600}]{0,12}",
    ]
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(&KEYS[..]).prop_map(str::to_owned), 1 => "[a-z\u{e9}\"]{0,4}"]
}

/// A definition as it should be, so that random documents hold some.
fn definition() -> impl Strategy<Value = Value> {
    ("[a-z]{1,5}|hangup_hook", own_url(), any::<[bool; 3]>()).prop_map(|(name, url, [own, credentials, token])| {
        let mut definition = json!({"function": name, "description": "x"});
        if own {
            definition["web_hook_url"] = json!(url);
        }
        if credentials {
            definition["web_hook_auth_password"] = json!("s3cr3t/p@ss");
        }
        if token {
            definition["meta_data_token"] = json!("mine");
        }
        definition
    })
}

fn swaig() -> impl Strategy<Value = Value> {
    (prop::collection::vec(definition(), 0..4), prop::option::of(own_url())).prop_map(|(functions, url)| match url {
        Some(url) => json!({"defaults": {"web_hook_url": url, "web_hook_auth_user": "u"}, "functions": functions}),
        None => json!({"functions": functions}),
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => any_text().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => swaig(),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner.clone()).prop_map(Value::from),
            object(inner).prop_map(|inner| json!({"SWML": Value::from(inner).to_string()})),
        ]
    })
}

fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = serde_json::Map<String, Value>> {
    prop::collection::vec((any_key(), inner), 0..5).prop_map(|members| members.into_iter().collect())
}

fn any_document() -> impl Strategy<Value = String> {
    object(any_value()).prop_map(|root| Value::from(root).to_string())
}

/// Every string and key of a value, also of documents in strings.
fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Ok(inner) = serde_json::from_str(text) {
                strings(&inner, found);
            }
            found.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(members) => members.iter().for_each(|(key, item)| {
            found.push(key.clone());
            strings(item, found);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What may have changed: members that hold URLs or credentials, or that the gateway adds.
fn is_ours(key: &str) -> bool {
    const CREDENTIALS: [&str; 9] = [
        "web_hook_auth_user",
        "web_hook_auth_password",
        "web_hook_auth_pass",
        "auth_user",
        "auth_password",
        "user",
        "pass",
        "meta_data_token",
        "web_hook_url",
    ];
    CREDENTIALS.contains(&key)
}

/// A value without what may have changed: URLs, texts that hold some, and members of [`is_ours`].
fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner) => json!({"in a string": masked(&inner)}),
            Err(_) if text.contains("://") => json!("a URL"),
            Err(_) => value.clone(),
        },
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, _)| !is_ours(key));
            Value::Object(kept.map(|(key, item)| (key.clone(), masked(item))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing of the inside leaves, and every URL at the gateway that carries credentials carries one token.
    #[test]
    fn no_address_and_no_credential_leaves(document in any_document()) {
        let Some(out) = released(&document) else { return Ok(()) };
        let parsed: Value = serde_json::from_str(&out).expect("JSON");
        let mut texts = Vec::new();
        strings(&parsed, &mut texts);
        for text in texts {
            // The agent's own query is restored byte for byte, so the part of a minted URL behind its `?` is its own.
            let lower = text.to_lowercase();
            let is_minted = lower.contains("gw_token=");
            let seen = if is_minted { lower.split('?').next().unwrap_or_default() } else { lower.as_str() };
            let inside = INSIDE.iter().find(|word| seen.contains(**word));
            prop_assert!(inside.is_none(), "{inside:?} in {text}\n  of {document}");
            let query = lower.split_once('?').map(|(_, query)| query).unwrap_or_default();
            let tokens = query.split('&').filter(|pair| pair.starts_with("gw_token=")).count();
            prop_assert!(!lower.starts_with("https://call:") || lower.contains("call:old") || tokens == 1, "{text}");
        }
    }

    /// A document that was rewritten is rewritten to itself.
    #[test]
    fn twice_is_once(document in any_document()) {
        let Some(once) = released(&document) else { return Ok(()) };
        let twice = released(&once);
        prop_assert_eq!(twice.as_ref(), Some(&once), "{}", document);
    }

    /// What is neither a URL nor a credential is as it was.
    #[test]
    fn the_rest_is_unchanged(document in any_document()) {
        let Some(out) = released(&document) else { return Ok(()) };
        let [before, after] = [&document, &out].map(|text| masked(&serde_json::from_str(text).expect("JSON")));
        prop_assert_eq!(before, after, "{}", document);
    }

    /// Each minted URL is good for what it was minted for, and for no other function, call, path or agent.
    #[test]
    fn a_minted_url_is_good_for_one_thing(name in "[a-z_]{1,8}", path in any_path(), query in any_query(), at in any::<prop::sample::Index>()) {
        let (path, query) = (format!("/bank{}", path.trim_start_matches("/bank")), query.replace("gw_token", "t"));
        let url = format!("http://127.0.0.1:3000{path}{query}");
        let document = json!({"functions": [{"function": name, "web_hook_url": url}]}).to_string();
        let Some(out) = released(&document) else { return Ok(()) };
        let minted: Value = serde_json::from_str(&out).expect("JSON");
        let minted = minted["functions"][0]["web_hook_url"].as_str().expect("a URL").to_owned();
        let (userinfo, target) = minted.strip_prefix("https://").expect("https").split_once("@agents.example.com").expect("userinfo");
        let target = target.split('#').next().expect("a target");
        let password = userinfo.strip_prefix("call:").expect("the gateway's user");
        let ask = |target: &str, function: &str, call: &str| {
            let (method, body) = world::platform_use(Kind::Tool, function, call);
            let mut request = Request::of_platform(method, target, body);
            request.authorization = Some(basic::header("call", password.as_bytes()));
            WORLD.ask(&request)
        };
        let passed = ask(target, &name, CALL);
        let expected = format!("{path}{}", query.split('#').next().expect("a query"));
        prop_assert_eq!(passed.map(|passed| passed.permit.forward().target.clone()).ok(), Some(expected));
        let longer = format!("{name}x");
        prop_assert!(ask(target, &longer, CALL).is_err());
        prop_assert!(ask(target, &name, "call-2").is_err());
        prop_assert!(ask(&target.replacen("/bank", "/shop", 1), &name, CALL).is_err());
        prop_assert!(ask(&target.replacen("/bank", "/bank/.root/bank/x", 1), &name, CALL).is_err());
        // Any one character of path or query that is another makes it another URL.
        let at = 1 + at.index(target.len() - 1);
        let other = if target.as_bytes()[at] == b'x' { 'y' } else { 'x' };
        let changed: String = target.char_indices().map(|(i, c)| if i == at { other } else { c }).collect();
        prop_assert!(ask(&changed, &name, CALL).is_err(), "{}", changed);
    }

    /// No bytes make the decision panic.
    #[test]
    fn no_request_makes_it_panic(
        method in prop::sample::select(vec!["GET", "POST", "HEAD", "PUT", "x"]),
        path in "/(bank|shop)?(/swaig|/post_prompt|/health|/files/a|/\\.root/x)?[ -~]{0,6}",
        kind in prop::sample::select(&Kind::ALL[..]),
        has_token in any::<bool>(),
        credentials in prop_oneof![Just(None), prop::collection::vec(any::<u8>(), 0..40).prop_map(Some)],
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), any_document().prop_map(String::into_bytes)],
    ) {
        let query = path.split_once('?').map(|(path, _)| path).unwrap_or(&path);
        let token = Wanted::new(kind, "f", "bank", query).token();
        let target = if has_token { format!("{query}?gw_token={token}") } else { path.clone() };
        let mut request = Request::of_platform(Method::parse(method), &target, body.clone());
        if let Some(bytes) = credentials {
            request.authorization = Some(Secret::new(bytes));
        }
        if let Ok(passed) = WORLD.ask(&request) {
            let _ = WORLD.release(&passed.permit, &body, &mut Facts::default());
        }
    }

    /// No answer makes it panic, and what leaves is JSON.
    #[test]
    fn no_answer_makes_it_panic(body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[\\[{\"a:1,}\\]\\\\u/]{0,40}".prop_map(String::into_bytes),
    ]) {
        if let Ok(reply) = WORLD.release(&permit(), &body, &mut Facts::default()) {
            prop_assert!(serde_json::from_slice::<Value>(&reply.body).is_ok());
        }
    }

    /// Credentials open nothing without a token of their own document and kind.
    #[test]
    fn a_password_alone_opens_nothing(kind in prop::sample::select(&Kind::ALL[..]), other in prop::sample::select(&Kind::ALL[..]), document in any::<[u8; 16]>()) {
        let wanted = Wanted::new(kind, "f", "bank", "/bank/swaig");
        let mut stranger = Wanted::new(other, "f", "bank", "/bank/swaig");
        stranger.claims.document.0 = document;
        let credentials = token::verify_password(stranger.password().as_bytes(), WORLD.policies.keys(), &WORLD.agent("bank").name, world::NOW).expect("authentic");
        let token = UnverifiedToken::decode(&wanted.token()).expect("a token");
        prop_assert!(!credentials.belong_to(&token));
    }
}
