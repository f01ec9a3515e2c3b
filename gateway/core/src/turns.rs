//! What a caller said, as the platform tells it with a function call (PROTOCOL.md, 4.1: `call_log`, where the agent has
//! `swaig_post_conversation`).

use icu_normalizer::ComposingNormalizerBorrowed;
use sha2::{Digest, Sha256};

use crate::json::{Node, Value};

/// Words with which a caller agrees to something, and words with which not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    accept: Vec<Phrase>,
    refuse: Vec<Phrase>,
    digest: [u8; 4],
}

/// A word or several in a row, without case, punctuation and apostrophes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase(Vec<String>);

/// How many times the caller has spoken; `None` if the platform didn't tell.
pub fn user_turns(body: &Node<'_>) -> Option<usize> {
    turns_of_user(body).map(Iterator::count)
}

/// What the caller said in each turn: text, or what it is in place of that.
fn turns_of_user<'b>(body: &'b Node<'_>) -> Option<impl DoubleEndedIterator<Item = Option<&'b Value<'b>>>> {
    let Value::Array(turns) = &body.get("call_log")?.value else { return None };
    let of_user = turns.iter().filter(|turn| turn.str_at("role") == Some("user"));
    Some(of_user.map(|turn| turn.get("content").map(|content| &content.value)))
}

// === impl Words ===

impl Words {
    /// Refusing words, where a policy lists none of its own.
    pub const REFUSE: [&str; 8] = ["no", "not", "don't", "do not", "never", "cancel", "stop", "wait"];

    /// One of these is needed, and none of those may be there.
    pub fn new(accept: Vec<Phrase>, refuse: Vec<Phrase>) -> Self {
        let mut digest = Sha256::new();
        for (of, phrases) in [(b"+", &accept), (b"-", &refuse)] {
            for Phrase(words) in phrases {
                digest.update(of);
                words.iter().for_each(|word| digest.update([word.as_bytes(), b" "].concat()));
            }
        }
        let [a, b, c, d, ..] = <[u8; 32]>::from(digest.finalize());
        Self { accept, refuse, digest: [a, b, c, d] }
    }

    /// A digest of the words: of the same words the same.
    pub fn digest(&self) -> [u8; 4] {
        self.digest
    }

    /// The words of which one is needed.
    pub fn accepted(&self) -> &[Phrase] {
        &self.accept
    }

    /// The last of the caller's turns, counted from 0, that holds a word, if that agrees. One that holds words of both
    /// kinds is a refusal, like "don't confirm"; one that can't be read is a refusal too.
    pub fn agreed_at(&self, body: &Node<'_>) -> Option<usize> {
        let turns: Vec<_> = turns_of_user(body)?.collect();
        let decided = turns.into_iter().enumerate().rev().find_map(|(at, said)| Some((at, self.decision(said)?)));
        decided.filter(|(_, agrees)| *agrees).map(|(at, _)| at)
    }

    /// What a turn decides, if it decides anything.
    fn decision(&self, said: Option<&Value<'_>>) -> Option<bool> {
        let text = match said {
            None | Some(Value::Null) => return None,
            Some(Value::String(text)) => text,
            Some(_) => return Some(false),
        };
        let words = words_of(text);
        let holds = |phrases: &[Phrase]| phrases.iter().any(|phrase| phrase.is_in(&words));
        if holds(&self.refuse) { Some(false) } else { holds(&self.accept).then_some(true) }
    }
}

// === impl Phrase ===

impl Phrase {
    /// The words of a text; `None` if there is none in it.
    pub fn new(text: &str) -> Option<Self> {
        let words = words_of(text);
        (!words.is_empty()).then_some(Self(words))
    }

    /// The words, with a space between.
    pub fn text(&self) -> String {
        self.0.join(" ")
    }

    /// Whether it stands within another one.
    pub fn is_within(&self, other: &Phrase) -> bool {
        self.is_in(&other.0)
    }

    fn is_in(&self, words: &[String]) -> bool {
        if let [only] = self.0.as_slice()
            && only.chars().any(is_written_without_spaces)
        {
            return words.iter().any(|word| word.contains(only.as_str()));
        }
        words.windows(self.0.len()).any(|window| window == self.0)
    }
}

/// The words of a text as they are compared: in one form of Unicode and one case, `don't` as `dont`.
fn words_of(text: &str) -> Vec<String> {
    if text.is_ascii() {
        // It has one form.
        let heard: String = text.chars().filter(|c| !is_silent(*c)).map(|c| c.to_ascii_lowercase()).collect();
        let words = heard.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        return words.map(str::to_owned).collect();
    }
    let folded =
        |text: &str| -> String { text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect() };
    let text = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    // Folding can take apart what was composed.
    let text = folded(&text);
    let text = ComposingNormalizerBorrowed::new_nfkc().normalize(&text);
    let heard: String = text.chars().filter(|c| !is_silent(*c)).collect();
    heard
        .split(|c: char| !c.is_alphanumeric() && !is_mark(c))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Apostrophes, and what is not seen at all.
fn is_silent(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | 'ʼ' | '`' | '´' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// Marks that belong to the letter before them and have no form together with it.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{963}' | '\u{e31}'..='\u{e4e}' | '\u{64b}'..='\u{65f}' | '\u{5b0}'..='\u{5c7}')
}

/// Letters of scripts that put no space between words: there, a word is found within what stands together.
fn is_written_without_spaces(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn words(accept: &[&str], refuse: &[&str]) -> Words {
        let phrases = |texts: &[&str]| texts.iter().map(|text| Phrase::new(text).unwrap()).collect();
        Words::new(phrases(accept), phrases(refuse))
    }

    /// A body with what the caller said, each after something of the assistant's.
    fn body(said: &[&str]) -> String {
        let turn = |text: &&str| {
            format!(r#"{{"role":"assistant","content":"yes?"}},{{"role":"user","content":{}}}"#, json::quote(text))
        };
        let turns: Vec<_> = said.iter().map(turn).collect();
        format!(r#"{{"call_log":[{}]}}"#, turns.join(","))
    }

    fn agreed(words: &Words, said: &[&str], before: usize) -> bool {
        words.agreed_at(&json::parse(body(said).as_bytes()).unwrap()).is_some_and(|at| at >= before)
    }

    #[test]
    fn turns_are_the_callers() {
        let count = |text: &str| user_turns(&json::parse(text.as_bytes()).unwrap());
        assert_eq!(count(&body(&["a", "b", "c"])), Some(3));
        assert_eq!(count(r#"{"call_log":[]}"#), Some(0));
        for none in ["{}", r#"{"call_log":null}"#, r#"{"call_log":{"role":"user"}}"#] {
            assert_eq!(count(none), None, "{none}");
        }
        assert_eq!(count(r#"{"call_log":[7,{"role":7},{"role":"user"},{"role":"User","content":"x"}]}"#), Some(1));
    }

    #[test]
    fn whole_words_agree() {
        let words = words(&["confirm", "yes", "go ahead"], &Words::REFUSE);
        for yes in
            ["confirm", "Yes.", "YES!", "Well, yes", "please CONFIRM it", "go, ahead", "Go  ahead…", "“yes”", "ｙｅｓ"]
        {
            assert!(agreed(&words, &[yes], 0), "{yes}");
        }
        for no in [
            "",
            "eyes",
            "yesterday",
            "confirmed",
            "go",
            "ahead go",
            "go straight ahead",
            "don't confirm",
            "don’t confirm",
            "DONT confirm",
            "do not confirm",
            "yes... no",
            "no, yes",
            "wait, yes",
            "yes, cancel that",
            "never, confirm",
        ] {
            assert!(!agreed(&words, &[no], 0), "{no}");
        }
        for yes in ["yes, I know", "nothing else, yes", "yes, notable"] {
            assert!(agreed(&words, &[yes], 0), "{yes}");
        }
    }

    #[test]
    fn the_last_turn_with_a_word_decides() {
        let words = words(&["yes"], &Words::REFUSE);
        assert!(agreed(&words, &["no", "yes", "thanks a lot"], 0));
        assert!(!agreed(&words, &["yes", "no", "thanks a lot"], 0));
        assert!(agreed(&words, &["no", "yes"], 1));
        assert!(!agreed(&words, &["yes", "hm"], 1));
        assert!(!agreed(&words, &["yes"], 1));
        assert!(!agreed(&words, &["yes"], 9));
        assert!(!agreed(&words, &[], 0));
    }

    #[test]
    fn what_cannot_be_read_is_no_agreement() {
        let words = words(&["yes"], &Words::REFUSE);
        let log = |turns: &str| {
            let text = format!(r#"{{"call_log":[{turns}]}}"#);
            words.agreed_at(&json::parse(text.as_bytes()).unwrap()).is_some()
        };
        let yes = r#"{"role":"user","content":"yes"}"#;
        assert!(log(yes));
        assert!(log(&format!(r#"{yes},{{"role":"user"}},{{"role":"user","content":null}}"#)));
        assert!(!log(&format!(r#"{yes},{{"role":"user","content":[{{"text":"no"}}]}}"#)));
        assert!(!log(r#"{"role":"assistant","content":"yes"}"#));
        assert!(words.agreed_at(&json::parse(b"{}").unwrap()).is_none());
    }

    #[test]
    fn words_are_the_same_in_all_languages() {
        let words = words(&["sí", "да", "ja", "confirmé", "确认", "GROSS"], &["não", "нет", "不", "नहीं"]);
        for yes in ["Sí", "SI\u{301}", "Да.", "Ja!", "CONFIRME\u{301}", "我确认。", "groß"] {
            assert!(agreed(&words, &[yes], 0), "{yes}");
        }
        for no in ["si", "Na\u{303}o, sí", "да, НЕТ", "我不确认", "ja नहीं", "ja\u{200b}wohl"] {
            assert!(!agreed(&words, &[no], 0), "{no}");
        }
    }

    #[test]
    fn phrases_have_words() {
        assert!(Phrase::new(" …'! ").is_none());
        let phrase = |text: &str| Phrase::new(text).unwrap();
        assert!(phrase("no").is_within(&phrase("No problem")) && !phrase("no").is_within(&phrase("know")));
    }
}
