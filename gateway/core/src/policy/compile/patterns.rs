//! Lists of addresses that may pass: who may call a function, where calls may be sent.

use std::fmt::Display;

use crate::{
    pattern::{Access, AddressPattern},
    yaml::{Field, Fields},
};

/// How many patterns a list may have.
const MAX_PATTERNS: usize = 256;

/// Which callers pass: `{ allow: [...], deny: [...] }`.
pub(super) fn callers(field: Field<'_>) -> Option<Access> {
    access(field, AddressPattern::of_callers)
}

fn access<E: Display>(field: Field<'_>, parse: fn(&str) -> Result<AddressPattern, E>) -> Option<Access> {
    field.mapping(|fields| {
        let access = listed(fields, parse)?;
        if access.is_empty() {
            fields.report().note(fields.place(), "write `allow`, `deny` or both, with at least one pattern");
        }
        Some(access)
    })
}

/// `allow` and `deny` of callers, beside other keys.
pub(super) fn callers_beside(fields: &mut Fields<'_>) -> Access {
    listed(fields, AddressPattern::of_callers).unwrap_or_default()
}

/// `allow` and `deny` of places that calls are sent to, beside other keys.
pub(super) fn destinations_beside(fields: &mut Fields<'_>) -> Access {
    listed(fields, str::parse).unwrap_or_default()
}

fn listed<E: Display>(fields: &mut Fields<'_>, parse: fn(&str) -> Result<AddressPattern, E>) -> Option<Access> {
    let [allow, deny] = ["allow", "deny"].map(|key| patterns(fields, key, parse));
    Some(Access { allow: allow?, deny: deny? })
}

/// The patterns under a key, none if it isn't given; `None` if one is wrong.
fn patterns<E: Display>(
    fields: &mut Fields<'_>,
    key: &'static str,
    parse: fn(&str) -> Result<AddressPattern, E>,
) -> Option<Vec<AddressPattern>> {
    let field = fields.take(key);
    if !field.is_given() {
        return Some(Vec::new());
    }
    let (report, place) = (field.report(), field.place());
    let items: Vec<_> = field.list(MAX_PATTERNS)?.into_iter().map(|item| item.parse(parse)).collect();
    if items.is_empty() {
        report.note(place, format!("`{key}` lists nothing; list a pattern, or remove it"));
    }
    items.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn read(text: &str, reader: fn(Field<'_>) -> Option<Access>) -> Result<Access, String> {
        yaml::read("p", &format!("key: {text}"), |fields| reader(fields.take("key")))
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn lists_are_read() {
        let access = read("{ allow: [+1*, unidentified], deny: [+1900*] }", callers).unwrap();
        assert!(access.admits("+15551234567") && !access.admits("+19005551234") && access.admits_caller(None));
    }

    #[test]
    fn mistakes_are_told() {
        let told = |text: &str, part: &str| {
            let mistakes = read(text, callers).unwrap_err();
            assert!(mistakes.contains(part), "{text}: {mistakes}");
        };
        told("{}", "write `allow`, `deny` or both");
        told("{ allow: [] }", "`allow` lists nothing");
        told("{ allow: ['1900*'], deny: [x] }", "country code");
        told("{ allow: ['1900*'], deny: [x] }", "`x`: write a number");
        told("{ allow: [1900] }", "must be text; put it in quotes");
    }
}
