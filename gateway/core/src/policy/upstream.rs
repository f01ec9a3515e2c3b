//! Where an agent really is, and how it is asked.

use std::time::Duration;

use super::{BreakerRules, Ejection, HealthCheck, Server, UpstreamTls, servers};
use crate::{origin::Authority, secret::Secret, signature::SigningKey};

/// Where an agent really is, and how it is asked.
#[derive(Debug)]
pub struct Upstream {
    /// Whether it speaks TLS.
    pub https: bool,
    /// The name or address by which it is asked, without brackets: in `Host`, and in URLs that it makes of that.
    pub host: String,
    /// The port that belongs to it.
    pub port: u16,
    /// Where its requests are sent; at least one. If the file lists none, that is [`Upstream::host`] itself.
    pub servers: Vec<Server>,
    /// How they are asked whether they are well, if they are.
    pub health: Option<HealthCheck>,
    /// Which of them gets no requests for a while.
    pub eject: Ejection,
    /// When none of them does, if ever.
    pub breaker: Option<BreakerRules>,
    /// How many requests may be under way at it, on all servers together.
    pub max_in_flight: u32,
    /// What stands for [`super::Agent::path`] on the agent: equal to it unless `upstream.url` has a path.
    pub path: String,
    /// The credentials that the agent itself asks for.
    pub credentials: Option<UpstreamCredentials>,
    /// Other origins under which the agent writes its own URLs.
    pub aliases: Vec<Authority>,
    /// How long to wait for it.
    pub timeouts: Timeouts,
    /// How requests are signed for it, if it checks that.
    pub signing: Option<UpstreamSigning>,
    /// How it is asked by TLS, where it is.
    pub tls: UpstreamTls,
}

/// How requests are signed for an agent.
#[derive(Debug)]
pub struct UpstreamSigning {
    /// With which key.
    pub key: SigningKey,
    /// What the agent takes its own URL to begin with, if that isn't [`Upstream::origin`]; without a slash at its end.
    pub base: Option<String>,
}

/// What the agent asks for, and what must never be seen outside.
#[derive(Debug)]
pub struct UpstreamCredentials {
    /// The `Authorization` header for the agent.
    pub header: Secret,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// How long the gateway waits for an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the answer, before the caller is told that it takes longer than expected. The platform gives up after
    /// 120 s (PROTOCOL.md, 4.5), so this is less.
    pub answer: Duration,
    /// For the whole exchange, also after the caller was told.
    pub exchange: Duration,
}

// === impl Upstream ===

impl Upstream {
    /// `host:port`, or the host alone for the scheme's default port: the `Host` header.
    pub fn host_header(&self) -> String {
        let host = servers::bracketed(&self.host);
        let default = if self.https { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }

    /// `http://host:port`, without a slash at its end.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.host_header())
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(110), exchange: Duration::from_secs(300) }
    }
}
