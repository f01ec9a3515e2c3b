//! Cases from `tests/golden`: documents as agents write them and what leaves the gateway in their place; requests and
//! what becomes of them. Each file is a case. `tests/golden/README.md` says how one is written.

#[path = "support/world.rs"]
mod world;

use std::{
    collections::HashMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use swaigate_core::{
    basic,
    decide::{AgentAnswer, Agreed, Begin, CallEvent, CellKey, Check, CodeGiven, Family, Part, Subject},
    id::{AgentName, CallDigest, CallerDigest},
    origin,
    record::Facts,
    route::Method,
    secret::Secret,
    signature::{self, SigningKey},
    time::Timestamp,
    token::{self, Binding, Claims, Kind, UnverifiedToken},
};
use world::{CALL, CALLER, NOW, Passed, Refused, Request, Wanted, World, WorldFile};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentCase {
    about: String,
    #[serde(default = "bank")]
    world: String,
    /// The agent that writes the document, by its public path.
    #[serde(default = "bank_path")]
    agent: String,
    /// The body with which it is fetched; a call from [`CALLER`] unless it is given, nothing if it is empty.
    fetch: Option<String>,
    /// The document is the answer to a use of this URL instead: `tool f /bank/swaig`.
    answers: Option<String>,
    /// The status that the agent answers with.
    #[serde(default = "two_hundred")]
    status: u16,
    /// Its `Location`.
    location: Option<String>,
    /// What the agent says.
    #[serde(default)]
    document: String,
    /// What leaves, with placeholders; `the same` for the agent's own words. Of a redirect, its `Location` in quotes.
    leaves: Option<String>,
    /// The reason why nothing leaves.
    refused: Option<String>,
    /// What does not pass through the gateway: `name how`.
    unmediated: Option<Vec<String>>,
    /// What rules in shadow would have refused: `rule reason`.
    #[serde(default)]
    would_refuse: Vec<String>,
    /// How much was redacted.
    #[serde(default)]
    redacted: usize,
    /// What exactly was wrong, for the operator.
    detail: Option<String>,
}

/// A row of `places.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    row: String,
    /// `tool f`, `callback` and so on.
    kind: String,
    document: String,
    /// What leaves, if more changes than the URL.
    leaves: Option<String>,
    answers: Option<String>,
    /// Whether the document is the whole answer, and not one verb of a document.
    #[serde(default)]
    rooted: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestCase {
    about: String,
    #[serde(default = "bank")]
    world: String,
    #[serde(default = "post")]
    method: String,
    target: String,
    #[serde(default = "public_host")]
    host: String,
    /// `platform`, `none`, `call tool f /bank/swaig`, `basic user:password` or `header Bearer x`.
    #[serde(default = "platform")]
    credentials: String,
    content_length: Option<u64>,
    #[serde(default = "json")]
    content_type: String,
    /// The platform's signature.
    signed: Option<Signed>,
    /// `X-SignalWire-Signature` as it stands.
    signature: Option<String>,
    /// The address that it comes from.
    client: Option<IpAddr>,
    #[serde(default)]
    body: String,
    /// Seconds since the tokens of the case were made.
    #[serde(default)]
    later: u64,
    expect: Expected,
}

/// A signature over this URL and the case's body, or over another one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    key: String,
    url: String,
    body: Option<String>,
    /// `sha256`, `sha1` or, by default, `both`.
    #[serde(default = "both")]
    scheme: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// The reason why it is not forwarded.
    refused: Option<String>,
    status: Option<u16>,
    body: Option<String>,
    /// `METHOD target`, as the agent gets it.
    forwarded: Option<String>,
    agent: Option<String>,
    /// The body that the agent gets, if it isn't the one that came.
    forwarded_body: Option<String>,
    /// What the state store is asked: `caller`, `call`, `unidentified` or `bind`, each with `of` what. Of a refusal, what
    /// detection asks then.
    checks: Option<Vec<String>>,
    /// The arguments as the audit record has them.
    arguments: Option<String>,
    caller: Option<String>,
    caller_disagrees: Option<bool>,
    /// The scheme of the signature that was checked.
    signature: Option<String>,
    /// What the agent gets carries no signature, though the agent's policy has a key.
    #[serde(default)]
    unsigned: bool,
    /// What the agent gets is signed with this key over this URL.
    signed: Option<Signed>,
}

fn bank() -> String {
    "bank".to_owned()
}

fn bank_path() -> String {
    "/bank".to_owned()
}

fn json() -> String {
    "application/json".to_owned()
}

fn both() -> String {
    "both".to_owned()
}

fn two_hundred() -> u16 {
    200
}

fn post() -> String {
    "POST".to_owned()
}

fn platform() -> String {
    "platform".to_owned()
}

fn public_host() -> String {
    "agents.example.com".to_owned()
}

#[test]
fn documents() {
    run("documents", |worlds, case: DocumentCase| check_document(&worlds[&case.world], &case).map(drop));
}

#[test]
fn requests() {
    run("requests", |worlds, case: RequestCase| check_request(&worlds[&case.world], &case));
}

/// The agent's own URL, as SDKs write it and as others do; its path and query.
const OWN: [&str; 3] = [
    "http://bank-user:s3cr3t%2Fp@ss@127.0.0.1:3000/bank/x?__token=a%3D&b=",
    "HTTP://LOCALHOST:3000/bank/x?__token=a%3D&b=",
    "https://old-name.example.com/bank/x?__token=a%3D&b=",
];
const OWN_TARGET: &str = "/bank/x?__token=a%3D&b=";
const EXTERNAL: &str = "https://user:password@elsewhere.example.net/bank/x?a=1";
const TEMPLATES: [&str; 4] = [
    "${vars.base}/bank/x",
    "https://%{host}/bank/x?a=${b}",
    "%{url}",
    "https://${vars.a}:${vars.b}@elsewhere.example.net/",
];

#[test]
fn places() {
    let text = fs::read_to_string(folder("places.yaml")).expect("the table");
    let places: Vec<Place> = serde_yaml::from_str(&text).expect("it is YAML");
    assert!(places.len() > 100);
    let world = worlds().remove("bank").expect("the world of the table");
    let wrong: Vec<String> = places.iter().filter_map(|place| wrong_at(&world, place)).collect();
    assert!(wrong.is_empty(), "{} of {} places:\n\n{}", wrong.len(), places.len(), wrong.join("\n\n"));
}

fn wrong_at(world: &World, place: &Place) -> Option<String> {
    let minted = format!("<<{} {OWN_TARGET}>>", place.kind);
    let leaves = place.leaves.as_ref().unwrap_or(&place.document);
    let own = OWN.into_iter().map(|url| (url, leaves.replace("<url>", "<here>"), minted.as_str(), Some(vec![])));
    let noted = if place.kind == "asset" { Some(vec![]) } else { None };
    let external = [(EXTERNAL, place.document.replace("<url>", "<here>"), EXTERNAL, noted)];
    let templates = TEMPLATES.map(|url| (url, place.document.replace("<url>", "<here>"), url, None));
    for (url, leaves, here, noted) in own.chain(external).chain(templates) {
        let case = DocumentCase {
            about: place.row.clone(),
            world: bank(),
            agent: bank_path(),
            fetch: None,
            answers: place.answers.clone(),
            status: 200,
            location: None,
            document: in_document(place, &place.document.replace("<url>", &format!("{url:?}"))),
            leaves: Some(in_document(place, &leaves.replace("<here>", &format!("{here:?}")))),
            refused: None,
            would_refuse: Vec::new(),
            redacted: 0,
            detail: None,
            unmediated: noted.filter(|_| !place.document.contains("data_map")),
        };
        match check_document(world, &case) {
            Err(error) => return Some(format!("{} with {url}: {error}", place.row)),
            // Another's file is no way around the gateway.
            Ok(noted) if url == EXTERNAL && place.kind != "asset" && noted.is_empty() => {
                return Some(format!("{} with {url}: nothing is noted", place.row));
            }
            Ok(_) => {}
        }
    }
    None
}

/// A verb stands in a section that isn't `main`, below a condition.
fn in_document(place: &Place, text: &str) -> String {
    if place.rooted || place.answers.is_some() {
        return text.to_owned();
    }
    format!(r#"{{"version":"1.0.0","sections":{{"main":[],"other":[{{"cond":[{{"when":"x","then":[{text}]}}]}}]}}}}"#)
}

// === documents ===

/// What does not pass through the gateway, of a document of which all else is as expected.
fn check_document(world: &World, case: &DocumentCase) -> Result<Vec<String>, String> {
    assert!(!case.about.is_empty());
    let request = match &case.answers {
        Some(url) => using(world, url)?,
        None => fetching(case),
    };
    let passed = world.ask(&request).map_err(|refused| format!("the fetch is refused: {:?}", refused.reason))?;
    let mut facts = Facts::default();
    let answer = world::answer(case.status, case.document.trim_end().as_bytes());
    let answer = AgentAnswer { location: case.location.as_deref(), ..answer };
    let outcome = world.release_answer(&passed.permit, &answer, &mut facts);
    match (outcome, &case.leaves, &case.refused) {
        (Err(refused), None, Some(reason)) => same("reason", refused.reason.as_str(), reason)?,
        (Ok(reply), Some(expected), None) => {
            let body = || String::from_utf8(reply.body).map_err(|error| error.to_string());
            let actual = reply.location.map_or_else(body, |location| Ok(format!("{location:?}")))?;
            leaves(world, case, &passed, &actual, expected.trim_end())?;
        }
        (Ok(reply), _, _) => return Err(format!("it leaves: {}", String::from_utf8_lossy(&reply.body))),
        (Err(refused), _, _) => return Err(format!("it is refused: {:?} {:?}", refused.reason, facts.detail)),
    }
    let shadowed: Vec<_> = facts.would_refuse.iter().map(|it| format!("{} {}", it.rule.as_str(), it.reason)).collect();
    same("would refuse", &shadowed.join(", "), &case.would_refuse.join(", "))?;
    same("redacted", &facts.redacted.to_string(), &case.redacted.to_string())?;
    if let Some(expected) = &case.detail {
        same("detail", facts.detail.as_deref().unwrap_or_default(), expected)?;
    }
    let noted: Vec<_> = facts.unmediated.iter().map(|it| format!("{} {}", it.what, it.how.as_str())).collect();
    if let Some(expected) = &case.unmediated {
        same("unmediated", &noted.join(", "), &expected.join(", "))?;
    }
    Ok(noted)
}

fn fetching(case: &DocumentCase) -> Request {
    let (_, call) = world::platform_use(Kind::Swml, "", CALL);
    let body = case.fetch.clone().unwrap_or(call);
    let method = if body.is_empty() { Method::Get } else { Method::Post };
    Request::of_platform(method, &case.agent, body)
}

/// The request of a URL that was minted for this, in the platform's own credentials.
fn using(world: &World, url: &str) -> Result<Request, String> {
    let wanted = wanted(url)?;
    let agent = world.agent(&wanted.agent);
    let below = wanted.target.strip_prefix(&agent.upstream.path).unwrap_or(&wanted.target);
    let separator = if below.contains('?') { '&' } else { '?' };
    let target = format!("{}{below}{separator}gw_token={}", agent.path, wanted.token());
    let (method, body) = world::platform_use(wanted.kind, &wanted.function, CALL);
    Ok(Request::of_platform(method, &target, body))
}

fn leaves(world: &World, case: &DocumentCase, fetch: &Passed, actual: &str, expected: &str) -> Result<(), String> {
    let expected = if expected == "the same" { case.document.trim_end() } else { expected };
    serde_json::from_str::<serde_json::Value>(actual).map_err(|error| format!("{error}: {actual}"))?;
    let mut metadata_tokens = HashMap::new();
    let mut rest = actual;
    for (literal, placeholder) in pieces(expected) {
        let there = rest;
        let off = || format!("\n  expected: …{literal}…\n     there: {there}\n  in: {actual}");
        rest = rest.strip_prefix(literal).ok_or_else(off)?;
        let Some(placeholder) = placeholder else { continue };
        let end = rest.find(['"', '\\']).ok_or_else(off)?;
        let (value, behind) = rest.split_at(end);
        rest = behind;
        match placeholder.strip_prefix("meta ") {
            Some(label) => check_metadata_token(&mut metadata_tokens, label, value)?,
            None => check_minted(world, case, fetch, value, placeholder)?,
        }
    }
    if !rest.is_empty() {
        return Err(format!("more leaves than expected: {rest}"));
    }
    match world.secrets.iter().find(|secret| actual.contains(secret.as_str())) {
        Some(secret) => Err(format!("`{secret}` leaves in {actual}")),
        None => Ok(()),
    }
}

/// `a<<b>>c` as (`a`, `b`), (`c`, nothing).
fn pieces(expected: &str) -> Vec<(&str, Option<&str>)> {
    let mut pieces = Vec::new();
    let mut rest = expected;
    while let Some((literal, behind)) = rest.split_once("<<") {
        let (placeholder, after) = behind.split_once(">>").expect("a placeholder ends in >>");
        pieces.push((literal, Some(placeholder)));
        rest = after;
    }
    pieces.push((rest, None));
    pieces
}

/// Equal labels stand for equal values, others for others.
fn check_metadata_token<'c>(known: &mut HashMap<&'c str, String>, label: &'c str, value: &str) -> Result<(), String> {
    if value.len() != 32 || !value.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("no metadata token: {value}"));
    }
    if let Some((other, _)) = known.iter().find(|(other, there)| **other != label && *there == value) {
        return Err(format!("`{label}` and `{other}` have one metadata token"));
    }
    let before = known.entry(label).or_insert_with(|| value.to_owned());
    same("metadata token", value, before)
}

/// The URL is the gateway's, good for what the placeholder says, and for nothing else.
fn check_minted(
    world: &World,
    case: &DocumentCase,
    fetch: &Passed,
    url: &str,
    placeholder: &str,
) -> Result<(), String> {
    let (placeholder, fragment) = match placeholder.split_once('#') {
        Some((placeholder, fragment)) => (placeholder, format!("#{fragment}")),
        None => (placeholder, String::new()),
    };
    let mut wanted = wanted(placeholder)?;
    if !placeholder.contains('@') && case.answers.is_none() {
        wanted.agent = fetch.permit.agent().name.to_string();
    }
    let url = url.strip_suffix(&fragment).ok_or_else(|| format!("no fragment {fragment}: {url}"))?;
    let parsed = origin::parse(url).and_then(Result::ok).ok_or_else(|| format!("no URL: {url}"))?;
    let public = world.policies.origin_of(world.agent(&wanted.agent));
    if parsed.authority() != &public.authority || parsed.is_https() != public.https {
        return Err(format!("not at the gateway: {url}"));
    }
    let (userinfo, _) = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).ok_or("no credentials")?;
    let (user, password) = userinfo.split_once(':').ok_or("no password")?;
    same("user", user, token::CALL_USER)?;
    let token = check_token(world, &wanted, parsed.query().unwrap_or_default(), case)?;
    check_password(world, &wanted, password, &token)?;

    let target = format!("{}?{}", parsed.path(), parsed.query().unwrap_or_default());
    let call_id = call_of(case).unwrap_or(CALL);
    let own = ask(world, &wanted, password, &target, &wanted.function, call_id);
    let own = own.map_err(|refused| format!("{url} is refused: {:?}", refused.reason))?;
    same("forwarded target", &own.permit.forward().target, &wanted.target)?;
    same("forwarded to", own.permit.agent().name.as_str(), &wanted.agent)?;

    let others = [(wanted.function.as_str(), "call-other"), ("another", call_id)];
    let is_bound = wanted.kind.is_bound_to_call() && call_of(case).is_some();
    let is_function = matches!(wanted.kind, Kind::Tool | Kind::Hook);
    for (other, _) in others.into_iter().zip([is_bound, is_function]).filter(|(_, holds)| *holds) {
        if ask(world, &wanted, password, &target, other.0, other.1).is_ok() {
            return Err(format!("{url} is good for {other:?} too"));
        }
    }
    Ok(())
}

fn check_token(world: &World, wanted: &Wanted, query: &str, case: &DocumentCase) -> Result<UnverifiedToken, String> {
    let tokens: Vec<_> = query.split('&').filter_map(|pair| pair.strip_prefix("gw_token=")).collect();
    let [token] = tokens.as_slice() else { return Err(format!("{} tokens", tokens.len())) };
    let token = UnverifiedToken::decode(token).map_err(|error| error.to_string())?;
    let name: AgentName = wanted.agent.parse().map_err(|_| "no agent's name")?;
    let (path, query) = world::split(&wanted.target);
    let binding = Binding { agent: &name, function: &wanted.function, path, query };
    let verified =
        token.verify(world.policies.keys(), &binding, NOW).map_err(|error| format!("{error}: {wanted:?}"))?;
    let Claims { kind, call, caller, is_one_of_several, .. } = *verified.claims();
    same("several", &is_one_of_several.to_string(), &wanted.claims.is_one_of_several.to_string())?;
    same("kind", &format!("{kind:?}"), &format!("{:?}", wanted.kind))?;
    same("call", &format!("{call:?}"), &format!("{:?}", call_of(case).map(world::call_digest)))?;
    let of_url = case.answers.as_deref().map(self::wanted).transpose()?.map(|wanted| wanted.claims.caller);
    let expected = of_url.unwrap_or_else(|| case.fetch.is_none().then(|| world::caller_digest(CALLER)));
    if case.fetch.as_ref().is_none_or(String::is_empty) {
        same("caller", &format!("{caller:?}"), &format!("{expected:?}"))?;
    }
    Ok(token)
}

fn check_password(world: &World, wanted: &Wanted, password: &str, token: &UnverifiedToken) -> Result<(), String> {
    let name: AgentName = wanted.agent.parse().map_err(|_| "no agent's name")?;
    let credentials = token::verify_password(password.as_bytes(), world.policies.keys(), &name, NOW)
        .map_err(|error| error.to_string())?;
    if credentials.belong_to(token) && !credentials.are_expired() { Ok(()) } else { Err("foreign password".into()) }
}

/// The call of the fetch; `None` if it named none.
fn call_of(case: &DocumentCase) -> Option<&'static str> {
    let named = case.fetch.as_ref().is_none_or(|fetch| fetch.contains(CALL));
    named.then_some(CALL)
}

fn ask(
    world: &World,
    wanted: &Wanted,
    password: &str,
    target: &str,
    function: &str,
    call_id: &str,
) -> Result<Passed, Refused> {
    let (method, body) = world::platform_use(wanted.kind, function, call_id);
    let mut request = Request::of_platform(method, target, body);
    request.authorization = Some(basic::header(token::CALL_USER, password.as_bytes()));
    request.host = world.policies.origin_of(world.agent(&wanted.agent)).authority.host;
    world.ask(&request)
}

// === requests ===

fn check_request(world: &World, case: &RequestCase) -> Result<(), String> {
    assert!(!case.about.is_empty());
    let request = Request {
        method: Method::parse(&case.method),
        target: with_tokens(&case.target)?,
        host: case.host.clone(),
        authorization: authorization(&case.credentials)?,
        content_length: case.content_length,
        content_type: case.content_type.clone(),
        sha256_signature: signature_of(case, "sha256"),
        signature: case.signature.clone().or_else(|| signature_of(case, "sha1")),
        client: case.client,
        body: with_tokens(&case.body)?.into_bytes(),
        now: Timestamp(NOW.0 + case.later * 1000),
    };
    let expect = &case.expect;
    match (world.ask(&request), &expect.refused, &expect.forwarded) {
        (Err(refused), Some(reason), None) => {
            same("reason", refused.reason.as_str(), reason)?;
            let status = expect.status.ok_or("a refusal has a status")?;
            same("status", &refused.reply.status.to_string(), &status.to_string())?;
            let body = String::from_utf8_lossy(&refused.reply.body);
            if let Some(expected) = &expect.checks {
                let checks: Vec<_> = refused.watched.iter().map(describe).collect();
                same("checks", &checks.join("; "), &expected.join("; "))?;
            }
            expect.body.as_ref().map_or(Ok(()), |expected| same("body", &body, expected))
        }
        (Ok(passed), None, Some(forwarded)) => check_passed(&passed, expect, forwarded, &case.body),
        (Ok(passed), _, _) => Err(format!("it is forwarded: {:?}", passed.permit.forward())),
        (Err(refused), _, _) => Err(format!("it is refused: {:?}", refused.reason)),
    }
}

fn signing_key(text: &str) -> SigningKey {
    SigningKey::new(Secret::new(text)).expect("it is long enough")
}

fn signature_of(case: &RequestCase, scheme: &str) -> Option<String> {
    let signed = case.signed.as_ref().filter(|signed| signed.scheme == scheme || signed.scheme == "both")?;
    let body = signed.body.as_ref().unwrap_or(&case.body);
    let made = signature::sign(&signing_key(&signed.key), &signed.url, body.as_bytes());
    Some(if scheme == "sha256" { made.sha256 } else { made.sha1 })
}

fn check_passed(passed: &Passed, expect: &Expected, forwarded: &str, body: &String) -> Result<(), String> {
    let forward = passed.permit.forward();
    same("forwarded", &format!("{} {}", forward.method.as_str(), forward.target), forwarded)?;
    if let Some(agent) = &expect.agent {
        same("agent", passed.permit.agent().name.as_str(), agent)?;
    }
    same("forwarded body", forward.edited.as_deref().unwrap_or("-"), expect.forwarded_body.as_deref().unwrap_or("-"))?;
    if let Some(expected) = &expect.checks {
        let checks: Vec<_> = passed.checks.iter().map(describe).collect();
        same("checks", &checks.join("; "), &expected.join("; "))?;
    }
    let facts = &passed.facts;
    if let Some(expected) = &expect.arguments {
        same("arguments", facts.arguments.as_deref().unwrap_or("-"), expected)?;
    }
    if let Some(expected) = &expect.caller {
        same("caller", facts.caller.as_deref().unwrap_or("-"), expected)?;
    }
    if let Some(expected) = &expect.signature {
        same("signature", facts.signature.unwrap_or("-"), expected)?;
    }
    if expect.unsigned {
        same("signatures", &format!("{:?}", forward.signatures), "None")?;
    }
    if let Some(expected) = &expect.signed {
        let body = expect.forwarded_body.as_ref().unwrap_or(body);
        let made = signature::sign(&signing_key(&expected.key), &expected.url, body.as_bytes());
        same("signatures", &format!("{:?}", forward.signatures), &format!("{:?}", Some(made)))?;
    }
    let disagrees = expect.caller_disagrees.unwrap_or(facts.caller_disagrees);
    same("caller_disagrees", &facts.caller_disagrees.to_string(), &disagrees.to_string())
}

fn call(digest: CallDigest) -> &'static str {
    [CALL, "call-2", "m"].into_iter().find(|id| world::call_digests(id).contains(&digest)).unwrap_or("?")
}

fn caller(digest: CallerDigest) -> &'static str {
    [CALLER, "+15551230002"].into_iter().find(|number| world::caller_digest(number) == digest).unwrap_or("?")
}

/// `caller +15551230001 function f`.
fn whose(subject: &Subject) -> String {
    let mut whose = Vec::new();
    match &subject.caller {
        Part::Of(digest) => whose.push(format!("caller {}", caller(*digest))),
        Part::Unidentified => whose.push("caller unidentified".to_owned()),
        Part::Any => {}
    }
    whose.extend(subject.call.map(|digest| format!("call {}", call(digest))));
    whose.extend(subject.function.as_ref().map(|name| format!("function {name}")));
    match &subject.address {
        Part::Of(address) => whose.push(format!("address {address}")),
        Part::Unidentified => whose.push("address unidentified".to_owned()),
        Part::Any => {}
    }
    if whose.is_empty() { "agent".to_owned() } else { whose.join(" ") }
}

/// `functions per caller +15551230001`, `bind call-1`.
fn describe(check: &Check) -> String {
    match check {
        Check::Bind { call: digest, until, .. } => {
            format!("bind {} within {}s", call(*digest), until - NOW.unix_seconds())
        }
        Check::Call { call: key, event, .. } => {
            let what = match event {
                CallEvent::Fetched => "fetched",
                CallEvent::Used => "used",
                CallEvent::Ended { .. } => "ended",
            };
            format!("{what} {}", call(key.call))
        }
        Check::Rate { cell: CellKey { family, subject, .. }, .. } => {
            let family = match family {
                Family::Functions => "functions",
                Family::Function => "one function",
                Family::Fetches => "fetches",
                Family::Calls => "calls",
                Family::Exposed(path) => path.as_str(),
            };
            format!("{family} per {}", whose(subject))
        }
        Check::Watch { key, .. } => format!("watch {} per {}", key.watch.name, whose(&key.subject)),
        Check::Begin(Begin { call: key, per_caller, per_agent, .. }) => {
            let many = |count: &Option<u32>| count.map_or("any".to_owned(), |count| count.to_string());
            format!("begin {} of {} and {}", call(key.call), many(per_caller), many(per_agent))
        }
        Check::Fact(_) => "fact".to_owned(),
        Check::Once { .. } => "once".to_owned(),
        Check::Code(CodeGiven { is_right, attempts, .. }) => {
            format!("{} code, {attempts} attempts", if *is_right { "right" } else { "wrong" })
        }
        Check::Agreed(Agreed { turns, agreed_at, .. }) => format!("agreed at {agreed_at:?} of {turns:?}"),
    }
}

/// Puts a token in place of each `<<token …>>`, the gateway's metadata token in place of `<<meta …>>`.
fn with_tokens(text: &str) -> Result<String, String> {
    let mut out = String::new();
    for (literal, placeholder) in pieces(text) {
        out.push_str(literal);
        match placeholder.map(|text| text.split_once(' ').unwrap_or((text, ""))) {
            Some(("token", rest)) => out.push_str(&format!("gw_token={}", wanted(rest)?.token())),
            Some(("cut", rest)) => out.push_str(&format!("gw_token={}", wanted(rest)?.token().get(1..).unwrap_or(""))),
            Some(("tampered", rest)) => out.push_str(&format!("gw_token={}", tampered(&wanted(rest)?.token()))),
            Some(("meta", target)) => out.push_str(&metadata_token(target)),
            Some(("deep", count)) => out.push_str(&"[".repeat(count.parse().map_err(|_| "no count")?)),
            Some(other) => return Err(format!("no placeholder: {other:?}")),
            None => {}
        }
    }
    Ok(out)
}

/// The token with a longer life: the expiry is bytes 11 to 14, which are characters 14 to 20.
fn tampered(token: &str) -> String {
    let (front, back) = token.split_at(16);
    let (first, rest) = back.split_at(1);
    let other = if first == "A" { "B" } else { "A" };
    format!("{front}{other}{rest}")
}

fn metadata_token(target: &str) -> String {
    let name: AgentName = "bank".parse().expect("a name");
    let (path, query) = world::split(target);
    token::metadata_token(&world::key("new"), &Binding { agent: &name, function: "", path, query })
}

/// Reads `kind [function] [@agent] target [option=value…]`.
fn wanted(text: &str) -> Result<Wanted, String> {
    let mut words = text.split(' ').peekable();
    let kind = words.next().and_then(world::kind).ok_or_else(|| format!("no kind: {text}"))?;
    let is_function = matches!(kind, Kind::Tool | Kind::Hook);
    let function = if is_function { words.next().unwrap_or_default() } else { "" };
    let agent = words.next_if(|word| word.starts_with('@')).map_or("bank", |word| &word[1..]);
    let target = words.next().ok_or_else(|| format!("no target: {text}"))?;
    let mut wanted = Wanted::new(kind, function, agent, target);
    for option in words {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let claims = &mut wanted.claims;
        match name {
            "call" => claims.call = Some(world::call_digest(value)),
            "unbound" => (claims.call, claims.caller) = (None, None),
            "caller" => claims.caller = Some(world::caller_digest(value)),
            "several" => claims.is_one_of_several = true,
            "nobody" => claims.caller = None,
            "document" => claims.document.0[0] = value.parse().map_err(|_| "no byte")?,
            "lives" => claims.expiry = claims.issued + value.parse::<u32>().map_err(|_| "no seconds")?,
            "key" => wanted.key = value.to_owned(),
            _ => return Err(format!("no option: {option}")),
        }
    }
    if wanted.key != "new" {
        wanted.claims.call = Some(world::key(&wanted.key).call(CALL));
        wanted.claims.caller = Some(world::key(&wanted.key).caller(CALLER));
    }
    Ok(wanted)
}

fn authorization(credentials: &str) -> Result<Option<Secret>, String> {
    let (word, rest) = credentials.split_once(' ').unwrap_or((credentials, ""));
    Ok(Some(match word {
        "none" => return Ok(None),
        "platform" => basic::header("signalwire", world::PLATFORM_PASSWORD.as_bytes()),
        "call" => basic::header(token::CALL_USER, wanted(rest)?.password().as_bytes()),
        "basic" => {
            let (user, password) = rest.split_once(':').ok_or("no password")?;
            basic::header(user, password.as_bytes())
        }
        "header" => Secret::new(rest),
        _ => return Err(format!("no credentials: {credentials}")),
    }))
}

// === the files ===

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn run<C: for<'de> Deserialize<'de>>(cases: &str, check: impl Fn(&HashMap<String, World>, C) -> Result<(), String>) {
    let worlds = worlds();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, case) in files(cases) {
        count += 1;
        if let Err(error) = check(&worlds, case) {
            wrong.push(format!("{}: {error}", path.file_name().unwrap_or_default().display()));
        }
    }
    assert!(count > 20, "only {count} cases of {cases} were found");
    assert!(wrong.is_empty(), "{} of {count} {cases}:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

fn worlds() -> HashMap<String, World> {
    let named = |(path, file): (PathBuf, WorldFile)| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        (name, World::new(file).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    files("worlds").map(named).collect()
}

fn files<C: for<'de> Deserialize<'de>>(name: &str) -> impl Iterator<Item = (PathBuf, C)> {
    let entries = fs::read_dir(folder(name)).expect("the folder of cases");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("a case");
        let case = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, case)
    })
}

fn same(what: &str, actual: &str, expected: &str) -> Result<(), String> {
    if actual == expected { Ok(()) } else { Err(format!("{what}\n  expected: {expected}\n     there: {actual}")) }
}
