//! `prompt`, `verbs`, `destinations`, `egress`, `responses`: what an agent's documents and answers may hold.

use super::{
    super::{Destinations, Egress, HostPattern, PromptRules, PromptSection, ResponseRules, VerbRules},
    is_plain, patterns, texts,
};
use crate::{
    origin::{self, Authority},
    verb,
    yaml::{Field, Fields, nearest, quoted},
};

/// How many sections are added to a prompt at most.
const MAX_SECTIONS: usize = 16;

/// How many hosts, places or templates a list may have.
const MAX_LISTED: usize = 256;

/// How long the title and the body of a section may be, in characters.
const TITLE: usize = 100;
const BODY: usize = 8000;

// === responses ===

pub(super) fn responses(fields: &mut Fields<'_>) -> ResponseRules {
    ResponseRules { redact: texts::redactions(fields.take("redact")) }
}

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

// === destinations ===

pub(super) fn destinations(fields: &mut Fields<'_>) -> Destinations {
    let access = patterns::destinations_beside(fields);
    let templates = fields.take("templates");
    if templates.is_given() && access.is_empty() {
        let advice = "`templates` is read only with `allow` or `deny`; add one or remove it";
        templates.report().note(templates.key_place(), advice);
    }
    Destinations { access, templates: template_list(templates) }
}

// === egress ===

pub(super) fn egress(fields: &mut Fields<'_>) -> Egress {
    let allow = fields.take("allow");
    let is_given = allow.is_given();
    let allow = allow.list(MAX_LISTED).map(|items| items.into_iter().filter_map(|item| item.parse(host)).collect());
    let (assets, templates) = (fields.take("assets"), fields.take("templates"));
    for field in [&assets, &templates] {
        if field.is_given() && !is_given {
            field.report().note(field.key_place(), "this is read only with `allow`; add the hosts or remove it");
        }
    }
    Egress { allow, assets: assets.bool().unwrap_or(false), templates: template_list(templates) }
}

/// `api.example.com`, `*.example.com`, each perhaps with a port.
fn host(text: &str) -> Result<HostPattern, String> {
    const ADVICE: &str = "write a host like `api.example.com`, `api.example.com:8443` or `*.example.com`";
    let (is_below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    let parsed = origin::parse(&format!("http://{name}/")).and_then(Result::ok).map(|url| url.authority().clone());
    let is_bare = !name.contains(['/', '@', '?', '#', '*', ' ']) && !name.is_empty();
    match parsed.filter(|authority| is_bare && is_plain(&authority.host)) {
        Some(Authority { host, port }) if is_below => {
            Ok(HostPattern { host: Authority { host: format!(".{host}"), port }, is_below })
        }
        Some(host) => Ok(HostPattern { host, is_below }),
        None => Err(format!("{} is no host; {ADVICE}", quoted(text))),
    }
}

fn template_list(field: Field<'_>) -> Vec<String> {
    field.list(MAX_LISTED).unwrap_or_default().into_iter().filter_map(|item| item.parse(template)).collect()
}

fn template(text: &str) -> Result<String, &'static str> {
    if text.len() > 1000 {
        Err("is longer than 1000 bytes")
    } else if origin::is_template(text) {
        Ok(text.to_owned())
    } else {
        Err("holds no template, like `${vars.name}` or `%{name}`; list it under `allow`")
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
        origin::Authority,
        policy::{Agent, Destinations, Egress, PromptSection, Seed, VerbRules},
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
        assert_eq!(agent.destinations, Destinations::default());
        assert_eq!(agent.egress, Egress::default());
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

    #[test]
    fn hosts_are_listed_for_egress() {
        let egress = agent("egress: { allow: [Api.Example.com, '*.example.net', 'a:8080', '[::1]'], assets: true, templates: ['${x}'] }").egress;
        let allows = |host: &str, port| egress.allows(&Authority { host: host.into(), port });
        assert!(allows("api.example.com", None) && allows("api.example.com", Some(8443)) && allows("[::1]", None));
        assert!(allows("a.example.net", None) && allows("b.a.example.net", None));
        assert!(!allows("example.net", None) && !allows("notexample.net", None) && !allows(".example.net", None));
        assert!(allows("a", Some(8080)) && !allows("a", None) && !allows("a", Some(80)));
        assert_eq!((egress.assets, egress.templates), (true, vec!["${x}".to_owned()]));

        assert_eq!(agent("egress: {}").egress, Egress::default());
        assert_eq!(agent("egress: { allow: [] }").egress.allow, Some(vec![]));
        for (more, mistake) in [
            (
                "allow: ['https://a.example']",
                "19: an item of `allow`: `https://a.example` is no host; write a host like `api.example.com`, \
                 `api.example.com:8443` or `*.example.com`",
            ),
            (
                "allow: ['*']",
                "19: an item of `allow`: `*` is no host; write a host like `api.example.com`, `api.example.com:8443` or \
                 `*.example.com`",
            ),
            (
                "allow: [], templates: [a.example]",
                "34: an item of `templates`: holds no template, like `${vars.name}` or `%{name}`; list it under `allow`",
            ),
            ("assets: true", "11: this is read only with `allow`; add the hosts or remove it"),
        ] {
            assert_eq!(mistakes(&format!("egress: {{ {more} }}")), [mistake], "{more}");
        }
    }

    #[test]
    fn destinations_are_listed() {
        let destinations =
            agent("destinations: { allow: ['+1*', 'queue:*'], deny: ['+1900*'], templates: ['${x}'] }").destinations;
        assert!(destinations.access.admits("+15551230000") && destinations.access.admits("queue:sales"));
        assert!(!destinations.access.admits("+19005551234") && !destinations.access.admits("sip:a@b"));
        assert_eq!(destinations.templates, ["${x}"]);
        for (more, mistake) in [
            (
                "allow: ['1555*']",
                "25: an item of `allow`: `1555*`: write numbers with their country code, like `+1900*`",
            ),
            ("allow: []", "24: `allow` lists nothing; list a pattern, or remove it"),
            ("templates: ['${x}']", "17: `templates` is read only with `allow` or `deny`; add one or remove it"),
            (
                "deny: ['+1*'], templates: [x]",
                "44: an item of `templates`: holds no template, like `${vars.name}` or `%{name}`; list it under `allow`",
            ),
        ] {
            assert_eq!(mistakes(&format!("destinations: {{ {more} }}")), [mistake], "{more}");
        }
    }
}
