//! Step four, for an answer that passes as it comes: its head is looked at, its body only searched for credentials.

use super::{Denial, Permit};
use crate::{
    policy::Policies,
    record::Facts,
    verdict::{Reason, Route},
};

/// With these a client asks for a part of a file, or for a file it may have.
const CONDITIONS: [&str; 4] = ["range", "if-range", "if-none-match", "if-modified-since"];

/// What says of a file which part it is, and which version. Its URL carries a token, so no cache may keep it.
const FILE: [&str; 6] = ["content-type", "content-length", "content-range", "accept-ranges", "etag", "last-modified"];

/// With these a page in a browser is let in by the agent.
const FROM_PAGE: [&str; 4] =
    ["authorization", "origin", "access-control-request-method", "access-control-request-headers"];

/// With these the agent lets a page in, or doesn't.
const TO_PAGE: [&str; 8] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "access-control-max-age",
    "www-authenticate",
    "retry-after",
];

/// What any answer that passes as it comes may say of itself.
const PLAIN: [&str; 3] = ["content-type", "cache-control", "vary"];

/// The head of an agent's answer: its status, and its headers as far as they are text, names in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHead {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
}

/// Makes the head of an answer fit to leave: its headers that may.
///
/// # Errors
/// A [`Denial`] if the gateway can't vouch for it.
pub fn release_head<'a>(
    permit: &Permit,
    policies: &Policies,
    head: &'a AgentHead,
    facts: &mut Facts,
) -> Result<Vec<&'a (String, String)>, Denial> {
    check(permit, head, facts).map_err(|reason| permit.deny(reason))?;
    // Of an answer with a coding, a length says nothing; one that is repeated is one.
    let is_coded = head.headers.iter().any(|(name, _)| name == "transfer-encoding");
    let leaves = |name: &str| permit.may_leave(name) && !(is_coded && name == "content-length");
    let mut leaving: Vec<_> = head.headers.iter().filter(|(name, _)| leaves(name)).collect();
    leaving.dedup();
    if leaving.iter().any(|(_, value)| policies.leak(value)) {
        return Err(permit.deny(Reason::CredentialInDocument));
    }
    Ok(leaving)
}

fn check(permit: &Permit, head: &AgentHead, facts: &mut Facts) -> Result<(), Reason> {
    if head.status == 401 && permit.is_authenticated() {
        return Err(Reason::AgentUnauthorized);
    }
    let coding =
        head.headers.iter().find(|(name, value)| name == "content-encoding" && !value.eq_ignore_ascii_case("identity"));
    if let Some((_, coding)) = coding {
        facts.detail = Some(coding.clone());
        return Err(Reason::AgentEncoded);
    }
    if permit.route == Route::Asset && !matches!(head.status, 200 | 206 | 304 | 404 | 410 | 416) {
        facts.detail = Some(format!("status {}", head.status));
        return Err(Reason::AgentStatus);
    }
    Ok(())
}

// === impl Permit ===

impl Permit {
    /// Whether the answer passes as it comes, and not when it is whole.
    pub fn is_streamed(&self) -> bool {
        self.route == Route::Asset || self.exposed.as_ref().is_some_and(|exposed| exposed.streaming)
    }

    /// Which of the client's headers reach the agent besides those of all requests, in lower case.
    pub fn request_headers(&self) -> impl Iterator<Item = &str> {
        let usual: &[&str] = match (self.route == Route::Asset, self.is_authenticated()) {
            (true, _) => &CONDITIONS,
            (false, true) => &[],
            (false, false) => &FROM_PAGE,
        };
        let named = self.exposed.iter().flat_map(|exposed| exposed.request_headers.iter().map(String::as_str));
        usual.iter().copied().chain(named)
    }

    fn may_leave(&self, name: &str) -> bool {
        if self.route == Route::Asset {
            return FILE.contains(&name);
        }
        let is_of_page = !self.is_authenticated() && TO_PAGE.contains(&name);
        let is_named = self.exposed.as_ref().is_some_and(|it| it.response_headers.iter().any(|own| own == name));
        is_of_page || is_named || PLAIN.contains(&name)
    }
}
