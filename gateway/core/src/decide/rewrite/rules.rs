//! The writer's policy for its documents and answers: what is cut, what is changed, and what refuses the whole.

use std::collections::{BTreeMap, HashSet};

use super::{Cut, Minter};
use crate::{
    json::{Edits, Node},
    record::{Rule, Shadowed},
    swml::{self, Survey},
    verdict::Reason,
};

/// What the policy makes of a text.
#[derive(Default)]
pub(super) struct Ruled<'d> {
    pub(super) cut: Cut<'d>,
    pub(super) edits: Edits,
    pub(super) done: Done,
    /// The names of functions whose definitions are cut.
    pub(super) removed: HashSet<String>,
    /// Members that are added to objects, by where these start.
    added: BTreeMap<usize, Added<'d>>,
}

/// Members that are added to an object, with their values as JSON.
struct Added<'d> {
    object: &'d Node<'d>,
    members: Vec<(&'static str, String)>,
}

/// Strings that are edited already, by where they start.
#[derive(Default)]
pub(super) struct Done(HashSet<usize>);

// === impl Ruled, Done ===

impl<'d> Ruled<'d> {
    /// Adds a member to an object that has none of this key. The value is JSON.
    pub(super) fn add_member(&mut self, object: &'d Node<'d>, key: &'static str, value: String) {
        let added = || Added { object, members: Vec::new() };
        self.added.entry(object.span.start).or_insert_with(added).members.push((key, value));
    }

    /// Makes edits of all that is added: those of one object are one.
    fn put_members(&mut self) {
        for Added { object, members } in std::mem::take(&mut self.added).into_values() {
            let members: Vec<_> = members.iter().map(|(key, value)| (*key, value.as_str())).collect();
            self.edits.insert_members(object, &members);
        }
    }
}

impl Done {
    pub(super) fn add(&mut self, node: &Node<'_>) {
        self.0.insert(node.span.start);
    }

    pub(super) fn has(&self, node: &Node<'_>) -> bool {
        !self.0.is_empty() && self.0.contains(&node.span.start)
    }
}

// === impl Minter ===

impl Minter<'_> {
    /// Applies the rules in the order in which one spares another its work: what is cut is looked at by no other.
    pub(super) fn rules<'d>(&mut self, root: &'d Node<'d>, survey: &Survey<'d>) -> Result<Ruled<'d>, Reason> {
        let mut ruled = Ruled::default();
        if !self.is_acted_on || !self.writer.has_rules_for_words() {
            return Ok(ruled);
        }
        self.functions(survey, &mut ruled);
        ruled.cut.settle();
        let outline = swml::outline(root);
        self.verbs(&outline, &mut ruled.cut)?;
        ruled.cut.settle();
        self.egress(survey, &mut ruled)?;
        ruled.cut.settle();
        self.destinations(root, &outline, &ruled.cut)?;
        self.names(&outline, survey, &mut ruled);
        ruled.cut.settle();
        self.prompts(&outline, &mut ruled)?;
        self.post_conversation(&outline, survey, &mut ruled);
        self.bound_duration(&outline, &mut ruled);
        ruled.put_members();
        Ok(ruled)
    }

    /// Refuses by a rule of the agent's, unless that is in shadow. `what` is for the operator.
    pub(super) fn deny(&mut self, rule: Rule, reason: Reason, what: &str) -> Result<(), Reason> {
        if self.writer.is_shadow(rule) {
            self.shadowed(rule, reason);
            return Ok(());
        }
        self.facts.detail = Some(what.to_owned());
        Err(reason)
    }

    /// Notes what a rule in shadow would have refused, once.
    pub(super) fn shadowed(&mut self, rule: Rule, reason: Reason) {
        let seen = Shadowed { rule, reason: reason.as_str() };
        if !self.facts.would_refuse.contains(&seen) {
            self.facts.shadowed(rule, seen.reason);
        }
    }
}
