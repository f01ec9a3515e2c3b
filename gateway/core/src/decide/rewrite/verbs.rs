//! `verbs` and `calls.max_duration`.

use super::{Cut, Minter, rules::Ruled};
use crate::{
    json::{Edits, Node, Value},
    record::{Bypass, Rule},
    swml::{Outline, Verb},
    verdict::Reason,
};

// === impl Minter ===

impl Minter<'_> {
    /// Cuts and refuses verbs.
    pub(super) fn verbs<'d>(&mut self, outline: &Outline<'d>, cut: &mut Cut<'d>) -> Result<(), Reason> {
        let rules = &self.writer.verbs;
        if rules.deny.is_empty() && rules.cut.is_empty() {
            return Ok(());
        }
        for verb in &outline.verbs {
            if cut.covers(verb.value) {
                continue;
            }
            if rules.deny.contains(&verb.name) {
                self.deny(Rule::Verbs, Reason::VerbDenied, verb.name)?;
            } else if rules.cut.contains(&verb.name) && self.writer.is_shadow(Rule::Verbs) {
                self.shadowed(Rule::Verbs, Reason::VerbDenied);
            } else if rules.cut.contains(&verb.name) {
                self.note(verb.name, Bypass::Cut);
                cut.add(verb.at);
            }
        }
        Ok(())
    }

    /// Bounds the duration of a call by each `answer`.
    pub(super) fn bound_duration(&mut self, outline: &Outline<'_>, ruled: &mut Ruled<'_>) {
        let Some(bound) = self.duration() else { return };
        for answer in outline.verbs.iter().filter(|verb| verb.name == "answer") {
            if !ruled.cut.covers(answer.value) {
                self.answers = true;
                bound_answer(answer, bound, ruled);
            }
        }
        self.talks |= outline.ais.iter().any(|ai| !ruled.cut.covers(ai.node));
    }

    /// Gives a document with an AI that nowhere answers the call an `answer` in front.
    pub(super) fn answer_first(&self, root: &Node<'_>, cut: &Cut<'_>, edits: &mut Edits) {
        let Some(bound) = self.duration().filter(|_| self.talks && !self.answers) else { return };
        let main = root.get("sections").and_then(|sections| sections.get("main"));
        if let Some(main) = main.filter(|main| matches!(main.value, Value::Array(_))) {
            edits.insert_first(main, &format!(r#"{{"answer":{{"max_duration":{bound}}}}}"#), cut.empties(main));
        }
    }

    /// How many seconds a call may last, where this is said.
    fn duration(&self) -> Option<u64> {
        let is_said = self.is_for_voice && !self.writer.is_shadow(Rule::Calls);
        self.writer.calls.max_duration.filter(|_| is_said).map(|duration| duration.as_secs())
    }
}

fn bound_answer(answer: &Verb<'_>, bound: u64, ruled: &mut Ruled<'_>) {
    let (value, edits) = (answer.value, &mut ruled.edits);
    let whole = format!(r#"{{"max_duration":{bound}}}"#);
    match value.get("max_duration") {
        Some(given) if is_within(given, bound) => {}
        Some(given) => {
            ruled.done.add(given);
            edits.replace(given.span.clone(), bound.to_string());
        }
        None if value.is_object() => edits.insert_member(value, "max_duration", &bound.to_string()),
        None => {
            ruled.done.add(value);
            let verb = if answer.is_word { format!(r#"{{"answer":{whole}}}"#) } else { whole };
            edits.replace(value.span.clone(), verb);
        }
    }
}

/// Whether this is a number of seconds up to `bound`. None, and none that is left open, is no bound.
fn is_within(given: &Node<'_>, bound: u64) -> bool {
    matches!(given.value, Value::Number(number) if number.parse().is_ok_and(|seconds: u64| (1..=bound).contains(&seconds)))
}
