//! What keys of a policy do, one a row: the same request meets a policy with the key, and one without or with another
//! value, and the two end differently. `tests/keys.yaml` says which test is each key's.

#[path = "support/world.rs"]
mod world;

use serde_json::{Value, json};
use swaigate_core::{
    basic,
    decide::{Check, Permit},
    record::Facts,
    route::Method,
    time::Timestamp,
    token::Kind,
    verdict::Reason,
};
use world::{CALL, NOW, Request, Wanted, World, WorldFile, platform_use};

/// Of `a password of some length`.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$tK5NDAM5zTTFIjn92IOItA$UvWI5+Y55bWoB98j1PK8wgL6FVziv6gkuahy4EMohTw";

/// A key, the two policies, and what of a request shows which of them is in force.
struct Row {
    key: &'static str,
    with: String,
    without: String,
    outcome: fn(&World) -> String,
    /// Of the policy with the key, and of the other.
    outcomes: [&'static str; 2],
}

fn row(
    key: &'static str,
    [with, without]: [String; 2],
    outcome: fn(&World) -> String,
    outcomes: [&'static str; 2],
) -> Row {
    Row { key, with, without, outcome, outcomes }
}

/// Two policies, by these within `upstream`.
fn upstream(with: &str, without: &str) -> [String; 2] {
    [with, without].map(|more| policy(&format!("upstream: {{ url: \"http://127.0.0.1:3000\", {more} }}"), USERS))
}

/// Two policies, by these within `platform`.
fn platform(with: &str, without: &str) -> [String; 2] {
    [with, without].map(|more| policy(UPSTREAM, &format!("platform: {{ {more} }}")))
}

/// Two policies, by these keys.
fn more(with: &str, without: &str) -> [String; 2] {
    [with, without].map(|more| format!("{}{more}\n", policy(UPSTREAM, USERS)))
}

const UPSTREAM: &str = "upstream: { url: \"http://127.0.0.1:3000\" }";
const USERS: &str = "platform: { users: [{ username: signalwire, password_env: GATEWAY_PASSWORD }] }";

fn policy(upstream: &str, platform: &str) -> String {
    format!("agent: bank\nmatch: {{ path: /bank }}\n{upstream}\n{platform}\n")
}

fn world(policy: &str) -> World {
    let environment = json!({
        "GATEWAY_PASSWORD": world::PLATFORM_PASSWORD, "SHORT": "s3cr3t", "OTHER": "an0ther", "ALICE": "alice", "BOB": "bob",
        "HASH": HASH, "KEY": "the-signing-key-in-use", "SPARE": "another-signing-key",
    });
    let file = json!({ "public_url": "https://agents.example.com", "policies": [policy], "environment": environment });
    let file: WorldFile = serde_json::from_value(file).expect("a world");
    World::new(file).unwrap_or_else(|mistakes| panic!("{policy}: {mistakes}"))
}

// === what is asked, and what comes of it ===

fn ended(world: &World, request: &Request) -> String {
    match world.ask(request) {
        Ok(passed) => {
            let forward = passed.permit.forward();
            format!("{} {}", forward.method.as_str(), forward.target)
        }
        Err(refused) => format!("{} {}", refused.reply.status, refused.reason.as_str()),
    }
}

fn of_platform(kind: Kind) -> Request {
    let (method, body) = platform_use(kind, "f", CALL);
    Request::of_platform(method, "/bank", body)
}

fn fetch() -> Request {
    of_platform(Kind::Swml)
}

fn fetched(world: &World) -> Permit {
    world.ask(&fetch()).expect("it may be fetched").permit
}

/// A fetch under a host that no agent names.
fn under_another_host(world: &World) -> String {
    ended(world, &Request { host: "other.example.com".to_owned(), ..fetch() })
}

/// What becomes of a document that holds a user and a password.
fn document_with(world: &World, held: &str) -> String {
    let document = format!(r#"{{"version":"1.0.0","sections":{{"main":[{{"play":"say: it is {held}"}}]}}}}"#);
    let released = world.release(&fetched(world), document.as_bytes(), &mut Facts::default());
    released.map_or_else(|refused| refused.reason.as_str().to_owned(), |_| "leaves".to_owned())
}

fn document_with_alices(world: &World) -> String {
    document_with(world, "alice:s3cr3t@")
}

fn document_with_an_alias(world: &World) -> String {
    let document = r#"{"version":"1.0.0","sections":{"main":[{"transfer":"https://old.example.com/bank/x"}]}}"#;
    let released = world.release(&fetched(world), document.as_bytes(), &mut Facts::default()).expect("it leaves");
    let text = String::from_utf8(released.body).expect("it is text");
    if text.contains("gw_token=") { "the gateway's URL" } else { "as it came" }.to_owned()
}

fn signature_for_the_agent(world: &World) -> String {
    if fetched(world).forward().signatures.is_some() { "signed" } else { "unsigned" }.to_owned()
}

fn with_the_hashed_password(world: &World) -> String {
    let authorization = Some(basic::header("signalwire", b"a password of some length"));
    ended(world, &Request { authorization, ..fetch() })
}

fn unsigned_fetch(world: &World) -> String {
    ended(world, &fetch())
}

/// A function of a chat's document is called two hours later.
fn two_hours_into_a_chat(world: &World) -> String {
    let body =
        r#"{"conversation_id":"call-1","conversation_type":"chat","params":{"user_meta_data":{"url":"https://a"}}}"#;
    later_use(world, &Request::of_platform(Method::Post, "/bank", body), 7200)
}

/// A function of a document is called so many seconds after that left.
fn later_use(world: &World, fetch: &Request, seconds: u64) -> String {
    let passed = world.ask(fetch).unwrap_or_else(|refused| panic!("{:?}", refused.reason));
    let document = json!({ "version": "1.0.0", "sections": { "main": [{ "ai": { "prompt": { "text": "x" },
        "SWAIG": { "functions": [{ "function": "f", "description": "x", "parameters": {}, "web_hook_url": "http://127.0.0.1:3000/bank/swaig" }] } } }] } });
    let released = world.release(&passed.permit, document.to_string().as_bytes(), &mut Facts::default());
    let released: Value = serde_json::from_slice(&released.expect("it leaves").body).expect("it is JSON");
    let url = released["sections"]["main"][0]["ai"]["SWAIG"]["functions"][0]["web_hook_url"].as_str().expect("a URL");
    let target = &url[url.find("/bank").expect("it is the agent's")..];
    let (method, body) = platform_use(Kind::Tool, "f", CALL);
    let request = Request { now: Timestamp(NOW.0 + seconds * 1000), ..Request::of_platform(method, target, body) };
    ended(world, &request)
}

/// Until when, in seconds from now, a document without a call may be bound.
fn window_of_an_unbound_document(world: &World) -> String {
    let mut wanted = Wanted::new(Kind::Tool, "f", "bank", "/bank/swaig");
    wanted.claims.call = None;
    let (method, body) = platform_use(Kind::Tool, "f", CALL);
    let target = format!("/bank/swaig?gw_token={}", wanted.token());
    let passed = world.ask(&Request::of_platform(method, &target, body)).expect("it may be bound");
    let until = passed.checks.iter().find_map(|check| match check {
        Check::Bind { until, .. } => Some(u64::from(*until) - u64::from(NOW.unix_seconds())),
        _ => None,
    });
    format!("{until:?}")
}

fn says(world: &World, reason: Reason) -> String {
    let (method, body) = platform_use(Kind::Tool, "f", CALL);
    let target = format!("/bank/swaig?gw_token={}", Wanted::new(Kind::Tool, "f", "bank", "/bank/swaig").token());
    let permit = world.ask(&Request::of_platform(method, &target, body)).expect("it may be called").permit;
    let reply: Value = serde_json::from_slice(&permit.deny(reason).reply().body).expect("it is JSON");
    reply["response"].as_str().expect("it is said").to_owned()
}

fn said_of_an_end(world: &World) -> String {
    says(world, Reason::CallEnded)
}

fn said_when_slow(world: &World) -> String {
    says(world, Reason::AnswerSlow)
}

fn said_when_unavailable(world: &World) -> String {
    says(world, Reason::AgentUnreachable)
}

/// A summary that is announced as 64 KiB.
fn large_summary(world: &World) -> String {
    let target =
        format!("/bank/post_prompt?gw_token={}", Wanted::new(Kind::Summary, "", "bank", "/bank/post_prompt").token());
    let (method, body) = platform_use(Kind::Summary, "", CALL);
    let request = Request { content_length: Some(64 << 10), ..Request::of_platform(method, &target, body) };
    ended(world, &request).split("gw_token").next().unwrap_or_default().to_owned()
}

fn large_body_at_an_exposed_path(world: &World) -> String {
    let request = Request::of_platform(Method::Post, "/bank/reports/x", "");
    ended(world, &Request { content_length: Some(64 << 10), ..request })
}

/// What is counted at an exposed path.
fn counted_at_an_exposed_path(world: &World) -> String {
    let request =
        Request { client: "198.51.100.7".parse().ok(), ..Request::of_platform(Method::Get, "/bank/reports/x", "") };
    let passed = world.ask(&request).expect("it is exposed");
    let limits = passed.checks.iter().filter_map(|check| match check {
        Check::Rate { cell, .. } => {
            Some(format!("{} in {:?}, {} at once", cell.limit.allow, cell.limit.every, cell.limit.burst))
        }
        _ => None,
    });
    limits.collect::<Vec<_>>().join(", ")
}

fn health(world: &World) -> String {
    ended(world, &Request { authorization: None, ..Request::of_platform(Method::Get, "/bank/health", "") })
}

fn rows() -> Vec<Row> {
    let alices = ["credential_in_document", "leaves"];
    let limited = |limit: &str| format!("expose: [{{ path: /reports/*, limits: [{{ per: address, {limit} }}] }}]");
    vec![
        row(
            "match.host",
            [policy(UPSTREAM, USERS).replace("/bank }", "/bank, host: agents.example.com }"), policy(UPSTREAM, USERS)],
            under_another_host,
            ["404 not_found", "POST /bank"],
        ),
        row(
            "upstream.username",
            upstream("username: alice, password_env: SHORT", "username: bob, password_env: SHORT"),
            document_with_alices,
            alices,
        ),
        row(
            "upstream.username_env",
            upstream("username_env: ALICE, password_env: SHORT", "username_env: BOB, password_env: SHORT"),
            document_with_alices,
            alices,
        ),
        row(
            "upstream.password_env",
            upstream("username: alice, password_env: SHORT", "username: alice, password_env: OTHER"),
            document_with_alices,
            alices,
        ),
        row(
            "upstream.password_file",
            upstream("username: alice, password_file: SHORT", "username: alice, password_file: OTHER"),
            document_with_alices,
            alices,
        ),
        row(
            "upstream.aliases",
            upstream("aliases: [https://old.example.com]", "aliases: []"),
            document_with_an_alias,
            ["the gateway's URL", "as it came"],
        ),
        row(
            "upstream.signing_key_file",
            upstream("signing_key_file: KEY", ""),
            signature_for_the_agent,
            ["signed", "unsigned"],
        ),
        row(
            "platform.users[].password_hash_env",
            platform(
                "users: [{ username: signalwire, password_hash_env: HASH }]",
                "users: [{ username: signalwire, password_env: GATEWAY_PASSWORD }]",
            ),
            with_the_hashed_password,
            ["POST /bank", "401 credentials_wrong"],
        ),
        row(
            "platform.signing_keys_file",
            platform("signing_keys_file: [KEY]", ""),
            unsigned_fetch,
            ["403 signature_missing", "POST /bank"],
        ),
        row(
            "tokens.chat_lifetime",
            more("tokens: { chat_lifetime: 1h }", ""),
            two_hours_into_a_chat,
            ["200 token_expired", "POST /bank/swaig"],
        ),
        row(
            "tokens.bind_within",
            more("tokens: { bind_within: 1m }", ""),
            window_of_an_unbound_document,
            ["Some(60)", "Some(300)"],
        ),
        row(
            "say.ended",
            more("say: { ended: It is over. }", ""),
            said_of_an_end,
            ["It is over.", "This call has ended. Please call again."],
        ),
        row(
            "say.slow",
            more("say: { slow: One moment. }", ""),
            said_when_slow,
            ["One moment.", "That is taking longer than expected. Please ask again in a moment."],
        ),
        row(
            "say.unavailable",
            more("say: { unavailable: Later. }", ""),
            said_when_unavailable,
            ["Later.", "This service is temporarily unavailable. Please try again later."],
        ),
        row(
            "bodies.callback",
            more("bodies: { callback: 32KiB }", ""),
            large_summary,
            ["413 body_too_large", "POST /bank/post_prompt"],
        ),
        row(
            "expose[].body",
            more("expose: [{ path: /reports/*, body: 32KiB }]", "expose: [/reports/*]"),
            large_body_at_an_exposed_path,
            ["413 body_too_large", "POST /bank/reports/x"],
        ),
        row(
            "expose[].limits[].per",
            more(&limited("allow: 5, every: 1s"), "expose: [/reports/*]"),
            counted_at_an_exposed_path,
            ["5 in 1s, 5 at once", ""],
        ),
        row(
            "expose[].limits[].allow",
            more(&limited("allow: 5, every: 1s"), &limited("allow: 6, every: 1s")),
            counted_at_an_exposed_path,
            ["5 in 1s, 5 at once", "6 in 1s, 6 at once"],
        ),
        row(
            "expose[].limits[].every",
            more(&limited("allow: 5, every: 1s"), &limited("allow: 5, every: 1h")),
            counted_at_an_exposed_path,
            ["5 in 1s, 5 at once", "5 in 3600s, 5 at once"],
        ),
        row(
            "expose[].limits[].burst",
            more(&limited("allow: 5, every: 1s, burst: 2"), &limited("allow: 5, every: 1s")),
            counted_at_an_exposed_path,
            ["5 in 1s, 2 at once", "5 in 1s, 5 at once"],
        ),
        row(
            "health_path",
            more("expose: [health]\nhealth_path: /healthz", "expose: [health]"),
            health,
            ["GET /healthz", "GET /health"],
        ),
    ]
}

#[test]
fn each_key_makes_a_difference() {
    for Row { key, with, without, outcome, outcomes } in rows() {
        let found = [&with, &without].map(|policy| outcome(&world(policy)));
        assert_eq!(found, outcomes, "{key}\n{with}{without}");
    }
}
