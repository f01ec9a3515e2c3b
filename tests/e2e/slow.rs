//! A thousand slow clients at once, by slowhttptest, beside one that is served as usual.

use std::{
    env,
    net::TcpStream,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::harness::{
    agent::Sdk,
    gateway::{GATEWAY_PASSWORD, GATEWAY_USER, Gateway, Policy},
    http::basic,
    process::{Process, guarded},
    raw::Raw,
    until,
};

const CONNECTIONS: u64 = 1000;

/// What the slowest of a hundred good requests may take on a quiet machine.
const BOUND: Duration = Duration::from_millis(50);

/// How the clients are slow: for heads, for bodies, and for reading.
const ATTACKS: [(&str, &str); 3] = [
    ("heads", "-H -i 1 -x 10"),
    ("bodies", "-B -i 1 -s 8192 -x 10"),
    ("reading", "-X -k 3 -w 10 -y 20 -n 1 -z 5"),
];

/// For each attack; a longer run is asked for by the environment.
fn seconds() -> u64 {
    env::var("SWAIGATE_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn attack(gateway: &Gateway, how: &str, folder: &Path) -> Process {
    let mut command = guarded("slowhttptest");
    let url = format!("{}/bank", gateway.origin());
    let rest = format!("-c {CONNECTIONS} -r {CONNECTIONS} -l {} -u {url}", seconds() + 3);
    command.args(how.split(' ')).args(rest.split(' '));
    // It has no option for more headers, so one comes behind a cookie: only who has credentials is listened to for long.
    command.arg("-j").arg(format!("a=b\r\nAuthorization: {}", basic(GATEWAY_USER, GATEWAY_PASSWORD)));
    Process::start(command, folder)
}

/// What the slowest of a hundred took, of requests that each have a connection of their own.
fn slowest_of_a_hundred(gateway: &Gateway, how_long: Duration) -> Duration {
    let authorization = basic(GATEWAY_USER, GATEWAY_PASSWORD);
    let request = format!("GET /bank HTTP/1.1\r\nHost: gateway\r\nAuthorization: {authorization}\r\n\r\n");
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < how_long {
        let asked = Instant::now();
        let mut raw = Raw::connect(gateway.listen());
        raw.write(&request);
        assert_eq!(raw.read().map(|answer| answer.status), Some(200));
        times.push(asked.elapsed());
        sleep(Duration::from_millis(2));
    }
    times.sort();
    times[times.len() * 99 / 100]
}

#[test]
fn a_thousand_slow_clients_slow_nobody_down() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (what, how) in ATTACKS {
        let gateway = Policy::of(Sdk::Rust.shared().address).start();
        let alone = slowest_of_a_hundred(&gateway, Duration::from_millis(500));
        let _attack = attack(&gateway, how, folder.path());
        until("they are all there", || (gateway.metric("swaigate_connections") >= CONNECTIONS * 9 / 10).then_some(()));
        let beside = slowest_of_a_hundred(&gateway, Duration::from_secs(seconds()));
        println!("{what}: {beside:?} beside {CONNECTIONS} slow clients, {alone:?} alone");
        // Whatever else runs on the machine is in both.
        assert!(beside < BOUND.max(3 * alone), "{what}: {beside:?}, and {alone:?} alone");
        drop(TcpStream::connect(gateway.folder.admin).expect("the operator is served too"));
    }
}
