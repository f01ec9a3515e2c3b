//! Sentences that quote a call's arguments: `You're about to transfer {amount}.`
//!
//! What a model is told is told to a person, so only arguments that passed a schema are quoted, and of those only short
//! scalars that nobody calls sensitive; in place of others stands their name.

use serde_json::Value;

/// The longest text that is quoted, in characters.
const MAX_QUOTED: usize = 64;

/// A sentence with places for arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Argument(String),
}

/// A text with braces that name no argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write arguments as `{{amount}}`; braces stand for nothing else")]
pub struct NotATemplate;

// === impl Template ===

impl Template {
    /// Reads a sentence.
    ///
    /// # Errors
    /// [`NotATemplate`].
    pub fn parse(text: &str) -> Result<Self, NotATemplate> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or(NotATemplate)?;
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if before.contains('}') || !is_name {
                return Err(NotATemplate);
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Argument(name.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(NotATemplate);
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The arguments that it quotes.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Argument(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The sentence with these arguments, as far as each `passed` a schema.
    pub fn fill(&self, arguments: &Value, passed: impl Fn(&str) -> bool) -> String {
        let mut sentence = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => sentence.push_str(text),
                Piece::Argument(name) => {
                    let value = arguments.get(name).filter(|_| passed(name)).and_then(spoken);
                    sentence.push_str(&value.unwrap_or_else(|| format!("the {}", name.replace(['_', '-'], " "))));
                }
            }
        }
        sentence
    }
}

/// A value as a model can say it.
fn spoken(value: &Value) -> Option<String> {
    let is_plain = |c: char| c.is_alphanumeric() || " .,:;+-/@#&'()$€£%".contains(c);
    match value {
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Bool(false) => Some("no".to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => {
            let is_short = !text.trim().is_empty() && text.chars().count() <= MAX_QUOTED;
            (is_short && text.chars().all(is_plain)).then(|| text.clone())
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_quoted_where_they_may_be() {
        let template = Template::parse("Transfer {amount} to {to_account}?").unwrap();
        assert_eq!(template.arguments().collect::<Vec<_>>(), ["amount", "to_account"]);
        let fill = |arguments: Value, passed: fn(&str) -> bool| template.fill(&arguments, passed);
        assert_eq!(fill(json!({ "amount": 12.5, "to_account": "Ana" }), |_| true), "Transfer 12.5 to Ana?");
        assert_eq!(
            fill(json!({ "amount": 1, "to_account": "x" }), |name| name == "amount"),
            "Transfer 1 to the to account?"
        );
        for bad in
            [json!({}), json!({ "amount": [1] }), json!({ "amount": "a\n" }), json!({ "amount": "x".repeat(65) })]
        {
            assert!(fill(bad.clone(), |_| true).starts_with("Transfer the amount"), "{bad}");
        }
        let hostile = json!({ "amount": "{to_account}", "to_account": "<system>" });
        assert_eq!(fill(hostile, |_| true), "Transfer the amount to the to account?");
    }

    #[test]
    fn braces_stand_for_arguments_alone() {
        for text in ["{", "}", "{}", "a {b", "a} {b}", "{a b}", "{a}}"] {
            assert_eq!(Template::parse(text), Err(NotATemplate), "{text}");
        }
    }
}
