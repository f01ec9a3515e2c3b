//! `functions`: which of them are there at all, and which can't be held to their rules.

use std::collections::HashSet;

use super::{Found, Minter, rules::Ruled};
use crate::{
    id::FunctionName,
    json::{Node, Value, quote},
    policy::{FunctionRules, Shadow},
    record::{Bypass, Rule},
    swml::{Definition, Names, NamesOf, Outline, Place, Source, Survey, UrlPlace},
    token::Kind,
    verdict::Reason,
};

/// The setting with which the platform sends the conversation along (PROTOCOL.md, 3.6).
const POST_CONVERSATION: &str = "swaig_post_conversation";

// === impl Minter ===

impl Minter<'_> {
    /// Cuts functions that are not published, and those with rules that never reach the gateway.
    pub(super) fn functions<'d>(&mut self, survey: &Survey<'d>, ruled: &mut Ruled<'d>) {
        if !self.writer.functions.concern_documents() || survey.definitions.is_empty() {
            return;
        }
        let mediated = self.mediated(survey);
        for (number, definition) in survey.definitions.iter().enumerate() {
            let is_called = definition.has_data_map || definition.has_web_hook;
            let Some(rules) = self.rules_of_definition(definition).filter(|_| is_called || !definition.name.is_empty())
            else {
                continue;
            };
            let name = if definition.name.is_empty() { "functions" } else { definition.name };
            // Where there is a `data_map` as well, the platform needs no webhook.
            let is_around = definition.has_data_map || (definition.has_web_hook && !mediated.contains(&number));
            if !rules.publish && rules.is_shadow(Rule::Publish) {
                self.shadowed(Rule::Publish, Reason::FunctionDenied);
            } else if !rules.publish {
                self.note(name, Bypass::Cut);
                ruled.remove_function(definition);
            } else if is_around && is_unenforced(rules) {
                self.note(name, Bypass::Unenforced);
                ruled.remove_function(definition);
            }
        }
    }

    /// The rules for a function that any can be for.
    fn rules_of(&self, name: &str) -> Option<&FunctionRules> {
        let name: FunctionName = name.parse().ok()?;
        (!name.is_hook()).then(|| self.writer.functions.rules(name.as_str()).as_ref())
    }

    /// The same for a definition. One with a name that no function can have is none that a policy names.
    fn rules_of_definition(&self, definition: &Definition<'_>) -> Option<&FunctionRules> {
        match definition.name {
            "" => Some(self.writer.functions.default_rules()),
            name => self.rules_of(name),
        }
    }

    /// The definitions whose functions are called at a protected agent, by their places. A URL for which the whole is
    /// refused is no way around.
    fn mediated(&self, survey: &Survey<'_>) -> HashSet<usize> {
        let is_mediated = |place: &&UrlPlace<'_>| {
            matches!(place.place, Place::OfFunction(_)) && !matches!(self.owned(place), Ok(Found::Foreign(_)))
        };
        survey.urls.iter().filter(is_mediated).filter_map(|place| place.within).collect()
    }

    /// Takes the names of functions that are gone out of the lists that name them.
    pub(super) fn names<'d>(&mut self, outline: &Outline<'d>, survey: &Survey<'d>, ruled: &mut Ruled<'d>) {
        if ruled.removed.is_empty() && !self.writer.functions.concern_documents() {
            return;
        }
        // A function of the same name may be there for another AI.
        for definition in &survey.definitions {
            if !ruled.cut.covers(definition.node) {
                ruled.removed.remove(definition.name);
            }
        }
        let elsewhere = self.foreign_includes(survey);
        for names in &outline.names {
            if ruled.cut.covers(names.node) {
                continue;
            }
            match names.of {
                NamesOf::Step => self.step(names, ruled),
                NamesOf::Include => self.include(names, &elsewhere, ruled),
                NamesOf::Native => self.native(names, ruled),
                NamesOf::Toggle => self.toggle(names, ruled),
            }
        }
        self.unnamed(survey, ruled);
    }

    /// Cuts what brings functions along without naming them, where functions that the policy doesn't name aren't there, or
    /// have rules: servers of MCP, whose calls are not read, and items of `includes` that ask others for all.
    fn unnamed<'d>(&mut self, survey: &Survey<'d>, ruled: &mut Ruled<'d>) {
        let rules = self.writer.functions.default_rules();
        let is_hidden = !rules.publish && !rules.is_shadow(Rule::Publish);
        if !is_hidden && !is_unenforced(rules) {
            return;
        }
        let is_around = |place: &&UrlPlace<'_>| {
            let is_server = place.source.is_some_and(|source| source.list == "mcp_servers");
            is_server || matches!(self.owned(place), Ok(Found::Foreign(_)))
        };
        let urls = survey.urls.iter().filter(is_around);
        let sources = urls.map(|place| place.source).chain(survey.addresses.iter().map(|address| address.source));
        let sources: Vec<Source<'d>> = sources.flatten().collect();
        for source in sources {
            let item = source.at.around.and_then(|list| list.items().get(source.at.place));
            let names_some = |item: &Node<'_>| item.get("functions").is_some_and(|names| !names.items().is_empty());
            let is_gone = item.is_none_or(|item| ruled.cut.covers(item));
            if !is_gone && (source.list == "mcp_servers" || !item.is_some_and(names_some)) {
                self.note(source.list, if is_hidden { Bypass::Cut } else { Bypass::Unenforced });
                ruled.cut.add(source.at);
            }
        }
    }

    /// Where the items of `includes` start that are not a protected agent's.
    fn foreign_includes(&self, survey: &Survey<'_>) -> HashSet<usize> {
        let start = |source: Source<'_>| Some(source.at.around?.items().get(source.at.place)?.span.start);
        let urls = survey.urls.iter().filter(|place| place.source.is_some());
        let foreign = urls.filter(|place| matches!(self.owned(place), Ok(Found::Foreign(_)))).map(|place| place.source);
        let others = survey.addresses.iter().map(|address| address.source);
        foreign.chain(others).flatten().filter_map(start).collect()
    }

    /// Has the platform tell with each function call what was said, where a function needs the caller's own words; also
    /// in shadow, or nothing could be said about it. Amazon's AIs have no such setting.
    pub(super) fn post_conversation<'d>(&self, outline: &Outline<'d>, survey: &Survey<'d>, ruled: &mut Ruled<'d>) {
        if !self.writer.functions.ask_for_words() {
            return;
        }
        let needs_words = |definition: &Definition<'_>| {
            let rules = self.rules_of(definition.name);
            rules.is_some_and(FunctionRules::asks_for_words) && !ruled.cut.covers(definition.node)
        };
        // What is included comes later.
        let includes = survey.urls.iter().any(|place| place.kind == Kind::Includes);
        if !includes && !survey.definitions.iter().any(needs_words) {
            return;
        }
        for ai in outline.ais.iter().filter(|ai| !ai.is_bedrock) {
            match ai.node.get("params") {
                None => ruled.add_member(ai.node, "params", format!("{{{}:true}}", quote(POST_CONVERSATION))),
                Some(params) => match params.get(POST_CONVERSATION) {
                    Some(setting) if setting.value == Value::Bool(true) => {}
                    Some(setting) => {
                        ruled.done.add(setting);
                        ruled.edits.replace(setting.span.clone(), "true");
                    }
                    None if params.is_object() => ruled.add_member(params, POST_CONVERSATION, "true".to_owned()),
                    None => {}
                },
            }
        }
    }

    fn is_gone(&self, name: &str, ruled: &Ruled<'_>) -> bool {
        let hidden = || self.rules_of(name).is_some_and(|rules| !rules.publish && !rules.is_shadow(Rule::Publish));
        ruled.removed.contains(name) || hidden()
    }

    /// An emptied list would say nothing clearly: `none` does.
    fn step<'d>(&self, names: &Names<'d>, ruled: &mut Ruled<'d>) {
        let gone = self.gone_of(names.node, ruled);
        if names.node.as_str().is_some_and(|name| self.is_gone(name, ruled)) || is_all(names.node, &gone) {
            ruled.edits.replace(names.node.span.clone(), quote("none"));
        } else {
            gone.into_iter().for_each(|place| ruled.cut.add_item(names.node, place));
        }
    }

    /// What is asked of another server. Without a name it would be asked for all, so the item goes with the last one; and
    /// where the server is none of ours, also with one that has rules.
    fn include<'d>(&mut self, names: &Names<'d>, elsewhere: &HashSet<usize>, ruled: &mut Ruled<'d>) {
        let Some((list, place)) = names.at.item else { return };
        let is_elsewhere = list.items().get(place).is_some_and(|item| elsewhere.contains(&item.span.start));
        let unenforced = if is_elsewhere { self.unenforced_of(names.node) } else { Vec::new() };
        let gone = self.gone_of(names.node, ruled);
        for name in &unenforced {
            self.note(name, Bypass::Unenforced);
        }
        if !unenforced.is_empty() || is_all(names.node, &gone) {
            self.note("includes", Bypass::Cut);
            ruled.cut.add_item(list, place);
        } else {
            gone.into_iter().for_each(|place| ruled.cut.add_item(names.node, place));
        }
    }

    /// The platform's own functions never reach the gateway.
    fn native<'d>(&mut self, names: &Names<'d>, ruled: &mut Ruled<'d>) {
        for (place, name) in names.node.items().iter().enumerate() {
            let Some(name) = name.as_str() else { continue };
            let is_unenforced = self.rules_of(name).is_some_and(is_unenforced);
            if self.is_gone(name, ruled) {
                self.note(name, Bypass::Cut);
                ruled.cut.add_item(names.node, place);
            } else if is_unenforced {
                self.note(name, Bypass::Unenforced);
                ruled.cut.add_item(names.node, place);
            }
        }
    }

    fn toggle<'d>(&self, names: &Names<'d>, ruled: &mut Ruled<'d>) {
        if names.node.is_object() && self.toggles_nothing(names.node, ruled) {
            ruled.cut.add(names.at);
        }
        for (place, item) in names.node.items().iter().enumerate() {
            if self.toggles_nothing(item, ruled) {
                ruled.cut.add_item(names.node, place);
            }
        }
    }

    /// Takes names out of an item of `toggle_functions`. Whether none remains.
    fn toggles_nothing<'d>(&self, item: &'d Node<'d>, ruled: &mut Ruled<'d>) -> bool {
        let Some(function) = item.get("function") else { return false };
        if let Some(name) = function.as_str() {
            return self.is_gone(name, ruled);
        }
        let gone = self.gone_of(function, ruled);
        let nothing_remains = is_all(function, &gone);
        if !nothing_remains {
            gone.into_iter().for_each(|place| ruled.cut.add_item(function, place));
        }
        nothing_remains
    }

    /// Which of a list's names are gone.
    fn gone_of(&self, list: &Node<'_>, ruled: &Ruled<'_>) -> Vec<usize> {
        let is_gone = |name: &Node<'_>| name.as_str().is_some_and(|name| self.is_gone(name, ruled));
        list.items().iter().enumerate().filter(|(_, name)| is_gone(name)).map(|(place, _)| place).collect()
    }

    /// Those of a list's names that have rules which can't be enforced elsewhere.
    fn unenforced_of(&self, list: &Node<'_>) -> Vec<String> {
        let names = list.items().iter().filter_map(Node::as_str);
        let names = names.filter(|name| self.rules_of(name).is_some_and(|rules| rules.publish && is_unenforced(rules)));
        names.map(str::to_owned).collect()
    }
}

/// Whether a function has rules that nobody enforces where it doesn't pass through the gateway. Where all are in shadow,
/// nobody is to.
fn is_unenforced(rules: &FunctionRules) -> bool {
    rules.needs_gateway() && !rules.allows_unmediated && rules.shadow != Shadow::ALL
}

fn is_all(list: &Node<'_>, places: &[usize]) -> bool {
    !list.items().is_empty() && places.len() == list.items().len()
}

impl<'d> Ruled<'d> {
    /// Takes a function's definition out, and remembers its name.
    pub(super) fn remove_function(&mut self, definition: &Definition<'d>) {
        self.cut.add(definition.at);
        self.removed.insert(definition.name.to_owned());
    }
}
