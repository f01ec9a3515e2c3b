//! Documents of the SDK's own schema, made at random: none leaks an address or a credential of the agent, and nothing
//! changes but its URLs.
//!
//! `SWAIGATE_SCHEMA_SEED` and `SWAIGATE_SCHEMA_CASES` try others, and more of them.

#[path = "support/maker.rs"]
mod maker;
#[path = "support/world.rs"]
mod world;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use maker::Maker;
use serde_json::Value;
use swaigate_core::{
    basic,
    decide::Permit,
    origin,
    record::{Bypass, Facts},
    route::Method,
    token::{self, Kind, PARAMETER, UnverifiedToken},
};
use world::{CALL, Request, World};

/// What is in no document that leaves: where the agent is, and what opens it.
const INSIDE: [&str; 8] = [
    "127.0.0.1:3000",
    "localhost:3000",
    "LocalHost:3000",
    "0.0.0.0:3000",
    "s3cr3t",
    "bank-user",
    "of-before",
    "old-name",
];

/// Keys of credentials, which go with the URL that they are for.
const CREDENTIALS: [&str; 9] = [
    "web_hook_auth_user",
    "web_hook_auth_password",
    "web_hook_auth_pass",
    "auth_user",
    "auth_password",
    "user",
    "pass",
    "post_prompt_auth_user",
    "post_prompt_auth_password",
];

/// What became of the documents.
#[derive(Debug, Default)]
struct Tally {
    left: usize,
    refused: BTreeMap<&'static str, usize>,
    minted: BTreeMap<&'static str, usize>,
    cleaned: usize,
}

#[test]
fn no_document_of_the_schema_leaks_or_changes_in_anything_else() {
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (seed, cases) = (number("SWAIGATE_SCHEMA_SEED", 20_261_124), number("SWAIGATE_SCHEMA_CASES", 4_000));
    let schema: Value = serde_json::from_slice(&fs::read(schema_path()).expect("the schema")).expect("it is JSON");
    let world = World::bank_with("functions: { default: { learned_schema: ignore } }");
    let mut tally = Tally::default();
    for case in 0..cases {
        let document = Maker::new(&schema, seed + case).document();
        if let Err(error) = check(&world, &document, &mut tally) {
            panic!("SWAIGATE_SCHEMA_SEED={} SWAIGATE_SCHEMA_CASES=1: {error}\n{document}", seed + case);
        }
    }
    println!("{tally:?}");
    let refused: usize = tally.refused.values().sum();
    assert!(refused * 20 < tally.left, "too many are refused for the others to tell anything: {tally:?}");
    for kind in Kind::ALL {
        let minted = tally.minted.get(name_of(kind)).copied().unwrap_or_default();
        assert!(minted as u64 * 100 >= cases, "too few URLs of kind {kind:?}: {tally:?}");
    }
    assert!(tally.cleaned as u64 >= cases, "too few texts with a URL in them: {tally:?}");
}

/// Agents of world `strict`, each with rules of its own for what it may say.
const RULED: [&str; 9] = ["calls", "words", "verbs", "egress", "files", "functions", "chosen", "asks", "places"];

fn strict() -> World {
    let file = include_str!("../../../tests/golden/worlds/strict.yaml");
    World::new(serde_yaml::from_str(file).expect("a world")).expect("policies")
}

/// The permission to answer a fetch of this agent's document.
fn permit(world: &World, agent: &str) -> Permit {
    let (_, fetch) = world::platform_use(Kind::Swml, "", CALL);
    world.ask(&Request::of_platform(Method::Post, &format!("/{agent}"), fetch)).expect("a fetch").permit
}

#[test]
fn what_is_added_to_a_document_has_a_bound() {
    let world = strict();
    let of_ais = |count: usize| format!(r#"{{"sections":{{"main":[{}]}}}}"#, vec![r#"{"ai":{}}"#; count].join(","));
    let permit = permit(&world, "words");
    let released = |count| world.release(&permit, of_ais(count).as_bytes(), &mut Facts::default());
    assert!(released(1_000).is_ok());
    assert_eq!(released(120_000).err().map(|refused| refused.reason.as_str()), Some("agent_too_large"));
}

/// What is cut and added makes a whole of each document, which is then as the policy wants it.
#[test]
fn what_a_policy_makes_of_a_document_it_leaves_as_it_is() {
    let schema: Value = serde_json::from_slice(&fs::read(schema_path()).expect("the schema")).expect("it is JSON");
    let world = strict();
    let mut tally: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let documents = (0..400).map(|case| Maker::new(&schema, 20_261_124 + case).document().to_string());
    for (document, agent) in documents.flat_map(|document| RULED.map(|agent| (document.clone(), agent))) {
        let permit = permit(&world, agent);
        let mut released = |text: &str| {
            let mut facts = Facts::default();
            let reply = world.release(&permit, text.as_bytes(), &mut facts);
            let cut = facts.unmediated.iter().any(|it| matches!(it.how, Bypass::Cut | Bypass::Unenforced));
            let outcome = match &reply {
                Ok(reply) if cut => (reply.status, "cut"),
                Ok(reply) => (reply.status, "left"),
                Err(refused) => (0, refused.reason.as_str()),
            };
            *tally.entry((agent, outcome.1)).or_default() += 1;
            assert_ne!(outcome.1, "internal", "{agent}: {text}");
            reply.ok().map(|reply| String::from_utf8(reply.body).expect("UTF-8"))
        };
        let Some(once) = released(&document) else { continue };
        let twice = released(&once).unwrap_or_default();
        assert_eq!(without_tokens(&twice), without_tokens(&once), "{agent}: {document}");
    }
    println!("{tally:?}");
    for (agent, outcome) in [
        ("verbs", "cut"),
        ("verbs", "verb_denied"),
        ("egress", "egress_denied"),
        ("chosen", "cut"),
        ("places", "destination_denied"),
    ] {
        assert!(tally.get(&(agent, outcome)).is_some_and(|count| *count > 10), "{agent} {outcome}: {tally:?}");
    }
}

/// A token holds a digest of its function's parameters as they were, with the agent's URLs in them.
fn without_tokens(text: &str) -> String {
    let mut parts = text.split("gw_token=");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "…" + part.trim_start_matches(|c: char| c.is_alphanumeric() || "-_".contains(c))
    })
}

/// Where `tests/setup` installs the SDK.
fn schema_path() -> PathBuf {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/.cache/venv/sdk/lib");
    let interpreters = fs::read_dir(&library).into_iter().flatten().flatten();
    let found = interpreters.map(|entry| entry.path().join("site-packages/signalwire/schema.json"));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("no signalwire/schema.json below {}: run tests/setup", library.display());
    })
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Tool => "tool",
        Kind::Hook => "hook",
        Kind::Summary => "summary",
        Kind::Debug => "debug",
        Kind::Includes => "includes",
        Kind::Swml => "swml",
        Kind::Callback => "callback",
        Kind::Asset => "asset",
    }
}

fn check(world: &World, document: &Value, tally: &mut Tally) -> Result<(), String> {
    let (_, fetch) = world::platform_use(Kind::Swml, "", CALL);
    let fetched = Request::of_platform(Method::Post, "/bank", fetch);
    let passed = world.ask(&fetched).map_err(|refused| format!("the fetch is refused: {:?}", refused.reason))?;
    let reply = match world.release(&passed.permit, document.to_string().as_bytes(), &mut Facts::default()) {
        Ok(reply) => reply,
        Err(refused) if ["url_ambiguous", "url_forbidden", "agent_not_json"].contains(&refused.reason.as_str()) => {
            *tally.refused.entry(refused.reason.as_str()).or_default() += 1;
            return Ok(());
        }
        Err(refused) => return Err(format!("it is refused: {:?}", refused.reason)),
    };
    tally.left += 1;
    let left = String::from_utf8(reply.body).map_err(|error| error.to_string())?;
    if let Some(inside) = INSIDE.iter().find(|inside| left.contains(**inside)) {
        return Err(format!("{inside} leaves in {left}"));
    }
    let left = serde_json::from_str(&left).map_err(|error| error.to_string())?;
    let mut comparison = Comparison { world, tally };
    comparison.same(document, &left, "", "").map_err(|error| format!("{error}\n{left}"))
}

/// Compares what an agent said with what leaves.
struct Comparison<'c> {
    world: &'c World,
    tally: &'c mut Tally,
}

impl Comparison<'_> {
    /// `key` is the one that both stand under, `function` the function whose definition it is in.
    fn same(&mut self, before: &Value, after: &Value, key: &str, function: &str) -> Result<(), String> {
        match (before, after) {
            (Value::Object(_), Value::Object(_)) => self.same_object(before, after, key, function),
            (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
                before.iter().zip(after).try_for_each(|(before, after)| self.same(before, after, key, function))
            }
            (Value::String(before), Value::String(after)) => self.same_text(before, after, key, function),
            _ if before == after => Ok(()),
            _ => Err(format!("`{key}` was {before} and is {after}")),
        }
    }

    fn same_object(&mut self, before: &Value, after: &Value, key: &str, function: &str) -> Result<(), String> {
        let (old, new) = (before.as_object().ok_or("no object")?, after.as_object().ok_or("no object")?);
        let function = before["function"].as_str().unwrap_or(function);
        for (name, value) in old {
            match new.get(name) {
                Some(left) => self.same(value, left, name, function)?,
                None if CREDENTIALS.contains(&name.as_str()) && has_own_url(before) => {}
                None if key == "defaults" && name == "web_hook_url" && is_own(value) => {}
                None => return Err(format!("`{name}` is gone from `{key}`")),
            }
        }
        for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            let text = value.as_str().unwrap_or_default();
            match name.as_str() {
                // The defaults' URL is each function's own now; its place is checked like any other's.
                "web_hook_url" if old.contains_key("function") && text.contains(PARAMETER) => {
                    self.minted(text, name, function)?;
                }
                "meta_data_token" if old.contains_key("function") && text.len() == 32 => {}
                _ => return Err(format!("`{name}` is new in `{key}`: {value}")),
            }
        }
        Ok(())
    }

    fn same_text(&mut self, before: &str, after: &str, key: &str, function: &str) -> Result<(), String> {
        if before == after {
            return Ok(());
        }
        if let (Ok(before), Ok(after)) = (serde_json::from_str(before), serde_json::from_str(after)) {
            return self.same(&before, &after, "", "");
        }
        if after.contains(PARAMETER) {
            let (target, query) = self.minted(after, key, function)?;
            let own = origin::parse(before).and_then(Result::ok).ok_or("what was minted was no URL")?;
            let expected = (own.path().to_owned(), own.query().map(str::to_owned));
            return if (target, query) == expected { Ok(()) } else { Err(format!("{after} doesn't lead to {before}")) };
        }
        self.tally.cleaned += 1;
        if plain(before) == plain(after) { Ok(()) } else { Err(format!("`{key}` was {before} and is {after}")) }
    }

    /// A minted URL, used as the platform uses it: what the agent is asked then.
    fn minted(&mut self, url: &str, key: &str, function: &str) -> Result<(String, Option<String>), String> {
        let parsed = origin::parse(url).and_then(Result::ok).ok_or_else(|| format!("no URL: {url}"))?;
        let query = parsed.query().unwrap_or_default();
        let token = query.split('&').find_map(|pair| pair.strip_prefix("gw_token=")).ok_or("no token")?;
        let token = UnverifiedToken::decode(token).map_err(|error| error.to_string())?;
        let kind = token.claimed_kind();
        *self.tally.minted.entry(name_of(kind)).or_default() += 1;
        let function = if key == "web_hook_url" { function } else { "" };
        let (method, body) = world::platform_use(kind, function, CALL);
        let (userinfo, _) = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).ok_or("no userinfo")?;
        let password = userinfo.strip_prefix("call:").ok_or("not the call's own user")?;
        let mut request = Request::of_platform(method, &format!("{}?{query}", parsed.path()), body);
        request.authorization = Some(basic::header(token::CALL_USER, password.as_bytes()));
        let passed = self.world.ask(&request).map_err(|refused| format!("{url} is refused: {:?}", refused.reason))?;
        let (path, query) = world::split(&passed.permit.forward().target);
        Ok((path.to_owned(), query.map(str::to_owned)))
    }
}

fn has_own_url(object: &Value) -> bool {
    object.as_object().into_iter().flatten().any(|(_, value)| is_own(value))
        // Beside the defaults' credentials there may be no URL: they are for the functions' own.
        || object.get("web_hook_url").is_none()
}

fn is_own(value: &Value) -> bool {
    value.as_str().is_some_and(|text| plain(text) != text || text.contains("agents.example.com"))
}

/// A text without what tells the agent's address from the gateway's.
fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for userinfo in ["bank-user:s3cr3t%2Fp@ss@", "bank-user:s3cr3t%2Fp%40ss@", "signalwire:of-before@"] {
        text = text.replace(userinfo, "");
    }
    for own in [
        "http://127.0.0.1:3000",
        "http://localhost:3000",
        "HTTP://LocalHost:3000",
        "http://0.0.0.0:3000",
        "https://old-name.example.com",
    ] {
        text = text.replace(own, "https://agents.example.com");
    }
    text.replace("/bank/.root", "")
}
