//! A client of HTTP/2 that heeds what a server says of its end (RFC 9113, 6.8): after GOAWAY it asks for nothing more on
//! that connection, waits for what is under way there, and sends again what the server says it hasn't looked at.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::Mutex,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    PATIENCE,
    http::{Answer, Client, Request},
    pki::Authority,
};

/// How often a request is sent that a server doesn't look at.
const TRIES: usize = 5;

/// A client whose requests share a connection, also those of several threads. Its clones are the same one.
#[derive(Clone)]
pub(crate) struct Http2 {
    runtime: Arc<Runtime>,
    config: Arc<ClientConfig>,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    open: Mutex<Option<SendRequest<Bytes>>>,
    connections: AtomicUsize,
    told: AtomicUsize,
}

/// Why a request has no answer.
enum Failed {
    /// The server said that it ends the connection, and hasn't looked at this request.
    Unseen,
    Lost(String),
}

// === impl Http2 ===

impl Http2 {
    /// Of a server that this authority vouches for.
    pub(crate) fn new(authority: &Authority, address: SocketAddr) -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread can be started");
        Self { runtime: Arc::new(runtime), config: authority.config("h2"), address, shared: Arc::default() }
    }

    /// The same without a connection yet, and counted by itself.
    pub(crate) fn another(&self) -> Self {
        Self { shared: Arc::default(), ..self.clone() }
    }

    /// How many connections it made.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many requests found that the server had said that it ends the connection.
    pub(crate) fn told(&self) -> usize {
        self.shared.told.load(Ordering::Relaxed)
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, String> {
        for _ in 0..TRIES {
            match self.try_once(request).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Unseen) => self.shared.told.fetch_add(1, Ordering::Relaxed),
                Err(Failed::Lost(why)) => return Err(why),
            };
        }
        Err(format!("{TRIES} connections end before they have looked at it"))
    }

    async fn try_once(&self, request: &Request) -> Result<Answer, Failed> {
        let mut head = ureq::http::Request::builder().method(request.method).uri(&request.url);
        for (name, value) in &request.headers {
            head = head.header(name, value);
        }
        if !request.body.is_empty() {
            head = head.header("content-length", request.body.len());
        }
        let head = head.body(()).expect("it is well-formed");
        let mut connection = self.connection().await?;
        let sent = connection.send_request(head, request.body.is_empty()).map_err(failed);
        let (answer, mut body) = sent?;
        if !request.body.is_empty() {
            // If it can't be sent any more, the answer says why.
            let _ = body.send_data(Bytes::copy_from_slice(&request.body), true);
        }
        let (head, mut body) = answer.await.map_err(failed)?.into_parts();
        let mut bytes = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(|error| Failed::Lost(format!("an answer that had begun ends: {error}")))?;
            bytes.extend_from_slice(&piece);
            let _ = body.flow_control().release_capacity(piece.len());
        }
        let headers = head.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("it is ASCII").to_owned()));
        Ok(Answer { status: head.status.as_u16(), headers: headers.collect(), body: bytes })
    }

    /// The open one, unless it is known to be at its end.
    async fn connection(&self) -> Result<SendRequest<Bytes>, Failed> {
        let mut open = self.shared.open.lock().await;
        if let Some(connection) = open.take() {
            match connection.ready().await {
                Ok(connection) => return Ok(open.insert(connection).clone()),
                Err(error) => {
                    // One that was idle may be closed without a word.
                    if is_unseen(&error) {
                        self.shared.told.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
        let connection = self.connect().await.map_err(Failed::Lost)?;
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        Ok(open.insert(connection).clone())
    }

    async fn connect(&self) -> Result<SendRequest<Bytes>, String> {
        let told = |error: std::io::Error| format!("no connection: {error}");
        let socket = TcpStream::connect(self.address).await.map_err(told)?;
        socket.set_nodelay(true).map_err(told)?;
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, socket).await.map_err(told)?;
        let (client, driver) = h2::client::handshake(stream).await.map_err(|error| format!("no HTTP/2: {error}"))?;
        tokio::spawn(driver);
        client.ready().await.map_err(|error| format!("no HTTP/2: {error}"))
    }
}

impl Client for Http2 {
    fn send(&self, request: &Request) -> Result<Answer, String> {
        let exchange = async { timeout(2 * PATIENCE, self.exchange(request)).await };
        self.runtime.block_on(exchange).map_err(|_| format!("no answer in {:?}", 2 * PATIENCE))?
    }
}

fn failed(error: h2::Error) -> Failed {
    if is_unseen(&error) { Failed::Unseen } else { Failed::Lost(error.to_string()) }
}

/// Whether the server has said that it ends in order, and looks at no more than it has begun.
fn is_unseen(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}
