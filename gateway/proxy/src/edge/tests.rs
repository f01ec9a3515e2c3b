use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::settings::Place;

const QUICK: Duration = Duration::from_millis(300);

/// Says a word for each byte it is sent.
#[derive(Default)]
struct Echo(AtomicBool);

#[async_trait]
impl ServerApp for Echo {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, _shutdown: &ShutdownWatch) -> Option<Stream> {
        let connection = stream.get_proxy_digest()?;
        let connection = connection.user_data.as_ref()?.downcast_ref::<Arc<Connection>>()?;
        while stream.read_u8().await.is_ok() {
            connection.begins_request();
            stream.write_all(b"hello").await.ok()?;
            stream.flush().await.ok()?;
        }
        None
    }

    async fn cleanup(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A server at one door, on a thread of its own.
struct World {
    address: SocketAddr,
    app: Arc<Echo>,
    closer: Closer,
    metrics: Arc<Metrics>,
    over: watch::Sender<bool>,
}

fn world(tls: Option<Arc<ArcSwap<ServerConfig>>>) -> World {
    world_of(|socket| Door { socket, tls, access: Access::default(), proxies: None })
}

fn world_of(door: impl FnOnce(Socket) -> Door) -> World {
    let socket = Socket::open(&Place::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), &mut Inherited::default()).unwrap();
    let Socket::Tcp(listener) = &socket else { unreachable!() };
    let address = listener.local_addr().unwrap();
    let limits = Limits { max: 10, max_per_address: 10, header_timeout: QUICK, keepalive: QUICK, max_head: 1000 };
    let metrics = Arc::new(Metrics::new().unwrap());
    let mut edge =
        Edge::new(Echo::default(), vec![door(socket)], limits, Arc::clone(&metrics), watch::channel(false).1);
    let (closer, app) = (edge.closer(), Arc::clone(&edge.hall.app));
    let (over, shutdown) = watch::channel(false);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(edge.start_service(None, shutdown, 1));
    });
    World { address, app, closer, metrics, over }
}

impl World {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn wait_until_refused(&self, cause: &str) {
        let line = format!("swaigate_connections_refused_total{{cause=\"{cause}\"}} 1\n");
        until(cause, || String::from_utf8(self.metrics.text(Default::default(), 0).unwrap()).unwrap().contains(&line));
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < give_up, "it took too long: {what}");
        thread::yield_now();
    }
}

fn greeted(stream: &mut (impl Read + Write)) -> bool {
    let mut word = [0; 5];
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut word).is_ok() && &word == b"hello"
}

fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_))
}

/// A certificate for this name, signed by nobody else, with its configuration for a server.
fn certificate(folder: &Path, name: &str) -> (CertificateDer<'static>, Arc<ServerConfig>) {
    let arguments = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} -keyout {name}.key \
         -out {name}.pem -addext subjectAltName=DNS:{name} -addext basicConstraints=critical,CA:FALSE"
    );
    let made = Command::new("openssl").args(arguments.split_whitespace()).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key);
    (certificate, Arc::new(config.unwrap()))
}

fn greeted_by_tls(stream: TcpStream, name: &'static str, trusted: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
    greeted(&mut StreamOwned::new(client, stream))
}

#[test]
fn each_connection_takes_the_certificate_of_its_time() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (old, old_config) = certificate(folder.path(), "old.example.com");
    let (new, new_config) = certificate(folder.path(), "new.example.com");
    let configs = Arc::new(ArcSwap::new(old_config));
    let world = world(Some(Arc::clone(&configs)));
    assert!(greeted_by_tls(world.connect(), "old.example.com", &old));
    configs.store(new_config);
    assert!(greeted_by_tls(world.connect(), "new.example.com", &new));
}

#[test]
fn a_handshake_has_a_deadline() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (_, config) = certificate(folder.path(), "a.example.com");
    let world = world(Some(Arc::new(ArcSwap::new(config))));
    let mut silent = world.connect();
    assert!(is_closed(&mut silent));
    world.wait_until_refused("slow");
    let mut confused = world.connect();
    confused.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    while !is_closed(&mut confused) {}
    world.wait_until_refused("handshake");
}

#[test]
fn a_proxys_word_comes_before_the_handshake() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (trusted, config) = certificate(folder.path(), "a.example.com");
    let tls = Some(Arc::new(ArcSwap::new(config)));
    let access = Access { deny: Peers::of(&["192.0.2.1"]), ..Access::default() };
    let world = world_of(|socket| Door { socket, tls, access, proxies: Some(Peers::of(&["127.0.0.1"])) });
    for (client, is_served) in [("192.0.2.1", false), ("192.0.2.2", true)] {
        let mut stream = world.connect();
        stream.write_all(format!("PROXY TCP4 {client} 127.0.0.1 4711 443\r\n").as_bytes()).unwrap();
        assert_eq!(greeted_by_tls(stream, "a.example.com", &trusted), is_served, "{client}");
    }
    world.wait_until_refused("denied");
    assert!(!greeted_by_tls(world.connect(), "a.example.com", &trusted));
    world.wait_until_refused("proxy_header");
}

#[test]
fn a_closed_door_leaves_open_connections_alone() {
    let world = world(None);
    let mut open = world.connect();
    assert!(greeted(&mut open));
    world.closer.close();
    until("the door is closed", || TcpStream::connect(world.address).is_err());
    assert!(greeted(&mut open) && !world.app.0.load(Ordering::SeqCst));
    world.over.send_replace(true);
    until("it is cleaned up", || world.app.0.load(Ordering::SeqCst));
}
