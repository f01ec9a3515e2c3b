//! Requests as bytes, for what no HTTP client would send.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use socket2::{Domain, Socket, Type};

use super::{
    PATIENCE,
    http::{Answer, Client, Request},
};

/// A connection.
pub(crate) struct Raw<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A client of a socket in the file system, which keeps its connection until it is told not to.
pub(crate) struct Local {
    path: PathBuf,
    kept: Mutex<Option<Raw<UnixStream>>>,
}

// === impl Raw ===

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("something listens"))
    }

    /// The same from another address of this machine.
    pub(crate) fn connect_from(from: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("it is an address of this machine");
        socket.connect(&address.into()).expect("something listens");
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
        stream.set_nodelay(true).expect("it is a TCP socket");
        Self { stream, unread: Vec::new() }
    }

    /// Whether a program of this machine has taken it from the queue of those that wait: from then on it has an inode.
    pub(crate) fn is_accepted(&self) -> bool {
        let port = |address: std::io::Result<SocketAddr>| format!(":{:04X}", address.expect("it is connected").port());
        let (own, other) = (port(self.stream.local_addr()), port(self.stream.peer_addr()));
        let table = std::fs::read_to_string("/proc/net/tcp").expect("it can be read");
        table.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (Some(local), Some(remote), Some(inode)) = (fields.next(), fields.next(), fields.nth(6)) else {
                return false;
            };
            local.ends_with(&other) && remote.ends_with(&own) && inode != "0"
        })
    }

    /// The line with which a request begins, and the rest of it.
    pub(crate) fn halves(request: &Request) -> (Vec<u8>, Vec<u8>) {
        let (_, target) = request.url.split_once("://").expect("it is a URL");
        let (host, path) = target.split_once('/').unwrap_or((target, ""));
        let line = format!("{} /{path} HTTP/1.1\r\n", request.method);
        let mut head = format!("Host: {host}\r\n");
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !request.body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
        }
        (line.into_bytes(), [head.as_bytes(), b"\r\n", &request.body].concat())
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

impl Raw<UnixStream> {
    /// By a socket in the file system.
    pub(crate) fn connect_local(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("something listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
        Self { stream, unread: Vec::new() }
    }
}

impl<S: Read + Write> Raw<S> {
    /// Writes what it can: the other side may have left.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Writes a request as an HTTP client would.
    pub(crate) fn request(&mut self, request: &Request) {
        let (head, rest) = Raw::halves(request);
        self.write([head, rest].concat());
    }

    /// An answer that says how long it is; `None` if the connection is closed without one.
    pub(crate) fn read(&mut self) -> Option<RawAnswer> {
        let head = self.read_until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4))?;
        let head = String::from_utf8(head).expect("a head is ASCII");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().expect("it is a number"))
        });
        let length: usize = length.unwrap_or(0);
        let body = self.read_until(|bytes| (bytes.len() >= length).then_some(length))?;
        let body = String::from_utf8(body).expect("the gateway answers in text");
        Some(RawAnswer { status: status.expect("a head begins with a status"), head, body })
    }

    /// The head of an answer; `None` if the connection is closed without one.
    pub(crate) fn read_head(&mut self) -> Option<String> {
        let head = self.read_until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4))?;
        Some(String::from_utf8(head).expect("a head is ASCII"))
    }

    /// The next chunk of an answer, empty at its end; `None` if the connection is closed before.
    pub(crate) fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.read_until(|bytes| find(bytes, b"\r\n").map(|at| at + 2))?;
        let size = String::from_utf8(line).expect("a size is ASCII");
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk begins with its size");
        let mut chunk = self.read_until(|bytes| (bytes.len() >= size + 2).then_some(size + 2))?;
        chunk.truncate(size);
        Some(chunk)
    }

    /// What comes until the connection is closed.
    pub(crate) fn read_to_the_end(&mut self) -> Vec<u8> {
        while self.read_some() > 0 {}
        std::mem::take(&mut self.unread)
    }

    /// Whether the other side closes the connection, in time and without another word.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && self.read_some() == 0
    }

    fn read_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = end(&self.unread) {
                return Some(self.unread.drain(..end).collect());
            }
            if self.read_some() == 0 {
                return None;
            }
        }
    }

    fn read_some(&mut self) -> usize {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(length) => {
                self.unread.extend_from_slice(&chunk[..length]);
                length
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {PATIENCE:?}, and the connection stays open")
            }
            // A connection that is reset is closed too.
            Err(_) => 0,
        }
    }
}

// === impl RawAnswer ===

impl RawAnswer {
    /// A header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

// === impl Local ===

impl Local {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, kept: Mutex::default() }
    }
}

impl Client for Local {
    fn send(&self, request: &Request) -> Result<Answer, String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = kept.take().unwrap_or_else(|| Raw::connect_local(&self.path));
        connection.request(request);
        let answer = connection.read().ok_or("the connection is closed without an answer")?;
        if answer.header("connection").is_none_or(|word| !word.eq_ignore_ascii_case("close")) {
            *kept = Some(connection);
        }
        Ok(Answer { status: answer.status, headers: Vec::new(), body: answer.body.into_bytes() })
    }
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
