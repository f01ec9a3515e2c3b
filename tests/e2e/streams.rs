//! Answers that pass as they come: the SDK's own chat for browsers, and the agent's files.
//!
//! The chat service behind the agent is a stand-in, so that a test says when it speaks, and when it falls silent.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use serde_json::{Value, json};

use crate::harness::{
    PATIENCE,
    agent::{Agent, PASSWORD, USER},
    free_address,
    gateway::{Gateway, Policy},
    http::{Request, basic},
    platform::Call,
    raw::{Raw, find},
    tap::Tap,
    until,
};

const KEY: &str = "Bearer pk_of_the_tests";
const PAGE: &str = "http://localhost:5173";
const LARGE: usize = 32 << 20;

/// What of a body a client sends that never sends the rest.
const HALF: usize = 63 << 10;

/// The chat service, and the gateway with the agent before it.
struct World {
    service: Service,
    /// Dropped, it ends at once.
    agent: Option<Agent>,
    tap: Tap,
    gateway: Gateway,
}

struct Service(TcpListener);

/// A request to the chat service that waits for its answer.
struct Turn(TcpStream);

fn world(limit: u32, timeouts: &str) -> World {
    world_with("", limit, timeouts)
}

fn world_with(bodies: &str, limit: u32, timeouts: &str) -> World {
    let service = Service::start();
    let agent = Agent::with_chat(service.address());
    let tap = agent.tap();
    let policy = Policy::through(&tap, &agent).timeouts(timeouts).and(&format!(
        "expose:\n  - path: /chat/*\n    authentication: agent\n    request_headers: [X-Page]\n    \
         response_headers: [X-Chat-Handle]\n    limits: [{{ per: address, allow: {limit}, every: 1h }}]\n  \
         - {{ path: /files/*, streaming: true }}"
    ));
    // As much memory as one callback may have: a file that is kept whole doesn't fit.
    let gateway = Gateway::start(&format!("bodies: {{ budget: 16MiB{bodies} }}"), &[&policy]);
    World { service, agent: Some(agent), tap, gateway }
}

impl World {
    /// What a page's chat sends.
    fn say(&self, body: &Value) -> Request {
        let request = Request::post(&format!("{}/bank/chat/", self.gateway.origin()), body.to_string());
        request.header("Authorization", KEY).header("Origin", PAGE)
    }

    /// A visitor's message under way: the page's connection, and the chat service's side of it.
    fn chat(&self) -> (Raw, Turn) {
        let mut page = Raw::connect(self.gateway.listen());
        page.request(&self.say(&json!({ "method": "chat", "message": "hello" })));
        (page, self.service.next())
    }

    /// The one record of a path that is open.
    fn record(&self) -> Value {
        let of_chat = |record: &Value| record["route"] == "open";
        until("the request is recorded", || self.gateway.audit().into_iter().find(of_chat))
    }
}

// === chat ===

#[test]
fn a_visitor_gets_each_byte_when_the_chat_service_sends_it() {
    let world = world(100, "{}");
    let (mut page, mut turn) = world.chat();
    turn.begin();
    turn.say(" ");
    // The service sends no more until the page has this.
    let head = page.read_head().expect("the head comes before the answer's end").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("\r\nx-chat-handle: "), "{head}");
    assert!(head.contains("\r\naccess-control-allow-origin: ") && head.contains("\r\ntransfer-encoding: chunked"));
    assert!(head.contains("\r\nx-accel-buffering: no"), "the deployment's nginx would hold it back");
    assert_eq!(page.read_chunk().as_deref(), Some(b" ".as_slice()));
    turn.say("\n");
    assert_eq!(page.read_chunk().as_deref(), Some(b"\n".as_slice()));
    let answer = r#"{"jsonrpc":"2.0","id":"req-1","result":{"response":"Hello."}}"#;
    turn.say(answer);
    turn.end();
    assert_eq!(page.read_chunk().as_deref(), Some(answer.as_bytes()));
    assert_eq!(page.read_chunk().as_deref(), Some(b"".as_slice()));

    let record = world.record();
    let bytes = answer.len() as u64 + 2;
    assert_eq!((&record["reason"], &record["delivered"]), (&json!("ok"), &json!(true)), "{record}");
    assert_eq!((&record["bytes"], &record["status"]), (&json!(bytes), &json!(200)));
    let series = r#"swaigate_streamed_bytes_total{agent="bank",route="open"}"#;
    assert_eq!(world.gateway.metric(series), bytes);
    // The connection goes on.
    page.request(&world.say(&json!({ "method": "nonsense" })));
    assert!(page.read_head().is_some_and(|head| head.starts_with("HTTP/1.1 400")));
}

#[test]
fn who_asks_is_for_the_agent_to_say() {
    let world = world(100, "{}");
    let message = json!({ "method": "chat", "message": "hello" });
    let wrong = world.say(&message).anonymous().header("Authorization", "Bearer pk_of_another");
    let answer = wrong.send();
    assert_eq!((answer.status, answer.json()), (401, json!({ "error": "bad key" })));
    assert_eq!(world.gateway.reason_of(&answer), "ok");
    // The agent's own credentials vouch for nobody here.
    assert_eq!(world.tap.only().header("authorization"), Some("Bearer pk_of_another"));
    assert_eq!(world.say(&message).anonymous().send().status, 401);
    assert_eq!(world.tap.seen()[1].header("authorization"), None);

    let elsewhere = Request { headers: Vec::new(), ..world.say(&message) };
    let elsewhere = elsewhere.header("Authorization", KEY).header("Origin", "https://elsewhere.example.com");
    assert_eq!(elsewhere.send().status, 403);
}

#[test]
fn a_chat_can_become_a_call() {
    let world = world(100, "{}");
    let (mut page, mut turn) = world.chat();
    turn.begin();
    turn.say("{}");
    turn.end();
    let head = page.read_head().expect("the chat is answered");
    let handle = head.lines().find_map(|line| line.strip_prefix("x-chat-handle: ")).expect("there is a handle");
    let escalate = |handle: &str, origin: &str| {
        let url = format!("{}/bank/chat/escalate", world.gateway.origin());
        Request::post(&url, json!({ "handle": handle }).to_string()).header("Origin", origin).send()
    };
    assert_eq!(escalate(handle, PAGE).json(), json!({ "ok": true }));
    assert_eq!(escalate("of-nobody", PAGE).json(), json!({ "error": "not found" }));
    let answer = escalate("of-nobody", "https://elsewhere.example.com");
    assert_eq!((answer.status, answer.json()), (403, json!({ "error": "origin not allowed" })));
    assert_eq!(world.gateway.reason_of(&answer), "ok", "it is the agent's word");
}

#[test]
fn a_page_asks_before_it_asks_and_cookies_stay_outside() {
    let world = world(100, "{}");
    let url = world.say(&json!({})).url;
    let preflight = Request::new("OPTIONS", &url)
        .header("Origin", PAGE)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization,content-type")
        .header("Cookie", "session=1")
        .header("X-Forwarded-Host", "elsewhere.example.com")
        .header("X-Page", "3")
        .header("X-Other", "4");
    let answer = preflight.send();
    assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
    assert!(answer.header("access-control-allow-origin").is_some(), "{:?}", answer.headers);
    assert!(answer.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    let seen = world.tap.only();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("OPTIONS", "/bank/chat/"));
    assert_eq!(seen.header("access-control-request-method"), Some("POST"));
    assert_eq!((seen.header("x-page"), seen.header("x-other"), seen.header("cookie")), (Some("3"), None, None));
    assert_ne!(seen.header("x-forwarded-host"), Some("elsewhere.example.com"));
    let nominated = preflight.header("Connection", "keep-alive, X-Page").send();
    assert!(matches!(nominated.status, 200 | 204));
    assert_eq!(world.tap.seen()[1].header("x-page"), None, "what Connection names is for the next server alone");
}

#[test]
fn an_address_that_asks_too_often_is_told_so_and_the_agent_hears_nothing() {
    let world = world(2, "{}");
    let request = world.say(&json!({ "method": "nonsense" }));
    assert_eq!([request.send().status, request.send().status], [400, 400]);
    let answer = world.tap.stays_silent("beyond the limit", || request.send());
    assert_eq!((answer.status, world.gateway.reason_of(&answer).as_str()), (429, "limited"));
    assert!(answer.header("retry-after").is_some());
    // The page gets to read why, and how long to wait.
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(answer.header("access-control-expose-headers").is_some_and(|names| names.contains("Retry-After")));
    let of_the_platform = world.gateway.request("GET", "/bank/nowhere").send();
    assert_eq!(of_the_platform.header("access-control-allow-origin"), None);
}

#[test]
fn bodies_of_strangers_crowd_out_each_other_and_no_call() {
    let world = world(10_000, "{}");
    let request = world.say(&json!({})).url;
    let target = request.rsplit_once("/bank").expect("it is below /bank").1;
    let head = format!("POST /bank{target} HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n");
    let mut strangers = Vec::new();
    let refused = until("there is no more room", || {
        let mut stranger = Raw::connect(world.gateway.listen());
        stranger.write([head.as_bytes(), &vec![b' '; HALF]].concat());
        strangers.push(stranger);
        world.gateway.audit().into_iter().find(|record| record["route"] == "open")
    });
    assert_eq!((&refused["reason"], &refused["status"]), (&json!("overloaded"), &json!(503)));
    assert_eq!(world.tap.seen(), [], "nothing is whole");
    world.gateway.platform().fetch(&Call::new()).ai();
}

#[test]
fn a_client_of_http_1_0_gets_it_without_chunks() {
    let world = world(100, "{}");
    let mut page = Raw::connect(world.gateway.listen());
    let body = r#"{"method":"chat","message":"hello"}"#;
    let length = body.len();
    page.write(format!(
        "POST /bank/chat/ HTTP/1.0\r\nHost: a\r\nAuthorization: {KEY}\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    let mut turn = world.service.next();
    turn.begin();
    turn.say(" {}");
    turn.end();
    let answer = String::from_utf8(page.read_to_the_end()).expect("it is text").to_ascii_lowercase();
    assert!(!answer.contains("transfer-encoding") && answer.ends_with("\r\n\r\n {}"), "{answer}");
}

#[test]
fn an_answer_that_breaks_off_is_seen_to() {
    let mut world = world(100, "{}");
    let (mut page, mut turn) = world.chat();
    turn.begin();
    turn.say(" ");
    assert!(page.read_head().is_some() && page.read_chunk().is_some());
    // Where the chat service alone breaks off, the SDK ends its own answer as if it were whole.
    drop(world.agent.take());
    assert_eq!(page.read_chunk(), None, "the answer has no end");
    let record = world.record();
    assert_eq!((&record["reason"], &record["delivered"]), (&json!("agent_broken"), &json!(false)), "{record}");
    assert_eq!((&record["bytes"], &record["status"]), (&json!(1), &json!(200)));
}

#[test]
fn half_of_a_promised_body_is_seen_as_half() {
    let exposed =
        "expose: [{ path: /summary-cut-body/*, streaming: true }, { path: /summary-gzip/*, streaming: true }]";
    let gateway = Policy::of(Agent::broken().address).at("/broken").and(exposed).start();
    let mut raw = Raw::connect(gateway.listen());
    raw.request(&gateway.request("GET", "/broken/summary-cut-body/x"));
    let answer = String::from_utf8(raw.read_to_the_end()).expect("it is text");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "the answer has no end: {answer}");
    let record = until("it is recorded", || gateway.audit().pop());
    assert_eq!((&record["reason"], &record["delivered"]), (&json!("agent_broken"), &json!(false)));

    let packed = gateway.request("GET", "/broken/summary-gzip/x").send();
    assert_eq!((packed.status, gateway.reason_of(&packed).as_str()), (502, "agent_encoded"));
}

#[test]
fn a_pause_that_is_too_long_ends_it() {
    let world = world(100, "{ answer: 3s, exchange: 60s }");
    let (mut page, mut turn) = world.chat();
    turn.begin();
    turn.say(" ");
    assert!(page.read_head().is_some() && page.read_chunk().is_some());
    assert_eq!(page.read_chunk(), None);
    assert_eq!(world.record()["reason"], "agent_timeout");
    assert!(turn.is_left());
}

#[test]
fn a_visitor_who_leaves_ends_it() {
    let world = world(100, "{}");
    let (mut page, mut turn) = world.chat();
    turn.begin();
    turn.say(" ");
    assert!(page.read_head().is_some() && page.read_chunk().is_some());
    drop(page);
    let record = world.record();
    assert_eq!((&record["reason"], &record["delivered"]), (&json!("client_gone"), &json!(false)), "{record}");
    assert!(turn.is_left(), "nobody waits at the chat service either");
    until("the connection to the agent is closed", || (!world.tap.is_open()).then_some(()));
}

// === files ===

#[test]
fn a_file_passes_that_is_larger_than_all_memory_for_bodies() {
    let world = world(100, "{}");
    let url = world.file();
    let answer = Request::get(&url).send();
    assert_eq!((answer.status, answer.body.len()), (200, LARGE));
    assert!(answer.body.chunks(256).all(|row| row.iter().copied().eq(0..=255)), "every byte is the file's");
    assert_eq!(answer.header("content-length"), Some("33554432"));
    let record = world.gateway.record_of(&answer);
    assert_eq!((&record["route"], &record["bytes"]), (&json!("asset"), &json!(LARGE)));

    let head = Request::new("HEAD", &url).send();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("33554432"), 0));
    let series = r#"swaigate_streamed_bytes_total{agent="bank",route="asset"}"#;
    until("it is counted", || (world.gateway.metric(series) == LARGE as u64).then_some(()));
}

#[test]
fn a_part_of_a_file_and_its_version_can_be_asked_for() {
    let world = world(100, "{}");
    let url = world.file();
    let part = Request::get(&url).header("Range", "bytes=255-257").send();
    assert_eq!((part.status, part.body.as_slice()), (206, [255, 0, 1].as_slice()));
    assert_eq!(part.header("content-range"), Some("bytes 255-257/33554432"));
    let beyond = Request::get(&url).header("Range", "bytes=99999999-").send();
    assert_eq!(beyond.status, 416);
    let version = part.header("etag").expect("the agent names the file's version");
    let same = Request::get(&url).header("If-None-Match", version).send();
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(same.header("cache-control"), Some("no-store"), "the URL holds a token");
}

#[test]
fn a_client_that_takes_nothing_holds_the_agent_back_and_is_given_up() {
    let world = world_with(", timeout: 1s", 100, "{}");
    let mut client = Raw::connect(world.gateway.listen());
    client.request(&Request::get(&world.file()));
    assert!(client.read_head().is_some_and(|head| head.starts_with("HTTP/1.1 200")));
    let of_file = |record: &Value| record["route"] == "asset";
    let record = until("it is given up", || world.gateway.audit().into_iter().find(of_file));
    assert_eq!((&record["reason"], &record["delivered"]), (&json!("client_gone"), &json!(false)), "{record}");
    assert!(record["bytes"].as_u64().is_some_and(|bytes| bytes < LARGE as u64), "{record}");
    until("the connection to the agent is closed", || (!world.tap.is_open()).then_some(()));
}

#[test]
fn a_file_needs_its_token() {
    let world = world(100, "{}");
    let url = world.file();
    // Where the policy exposes its folder too, only without a token.
    let other = url.replacen("large.bin", "leak.txt", 1);
    let answer = world.tap.stays_silent("another file", || Request::get(&other).send());
    assert_eq!((answer.status, world.gateway.reason_of(&answer).as_str()), (403, "token_mismatch"));
    let answer = world.tap.stays_silent("without credentials", || Request::get(&url).anonymous().send());
    assert_eq!(answer.status, 401);
}

#[test]
fn no_byte_of_the_agents_password_leaves_in_a_stream() {
    let world = world(100, "{}");
    let mut raw = Raw::connect(world.gateway.listen());
    raw.request(&world.gateway.request("GET", "/bank/files/leak.txt"));
    let answer = raw.read_to_the_end();
    assert!(find(&answer, b"xxxx").is_some(), "the file begins to come");
    assert!(find(&answer, PASSWORD.get(..1).unwrap_or_default().as_bytes()).is_none_or(|at| at < 600), "only a head");
    assert!(find(&answer, b"the-a").is_none() && find(&answer, b"\r\n0\r\n").is_none());
    let records = until("it is recorded", || {
        let records = world.gateway.audit().into_iter().filter(|record| record["route"] == "exposed");
        Some(records.collect::<Vec<_>>()).filter(|records| !records.is_empty())
    });
    assert_eq!((&records[0]["reason"], &records[0]["delivered"]), (&json!("credential_in_document"), &json!(false)));
    // The agent's own credentials are good for nothing at the gateway, and the gateway asks with them.
    let own = basic(USER, PASSWORD);
    assert_eq!(world.tap.only().header("authorization"), Some(own.as_str()));
}

impl World {
    /// The URL of the large file, as the platform has it.
    fn file(&self) -> String {
        let document = self.gateway.platform().fetch(&Call::new());
        let url = document.ai()["params"]["background_file"].as_str().expect("the document names the file");
        assert!(url.contains("gw_token="), "{url}");
        url.to_owned()
    }
}

// === the chat service ===

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind(free_address()).expect("the port is free");
        listener.set_nonblocking(true).expect("it is a socket");
        Self(listener)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    /// The next request, read to its end.
    fn next(&self) -> Turn {
        let (mut stream, _) = until("the chat service is asked", || self.0.accept().ok());
        stream.set_nonblocking(false).expect("it is a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        while !bytes.ends_with(b"}") {
            let length = stream.read(&mut chunk).expect("the agent asks");
            assert!(length > 0, "the agent asks to the end");
            bytes.extend_from_slice(&chunk[..length]);
        }
        Turn(stream)
    }
}

impl Turn {
    fn begin(&mut self) {
        self.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    }

    fn say(&mut self, text: &str) {
        self.write(&format!("{:x}\r\n{text}\r\n", text.len()));
    }

    fn end(&mut self) {
        self.write("0\r\n\r\n");
    }

    /// Whether the agent closes its side, in time.
    fn is_left(&mut self) -> bool {
        !matches!(self.0.read(&mut [0; 16]), Ok(1..))
    }

    fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("the agent listens");
    }
}
