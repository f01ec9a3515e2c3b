//! Lists of addresses: who may connect, and who may speak for others.

use std::net::IpAddr;

use ipnet::IpNet;
use swaigate_core::yaml::{Field, Fields};

/// How many networks one list may have.
const MAX_NETWORKS: usize = 256;

/// Addresses, and perhaps all who come by a socket in the file system, who have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    networks: Vec<IpNet>,
    unix: bool,
}

/// Who may connect by a listener: whoever is not denied, and allowed where anybody is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// If it isn't empty, nobody else may.
    pub allow: Peers,
    /// They may not.
    pub deny: Peers,
}

// === impl Peers ===

impl Peers {
    /// Whether a connection from there is meant; without an address it came by a socket in the file system.
    pub fn contains(&self, address: Option<IpAddr>) -> bool {
        address.map_or(self.unix, |address| {
            let address = address.to_canonical();
            self.networks.iter().any(|network| network.contains(&address))
        })
    }

    fn add(&mut self, peer: Peer) {
        match peer {
            Peer::Network(network) => self.networks.push(network),
            Peer::Unix => self.unix = true,
        }
    }

    fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }
}

// === impl Access ===

impl Access {
    /// Whether a client from there may connect.
    pub fn permits(&self, address: Option<IpAddr>) -> bool {
        !self.deny.contains(address) && (self.allow.is_empty() || self.allow.contains(address))
    }
}

/// Who may connect by a listener, and the proxies that it takes the PROXY protocol from, if it does.
pub(super) fn entrance(fields: &mut Fields<'_>, has_addresses: bool) -> (Access, Option<Peers>) {
    let proxies = proxies(fields.take("proxy_protocol"));
    let lists = [fields.take("allow"), fields.take("deny")];
    let given = lists.iter().find(|list| list.is_given());
    if let Some(list) = given.filter(|_| !has_addresses && proxies.is_none()) {
        let told = "a socket in the file system knows addresses only by `proxy_protocol`; remove `allow` and `deny`";
        list.report().note(list.place(), told);
    }
    let [allow, deny] = lists.map(peers);
    (Access { allow, deny }, proxies)
}

fn proxies(field: Field<'_>) -> Option<Peers> {
    field.mapping(|fields| {
        let trusted = fields.take("trusted").required();
        let (report, place, is_list) = (trusted.report(), trusted.place(), trusted.is_list());
        let trusted = peers(trusted);
        if is_list && trusted.is_empty() {
            report
                .note(place, "`trusted` must list the proxies, like `[10.0.0.0/24]`: whoever else comes in is refused");
        }
        Some(trusted)
    })
}

/// A list of networks and addresses; `unix` stands for sockets in the file system.
pub(super) fn peers(field: Field<'_>) -> Peers {
    let mut peers = Peers::default();
    field
        .list(MAX_NETWORKS)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|item| item.parse(peer))
        .for_each(|peer| peers.add(peer));
    peers
}

enum Peer {
    Network(IpNet),
    Unix,
}

fn peer(text: &str) -> Result<Peer, String> {
    if text == "unix" {
        return Ok(Peer::Unix);
    }
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let network = parsed.ok_or("write a network or an address, like `192.0.2.0/24` or `2001:db8::1`, or `unix`")?;
    if network.addr() != network.network() {
        return Err(format!("`{text}` has bits behind its prefix; write `{}`", network.trunc()));
    }
    Ok(Peer::Network(network))
}

#[cfg(test)]
impl Peers {
    /// These.
    pub(crate) fn of(items: &[&str]) -> Self {
        let mut peers = Self::default();
        items.iter().for_each(|item| peers.add(peer(item).unwrap()));
        peers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Peers {
        Peers::of(items)
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_is_in_its_networks_however_it_is_written() {
        let peers = list(&["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]);
        for inside in ["192.0.2.255", "::ffff:192.0.2.1", "2001:db8::1", "198.51.100.7"] {
            assert!(peers.contains(address(inside)), "{inside}");
        }
        for outside in ["192.0.3.0", "::192.0.2.1", "2001:db9::1", "198.51.100.8"] {
            assert!(!peers.contains(address(outside)), "{outside}");
        }
        assert!(!peers.contains(None) && list(&["unix"]).contains(None) && !list(&["unix"]).contains(address("::1")));
    }

    #[test]
    fn who_is_denied_is_not_allowed_by_another_list() {
        let permits = |allow: &[&str], deny: &[&str], from: &str| {
            Access { allow: list(allow), deny: list(deny) }.permits(address(from))
        };
        assert!(permits(&[], &[], "192.0.2.1"));
        assert!(permits(&["192.0.2.0/24"], &[], "192.0.2.1") && !permits(&["192.0.2.0/24"], &[], "192.0.3.1"));
        assert!(!permits(&[], &["192.0.2.1"], "192.0.2.1") && permits(&[], &["192.0.2.1"], "192.0.2.2"));
        assert!(!permits(&["192.0.2.0/24"], &["192.0.2.1"], "192.0.2.1"));
    }

    #[test]
    fn a_network_ends_where_its_prefix_does() {
        assert_eq!(
            peer("192.0.2.1/24").err().as_deref(),
            Some("`192.0.2.1/24` has bits behind its prefix; write `192.0.2.0/24`")
        );
        for wrong in ["", "example.com", "192.0.2.0/33", "192.0.2", "*"] {
            assert!(peer(wrong).err().is_some_and(|told| told.starts_with("write a network")), "{wrong}");
        }
    }
}
