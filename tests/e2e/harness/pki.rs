//! Certificates, and those who ask for them.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::{PATIENCE, http};

/// Whoever vouches for certificates.
pub(crate) struct Authority {
    folder: TempDir,
}

/// What came of a handshake.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// The certificate that was shown.
    pub(crate) certificate: CertificateDer<'static>,
    /// The protocol that was agreed upon.
    pub(crate) protocol: Option<String>,
    /// Whether it is TLS 1.3.
    pub(crate) is_13: bool,
}

/// How a client asks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asking<'a> {
    /// For which name; without one, for an address.
    pub(crate) name: Option<&'a str>,
    /// As the one with this certificate, and its key beside it.
    pub(crate) own: Option<&'a Path>,
    /// By TLS 1.2.
    pub(crate) is_old: bool,
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl is installed");
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}

/// A new key on the P-256 curve.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

// === impl Authority ===

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let request =
            ["req", "-x509", "-days", "2", "-subj", "/CN=an authority", "-keyout", "ca.key", "-out", "ca.crt"];
        let extensions =
            ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
        openssl(folder.path(), &[&request[..], &KEY, &extensions].concat());
        Self { folder }
    }

    /// Its own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Makes `NAME.crt` and `NAME.key` in a folder, for these names or addresses, like `DNS:a.example.com,IP:127.0.0.1`.
    pub(crate) fn issue(&self, folder: &Path, name: &str, names: &str) {
        self.issue_for(folder, name, names, "2");
    }

    /// The same, which ends so many days from now.
    pub(crate) fn issue_for(&self, folder: &Path, name: &str, names: &str, days: &str) {
        let here = self.folder.path();
        let [request, certificate, key] =
            ["csr", "crt", "key"].map(|end| folder.join(format!("{name}.{end}")).display().to_string());
        let subject = ["req", "-subj", "/CN=one who is known", "-keyout", &key, "-out", &request];
        let names = format!("subjectAltName={names}");
        let extensions = ["-addext", &names, "-addext", "basicConstraints=critical,CA:FALSE"];
        openssl(here, &[&subject[..], &KEY, &extensions].concat());
        let sign = ["x509", "-req", "-in", &request, "-CA", "ca.crt", "-CAkey", "ca.key", "-days", days];
        openssl(here, &[&sign[..], &["-copy_extensions", "copyall", "-out", &certificate]].concat());
        fs::remove_file(request).expect("it was made");
    }

    /// A client that believes this authority and no other.
    pub(crate) fn client(&self, own: Option<&Path>) -> ureq::Agent {
        let pem = fs::read(self.certificate()).expect("it was made");
        let roots = RootCerts::from(vec![Certificate::from_pem(&pem).expect("it is a certificate")].into_iter());
        let own = own.map(|path| {
            let [certificate, key] = ["crt", "key"].map(|end| fs::read(path.with_extension(end)).expect("it was made"));
            let certificate = Certificate::from_pem(&certificate).expect("it is a certificate");
            ClientCert::new_with_certs(&[certificate], PrivateKey::from_pem(&key).expect("it is a key"))
        });
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .client_cert(own)
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        http::client_with(tls)
    }

    /// A connection by TLS on which this protocol is agreed upon.
    pub(crate) fn connect(&self, address: SocketAddr, protocol: &str) -> StreamOwned<ClientConnection, TcpStream> {
        let mut socket = TcpStream::connect(address).expect("something listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
        let mut connection =
            ClientConnection::new(self.config(protocol), ServerName::from(address.ip())).expect("a client");
        connection.complete_io(&mut socket).expect("they agree");
        assert_eq!(connection.alpn_protocol(), Some(protocol.as_bytes()));
        StreamOwned::new(connection, socket)
    }

    /// How to speak TLS to those that this authority vouches for, and this protocol within.
    pub(crate) fn config(&self, protocol: &str) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.certificate()).expect("it is a certificate"))
            .expect("of authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("they are known");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }

    /// A handshake, and an answer to a request after it: only then has a server let a client in.
    pub(crate) fn greet(&self, address: SocketAddr, asking: Asking<'_>) -> std::io::Result<Greeting> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(self.certificate()).expect("it is a certificate");
        roots.add(certificate).expect("it is an authority");
        let versions: &[_] = if asking.is_old { &[&TLS12] } else { &[&TLS13, &TLS12] };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("they are known")
            .with_root_certificates(roots);
        let mut config = match asking.own {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let certificate = CertificateDer::from_pem_file(path.with_extension("crt")).expect("it is there");
                let key = PrivateKeyDer::from_pem_file(path.with_extension("key")).expect("it is there");
                builder.with_client_auth_cert(vec![certificate], key).expect("they belong together")
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = match asking.name {
            Some(name) => ServerName::try_from(name.to_owned()).expect("it is a name"),
            None => ServerName::from(address.ip()),
        };
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        stream.read_exact(&mut [0])?;
        let shown = stream.conn.peer_certificates().and_then(<[_]>::first).expect("it has shown one");
        Ok(Greeting {
            certificate: shown.clone().into_owned(),
            protocol: stream.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            is_13: stream.conn.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3),
        })
    }
}

/// What is in a file that [`Authority::issue`] made.
pub(crate) fn certificate(folder: &Path, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.join(format!("{name}.crt"))).expect("it was made")
}
