//! Which agent a request is for, and what it asks of it.

use std::sync::Arc;

use crate::{
    policy::{Agent, Authentication, Exposed, Policies},
    token::{PARAMETER, UnverifiedToken},
    verdict::{Reason, Route},
};

/// The methods that the gateway knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// Any other.
    Other,
}

/// A request target: its path and query as they came, the gateway's token taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'t> {
    /// The path.
    pub path: &'t str,
    /// What is left of the query; `None` if there was none, or nothing but the token.
    pub query: Option<String>,
    /// The value of each `gw_token`.
    pub tokens: Vec<&'t str>,
}

/// Where a request goes.
#[derive(Debug)]
pub struct Destination {
    /// The agent.
    pub agent: Arc<Agent>,
    /// What is asked of it.
    pub route: Route,
    /// What of the path lies below the agent's.
    pub below: String,
    /// The item of the policy that exposes it, where one does.
    pub exposed: Option<Arc<Exposed>>,
}

// === impl Method ===

impl Method {
    /// Reads a method; they are case-sensitive (RFC 9110, 9.1).
    pub fn parse(text: &str) -> Method {
        match text {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }

    /// The method as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Other => "",
        }
    }

    /// Whether a repeated or cancelled request does no harm.
    pub fn is_safe(self) -> bool {
        match self {
            Method::Get | Method::Head | Method::Options => true,
            Method::Post | Method::Put | Method::Delete | Method::Other => false,
        }
    }
}

// === impl Target ===

impl<'t> Target<'t> {
    /// Takes an origin-form target apart.
    ///
    /// # Errors
    /// [`Reason::BadRequest`] if another parser could make another path of it: dot segments (also percent-encoded or
    /// with path parameters), backslashes, control and non-ASCII characters, a fragment.
    pub fn parse(target: &'t str) -> Result<Self, Reason> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let plain = |b: u8| b.is_ascii_graphic() && b != b'\\' && b != b'#';
        if !path.starts_with('/') || !target.bytes().all(plain) || has_dot_segment(path) {
            return Err(Reason::BadRequest);
        }
        let mut tokens = Vec::new();
        let query = query.and_then(|query| take_tokens(query, &mut tokens));
        Ok(Self { path, query, tokens })
    }
}

/// What remains of a query without the tokens in it.
pub(crate) fn take_tokens<'q>(query: &'q str, tokens: &mut Vec<&'q str>) -> Option<String> {
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match pair.strip_prefix(PARAMETER).and_then(|pair| pair.strip_prefix('=')) {
            Some(token) => tokens.push(token),
            None => rest.push(pair),
        }
    }
    (!rest.is_empty()).then(|| rest.join("&"))
}

/// Finds the agent and what is asked of it. `token` is what the target carries, not yet verified.
///
/// # Errors
/// [`Reason::NotFound`] for everything that no policy names.
pub fn find(
    policies: &Policies,
    host: &str,
    path: &str,
    token: Option<&UnverifiedToken>,
) -> Result<Destination, Reason> {
    let host = host_name(host);
    let here = |agent: &&Arc<Agent>| agent.host.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(host));
    let (agent, below) = policies
        .agents()
        .iter()
        .filter(here)
        .filter_map(|agent| agent.strip_path(path).map(|below| (agent, below)))
        .min_by_key(|(agent, below)| (below.len(), agent.host.is_none()))
        .ok_or(Reason::NotFound)?;
    let (route, exposed) = match token {
        Some(token) => (Route::of(token.claimed_kind()), None),
        None => route_without_token(agent, below).ok_or(Reason::NotFound)?,
    };
    Ok(Destination { agent: Arc::clone(agent), route, below: below.to_owned(), exposed })
}

/// The methods with which a route is asked, as `Allow` lists them.
pub fn methods(route: Route) -> (&'static [Method], &'static str) {
    match route {
        Route::Swml => (&[Method::Get, Method::Post], "GET, POST"),
        Route::Swaig | Route::Includes | Route::Summary | Route::Debug => (&[Method::Post], "POST"),
        Route::Callback | Route::Exposed => {
            (&[Method::Get, Method::Post, Method::Put, Method::Delete], "GET, POST, PUT, DELETE")
        }
        // A browser asks with OPTIONS before a page may ask.
        Route::Open => (
            &[Method::Get, Method::Post, Method::Put, Method::Delete, Method::Options],
            "GET, POST, PUT, DELETE, OPTIONS",
        ),
        Route::Asset | Route::Health => (&[Method::Get, Method::Head], "GET, HEAD"),
        Route::Unknown => (&[], ""),
    }
}

/// Protocol endpoints that need a token are known without one, so that a missing token is told apart from a wrong path.
fn route_without_token(agent: &Agent, below: &str) -> Option<(Route, Option<Arc<Exposed>>)> {
    let route = match below {
        "" | "/" => Route::Swml,
        "/health" if agent.expose.health.is_some() => Route::Health,
        _ if is_routing_callback(agent, below) => Route::Swml,
        "/swaig" | "/swaig/" => Route::Swaig,
        "/post_prompt" | "/post_prompt/" => Route::Summary,
        "/debug_events" | "/debug_events/" => Route::Debug,
        _ => return agent.expose.find(below).map(exposed),
    };
    Some((route, None))
}

fn exposed(item: &Arc<Exposed>) -> (Route, Option<Arc<Exposed>>) {
    let route = match item.authentication {
        Authentication::Gateway => Route::Exposed,
        Authentication::Agent => Route::Open,
    };
    (route, Some(Arc::clone(item)))
}

/// The SDKs answer with and without a slash at the end (PROTOCOL.md, 1.1).
fn is_routing_callback(agent: &Agent, below: &str) -> bool {
    agent.routing_callbacks.iter().any(|path| below == path || below.strip_suffix('/') == Some(path))
}

fn has_dot_segment(path: &str) -> bool {
    if !path.contains(['.', '%']) {
        return false;
    }
    let decoded = decode_dots_and_slashes(path);
    decoded.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// The path with `%2e`, `%2f` and `%5c` decoded, as some servers do before they resolve it.
fn decode_dots_and_slashes(path: &str) -> String {
    let lower = path.to_ascii_lowercase();
    lower.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/")
}

fn host_name(host: &str) -> &str {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    without_port.strip_suffix('.').unwrap_or(without_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_apart_without_changing_a_byte() {
        let target = Target::parse("/bank//swaig/?__token=a%3D&x=&gw_token=T").unwrap();
        assert_eq!(target.path, "/bank//swaig/");
        assert_eq!(target.query.as_deref(), Some("__token=a%3D&x="));
        assert_eq!(target.tokens, ["T"]);
        for (text, query) in [
            ("/a?gw_token=T", None),
            ("/a?b&gw_token=T", Some("b")),
            ("/a?b=1&&gw_token=T", Some("b=1&")),
            ("/a?gw_tokens=1&gw_token=T", Some("gw_tokens=1")),
            ("/a?gw%5Ftoken=1&gw_token=T", Some("gw%5Ftoken=1")),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.query.as_deref(), target.tokens), (query, vec!["T"]), "{text}");
        }
        assert_eq!(Target::parse("/a?gw_token=1&gw_token=2").unwrap().tokens.len(), 2);
    }

    #[test]
    fn paths_that_could_be_resolved_otherwise_are_refused() {
        for text in [
            "",
            "a",
            "http://h/a",
            "*",
            "/a/../b",
            "/a/%2e%2E/b",
            "/a/..%2fb",
            "/a/.%2e;x/b",
            "/a/..;/b",
            "/./a",
            "/a\\b",
            "/a b",
            "/a\u{e9}",
            "/a#b",
            "/a\u{0}",
            "/a/%2e",
            "/a/..%5cb",
        ] {
            assert_eq!(Target::parse(text), Err(Reason::BadRequest), "{text:?}");
        }
        for text in ["/", "/a/.well-known/x", "/a/...", "/a/b..c/", "/a;x=1/b"] {
            assert!(Target::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn host_names_lose_their_port() {
        for (host, name) in
            [("a.b:80", "a.b"), ("a.b", "a.b"), ("a.b.", "a.b"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")]
        {
            assert_eq!(host_name(host), name);
        }
    }
}
