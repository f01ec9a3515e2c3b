//! `prompt`, `verbs`: what an agent's documents and answers may hold.

use super::super::{PromptRules, PromptSection, VerbRules};
use crate::{
    verb,
    yaml::{Field, Fields, nearest, quoted},
};

/// How many sections are added to a prompt at most.
const MAX_SECTIONS: usize = 16;

/// How long the title and the body of a section may be, in characters.
const TITLE: usize = 100;
const BODY: usize = 8000;

// === prompt ===

pub(super) fn prompt(fields: &mut Fields<'_>) -> PromptRules {
    let items = fields.take("append").list(MAX_SECTIONS).unwrap_or_default();
    let mut append: Vec<PromptSection> = Vec::new();
    for item in items {
        let (report, place) = (item.report(), item.place());
        let read = if item.is_mapping() { item.mapping(section) } else { item.parse(shipped) };
        match read {
            Some(section) if append.contains(&section) => report.note(place, "this section is listed already"),
            read => append.extend(read),
        }
    }
    PromptRules { append }
}

fn shipped(name: &str) -> Result<PromptSection, String> {
    match name {
        "security_boundaries" => Ok(PromptSection::security_boundaries()),
        "confirmation" => Ok(PromptSection::confirmation()),
        _ => Err(format!(
            "{} is no section; write `security_boundaries`, `confirmation`, or a `title` and a `body` of your own",
            quoted(name)
        )),
    }
}

fn section(fields: &mut Fields<'_>) -> Option<PromptSection> {
    let title = fields.take("title").required().parse(|text| words(text, TITLE, false));
    let body = fields.take("body").required().parse(|text| words(text, BODY, true));
    Some(PromptSection { title: title?, body: body? })
}

fn words(text: &str, most: usize, may_break: bool) -> Result<String, String> {
    let text = text.trim();
    let length = text.chars().count();
    let is_bad = |c: char| c.is_control() && !(may_break && matches!(c, '\n' | '\t'));
    if text.is_empty() {
        Err("there is nothing in it".to_owned())
    } else if length > most {
        Err(format!("has {length} characters; at most {most} are allowed"))
    } else if text.chars().any(is_bad) {
        Err("holds control characters or line ends where none can be".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

// === verbs ===

pub(super) fn verbs(fields: &mut Fields<'_>) -> VerbRules {
    let deny: Vec<_> = names(fields.take("deny"));
    let cut = fields.take("cut");
    let (report, place) = (cut.report(), cut.key_place());
    let cut = names(cut);
    if let Some(both) = cut.iter().find(|name| deny.contains(name)) {
        report.note(place, format!("{} is under `deny` and under `cut`; keep one", quoted(both)));
    }
    VerbRules { deny, cut }
}

fn names(field: Field<'_>) -> Vec<&'static str> {
    let items = field.list(verb::KNOWN.len()).unwrap_or_default();
    items.into_iter().filter_map(|item| item.parse(verb_of)).collect()
}

fn verb_of(name: &str) -> Result<&'static str, String> {
    verb::known(name).ok_or_else(|| {
        let advice = match nearest(name, &verb::KNOWN) {
            Some(verb) => format!("did you mean `{verb}`?"),
            None => format!("the verbs are: {}", verb::KNOWN.join(", ")),
        };
        format!("{} is no verb of SWML; {advice}", quoted(name))
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::super::compile;
    use crate::{
        keys::MacKey,
        policy::{Agent, PromptSection, Seed, VerbRules},
        secret::Secret,
    };

    fn compiled(more: &str) -> Result<Agent, Vec<String>> {
        let text = format!("agent: bank\nupstream: {{ url: http://127.0.0.1:3000 }}\n{more}");
        let seed = Seed { process_key: MacKey::new(b"process"), generated_password: Secret::new("generated") };
        compile("p.yaml", &text, &HashMap::new(), &seed)
            .map_err(|mistakes| mistakes.iter().map(|it| it.to_string().replacen("p.yaml:3:", "", 1)).collect())
    }

    fn agent(more: &str) -> Agent {
        compiled(more).unwrap_or_else(|mistakes| panic!("{more}: {mistakes:?}"))
    }

    fn mistakes(more: &str) -> Vec<String> {
        compiled(more).err().unwrap_or_else(|| panic!("{more} is right"))
    }

    #[test]
    fn nothing_is_added_cut_or_refused_unless_a_file_says_so() {
        let agent = agent("");
        assert_eq!(agent.prompt.append, []);
        assert_eq!(agent.verbs, VerbRules::default());
        assert_eq!(agent.calls.max_duration, None);
        assert!(!agent.has_rules_for_words());
    }

    #[test]
    fn calls_have_a_longest_duration() {
        assert_eq!(agent("calls: { max_duration: 30m }").calls.max_duration, Some(Duration::from_secs(1800)));
        assert_eq!(
            mistakes("calls: { max_duration: 25h }"),
            ["24: `max_duration` is `25h`; it must be from 1s to 24h"]
        );
    }

    #[test]
    fn prompts_get_sections() {
        let own = PromptSection { title: "Tone".into(), body: "Be brief.\nBe kind.".into() };
        assert_eq!(
            agent("prompt: { append: [security_boundaries, confirmation, { title: Tone, body: \"Be brief.\\nBe kind.\" }] }")
                .prompt
                .append,
            [PromptSection::security_boundaries(), PromptSection::confirmation(), own]
        );
        for (append, mistake) in [
            (
                "[boundaries]",
                "20: an item of `append`: `boundaries` is no section; write `security_boundaries`, `confirmation`, or a \
                 `title` and a `body` of your own",
            ),
            ("[confirmation, confirmation]", "34: this section is listed already"),
            ("[{ title: a }]", "20: `body` is missing"),
            ("[{ title: a, body: ' ' }]", "38: `body`: there is nothing in it"),
            ("[{ title: \"a\\nb\", body: c }]", "29: `title`: holds control characters or line ends where none can be"),
            ("[{ title: a, body: b, text: c }]", "41: unknown key `text`; known here: title, body"),
        ] {
            assert_eq!(mistakes(&format!("prompt: {{ append: {append} }}")), [mistake], "{append}");
        }
        let long = format!("[{{ title: a, body: {} }}]", "b".repeat(8001));
        assert_eq!(
            mistakes(&format!("prompt: {{ append: {long} }}")),
            ["38: `body`: has 8001 characters; at most 8000 are allowed"]
        );
    }

    #[test]
    fn verbs_are_denied_or_cut() {
        let rules = agent("verbs: { deny: [tap, stream], cut: [record_call] }").verbs;
        assert_eq!(rules, VerbRules { deny: vec!["tap", "stream"], cut: vec!["record_call"] });
        assert_eq!(
            mistakes("verbs: { deny: [recordcall, x-y-z-0] }")[0],
            "17: an item of `deny`: `recordcall` is no verb of SWML; did you mean `record_call`?"
        );
        assert_eq!(
            mistakes("verbs: { deny: [tap], cut: [tap] }"),
            ["23: `tap` is under `deny` and under `cut`; keep one"]
        );
    }
}
