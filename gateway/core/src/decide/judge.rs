//! Step two: what the body adds. A plan comes out: what the state store has to be asked, and what is forwarded then.

mod body;
mod fetch;
mod function;

use std::sync::Arc;

pub(super) use body::Arguments;
use body::{has_alias_of, object};
use fetch::judge_fetch;
use function::judge_function;
use sha2::{Digest, Sha256};

use super::{
    Admitted, Denial,
    admit::reason_of,
    checks::{Check, Question, call_check, ended, exposed_rate},
    conclude::Sought,
    rewrite::Lineage,
    signed,
};
use crate::{
    call::{self},
    id::{CallDigest, DocumentId, RepeatKey},
    json::Node,
    keys::Key,
    orders::Orders,
    policy::{Agent, Exposed, FunctionRules, Policies, Unbound},
    record::{Facts, Medium, noted},
    route::Method,
    signature::Made,
    time::Timestamp,
    token::{Binding, Kind, TokenError, VerifiedToken},
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
    pub(super) sought: Vec<Sought>,
    /// Those of the function that is called.
    pub(super) rules: Option<Arc<FunctionRules>>,
    repeat: Option<RepeatKey>,
    questions: Vec<Question>,
}

/// Why a request is refused, and what is said in place of the reason's own sentence.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) sentence: Option<String>,
    /// The function's rules, if it is said in its words.
    pub(super) rules: Option<Arc<FunctionRules>>,
}

/// Looks at a request's body.
///
/// # Errors
/// A [`Denial`] for a body that can be read two ways, a token that was not made for exactly this, what a switch stops, or a caller who
/// is locked out.
pub fn judge(
    admitted: Admitted,
    policies: &Policies,
    orders: &Orders,
    body: &[u8],
    moment: &Moment,
    facts: &mut Facts,
) -> Result<Plan, Denial> {
    let route = admitted.route;
    signed::check(&admitted, policies, body, facts).map_err(|reason| admitted.deny(reason))?;
    let mut watched = Vec::new();
    let judged = match route {
        Route::Swml => judge_fetch(&admitted, policies, orders, body, moment, facts, &mut watched),
        Route::Swaig => judge_function(&admitted, policies, orders, body, moment, facts, &mut watched),
        Route::Summary | Route::Debug => judge_callback(&admitted, policies, body, moment, facts),
        Route::Includes => judge_includes(&admitted, policies, body, moment, facts),
        Route::Callback | Route::Asset => judge_unbound_kind(&admitted, policies, moment, facts),
        Route::Exposed | Route::Open => Ok(judge_exposed(&admitted)),
        Route::Health => Ok(Judged::default()),
        Route::Unknown => Err(Reason::NotFound.into()),
    };
    let medium = facts.medium;
    let Judged { edited, lineage, redirect, repeat, mut questions, sought, rules } = match judged {
        Ok(judged) => judged,
        Err(Refused { reason, sentence, rules }) => {
            return Err(Denial { medium, sentence, rules, watched, ..admitted.deny(reason) });
        }
    };
    questions.extend(watched);
    let Admitted { agent, route, method, path, query, exposed, .. } = admitted;
    let target = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let sent = edited.as_ref().map_or(body, String::as_bytes);
    // A signature vouches for whoever asked, as the gateway's credentials do.
    let is_signed = method == Method::Post && route != Route::Open;
    let signatures = is_signed.then(|| signed::for_agent(&agent, &target, sent)).flatten();
    Ok(Plan {
        agent,
        route,
        method,
        target,
        edited,
        signatures,
        lineage,
        redirect,
        medium,
        exposed,
        sought,
        rules,
        repeat,
        questions,
    })
}

#[derive(Default)]
struct Judged {
    edited: Option<String>,
    lineage: Option<Lineage>,
    redirect: Option<Lineage>,
    repeat: Option<RepeatKey>,
    questions: Vec<Question>,
    sought: Vec<Sought>,
    rules: Option<Arc<FunctionRules>>,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, sentence: None, rules: None }
    }
}

impl Refused {
    /// Refused by a rule of a function's own, in its words.
    pub(super) fn by(rules: &Arc<FunctionRules>, reason: Reason) -> Self {
        Self { reason, sentence: None, rules: Some(Arc::clone(rules)) }
    }
}

fn judge_callback(
    admitted: &Admitted,
    policies: &Policies,
    body: &[u8],
    moment: &Moment,
    facts: &mut Facts,
) -> Result<Judged, Refused> {
    let parsed = object(body, facts)?;
    refuse_function(&parsed, facts)?;
    let kind = if admitted.route == Route::Summary { Kind::Summary } else { Kind::Debug };
    let ids = call::call_ids(&parsed, kind);
    facts.call_id = ids.first().map(|id| noted(id));
    let (token, bound) = verified(admitted, policies, "", &ids, moment, facts)?;
    let mut questions = Vec::from_iter(bound.question);
    let is_summary = kind == Kind::Summary;
    if is_summary && call::is_over(&parsed) {
        let expiry = token.claims().expiry;
        let event = ended(&token);
        facts.ends_call = event.is_some();
        questions.extend(event.map(|event| call_check(&admitted.agent, bound.call, event, expiry)));
    }
    let lineage = Lineage::of_token(&token, bound.call, &admitted.agent);
    // An event is advice; a summary is work, which the platform hands in again until it is taken.
    let repeat = is_summary.then(|| repeat_key(&token, body));
    Ok(Judged { lineage: Some(lineage), repeat, questions, ..Judged::default() })
}

fn judge_includes(
    admitted: &Admitted,
    policies: &Policies,
    body: &[u8],
    moment: &Moment,
    facts: &mut Facts,
) -> Result<Judged, Refused> {
    refuse_function(&object(body, facts)?, facts)?;
    judge_unbound_kind(admitted, policies, moment, facts)
}

/// Some agents take everything at one path: what names a function is a call of it, for which this token is not good.
fn refuse_function(body: &Node<'_>, facts: &mut Facts) -> Result<(), Reason> {
    if has_alias_of(body, &["function"]) {
        return Err(Reason::TokenMismatch);
    }
    let Some(function) = body.get("function") else { return Ok(()) };
    facts.function = function.as_str().map(noted);
    Err(Reason::TokenMismatch)
}

/// Kinds whose requests carry ids of other legs, or none: their token binds agent, path, query and time.
fn judge_unbound_kind(
    admitted: &Admitted,
    policies: &Policies,
    moment: &Moment,
    facts: &mut Facts,
) -> Result<Judged, Refused> {
    let token = verified_token(admitted, policies, "", moment, facts)?;
    let lineage = Lineage::of_unbound(&token, &admitted.agent);
    Ok(Judged { lineage: Some(lineage), ..Judged::default() })
}

/// Paths of the agent's own: nothing of them is known but who may ask, and how often.
fn judge_exposed(admitted: &Admitted) -> Judged {
    let questions = admitted.exposed.iter().flat_map(|exposed| {
        let limits = exposed.limits.iter();
        limits.map(|rule| exposed_rate(&admitted.agent, &exposed.path, rule, admitted.client))
    });
    Judged { questions: questions.collect(), ..Judged::default() }
}

// === the token and the call ===

/// The call that a request belongs to.
struct Bound<'k> {
    call: CallDigest,
    key: &'k Key,
    question: Option<Question>,
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
    let verified = unverified.verify(policies.keys(), &binding, moment.now);
    if matches!(verified, Ok(_) | Err(TokenError::Expired)) {
        facts.document = Some(unverified.claimed_document());
        facts.within = facts.document.filter(|_| admitted.route == Route::Swml);
    }
    let token = verified.map_err(reason_of)?;
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
            named.then_some(Bound { call, key, question: None }).ok_or(Reason::TokenForeignCall)?
        }
        None => {
            let call = key.call(ids.first().ok_or(Reason::TokenForeignCall)?);
            let Unbound::Bind(window) = admitted.agent.tokens.unbound else { return Err(Reason::TokenUnbound) };
            let (document, until, expiry) = (claims.document, claims.bind_until(window), claims.expiry);
            let check = Check::Bind { document, call, until, expiry };
            Bound { call, key, question: Some(Question::always(check, Reason::TokenUnbound)) }
        }
    };
    Ok((token, bound))
}

/// The platform sends a request again with the same URL and the same bytes. The token stands for the URL.
fn repeat_key(token: &VerifiedToken, body: &[u8]) -> RepeatKey {
    RepeatKey(Sha256::new().chain_update(token.mac()).chain_update(body).finalize().into())
}

// === impl Plan ===

impl Plan {
    /// What the state store has to be asked. It may be nothing.
    pub fn questions(&self) -> &[Question] {
        &self.questions
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
