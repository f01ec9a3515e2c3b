//! A fetch that the agent sends elsewhere: a routing callback answers 307 with a `Location`, in the TypeScript SDK 2
//! 200 with `{"action":"redirect","route":…}` (PROTOCOL.md, 1). Both leave as a redirect to a URL of the
//! gateway's.

use url::Url;

use super::{AgentAnswer, Permit, release::rewritten};
use crate::{
    json::{self, Node, quote},
    policy::Policies,
    record::Facts,
    verdict::{Reason, Reply},
};

/// Method and body are kept (RFC 9110, 15.4.8).
const TEMPORARY_REDIRECT: u16 = 307;

/// Whether this status says that the document is elsewhere.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The route that the TypeScript SDK 2 sends the call to, if this is such an answer.
pub(super) fn route_of<'a>(answer: &'a Node<'_>) -> Option<&'a str> {
    let is_redirect = answer.str_at("action") == Some("redirect") && answer.get("sections").is_none();
    answer.str_at("route").filter(|_| is_redirect)
}

/// The redirect of an agent's answer.
pub(super) fn of_answer(
    permit: &Permit,
    policies: &Policies,
    answer: &AgentAnswer<'_>,
    facts: &mut Facts,
) -> Result<Reply, Reason> {
    let Some(location) = answer.location else {
        facts.detail = Some(format!("status {} without a Location", answer.status));
        return Err(Reason::AgentStatus);
    };
    to(permit, policies, answer.status, location, facts)
}

/// The redirect to a route.
pub(super) fn to_route(permit: &Permit, policies: &Policies, route: &str, facts: &mut Facts) -> Result<Reply, Reason> {
    to(permit, policies, TEMPORARY_REDIRECT, route, facts)
}

/// What is the gateway's of a `transfer` to a URL is so of a redirect, though it isn't that verb.
fn to(permit: &Permit, policies: &Policies, status: u16, location: &str, facts: &mut Facts) -> Result<Reply, Reason> {
    let url = absolute(permit, location).ok_or(Reason::UrlAmbiguous)?;
    let document = format!(r#"{{"redirect":{{"transfer":{}}}}}"#, quote(&url));
    let root = json::parse(document.as_bytes()).map_err(|_| Reason::Internal)?;
    let lineage = permit.redirect.or(permit.lineage).ok_or(Reason::Internal)?;
    let rewritten = rewritten(permit, policies, lineage, document.as_bytes(), &root, facts)?;
    let root = json::parse(&rewritten).map_err(|_| Reason::Internal)?;
    let location =
        root.get("redirect").and_then(|redirect| redirect.str_at("transfer")).ok_or(Reason::Internal)?.to_owned();
    Ok(Reply { location: Some(location), ..Reply::json(status, "{}") })
}

/// A URL reference, resolved at the request's own URL (RFC 3986, 5). What has a host or starts at the root stays byte for
/// byte.
fn absolute(permit: &Permit, location: &str) -> Option<String> {
    let origin = permit.agent().upstream.origin();
    if location.starts_with("//") {
        let scheme = if permit.agent().upstream.https { "https" } else { "http" };
        Some(format!("{scheme}:{location}"))
    } else if location.starts_with('/') {
        Some(format!("{origin}{location}"))
    } else if location.contains("://") {
        Some(location.to_owned())
    } else {
        let base = Url::parse(&format!("{origin}{}", permit.forward().target)).ok()?;
        base.join(location).ok().filter(|url| url.has_host()).map(String::from)
    }
}
