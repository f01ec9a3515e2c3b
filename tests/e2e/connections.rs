//! Connections beneath the requests: how many there may be, where they may come in, and how long they may say nothing.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    time::{Duration, Instant},
};

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, GATEWAY_PASSWORD, GATEWAY_USER, Gateway, Policy},
    http::basic,
    platform::Call,
    raw::Raw,
    until,
};

fn policy() -> Policy {
    Policy::of(Sdk::Rust.shared().address)
}

fn get() -> String {
    let authorization = basic(GATEWAY_USER, GATEWAY_PASSWORD);
    format!("GET /bank HTTP/1.1\r\nHost: gateway\r\nAuthorization: {authorization}\r\n\r\n")
}

/// A kept connection from an address, on which a request was answered.
fn served(gateway: &Gateway, from: Ipv4Addr) -> Option<Raw> {
    let mut raw = Raw::connect_from(IpAddr::V4(from), gateway.listen());
    raw.write(get());
    raw.read().is_some_and(|answer| answer.status == 200).then_some(raw)
}

fn refused(gateway: &Gateway, cause: &str) -> u64 {
    gateway.metric(&format!("swaigate_connections_refused_total{{cause=\"{cause}\"}}"))
}

// === how many ===

#[test]
fn one_address_holds_no_more_connections_than_the_settings_say() {
    let gateway = Gateway::start("connections: { max: 100, max_per_address: 2 }", &[&policy()]);
    let (here, there) = (Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(127, 0, 1, 2));
    let mut held: Vec<Raw> = (0..2).map(|_| served(&gateway, here).expect("a place is free")).collect();
    assert!(served(&gateway, here).is_none(), "a third is closed without an answer");
    assert_eq!(refused(&gateway, "address_full"), 1);
    let _other = served(&gateway, there).expect("others have their own");
    assert!(gateway.metric("swaigate_connections") >= 3);
    held.pop();
    until("a place is free again", || served(&gateway, here));
}

#[test]
fn whoever_finds_no_descriptor_left_is_served_later() {
    let limited = ["sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""];
    let gateway = Folder::new("connections: { header_timeout: 60s }", &[&policy()]).start_by(&limited);
    // The system lets them in, the gateway can't.
    let idle: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(gateway.listen()).expect("it listens")).collect();
    until("it says so", || gateway.process.stderr().contains("no connection can be accepted").then_some(()));
    let mut waiting = Raw::connect(gateway.listen());
    waiting.write(get());
    drop(idle);
    assert_eq!(waiting.read().map(|answer| answer.status), Some(200));
}

#[test]
fn a_head_may_be_as_large_as_the_settings_say() {
    let gateway = Gateway::start("connections: { max_head: 1KiB, max_headers: 8 }", &[&policy()]);
    let with = |more: &str| {
        let mut raw = Raw::connect(gateway.listen());
        raw.write(format!("{}\r\n{more}\r\n", get().trim_end()));
        raw.read().map(|answer| answer.status)
    };
    assert_eq!(with(&format!("X-Long: {}\r\n", "x".repeat(800))), Some(200));
    assert_eq!(with(&format!("X-Long: {}\r\n", "x".repeat(1000))), Some(431));
    assert_eq!(with(&"X-A: 1\r\n".repeat(6)), Some(200));
    assert_eq!(with(&"X-A: 1\r\n".repeat(7)), Some(431));
    assert_eq!(with(&format!("X-Long: {}\r\n", "x".repeat(200_000))), None, "that isn't read to its end");
}

// === how long ===

#[test]
fn each_head_of_a_connection_has_its_deadline() {
    let gateway = Gateway::start("connections: { header_timeout: 500ms, keepalive: 30s }", &[&policy()]);
    let mut kept = served(&gateway, Ipv4Addr::LOCALHOST).expect("it is answered");
    std::thread::sleep(Duration::from_secs(1));
    kept.write(get());
    assert_eq!(kept.read().map(|answer| answer.status), Some(200), "between requests there is more time");
    let begun = Instant::now();
    let head = format!("{}X-Long: {}", get().trim_end(), "x".repeat(2000));
    let written = head.bytes().take_while(|byte| {
        std::thread::sleep(Duration::from_millis(20));
        begun.elapsed().as_secs() < 20 && kept.write([*byte])
    });
    assert!(written.count() < head.len() && begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
    until("it is counted", || (refused(&gateway, "slow") == 1).then_some(()));
}

#[test]
fn a_body_that_trickles_in_is_given_up() {
    let gateway = Gateway::start("bodies: { timeout: 60s, min_rate: 1KiB }", &[&policy()]);
    let body = format!("{{\"call\":{{\"call_id\":\"slow\"}}{}}}", " ".repeat(8 << 10));
    let head = get().replacen("GET", "POST", 1);
    let head =
        format!("{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", head.trim_end(), body.len());
    let begun = Instant::now();
    let [mut slow, mut fast] = [(), ()].map(|()| Raw::connect(gateway.listen()));
    assert!(slow.write(&head) && fast.write(&head));
    // One has its time to be slow in, and a little more.
    for (byte, piece) in body.as_bytes().chunks(1).zip(body.as_bytes().chunks(160)) {
        std::thread::sleep(Duration::from_millis(80));
        fast.write(piece);
        slow.write(byte);
    }
    assert_eq!(slow.read().map(|answer| answer.status), Some(408));
    assert!(begun.elapsed().as_secs() < 20, "long before the time for a whole body");
    assert_eq!(fast.read().map(|answer| answer.status), Some(200));
}

#[test]
fn an_answer_that_is_not_taken_is_waited_for_only_so_long() {
    let policy = Policy::of(talkative()).and("expose: [{ path: /large }]\nbodies: { response: 16MiB }");
    let gateway = Gateway::start("bodies: { timeout: 500ms }\nconnections: { keepalive: 10m }", &[&policy]);
    let mut client = Raw::connect(gateway.listen());
    client.request(&gateway.request("GET", "/bank/large"));
    assert!(client.read_head().is_some_and(|head| head.starts_with("HTTP/1.1 200")));
    let is_lost = |record: &serde_json::Value| record["delivered"] == false;
    until("it is given up", || gateway.audit().into_iter().find(is_lost));
    until("its connection is closed", || (gateway.metric("swaigate_connections") == 0).then_some(()));
}

/// An agent with an answer that fits in no buffer of the system's.
fn talkative() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the gateway asks");
        let _ = stream.read(&mut [0; 4096]);
        let body = "x".repeat(12 << 20);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all([head, body].concat().as_bytes());
    });
    address
}

// === where ===

#[test]
fn a_socket_in_the_file_system_is_a_listener() {
    let folder = Folder::new("", &[&policy()]);
    folder.listen_also("{ unix: gateway.sock }, { unix: group.sock, mode: \"0660\" }");
    let gateway = folder.start(&["run", "--config", "gateway.yaml"]);
    for (name, mode) in [("gateway.sock", 0o600), ("group.sock", 0o660)] {
        let path = gateway.folder.path(name);
        let file = std::fs::metadata(&path).expect("it is there");
        assert_eq!(file.permissions().mode() & 0o777, mode, "{name}");
        let mut stream = UnixStream::connect(path).expect("something listens");
        stream
            .write_all(get().replace("Host: gateway", "Host: gateway\r\nConnection: close").as_bytes())
            .expect("it is read");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is text");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    // What is left of a gateway that is gone is in nobody's way.
    gateway.crash().platform().fetch(&Call::new());
}

/// Binds an address and becomes the program, with the socket as descriptor 3.
const HAND_OVER: &str = r#"
import os, socket, sys
host, port = sys.argv[1].rsplit(":", 1)
own = socket.socket()
own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
own.bind((host, int(port)))
own.listen()
os.dup2(own.fileno(), 3)
os.set_inheritable(3, True)
os.environ["LISTEN_FDS"] = "1"
os.execv(sys.argv[2], sys.argv[2:])
"#;

#[test]
fn a_socket_that_is_handed_over_is_listened_on() {
    let folder = Folder::new("", &[&policy()]);
    let address = folder.listen.to_string();
    let gateway = folder.start_by(&["python3", "-c", HAND_OVER, &address]);
    gateway.platform().fetch(&Call::new());
}
