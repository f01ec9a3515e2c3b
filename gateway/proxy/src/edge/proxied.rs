//! The PROXY protocol, versions 1 and 2: the first bytes of a connection, in which a proxy says for whom it comes.

use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::{self, AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::accept::Client;

/// How long a header of version 1 may be, in bytes, with its line end.
const MAX_TEXT: usize = 107;

/// How many bytes of one of version 2 come before its addresses.
const FIXED: usize = 16;

/// How long one of version 2 may be: proxies add certificates' names and other things that nobody here looks at.
const MAX_BINARY: usize = 4096;

/// Takes the header off a connection. No address comes of it if the proxy speaks for itself, as when it asks for health, or
/// doesn't know.
///
/// # Errors
/// If what comes is no such header, or a longer one than there is.
pub(super) async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Client> {
    // The shortest header of version 1 is longer than this.
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        return binary(stream, header).await;
    }
    let begins = header.starts_with(v1::PROTOCOL_PREFIX.as_bytes());
    if begins { text(stream, header).await } else { Err(io::Error::other("it doesn't begin with a PROXY header")) }
}

async fn text(stream: &mut (impl AsyncBufRead + Unpin), mut header: Vec<u8>) -> io::Result<Client> {
    let rest = (MAX_TEXT - header.len()) as u64;
    stream.take(rest).read_until(b'\n', &mut header).await?;
    let parsed = v1::Header::try_from(header.as_slice()).map_err(io::Error::other)?;
    Ok(match parsed.addresses {
        v1::Addresses::Tcp4(way) => Some(client(way.source_address, way.source_port)),
        v1::Addresses::Tcp6(way) => Some(client(way.source_address, way.source_port)),
        v1::Addresses::Unknown => None,
    })
}

async fn binary(stream: &mut (impl AsyncBufRead + Unpin), mut header: Vec<u8>) -> io::Result<Client> {
    header.resize(FIXED, 0);
    stream.read_exact(&mut header[v2::PROTOCOL_PREFIX.len()..]).await?;
    let whole = FIXED + usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
    if whole > MAX_BINARY {
        return Err(io::Error::other("its PROXY header is too long"));
    }
    header.resize(whole, 0);
    stream.read_exact(&mut header[FIXED..]).await?;
    let parsed = v2::Header::try_from(header.as_slice()).map_err(io::Error::other)?;
    Ok(match (parsed.command, parsed.protocol, parsed.addresses) {
        (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv4(way)) => {
            Some(client(way.source_address, way.source_port))
        }
        (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv6(way)) => {
            Some(client(way.source_address, way.source_port))
        }
        _ => None,
    })
}

fn client(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into().to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is said to come, and what is left for the next reader.
    fn told(bytes: &[u8]) -> Option<(Client, Vec<u8>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut stream = io::BufReader::with_capacity(7, bytes);
            let client = read(&mut stream).await.ok()?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            Some((client, rest))
        })
    }

    fn client_of(bytes: &[u8]) -> Option<Client> {
        let (client, rest) = told(&[bytes, b"GET /"].concat())?;
        assert_eq!(rest, b"GET /", "{bytes:?}");
        Some(client)
    }

    fn version_2(command: u8, family: u8, length: u16, rest: &[u8]) -> Vec<u8> {
        [v2::PROTOCOL_PREFIX, &[command, family], &length.to_be_bytes(), rest].concat()
    }

    #[test]
    fn a_line_of_version_1_names_the_client() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_TEXT - 16));
        for (line, client) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n", Some("192.0.2.1:4711")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", Some("[2001:db8::1]:4711")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 4711 443\r\n", Some("192.0.2.1:4711")),
            ("PROXY UNKNOWN\r\n", None),
            (&longest, None),
        ] {
            assert_eq!(client_of(line.as_bytes()), Some(client.map(|client| client.parse().unwrap())), "{line}");
        }
    }

    #[test]
    fn addresses_of_version_2_name_the_client() {
        let ipv4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];
        let with_more = [ipv4.as_slice(), &[0x04, 0, 3, 1, 2, 3]].concat();
        let mut ipv6 = [0; 36];
        (ipv6[0], ipv6[1], ipv6[15], ipv6[33]) = (0x20, 0x01, 1, 80);
        for (header, client) in [
            (version_2(0x21, 0x11, 12, &ipv4), Some("192.0.2.1:4711")),
            (version_2(0x21, 0x11, 18, &with_more), Some("192.0.2.1:4711")),
            (version_2(0x21, 0x21, 36, &ipv6), Some("[2001::1]:80")),
            (version_2(0x20, 0x11, 12, &ipv4), None),
            (version_2(0x20, 0, 0, &[]), None),
            (version_2(0x21, 0x31, 216, &[0; 216]), None),
        ] {
            assert_eq!(client_of(&header), Some(client.map(|client| client.parse().unwrap())), "{header:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let too_long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_TEXT - 15));
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\n".to_vec(),
            b"PROXY TCP4 192.0.2.256 198.51.100.1 4711 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 44".to_vec(),
            b"PROXY UDP4 192.0.2.1 198.51.100.1 4711 443\r\n".to_vec(),
            b"proxy UNKNOWN\r\n".to_vec(),
            too_long.into_bytes(),
            version_2(0x21, 0x11, 11, &[0; 11]),
            version_2(0x31, 0x11, 12, &[0; 12]),
            version_2(0x22, 0x11, 12, &[0; 12]),
            version_2(0x21, 0x11, 12, &[0; 5]),
            version_2(0x21, 0x11, 4081, &[0; 4081]),
        ] {
            assert_eq!(told(&bytes), None, "{:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
