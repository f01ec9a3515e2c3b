//! Whose connections are taken, and who may say for whom they come.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;

use crate::harness::{
    agent::Sdk,
    free_address,
    gateway::{Folder, GATEWAY_PASSWORD, GATEWAY_USER, Gateway, Policy},
    http::basic,
    raw::Raw,
    until,
};

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 3, 1);

/// A gateway with one more listener.
struct World {
    gateway: Gateway,
    address: SocketAddr,
}

fn world(settings: &str, listener: &str) -> World {
    let address = free_address();
    let folder = Folder::new(settings, &[&Policy::of(Sdk::Rust.shared().address)]);
    folder.listen_also(&format!("{{ address: \"{address}\", {listener} }}"));
    World { gateway: folder.start(&["run", "--config", "gateway.yaml"]), address }
}

impl World {
    /// The status of the answer to a document's request, from an address and after these bytes; `None` if there is none.
    fn ask(&self, from: Ipv4Addr, before: &[u8]) -> Option<u16> {
        self.keep(from, before).map(|(_, status)| status)
    }

    /// The same with the connection.
    fn keep(&self, from: Ipv4Addr, before: &[u8]) -> Option<(Raw, u16)> {
        let mut raw = Raw::connect_from(IpAddr::V4(from), self.address);
        raw.write([before, request("").as_bytes()].concat());
        let status = raw.read()?.status;
        Some((raw, status))
    }

    /// A client may see the end of its connection before it is counted.
    fn wait_for_refusals(&self, cause: &str, count: u64) {
        let series = format!("swaigate_connections_refused_total{{cause=\"{cause}\"}}");
        until(cause, || (self.gateway.metric(&series) == count).then_some(()));
    }

    /// Who sent the last of so many requests, as the audit log has it.
    fn last_client(&self, requests: usize) -> String {
        last_client(&self.gateway, requests)
    }
}

fn last_client(gateway: &Gateway, requests: usize) -> String {
    let is_request = |record: &Value| record["client"].is_string();
    let of_all = || gateway.audit().into_iter().filter(is_request).collect::<Vec<_>>();
    let records = until("all are recorded", || Some(of_all()).filter(|records| records.len() >= requests));
    records[requests - 1]["client"].as_str().expect("it is text").to_owned()
}

fn request(more: &str) -> String {
    let authorization = basic(GATEWAY_USER, GATEWAY_PASSWORD);
    format!("GET /bank HTTP/1.1\r\nHost: gateway\r\nAuthorization: {authorization}\r\n{more}\r\n")
}

fn version_2(command: u8, client: [u8; 4]) -> Vec<u8> {
    let way = [client, [127, 0, 0, 1]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n", [command, 0x11, 0, 12].as_slice(), &way, &[0x12, 0x67, 0, 80]].concat()
}

#[test]
fn a_listener_is_for_whom_it_says() {
    let world = world("", "allow: [127.0.2.0/24, 127.0.4.4], deny: [127.0.2.9]");
    assert_eq!(world.ask(PROXY, b""), Some(200));
    assert_eq!(world.ask(Ipv4Addr::new(127, 0, 4, 4), b""), Some(200));
    assert_eq!(world.ask(Ipv4Addr::new(127, 0, 2, 9), b""), None, "an address in both lists is denied");
    assert_eq!(world.ask(OTHER, b""), None);
    world.wait_for_refusals("denied", 2);
    world.gateway.request("GET", "/bank").send().header("x-request-id").expect("other listeners are for all");
}

#[test]
fn a_proxy_says_for_whom_it_comes() {
    let listener = "proxy_protocol: { trusted: [127.0.2.0/24] }, deny: [198.51.100.0/24]";
    let world = world("connections: { max_per_address: 2, header_timeout: 2s }", listener);
    assert_eq!(world.ask(PROXY, b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"), Some(200));
    assert_eq!(world.last_client(1), "192.0.2.7");
    assert_eq!(world.ask(PROXY, &version_2(0x21, [192, 0, 2, 8])), Some(200));
    assert_eq!(world.last_client(2), "192.0.2.8");
    // Of itself, as when it asks for health.
    assert_eq!(world.ask(PROXY, &version_2(0x20, [192, 0, 2, 8])), Some(200));
    assert_eq!(world.last_client(3), PROXY.to_string());

    assert_eq!(world.ask(PROXY, b"PROXY TCP4 198.51.100.1 127.0.0.1 4711 80\r\n"), None, "lists are about the client");
    world.wait_for_refusals("denied", 1);
    assert_eq!(world.ask(PROXY, b""), None, "each connection needs a header");
    assert_eq!(world.ask(PROXY, b"PROXY TCP4 192.0.2.7\r\n"), None);
    world.wait_for_refusals("proxy_header", 2);
    assert_eq!(world.ask(OTHER, b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"), None, "not everybody is believed");
    world.wait_for_refusals("untrusted", 1);
    let mut silent = Raw::connect_from(IpAddr::V4(PROXY), world.address);
    assert!(silent.is_closed());
    world.wait_for_refusals("slow", 1);
    // One header, and one only.
    assert_eq!(world.ask(PROXY, b"PROXY UNKNOWN\r\nPROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"), Some(400));
}

#[test]
fn connections_are_counted_for_whom_a_proxy_comes() {
    let world = world("connections: { max_per_address: 1 }", "proxy_protocol: { trusted: [127.0.2.1] }");
    let header = |last| version_2(0x21, [192, 0, 2, last]);
    let _held = world.keep(PROXY, &header(1)).expect("it is the first");
    let _other = world.keep(PROXY, &header(2)).expect("others have their own");
    assert_eq!(world.ask(PROXY, &header(1)), None);
    world.wait_for_refusals("address_full", 1);
}

#[test]
fn a_header_of_the_proxy_protocol_is_a_bad_request_where_nobody_asked_for_it() {
    let world = world("", "allow: [127.0.2.1]");
    assert_eq!(world.ask(PROXY, b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"), Some(400));
}

#[test]
fn a_header_names_the_client_if_a_trusted_proxy_wrote_it() {
    let agent = Sdk::Rust.shared();
    let tap = agent.tap();
    let policy = Policy::through(&tap, agent).and("limits: [{ per: address, allow: 2, every: 1h }]");
    let gateway = Gateway::start("trusted_proxies: [127.0.2.0/24]", &[&policy]);
    let ask = |from: Ipv4Addr, headers: &str| {
        let mut raw = Raw::connect_from(IpAddr::V4(from), gateway.listen());
        raw.write(request(headers));
        raw.read().expect("it is answered")
    };
    let told = "X-Forwarded-For: 203.0.113.9, 192.0.2.7\r\nX-Forwarded-For: 127.0.2.8\r\nX-Real-IP: 203.0.113.9\r\n";
    assert!(ask(PROXY, told).body.contains("gw_token"));
    assert_eq!(last_client(&gateway, 1), "192.0.2.7");
    assert_eq!(tap.only().header("x-forwarded-for"), Some("192.0.2.7"), "the agent hears the gateway's word");

    // Whoever else writes it is known by the connection.
    assert!(ask(OTHER, told).body.contains("gw_token"));
    assert_eq!(last_client(&gateway, 2), OTHER.to_string());

    assert!(ask(PROXY, told).body.contains("gw_token"));
    assert!(!ask(PROXY, told).body.contains("gw_token"), "limits count the client");
    assert!(ask(PROXY, "X-Forwarded-For: 192.0.2.8\r\n").body.contains("gw_token"), "and no other one");
}
