//! The agents' credentials, looked for in what leaves.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use url::form_urlencoded;

use super::{UpstreamCredentials, unescape};
use crate::{json::quote, secret::Secret};

/// How many times over a text may be escaped.
const ROUNDS: usize = 6;

/// All spellings of all agents' credentials.
#[derive(Debug)]
pub(super) struct Leaks {
    automaton: AhoCorasick,
    /// The same, sorted: so that the start of one is found quickly.
    spellings: Vec<Secret>,
    longest: usize,
}

/// Looks for credentials in an answer that passes piece by piece. What may be the start of one is held back until it is
/// known not to be: of a credential that is found, no byte has left.
///
/// Unlike [`super::Policies::leak`] it decodes nothing: of credentials that are escaped as JSON or percent-encoded it
/// knows the usual spelling and no other.
#[derive(Debug)]
pub struct Screen<'p> {
    leaks: &'p Leaks,
    held: Vec<u8>,
}

/// An agent's credentials are in what would leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leak;

// === impl Leaks ===

impl Leaks {
    /// # Errors
    /// If there are too many.
    pub(super) fn of<'c>(credentials: impl Iterator<Item = &'c UpstreamCredentials>) -> Result<Self, BuildError> {
        let mut spellings: Vec<String> = credentials.flat_map(spellings).filter(|text| !text.is_empty()).collect();
        spellings.sort_unstable();
        // Leftmost-first, since only that is searched for with vector instructions.
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(&spellings)?;
        let longest = spellings.iter().map(String::len).max().unwrap_or_default();
        Ok(Self { automaton, spellings: spellings.into_iter().map(Secret::new).collect(), longest })
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        let holds = |text: &str| self.automaton.is_match(text);
        if self.spellings.is_empty() {
            return false;
        }
        let mut decoded = Cow::Borrowed(text);
        for _ in 0..ROUNDS {
            if holds(&decoded) {
                return true;
            }
            match unescape::once(&decoded) {
                Some(next) => decoded = Cow::Owned(next),
                None => return false,
            }
        }
        holds(&decoded)
    }

    pub(super) fn screen(&self) -> Screen<'_> {
        Screen { leaks: self, held: Vec::new() }
    }

    /// Where the longest end of these bytes begins that may go on as a credential; their length if none does.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let earliest = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        let is_open = |from: &usize| bytes.get(*from..).is_some_and(|end| self.may_begin(end));
        (earliest..bytes.len()).find(is_open).unwrap_or(bytes.len())
    }

    /// Whether a spelling begins like this. Those that do stand together, behind all that are smaller.
    fn may_begin(&self, start: &[u8]) -> bool {
        let at = self.spellings.partition_point(|spelling| spelling.expose() < start);
        self.spellings.get(at).is_some_and(|spelling| spelling.expose().starts_with(start))
    }
}

// === impl Screen ===

impl Screen<'_> {
    /// What of the answer may leave, now that this much more of it is known.
    ///
    /// # Errors
    /// [`Leak`]: nothing more of it may leave.
    pub fn pass(&mut self, chunk: &[u8]) -> Result<Vec<u8>, Leak> {
        let mut known = std::mem::take(&mut self.held);
        known.extend_from_slice(chunk);
        if self.leaks.automaton.is_match(&known) {
            return Err(Leak);
        }
        self.held = known.split_off(self.leaks.open_end(&known));
        Ok(known)
    }

    /// What was held back, now that nothing more comes.
    pub fn finish(self) -> Vec<u8> {
        self.held
    }
}

/// The spellings under which credentials are looked for in what leaves: `user:password@`, the `Authorization` token, and
/// the password itself where it is too long to be an ordinary word.
fn spellings(credentials: &UpstreamCredentials) -> Vec<String> {
    const TELLING: usize = 10;
    let UpstreamCredentials { header, username, password } = credentials;
    let password = String::from_utf8_lossy(password.expose());
    let encoded: String = form_urlencoded::byte_serialize(password.as_bytes()).collect();
    let encoded = encoded.replace('+', "%20");
    let escaped = quote(&password);
    let escaped = escaped.trim_matches('"');
    let mut spellings = vec![format!("{username}:{password}@"), format!("{username}:{encoded}@")];
    let token = header.expose_str().and_then(|header| header.split(' ').nth(1)).unwrap_or_default();
    let token = token.trim_end_matches('=');
    spellings.extend([token.to_owned(), token.replace('+', "-").replace('/', "_")]);
    if password.len() >= TELLING {
        spellings.extend([password.clone().into_owned(), encoded, escaped.to_owned()]);
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaks() -> Leaks {
        let credentials = UpstreamCredentials {
            header: Secret::new("Basic dXNlcjpzZXNhbWUtb3Blbg=="),
            username: "user".to_owned(),
            password: Secret::new("sesame-open"),
        };
        Leaks::of([&credentials].into_iter()).unwrap()
    }

    /// What leaves of an answer in pieces of this size, and whether all of it does.
    fn passed(text: &str, size: usize) -> (String, bool) {
        let leaks = leaks();
        let mut screen = leaks.screen();
        let mut out = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            match screen.pass(chunk) {
                Ok(more) => out.extend(more),
                Err(Leak) => return (String::from_utf8(out).unwrap(), false),
            }
        }
        out.extend(screen.finish());
        (String::from_utf8(out).unwrap(), true)
    }

    #[test]
    fn no_byte_of_a_credential_leaves_however_it_is_cut() {
        for size in 1..40 {
            for secret in ["sesame-open", "dXNlcjpzZXNhbWUtb3Blbg", "user:sesame-open@"] {
                let (left, is_whole) = passed(&format!("before {secret} behind"), size);
                assert!(!is_whole && "before ".starts_with(&left), "{size} {secret}: {left}");
            }
        }
    }

    #[test]
    fn all_else_leaves_unchanged() {
        for text in ["", "   {}", "sesame-opem sesame-ope", "user:sesame user:sesame-ope", "dXNlc"] {
            for size in 1..9 {
                assert_eq!(passed(text, size), (text.to_owned(), true), "{size}");
            }
        }
    }

    #[test]
    fn white_space_is_never_held_back() {
        let leaks = leaks();
        assert_eq!(leaks.screen().pass(b" \n"), Ok(b" \n".to_vec()));
    }
}
