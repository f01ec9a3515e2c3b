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
    let is_plain = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if keys().all(is_plain) {
        return false;
    }
    let mut seen = HashSet::new();
    !keys().all(|key| seen.insert(folded(key)))
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
/// than `parsed[0]`, `raw` that can be read two ways, or the flat `arguments` beside `argument`.
pub(super) fn arguments_of<'b>(body: &'b Node<'b>) -> Result<Option<Arguments<'b>>, Reason> {
    let flat = body.get("arguments");
    let Some(argument) = body.get("argument") else {
        return Ok(flat.map(Arguments::Parsed));
    };
    if flat.is_some() {
        return Err(Reason::ArgumentsDisagree);
    }
    if let Value::String(raw) = &argument.value {
        return Ok(Some(Arguments::of_raw(raw)));
    }
    let parsed = argument.get("parsed").and_then(|parsed| parsed.items().first());
    let raw = argument.str_at("raw");
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
            Arguments::Parsed(node) => sanitize::redact(node, text, sensitive),
            Arguments::Raw(raw, Some(node)) => sanitize::redact(node, raw, sensitive),
            // What can't be taken apart can't be redacted either.
            Arguments::Raw(_, None) => json::quote(sanitize::REDACTED),
        }
    }
}
