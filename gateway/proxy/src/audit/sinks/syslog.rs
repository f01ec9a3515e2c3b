//! Lines for a syslog server, as RFC 5424 has them.

use std::{
    io::{self, Write},
    net::{TcpStream, ToSocketAddrs, UdpSocket},
    os::unix::net::UnixDatagram,
    time::Duration,
};

use super::Sink;
use crate::{clock, settings::SinkAt};

/// Facility 13, log audit; severity 5, notice.
const PRIORITY: u8 = 13 * 8 + 5;

/// How long a server may take to be reached, and to take a line.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server, to which a connection is made when there is something to say.
pub(super) struct Syslog {
    at: SinkAt,
    host: String,
    connection: Option<Connection>,
}

enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

// === impl Syslog ===

impl Syslog {
    pub(super) fn new(at: &SinkAt) -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { at: at.clone(), host: header_word(&name, 255), connection: None }
    }
}

impl Sink for Syslog {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let message = message(&self.host, &clock::rfc3339(clock::now()), text);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::to(&self.at)?),
        };
        let sent = connection.send(&message);
        if sent.is_err() {
            // Of a stream that broke off within a message nobody knows where it stands.
            self.connection = None;
        }
        sent
    }
}

// === impl Connection ===

impl Connection {
    fn to(at: &SinkAt) -> io::Result<Self> {
        let nobody = || io::Error::new(io::ErrorKind::NotFound, "the name of the server has no address");
        match at {
            SinkAt::SyslogUdp(server) => {
                let address = server.to_socket_addrs()?.next().ok_or_else(nobody)?;
                let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(own)?;
                socket.connect(address)?;
                Ok(Self::Udp(socket))
            }
            SinkAt::SyslogTcp(server) => {
                let address = server.to_socket_addrs()?.next().ok_or_else(nobody)?;
                let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Tcp(stream))
            }
            SinkAt::SyslogUnix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Unix(socket))
            }
            SinkAt::Stdout => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Unix(socket) => socket.send(message).map(drop),
            // RFC 6587, 3.4.1: records of JSON could hold what ends a line to somebody, so lengths are told.
            Self::Tcp(stream) => {
                let mut framed = format!("{} ", message.len()).into_bytes();
                framed.extend_from_slice(message);
                stream.write_all(&framed)
            }
        }
    }
}

fn message(host: &str, time: &str, text: &[u8]) -> Vec<u8> {
    let head = format!("<{PRIORITY}>1 {time} {host} swaigate {} audit - ", std::process::id());
    [head.as_bytes(), text].concat()
}

/// What a field of the header may be: visible ASCII, not too long, and not nothing.
fn header_word(text: &str, most: usize) -> String {
    let word: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{Ipv4Addr, TcpListener},
    };

    use super::*;

    const LINE: &[u8] = b"{\"event\":\"request\",\"seq\":1}\n";

    fn is_the_line(message: &str) {
        let words: Vec<&str> = message.splitn(8, ' ').collect();
        assert_eq!((words[0], words[3], words[5], words[6]), ("<109>1", "swaigate", "audit", "-"), "{message}");
        assert!(clock::parse_rfc3339(words[1]).is_some() && !words[2].is_empty(), "{message}");
        assert_eq!(words[4], std::process::id().to_string());
        assert_eq!(words[7].as_bytes(), LINE.trim_ascii_end());
    }

    #[test]
    fn a_line_is_a_datagram_by_udp_and_at_a_local_socket() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut buffer = [0; 1024];
        let mut sink = Syslog::new(&SinkAt::SyslogUdp(server.local_addr().unwrap().to_string()));
        sink.write(LINE).unwrap();
        let length = server.recv(&mut buffer).unwrap();
        is_the_line(std::str::from_utf8(&buffer[..length]).unwrap());

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = Syslog::new(&SinkAt::SyslogUnix(path.clone()));
        assert!(sink.write(LINE).is_err(), "nobody is there yet");
        let server = UnixDatagram::bind(&path).unwrap();
        sink.write(LINE).unwrap();
        let length = server.recv(&mut buffer).unwrap();
        is_the_line(std::str::from_utf8(&buffer[..length]).unwrap());
    }

    #[test]
    fn a_line_has_its_length_before_it_by_tcp_and_a_lost_connection_is_made_again() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut sink = Syslog::new(&SinkAt::SyslogTcp(server.local_addr().unwrap().to_string()));
        for _ in 0..2 {
            sink.write(LINE).unwrap();
            let (mut stream, _) = server.accept().unwrap();
            let (mut text, mut byte) = (String::new(), [0]);
            while stream.read(&mut byte).unwrap() == 1 && byte != *b" " {
                text.push(char::from(byte[0]));
            }
            let mut message = vec![0; text.parse().unwrap()];
            stream.read_exact(&mut message).unwrap();
            is_the_line(std::str::from_utf8(&message).unwrap());
            drop(stream);
            // The first write after that may seem to succeed.
            while sink.write(LINE).is_ok() {}
        }
    }
}
