//! A client's bytes, as Pingora takes them.
//!
//! Pingora's own stream has no buffers unless its own listener made it (0.9.1, `set_buffer` is private), so this one stands in
//! its place: with a buffer, head and body of an answer leave in one packet.

use std::{
    fmt,
    io::IoSlice,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use async_trait::async_trait;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType, l4::socket, raw_connect::ProxyDigest,
};
use pingora_http::ResponseHeader;
use tokio::{
    io::{self, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream, ReadBuf},
    net::{TcpStream, UnixStream},
};

use crate::connection::{Connection, HeadTooLong};

/// In bytes: a head and a function call fit in, and ten thousand idle ones in memory.
const READ_BUFFER: usize = 16 * 1024;

/// In bytes: about a packet.
const WRITE_BUFFER: usize = 1460;

/// A connection that was accepted.
#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The same with buffers, and with what requests need to know of it.
pub(super) struct Transport {
    stream: BufStream<Wire>,
    connection: Arc<Connection>,
    about: Arc<ProxyDigest>,
    socket: Arc<SocketDigest>,
    since: SystemTime,
}

// === impl Transport ===

impl Transport {
    /// The bytes of a client, which is at this address as far as it has one or a proxy said so.
    ///
    /// # Errors
    /// If Pingora can't build an empty head, which carries what it has no other place for.
    pub(super) fn new(
        stream: BufStream<Wire>,
        client: Option<SocketAddr>,
        connection: &Arc<Connection>,
    ) -> pingora_core::Result<Self> {
        let carrier = Box::new(ResponseHeader::build_no_case(200, None)?);
        let about = ProxyDigest::new(carrier, Some(Box::new(Arc::clone(connection))));
        let socket = digest(stream.get_ref(), client);
        Ok(Self {
            stream,
            connection: Arc::clone(connection),
            about: Arc::new(about),
            socket: Arc::new(socket),
            since: SystemTime::now(),
        })
    }
}

/// With the buffers that a [`Transport`] has.
pub(super) fn buffered(wire: Wire) -> BufStream<Wire> {
    BufStream::with_capacity(READ_BUFFER, WRITE_BUFFER, wire)
}

fn digest(wire: &Wire, client: Option<SocketAddr>) -> SocketDigest {
    let digest = SocketDigest::from_raw_fd(wire.as_fd().as_raw_fd());
    // It is new, so that nobody has set the address yet.
    let _ = digest.peer_addr.set(client.map(socket::SocketAddr::Inet));
    digest
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = self.connection.has_read(buffer.filled().len() - before);
        Poll::Ready(read.map_err(|HeadTooLong| io::Error::other("a head is too long")))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Transport {
    async fn shutdown(&mut self) {
        // Who has left needn't be told that nothing more comes.
        let _ = AsyncWriteExt::shutdown(&mut self.stream).await;
    }
}

impl UniqueID for Transport {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().as_fd().as_raw_fd()
    }
}

impl GetSocketDigest for Transport {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

impl GetProxyDigest for Transport {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.about))
    }
}

impl GetTimingDigest for Transport {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest { established_ts: self.since, ..TimingDigest::default() })]
    }
}

impl Ssl for Transport {}

impl Peek for Transport {}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("socket", &self.socket).finish_non_exhaustive()
    }
}

// === impl Wire ===

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Wire::Tcp(stream) => stream.as_fd(),
            Wire::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Wire::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
