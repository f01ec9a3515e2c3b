//! A server whose mood a test decides: of an agent with a document and nothing else.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::harness::free_address;

const DOCUMENT: &str = r#"{"version":"1.0.0","sections":{"main":[{"answer":{}},{"hangup":{}}]}}"#;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// It gets the document.
    Well,
    /// It gets this status.
    Status(u16),
    /// It is read, and the connection closed.
    Cut,
    /// It is read, and nothing is said until the client leaves.
    Silent,
}

/// A running server.
pub(super) struct Stub {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    mood: Mutex<Mood>,
    /// The heads of all requests.
    seen: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

// === impl Stub ===

impl Stub {
    pub(super) fn start(mood: Mood) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).expect("the port is free");
        let (mood, seen) = (Mutex::new(mood), Mutex::default());
        let shared = Arc::new(Shared { mood, seen, is_over: AtomicBool::new(false) });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if server.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let server = Arc::clone(&server);
                thread::spawn(move || server.serve(client));
            }
        });
        Self { address, shared }
    }

    /// From the next request on.
    pub(super) fn becomes(&self, mood: Mood) {
        *self.shared.mood.lock().expect("nobody panics with it") = mood;
    }

    /// The heads of the requests to a path.
    pub(super) fn seen(&self, path: &str) -> Vec<String> {
        let seen = self.shared.seen.lock().expect("nobody panics with it");
        let is_to = |head: &&String| head.split(' ').nth(1) == Some(path);
        seen.iter().filter(is_to).cloned().collect()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, client: TcpStream) {
        let mut reader = BufReader::new(client);
        while let Some(head) = request(&mut reader) {
            let mood = *self.mood.lock().expect("nobody panics with it");
            self.seen.lock().expect("nobody panics with it").push(head);
            let (status, body) = match mood {
                Mood::Well => (200, DOCUMENT),
                Mood::Status(status) => (status, "{}"),
                Mood::Cut => return,
                Mood::Silent => {
                    let _ = reader.read(&mut [0]);
                    return;
                }
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Reads a request and returns its head; `None` behind the last one.
fn request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(head)
}
