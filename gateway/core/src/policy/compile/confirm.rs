//! `confirm` and `verify`: what a caller has to agree to, and what they have to know.

use std::{sync::Arc, time::Duration};

use super::{
    super::{Confirm, Template, Verify},
    Secrets, arguments, code,
    rules::{argument_name, speakable},
    words,
};
use crate::{
    sanitize::SensitiveNames,
    yaml::{Fields, quoted},
};

const SECOND: Duration = Duration::from_secs(1);

/// What is said where the policy says nothing of its own.
const ASK: &str = "Ask the caller to confirm this in their own words, and call the function again when they have.";

/// `confirm`.
pub(super) fn confirm(fields: &mut Fields<'_>, sensitive: &SensitiveNames) -> Option<Confirm> {
    let field = fields.take("say");
    let (report, place) = (field.report(), field.place());
    let say = match field.is_given() {
        true => field.parse(|text| speakable(text).and_then(|text| Template::parse(&text).map_err(|e| e.to_string()))),
        false => Template::parse(ASK).ok(),
    };
    for name in say.iter().flat_map(Template::arguments).filter(|name| sensitive.contains(name)) {
        report.note(place, format!("{} is sensitive, so it is never said; leave it out", quoted(name)));
    }
    let within = fields.take("within").duration(SECOND..=Duration::from_secs(3600));
    let trusts_model = fields.take("insecure_model_only").bool().unwrap_or(false);
    let words = if trusts_model {
        for key in ["words", "not_words"] {
            fields.refuse(
                key,
                "with `insecure_model_only` nothing that the caller says is looked at; remove one of them",
            );
        }
        None
    } else {
        Some(words::words(fields)?)
    };
    Some(Confirm { say: say?, words, within: within.unwrap_or(Duration::from_secs(120)) })
}

/// `verify`.
pub(super) fn verify(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<Verify> {
    let argument = fields.take("argument").required().parse(argument_name);
    let when = fields.take("when");
    let when = if when.is_given() { Some(arguments::condition(when)?) } else { None };
    let attempts = fields.take("attempts").integer(1..=100).and_then(|count| u32::try_from(count).ok());
    let lock = fields.take("lock").duration(SECOND..=Duration::from_secs(86_400));
    let code = code::code(fields, secrets);
    Some(Verify {
        argument: argument?,
        when: when.map(Arc::new),
        code: code?,
        attempts: attempts.unwrap_or(3),
        lock: lock.unwrap_or(Duration::from_secs(900)),
    })
}
