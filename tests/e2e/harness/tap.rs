//! A relay between gateway and agent that keeps every byte the gateway sends: proof of what reached the agent, or that
//! nothing did.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use super::{free_address, raw::find, until};

/// A relay to one agent.
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

/// A request as the agent gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names as they were sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

struct Shared {
    agent: SocketAddr,
    /// What was sent on each connection.
    sent: Mutex<Vec<Vec<u8>>>,
    /// How many connections are broken off as soon as something comes.
    to_break: AtomicUsize,
    open: AtomicUsize,
    over: AtomicBool,
}

// === impl Tap ===

impl Tap {
    pub(crate) fn on(agent: SocketAddr) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).expect("the port is free");
        let shared = Arc::new(Shared {
            agent,
            sent: Mutex::default(),
            to_break: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let relay = Arc::clone(&shared);
        thread::spawn(move || relay.accept(&listener));
        Self { address, shared }
    }

    /// Breaks off the next connections on which something comes, before the agent sees any of it.
    pub(crate) fn break_next(&self, connections: usize) {
        self.shared.to_break.store(connections, Ordering::SeqCst);
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.sent().len()
    }

    /// Whether any connection is open.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.open.load(Ordering::SeqCst) > 0
    }

    /// Everything that was sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.shared.sent().concat()
    }

    /// All whole requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.sent().iter().flat_map(|bytes| requests(bytes)).collect()
    }

    /// The only request, once it is there.
    pub(crate) fn only(&self) -> Seen {
        let mut seen = until("the agent gets a request", || Some(self.seen()).filter(|seen| !seen.is_empty()));
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// Checks that what is done makes the gateway send nothing.
    pub(crate) fn stays_silent<T>(&self, what: &str, done: impl FnOnce() -> T) -> T {
        let before = self.bytes().len();
        let outcome = done();
        assert_eq!(self.bytes().len(), before, "the agent got something: {what}");
        outcome
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

// === impl Shared ===

impl Shared {
    fn sent(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.sent.lock().expect("nobody panics with it")
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            let connection = {
                let mut sent = self.sent();
                sent.push(Vec::new());
                sent.len() - 1
            };
            let relay = Arc::clone(&self);
            thread::spawn(move || relay.carry(client, connection));
        }
    }

    fn carry(&self, mut client: TcpStream, connection: usize) {
        self.open.fetch_add(1, Ordering::SeqCst);
        let mut agent = None;
        let mut chunk = [0; 64 * 1024];
        while let Ok(length @ 1..) = client.read(&mut chunk) {
            let taken = self.to_break.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if taken.is_ok() {
                // Closed with bytes unread, the connection is reset.
                break;
            }
            self.sent()[connection].extend_from_slice(&chunk[..length]);
            let agent = agent.get_or_insert_with(|| self.connect(&client));
            if agent.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        if let Some(agent) = agent {
            let _ = agent.shutdown(Shutdown::Both);
        }
        let _ = client.shutdown(Shutdown::Both);
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// To the agent, whose answers go straight back.
    fn connect(&self, client: &TcpStream) -> TcpStream {
        let agent = TcpStream::connect(self.agent).expect("the agent listens");
        let (mut from, mut to) = (agent.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        agent
    }
}

/// Takes apart what was sent on a connection. The gateway always says how long a body is.
fn requests(mut bytes: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some(end) = find(bytes, b"\r\n\r\n") {
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is ASCII");
        let mut lines = head.split("\r\n");
        let mut line = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, target) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.map_or(0, |(_, value)| value.parse().expect("it is a number"));
        let Some(body) = bytes.get(end + 4..end + 4 + length) else { break };
        all.push(Seen { method, target, headers, body: body.to_vec() });
        bytes = &bytes[end + 4 + length..];
    }
    all
}

// === impl Seen ===

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
