//! How long tokens live.

use std::time::Duration;

/// How long tokens live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRules {
    /// For tools, and for SWML of the same call. A call may last 14,400 s.
    pub lifetime: Duration,
    /// The same for conversations of AI chat, which fetch their document but once.
    pub chat_lifetime: Duration,
    /// How much longer hooks, summaries and callbacks are accepted, which come after the call's end.
    pub grace: Duration,
    /// How long a call's functions and documents go on being served after its end was heard of.
    pub ended_grace: Duration,
    /// What becomes of documents that were fetched without a call id.
    pub unbound: Unbound,
}

/// What becomes of the tokens of a document that was fetched without a call id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbound {
    /// The first call that uses one, within this time of its issue, owns the whole document.
    Bind(Duration),
    /// They are refused.
    Deny,
}

// === impl TokenRules ===

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(14_400),
            chat_lifetime: Duration::from_secs(86_400),
            grace: Duration::from_secs(900),
            ended_grace: Duration::from_secs(60),
            unbound: Unbound::Bind(Duration::from_secs(300)),
        }
    }
}
