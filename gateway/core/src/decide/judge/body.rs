//! A request's body, read in one way only.

use std::collections::HashSet;

use crate::{
    json::{self, JsonError, Node, Value},
    record::Facts,
    sanitize::{self, SensitiveNames},
    verdict::Reason,
};

pub(super) fn object<'b>(body: &'b [u8], facts: &mut Facts) -> Result<Node<'b>, Reason> {
    let parsed = json::parse(body).map_err(|error| {
        facts.detail = Some(error.to_string());
        match error {
            JsonError::NotUtf8 | JsonError::Malformed { .. } => Reason::BodyNotJson,
            JsonError::DuplicateKey { .. } => Reason::BodyDuplicateKey,
            JsonError::TooDeep => Reason::BodyTooDeep,
        }
    })?;
    if !parsed.is_object() {
        facts.detail = Some("not an object".to_owned());
        return Err(Reason::BodyNotJson);
    }
    // Go and .NET read `Function` as `function`; which of the two counts is theirs to say.
    if has_keys_of_one_word(&parsed) {
        facts.detail = Some("two keys differ in their case alone".to_owned());
        return Err(Reason::BodyDuplicateKey);
    }
    Ok(parsed)
}

fn has_keys_of_one_word(object: &Node<'_>) -> bool {
    let keys = || object.members().iter().map(|member| member.key.as_ref());
    // The platform's own keys are plain, but for one or two: no two plain keys fold into one.
    if keys().all(is_plain) {
        return false;
    }
    let mut seen = HashSet::new();
    !keys().all(|key| seen.insert(folded(key)))
}

/// Whether a key is one of these names, but for its case.
pub(super) fn has_alias_of(object: &Node<'_>, names: &[&str]) -> bool {
    let keys = object.members().iter().map(|member| member.key.as_ref());
    let mut others = keys.filter(|key| !is_plain(key));
    others.any(|key| names.contains(&folded(key).as_str()))
}

fn is_plain(key: &str) -> bool {
    key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// A key as parsers compare it that don't tell the case: Go's folds also the long s and the Kelvin sign.
fn folded(key: &str) -> String {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// A function's arguments, wherever the SDKs look for them (PROTOCOL.md, 4.6).
pub(in crate::decide) enum Arguments<'b> {
    /// Told apart by the platform.
    Parsed(&'b Node<'b>),
    /// As the model wrote them, and what that is as JSON, if it is.
    Raw(&'b str, Option<Node<'b>>),
}

/// Finds the arguments.
///
/// # Errors
/// [`Reason::ArgumentsDisagree`] if one SDK would read others than another: `raw` that is JSON and means something else
/// than `parsed[0]`, `raw` that can be read two ways, the flat `arguments` beside `argument`, either of them in another
/// case or form than the platform's, or two arguments whose names differ in their case alone.
pub(super) fn arguments_of<'b>(body: &'b Node<'b>) -> Result<Option<Arguments<'b>>, Reason> {
    let arguments = found_arguments(body)?;
    let node = arguments.as_ref().and_then(Arguments::node);
    if node.is_some_and(has_keys_of_one_word) { Err(Reason::ArgumentsDisagree) } else { Ok(arguments) }
}

fn found_arguments<'b>(body: &'b Node<'b>) -> Result<Option<Arguments<'b>>, Reason> {
    if has_alias_of(body, &["argument", "arguments"]) {
        return Err(Reason::ArgumentsDisagree);
    }
    let flat = body.get("arguments");
    let Some(argument) = body.get("argument") else {
        return Ok(flat.map(Arguments::Parsed));
    };
    if flat.is_some() {
        return Err(Reason::ArgumentsDisagree);
    }
    match &argument.value {
        Value::String(raw) => Ok(Some(Arguments::of_raw(raw))),
        Value::Object(_) if !has_alias_of(argument, &["parsed", "raw"]) => told_apart(argument),
        Value::Null => Ok(None),
        Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_) => Err(Reason::ArgumentsDisagree),
    }
}

/// The arguments as the platform sends them.
fn told_apart<'b>(argument: &'b Node<'b>) -> Result<Option<Arguments<'b>>, Reason> {
    // PHP takes the item `0` of an object for the first of a list.
    let parsed = match argument.get("parsed").map(|parsed| (parsed, &parsed.value)) {
        None | Some((_, Value::Null)) => None,
        Some((parsed, Value::Array(_))) => parsed.items().first(),
        Some(_) => return Err(Reason::ArgumentsDisagree),
    };
    let raw = match argument.get("raw").map(|raw| &raw.value) {
        None | Some(Value::Null) => None,
        Some(Value::String(raw)) => Some(raw.as_ref()),
        Some(_) => return Err(Reason::ArgumentsDisagree),
    };
    match (parsed, raw) {
        (Some(parsed), Some(raw)) => match json::parse(raw.as_bytes()) {
            Ok(from_raw) if !from_raw.means(parsed) => Err(Reason::ArgumentsDisagree),
            Err(JsonError::DuplicateKey { .. } | JsonError::TooDeep) => Err(Reason::ArgumentsDisagree),
            // The platform mends what a model wrote badly: then only `parsed` is JSON.
            Ok(_) | Err(JsonError::NotUtf8 | JsonError::Malformed { .. }) => Ok(Some(Arguments::Parsed(parsed))),
        },
        (Some(parsed), None) => Ok(Some(Arguments::Parsed(parsed))),
        (None, Some(raw)) => Ok(Some(Arguments::of_raw(raw))),
        (None, None) => Ok(None),
    }
}

impl<'b> Arguments<'b> {
    fn of_raw(raw: &'b str) -> Self {
        Arguments::Raw(raw, json::parse(raw.as_bytes()).ok())
    }

    /// The arguments as JSON, if they are.
    pub(in crate::decide) fn node(&self) -> Option<&Node<'b>> {
        match self {
            Arguments::Parsed(node) => Some(node),
            Arguments::Raw(_, node) => node.as_ref(),
        }
    }

    pub(super) fn redacted(&self, text: &str, sensitive: &SensitiveNames) -> String {
        match self {
            // What can't be taken apart can't be redacted either.
            Arguments::Raw(_, None) => json::quote(sanitize::REDACTED),
            text if text.node().is_some_and(|node| node.as_str().is_some()) => json::quote(sanitize::REDACTED),
            Arguments::Parsed(node) => sanitize::redact(node, text, sensitive),
            Arguments::Raw(raw, Some(node)) => sanitize::redact(node, raw, sensitive),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_down_in_no_form_of_arguments() {
        let sensitive = SensitiveNames::with(["code".to_owned()]);
        for body in [
            r#"{"arguments":{"code":"4711"}}"#,
            r#"{"arguments":"{\"code\":\"4711\"}"}"#,
            r#"{"argument":{"parsed":[{"a":{"Code":4711}}]}}"#,
            r#"{"argument":{"parsed":["code 4711"]}}"#,
            r#"{"argument":{"raw":"{\"code\":4711}"}}"#,
            r#"{"argument":{"raw":"{code:4711"}}"#,
            r#"{"argument":{"raw":"\"{code:4711\""}}"#,
            r#"{"argument":"4711 is the code"}"#,
        ] {
            let parsed = json::parse(body.as_bytes()).unwrap();
            let Ok(Some(arguments)) = arguments_of(&parsed) else { panic!("{body}") };
            let written = arguments.redacted(body, &sensitive);
            assert!(!written.contains("4711") && written.contains(sanitize::REDACTED), "{body}: {written}");
        }
    }
}
