//! What a path of an agent is, and which URLs may get a token for it.

use crate::{
    policy::{Owned, unescape},
    swml::UrlPlace,
    token::Kind,
};

/// Endpoints that no document may give access to: they answer without the checks that tools have (PROTOCOL.md, 1).
const FORBIDDEN: [&str; 3] = ["mcp", "debug", "check_for_input"];

/// What a path of an agent is, in the SDKs (PROTOCOL.md, 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// The agent itself: its document; a small agent answers everything there.
    Root,
    /// Function calls.
    Swaig,
    /// Summaries.
    PostPrompt,
    /// Debug events.
    DebugEvents,
    /// What no document may give access to.
    Forbidden,
    /// Anything else.
    Other,
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn of(owned: &Owned) -> Self {
        let base = owned.agent.upstream.path.as_str();
        let below = owned.upstream_path.strip_prefix(base).unwrap_or(&owned.upstream_path);
        // As a server may read it: decoded, without path parameters and empty segments, in any case.
        let decoded = unescape::once(below).unwrap_or_else(|| below.to_owned()).to_ascii_lowercase();
        let segments = decoded.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
        let mut segments = segments.filter(|segment| !segment.is_empty());
        let Some(first) = segments.next() else { return Endpoint::Root };
        // Below the agent's path the first segment tells; a path outside of it may be another agent's.
        match (Self::named(first), Self::named(segments.next_back().unwrap_or(first))) {
            (Endpoint::Forbidden, _) | (_, Endpoint::Forbidden) => Endpoint::Forbidden,
            (Endpoint::Other, last) => last,
            (first, _) => first,
        }
    }

    fn named(segment: &str) -> Self {
        match segment {
            "swaig" => Endpoint::Swaig,
            "post_prompt" => Endpoint::PostPrompt,
            "debug_events" => Endpoint::DebugEvents,
            _ if FORBIDDEN.contains(&segment) => Endpoint::Forbidden,
            _ => Endpoint::Other,
        }
    }

    /// Whether a URL in this place may get a token for this endpoint. Whoever holds the token of a callback or a file
    /// is not asked for a function, a call and a limit, so it must not open what asks for these; and a file is passed
    /// on as it is, so it must not be a document.
    pub(super) fn suits(self, place: &UrlPlace<'_>) -> bool {
        match place.kind {
            Kind::Tool | Kind::Hook => !place.function.is_empty(),
            Kind::Includes => true,
            Kind::Summary | Kind::Debug | Kind::Callback => self != Endpoint::Swaig,
            Kind::Swml => matches!(self, Endpoint::Root | Endpoint::Other),
            Kind::Asset => self == Endpoint::Other,
        }
    }
}
