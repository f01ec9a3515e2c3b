//! Where an agent's requests are sent, and what becomes of those servers when they fail.

use std::{net::IpAddr, time::Duration};

/// One of an agent's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How many calls it gets, in proportion to the others' weights; at least 1.
    pub weight: u32,
}

/// How a server is asked whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path at the server, with its query if it has one.
    pub path: String,
    /// How often it is asked.
    pub every: Duration,
    /// How long it may take, the connection included; at most [`HealthCheck::every`].
    pub timeout: Duration,
    /// After how many good answers in a row a server that was down is up again; at least 1.
    pub healthy: u32,
    /// After how many bad ones a server that was up is down; at least 1.
    pub unhealthy: u32,
    /// The status of a good answer; `None`: any from 200 to 299.
    pub expect: Option<u16>,
}

/// When a server gets no requests for a while, because those that it got have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// After how many failures in a row; at least 1.
    pub failures: u32,
    /// For how long at the first time. The next times in a row are longer.
    pub span: Duration,
    /// How many of an agent's servers may be away at once, in percent; one of several always may, unless this is 0.
    pub max_percent: u32,
}

/// When an agent isn't asked for a while, because all that it was asked has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRules {
    /// After how many failures in a row; at least 1.
    pub failures: u32,
    /// For how long, until one request tries again.
    pub span: Duration,
}

// === impl Server ===

impl Server {
    /// `host:port`: what it is called in logs, metrics and audit records.
    pub fn authority(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 5, span: Duration::from_secs(30), max_percent: 50 }
    }
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self { failures: 10, span: Duration::from_secs(10) }
    }
}

/// A host as URLs have it: an IPv6 address in brackets.
pub(super) fn bracketed(host: &str) -> String {
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) { format!("[{host}]") } else { host.to_owned() }
}
