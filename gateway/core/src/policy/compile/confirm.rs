//! `confirm` and `verify`: what a caller has to agree to, and what they have to know.

use std::time::Duration;

use super::{
    super::{Confirm, Template},
    rules::speakable,
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
