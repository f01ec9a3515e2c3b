//! Step two: what the body adds. A plan comes out: what the state store has to be asked, and what is forwarded then.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    Admitted, Denial,
    admit::reason_of,
    rewrite::{Lineage, seconds},
    signed,
};
use crate::{
    call::{self, Caller},
    id::{AgentName, CallDigest, CallerDigest, DocumentId, FunctionName, RepeatKey},
    json::{self, Edits, JsonError, Node, Value},
    keys::Key,
    policy::{Agent, Exposed, ExposedPath, Limit, Per, Policies, Unbound, UnidentifiedCallers},
    record::{Facts, Medium},
    route::Method,
    sanitize,
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

/// A question to the state store. All of a plan's are answered at once, and a request that one of them refuses counts for
/// none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// May one more request be counted in this cell?
    Rate(CellKey),
    /// Is this the call that owns the document, or is it the first to use it?
    Bind {
        /// The document.
        document: DocumentId,
        /// The call that uses it.
        call: CallDigest,
        /// The last second in which a first use is accepted, in Unix seconds.
        until: u32,
        /// When the document's tokens die, in Unix seconds: from then on the answer needn't be kept.
        expiry: u32,
    },
    /// Does the call go on? What happens to it is remembered with the answer.
    Call {
        /// The call, at an agent.
        call: CallKey,
        /// What happens.
        event: CallEvent,
        /// How many seconds after its end it is served.
        grace: u32,
        /// When its last token dies, in Unix seconds: from then on nothing needs to be known of it.
        expiry: u32,
    },
}

/// A call, at one of the agents that it is or was at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The call.
    pub call: CallDigest,
    /// The agent.
    pub agent: AgentName,
}

/// What happens to a call at an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEvent {
    /// A document is made for it. A call that has ended at one agent and goes on at another may come back.
    Fetched,
    /// One of its functions is called.
    Used,
    /// It has ended there. That is never refused.
    Ended {
        /// When the document left that says so, in Unix seconds: a later one may still go on.
        issued: u32,
    },
}

/// Which requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CellKey {
    /// At which agent.
    pub agent: AgentName,
    /// Which of its requests.
    pub family: Family,
    /// By which limit: a changed limit counts anew, an unchanged one goes on counting over a reload.
    pub limit: Limit,
    /// Whose.
    pub subject: Subject,
}

/// Requests of one sort.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Family {
    /// Function calls.
    Functions,
    /// Calls that begin: SWML fetches without a token.
    Fetches,
    /// Requests for paths that one item of the policy exposes.
    Exposed(ExposedPath),
}

/// Whose requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One caller's.
    Caller(CallerDigest),
    /// One call's.
    Call(CallDigest),
    /// One address's; of an IPv6 address only the first 64 bits, since a host has all of the rest.
    Address(IpAddr),
    /// Those of all callers, or clients, who can't be told apart.
    Unidentified,
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
    // The call's end may have been heard of under an older key.
    for key in call_id.iter().flat_map(|_| policies.keys().all()) {
        let call = key.call(call_id.unwrap_or_default());
        checks.push(call_check(agent, call, CallEvent::Fetched, fresh));
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
    } else if function.is_hangup() {
        checks.push(call_check(agent, bound.call, ended(&token), expiry));
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
        checks.push(call_check(&admitted.agent, bound.call, ended(&token), token.claims().expiry));
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

/// What is asked of a call's state, for an event at this agent.
fn call_check(agent: &Agent, call: CallDigest, event: CallEvent, expiry: u32) -> Check {
    let call = CallKey { call, agent: agent.name.clone() };
    Check::Call { call, event, grace: seconds(agent.tokens.ended_grace), expiry }
}

fn ended(token: &VerifiedToken) -> CallEvent {
    CallEvent::Ended { issued: token.claims().issued }
}

/// The platform sends a request again with the same URL and the same bytes. The token stands for the URL.
fn repeat_key(token: &VerifiedToken, body: &[u8]) -> RepeatKey {
    RepeatKey(Sha256::new().chain_update(token.mac()).chain_update(body).finalize().into())
}

// === limits ===

fn caller_subject(agent: &Agent, caller: Option<CallerDigest>) -> Option<Subject> {
    match (caller, agent.unidentified_callers) {
        (Some(caller), _) => Some(Subject::Caller(caller)),
        (None, UnidentifiedCallers::Shared) => Some(Subject::Unidentified),
        (None, UnidentifiedCallers::PerCall) => None,
    }
}

/// Whose request it is by its source; all whose source isn't known are one.
fn address_subject(client: Option<IpAddr>) -> Subject {
    match client.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Subject::Address(Ipv6Addr::from(network).into())
        }
        Some(address @ IpAddr::V4(_)) => Subject::Address(address),
        None => Subject::Unidentified,
    }
}

fn rate_checks(
    admitted: &Admitted,
    family: &Family,
    caller: Option<CallerDigest>,
    call: Option<CallDigest>,
) -> impl Iterator<Item = Check> {
    let agent = &admitted.agent;
    agent.limits.iter().filter_map(move |limit| {
        let subject = match limit.per {
            Per::Caller => caller_subject(agent, caller)?,
            Per::Call => Subject::Call(call?),
            Per::Address => address_subject(admitted.client),
        };
        Some(rate_check(agent, family, limit, subject))
    })
}

fn rate_check(agent: &Agent, family: &Family, limit: &Limit, subject: Subject) -> Check {
    Check::Rate(CellKey { agent: agent.name.clone(), family: family.clone(), limit: limit.clone(), subject })
}

// === the body ===

fn object<'b>(body: &'b [u8], facts: &mut Facts) -> Result<Node<'b>, Reason> {
    let parsed = json::parse(body).map_err(|error| {
        facts.detail = Some(error.to_string());
        match error {
            JsonError::NotUtf8 | JsonError::Malformed { .. } => Reason::BodyNotJson,
            JsonError::DuplicateKey { .. } => Reason::BodyDuplicateKey,
            JsonError::TooDeep => Reason::BodyTooDeep,
        }
    })?;
    if !parsed.is_object() {
        facts.detail = Some("not an object".to_owned());
        return Err(Reason::BodyNotJson);
    }
    // Go and .NET read `Function` as `function`; which of the two counts is theirs to say.
    if has_keys_of_one_word(&parsed) {
        facts.detail = Some("two keys differ in their case alone".to_owned());
        return Err(Reason::BodyDuplicateKey);
    }
    Ok(parsed)
}

fn has_keys_of_one_word(object: &Node<'_>) -> bool {
    let keys = || object.members().iter().map(|member| member.key.as_ref());
    // The platform's own keys are plain, but for one or two: no two plain keys fold into one.
    let is_plain = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if keys().all(is_plain) {
        return false;
    }
    let mut seen = HashSet::new();
    !keys().all(|key| seen.insert(folded(key)))
}

/// A key as parsers compare it that don't tell the case: Go's folds also the long s and the Kelvin sign.
fn folded(key: &str) -> String {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// A function's arguments, wherever the SDKs look for them (PROTOCOL.md, 4.6).
enum Arguments<'b, 'n> {
    Parsed(&'n Node<'b>),
    Raw(&'n str),
}

/// Finds the arguments.
///
/// # Errors
/// [`Reason::ArgumentsDisagree`] if one SDK would read others than another: `raw` that is JSON and means something else
/// than `parsed[0]`, `raw` that can be read two ways, or the flat `arguments` beside `argument`.
fn arguments_of<'b, 'n>(body: &'n Node<'b>) -> Result<Option<Arguments<'b, 'n>>, Reason> {
    let flat = body.get("arguments");
    let Some(argument) = body.get("argument") else {
        return Ok(flat.map(Arguments::Parsed));
    };
    if flat.is_some() {
        return Err(Reason::ArgumentsDisagree);
    }
    if let Value::String(raw) = &argument.value {
        return Ok(Some(Arguments::Raw(raw)));
    }
    let parsed = argument.get("parsed").and_then(|parsed| parsed.items().first());
    let raw = argument.str_at("raw");
    match (parsed, raw) {
        (Some(parsed), Some(raw)) => match json::parse(raw.as_bytes()) {
            Ok(from_raw) if !from_raw.means(parsed) => Err(Reason::ArgumentsDisagree),
            Err(JsonError::DuplicateKey { .. } | JsonError::TooDeep) => Err(Reason::ArgumentsDisagree),
            // The platform mends what a model wrote badly: then only `parsed` is JSON.
            Ok(_) | Err(JsonError::NotUtf8 | JsonError::Malformed { .. }) => Ok(Some(Arguments::Parsed(parsed))),
        },
        (Some(parsed), None) => Ok(Some(Arguments::Parsed(parsed))),
        (None, Some(raw)) => Ok(Some(Arguments::Raw(raw))),
        (None, None) => Ok(None),
    }
}

impl Arguments<'_, '_> {
    fn redacted(&self, text: &str, agent: &Agent) -> String {
        match self {
            Arguments::Parsed(node) => sanitize::redact(node, text, &agent.sensitive),
            Arguments::Raw(raw) => match json::parse(raw.as_bytes()) {
                Ok(node) => sanitize::redact(&node, raw, &agent.sensitive),
                // What can't be taken apart can't be redacted either.
                Err(_) => json::quote(sanitize::REDACTED),
            },
        }
    }
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
