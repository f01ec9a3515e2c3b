//! What a new decision is to the old one.

use swaigate_core::{record::Rule, verdict::Reason};

use super::{
    known::{Doubt, Known},
    record::{Record, Was, is_asked_of_requests},
};
use crate::rehearsal::Decided;

const LEFT_BEFORE: &str = "its document left before the log begins";

/// What the new decision is to the old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Different {
        was: String,
        now: String,
    },
    /// It can't be told, by this rule or by none.
    Undecidable(Option<Rule>, &'static str),
    /// It is no policy's to decide.
    NotPolicy(String),
    /// It wouldn't have come, as its call wouldn't have begun.
    OfRefusedCall,
}

/// The rule by which a difference comes from arguments that look the same as others, or unlike them, as far as the log tells.
pub(super) fn mistaken_identity(
    record: &Record,
    known: &Known,
    verdict: &Verdict,
    decided: &Decided,
    was: Was,
) -> Option<Rule> {
    if !matches!(verdict, Verdict::Different { .. }) {
        return None;
    }
    let old = if let Was::Refused(reason) = was { Some(reason) } else { None };
    let by = |rule| [Some(decided.reason()), old].into_iter().flatten().any(|reason| is_of(reason, rule));
    let is_unsure = |rule: &Rule| !known.is_whole || (*rule == Rule::Once && record.inputs.meant_otherwise);
    [Rule::Once, Rule::Confirm].into_iter().filter(is_unsure).find(|rule| by(*rule))
}

/// Compares the new decision with the old one, but for rules that can't be asked.
pub(super) fn compare(record: &Record, decided: &Decided, is_known: bool, doubts: &[Doubt]) -> Verdict {
    let is_doubtful = |rule: &str| doubts.iter().any(|doubt| doubt.rule.as_str() == rule);
    let seen = decided.facts.would_refuse.iter().map(|seen| (seen.rule.as_str().to_owned(), seen.reason.to_owned()));
    let seen: Vec<_> =
        seen.filter(|(rule, _)| is_asked_of_requests(rule)).filter(|(rule, _)| !is_doubtful(rule)).collect();
    let mut before = record.would_refuse();
    before.retain(|(rule, _)| !is_doubtful(rule));
    // What a document or an answer may not hold is noted with it, and the log has neither.
    let is_publish = |(rule, _): &(String, String)| rule == Rule::Publish.as_str();
    if !seen.iter().any(is_publish) {
        before.retain(|seen| !is_publish(seen));
    }
    let old = if let Was::Refused(reason) = record.was() { reason } else { Reason::Ok };
    let (was, now) = (told(old, before), told(decided.reason(), seen));
    if was == now {
        return Verdict::Same;
    }
    let is_of_tokens = |reason| matches!(reason, Reason::TokenExpired | Reason::TokenUnbound | Reason::CallEnded);
    if !is_known && (is_of_tokens(old) || is_of_tokens(decided.reason())) {
        return Verdict::Undecidable(None, LEFT_BEFORE);
    }
    Verdict::Different { was, now }
}

/// A decision in a few words.
fn told(reason: Reason, mut would_refuse: Vec<(String, String)>) -> String {
    if would_refuse.is_empty() {
        return reason.as_str().to_owned();
    }
    would_refuse.sort_unstable();
    would_refuse.dedup();
    let seen: Vec<_> = would_refuse.into_iter().map(|(rule, reason)| format!("{rule}: {reason}")).collect();
    format!("{} (in shadow {})", reason.as_str(), seen.join(", "))
}

/// Whether a rule refuses for this reason.
pub(super) fn is_of(reason: Reason, rule: Rule) -> bool {
    match rule {
        Rule::Input => reason == Reason::InputForbidden,
        Rule::Arguments => matches!(reason, Reason::ArgumentsInvalid | Reason::SchemaUnknown),
        Rule::Callers => reason == Reason::CallerDenied,
        Rule::Requires => reason == Reason::Precondition,
        Rule::Confirm => reason == Reason::ConfirmationAsked,
        Rule::Verify => matches!(reason, Reason::CodeMissing | Reason::CodeWrong | Reason::CodeLocked),
        Rule::Pin => reason == Reason::ArgumentPinned,
        Rule::Once => reason == Reason::Repeated,
        Rule::Publish
        | Rule::Hours
        | Rule::Limits
        | Rule::Calls
        | Rule::Destinations
        | Rule::Verbs
        | Rule::Egress
        | Rule::Detect => false,
    }
}
