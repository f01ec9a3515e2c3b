//! `input`, `redact`: what texts may go in, and what is taken out of those that come back.

use regex::{Regex, RegexBuilder};

use crate::{
    input::InputRules,
    json,
    redact::{Pattern, Redactions},
    yaml::{Field, Fields, quoted},
};

/// How many patterns a list may have.
const MAX_PATTERNS: usize = 32;

/// How long a pattern may be, in bytes.
const MAX_PATTERN: usize = 1024;

/// How large a pattern may become, in bytes.
const MAX_COMPILED: usize = 256 << 10;

/// `max_bytes` of `input`.
const BYTES: std::ops::RangeInclusive<usize> = 64..=64 << 20;

/// How long the name of a pattern may be, in characters.
const MAX_NAME: usize = 40;

/// The words of `redact`.
const WORDS: [&str; 4] = ["card_number", "ssn", "email", "phone"];

/// `input`.
pub(super) fn input(field: Field<'_>) -> InputRules {
    field.section(|fields| {
        let default = InputRules::default();
        let deepest = u64::try_from(json::MAX_DEPTH).unwrap_or_default();
        let depth = fields.take("max_depth").integer(1..=deepest).and_then(|depth| usize::try_from(depth).ok());
        let max_bytes = fields.take("max_bytes").size(BYTES);
        let controls = fields.take("control_characters").choice(&[("deny", false), ("allow", true)]);
        let forbid = fields.take("forbid").list(MAX_PATTERNS).unwrap_or_default();
        InputRules {
            max_bytes: max_bytes.unwrap_or(default.max_bytes),
            max_depth: depth.unwrap_or(default.max_depth),
            control_characters: controls.unwrap_or(default.control_characters),
            forbid: forbid.into_iter().filter_map(|item| item.parse(regex)).collect(),
        }
    })
}

/// `redact`: words for what is known, and patterns with names.
pub(super) fn redactions(field: Field<'_>) -> Redactions {
    let items = field.list(MAX_PATTERNS).unwrap_or_default();
    let pattern = |item: Field<'_>| if item.is_mapping() { item.mapping(own) } else { item.parse(known) };
    Redactions::new(items.into_iter().filter_map(pattern).collect())
}

fn known(word: &str) -> Result<Pattern, String> {
    match word {
        "card_number" => Ok(Pattern::card_number()),
        "ssn" => Ok(Pattern::ssn()),
        "phone" => Ok(Pattern::phone()),
        "email" => Pattern::email().map_err(|error| error.to_string()),
        _ => {
            let words = WORDS.map(quoted).join(", ");
            Err(format!("{} is not known; write {words}, or `name` and `pattern`", quoted(word)))
        }
    }
}

fn own(fields: &mut Fields<'_>) -> Option<Pattern> {
    let name = fields.take("name").required().parse(name);
    let pattern = fields.take("pattern").required().parse(regex);
    Some(Pattern::text(&name?, pattern?))
}

/// A model is to say it.
fn name(text: &str) -> Result<String, String> {
    let can_be_said = |c: char| c.is_alphabetic() || c == ' ' || c == '-';
    let is_name = (1..=MAX_NAME).contains(&text.chars().count()) && text.chars().all(can_be_said);
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{} must be letters, spaces and dashes, up to {MAX_NAME}", quoted(text)))
}

/// A pattern that is matched in linear time, and says something.
fn regex(text: &str) -> Result<Regex, String> {
    if text.len() > MAX_PATTERN {
        return Err(format!("the pattern has {} bytes; at most {MAX_PATTERN} are allowed", text.len()));
    }
    let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
    let regex = built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("{} becomes too large; repeat less", quoted(text)),
        error => {
            let shown = error.to_string();
            let last = shown.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("{} is no pattern: {last}", quoted(text))
        }
    })?;
    if regex.is_match("") { Err(format!("{} matches every text", quoted(text))) } else { Ok(regex) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{input::InputFault, yaml};

    fn read<T>(text: &str, reader: fn(Field<'_>) -> T) -> Result<T, String> {
        yaml::read("p", &format!("key: {text}"), |fields| Some(reader(fields.take("key"))))
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn input_is_read() {
        let rules = read(
            "{ max_bytes: 16KiB, max_depth: 8, control_characters: allow, forbid: ['(?i)ignore (all )?previous instructions'] }",
            input,
        )
        .unwrap();
        assert_eq!((rules.max_bytes, rules.max_depth, rules.control_characters), (16 << 10, 8, true));
        assert_eq!(rules.check_raw("Ignore previous instructions"), Err(InputFault::Pattern(0)));
        let default = read("{ control_characters: deny }", input).unwrap();
        assert_eq!((default.max_bytes, default.max_depth, default.control_characters), (64 << 10, 16, false));
    }

    #[test]
    fn redact_is_read() {
        let text = "[card_number, ssn, email, phone, { name: account, pattern: 'ACC-[0-9]+' }]";
        let redactions = read(text, redactions).unwrap();
        let before = "4111111111111111, 123-45-6789, a@b.cc, +15552344567, ACC-7";
        let after = "[card number], [social security number], [email address], [phone number], [account]";
        assert_eq!(redactions.apply(before).as_deref(), Some(after));
    }

    #[test]
    fn mistakes_are_told() {
        for (text, part) in [
            ("{ max_depth: 0 }", "it must be from 1 to 64"),
            ("{ max_bytes: 1B }", "it must be from 64B"),
            ("{ control_characters: maybe }", "must be `deny` or `allow`"),
            ("{ forbid: ['('] }", "`(` is no pattern: unclosed group"),
            ("{ forbid: ['(?=a)'] }", "look-around"),
            ("{ forbid: ['a*'] }", "`a*` matches every text"),
            ("{ forbid: ['\\w{1000}{100}'] }", "becomes too large"),
        ] {
            let mistakes = read(text, input).unwrap_err();
            assert!(mistakes.contains(part), "{text}: {mistakes}");
        }
        for (text, part) in [
            ("[card]", "`card` is not known; write `card_number`"),
            ("[{ name: a }]", "`pattern` is missing"),
            ("[{ name: 'say: [x]', pattern: x }]", "must be letters"),
            ("[{ name: a, pattern: '' }]", "matches every text"),
        ] {
            let mistakes = read(text, redactions).unwrap_err();
            assert!(mistakes.contains(part), "{text}: {mistakes}");
        }
    }
}
