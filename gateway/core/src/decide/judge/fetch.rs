//! A fetch of a document: the call that it is for, and whether that may begin.

use super::{Judged, Moment, Refused, body::object, verified};
use crate::{
    call::{self, CallFacts, Caller},
    decide::{
        Admitted,
        checks::{Asker, Begin, CallEvent, CallKey, Check, Family, Question, call_check},
        detect, emergency,
        rewrite::{Lineage, seconds},
        rules::against_agent,
    },
    orders::Orders,
    policy::{Agent, Policies},
    record::{Facts, Medium, Rule, noted},
    switches::Asked,
    token::{Kind, VerifiedToken},
    verdict::Reason,
};

pub(super) fn judge_fetch(
    admitted: &Admitted,
    policies: &Policies,
    orders: &Orders,
    body: &[u8],
    moment: &Moment,
    facts: &mut Facts,
    watched: &mut Vec<Question>,
) -> Result<Judged, Refused> {
    let parsed = if body.is_empty() { None } else { Some(object(body, facts)?) };
    let call = parsed.as_ref().map(call::facts_of_fetch);
    let caller = call.as_ref().map_or(&Caller::Unidentified, |call| &call.caller);
    let call_id = call.as_ref().and_then(|call| call.call_id);
    note(call.as_ref(), facts);

    let agent = &admitted.agent;
    let (token, redirect, mut questions) = match &admitted.token {
        Some(_) => {
            let ids = parsed.as_ref().map(|body| call::call_ids(body, Kind::Swml)).unwrap_or_default();
            let (token, bound) = verified(admitted, policies, "", &ids, moment, facts)?;
            // A client that follows a redirect sends the credentials it has: they are of the token's document.
            let redirect = Lineage::of_token(&token, bound.call, agent);
            (Some(token), Some(redirect), Vec::from_iter(bound.question))
        }
        None => (None, None, Vec::new()),
    };
    let document = moment.document.ok_or(Reason::Internal)?;
    let fresh = moment.now.unix_seconds_after(lifetime(agent, facts.medium));
    let key = policies.keys().newest();
    let lineage = Lineage::of_fetch(key, document, (moment.now, fresh), (call_id, caller), agent, token.as_ref());
    facts.caller_digest = lineage.caller;
    if let Some(id) = call_id {
        // The call's end may have been heard of under an older key.
        let keys = policies.keys().all().iter();
        questions.extend(keys.map(|key| call_check(agent, key.call(id), CallEvent::Fetched, fresh)));
    }
    if token.is_none() {
        let asker = Asker { agent, caller: lineage.caller, call: None, function: None, client: admitted.client };
        watched.extend(detect::of_call(&asker, moment.now));
        questions.extend(begins(&asker, policies, (call_id, caller), fresh, facts)?);
    }
    facts.document = Some(document);
    check_orders(admitted, policies, orders, (token.as_ref(), &lineage, caller), moment, facts)?;
    Ok(Judged { lineage: Some(lineage), redirect, questions, ..Judged::default() })
}

fn note(call: Option<&CallFacts<'_>>, facts: &mut Facts) {
    facts.call_id = call.and_then(|call| call.call_id).map(noted);
    facts.caller = call.and_then(|call| call.caller.number()).map(str::to_owned);
    facts.called = call.and_then(|call| call.called).map(noted);
    facts.medium = call.map(|call| call.medium).unwrap_or_default();
}

fn lifetime(agent: &Agent, medium: Medium) -> std::time::Duration {
    match medium {
        Medium::Voice | Medium::Messaging => agent.tokens.lifetime,
        Medium::Chat => agent.tokens.chat_lifetime,
    }
}

/// A fetch without a token: who calls must be admitted, and there must be room for one more call.
fn begins(
    asker: &Asker<'_>,
    policies: &Policies,
    (call_id, caller): (Option<&str>, &Caller),
    expiry: u32,
    facts: &mut Facts,
) -> Result<Vec<Question>, Refused> {
    let agent = asker.agent;
    if !agent.callers.admits_caller(caller.number()) {
        against_agent(agent, Rule::Callers, Reason::CallerDenied, facts)?;
    }
    let mut questions = room(asker, policies, call_id, expiry);
    questions.extend(asker.rates(&agent.limits, &Family::Fetches, agent.is_shadow(Rule::Limits)));
    Ok(questions)
}

/// Whoever the body names, the call is also its first caller's.
fn check_orders(
    admitted: &Admitted,
    policies: &Policies,
    orders: &Orders,
    (token, lineage, caller): (Option<&VerifiedToken>, &Lineage, &Caller),
    moment: &Moment,
    facts: &mut Facts,
) -> Result<(), Refused> {
    if orders.is_empty() {
        return Ok(());
    }
    let first = token.and_then(|token| token.claims().caller);
    let named = caller.number().map(|number| policies.keys().newest().caller(number));
    let callers = [lineage.caller, first, named];
    let asked = Asked { agent: &admitted.agent.name, function: None, callers: &callers };
    Ok(emergency::check(orders, &asked, moment, facts)?)
}

/// A call begins, unless it is known.
fn room(asker: &Asker<'_>, policies: &Policies, call_id: Option<&str>, expiry: u32) -> Vec<Question> {
    let Some(id) = call_id else { return Vec::new() };
    let agent = asker.agent;
    let mut digests = policies.keys().all().iter().map(|key| key.call(id));
    let Some(call) = digests.next() else { return Vec::new() };
    let begin = Begin {
        call: CallKey { call, agent: agent.name.clone() },
        aliases: digests.collect(),
        caller: asker.caller_part().unwrap_or_default(),
        per_caller: agent.calls.concurrent_per_caller,
        per_agent: agent.calls.concurrent,
        idle: seconds(agent.calls.idle),
        expiry,
    };
    let is_shadow = agent.is_shadow(Rule::Calls);
    let room = Question::of(Rule::Calls, is_shadow, Check::Begin(begin), Reason::TooManyCalls);
    let rates = asker.rates(&agent.calls.limits, &Family::Calls, is_shadow);
    let counted = rates.map(|question| question.by(Rule::Calls, Reason::TooManyCalls));
    std::iter::once(room).chain(counted).collect()
}
