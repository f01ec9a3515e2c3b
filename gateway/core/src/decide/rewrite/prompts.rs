//! `prompt.append`: sections at the end of each prompt that a model may have for its only one.
//!
//! An AI's prompt stands over all that its contexts and steps add to it (PROTOCOL.md, 3.6), so it is enough there. But a
//! context with a `system_prompt`, a step with one in its `reset`, and the action `context_switch` put another in its
//! place; and an `isolated` context begins anew, with no more than its `system_prompt` and its steps' own texts.
//! A section that is there already, as an earlier gateway would have put it, is not added again: it is its own mark.

use super::{Minter, rules::Ruled};
use crate::{
    json::{Edits, Node, Value, quote},
    policy::PromptSection,
    swml::Outline,
    verdict::Reason,
};

// === impl Minter ===

impl Minter<'_> {
    /// Adds the policy's sections to all prompts.
    pub(super) fn prompts<'d>(&mut self, outline: &Outline<'d>, ruled: &mut Ruled<'d>) -> Result<(), Reason> {
        if self.writer.prompt.append.is_empty() {
            return Ok(());
        }
        for ai in &outline.ais {
            if ruled.cut.covers(ai.node) {
                continue;
            }
            match ai.node.get("prompt") {
                Some(prompt) => self.prompt(prompt, ruled)?,
                None => {
                    let text = format!(r#"{{"text":{}}}"#, quote(&self.plain("")?));
                    ruled.add_member(ai.node, "prompt", text);
                }
            }
            let contexts = [ai.node.get("prompt").and_then(|prompt| prompt.get("contexts")), ai.node.get("contexts")];
            for context in contexts.into_iter().flatten().flat_map(Node::members) {
                self.context(&context.node, ruled)?;
            }
        }
        for switch in &outline.switches {
            if !ruled.cut.covers(switch) {
                self.text(switch.get("system_prompt").unwrap_or(switch), ruled)?;
            }
        }
        Ok(())
    }

    /// A prompt: an object with `text` or `pom`, or a text alone.
    fn prompt<'d>(&mut self, prompt: &'d Node<'d>, ruled: &mut Ruled<'d>) -> Result<(), Reason> {
        if !prompt.is_object() {
            return self.text(prompt, ruled);
        }
        let pom = prompt.get("pom").filter(|pom| matches!(pom.value, Value::Array(_)));
        if let Some(pom) = pom {
            self.pom(pom, &mut ruled.edits)?;
        }
        match prompt.get("text") {
            Some(text) if text.as_str().is_some() => self.text(text, ruled)?,
            Some(_) | None if pom.is_some() => {}
            Some(other) => ruled.edits.replace(other.span.clone(), quote(&self.plain("")?)),
            None => ruled.add_member(prompt, "text", quote(&self.plain("")?)),
        }
        Ok(())
    }

    fn context<'d>(&mut self, context: &'d Node<'d>, ruled: &mut Ruled<'d>) -> Result<(), Reason> {
        let steps = context.get("steps").map(Node::items).unwrap_or_default();
        let resets = steps.iter().filter_map(|step| step.get("reset")?.get("system_prompt"));
        let system = context.get("system_prompt");
        for prompt in system.into_iter().chain(resets) {
            self.text(prompt, ruled)?;
        }
        let is_isolated = context.get("isolated").is_some_and(|isolated| isolated.value != Value::Bool(false));
        if is_isolated && system.is_none() {
            for step in steps.iter().filter(|step| step.is_object()) {
                self.prompt(step, ruled)?;
            }
        }
        Ok(())
    }

    /// A prompt in plain text. What it says of agents' URLs is cleaned with it, since one place can be edited but once.
    fn text<'d>(&mut self, prompt: &'d Node<'d>, ruled: &mut Ruled<'d>) -> Result<(), Reason> {
        let Some(before) = prompt.as_str() else { return Ok(()) };
        let added = self.plain(before)?;
        if added.is_empty() {
            return Ok(());
        }
        ruled.done.add(prompt);
        match self.clean_prose(before)? {
            Some(clean) => ruled.edits.replace(prompt.span.clone(), quote(&format!("{clean}{added}"))),
            None => ruled.edits.append_text(prompt, &added),
        }
        Ok(())
    }

    /// What is added to a text.
    fn plain(&mut self, before: &str) -> Result<String, Reason> {
        let sections = self.writer.prompt.append.iter().map(PromptSection::to_string);
        let missing: Vec<String> = sections.filter(|section| !before.contains(section.as_str())).collect();
        let joined = missing.join("\n\n");
        self.grow(joined.len())?;
        Ok(if joined.is_empty() || before.is_empty() { joined } else { format!("\n\n{joined}") })
    }

    /// A document of nothing but AIs must not become many times as large as the largest.
    fn grow(&mut self, by: usize) -> Result<(), Reason> {
        self.added += by;
        if self.added > self.writer.bodies.response { Err(Reason::AgentTooLarge) } else { Ok(()) }
    }

    /// A prompt in sections.
    fn pom(&mut self, pom: &Node<'_>, edits: &mut Edits) -> Result<(), Reason> {
        let is_there = |section: &PromptSection| {
            let is_same = |item: &Node<'_>| {
                item.str_at("title") == Some(&section.title) && item.str_at("body") == Some(&section.body)
            };
            pom.items().iter().any(is_same)
        };
        let missing = self.writer.prompt.append.iter().filter(|section| !is_there(section));
        let missing: Vec<String> = missing
            .map(|section| format!(r#"{{"title":{},"body":{}}}"#, quote(&section.title), quote(&section.body)))
            .collect();
        self.grow(missing.iter().map(String::len).sum())?;
        if !missing.is_empty() {
            edits.insert_last(pom, &missing);
        }
        Ok(())
    }
}
