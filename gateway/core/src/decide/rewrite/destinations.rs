//! `destinations`: where calls and messages may be sent.

use std::{borrow::Cow, collections::HashSet};

use super::{Cut, Minter};
use crate::{
    json::{Node, Value},
    origin,
    record::Rule,
    swml::{self, Destination, Outline},
    verdict::Reason,
};

// === impl Minter ===

impl Minter<'_> {
    /// Refuses what sends a call or a message elsewhere than the policy allows. It says under which key, and never whereto:
    /// numbers are people's.
    pub(super) fn destinations(&mut self, root: &Node<'_>, outline: &Outline<'_>, cut: &Cut<'_>) -> Result<(), Reason> {
        if self.writer.destinations.access.is_empty() {
            return Ok(());
        }
        let mut sections = None;
        for destination in &outline.destinations {
            if cut.covers(destination.node) || self.may_send_to(root, destination, &mut sections) {
                continue;
            }
            self.deny(Rule::Destinations, Reason::DestinationDenied, destination.key)?;
        }
        Ok(())
    }

    fn may_send_to<'d>(
        &self,
        root: &'d Node<'d>,
        destination: &Destination<'_>,
        sections: &mut Option<HashSet<&'d str>>,
    ) -> bool {
        let text = match &destination.node.value {
            Value::String(text) => Cow::Borrowed(text.as_ref()),
            // The platform may dial it all the same.
            Value::Number(number) => Cow::Borrowed(*number),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return false,
        };
        let rules = &self.writer.destinations;
        if swml::is_embedded(destination.key, &text) || origin::parse(&text).is_some() {
            // A document is looked through by itself, and whose a URL is, is for `egress`.
            return true;
        }
        if swml::is_template(&text) {
            return rules.templates.iter().any(|listed| *listed == text);
        }
        if matches!(destination.key, "dest" | "execute" | "transfer") {
            let sections = sections.get_or_insert_with(|| sections_of(root));
            if is_name(&text) || sections.contains(text.as_ref()) {
                return true;
            }
        }
        rules.access.admits(&text)
    }
}

/// The names of a document's sections.
fn sections_of<'d>(root: &'d Node<'d>) -> HashSet<&'d str> {
    let sections = root.get("sections").map(Node::members).unwrap_or_default();
    sections.iter().map(|member| member.key.as_ref()).collect()
}

/// A name that is a section's, of this document or of the one that the call was in before: no address is like it.
fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
