//! What keys of a policy do, one a row: the same request meets a policy with the key, and one without or with another
//! value, and the two end differently. `tests/keys.yaml` says which test is each key's.

#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use serde_json::{Value, json};
use swaigate_core::{
    basic,
    decide::{self, Answers, Check, Family, Permit, Refusal},
    record::Facts,
    route::Method,
    time::Timestamp,
    token::Kind,
    verdict::{Reason, Reply},
};
use world::{CALL, NOW, Request, Wanted, World, WorldFile, platform_use};

/// Of `apasswordofsomelength`.
const CODE_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$UPQtjK6v513pcPkTOrddyw$GDWjnzwNVA5e+gcib+oivtV1Crfm8C3od8reX0kApJQ";

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

/// Two policies, by these within `calls`.
fn calls(with: &str, without: &str) -> [String; 2] {
    more(&format!("calls: {{ {with} }}"), &format!("calls: {{ {without} }}"))
}

/// Two policies, by these rules of function `f`.
fn function(with: &str, without: &str) -> [String; 2] {
    more(&format!("functions: {{ f: {{ {with} }} }}"), &format!("functions: {{ f: {{ {without} }} }}"))
}

/// A rule of function `f` that refuses, with a sentence of the agent's and without.
fn said_by(sentence: &str, rule: &str) -> [String; 2] {
    let [with, without] = function(rule, rule);
    [format!("{with}say: {{ {sentence}: Mine. }}\n"), without]
}

/// The same with a sentence of the function's.
fn own(sentence: &str, rule: &str) -> [String; 2] {
    function(&format!("{rule}, say: {{ {sentence}: Mine. }}"), rule)
}

/// Two policies, by these in the rule of a detector.
fn watching(with: &str, without: &str) -> [String; 2] {
    let rule = |more: &str| {
        let every = if more.contains("every") { "" } else { ", every: 1h" };
        format!("detect: [{{ name: a, on: functions, more_than: 0{every}, {more} }}]")
    };
    more(&rule(with), &rule(without))
}

fn requires(function: &str, pointer: &str, equals: &str) -> String {
    format!("requires: [{{ function: {function}, success: {{ pointer: {pointer}, equals: {equals} }} }}]")
}

const LIMITED: &str = "You've made too many requests. Please wait a moment.";

fn policy(upstream: &str, platform: &str) -> String {
    format!("agent: bank\nmatch: {{ path: /bank }}\n{upstream}\n{platform}\n")
}

fn world(policy: &str) -> World {
    let environment = json!({
        "GATEWAY_PASSWORD": world::PLATFORM_PASSWORD, "SHORT": "s3cr3t", "OTHER": "an0ther", "ALICE": "alice", "BOB": "bob",
        "HASH": HASH, "CODE_HASH": CODE_HASH, "PIN": "a password of some length", "OTHER_PIN": "another one",
        "TOTP": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "OTHER_TOTP": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJR", "KEY": "the-signing-key-in-use", "SPARE": "another-signing-key",
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

/// What leaves of a document with these verbs, or why nothing does.
fn verbs(world: &World, verbs: &str) -> String {
    let document = format!(r#"{{"version":"1.0.0","sections":{{"main":{verbs}}}}}"#);
    match world.release(&fetched(world), document.as_bytes(), &mut Facts::default()) {
        Ok(reply) => {
            let document: Value = serde_json::from_slice(&reply.body).expect("it is JSON");
            document["sections"]["main"].to_string()
        }
        Err(refused) => refused.reason.as_str().to_owned(),
    }
}

fn answering(world: &World) -> String {
    verbs(world, r#"[{"answer":{}}]"#)
}

fn connecting(world: &World) -> String {
    verbs(world, r#"[{"connect":{"to":"+15551230000"}}]"#)
}

/// The functions that leave of one that never reaches the gateway.
fn elsewhere(world: &World) -> String {
    let function = r#"{"function":"f","data_map":{"output":{"response":"x"}}}"#;
    let left = verbs(world, &format!(r#"[{{"ai":{{"SWAIG":{{"functions":[{function}]}}}}}}]"#));
    let left: Value = serde_json::from_str(&left).expect("it is JSON");
    left[0]["ai"]["SWAIG"]["functions"].to_string()
}

/// What an AI is told whose prompt is a greeting.
fn told(world: &World) -> String {
    let left: Value = serde_json::from_str(&verbs(world, r#"[{"ai":{"prompt":{"text":"Hi."}}}]"#)).expect("it is JSON");
    left[0]["ai"]["prompt"]["text"].as_str().expect("there is a prompt").to_owned()
}

/// What a model gets to read of a function's answer.
fn answered(world: &World) -> String {
    let permit = world.ask(&call_of("f", "{}")).unwrap_or_else(|refused| panic!("{:?}", refused.reason)).permit;
    let reply = world.release(&permit, br#"{"response":"Write to a@b.example."}"#, &mut Facts::default());
    let reply: Value = serde_json::from_slice(&reply.expect("it leaves").body).expect("it is JSON");
    reply["response"].as_str().expect("it answers").to_owned()
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

fn said_to_hold(world: &World) -> String {
    says(world, Reason::AgentBusy)
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

// === what the state store is asked, and what its no is to the request ===

/// A function call with these arguments.
fn call_of(function: &str, arguments: &str) -> Request {
    let target = format!("/bank/swaig?gw_token={}", Wanted::new(Kind::Tool, function, "bank", "/bank/swaig").token());
    let raw = serde_json::to_string(arguments).expect("JSON");
    let body = format!(
        r#"{{"function":"{function}","argument":{{"parsed":[{arguments}],"raw":{raw}}},"call_id":"{CALL}","caller_id_num":"+15551230001","global_data":{{"account":"7"}}}}"#
    );
    Request::of_platform(Method::Post, &target, body)
}

/// What becomes of a request when the state store says no to the first of these checks.
fn against(world: &World, request: &Request, is_meant: fn(&Check) -> bool) -> String {
    let mut facts = Facts::default();
    let plan = match world.plan(request, &mut facts) {
        Ok(plan) => plan,
        Err(refused) => return said(&refused.reply, refused.reason),
    };
    let found = plan.questions().iter().enumerate().find(|(_, question)| is_meant(&question.check));
    let Some((place, question)) = found else { return "not asked".to_owned() };
    let answers = match question.is_shadow {
        true => Answers { shadowed: vec![place], ..Answers::default() },
        false => Answers { refused: Some(Refusal { check: place, wait: Duration::ZERO }), ..Answers::default() },
    };
    match decide::conclude(plan, answers, &mut facts) {
        Ok(_) => {
            format!("would refuse {}", facts.would_refuse.iter().map(|it| it.reason).collect::<Vec<_>>().join(" "))
        }
        Err(denial) => said(&denial.reply(), denial.reason),
    }
}

fn said(reply: &Reply, reason: Reason) -> String {
    let body: Value = serde_json::from_slice(&reply.body).expect("it is JSON");
    body["response"].as_str().map_or_else(|| reason.as_str().to_owned(), str::to_owned)
}

fn once(check: &Check) -> bool {
    matches!(check, Check::Once { .. })
}

fn rate(check: &Check) -> bool {
    matches!(check, Check::Rate { .. })
}

/// What is asked of the store where a caller gives this code.
fn code_given(world: &World, code: &str) -> String {
    let arguments = format!(r#"{{"code":"{code}","number":"12345","amount":5}}"#);
    let passed = world.ask(&call_of("f", &arguments)).unwrap_or_else(|refused| panic!("{:?}", refused.reason));
    let given = passed.checks.iter().find_map(|check| match check {
        Check::Code(given) => Some(given),
        _ => None,
    });
    given.map_or_else(
        || "not asked".to_owned(),
        |given| {
            format!("{}, {} tries, {}s", if given.is_right { "right" } else { "wrong" }, given.attempts, given.lock)
        },
    )
}

fn verified(world: &World) -> String {
    code_given(world, "a password of some length")
}

/// The time-based code of the moment, by RFC 6238.
fn verified_by_time(world: &World) -> String {
    code_given(world, "030543")
}

fn wrong_code(world: &World) -> String {
    against(world, &call_of("f", r#"{"code":"12345"}"#), |check| matches!(check, Check::Code(_)))
}

fn too_many_codes(world: &World) -> String {
    let plan = world.plan(&call_of("f", r#"{"code":"12345"}"#), &mut Facts::default());
    let plan = plan.unwrap_or_else(|refused| panic!("{:?}", refused.reason));
    let place = plan.questions().iter().position(|question| matches!(question.check, Check::Code(_)));
    let refused = Some(Refusal { check: place.expect("a code is asked for"), wait: Duration::from_secs(60) });
    let denial = decide::conclude(plan, Answers { refused, ..Answers::default() }, &mut Facts::default());
    let denial = denial.expect_err("it is refused");
    said(&denial.reply(), denial.reason)
}

/// What is asked of the store where a caller said "aye, captain".
fn confirmed(world: &World) -> String {
    let request = call_of("f", "{}");
    let body = String::from_utf8(request.body.clone()).expect("it is text");
    let log =
        r#""call_log":[{"role":"assistant","content":"Really?"},{"role":"user","content":"Aye, captain!"}],"call_id""#;
    let passed = world.ask(&Request { body: body.replace(r#""call_id""#, log).into_bytes(), ..request });
    let passed = passed.unwrap_or_else(|refused| panic!("{:?}", refused.reason));
    let agreed = passed.checks.iter().find_map(|check| match check {
        Check::Agreed(agreed) => Some(agreed),
        _ => None,
    });
    let agreed = agreed.expect("it is asked");
    let heard = match (agreed.trusts_model, agreed.agreed_at) {
        (true, _) => "trusts the model",
        (false, Some(_)) => "agreed",
        (false, None) => "not agreed",
    };
    format!("{heard}, for {}s", agreed.until - NOW.unix_seconds())
}

/// How many detectors count a function call.
fn watched(world: &World) -> String {
    let passed = world.ask(&call_of("f", "{}")).unwrap_or_else(|refused| panic!("{:?}", refused.reason));
    passed.checks.iter().filter(|check| matches!(check, Check::Watch { .. })).count().to_string()
}

/// In how long.
fn watched_for(world: &World) -> String {
    let passed = world.ask(&call_of("f", "{}")).unwrap_or_else(|refused| panic!("{:?}", refused.reason));
    let every = passed.checks.iter().find_map(|check| match check {
        Check::Watch { key, .. } => Some(key.watch.every),
        _ => None,
    });
    format!("{}h", every.expect("it is counted").as_secs() / 3600)
}

/// What is counted of this request in this family.
fn counted(world: &World, request: &Request, family: &Family) -> String {
    let passed = world.ask(request).unwrap_or_else(|refused| panic!("{:?}", refused.reason));
    let limits = passed.checks.iter().filter_map(|check| match check {
        Check::Rate { cell, .. } if cell.family == *family => {
            let limit = &cell.limit;
            Some(format!("{} in {:?}, {} at once", limit.allow, limit.every, limit.burst))
        }
        _ => None,
    });
    limits.collect::<Vec<_>>().join(", ")
}

fn limited_function(world: &World) -> String {
    against(world, &call_of("f", "{}"), rate)
}

fn fact_of_function(world: &World) -> String {
    against(world, &call_of("f", "{}"), |check| matches!(check, Check::Fact(_)))
}

/// The words of a document that refuses a call.
fn said_when_busy(world: &World) -> String {
    let plan = world.plan(&fetch(), &mut Facts::default()).unwrap_or_else(|refused| panic!("{:?}", refused.reason));
    let place = plan.questions().iter().position(|question| matches!(question.check, Check::Begin(_)));
    let refused = Some(Refusal { check: place.expect("a call begins"), wait: Duration::ZERO });
    let denial = decide::conclude(plan, Answers { refused, ..Answers::default() }, &mut Facts::default());
    let reply: Value = serde_json::from_slice(&denial.expect_err("it is refused").reply().body).expect("it is JSON");
    let words = reply.to_string();
    words.split("say:").nth(1).and_then(|rest| rest.split('"').next()).expect("it is said").to_owned()
}

/// Whose calls of a function are counted together.
fn whose(world: &World) -> String {
    let passed = world.ask(&call_of("f", "{}")).expect("it may be called");
    let subject = passed.checks.iter().find_map(|check| match check {
        Check::Rate { cell, .. } => Some(&cell.subject),
        _ => None,
    });
    let subject = subject.expect("it is counted");
    if subject.call.is_some() { "Call" } else { "Caller" }.to_owned()
}

fn of_function(world: &World) -> String {
    counted(world, &call_of("f", "{}"), &Family::Function)
}

fn of_calls(world: &World) -> String {
    counted(world, &fetch(), &Family::Calls)
}

/// How many calls there may be at once, of a caller and of all, and for how long one counts.
fn room_for_calls(world: &World) -> String {
    let passed = world.ask(&fetch()).unwrap_or_else(|refused| panic!("{:?}", refused.reason));
    let room = passed.checks.iter().find_map(|check| match check {
        Check::Begin(begin) => Some(format!("{:?} {:?} {}s", begin.per_caller, begin.per_agent, begin.idle)),
        _ => None,
    });
    room.expect("a call begins")
}

/// How many facts the answer of `verify` teaches that other functions ask for.
fn taught(world: &World) -> String {
    let permit = world.ask(&call_of("verify", "{}")).expect("it may be called").permit;
    let answer = world::answer(200, br#"{"response":"ok","action":[{"say":"ok"}]}"#);
    let released = decide::release(&permit, &world.policies, &answer, &mut Facts::default());
    released.expect("it leaves").lessons.len().to_string()
}

/// The arguments of a call, as they are written down.
fn recorded(world: &World) -> String {
    world.ask(&call_of("f", r#"{"amount":5}"#)).expect("it may be called").facts.arguments.expect("there are some")
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
            "say.hold",
            more("say: { hold: One moment. }", ""),
            said_to_hold,
            ["One moment.", "Please hold: there is a lot to do right now. Please ask again in a moment."],
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
            "mode",
            more(
                "mode: shadow\nlimits: [{ per: call, allow: 1, every: 1s }]",
                "limits: [{ per: call, allow: 1, every: 1s }]",
            ),
            limited_function,
            ["would refuse limited", LIMITED],
        ),
        row(
            "shadow",
            more(
                "shadow: [limits]\nlimits: [{ per: call, allow: 1, every: 1s }]",
                "limits: [{ per: call, allow: 1, every: 1s }]",
            ),
            limited_function,
            ["would refuse limited", LIMITED],
        ),
        row(
            "limits[].mode",
            more(
                "limits: [{ per: call, allow: 1, every: 1s, mode: shadow }]",
                "limits: [{ per: call, allow: 1, every: 1s }]",
            ),
            limited_function,
            ["would refuse limited", LIMITED],
        ),
        row(
            "expose[].limits[].mode",
            more(&limited("allow: 5, every: 1s, mode: shadow"), &limited("allow: 5, every: 1s")),
            |world| against(world, &Request::of_platform(Method::Get, "/bank/reports/x", ""), rate),
            ["would refuse limited", "limited"],
        ),
        row(
            "calls.per_caller.allow",
            calls("per_caller: { allow: 5, every: 1s }", "per_caller: { allow: 6, every: 1s }"),
            of_calls,
            ["5 in 1s, 5 at once", "6 in 1s, 6 at once"],
        ),
        row(
            "calls.per_caller.every",
            calls("per_caller: { allow: 5, every: 1s }", "per_caller: { allow: 5, every: 1h }"),
            of_calls,
            ["5 in 1s, 5 at once", "5 in 3600s, 5 at once"],
        ),
        row(
            "calls.per_caller.burst",
            calls("per_caller: { allow: 5, every: 1s, burst: 2 }", "per_caller: { allow: 5, every: 1s }"),
            of_calls,
            ["5 in 1s, 2 at once", "5 in 1s, 5 at once"],
        ),
        row(
            "calls.per_caller.mode",
            calls("per_caller: { allow: 5, every: 1s, mode: shadow }", "per_caller: { allow: 5, every: 1s }"),
            |world| against(world, &fetch(), rate),
            ["would refuse too_many_calls", "too_many_calls"],
        ),
        row(
            "calls.concurrent_per_caller",
            calls("concurrent_per_caller: 2", ""),
            room_for_calls,
            ["Some(2) None 3600s", "None None 3600s"],
        ),
        row("calls.concurrent", calls("concurrent: 9", ""), room_for_calls, ["None Some(9) 3600s", "None None 3600s"]),
        row(
            "calls.idle",
            calls("concurrent: 9, idle: 2m", "concurrent: 9"),
            room_for_calls,
            ["None Some(9) 120s", "None Some(9) 3600s"],
        ),
        row(
            "functions.*.publish",
            function("publish: false", ""),
            |world| ended(world, &call_of("f", "{}")),
            ["200 function_denied", "POST /bank/swaig"],
        ),
        row(
            "functions.*.requires[].function",
            function(&requires("verify", "/response", "ok"), &requires("other", "/response", "ok")),
            taught,
            ["1", "0"],
        ),
        row(
            "functions.*.requires[].success.pointer",
            function(&requires("verify", "/action/0/say", "ok"), &requires("verify", "/action/1/say", "ok")),
            taught,
            ["1", "0"],
        ),
        row(
            "functions.*.requires[].success.equals",
            function(&requires("verify", "/response", "ok"), &requires("verify", "/response", "no")),
            taught,
            ["1", "0"],
        ),
        row(
            "functions.*.pin",
            function("pin: { account: global_data.account }", ""),
            |world| ended(world, &call_of("f", r#"{"account":"8"}"#)),
            ["200 argument_pinned", "POST /bank/swaig"],
        ),
        row(
            "functions.*.once",
            function("once: true", ""),
            |world| against(world, &call_of("f", "{}"), once),
            ["That has already been done in this call.", "not asked"],
        ),
        row(
            "functions.*.limits[].per",
            function("limits: [{ per: call, allow: 5, every: 1s }]", "limits: [{ per: caller, allow: 5, every: 1s }]"),
            whose,
            ["Call", "Caller"],
        ),
        row(
            "functions.*.limits[].allow",
            function("limits: [{ per: call, allow: 5, every: 1s }]", "limits: [{ per: call, allow: 6, every: 1s }]"),
            of_function,
            ["5 in 1s, 5 at once", "6 in 1s, 6 at once"],
        ),
        row(
            "functions.*.limits[].every",
            function("limits: [{ per: call, allow: 5, every: 1s }]", "limits: [{ per: call, allow: 5, every: 1h }]"),
            of_function,
            ["5 in 1s, 5 at once", "5 in 3600s, 5 at once"],
        ),
        row(
            "functions.*.limits[].burst",
            function(
                "limits: [{ per: call, allow: 5, every: 1s, burst: 2 }]",
                "limits: [{ per: call, allow: 5, every: 1s }]",
            ),
            of_function,
            ["5 in 1s, 2 at once", "5 in 1s, 5 at once"],
        ),
        row(
            "functions.*.limits[].mode",
            function(
                "limits: [{ per: call, allow: 5, every: 1s, mode: shadow }]",
                "limits: [{ per: call, allow: 5, every: 1s }]",
            ),
            limited_function,
            ["would refuse limited", LIMITED],
        ),
        row(
            "functions.*.mode",
            function("once: true, mode: shadow", "once: true"),
            |world| against(world, &call_of("f", "{}"), once),
            ["would refuse repeated", "That has already been done in this call."],
        ),
        row(
            "functions.*.shadow",
            function("once: true, shadow: [once]", "once: true"),
            |world| against(world, &call_of("f", "{}"), once),
            ["would refuse repeated", "That has already been done in this call."],
        ),
        row(
            "functions.*.sensitive",
            function("sensitive: [amount]", ""),
            recorded,
            [r#"{"amount":"[REDACTED]"}"#, r#"{"amount":5}"#],
        ),
        row(
            "say.limited",
            more(
                "say: { limited: Wait. }\nlimits: [{ per: call, allow: 1, every: 1s }]",
                "limits: [{ per: call, allow: 1, every: 1s }]",
            ),
            limited_function,
            ["Wait.", LIMITED],
        ),
        row(
            "say.busy",
            more("say: { busy: Full. }\ncalls: { concurrent: 1 }", "calls: { concurrent: 1 }"),
            said_when_busy,
            ["Full.", "All lines are busy. Please call again later."],
        ),
        row(
            "say.disabled",
            said_by("disabled", "publish: false"),
            |world| against(world, &call_of("f", "{}"), rate),
            ["Mine.", "This service is temporarily unavailable."],
        ),
        row(
            "functions.*.say.disabled",
            own("disabled", "publish: false"),
            |world| against(world, &call_of("f", "{}"), rate),
            ["Mine.", "This service is temporarily unavailable."],
        ),
        row(
            "say.argument",
            said_by("argument", "pin: { a_b: caller }"),
            |world| against(world, &call_of("f", "{}"), rate),
            ["Mine.", "That didn't work: please ask the caller for a b again."],
        ),
        row(
            "functions.*.say.argument",
            own("argument", "pin: { a_b: caller }"),
            |world| against(world, &call_of("f", "{}"), rate),
            ["Mine.", "That didn't work: please ask the caller for a b again."],
        ),
        row(
            "say.precondition",
            said_by("precondition", &requires("verify", "/response", "ok")),
            fact_of_function,
            ["Mine.", "That isn't possible yet: another step has to be completed first."],
        ),
        row(
            "functions.*.say.precondition",
            own("precondition", &requires("verify", "/response", "ok")),
            fact_of_function,
            ["Mine.", "That isn't possible yet: another step has to be completed first."],
        ),
        row(
            "say.repeated",
            said_by("repeated", "once: true"),
            |world| against(world, &call_of("f", "{}"), once),
            ["Mine.", "That has already been done in this call."],
        ),
        row(
            "functions.*.say.repeated",
            own("repeated", "once: true"),
            |world| against(world, &call_of("f", "{}"), once),
            ["Mine.", "That has already been done in this call."],
        ),
        row(
            "functions.*.say.limited",
            own("limited", "limits: [{ per: call, allow: 1, every: 1s }]"),
            limited_function,
            ["Mine.", LIMITED],
        ),
        row(
            "callers.allow",
            more("callers: { allow: ['+1555*'] }", "callers: { allow: ['+44*'] }"),
            |world| ended(world, &fetch()),
            ["POST /bank", "200 caller_denied"],
        ),
        row(
            "functions.*.hours.zone",
            function(
                "hours: { zone: UTC, open: ['15:00-17:00'] }",
                "hours: { zone: America/New_York, open: ['15:00-17:00'] }",
            ),
            |world| ended(world, &call_of("f", "{}")),
            ["POST /bank/swaig", "200 closed"],
        ),
        row(
            "functions.*.hours.open",
            function("hours: { zone: UTC, open: ['15:00-17:00'] }", "hours: { zone: UTC, open: ['Tue 15:00-17:00'] }"),
            |world| ended(world, &call_of("f", "{}")),
            ["POST /bank/swaig", "200 closed"],
        ),
        row(
            "say.closed",
            said_by("closed", "hours: { zone: UTC, open: ['01:00-02:00'] }"),
            |world| against(world, &call_of("f", "{}"), rate),
            ["Mine.", "That isn't available at this time. Please try again during opening hours."],
        ),
        row(
            "say.caller",
            said_by("caller", "callers: { deny: ['*'] }"),
            |world| against(world, &call_of("f", "{}"), rate),
            ["Mine.", "I'm sorry, that isn't available for this caller."],
        ),
        row(
            "functions.*.say.caller",
            own("caller", "callers: { deny: ['*'] }"),
            |world| against(world, &call_of("f", "{}"), rate),
            ["Mine.", "I'm sorry, that isn't available for this caller."],
        ),
        row(
            "functions.*.confirm.within",
            function("confirm: { words: [aye], within: 5s }", "confirm: { words: [aye] }"),
            confirmed,
            ["agreed, for 5s", "agreed, for 120s"],
        ),
        row(
            "functions.*.confirm.words",
            function("confirm: { words: [aye] }", "confirm: { words: [sure] }"),
            confirmed,
            ["agreed, for 120s", "not agreed, for 120s"],
        ),
        row(
            "functions.*.confirm.not_words",
            function("confirm: { words: [aye], not_words: [captain] }", "confirm: { words: [aye] }"),
            confirmed,
            ["not agreed, for 120s", "agreed, for 120s"],
        ),
        row(
            "functions.*.confirm.insecure_model_only",
            function("confirm: { insecure_model_only: true }", "confirm: { words: [aye] }"),
            confirmed,
            ["trusts the model, for 120s", "agreed, for 120s"],
        ),
        row(
            "functions.*.verify.argument",
            function("verify: { argument: code, code_env: PIN }", "verify: { argument: number, code_env: PIN }"),
            verified,
            ["right, 3 tries, 900s", "wrong, 3 tries, 900s"],
        ),
        row(
            "functions.*.verify.when",
            function(
                "verify: { argument: code, code_env: PIN, when: { properties: { amount: { minimum: 6 } }, required: [amount] } }",
                "verify: { argument: code, code_env: PIN }",
            ),
            verified,
            ["not asked", "right, 3 tries, 900s"],
        ),
        row(
            "functions.*.verify.attempts",
            function(
                "verify: { argument: code, code_env: PIN, attempts: 2 }",
                "verify: { argument: code, code_env: PIN }",
            ),
            verified,
            ["right, 2 tries, 900s", "right, 3 tries, 900s"],
        ),
        row(
            "functions.*.verify.lock",
            function(
                "verify: { argument: code, code_env: PIN, lock: 5s }",
                "verify: { argument: code, code_env: PIN }",
            ),
            verified,
            ["right, 3 tries, 5s", "right, 3 tries, 900s"],
        ),
        row(
            "functions.*.verify.totp_env",
            function("verify: { argument: code, totp_env: TOTP }", "verify: { argument: code, totp_env: OTHER_TOTP }"),
            verified_by_time,
            ["right, 3 tries, 900s", "wrong, 3 tries, 900s"],
        ),
        row(
            "functions.*.verify.totp_file",
            function(
                "verify: { argument: code, totp_file: TOTP }",
                "verify: { argument: code, totp_file: OTHER_TOTP }",
            ),
            verified_by_time,
            ["right, 3 tries, 900s", "wrong, 3 tries, 900s"],
        ),
        row(
            "functions.*.verify.code_env",
            function("verify: { argument: code, code_env: PIN }", "verify: { argument: code, code_env: OTHER_PIN }"),
            verified,
            ["right, 3 tries, 900s", "wrong, 3 tries, 900s"],
        ),
        row(
            "functions.*.verify.code_file",
            function("verify: { argument: code, code_file: PIN }", "verify: { argument: code, code_file: OTHER_PIN }"),
            verified,
            ["right, 3 tries, 900s", "wrong, 3 tries, 900s"],
        ),
        row(
            "functions.*.verify.code_hash",
            function(
                &format!("verify: {{ argument: code, code_hash: {CODE_HASH:?} }}"),
                "verify: { argument: code, code_env: OTHER_PIN }",
            ),
            verified,
            ["right, 3 tries, 900s", "wrong, 3 tries, 900s"],
        ),
        row(
            "functions.*.verify.code_hash_env",
            function(
                "verify: { argument: code, code_hash_env: CODE_HASH }",
                "verify: { argument: code, code_env: OTHER_PIN }",
            ),
            verified,
            ["right, 3 tries, 900s", "wrong, 3 tries, 900s"],
        ),
        row(
            "say.code",
            said_by("code", "verify: { argument: code, code_env: PIN }"),
            wrong_code,
            ["Mine.", "Please ask the caller for their verification code, and try again with it."],
        ),
        row(
            "functions.*.say.code",
            own("code", "verify: { argument: code, code_env: PIN }"),
            wrong_code,
            ["Mine.", "Please ask the caller for their verification code, and try again with it."],
        ),
        row(
            "say.locked",
            said_by("locked", "verify: { argument: code, code_env: PIN }"),
            too_many_codes,
            ["Mine.", "Too many wrong codes were given. Please try again later."],
        ),
        row(
            "functions.*.say.locked",
            own("locked", "verify: { argument: code, code_env: PIN }"),
            too_many_codes,
            ["Mine.", "Too many wrong codes were given. Please try again later."],
        ),
        row(
            "calls.max_duration",
            calls("max_duration: 30m", ""),
            answering,
            [r#"[{"answer":{"max_duration":1800}}]"#, r#"[{"answer":{}}]"#],
        ),
        row(
            "destinations.allow",
            more("destinations: { allow: ['+1*'] }", "destinations: { allow: ['+44*'] }"),
            connecting,
            [r#"[{"connect":{"to":"+15551230000"}}]"#, "destination_denied"],
        ),
        row(
            "destinations.deny",
            more("destinations: { deny: ['+1*'] }", "destinations: { deny: ['+44*'] }"),
            connecting,
            ["destination_denied", r#"[{"connect":{"to":"+15551230000"}}]"#],
        ),
        row(
            "destinations.templates",
            more("destinations: { deny: ['+1*'], templates: ['${vars.desk}'] }", "destinations: { deny: ['+1*'] }"),
            |world| verbs(world, r#"[{"connect":{"to":"${vars.desk}"}}]"#),
            [r#"[{"connect":{"to":"${vars.desk}"}}]"#, "destination_denied"],
        ),
        row(
            "egress.allow",
            more("egress: { allow: [a.example] }", "egress: { allow: [b.example] }"),
            |world| verbs(world, r#"[{"request":{"url":"https://a.example/"}}]"#),
            [r#"[{"request":{"url":"https://a.example/"}}]"#, "egress_denied"],
        ),
        row(
            "egress.assets",
            more("egress: { allow: [], assets: true }", "egress: { allow: [] }"),
            |world| verbs(world, r#"[{"play":{"url":"https://a.example/x"}}]"#),
            ["egress_denied", r#"[{"play":{"url":"https://a.example/x"}}]"#],
        ),
        row(
            "egress.templates",
            more("egress: { allow: [], templates: ['${vars.x}'] }", "egress: { allow: [] }"),
            |world| verbs(world, r#"[{"request":{"url":"${vars.x}"}}]"#),
            [r#"[{"request":{"url":"${vars.x}"}}]"#, "egress_denied"],
        ),
        row(
            "prompt.append",
            more("prompt: { append: [confirmation] }", ""),
            |world| told(world).contains("onfirm").to_string(),
            ["true", "false"],
        ),
        row(
            "prompt.append[].title",
            more(
                "prompt: { append: [{ title: Tone, body: Be kind. }] }",
                "prompt: { append: [{ title: Voice, body: Be kind. }] }",
            ),
            told,
            ["Hi.\n\n# Tone\nBe kind.", "Hi.\n\n# Voice\nBe kind."],
        ),
        row(
            "prompt.append[].body",
            more(
                "prompt: { append: [{ title: Tone, body: Be kind. }] }",
                "prompt: { append: [{ title: Tone, body: Be brief. }] }",
            ),
            told,
            ["Hi.\n\n# Tone\nBe kind.", "Hi.\n\n# Tone\nBe brief."],
        ),
        row(
            "verbs.cut",
            more("verbs: { cut: [connect] }", ""),
            connecting,
            ["[]", r#"[{"connect":{"to":"+15551230000"}}]"#],
        ),
        row(
            "verbs.deny",
            more("verbs: { deny: [connect] }", ""),
            connecting,
            ["verb_denied", r#"[{"connect":{"to":"+15551230000"}}]"#],
        ),
        row(
            "say.denied",
            more("say: { denied: Never. }", ""),
            |world| says(world, Reason::VerbDenied),
            ["Never.", "I'm sorry, I can't do that."],
        ),
        row(
            "functions.*.insecure_unmediated",
            function("once: true, insecure_unmediated: true", "once: true"),
            elsewhere,
            [r#"[{"data_map":{"output":{"response":"x"}},"function":"f"}]"#, "[]"],
        ),
        row(
            "responses.redact",
            more("responses: { redact: [email] }", ""),
            answered,
            ["Write to [email address].", "Write to a@b.example."],
        ),
        row(
            "responses.redact[].name",
            more(
                "responses: { redact: [{ name: address, pattern: 'a@b[.]example' }] }",
                "responses: { redact: [{ name: place, pattern: 'a@b[.]example' }] }",
            ),
            answered,
            ["Write to [address].", "Write to [place]."],
        ),
        row(
            "responses.redact[].pattern",
            more(
                "responses: { redact: [{ name: address, pattern: '[a-z@]+[.]example' }] }",
                "responses: { redact: [{ name: address, pattern: nothing }] }",
            ),
            answered,
            ["Write to [address].", "Write to a@b.example."],
        ),
        row(
            "functions.*.input.max_bytes",
            function("input: { max_bytes: 64B }", ""),
            |world| ended(world, &call_of("f", &format!("{{\"a\":\"{}\"}}", "x".repeat(60)))),
            ["200 input_forbidden", "POST /bank/swaig"],
        ),
        row(
            "functions.*.input.max_depth",
            function("input: { max_depth: 1 }", ""),
            |world| ended(world, &call_of("f", r#"{"a":[1]}"#)),
            ["200 input_forbidden", "POST /bank/swaig"],
        ),
        row(
            "functions.*.input.control_characters",
            function("input: { control_characters: allow }", ""),
            |world| ended(world, &call_of("f", r#"{"a":"\u0007"}"#)),
            ["POST /bank/swaig", "200 input_forbidden"],
        ),
        row(
            "functions.*.input.forbid",
            function("input: { forbid: [drop] }", ""),
            |world| ended(world, &call_of("f", r#"{"a":"drop table"}"#)),
            ["200 input_forbidden", "POST /bank/swaig"],
        ),
        row(
            "detect[].outside.zone",
            watching(
                "outside: { zone: America/New_York, open: ['15:00-17:00'] }",
                "outside: { zone: UTC, open: ['15:00-17:00'] }",
            ),
            watched,
            ["1", "0"],
        ),
        row(
            "detect[].outside.open",
            watching("outside: { zone: UTC, open: ['15:00-16:00'] }", "outside: { zone: UTC, open: ['15:00-17:00'] }"),
            watched,
            ["1", "0"],
        ),
        row("detect[].every", watching("function: f, every: 2h", "function: f, every: 1h"), watched_for, ["2h", "1h"]),
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
        assert_ne!(outcomes[0], outcomes[1], "{key} makes no difference");
        let found = [&with, &without].map(|policy| outcome(&world(policy)));
        assert_eq!(found, outcomes, "{key}\n{with}{without}");
    }
}
