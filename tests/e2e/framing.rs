//! Requests that two servers could read differently, that are too large, or that never end: the agent sees none of it.

use crate::harness::{
    agent::{Agent, Sdk},
    gateway::{GATEWAY_PASSWORD, GATEWAY_USER, Gateway, Policy},
    http::basic,
    raw::{Raw, RawAnswer},
    tap::Tap,
    until,
};

struct World {
    tap: Tap,
    gateway: Gateway,
}

fn world(sdk: Sdk, settings: &str, more: &str) -> World {
    let agent: &Agent = sdk.shared();
    let tap = agent.tap();
    let gateway = Gateway::start(settings, &[&Policy::through(&tap, agent).and(more)]);
    World { tap, gateway }
}

impl World {
    fn connect(&self) -> Raw {
        Raw::connect(self.gateway.listen())
    }

    /// Sends bytes on a connection of their own; `None` if it is closed without an answer.
    fn send(&self, bytes: impl AsRef<[u8]>) -> Option<RawAnswer> {
        let mut raw = self.connect();
        raw.write(bytes);
        raw.read()
    }
}

/// A head with credentials, without its end.
fn head(line: &str, headers: &[&str]) -> String {
    let authorization = format!("Authorization: {}", basic(GATEWAY_USER, GATEWAY_PASSWORD));
    let lines = [line].into_iter().chain([authorization.as_str()]).chain(headers.iter().copied());
    lines.map(|line| format!("{line}\r\n")).collect()
}

fn post(headers: &[&str], body: &str) -> String {
    let all = ["Host: gateway", "Content-Type: application/json"].iter().chain(headers).copied().collect::<Vec<_>>();
    format!("{}\r\n{body}", head("POST /bank HTTP/1.1", &all))
}

fn get(target: &str, headers: &[&str]) -> String {
    format!("{}\r\n", head(&format!("GET {target} HTTP/1.1"), headers))
}

const BODY: &str = r#"{"call":{"call_id":"raw"}}"#;

/// Each is refused with 400, or the connection is closed: nothing else may come of it.
fn ambiguous() -> Vec<(&'static str, String)> {
    let length = format!("Content-Length: {}", BODY.len());
    let chunked = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    let host = ["Host: gateway"];
    vec![
        ("a length and a coding", post(&[&length, "Transfer-Encoding: chunked"], &chunked)),
        ("a coding and a length", post(&["Transfer-Encoding: chunked", "Content-Length: 4"], &chunked)),
        ("two lengths that differ", post(&[&length, "Content-Length: 4"], BODY)),
        ("two lengths that don't", post(&[&length, &length], BODY)),
        ("a list of lengths", post(&[&format!("{length}, {}", BODY.len())], BODY)),
        ("a length with a sign", post(&[&format!("Content-Length: +{}", BODY.len())], BODY)),
        ("a length in hex", post(&["Content-Length: 0x1b"], BODY)),
        ("a length below zero", post(&["Content-Length: -1"], BODY)),
        ("a length that overflows", post(&["Content-Length: 99999999999999999999999"], BODY)),
        ("another coding", post(&["Transfer-Encoding: gzip"], &chunked)),
        ("two codings", post(&["Transfer-Encoding: gzip, chunked"], &chunked)),
        ("the coding twice", post(&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], &chunked)),
        ("a coding with a tab", post(&["Transfer-Encoding: \tx-chunked"], &chunked)),
        (
            "a coding in an older version",
            post(&["Transfer-Encoding: chunked"], &chunked).replace("HTTP/1.1", "HTTP/1.0"),
        ),
        ("a vertical tab before a length", post(&[&format!("Content-Length: \u{b}{}", BODY.len())], BODY)),
        ("a length's name with a space", post(&[&format!("Content-Length : {}", BODY.len())], BODY)),
        ("the body of a GET", format!("{}hello", get("/bank", &["Host: gateway", "Content-Length: 5"]))),
        (
            "one in chunks",
            format!("{}5\r\nhello\r\n0\r\n\r\n", get("/bank", &["Host: gateway", "Transfer-Encoding: chunked"])),
        ),
        ("a coding's name with a space", post(&["Transfer-Encoding : chunked"], &chunked)),
        ("no host", get("/bank", &[])),
        ("two hosts", get("/bank", &["Host: gateway", "Host: other"])),
        ("a host of spaces", get("/bank", &["Host:  \t "])),
        ("an empty host", get("/bank", &["Host:"])),
        ("an upgrade", get("/bank", &["Host: gateway", "Connection: Upgrade", "Upgrade: websocket"])),
        (
            "to http/2 over plain text",
            get("/bank", &["Host: gateway", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"]),
        ),
        ("two signatures", get("/bank", &["Host: gateway", "X-SignalWire-Signature: a", "X-SignalWire-Signature: b"])),
        ("two authorizations", get("/bank", &["Host: gateway", "Authorization: Basic YTpi"])),
        ("absolute form", get("http://127.0.0.1/bank", &host)),
        ("absolute form of the same host", get("http://gateway/bank", &host)),
        ("absolute form with a user", get("http://a:b@gateway/bank", &host)),
        ("another host's absolute form", get("http://other.example.com/bank", &host)),
        ("authority form", format!("{}\r\n", head("CONNECT other.example.com:443 HTTP/1.1", &host))),
        ("asterisk form", format!("{}\r\n", head("OPTIONS * HTTP/1.1", &host))),
        ("dot segments behind slashes", get("//../bank", &host)),
        ("dot segments", get("/bank/../bank/debug", &host)),
        ("escaped dot segments", get("/bank/%2e%2E/debug", &host)),
        ("escaped slashes", get("/bank/..%2fdebug", &host)),
        ("a dot segment with parameters", get("/bank/..;/debug", &host)),
        ("a backslash", get("/bank\\debug", &host)),
        ("a fragment", get("/bank#x", &host)),
        ("other than ASCII", get("/bank/\u{e9}", &host)),
        ("other than ASCII in a header that is read", get("/bank", &["Host: gateway", "User-Agent: \u{e9}"])),
        ("a line that is folded at first", get("/bank", &[" Host: other", "Host: gateway"])),
        ("a line that is folded", get("/bank", &["Host: gateway", "X-A: 1", " folded: 2"])),
        ("a name with a space", get("/bank", &["Host: gateway", "X A: 1"])),
        ("a lone carriage return", get("/bank", &["Host: gateway", "X-A: 1\rX-B: 2"])),
        ("a null byte", get("/bank", &["Host: gateway", "X-A: 1\0"])),
        ("lines that end in a line feed alone", get("/bank", &host).replace("\r\n", "\n")),
        ("one such line", get("/bank", &["Host: gateway", "X-A: 1\nX-B: 2"])),
        ("no version", get("/bank", &host).replace(" HTTP/1.1", "")),
        ("a version before", get("/bank", &host).replace("HTTP/1.1", "HTTP/0.9")),
        ("a version between", get("/bank", &host).replace("HTTP/1.1", "HTTP/1.2")),
        ("the next version", get("/bank", &host).replace("HTTP/1.1", "HTTP/2.0")),
        ("http/2 without its handshake", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("no HTTP", "nonsense\r\n\r\n".to_owned()),
        ("a later version", get("/bank", &host).replace("HTTP/1.1", "HTTP/3.0")),
    ]
}

#[test]
fn what_two_servers_could_read_differently_is_refused() {
    let world = world(Sdk::Python, "", "");
    let is_refused = |bytes: String| {
        let before = world.tap.bytes().len();
        let answer = world.send(bytes);
        answer.is_none_or(|answer| answer.status == 400) && world.tap.bytes().len() == before
    };
    let let_through = ambiguous().into_iter().filter_map(|(what, bytes)| (!is_refused(bytes)).then_some(what));
    assert_eq!(let_through.collect::<Vec<_>>(), Vec::<&str>::new());
    // The same bytes in order are answered.
    let proper = post(&[&format!("Content-Length: {}", BODY.len())], BODY);
    assert_eq!(world.send(proper).map(|answer| answer.status), Some(200));
}

/// Bodies in chunks that aren't well-formed.
fn broken_chunks() -> Vec<(&'static str, String)> {
    let size = format!("{:x}", BODY.len());
    let of = |before: &str, behind: &str, end: &str| format!("{before}{size}{behind}{BODY}{end}");
    let end = "\r\n0\r\n\r\n";
    vec![
        ("a size with 0x", of("0x", "\r\n", end)),
        ("a size with a sign", of("+", "\r\n", end)),
        ("a space before a size", of(" ", "\r\n", end)),
        ("a line feed alone behind a size", of("", "\n", end)),
        ("no line end behind a chunk", of("", "\r\n", "0\r\n\r\n")),
        ("a line feed alone behind a chunk", of("", "\r\n", "\n0\r\n\r\n")),
        ("a chunk that is longer than its size", of("", "\r\n", "xx\r\n0\r\n\r\n")),
        ("a size that overflows", format!("ffffffffffffffff0\r\n{BODY}{end}")),
    ]
}

#[test]
fn chunks_that_are_not_well_formed_never_reach_the_agent() {
    let world = world(Sdk::Rust, "bodies: { timeout: 2s }", "");
    let let_through = broken_chunks().into_iter().filter_map(|(what, chunks)| {
        let before = world.tap.bytes().len();
        let mut raw = world.connect();
        raw.write(post(&["Transfer-Encoding: chunked"], &chunks));
        raw.finish();
        let is_refused = raw.read().is_none_or(|answer| (400..500).contains(&answer.status));
        (!is_refused || world.tap.bytes().len() > before).then_some(what)
    });
    assert_eq!(let_through.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn what_comes_in_chunks_is_the_last_of_its_connection() {
    let world = world(Sdk::Rust, "", "");
    let size = format!("{:x}", BODY.len());
    for (what, chunks) in [
        ("proper chunks", format!("{size}\r\n{BODY}\r\n0\r\n\r\n")),
        // Others may see the end of the line in these, or no end of the body.
        ("a line feed in an extension", format!("{size};a\nb\r\n{BODY}\r\n0\r\n\r\n")),
        ("no size", format!("\r\n{BODY}\r\n0\r\n\r\n")),
    ] {
        let mut raw = world.connect();
        raw.write(post(&["Transfer-Encoding: chunked"], &chunks));
        assert!(raw.read().is_some(), "{what}");
        world.tap.stays_silent(what, || {
            raw.write(get("/bank", &["Host: gateway"]));
            assert!(raw.is_closed(), "{what}");
        });
    }
}

#[test]
fn methods_are_those_of_the_route_as_they_are_spelt() {
    let world = world(Sdk::Rust, "", "");
    for method in ["get", "Post", "TRACE", "PATCH", "PROPFIND", "OPTIONS", "CONNECT", "X"] {
        let bytes = get("/bank", &["Host: gateway"]).replacen("GET", method, 1);
        let answer = world.tap.stays_silent(method, || world.send(bytes));
        // CONNECT has another form of target, and no route.
        assert!(answer.as_ref().is_some_and(|answer| matches!(answer.status, 400 | 405)), "{method}: {answer:?}");
    }
}

#[test]
fn a_target_is_decided_in_the_form_in_which_the_agent_sees_it() {
    let world = world(Sdk::Rust, "", "expose: [{ path: /files/* }]");
    for (sent, seen) in [("a b", "a%20b"), ("a\tb", "a%09b"), ("a\u{1}b", "a%01b"), ("a\rX-B: 2", "a%0DX-B:%202")] {
        let before = world.tap.seen().len();
        world.send(get(&format!("/bank/files/{sent}"), &["Host: gateway"])).expect("it is answered");
        let targets = world.tap.seen()[before..].iter().map(|seen| seen.target.clone()).collect::<Vec<_>>();
        assert_eq!(targets, [format!("/bank/files/{seen}")], "{sent:?}");
    }
}

#[test]
fn what_is_not_read_is_no_reason_to_refuse() {
    let world = world(Sdk::Rust, "", "");
    let answer = world.send(get("/bank", &["Host: gateway", "X-City: S\u{e3}o Paulo", "X_Real_IP: 203.0.113.7"]));
    assert_eq!(answer.map(|answer| answer.status), Some(200));
    let seen = world.tap.only();
    assert_eq!((seen.header("x-city"), seen.header("x_real_ip")), (None, None));
}

#[test]
fn what_follows_a_refused_request_is_not_taken_for_the_next() {
    let world = world(Sdk::Python, "", "");
    let second = get("/bank", &["Host: gateway"]);
    for (what, first) in [
        ("a refused framing", post(&["Content-Length: 4", "Transfer-Encoding: chunked"], "0\r\n\r\n")),
        ("a body that nobody reads", post(&["Content-Length: 9999999"], "")),
    ] {
        let mut raw = world.connect();
        world.tap.stays_silent(what, || {
            raw.write(format!("{first}{second}"));
            let answer = raw.read();
            assert!(answer.as_ref().is_none_or(|answer| answer.status != 200), "{what}: {answer:?}");
            raw.finish();
            assert!(raw.is_closed(), "{what}");
        });
    }
}

#[test]
fn a_chunked_body_reaches_the_agent_with_its_length() {
    for sdk in Sdk::ALL {
        let world = world(sdk, "", "");
        let chunks =
            format!("4;x=1\r\n{}\r\n{:x}\r\n{}\r\n0\r\nX-T: 1\r\n\r\n", &BODY[..4], BODY.len() - 4, &BODY[4..]);
        let answer = world.send(post(&["Transfer-Encoding: chunked"], &chunks));
        assert_eq!(answer.map(|answer| answer.status), Some(200), "{sdk:?}");
        let seen = world.tap.only();
        assert_eq!((seen.body.as_slice(), seen.header("transfer-encoding")), (BODY.as_bytes(), None), "{sdk:?}");
        assert_eq!(seen.header("x-t"), None);
    }
}

#[test]
fn a_kept_connection_serves_one_request_after_another() {
    let world = world(Sdk::Rust, "", "");
    let mut raw = world.connect();
    for target in ["/bank", "/nowhere", "/bank"] {
        raw.write(get(target, &["Host: gateway"]));
        let answer = raw.read().expect("the connection is kept");
        assert_eq!(answer.status, if target == "/bank" { 200 } else { 404 }, "{target}: {}", answer.body);
    }
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let world = world(Sdk::Rust, "", "");
    let long = format!("X-Long: {}", "x".repeat(40_000));
    let many: Vec<String> = (0..150).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = ["Host: gateway"].into_iter().chain(many.iter().map(String::as_str)).collect();
    let cases = [
        ("a long header", get("/bank", &["Host: gateway", &long])),
        ("many headers", get("/bank", &many)),
        ("a long target", get(&format!("/bank?{}", "x".repeat(40_000)), &["Host: gateway"])),
    ];
    for (what, bytes) in cases {
        let answer = world.tap.stays_silent(what, || world.send(bytes));
        assert_eq!(answer.map(|answer| answer.status), Some(431), "{what}");
    }
    // What is larger than any buffer is cut off.
    let endless = get("/bank", &["Host: gateway", &format!("X-Long: {}", "x".repeat(3_000_000))]);
    let answer = world.tap.stays_silent("an endless head", || world.send(endless));
    assert!(answer.as_ref().is_none_or(|answer| matches!(answer.status, 400 | 431)), "{answer:?}");
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let world = world(Sdk::Rust, "", "bodies: { request: 2KiB }");
    let large = "x".repeat(3000);
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for (what, bytes) in [
        ("announced", post(&["Content-Length: 999999999"], "")),
        ("sent", post(&["Content-Length: 3000"], &large)),
        ("in chunks", post(&["Transfer-Encoding: chunked"], &chunked)),
    ] {
        let answer = world.tap.stays_silent(what, || world.send(bytes));
        assert_eq!(answer.map(|answer| answer.status), Some(413), "{what}");
    }
}

#[test]
fn a_head_has_a_deadline_however_it_trickles_in() {
    let world = world(Sdk::Rust, "connections: { header_timeout: 500ms, keepalive: 1s }", "");
    let begun = std::time::Instant::now();
    let mut idle = world.connect();
    let mut slow = world.connect();
    let bytes = get("/bank", &["Host: gateway", &format!("X-Long: {}", "x".repeat(2000))]);
    // A byte now and then, for much longer than a head may take.
    let written = bytes.bytes().take_while(|byte| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        begun.elapsed().as_secs() < 20 && slow.write([*byte])
    });
    assert!(written.count() < bytes.len(), "it is cut off");
    assert!(idle.is_closed(), "and so is who says nothing");
    assert!(begun.elapsed().as_secs() < 8, "after its own time, and not that of the default");

    let mut kept = world.connect();
    kept.write(get("/bank", &["Host: gateway"]));
    assert_eq!(kept.read().map(|answer| answer.status), Some(200));
    assert!(kept.is_closed(), "a kept connection isn't kept for ever");
    assert_eq!(world.tap.seen().len(), 1);
}

#[test]
fn a_body_that_does_not_come_is_waited_for_only_so_long() {
    let world = world(Sdk::Rust, "bodies: { timeout: 300ms }", "");
    let begun = std::time::Instant::now();
    for bytes in [post(&["Content-Length: 100"], "{"), post(&["Transfer-Encoding: chunked"], "1\r\n{\r\n")] {
        let answer = world.tap.stays_silent("half a body", || world.send(&bytes));
        assert_eq!(answer.map(|answer| answer.status), Some(408), "{bytes}");
    }
    assert!(begun.elapsed().as_secs() < 20, "after its own time, and not that of the default");
    let reasons = || world.gateway.audit().iter().map(|record| record["reason"].to_string()).collect::<Vec<_>>();
    until("both are recorded", || (reasons() == ["\"body_timeout\"", "\"body_timeout\""]).then_some(()));
}

#[test]
fn no_more_connections_are_served_than_the_settings_say() {
    let world = world(Sdk::Rust, "connections: { max: 2 }", "");
    let serve = || {
        let mut raw = world.connect();
        raw.write(get("/bank", &["Host: gateway"]));
        raw.read().is_some_and(|answer| answer.status == 200).then_some(raw)
    };
    // Whoever looked whether the gateway listens may still have a place.
    let mut held: Vec<Raw> = (0..2).map(|_| until("a place is free", serve)).collect();
    assert!(serve().is_none(), "a third is closed without an answer");
    held.pop();
    until("a place is free again", serve);
}

#[test]
fn bodies_share_a_budget() {
    let world =
        world(Sdk::Rust, "bodies: { budget: 1MiB }", "bodies: { request: 1MiB, callback: 1MiB, response: 1MiB }");
    // Whichever of the two comes second finds the budget used up; it has to be the small one.
    let (waiting, refused) = until("the budget is used up", || {
        let mut waiting = world.connect();
        waiting.write(post(&["Content-Length: 950000"], &"x".repeat(900_000)));
        let answer = world.send(post(&["Content-Length: 500000"], &"x".repeat(500_000)))?;
        (answer.status == 200).then_some((waiting, answer))
    });
    assert!(refused.body.contains("temporarily unavailable"), "{}", refused.body);
    drop(waiting);
    let proper = post(&[&format!("Content-Length: {}", BODY.len())], BODY);
    until("it is given back", || {
        world.send(&proper).filter(|answer| answer.status == 200 && answer.body.contains("gw_token"))
    });
}

#[test]
fn who_expects_to_be_told_to_go_on_is_told() {
    let world = world(Sdk::Rust, "", "");
    let mut raw = world.connect();
    raw.write(post(&[&format!("Content-Length: {}", BODY.len()), "Expect: 100-continue"], ""));
    assert_eq!(raw.read().map(|answer| answer.status), Some(100));
    raw.write(BODY);
    assert_eq!(raw.read().map(|answer| answer.status), Some(200));
    // A stranger is refused before the body is sent.
    let stranger = post(&["Content-Length: 100", "Expect: 100-continue"], "").replace("Basic ", "Basic x");
    assert_eq!(world.send(stranger).map(|answer| answer.status), Some(401));
}
