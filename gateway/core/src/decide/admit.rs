//! Step one: what can be said of a request by its head alone.

use std::{net::IpAddr, sync::Arc};

use super::{Denial, emergency::keep_out, signed::Evidence};
use crate::{
    basic::{self, Check, Credentials, Fingerprint, SlowCheck},
    orders::Orders,
    policy::{Agent, Exposed, Policies},
    record::Facts,
    route::{self, Destination, Method, Target},
    signature::Carried,
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
    /// The `Content-Type`.
    pub content_type: Option<&'h str>,
    /// The platform's signatures.
    pub signatures: Carried<'h>,
    /// The address it came from, if that is known.
    pub client: Option<IpAddr>,
}

/// A request whose head is in order.
#[derive(Debug)]
#[must_use]
#[allow(clippy::large_enum_variant)] // nearly every admission is the large one
pub enum Admission {
    /// Its body may be read.
    Admitted(Admitted),
    /// Its password has to be hashed first.
    Pending(Box<Pending>),
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
    /// What a signature is checked by, where the agent's policy lists a key.
    pub(super) evidence: Option<Box<Evidence>>,
    /// The item of the policy that exposes the path, where one does.
    pub(super) exposed: Option<Arc<Exposed>>,
    /// The address it came from.
    pub(super) client: Option<IpAddr>,
}

/// A request that is admitted if a slow check of its password succeeds.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    check: SlowCheck,
    admitted: Admitted,
    token: Result<Option<UnverifiedToken>, Reason>,
    username: String,
}

/// Looks at a request's head.
///
/// `verified` says whether a fingerprint stands for a password that was checked before.
///
/// # Errors
/// A [`Denial`] for whoever is locked out, and for what does not exist, is too large or comes with wrong credentials. An
/// unknown path is refused before credentials are looked at: what exists is no secret, it is the agent's SDK's.
pub fn admit(
    policies: &Policies,
    orders: &Orders,
    head: &Head<'_>,
    now: Timestamp,
    verified: impl Fn(&Fingerprint) -> bool,
    facts: &mut Facts,
) -> Result<Admission, Denial> {
    keep_out(orders.locks.of_address(head.client, now), Reason::AddressLocked, facts).map_err(Denial::stranger)?;
    let target = Target::parse(head.target).map_err(Denial::stranger)?;
    let token = token_of(&target);
    let known = token.as_ref().ok().and_then(Option::as_ref);
    let destination = route::find(policies, head.host, target.path, known).map_err(Denial::stranger)?;
    let query = match known {
        Some(token) => token.restore_query(target.query.as_deref()).map(str::to_owned),
        // A health check is anybody's, so what they add to it goes no further.
        None => target.query.filter(|_| destination.route != Route::Health),
    };
    let mut admitted = Admitted::to(destination, head, query);
    admitted.check_shape(head).map_err(|reason| admitted.deny(reason))?;
    // The health of an agent is public, as it is in all SDKs; it says nothing but yes or no.
    if admitted.route == Route::Health {
        return Ok(Admission::Admitted(admitted));
    }
    // Whose credentials these are is for the agent to say; a limit for each address holds.
    if admitted.route == Route::Open {
        return admitted.with_token(token).map(Admission::Admitted);
    }
    let credentials = credentials_of(head).map_err(|reason| admitted.deny(reason))?;
    let user = orders.locks.of_user(&credentials.username, now);
    keep_out(user, Reason::UserLocked, facts).map_err(|reason| admitted.deny(reason))?;
    admitted.evidence = Evidence::of(&admitted.agent, head, &credentials).map(Box::new);
    if credentials.username == CALL_USER {
        let admitted = admitted.with_call_credentials(&credentials, token, policies, now)?;
        facts.user = Some(CALL_USER.to_owned());
        return Ok(Admission::Admitted(admitted));
    }
    match admitted.agent.platform.users.check(&credentials, verified) {
        Check::Refused => Err(admitted.deny(Reason::CredentialsWrong)),
        // Only whoever has good credentials is told what is wrong with a token.
        Check::Accepted => {
            facts.user = Some(credentials.username);
            admitted.with_token(token).map(Admission::Admitted)
        }
        Check::Slow(check) => {
            let username = credentials.username;
            Ok(Admission::Pending(Box::new(Pending { check, admitted, token, username })))
        }
    }
}

fn credentials_of(head: &Head<'_>) -> Result<Credentials, Reason> {
    let header = head.authorization.ok_or(Reason::CredentialsMissing)?;
    basic::parse_header(header).ok_or(Reason::CredentialsWrong)
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

// === impl Admitted ===

impl Admitted {
    fn to(destination: Destination, head: &Head<'_>, query: Option<String>) -> Self {
        let Destination { agent, route, below, exposed } = destination;
        let &Head { method, client, .. } = head;
        let path = match &agent.expose.health {
            Some(health) if route == Route::Health => health.clone(),
            Some(_) | None => agent.upstream_path(&below),
        };
        Self { agent, route, method, path, query, token: None, call_credentials: None, evidence: None, exposed, client }
    }

    fn check_shape(&self, head: &Head<'_>) -> Result<(), Reason> {
        if !route::methods(self.route).0.contains(&head.method) {
            return Err(Reason::MethodNotAllowed);
        }
        let limit = self.body_limit() as u64;
        if head.content_length.is_some_and(|length| length > limit) { Err(Reason::BodyTooLarge) } else { Ok(()) }
    }

    fn with_token(self, token: Result<Option<UnverifiedToken>, Reason>) -> Result<Self, Denial> {
        match token {
            Ok(token) => Ok(Self { token, ..self }),
            Err(reason) => Err(self.deny(reason)),
        }
    }

    /// Per-call credentials are good only beside a token of their own document, kind and call.
    fn with_call_credentials(
        self,
        credentials: &Credentials,
        token: Result<Option<UnverifiedToken>, Reason>,
        policies: &Policies,
        now: Timestamp,
    ) -> Result<Self, Denial> {
        let password = credentials.password.expose();
        let Ok(credentials) = token::verify_password(password, policies.keys(), &self.agent.name, now) else {
            return Err(self.deny(Reason::CredentialsWrong));
        };
        let admitted = self.with_token(token)?;
        if admitted.token.as_ref().is_some_and(|token| credentials.belong_to(token)) {
            Ok(Self { call_credentials: Some(credentials), ..admitted })
        } else {
            Err(admitted.deny(Reason::CredentialsForeign))
        }
    }

    /// How many bytes of a body may be read.
    pub fn body_limit(&self) -> usize {
        let limits = &self.agent.bodies;
        match self.route {
            Route::Swml | Route::Swaig | Route::Includes => limits.request,
            Route::Summary | Route::Debug | Route::Callback => limits.callback,
            Route::Exposed | Route::Open => {
                self.exposed.as_ref().and_then(|exposed| exposed.body).unwrap_or(limits.callback)
            }
            Route::Asset | Route::Health | Route::Unknown => 0,
        }
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
    /// Does the slow work: some tens of milliseconds of one core. The fingerprint, if there is one, stands for a success
    /// from now on, whatever else is wrong with the request.
    pub fn verify(self, facts: &mut Facts) -> (Result<Admitted, Denial>, Option<Fingerprint>) {
        let fingerprint = self.check.run();
        if fingerprint.is_none() {
            return (Err(self.admitted.deny(Reason::CredentialsWrong)), None);
        }
        facts.user = Some(self.username);
        (self.admitted.with_token(self.token), fingerprint)
    }

    /// A refusal without having done the work.
    pub fn deny(&self, reason: Reason) -> Denial {
        self.admitted.deny(reason)
    }
}
