//! Step one: what can be said of a request by its head alone.

use std::sync::Arc;

use super::Denial;
use crate::{
    basic::{self, Check, Fingerprint, SlowCheck},
    policy::{Agent, Policies},
    record::Facts,
    route::{self, Destination, Method, Target},
    time::Timestamp,
    token::{self, CALL_USER, CallCredentials, TokenError, UnverifiedToken},
    verdict::{Reason, Route},
};

/// What of a request's head the decision needs.
#[derive(Debug, Clone, Copy)]
pub struct Head<'h> {
    /// The method.
    pub method: Method,
    /// The target as it came: path and query.
    pub target: &'h str,
    /// The `Host` header.
    pub host: &'h str,
    /// The `Authorization` header.
    pub authorization: Option<&'h [u8]>,
    /// The announced length of the body, in bytes.
    pub content_length: Option<u64>,
}

/// A request whose head is in order.
#[derive(Debug)]
#[must_use]
pub enum Admission {
    /// Its body may be read.
    Admitted(Admitted),
    /// Its password has to be hashed first.
    Pending(Pending),
}

/// A request whose head is in order: it asks for something that exists, with credentials that are good.
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    pub(super) agent: Arc<Agent>,
    pub(super) route: Route,
    pub(super) method: Method,
    /// The path on the agent.
    pub(super) path: String,
    /// The query for the agent.
    pub(super) query: Option<String>,
    pub(super) token: Option<UnverifiedToken>,
    pub(super) call_credentials: Option<CallCredentials>,
}

/// A request that is admitted if a slow check of its password succeeds.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    check: SlowCheck,
    admitted: Admitted,
    username: String,
}

/// Looks at a request's head.
///
/// `verified` says whether a fingerprint stands for a password that was checked before.
///
/// # Errors
/// A [`Denial`] for what does not exist, is too large or comes with wrong credentials. An unknown path is refused before
/// credentials are looked at: what exists is no secret, it is the agent's SDK's.
pub fn admit(
    policies: &Policies,
    head: &Head<'_>,
    now: Timestamp,
    verified: impl Fn(&Fingerprint) -> bool,
    facts: &mut Facts,
) -> Result<Admission, Denial> {
    let target = Target::parse(head.target).map_err(Denial::stranger)?;
    let token = token_of(&target);
    let found = route::find(policies, head.host, target.path, token.as_ref().ok().and_then(Option::as_ref));
    let Destination { agent, route, below } = found.map_err(Denial::stranger)?;
    let deny = |reason| Denial::of(reason, route, &agent);

    if !route::methods(route).0.contains(&head.method) {
        return Err(deny(Reason::MethodNotAllowed));
    }
    let limit = body_limit(&agent, route);
    if head.content_length.is_some_and(|length| length > limit as u64) {
        return Err(deny(Reason::BodyTooLarge));
    }
    let admitted = |token: Option<UnverifiedToken>, call_credentials| {
        let query = match &token {
            Some(token) => token.restore_query(target.query.as_deref()).map(str::to_owned),
            None => target.query.clone(),
        };
        Admitted {
            path: agent_path(&agent, route, &below),
            agent: Arc::clone(&agent),
            route,
            method: head.method,
            query,
            token,
            call_credentials,
        }
    };
    // The health of an agent is public, as it is in all SDKs; it says nothing but yes or no.
    if route == Route::Health {
        return Ok(Admission::Admitted(admitted(None, None)));
    }
    let header = head.authorization.ok_or_else(|| deny(Reason::CredentialsMissing))?;
    let credentials = basic::parse_header(header).ok_or_else(|| deny(Reason::CredentialsWrong))?;
    let token = |token: Result<Option<UnverifiedToken>, Reason>| token.map_err(deny);

    if credentials.username == CALL_USER {
        let checked = token::verify_password(credentials.password.expose(), policies.keys(), &agent.name, now);
        let call_credentials = checked.map_err(|_| deny(Reason::CredentialsWrong))?;
        facts.user = Some(CALL_USER.to_owned());
        let token = token(token_of(&target))?.ok_or_else(|| deny(Reason::CredentialsForeign))?;
        if !call_credentials.belong_to(&token) {
            return Err(deny(Reason::CredentialsForeign));
        }
        return Ok(Admission::Admitted(admitted(Some(token), Some(call_credentials))));
    }
    match agent.platform.users.check(&credentials, verified) {
        Check::Refused => Err(deny(Reason::CredentialsWrong)),
        Check::Accepted => {
            facts.user = Some(credentials.username);
            Ok(Admission::Admitted(admitted(token(token_of(&target))?, None)))
        }
        Check::Slow(check) => Ok(Admission::Pending(Pending {
            check,
            admitted: admitted(token(token_of(&target))?, None),
            username: credentials.username,
        })),
    }
}

/// The one token of a target.
fn token_of(target: &Target<'_>) -> Result<Option<UnverifiedToken>, Reason> {
    match target.tokens.as_slice() {
        [] => Ok(None),
        [token] => UnverifiedToken::decode(token).map(Some).map_err(reason_of),
        [_, _, ..] => Err(Reason::TokenMalformed),
    }
}

pub(super) fn reason_of(error: TokenError) -> Reason {
    match error {
        TokenError::Malformed => Reason::TokenMalformed,
        TokenError::UnknownKey => Reason::TokenKeyUnknown,
        TokenError::Mismatch => Reason::TokenMismatch,
        TokenError::Expired => Reason::TokenExpired,
    }
}

fn agent_path(agent: &Agent, route: Route, below: &str) -> String {
    match &agent.expose.health {
        Some(health) if route == Route::Health => health.clone(),
        Some(_) | None => agent.upstream_path(below),
    }
}

fn body_limit(agent: &Agent, route: Route) -> usize {
    match route {
        Route::Swml | Route::Swaig | Route::Includes => agent.bodies.request,
        Route::Summary | Route::Debug | Route::Callback | Route::Exposed => agent.bodies.callback,
        Route::Asset | Route::Health | Route::Unknown => 0,
    }
}

// === impl Admitted ===

impl Admitted {
    /// How many bytes of a body may be read.
    pub fn body_limit(&self) -> usize {
        body_limit(&self.agent, self.route)
    }

    /// The agent that is asked.
    pub fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// What is asked of it.
    pub fn route(&self) -> Route {
        self.route
    }

    /// A refusal of this request.
    pub fn deny(&self, reason: Reason) -> Denial {
        Denial::of(reason, self.route, &self.agent)
    }
}

// === impl Pending ===

impl Pending {
    /// Does the slow work: some tens of milliseconds of one core. The fingerprint stands for it from now on.
    ///
    /// # Errors
    /// [`Reason::CredentialsWrong`].
    pub fn verify(self, facts: &mut Facts) -> Result<(Admitted, Fingerprint), Denial> {
        match self.check.run() {
            Some(fingerprint) => {
                facts.user = Some(self.username);
                Ok((self.admitted, fingerprint))
            }
            None => Err(self.admitted.deny(Reason::CredentialsWrong)),
        }
    }

    /// A refusal without having done the work.
    pub fn deny(&self, reason: Reason) -> Denial {
        self.admitted.deny(reason)
    }
}
