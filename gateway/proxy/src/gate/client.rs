//! Who sent a request: whoever made the connection, unless that is a proxy that is trusted to say whom it came for.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use pingora_proxy::Session;

use crate::settings::Peers;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of a request's client; none, if it came by a socket in the file system and nobody says more.
pub(super) fn of(session: &Session, proxies: &Peers) -> Option<IpAddr> {
    let peer = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
    told(peer, proxies, &session.req_header().headers)
}

/// Each proxy adds at the end of `X-Forwarded-For` where it got the request from. So the list is read from its end, and
/// only as long as those who wrote it are trusted: what stands before was made up by anyone.
fn told(peer: Option<IpAddr>, proxies: &Peers, headers: &HeaderMap) -> Option<IpAddr> {
    let lists = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let mut entries = lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = peer;
    while proxies.contains(client) {
        let Some(further) = entries.next().and_then(address) else { break };
        client = Some(further);
    }
    client
}

/// An address, perhaps with a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, trusted: &[&str], lists: &[&str]) -> String {
        let headers = lists.iter().map(|list| (X_FORWARDED_FOR, HeaderValue::from_bytes(list.as_bytes()).unwrap()));
        let told = told(peer.parse().ok(), &Peers::of(trusted), &headers.collect());
        told.map_or_else(|| "-".to_owned(), |address| address.to_string())
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"];
        for (peer, lists, expected) in [
            ("192.0.2.1", ["203.0.113.7"].as_slice(), "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.7,10.0.0.2 ,\t10.0.0.3"], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.1", "203.0.113.7", "10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["203.0.113.7,"], "10.0.0.1"),
            ("10.0.0.1", &["\u{e9}"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("10.0.0.1", &["[2001:db9::1]:4711"], "2001:db9::1"),
            ("2001:db8::1", &["[2001:db9::1]"], "2001:db9::1"),
            ("10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            ("-", &["203.0.113.7"], "-"),
        ] {
            assert_eq!(client(peer, &trusted, lists), expected, "{peer} {lists:?}");
        }
        assert_eq!(client("-", &["unix"], &["203.0.113.7"]), "203.0.113.7");
        assert_eq!(client("10.0.0.1", &[], &["203.0.113.7"]), "10.0.0.1");
    }
}
