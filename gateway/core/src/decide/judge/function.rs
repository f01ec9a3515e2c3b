//! A function call: its token, its arguments, and the rules of the policy for it.

use std::sync::Arc;

use super::{
    Judged, Moment, Refused,
    body::{arguments_of, object},
    repeat_key, verified,
};
use crate::{
    call,
    decide::{
        Admitted,
        checks::{Asker, CallEvent, Family, Question, call_check, ended},
        detect, emergency,
        rewrite::Lineage,
        rules::{self, Called},
    },
    id::{CallerDigest, FunctionName},
    json::{Edits, Node},
    keys::Key,
    orders::Orders,
    policy::Policies,
    record::{Facts, Rule, noted},
    switches::Asked,
    token::{self, Binding, Kind, VerifiedToken},
    verdict::Reason,
};

pub(super) fn judge_function(
    admitted: &Admitted,
    policies: &Policies,
    orders: &Orders,
    body: &[u8],
    moment: &Moment,
    facts: &mut Facts,
    watched: &mut Vec<Question>,
) -> Result<Judged, Refused> {
    let agent = &admitted.agent;
    let parsed = object(body, facts)?;
    let named = parsed.str_at("function").and_then(|name| name.parse::<FunctionName>().ok());
    let function = named.ok_or(Reason::FunctionMissing)?;
    facts.function = Some(function.to_string());
    let ids = call::call_ids(&parsed, Kind::Tool);
    facts.call_id = ids.first().map(|id| noted(id));
    let text = std::str::from_utf8(body).map_err(|_| Reason::BodyNotJson)?;
    let arguments = arguments_of(&parsed)?;
    let own_rules = agent.functions.rules(function.as_str());
    facts.arguments = arguments.as_ref().map(|arguments| arguments.redacted(text, &own_rules.sensitive));

    let (token, bound) = verified(admitted, policies, function.as_str(), &ids, moment, facts)?;
    let claims = *token.claims();
    facts.schema = Some(claims.schema).filter(|digest| *digest != [0; 8]);
    let (caller, named) = caller_digests(&parsed, &token, bound.key, facts);
    let (call, expiry) = (bound.call, claims.expiry);
    // As many as an ordinary policy asks.
    let mut questions = Vec::with_capacity(16);
    questions.extend(bound.question);
    let mut sought = Vec::new();
    if claims.kind != Kind::Hook {
        let asker = Asker { agent, caller, call: Some(call), function: Some(&function), client: admitted.client };
        watched.extend(detect::of_function(&asker, arguments.as_ref(), moment.now));
        // Where nobody was named at the fetch, a switch stops whom the body names.
        let callers = [caller, named.filter(|_| caller.is_none())];
        let asked = Asked { agent: &agent.name, function: Some(&function), callers: &callers };
        let stopped = emergency::check(orders, &asked, moment, facts);
        stopped.map_err(|reason| Refused::by(own_rules, reason))?;
        questions.push(call_check(agent, call, CallEvent::Used, expiry));
        let called = Called {
            asker: &asker,
            rules: own_rules,
            body: &parsed,
            arguments: arguments.as_ref(),
            call,
            caller: facts.caller.clone(),
            caller_disagrees: facts.caller_disagrees,
            schema: claims.schema,
            expiry,
            now: moment.now,
        };
        let ruled = rules::apply(&called, policies, facts)?;
        questions.extend(asker.rates(&agent.limits, &Family::Functions, agent.is_shadow(Rule::Limits)));
        questions.extend(ruled.questions);
        sought = ruled.sought;
    } else if function.is_hangup() && !call::is_chat(&parsed) {
        let event = ended(&token);
        facts.ends_call = event.is_some();
        questions.extend(event.map(|event| call_check(agent, call, event, expiry)));
    }
    let lineage = Lineage::of_token(&token, call, agent);
    let edited = without_own_metadata_token(admitted, &parsed, text, bound.key);
    let repeat = Some(repeat_key(&token, body));
    Ok(Judged {
        edited,
        lineage: Some(lineage),
        repeat,
        questions,
        sought,
        rules: Some(Arc::clone(own_rules)),
        ..Judged::default()
    })
}

/// The caller that counts: the one that was fixed when the document was fetched; and the one that the body names. That
/// they are not the same is noted.
fn caller_digests(
    body: &Node<'_>,
    token: &VerifiedToken,
    key: &Key,
    facts: &mut Facts,
) -> (Option<CallerDigest>, Option<CallerDigest>) {
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
    (counts, digest)
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
