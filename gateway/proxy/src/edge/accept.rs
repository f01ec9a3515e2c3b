//! Accepting: for as long as a door is open, whatever the system says.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use pingora_core::{apps::ServerApp, server::ShutdownWatch};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    time::sleep,
};

use super::{Door, Doors, Hall, Socket, transport::Wire};
use crate::settings::{Access, Peers};

/// How long nothing is accepted after the system couldn't give one, at first; doubled each time.
const PAUSE: Duration = Duration::from_millis(5);

/// And at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where a connection comes from; nowhere in particular, if by a socket in the file system.
pub(super) type Client = Option<SocketAddr>;

/// A door that is listened at.
pub(super) struct Listener {
    socket: Accepting,
    asked: Arc<Asked>,
}

/// What is asked at a door.
pub(super) struct Asked {
    pub(super) tls: Option<Arc<ArcSwap<ServerConfig>>>,
    pub(super) access: Access,
    pub(super) proxies: Option<Peers>,
}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

// === impl Listener ===

impl Listener {
    /// In a runtime.
    ///
    /// # Errors
    /// If the runtime can't wait for the socket.
    pub(super) fn new(door: Door) -> io::Result<Self> {
        let Door { socket, tls, access, proxies } = door;
        let socket = match socket {
            Socket::Tcp(socket) => Accepting::Tcp(TcpListener::from_std(socket)?),
            Socket::Unix(socket) => Accepting::Unix(UnixListener::from_std(socket)?),
        };
        Ok(Self { socket, asked: Arc::new(Asked { tls, access, proxies }) })
    }
}

/// Accepts until the doors are closed or the process ends. Connections go on without it.
pub(super) async fn accept<A: ServerApp + Send + Sync + 'static>(
    listener: Listener,
    hall: Arc<Hall<A>>,
    mut doors: watch::Receiver<Doors>,
    mut shutdown: ShutdownWatch,
) {
    let Listener { socket, asked } = listener;
    let mut pause = PAUSE;
    let serving = shutdown.clone();
    loop {
        let now = *doors.borrow_and_update();
        if now == Doors::Closed {
            return;
        }
        let accepted = tokio::select! {
            biased;
            _ = doors.changed() => continue,
            _ = shutdown.wait_for(|is_over| *is_over) => return,
            accepted = socket.accept(), if now == Doors::Open => accepted,
        };
        match accepted {
            Ok((wire, peer)) => {
                pause = PAUSE;
                if let Some(permit) = hall.admit(&asked, peer) {
                    tokio::spawn(Arc::clone(&hall).serve(Arc::clone(&asked), wire, peer, permit, serving.clone()));
                }
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                // Asked again at once, it would say the same: descriptors or memory have to become free first.
                if pause == PAUSE {
                    tracing::error!(%error, "no connection can be accepted; it is tried again");
                }
                sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether it is about one connection that ended while it waited.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted)
}

// === impl Accepting ===

impl Accepting {
    async fn accept(&self) -> io::Result<(Wire, Client)> {
        match self {
            Accepting::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are written whole; the last part of one needn't wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                Ok((Wire::Tcp(stream), Some(SocketAddr::new(peer.ip().to_canonical(), peer.port()))))
            }
            Accepting::Unix(listener) => listener.accept().await.map(|(stream, _)| (Wire::Unix(stream), None)),
        }
    }
}
