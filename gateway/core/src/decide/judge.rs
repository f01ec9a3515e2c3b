//! Step two: what the body adds. A plan comes out: what the state store has to be asked, and what is forwarded then.

mod body;

use std::sync::Arc;

use body::{arguments_of, object};
use sha2::{Digest, Sha256};

use super::{
    Admitted, Denial,
    admit::reason_of,
    checks::{CallEvent, Check, Family, address_subject, call_check, ended, rate_check, rate_checks},
    rewrite::Lineage,
    signed,
};
use crate::{
    call::{self, Caller},
    id::{CallDigest, CallerDigest, DocumentId, FunctionName, RepeatKey},
    json::{Edits, Node},
    keys::Key,
    policy::{Agent, Exposed, Policies, Unbound},
    record::{Facts, Medium},
    route::Method,
    signature::Made,
    time::Timestamp,
    token::{self, Binding, Kind, VerifiedToken},
    verdict::{Reason, Route},
};

/// What is made anew for each request.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// When it came.
    pub now: Timestamp,
    /// A random id for the document that is fetched; other requests need none.
    pub document: Option<DocumentId>,
}

/// A request that is in order, as far as can be told without asking the state store.
#[derive(Debug)]
#[must_use]
pub struct Plan {
    pub(super) agent: Arc<Agent>,
    pub(super) route: Route,
    pub(super) method: Method,
    pub(super) target: String,
    /// The body, if it isn't to be forwarded as it came.
    pub(super) edited: Option<String>,
    pub(super) signatures: Option<Made>,
    pub(super) lineage: Option<Lineage>,
    pub(super) redirect: Option<Lineage>,
    pub(super) medium: Medium,
    pub(super) exposed: Option<Arc<Exposed>>,
    repeat: Option<RepeatKey>,
    checks: Vec<Check>,
}

/// Looks at a request's body.
///
/// # Errors
/// A [`Denial`] for a body that can be read two ways, or a token that was not made for exactly this.
pub fn judge(
    admitted: Admitted,
    policies: &Policies,
    body: &[u8],
    moment: &Moment,
    facts: &mut Facts,
) -> Result<Plan, Denial> {
    let route = admitted.route;
    signed::check(&admitted, policies, body, facts).map_err(|reason| admitted.deny(reason))?;
    let judged = match route {
        Route::Swml => judge_fetch(&admitted, policies, body, moment, facts),
        Route::Swaig => judge_function(&admitted, policies, body, moment, facts),
        Route::Summary | Route::Debug => judge_callback(&admitted, policies, body, moment, facts),
        Route::Includes => judge_includes(&admitted, policies, body, moment, facts),
        Route::Callback | Route::Asset => judge_unbound_kind(&admitted, policies, moment, facts),
        Route::Exposed | Route::Open => Ok(judge_exposed(&admitted)),
        Route::Health => Ok(Judged::default()),
        Route::Unknown => Err(Reason::NotFound),
    };
    let medium = facts.medium;
    let Judged { edited, lineage, redirect, repeat, checks } =
        judged.map_err(|reason| Denial { medium, ..admitted.deny(reason) })?;
    let Admitted { agent, route, method, path, query, exposed, .. } = admitted;
    let target = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let sent = edited.as_ref().map_or(body, String::as_bytes);
    // A signature vouches for whoever asked, as the gateway's credentials do.
    let is_signed = method == Method::Post && route != Route::Open;
    let signatures = is_signed.then(|| signed::for_agent(&agent, &target, sent)).flatten();
    Ok(Plan { agent, route, method, target, edited, signatures, lineage, redirect, medium, exposed, repeat, checks })
}

#[derive(Default)]
struct Judged {
    edited: Option<String>,
    lineage: Option<Lineage>,
    redirect: Option<Lineage>,
    repeat: Option<RepeatKey>,
    checks: Vec<Check>,
}

fn judge_fetch(
    admitted: &Admitted,
    policies: &Policies,
    body: &[u8],
    moment: &Moment,
    facts: &mut Facts,
) -> Result<Judged, Reason> {
    let parsed = if body.is_empty() { None } else { Some(object(body, facts)?) };
    let call = parsed.as_ref().map(call::facts_of_fetch);
    let caller = call.as_ref().map_or(&Caller::Unidentified, |call| &call.caller);
    let call_id = call.as_ref().and_then(|call| call.call_id);
    facts.call_id = call_id.map(str::to_owned);
    facts.caller = caller.number().map(str::to_owned);
    facts.called = call.as_ref().and_then(|call| call.called).map(str::to_owned);
    facts.medium = call.as_ref().map(|call| call.medium).unwrap_or_default();

    let agent = &admitted.agent;
    let (token, redirect, mut checks) = match &admitted.token {
        Some(_) => {
            let ids = parsed.as_ref().map(|body| call::call_ids(body, Kind::Swml)).unwrap_or_default();
            let (token, bound) = verified(admitted, policies, "", &ids, moment, facts)?;
            // A client that follows a redirect sends the credentials it has: they are of the token's document.
            let redirect = Lineage::of_token(&token, bound.call, agent);
            (Some(token), Some(redirect), bound.check.into_iter().collect())
        }
        None => (None, None, Vec::new()),
    };
    let key = policies.keys().newest();
    let document = moment.document.ok_or(Reason::Internal)?;
    let lifetime = match facts.medium {
        Medium::Voice | Medium::Messaging => agent.tokens.lifetime,
        Medium::Chat => agent.tokens.chat_lifetime,
    };
    let fresh = moment.now.unix_seconds_after(lifetime);
    let lineage = Lineage::of_fetch(key, document, (moment.now, fresh), (call_id, caller), agent, token.as_ref());
    if let Some(id) = call_id {
        // The call's end may have been heard of under an older key.
        let keys = policies.keys().all().iter();
        checks.extend(keys.map(|key| call_check(agent, key.call(id), CallEvent::Fetched, fresh)));
    }
    if token.is_none() {
        checks.extend(rate_checks(admitted, &Family::Fetches, lineage.caller, None));
    }
    facts.document = Some(document);
    facts.caller_digest = lineage.caller;
    Ok(Judged { lineage: Some(lineage), redirect, checks, ..Judged::default() })
}

fn judge_function(
    admitted: &Admitted,
    policies: &Policies,
    body: &[u8],
    moment: &Moment,
    facts: &mut Facts,
) -> Result<Judged, Reason> {
    let agent = &admitted.agent;
    let parsed = object(body, facts)?;
    let named = parsed.str_at("function").and_then(|name| name.parse::<FunctionName>().ok());
    let function = named.ok_or(Reason::FunctionMissing)?;
    facts.function = Some(function.to_string());
    let ids = call::call_ids(&parsed, Kind::Tool);
    facts.call_id = ids.first().map(|id| (*id).to_owned());
    let text = std::str::from_utf8(body).map_err(|_| Reason::BodyNotJson)?;
    let arguments = arguments_of(&parsed)?;
    facts.arguments = arguments.map(|arguments| arguments.redacted(text, agent));

    let (token, bound) = verified(admitted, policies, function.as_str(), &ids, moment, facts)?;
    facts.schema = Some(token.claims().schema).filter(|digest| *digest != [0; 8]);
    let caller = caller_digest(&parsed, &token, bound.key, facts);
    let mut checks = Vec::from_iter(bound.check);
    let expiry = token.claims().expiry;
    if token.claims().kind != Kind::Hook {
        checks.push(call_check(agent, bound.call, CallEvent::Used, expiry));
        checks.extend(rate_checks(admitted, &Family::Functions, caller, Some(bound.call)));
    } else if function.is_hangup() && !call::is_chat(&parsed) {
        checks.extend(ended(&token).map(|event| call_check(agent, bound.call, event, expiry)));
    }
    let lineage = Lineage::of_token(&token, bound.call, agent);
    let edited = without_own_metadata_token(admitted, &parsed, text, bound.key);
    let repeat = Some(repeat_key(&token, body));
    Ok(Judged { edited, lineage: Some(lineage), repeat, checks, ..Judged::default() })
}

fn judge_callback(
    admitted: &Admitted,
    policies: &Policies,
    body: &[u8],
    moment: &Moment,
    facts: &mut Facts,
) -> Result<Judged, Reason> {
    let parsed = object(body, facts)?;
    refuse_function(&parsed, facts)?;
    let kind = if admitted.route == Route::Summary { Kind::Summary } else { Kind::Debug };
    let ids = call::call_ids(&parsed, kind);
    facts.call_id = ids.first().map(|id| (*id).to_owned());
    let (token, bound) = verified(admitted, policies, "", &ids, moment, facts)?;
    let mut checks = Vec::from_iter(bound.check);
    let is_summary = kind == Kind::Summary;
    if is_summary && call::is_over(&parsed) {
        let expiry = token.claims().expiry;
        checks.extend(ended(&token).map(|event| call_check(&admitted.agent, bound.call, event, expiry)));
    }
    let lineage = Lineage::of_token(&token, bound.call, &admitted.agent);
    // An event is advice; a summary is work, which the platform hands in again until it is taken.
    let repeat = is_summary.then(|| repeat_key(&token, body));
    Ok(Judged { lineage: Some(lineage), repeat, checks, ..Judged::default() })
}

fn judge_includes(
    admitted: &Admitted,
    policies: &Policies,
    body: &[u8],
    moment: &Moment,
    facts: &mut Facts,
) -> Result<Judged, Reason> {
    refuse_function(&object(body, facts)?, facts)?;
    judge_unbound_kind(admitted, policies, moment, facts)
}

/// Some agents take everything at one path: what names a function is a call of it, for which this token is not good.
fn refuse_function(body: &Node<'_>, facts: &mut Facts) -> Result<(), Reason> {
    let Some(function) = body.get("function") else { return Ok(()) };
    facts.function = function.as_str().map(str::to_owned);
    Err(Reason::TokenMismatch)
}

/// Kinds whose requests carry ids of other legs, or none: their token binds agent, path, query and time.
fn judge_unbound_kind(
    admitted: &Admitted,
    policies: &Policies,
    moment: &Moment,
    facts: &mut Facts,
) -> Result<Judged, Reason> {
    let token = verified_token(admitted, policies, "", moment, facts)?;
    let lineage = Lineage::of_unbound(&token, &admitted.agent);
    Ok(Judged { lineage: Some(lineage), ..Judged::default() })
}

/// Paths of the agent's own: nothing of them is known but who may ask, and how often.
fn judge_exposed(admitted: &Admitted) -> Judged {
    let checks = admitted.exposed.iter().flat_map(|exposed| {
        let family = Family::Exposed(exposed.path.clone());
        let subject = address_subject(admitted.client);
        exposed.limits.iter().map(move |limit| rate_check(&admitted.agent, &family, limit, subject))
    });
    Judged { checks: checks.collect(), ..Judged::default() }
}

// === the token and the call ===

/// The call that a request belongs to.
struct Bound<'k> {
    call: CallDigest,
    key: &'k Key,
    check: Option<Check>,
}

fn verified_token(
    admitted: &Admitted,
    policies: &Policies,
    function: &str,
    moment: &Moment,
    facts: &mut Facts,
) -> Result<VerifiedToken, Reason> {
    let unverified = admitted.token.as_ref().ok_or(Reason::TokenMissing)?;
    let Admitted { agent, path, query, .. } = admitted;
    let binding = Binding { agent: &agent.name, function, path, query: query.as_deref() };
    let token = unverified.verify(policies.keys(), &binding, moment.now).map_err(reason_of)?;
    facts.document = Some(token.claims().document);
    if admitted.call_credentials.is_some_and(|credentials| credentials.are_expired()) {
        return Err(Reason::TokenExpired);
    }
    Ok(token)
}

fn verified<'k>(
    admitted: &Admitted,
    policies: &'k Policies,
    function: &str,
    ids: &[&str],
    moment: &Moment,
    facts: &mut Facts,
) -> Result<(VerifiedToken, Bound<'k>), Reason> {
    let token = verified_token(admitted, policies, function, moment, facts)?;
    let key = token.key(policies.keys()).ok_or(Reason::TokenKeyUnknown)?;
    let claims = token.claims();
    let bound = match claims.call {
        Some(call) => {
            let named = ids.iter().any(|id| key.call(id) == call);
            named.then_some(Bound { call, key, check: None }).ok_or(Reason::TokenForeignCall)?
        }
        None => {
            let call = key.call(ids.first().ok_or(Reason::TokenForeignCall)?);
            let Unbound::Bind(window) = admitted.agent.tokens.unbound else { return Err(Reason::TokenUnbound) };
            let (document, until, expiry) = (claims.document, claims.bind_until(window), claims.expiry);
            Bound { call, key, check: Some(Check::Bind { document, call, until, expiry }) }
        }
    };
    Ok((token, bound))
}

/// The caller that counts: the one that was fixed when the document was fetched. A body that names another is noted.
fn caller_digest(body: &Node<'_>, token: &VerifiedToken, key: &Key, facts: &mut Facts) -> Option<CallerDigest> {
    let named = call::caller_of_function_call(body);
    let digest = named.number().map(|number| key.caller(number));
    let claims = token.claims();
    // Without a call at the fetch there was no caller either, so the first word on it is the body's.
    let counts = if claims.call.is_none() { claims.caller.or(digest) } else { claims.caller };
    if digest.is_some() && digest == counts {
        facts.caller = named.number().map(str::to_owned);
    }
    facts.caller_disagrees = digest.is_some() && digest != counts;
    facts.caller_digest = counts;
    counts
}

/// The platform sends a request again with the same URL and the same bytes. The token stands for the URL.
fn repeat_key(token: &VerifiedToken, body: &[u8]) -> RepeatKey {
    RepeatKey(Sha256::new().chain_update(token.mac()).chain_update(body).finalize().into())
}

/// Some SDKs read a `meta_data_token` as their own security token (PROTOCOL.md, 2.3), so ours goes before they see it.
fn without_own_metadata_token(admitted: &Admitted, body: &Node<'_>, text: &str, key: &Key) -> Option<String> {
    let sent = body.str_at("meta_data_token")?;
    let Admitted { agent, path, query, .. } = admitted;
    let binding = Binding { agent: &agent.name, function: "", path, query: query.as_deref() };
    if sent != token::metadata_token(key, &binding) {
        return None;
    }
    let mut edits = Edits::default();
    edits.remove_members(body, |name| name == "meta_data_token");
    edits.apply(text).ok()
}

// === impl Plan ===

impl Plan {
    /// What the state store has to be asked. It may be nothing.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The agent that is asked.
    pub fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// What is asked of it.
    pub fn route(&self) -> Route {
        self.route
    }

    /// What this request has in common with its repetitions, if it is of those that the platform sends again.
    pub fn repeat(&self) -> Option<RepeatKey> {
        self.repeat
    }

    /// A refusal of this request.
    pub fn deny(&self, reason: Reason) -> Denial {
        Denial { medium: self.medium, ..Denial::of(reason, self.route, &self.agent) }
    }
}
