//! `words`, `not_words`: with which words a caller agrees, and with which not.

use crate::{
    turns::{Phrase, Words},
    yaml::{Field, Fields, quoted},
};

/// How many words a list may have.
const MAX_WORDS: usize = 64;

/// How long one may be, in bytes.
const MAX_WORD: usize = 128;

/// Takes both keys; `words` is required.
pub(super) fn words(fields: &mut Fields<'_>) -> Option<Words> {
    let field = fields.take("words").required();
    let place = field.place();
    let accept = phrases(field);
    let field = fields.take("not_words");
    let refuse = if field.is_given() {
        phrases(field)
    } else {
        Some(Words::REFUSE.iter().filter_map(|word| Phrase::new(word)).map(|phrase| (String::new(), phrase)).collect())
    };
    let (accept, refuse) = (accept?, refuse?);
    for (text, phrase) in &accept {
        if refuse.iter().any(|(_, refusing)| refusing.is_within(phrase)) {
            let message =
                format!("{} holds a word that refuses, so it would never agree; see `not_words`", quoted(text));
            fields.report().note(place, message);
        }
    }
    let plain = |phrases: Vec<(String, Phrase)>| phrases.into_iter().map(|(_, phrase)| phrase).collect();
    Some(Words::new(plain(accept), plain(refuse)))
}

/// At least one phrase, each with its text.
fn phrases(field: Field<'_>) -> Option<Vec<(String, Phrase)>> {
    let (report, place) = (field.report(), field.place());
    let items: Vec<_> = field.list(MAX_WORDS)?.into_iter().map(|item| item.parse(phrase)).collect();
    if items.is_empty() {
        report.note(place, "lists no word; list one");
    }
    items.into_iter().collect()
}

fn phrase(text: &str) -> Result<(String, Phrase), String> {
    let phrase = Phrase::new(text).filter(|_| text.len() <= MAX_WORD);
    let phrase =
        phrase.ok_or_else(|| format!("{} must be a word or several, of up to {MAX_WORD} bytes", quoted(text)))?;
    Ok((text.to_owned(), phrase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json, yaml};

    fn read(text: &str) -> Result<Words, String> {
        yaml::read("p", text, words)
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn agreed(words: &Words, said: &str) -> bool {
        let body = format!(r#"{{"call_log":[{{"role":"user","content":{}}}]}}"#, json::quote(said));
        words.agreed_at(&json::parse(body.as_bytes()).unwrap()).is_some()
    }

    #[test]
    fn words_are_read() {
        let default = read("words: [confirm, \"yes\", go ahead]").unwrap();
        assert!(agreed(&default, "Yes!") && agreed(&default, "go ahead") && !agreed(&default, "don't confirm"));
        let own = read("words: [ja]\nnot_words: [nein]").unwrap();
        assert!(agreed(&own, "ja, no") && !agreed(&own, "ja, nein"));
    }

    #[test]
    fn mistakes_are_told() {
        for (text, part) in [
            ("not_words: [x]", "`words` is missing"),
            ("words: []", "lists no word"),
            ("words: [x]\nnot_words: []", "lists no word"),
            ("words: ['!']", "must be a word or several"),
            ("words: [no problem]", "`no problem` holds a word that refuses"),
        ] {
            let mistakes = read(text).unwrap_err();
            assert!(mistakes.contains(part), "{text}: {mistakes}");
        }
    }
}
