//! What of a function's answer a model reads, or says as it is: that is where `responses.redact` looks.
//!
//! Programs read the rest, where a number must stay what it is (PROTOCOL.md, 3.4 and 4.4): SWML, data, settings, hints for
//! what callers may say.

use crate::{
    json::{Edits, Node, Value, quote},
    redact::Redactions,
};

/// Actions that are words.
const WORDS: [&str; 4] = ["say", "user_input", "replace_in_history", "context_switch"];

/// An answer with marks in place of what was found, and how much was; `None` if nothing was.
pub(super) fn redacted(redactions: &Redactions, text: &str, answer: &Node<'_>) -> Option<(String, usize)> {
    if redactions.is_empty() {
        return None;
    }
    let mut edits = Edits::default();
    let mut count = 0;
    let actions = answer.get("action").into_iter().flat_map(|action| std::iter::once(action).chain(action.items()));
    let said = actions.flat_map(Node::members).filter(|member| WORDS.contains(&member.key.as_ref()));
    for node in answer.get("response").into_iter().chain(said.map(|member| &member.node)) {
        redact(redactions, node, &mut edits, &mut count);
    }
    if count == 0 {
        return None;
    }
    // What doesn't overlap in one value doesn't in all.
    edits.apply(text).ok().map(|text| (text, count))
}

fn redact(redactions: &Redactions, node: &Node<'_>, edits: &mut Edits, count: &mut usize) {
    let text = match &node.value {
        Value::String(text) => text.as_ref(),
        // A number is read aloud as well as a text.
        Value::Number(number) => number,
        Value::Array(items) => return items.iter().for_each(|item| redact(redactions, item, edits, count)),
        Value::Object(members) => {
            return members.iter().for_each(|member| redact(redactions, &member.node, edits, count));
        }
        Value::Null | Value::Bool(_) => return,
    };
    if let Some((clean, found)) = redactions.redact(text) {
        edits.replace(node.span.clone(), quote(&clean));
        *count += found;
    }
}
