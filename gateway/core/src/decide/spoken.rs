//! What of a function's answer a model reads, or says as it is: that is where `responses.redact` looks.
//!
//! Programs read the rest, where a number must stay what it is (PROTOCOL.md, 3.4 and 4.4): SWML, data, settings, hints for
//! what callers may say.

use std::collections::HashSet;

use crate::{
    json::{Edits, Member, Node, Value, quote},
    redact::Redactions,
};

/// Actions that are words.
const WORDS: [&str; 4] = ["say", "user_input", "replace_in_history", "context_switch"];

/// An answer with marks in place of what was found, and how much was; `None` if nothing was.
pub(super) fn redacted(redactions: &Redactions, text: &str, answer: &Node<'_>) -> Option<(String, usize)> {
    if redactions.is_empty() {
        return None;
    }
    let mut words = Words { redactions, text, edits: Edits::default(), count: 0 };
    let actions = answer.get("action").into_iter().flat_map(|action| std::iter::once(action).chain(action.items()));
    let said = actions.flat_map(Node::members).filter(|member| WORDS.contains(&member.key.as_ref()));
    for node in answer.get("response").into_iter().chain(said.map(|member| &member.node)) {
        words.redact(node);
    }
    let Words { edits, count, .. } = words;
    if count == 0 {
        return None;
    }
    // What doesn't overlap in one value doesn't in all.
    edits.apply(text).ok().map(|text| (text, count))
}

struct Words<'a> {
    redactions: &'a Redactions,
    text: &'a str,
    edits: Edits,
    count: usize,
}

// === impl Words ===

impl Words<'_> {
    fn redact(&mut self, node: &Node<'_>) {
        let text = match &node.value {
            Value::String(text) => text.as_ref(),
            // A number is read aloud as well as a text.
            Value::Number(number) => number,
            Value::Array(items) => return items.iter().for_each(|item| self.redact(item)),
            Value::Object(members) => {
                self.redact_names(members);
                return members.iter().for_each(|member| self.redact(&member.node));
            }
            Value::Null | Value::Bool(_) => return,
        };
        if let Some((clean, found)) = self.redactions.redact(text) {
            self.edits.replace(node.span.clone(), quote(&clean));
            self.count += found;
        }
    }

    /// Names are read too, as where accounts are listed by their numbers. No two may become one.
    fn redact_names(&mut self, members: &[Member<'_>]) {
        let mut others: Option<HashSet<&str>> = None;
        let mut number = 0;
        for member in members {
            let Some((clean, found)) = self.redactions.redact(&member.key) else { continue };
            let others = others.get_or_insert_with(|| members.iter().map(|member| member.key.as_ref()).collect());
            let name = loop {
                number += 1;
                let name = if number == 1 { clean.clone() } else { format!("{clean} {number}") };
                if !others.contains(name.as_str()) {
                    break name;
                }
            };
            self.edits.rename(self.text, member, &name);
            self.count += found;
        }
    }
}
