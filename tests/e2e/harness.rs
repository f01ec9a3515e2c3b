//! What the tests stand on: the real program, real agents, and a stand-in for everything between and around them.

pub(crate) mod agent;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod load;
pub(crate) mod pki;
pub(crate) mod platform;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod tap;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU16, AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long anything may take that happens at once on a quiet machine; a deadline, never a wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Ports below the range from which the system takes those of outgoing connections, so that none is lost between being
/// found free and being listened on.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < give_up, "it took too long: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// A port on loopback that is free, and that no other test of this process gets.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test processes begin at different places; one takes less than a thousand.
    let offset = u16::try_from(std::process::id() % 20).unwrap_or_default() * 1000;
    (0..PORTS.end - PORTS.start)
        .map(|_| PORTS.start + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a port is free")
}

/// How long a test goes on that may go on for longer: `SWAIGATE_TEST_SECONDS`, or a few seconds.
pub(crate) fn seconds() -> Duration {
    Duration::from_secs(number_in("SWAIGATE_TEST_SECONDS", 4))
}

#[allow(dead_code)]
/// How often a test does what it may do more often: `SWAIGATE_TEST_ROUNDS`, or a few times.
pub(crate) fn rounds() -> u64 {
    number_in("SWAIGATE_TEST_ROUNDS", 3)
}

fn number_in(variable: &str, default: u64) -> u64 {
    let number = std::env::var(variable).ok();
    number.map_or(default, |number| number.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// A number that no other test of this process gets.
pub(crate) fn serial() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A path below `tests/`.
pub(crate) fn tests_path(below: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests")).join(below)
}
