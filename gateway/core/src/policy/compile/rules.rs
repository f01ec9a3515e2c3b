//! `tokens`, `callers`, `limits`, `mode`, `shadow`, `say`, `sensitive`, `bodies`.

use std::{ops::RangeInclusive, time::Duration};

use super::super::{BodyLimits, Limit, LimitRule, Per, Sentences, Shadow, TokenRules, Unbound, UnidentifiedCallers};
use super::patterns;
use crate::{
    pattern::Access,
    record::Rule,
    yaml::{Field, Fields},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// How many limits an agent may have: each is a cell in the state store for each caller or call.
const MAX_LIMITS: usize = 16;

/// `allow` and `burst`.
const COUNT: RangeInclusive<u64> = 1..=1_000_000;

/// What makes requests count together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Agent,
    Caller,
    Call,
    Function,
    Address,
}

pub(super) const PARTS: [(&str, Part); 5] = [
    ("caller", Part::Caller),
    ("call", Part::Call),
    ("function", Part::Function),
    ("address", Part::Address),
    ("agent", Part::Agent),
];

/// How many sensitive names an agent may have.
const MAX_SENSITIVE: usize = 256;

/// How long a sentence may be, in characters.
const MAX_SENTENCE: usize = 500;

/// `bodies`, and `body` of an exposed path.
pub(super) const BODY: RangeInclusive<usize> = 1 << 10..=64 << 20;

pub(super) fn tokens(fields: &mut Fields<'_>) -> TokenRules {
    let default = TokenRules::default();
    let lifetime = fields.take("lifetime").duration(SECOND..=DAY);
    let chat_lifetime = fields.take("chat_lifetime").duration(SECOND..=WEEK);
    let grace = fields.take("grace").duration(Duration::ZERO..=DAY);
    let ended_grace = fields.take("ended_grace").duration(Duration::ZERO..=HOUR);
    let bind = fields.take("unbound").choice(&[("bind", true), ("deny", false)]).unwrap_or(true);
    let within = fields.take("bind_within");
    if within.is_given() && !bind {
        within.report().note(within.key_place(), "`bind_within` is read only with `unbound: bind`; remove one of them");
    }
    let window = within.duration(SECOND..=HOUR);
    TokenRules {
        lifetime: lifetime.unwrap_or(default.lifetime),
        chat_lifetime: chat_lifetime.unwrap_or(default.chat_lifetime),
        grace: grace.unwrap_or(default.grace),
        ended_grace: ended_grace.unwrap_or(default.ended_grace),
        unbound: match (bind, window) {
            (false, _) => Unbound::Deny,
            (true, Some(window)) => Unbound::Bind(window),
            (true, None) => default.unbound,
        },
    }
}

/// `callers` of an agent: what those without a number are limited by, and who may call.
pub(super) fn callers(fields: &mut Fields<'_>) -> (UnidentifiedCallers, Access) {
    let choices = [("per_call", UnidentifiedCallers::PerCall), ("shared", UnidentifiedCallers::Shared)];
    let unidentified = fields.take("unidentified").choice(&choices).unwrap_or(UnidentifiedCallers::PerCall);
    (unidentified, patterns::callers_beside(fields))
}

pub(super) fn limits(field: Field<'_>) -> Vec<LimitRule> {
    limits_per(field, &PARTS)
}

/// Limits where nothing is known of a request but where it comes from.
pub(super) fn address_limits(field: Field<'_>) -> Vec<LimitRule> {
    limits_per(field, &[("address", Part::Address)])
}

fn limits_per(field: Field<'_>, parts: &[(&'static str, Part)]) -> Vec<LimitRule> {
    let items = field.list(MAX_LIMITS).unwrap_or_default();
    items.into_iter().filter_map(|item| item.mapping(|fields| limit(fields, parts))).collect()
}

fn limit(fields: &mut Fields<'_>, parts: &[(&'static str, Part)]) -> Option<LimitRule> {
    let per = per(fields.take("per").required(), parts);
    let limit = quota(fields, per.unwrap_or_default());
    let is_shadow = mode(fields);
    per.and(limit).map(|limit| LimitRule { limit, is_shadow })
}

/// `allow`, `every` and `burst`.
pub(super) fn quota(fields: &mut Fields<'_>, per: Per) -> Option<Limit> {
    let allow = count(fields.take("allow").required());
    let every = fields.take("every").required().duration(Duration::from_millis(1)..=DAY);
    let burst = count(fields.take("burst"));
    let allow = allow?;
    Some(Limit { per, allow, every: every?, burst: burst.unwrap_or(allow) })
}

/// One of the parts, or a list of them.
pub(super) fn per(field: Field<'_>, parts: &[(&'static str, Part)]) -> Option<Per> {
    let (report, place) = (field.report(), field.place());
    let given: Option<Vec<Part>> = if field.is_list() {
        let items = field.list(parts.len())?;
        items.into_iter().map(|item| item.choice(parts)).collect()
    } else {
        field.choice(parts).map(|part| vec![part])
    };
    let given = given?;
    if given.is_empty() || (given.contains(&Part::Agent) && given.len() > 1) {
        report.note(place, "`per` names one of these or several, and `agent`, which is all of its requests, alone");
        return None;
    }
    let has = |part| given.contains(&part);
    Some(Per {
        caller: has(Part::Caller),
        call: has(Part::Call),
        function: has(Part::Function),
        address: has(Part::Address),
    })
}

/// `mode`: whether what it stands beside is tried only.
pub(super) fn mode(fields: &mut Fields<'_>) -> bool {
    fields.take("mode").choice(&[("enforce", false), ("shadow", true)]).unwrap_or(false)
}

/// `mode` and `shadow`: all rules, or some, of those that there can be here.
pub(super) fn shadow(fields: &mut Fields<'_>, there: impl Fn(Rule) -> bool) -> Shadow {
    let all = mode(fields);
    let known: Vec<_> = Rule::ALL.into_iter().filter(|rule| there(*rule)).map(|rule| (rule.as_str(), rule)).collect();
    let items = fields.take("shadow").list(known.len()).unwrap_or_default();
    let some = Shadow::of(items.into_iter().filter_map(|item| item.choice(&known)));
    if all { Shadow::ALL } else { some }
}

pub(super) fn count(field: Field<'_>) -> Option<u32> {
    field.integer(COUNT).and_then(|count| u32::try_from(count).ok())
}

/// `say`: what isn't given is as in `default`.
pub(super) fn sentences(fields: &mut Fields<'_>, default: Sentences) -> Sentences {
    let default = function_sentences(fields, default);
    let mut sentence = |key, default| fields.take(key).parse(speakable).unwrap_or(default);
    Sentences {
        busy: sentence("busy", default.busy),
        denied: sentence("denied", default.denied),
        expired: sentence("expired", default.expired),
        ended: sentence("ended", default.ended),
        slow: sentence("slow", default.slow),
        hold: sentence("hold", default.hold),
        unavailable: sentence("unavailable", default.unavailable),
        ..default
    }
}

/// `say` of a function: what its own rules say. What is about the call as a whole is the agent's.
pub(super) fn function_sentences(fields: &mut Fields<'_>, default: Sentences) -> Sentences {
    let mut sentence = |key, default| fields.take(key).parse(speakable).unwrap_or(default);
    Sentences {
        limited: sentence("limited", default.limited),
        disabled: sentence("disabled", default.disabled),
        closed: sentence("closed", default.closed),
        caller: sentence("caller", default.caller),
        argument: sentence("argument", default.argument),
        precondition: sentence("precondition", default.precondition),
        repeated: sentence("repeated", default.repeated),
        code: sentence("code", default.code),
        locked: sentence("locked", default.locked),
        ..default
    }
}

pub(super) fn speakable(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        Err("there is nothing to say; write a sentence or remove the key".to_owned())
    } else if length > MAX_SENTENCE {
        Err(format!("the sentence has {length} characters; at most {MAX_SENTENCE} are allowed"))
    } else if text.chars().any(char::is_control) {
        Err("a sentence must be on one line, without control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn sensitive(field: Field<'_>) -> Vec<String> {
    let items = field.list(MAX_SENSITIVE).unwrap_or_default();
    items.into_iter().filter_map(|item| item.parse(argument_name)).collect()
}

pub(super) fn argument_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
        Err("the name of an argument has 1 to 128 bytes and no control characters")
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn bodies(fields: &mut Fields<'_>) -> BodyLimits {
    let default = BodyLimits::default();
    let mut size = |key, default| fields.take(key).size(BODY).unwrap_or(default);
    BodyLimits {
        request: size("request", default.request),
        callback: size("callback", default.callback),
        response: size("response", default.response),
    }
}
