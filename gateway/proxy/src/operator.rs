//! An operator's way to a running gateway: its admin API, by TCP on loopback or a Unix socket.

mod place;
mod unix;

use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use swaigate_core::{secret::Secret, switches::Word};
use ureq::{http, unversioned::resolver::DefaultResolver};

pub use self::place::{Place, WordArguments};
use self::unix::UnixConnector;

/// How long the gateway may take. It waits for its disk.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How much of an answer is read, in bytes: all switches and lockouts that there may be, with long reasons.
const MAX_ANSWER: u64 = 64 << 20;

/// Where a gateway is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// At an address on loopback.
    Tcp(SocketAddr),
    /// At a Unix socket.
    Unix(PathBuf),
}

/// Somebody who may ask a gateway.
pub struct Operator {
    http: ureq::Agent,
    door: Door,
    token: Secret,
}

// === impl Operator ===

impl Operator {
    /// Whoever has this token.
    pub fn new(door: Door, token: Secret) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("swaigate/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(TIMEOUT))
            .build();
        let http = match &door {
            Door::Tcp(_) => config.new_agent(),
            Door::Unix(path) => {
                ureq::Agent::with_parts(config, UnixConnector::new(path.clone()), DefaultResolver::default())
            }
        };
        Self { http, door, token }
    }

    /// Where the gateway is.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Asks for what is at a path and query.
    ///
    /// # Errors
    /// If the gateway can't be asked, or refuses.
    pub fn get<T: DeserializeOwned>(&self, target: &str) -> anyhow::Result<T> {
        self.ask(http::Method::GET, target, None)
    }

    /// Gives an order, with who gives it and why, for a span if it ends by itself.
    ///
    /// # Errors
    /// As those of [`ask`](Self::ask).
    pub fn order<T: DeserializeOwned>(
        &self,
        target: &str,
        mut order: serde_json::Value,
        span: Option<String>,
        word: &Word,
    ) -> anyhow::Result<T> {
        order["who"] = word.who().into();
        order["why"] = word.why().into();
        if let Some(span) = span {
            order["for"] = span.into();
        }
        self.ask(http::Method::POST, target, Some(&order))
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// If the gateway can't be asked, or doesn't do it; then nothing has changed.
    pub fn ask<T: DeserializeOwned>(
        &self,
        method: http::Method,
        target: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<T> {
        let token = self.token.expose_str().unwrap_or_default();
        let host = match &self.door {
            Door::Tcp(address) => address.to_string(),
            // Where it is connected to is the connector's to say.
            Door::Unix(_) => "127.0.0.1".to_owned(),
        };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{host}{target}"))
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", "application/json");
        let answered = match body {
            Some(body) => self.http.run(request.body(body.to_string())?),
            None => self.http.run(request.body(())?),
        };
        let mut answer = answered.map_err(|error| self.unanswered(error))?;
        let status = answer.status();
        let text = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_string()
            .map_err(|error| self.unanswered(error))?;
        if !status.is_success() {
            let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let said = said["error"].as_str().unwrap_or("it gave no reason").to_owned();
            bail!("the gateway at {} refused ({}): {said}; nothing was changed", self.door, status.as_u16());
        }
        serde_json::from_str(&text).with_context(|| format!("what answers at {} is no swaigate", self.door))
    }

    fn unanswered(&self, error: ureq::Error) -> anyhow::Error {
        let door = &self.door;
        match error {
            ureq::Error::Io(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) =>
            {
                anyhow!(
                    "no gateway is at {door}: is it running? Nothing was changed. One that starts with \
                     AGENT_EMERGENCY_MODE=true stops everything from its start"
                )
            }
            error => {
                anyhow!("the gateway at {door} did not answer ({error}); `swaigate status` tells what is in force")
            }
        }
    }
}

// === impl Door ===

impl std::str::FromStr for Door {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(address) => Ok(Door::Tcp(address)),
            Err(_) if text.contains('/') => Ok(Door::Unix(PathBuf::from(text))),
            Err(_) => Err("write an address like 127.0.0.1:9901, or the path of a Unix socket"),
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Door::Tcp(address) => write!(f, "{address}"),
            Door::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
