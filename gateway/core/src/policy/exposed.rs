//! What else of an agent is reachable than the protocol's own endpoints.

use std::sync::Arc;

use super::LimitRule;

/// What else of the agent is reachable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expose {
    /// The agent's path of its health check; `{match.path}/health` answers whether it answers 2xx.
    pub health: Option<String>,
    /// Paths below [`super::Agent::path`].
    pub paths: Vec<Arc<Exposed>>,
}

/// Paths below the agent's that are passed on, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// Which.
    pub path: ExposedPath,
    /// Who finds out who asks.
    pub authentication: Authentication,
    /// Whether answers pass as they come, and not when they are whole.
    pub streaming: bool,
    /// Request headers that reach the agent besides the usual ones, in lower case.
    pub request_headers: Vec<String>,
    /// Headers of the answer that reach the client besides the usual ones, in lower case.
    pub response_headers: Vec<String>,
    /// The limits on requests; all are [`super::Per::ADDRESS`].
    pub limits: Vec<LimitRule>,
    /// The largest body of a request, in bytes, if it isn't that of all exposed paths.
    pub body: Option<usize>,
}

/// Which paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExposedPath {
    /// This path.
    Exact(String),
    /// Everything that starts with this, which ends in a slash.
    Below(String),
}

/// Who finds out who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// The gateway, by Basic authentication.
    Gateway,
    /// The agent: it gets the request with its `Authorization` as it came, and without the gateway's own.
    Agent,
}

// === impl Expose ===

impl Expose {
    /// Whether a path below the agent's is passed on without a token.
    pub fn has(&self, below: &str) -> bool {
        self.find(below).is_some()
    }

    /// The item that exposes a path: of several, the one that says most of it.
    pub fn find(&self, below: &str) -> Option<&Arc<Exposed>> {
        let matching = self.paths.iter().filter(|item| item.path.has(below));
        matching.max_by_key(|item| (matches!(item.path, ExposedPath::Exact(_)), item.path.as_str().len()))
    }
}

impl Exposed {
    /// A path that is passed on as a whole, to whoever has the platform's password.
    pub fn plain(path: ExposedPath) -> Self {
        Self {
            path,
            authentication: Authentication::Gateway,
            streaming: false,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            limits: Vec::new(),
            body: None,
        }
    }
}

impl ExposedPath {
    /// The path, or what paths start with.
    pub fn as_str(&self) -> &str {
        match self {
            ExposedPath::Exact(path) | ExposedPath::Below(path) => path,
        }
    }

    fn has(&self, below: &str) -> bool {
        match self {
            ExposedPath::Exact(path) => below == path,
            ExposedPath::Below(path) => below.starts_with(path.as_str()),
        }
    }
}
