//! A thousand slow clients at once, by slowhttptest, beside one that is served as usual.

use std::{
    env,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

use crate::harness::{
    gateway::{GATEWAY_PASSWORD, GATEWAY_USER, Gateway, Policy},
    http::basic,
    process::{Process, guarded},
    raw::Raw,
    until,
};

const CONNECTIONS: u64 = 1000;

/// What the slowest of a hundred good requests may take on a quiet machine.
const BOUND: Duration = Duration::from_millis(50);

/// Something else may keep the machine busy just then; what the slow clients do happens each time.
const TRIES: usize = 3;

/// How the clients are slow: for heads, for bodies, and for reading.
const ATTACKS: [(&str, &str); 3] =
    [("heads", "-H -i 1 -x 10"), ("bodies", "-B -i 1 -s 8192 -x 10"), ("reading", "-X -k 1 -w 10 -y 20 -n 1 -z 5")];

/// An agent that is never slow itself: its answers leave in one piece.
fn agent() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16384\r\n\r\n{}", "x".repeat(16384));
    spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.expect("the gateway asks"), answer.clone());
            spawn(move || {
                // Requests without a body come in one piece.
                while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0)
                    && stream.write_all(answer.as_bytes()).is_ok()
                {}
            });
        }
    });
    address
}

/// How long each of them is measured: `SWAIGATE_TEST_SECONDS`. They begin anew each second, since the gateway ends them.
fn seconds() -> u64 {
    env::var("SWAIGATE_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn attack(gateway: &Gateway, how: &str, folder: &Path) -> Process {
    let mut command = guarded("slowhttptest");
    let url = format!("{}/bank/text", gateway.origin());
    let rest = format!("-c {CONNECTIONS} -r {CONNECTIONS} -l 10 -u {url}");
    command.args(how.split(' ')).args(rest.split(' '));
    // It has no option for more headers, so one comes behind a cookie: only who has credentials is listened to for long.
    command.arg("-j").arg(format!("a=b\r\nAuthorization: {}", basic(GATEWAY_USER, GATEWAY_PASSWORD)));
    Process::start(command, folder)
}

/// How long requests took that each have a connection of their own, one after another.
fn times(gateway: &Gateway, how_long: Duration) -> Vec<Duration> {
    let authorization = basic(GATEWAY_USER, GATEWAY_PASSWORD);
    let request = format!("GET /bank/text HTTP/1.1\r\nHost: gateway\r\nAuthorization: {authorization}\r\n\r\n");
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < how_long {
        let asked = Instant::now();
        let mut raw = Raw::connect(gateway.listen());
        raw.write(&request);
        assert_eq!(raw.read().map(|answer| answer.status), Some(200));
        times.push(asked.elapsed());
        sleep(Duration::from_millis(2));
    }
    times
}

/// What the slowest of a hundred took.
fn slowest(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

/// Whether a good client is served as usual beside slow ones, by turns without them and with them.
fn is_unharmed(gateway: &Gateway, (what, how): (&str, &str), folder: &Path) -> bool {
    let connections = || gateway.metric("swaigate_connections");
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..seconds() {
        alone.extend(times(gateway, Duration::from_millis(300)));
        let attack = attack(gateway, how, folder);
        until("they are all there", || (connections() >= CONNECTIONS * 9 / 10).then_some(()));
        beside.extend(times(gateway, Duration::from_secs(1)));
        drop(attack);
        until("they are all gone", || (connections() == 0).then_some(()));
    }
    let (count, alone, beside) = (beside.len(), slowest(alone), slowest(beside));
    println!("{what}: p99 of {count} is {beside:?} beside {CONNECTIONS} slow clients, {alone:?} alone");
    // Whatever else runs on the machine is in both.
    beside < BOUND.max(3 * alone)
}

#[test]
fn a_thousand_slow_clients_slow_nobody_down() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let gateway = Policy::of(agent()).and("expose: [{ path: /text }]").start();
    for attack in ATTACKS {
        let is_unharmed = (0..TRIES).any(|_| is_unharmed(&gateway, attack, folder.path()));
        assert!(is_unharmed, "not beside clients who are slow for {}", attack.0);
    }
    assert!(gateway.audit().iter().all(|record| record["status"] != 401), "all of them were listened to");
    assert!(!gateway.process.stderr().contains("ERROR"), "a client that is cut off is no error");
}
