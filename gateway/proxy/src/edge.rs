//! Where connections come in: an accept loop in the place of Pingora's, which bounds neither connections nor the time of a
//! handshake or of a whole head, and takes no socket but those it has bound.
//!
//! ```text
//! accept → permit → PROXY protocol → handshake (TLS) → requests, each head in time
//! ```

mod accept;
mod permits;
mod proxied;
mod pulse;
mod sockets;
mod transport;

use std::{
    fmt,
    future::Future,
    mem,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::{
    apps::{HttpServerOptions, ServerApp},
    listeners::tls::Acceptor,
    protocols::{ALPN, Stream, http::v2::server::default_h2_options},
    server::{ListenFds, ShutdownWatch},
    services::Service,
};
use pingora_proxy::HttpProxy;
use rustls::ServerConfig;
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{Instant, Sleep, sleep, timeout},
};

use self::{
    accept::{Asked, Client, Listener},
    permits::{Full, Permit, Permits},
    transport::{Transport, Wire},
};
pub use self::{
    pulse::Pulse,
    sockets::{Inherited, Socket},
};
use crate::{
    connection::{Connection, Patience},
    gate::Gate,
    metrics::{Metrics, TurnedAway},
    settings::{Access, Peers},
};

/// How often the log says that connections are turned away; the metrics count each.
const WARNING: Duration = Duration::from_secs(10);

/// How many bytes may be read besides a head before it is looked at: some of a body comes in the same packets.
const BEHIND_HEAD: usize = 64 * 1024;

/// A socket, and what is asked of whoever comes in by it.
pub struct Door {
    /// Where they come.
    pub socket: Socket,
    /// How TLS is spoken there; none: not at all. Each connection takes what is stored when it comes.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// Which clients may come in.
    pub access: Access,
    /// Which proxies say for whom they come, by the PROXY protocol. Then nobody else may come in; none: nobody says it.
    pub proxies: Option<Peers>,
}

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many may be open.
    pub max: usize,
    /// How many of one address may be.
    pub max_per_address: usize,
    /// How long the handshakes of a connection may take, and how long the head of each request.
    pub header_timeout: Duration,
    /// How long one may be idle between requests.
    pub keepalive: Duration,
    /// How many bytes a head may have. What is a little larger is refused with an answer, by whoever reads it.
    pub max_head: usize,
}

/// The doors of a server.
pub struct Edge<A> {
    doors: Vec<Door>,
    hall: Arc<Hall<A>>,
    closing: Arc<watch::Sender<Doors>>,
    pulse: Pulse,
    name: &'static str,
    threads: Option<usize>,
}

/// Closes the doors of an [`Edge`], also before it serves.
#[derive(Clone)]
pub struct Closer(Arc<watch::Sender<Doors>>);

/// Whether connections come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doors {
    Open,
    /// Not now: they wait.
    Shut,
    /// Not any more.
    Closed,
}

/// How many requests a client may have under way on one connection of HTTP/2.
const STREAMS: u32 = 64;

/// Bounds what one connection of HTTP/2 may take: how much at once, and how often it may break off what it has begun.
pub fn limit_streams(proxy: &mut HttpProxy<Gate>, limits: Limits) {
    let mut streams = default_h2_options();
    streams
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(10)
        .max_local_error_reset_streams(Some(100));
    proxy.h2_options = Some(streams);
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(limits.keepalive);
    proxy.server_options = Some(options);
}

/// What all doors of a server lead to.
struct Hall<A> {
    app: Arc<A>,
    limits: Limits,
    permits: Arc<Permits>,
    metrics: Arc<Metrics>,
    /// Whether connections are to end, each after its request.
    draining: watch::Receiver<bool>,
    warned: Mutex<Option<Instant>>,
}

// === impl Edge ===

impl<A: ServerApp + Send + Sync + 'static> Edge<A> {
    /// A server behind these doors. Whoever comes by HTTP/2 is told when it drains; with HTTP/1.1 the application says so in
    /// an answer.
    pub fn new(
        app: A,
        doors: Vec<Door>,
        limits: Limits,
        metrics: Arc<Metrics>,
        draining: watch::Receiver<bool>,
    ) -> Self {
        metrics.connections.expect(limits.max);
        let permits = Permits::new(limits.max, limits.max_per_address);
        let hall = Hall { app: Arc::new(app), limits, permits, metrics, draining, warned: Mutex::default() };
        let hall = Arc::new(hall);
        let closing = Arc::new(watch::Sender::new(Doors::Open));
        Self { doors, hall, closing, pulse: Pulse::default(), name: "gateway", threads: None }
    }

    /// The same under another name, on so many threads and not on as many as the settings say.
    #[must_use]
    pub fn aside(self, name: &'static str, threads: usize) -> Self {
        Self { name, threads: Some(threads), ..self }
    }

    /// What makes it accept no more, while open connections go on.
    pub fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.closing))
    }

    /// What tells whether it does anything.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Edge<A> {
    async fn start_service(&mut self, _inherited: Option<ListenFds>, mut shutdown: ShutdownWatch, _per_socket: usize) {
        self.pulse.begins_in(Handle::current());
        let mut open = JoinSet::new();
        for door in mem::take(&mut self.doors) {
            match Listener::new(door) {
                Ok(listener) => {
                    let (hall, closing) = (Arc::clone(&self.hall), self.closing.subscribe());
                    open.spawn(accept::accept(listener, hall, closing, shutdown.clone()));
                }
                Err(error) => tracing::error!(%error, "a socket can't be listened on"),
            }
        }
        while open.join_next().await.is_some() {}
        // Doors may be closed long before the process ends; until then, connections are kept for their next request.
        let _ = shutdown.wait_for(|is_over| *is_over).await;
        self.hall.app.cleanup().await;
    }

    fn name(&self) -> &str {
        self.name
    }

    fn threads(&self) -> Option<usize> {
        self.threads
    }
}

// === impl Closer ===

impl Closer {
    /// Accepts no more. Whoever waits to be accepted is left to other processes that have the same socket.
    pub fn close(&self) {
        self.0.send_replace(Doors::Closed);
    }

    /// Accepts nobody for now: they wait until the doors are open again, or another process accepts them.
    pub fn shut(&self) {
        self.0.send_replace(Doors::Shut);
    }

    /// Accepts again, after [`Closer::shut`].
    pub fn open(&self) {
        self.0.send_if_modified(|doors| {
            let is_shut = *doors == Doors::Shut;
            if is_shut {
                *doors = Doors::Open;
            }
            is_shut
        });
    }
}

// === impl Hall ===

impl<A: ServerApp + Send + Sync + 'static> Hall<A> {
    /// Lets a connection in; none, if it has to be closed. Whoever comes by a proxy is not known yet.
    fn admit(&self, door: &Asked, peer: Client) -> Option<Permit> {
        let permit = self.permits.take().map_err(|Full| TurnedAway::Full);
        let permit = permit.and_then(|mut permit| match &door.proxies {
            Some(proxies) if !proxies.contains(address(peer)) => Err(TurnedAway::Untrusted),
            Some(_) => Ok(permit),
            None => door.welcome(peer, &mut permit).map(|()| permit),
        });
        permit.map_err(|cause| self.turn_away(cause, peer)).ok()
    }

    /// Serves a connection to its end.
    async fn serve(
        self: Arc<Self>,
        door: Arc<Asked>,
        wire: Wire,
        peer: Client,
        mut permit: Permit,
        over: ShutdownWatch,
    ) {
        let _open = self.metrics.connections.open();
        let connection = Connection::new();
        let mut client = peer;
        let entering = enter(&door, wire, &mut client, &mut permit, &connection);
        let stream = match timeout(self.limits.header_timeout, entering).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(cause)) => return self.turn_away(cause, client),
            Err(_) => return self.turn_away(TurnedAway::Slow, client),
        };
        let Limits { header_timeout: head, keepalive: idle, max_head, .. } = self.limits;
        let has_streams = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
        connection.opens(Patience { head, idle, bytes: max_head + BEHIND_HEAD, has_streams });
        self.requests(stream, &connection, &over).await;
    }

    async fn requests(&self, stream: Stream, connection: &Connection, over: &ShutdownWatch) {
        let (tell, told) = watch::channel(false);
        let served = async {
            let mut stream = Some(stream);
            while let Some(next) = stream {
                stream = self.app.process_new(next, &told).await;
            }
        };
        tokio::select! {
            // The order matters: whatever happens to the connection is known before its deadline is looked at.
            biased;
            () = served => {}
            () = TooLate::new(connection, self.limits.header_timeout) => {
                if connection.is_unheard() {
                    self.turn_away(TurnedAway::Slow, None);
                }
            }
            () = self.tell_of_the_end(&tell, connection, over.clone()) => {}
        }
    }

    /// Says that the connection is to end when the gateway drains, so that HTTP/2 says it to the client (GOAWAY) while what
    /// is under way goes on. A connection that has just come has its first request before: a client that was told at once
    /// would come again, and be told again, until another process accepts.
    async fn tell_of_the_end(&self, tell: &watch::Sender<bool>, connection: &Connection, mut over: ShutdownWatch) {
        let mut draining = self.draining.clone();
        loop {
            tokio::select! {
                _ = over.wait_for(|is_over| *is_over) => break,
                Ok(_) = draining.wait_for(|is_draining| *is_draining) => {}
            }
            connection.is_heard().await;
            if *draining.borrow() {
                break;
            }
        }
        tell.send_replace(true);
        std::future::pending().await
    }

    /// Counts it, and says so now and then: thousands may be turned away in a second.
    fn turn_away(&self, cause: TurnedAway, client: Client) {
        self.metrics.connections.turned_away(cause);
        let key = match cause {
            TurnedAway::Full => "connections.max",
            TurnedAway::AddressFull => "connections.max_per_address",
            TurnedAway::Denied
            | TurnedAway::Untrusted
            | TurnedAway::ProxyHeader
            | TurnedAway::Handshake
            | TurnedAway::Slow => return,
        };
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|warned| warned.elapsed() >= WARNING) {
            *warned = Some(Instant::now());
            let client = client.map(tracing::field::display);
            tracing::warn!(client, "connections are refused: as many are open as `{key}` allows");
        }
    }
}

/// What comes before requests. Who the client is may be learned on the way.
async fn enter(
    door: &Asked,
    wire: Wire,
    client: &mut Client,
    permit: &mut Permit,
    connection: &Arc<Connection>,
) -> Result<Stream, TurnedAway> {
    let failed = |cause, error: &dyn fmt::Display| {
        tracing::debug!(%error, "a connection ends before its first request");
        cause
    };
    let mut wire = transport::buffered(wire);
    if door.proxies.is_some() {
        let told = proxied::read(&mut wire).await.map_err(|error| failed(TurnedAway::ProxyHeader, &error))?;
        *client = told.or(*client);
        door.welcome(*client, permit)?;
    }
    let transport = Transport::new(wire, *client, connection);
    let transport = transport.map_err(|error| failed(TurnedAway::Handshake, &error))?;
    let Some(tls) = &door.tls else { return Ok(Box::new(transport)) };
    let acceptor = Acceptor::from_server_config(tls.load_full());
    match acceptor.tls_handshake(transport).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(failed(TurnedAway::Handshake, &error)),
    }
}

// === impl Asked ===

impl Asked {
    /// Counts a client that is known now; it may be one that mustn't come in.
    fn welcome(&self, client: Client, permit: &mut Permit) -> Result<(), TurnedAway> {
        if !self.access.permits(address(client)) {
            return Err(TurnedAway::Denied);
        }
        address(client).map_or(Ok(()), |address| permit.count_for(address)).map_err(|Full| TurnedAway::AddressFull)
    }
}

fn address(client: Client) -> Option<IpAddr> {
    client.map(|client| client.ip())
}

/// Ends when a connection's deadline has passed. It has to be polled whenever something may have happened to the
/// connection, which is so beside the future that serves it.
struct TooLate<'c> {
    connection: &'c Connection,
    sleep: Pin<Box<Sleep>>,
}

// === impl TooLate ===

impl<'c> TooLate<'c> {
    fn new(connection: &'c Connection, at_first: Duration) -> Self {
        Self { connection, sleep: Box::pin(sleep(at_first)) }
    }
}

impl Future for TooLate<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.connection.deadline().map(Instant::from_std) else {
            return Poll::Pending;
        };
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests;
