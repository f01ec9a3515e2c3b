//! What is unwise about the secrets that files name. They are looked at, and never told.

use super::{Finding, Lint, Source, Subject};
use crate::{
    id::AgentName,
    secret::Secret,
    yaml::{Leaf, quoted},
};

/// How long a password should be, in bytes: what SignalWire's own security guide asks for.
const LONG_ENOUGH: usize = 32;

/// How many bits a password should hold, as far as its characters can tell.
const BITS_ENOUGH: f64 = 96.0;

/// A secret that a file names.
struct Named<'s, 'a> {
    source: &'s Source<'a>,
    agent: Option<&'s AgentName>,
    leaf: Leaf,
    /// The key, like `password_env`.
    key: String,
    value: Secret,
}

pub(super) fn lint(subject: &Subject<'_>) -> Vec<Finding> {
    let agents = subject.policies.iter().map(|(source, agent)| (source, Some(&agent.name)));
    let sources = std::iter::once((&subject.gateway, None)).chain(agents);
    let all: Vec<Named<'_, '_>> = sources.flat_map(|(source, agent)| named(source, agent)).collect();
    let weak = all.iter().filter_map(Named::weakness);
    let mut reused = Vec::new();
    for (number, one) in all.iter().enumerate() {
        let before = all.iter().take(number).find(|other| one.is_another_use_of(other));
        reused.extend(before.map(|other| one.reused(other)));
    }
    weak.chain(reused).collect()
}

/// The secrets of a file, by the keys that end in `_env` and `_file`. Names and hashes are none.
fn named<'s, 'a>(source: &'s Source<'a>, agent: Option<&'s AgentName>) -> Vec<Named<'s, 'a>> {
    let secret = |leaf: Leaf| {
        let key = leaf.path.iter().rev().find(|step| step.parse::<usize>().is_err())?.clone();
        let value = match key.rsplit_once('_')? {
            (what, _) if what.starts_with("username") || what.ends_with("hash") => None,
            (_, "env") => source.secrets.env(&leaf.text),
            (_, "file") => source.secrets.file(&leaf.text).ok(),
            _ => None,
        }?;
        Some(Named { source, agent, leaf, key, value })
    };
    source.outline.leaves().into_iter().filter_map(secret).collect()
}

// === impl Named ===

impl Named<'_, '_> {
    fn finding(&self, lint: Lint, message: String) -> Finding {
        let (file, agent) = (self.source.file.to_owned(), self.agent.cloned());
        Finding { lint, file, place: self.leaf.place, agent, message }
    }

    fn weakness(&self) -> Option<Finding> {
        if !self.key.starts_with("password_") {
            return None;
        }
        let name = quoted(&self.leaf.text);
        let advice = "`openssl rand -base64 32` makes a good one";
        let length = self.value.len();
        if length < LONG_ENOUGH {
            let message = format!("the password in {name} has {length} bytes; have {LONG_ENOUGH} or more: {advice}");
            Some(self.finding(Lint::WeakPassword, message))
        } else if bits(self.value.expose()) < BITS_ENOUGH {
            let message = format!("the password in {name} has few different characters, or repeats itself; {advice}");
            Some(self.finding(Lint::WeakPassword, message))
        } else {
            None
        }
    }

    /// What it is for: which section, and which key without its ending.
    fn purpose(&self) -> (Option<&str>, &str) {
        let what = self.key.rsplit_once('_').map_or("", |(what, _)| what);
        (self.leaf.path.first().map(String::as_str), what)
    }

    fn is_signing_key(&self) -> bool {
        self.key.starts_with("signing_key")
    }

    /// Whether both are one secret, and not for one purpose. Several agents may know one platform by one password, and the
    /// platform and an agent may share a signing key.
    fn is_another_use_of(&self, other: &Self) -> bool {
        let is_same_name = self.leaf.text == other.leaf.text && self.key == other.key;
        self.value.expose() == other.value.expose()
            && !(is_same_name && self.purpose() == other.purpose())
            && !(self.is_signing_key() && other.is_signing_key())
    }

    fn reused(&self, other: &Self) -> Finding {
        let name = quoted(&self.leaf.text);
        let Self { source, leaf, .. } = other;
        let (file, line, column) = (source.file, leaf.place.line, leaf.place.column);
        let message = format!(
            "the secret in {name} is also that of `{}` at {file}:{line}:{column}; whoever learns one has both, so make another",
            other.key
        );
        self.finding(Lint::ReusedSecret, message)
    }
}

/// How much there is to guess: the entropy of the characters, for as many of them as come before it repeats itself. It
/// knows no words, so it is an upper bound.
fn bits(secret: &[u8]) -> f64 {
    let period = (1..=secret.len()).find(|period| secret.iter().skip(*period).zip(secret).all(|(a, b)| a == b));
    let part = secret.get(..period.unwrap_or_default()).unwrap_or_default();
    let length = part.len() as f64;
    let mut counts = [0_u32; 256];
    for byte in part {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    shares.map(|share| -share * share.log2()).sum::<f64>() * length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_itself_or_knows_few_characters_holds_little() {
        for (secret, is_enough) in [
            ("", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("0101010101010101010101010101010101010101", false),
            ("password-password-password-password", false),
            ("1234567890123456789012345678901234567890", false),
            ("4f1c2a9d7be03856d1f4a7c20b9e3d68", true),
            ("q7Rk0zXv2LmN8pTb4YwCs6HdJf1GaUeE", true),
            ("OhA5pW0mF9w1VtUqU2yPqJ6kqIY0q8h3f0rVd1m1C8E=", true),
        ] {
            assert_eq!(bits(secret.as_bytes()) >= BITS_ENOUGH, is_enough, "{secret}: {}", bits(secret.as_bytes()));
        }
    }
}
