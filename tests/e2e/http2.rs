//! HTTP/2, frame by frame: what one connection may take, and how long it may say nothing.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustls::{ClientConnection, StreamOwned};

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, GATEWAY_PASSWORD, GATEWAY_USER, Gateway, Policy},
    http::basic,
    pki::Authority,
    until,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Types of frames (RFC 9113, 6), and flags of them.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

struct World {
    authority: Authority,
    gateway: Gateway,
}

struct Client(StreamOwned<ClientConnection, TcpStream>);

struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

fn world(settings: &str) -> World {
    let authority = Authority::new();
    let folder = Folder::new("", &[&Policy::of(Sdk::Rust.shared().address)]);
    authority.issue(folder.root.path(), "one", "IP:127.0.0.1");
    let Folder { listen, admin, .. } = &folder;
    let tls = "tls: { certificate: one.crt, private_key: one.key }";
    let text = format!("listen: [{{ address: \"{listen}\", {tls} }}]\nadmin: {{ address: \"{admin}\" }}\n{settings}\n");
    folder.write("gateway.yaml", &text);
    World { authority, gateway: folder.start(&["run", "--config", "gateway.yaml"]) }
}

impl World {
    /// A connection whose handshake is over, but for the protocol's own.
    fn connect(&self) -> Client {
        Client(self.authority.connect(self.gateway.listen(), "h2"))
    }

    /// The same after that.
    fn greet(&self) -> Client {
        self.greet_with(&[])
    }

    fn greet_with(&self, settings: &[u8]) -> Client {
        let mut client = self.connect();
        client.write(PREFACE);
        client.frame(SETTINGS, 0, 0, settings);
        client
    }

    fn refused(&self, cause: &str) -> u64 {
        self.gateway.metric(&format!("swaigate_connections_refused_total{{cause=\"{cause}\"}}"))
    }
}

impl Client {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).is_ok()
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).expect("it fits").to_be_bytes();
        self.write(&[&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat())
    }

    /// Asks for a document, with these header fields besides.
    fn ask(&mut self, stream: u32, method: &str, flags: u8, more: &[(&str, &str)]) -> bool {
        let authorization = basic(GATEWAY_USER, GATEWAY_PASSWORD);
        let own = [
            (":method", method),
            (":scheme", "https"),
            (":path", "/bank"),
            (":authority", "gateway"),
            ("authorization", &authorization),
        ];
        let block: Vec<u8> = own.iter().chain(more).flat_map(|(name, value)| literal(name, value)).collect();
        self.frame(HEADERS, flags | END_HEADERS, stream, &block)
    }

    /// None when the connection is closed.
    fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind: head[3], flags: head[4], payload })
    }

    fn read_until(&mut self, is_it: impl Fn(&Frame) -> bool) -> Option<Frame> {
        std::iter::from_fn(|| self.read()).find(|frame| is_it(frame))
    }

    /// Whether it is open after this time, in which nothing comes.
    fn stays_open(&mut self, time: Duration) -> bool {
        self.0.sock.set_read_timeout(Some(time)).expect("it isn't zero");
        let read = self.0.read(&mut [0]);
        self.0.sock.set_read_timeout(Some(crate::harness::PATIENCE)).expect("it isn't zero");
        read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

/// A header field that no table has (RFC 7541, 6.2.2), of up to 16 KiB.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| match text.len().checked_sub(127) {
        None => [&[text.len() as u8], text.as_bytes()].concat(),
        Some(rest) => [&[127, (rest % 128) as u8 | 128, (rest / 128) as u8], text.as_bytes()].concat(),
    };
    [vec![0], text(name), text(value)].concat()
}

#[test]
fn who_asks_for_nothing_by_http_2_is_not_waited_for() {
    let world = world("connections: { header_timeout: 600ms, keepalive: 3s }");
    let begun = Instant::now();
    let (mut silent, mut greeted) = (world.connect(), world.greet());
    assert!(silent.read_until(|_| false).is_none() && greeted.read_until(|_| false).is_none());
    assert!(begun.elapsed().as_secs() < 10);
    // They may see the end before it is counted.
    until("both are counted", || (world.refused("slow") == 2).then_some(()));

    // After its first request it has the time between two.
    let mut client = world.greet();
    client.ask(1, "GET", END_STREAM, &[]);
    assert!(client.read_until(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0).is_some());
    assert!(client.stays_open(Duration::from_millis(1500)));
    client.ask(3, "GET", END_STREAM, &[]);
    assert!(client.read_until(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0).is_some());
    let idle = Instant::now();
    assert!(client.read_until(|_| false).is_none());
    assert!((2..15).contains(&idle.elapsed().as_secs()), "{:?}", idle.elapsed());
    assert_eq!(world.refused("slow"), 2, "an idle end is no refusal");

    let mut confused = world.connect();
    confused.write(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n");
    assert!(confused.read_until(|_| false).is_none());
    assert!(!world.gateway.process.stderr().contains("ERROR"), "a client's mistake is no error");
}

#[test]
fn a_connection_of_http_2_has_bounds() {
    let world = world("connections: { max_head: 8KiB }");
    let mut client = world.greet();
    let settings = client.read_until(|frame| frame.kind == SETTINGS && frame.flags == 0).expect("they are first");
    let setting = |id: u8| {
        let mut all = settings.payload.chunks(6).filter(|setting| setting[..2] == [0, id]);
        all.next().map(|setting| u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]))
    };
    assert_eq!((setting(3), setting(6)), (Some(64), Some(8192)), "streams at once, and the size of a head");
    // A larger head is refused, and the next one is read.
    client.ask(1, "GET", END_STREAM, &[("x-long", &"x".repeat(10_000))]);
    let refused = client.read_until(|frame| frame.kind == HEADERS).expect("it is refused");
    // `:status: 431`, as it is compressed (RFC 7541, B).
    assert_eq!(refused.payload, [0x48, 0x83, 0x69, 0x90, 0xff]);
    client.ask(3, "GET", END_STREAM, &[]);
    assert!(client.read_until(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0).is_some());
}

#[test]
fn requests_that_are_taken_back_end_a_connection_of_http_2() {
    let world = world("");
    let mut client = world.greet();
    for stream in (1..4000).step_by(2) {
        if !client.ask(stream, "GET", END_STREAM, &[]) || !client.frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]) {
            break;
        }
    }
    let end = client.read_until(|frame| frame.kind == GOAWAY);
    // Whoever still writes may find the connection closed before the last word is read.
    assert!(end.is_none_or(|end| end.payload[4..8] == [0, 0, 0, 11]), "it calms down");
    let mut other = world.greet();
    other.ask(1, "GET", END_STREAM, &[]);
    assert!(other.read_until(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0).is_some());
}

#[test]
fn an_answer_by_http_2_that_is_not_taken_is_waited_for_only_so_long() {
    let world = world("bodies: { timeout: 500ms }\nconnections: { keepalive: 2s }");
    // A window of no bytes: nothing but heads may be sent.
    let mut client = world.greet_with(&[0, 4, 0, 0, 0, 0]);
    client.ask(1, "GET", END_STREAM, &[]);
    assert!(client.read_until(|frame| frame.kind == HEADERS).is_some());
    assert!(client.read_until(|frame| frame.kind == RST_STREAM).is_some());
    let is_lost = |record: &serde_json::Value| record["delivered"] == false;
    until("it is recorded", || world.gateway.audit().into_iter().find(is_lost));
    assert!(client.read_until(|_| false).is_none(), "nor is the connection kept for longer than an idle one");
}

#[test]
fn a_get_by_http_2_has_no_body_either() {
    let world = world("");
    let mut client = world.greet();
    client.ask(1, "GET", 0, &[]);
    client.frame(DATA, END_STREAM, 1, b"hello");
    let head = client.read_until(|frame| frame.kind == HEADERS).expect("it is answered");
    // 400 is in the table of all (RFC 7541, A), at 12.
    assert_eq!(head.payload[0], 0x80 | 12, "{:?}", head.payload);
}

/// Reads all to the end of the connection, which is said in the way that loses nothing (RFC 9113, 6.8): first that no stream
/// is to be opened any more, and when the client has confirmed that it knows, which was the last. Whether an answer ended
/// meanwhile.
fn is_answered_to_the_end(client: &mut Client, last: u8) -> bool {
    let (mut told, mut is_answered) = (Vec::new(), false);
    while let Some(frame) = client.read() {
        match frame.kind {
            PING if frame.flags & ACK == 0 => assert!(client.frame(PING, ACK, 0, &frame.payload)),
            GOAWAY => told.push(frame.payload[..8].to_vec()),
            DATA => is_answered |= frame.flags & END_STREAM != 0,
            _ => {}
        }
    }
    assert_eq!(told, [[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], [0, 0, 0, last, 0, 0, 0, 0]]);
    is_answered
}

#[test]
fn clients_of_http_2_are_told_that_the_gateway_stops() {
    let mut world = world("shutdown: { delay: 4s }");
    let mut kept = world.greet();
    kept.ask(1, "GET", END_STREAM, &[]);
    assert!(kept.read_until(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0).is_some());
    world.gateway.process.signal("TERM");
    assert!(!is_answered_to_the_end(&mut kept, 1), "it has asked for nothing");
    // Whoever comes while load balancers may not know has one answer before, or they would come again and again.
    let mut late = world.greet();
    assert!(late.frame(PING, 0, 0, b"whatever"));
    let before = late.read_until(|frame| frame.kind == GOAWAY || frame.kind == PING).expect("it is answered");
    assert_eq!(before.kind, PING);
    late.ask(1, "GET", END_STREAM, &[]);
    assert!(is_answered_to_the_end(&mut late, 1));
    assert_eq!(world.gateway.process.exit().code(), Some(0), "{}", world.gateway.process.stderr());
}
