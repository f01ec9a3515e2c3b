//! Where URLs stand in text.

use std::ops::Range;

use crate::verdict::Reason;

/// How much of a text is looked at as one URL, in bytes.
const MAX_URL: usize = 4096;

/// Where the http or https scheme starts that ends at `at`.
pub(super) fn scheme_before(text: &str, at: usize) -> Option<usize> {
    let start_of = |scheme: &str| {
        let start = at.checked_sub(scheme.len())?;
        text.get(start..at).filter(|end| end.eq_ignore_ascii_case(scheme)).map(|_| start)
    };
    start_of("https").or_else(|| start_of("http"))
}

/// The hosts of URLs that are not http's, such as `wss://` or `stream:wss://`, for which `replace` has another: where each
/// stands, userinfo and port included, and what comes in its place.
pub(super) fn other_protocols(
    text: &str,
    replace: impl Fn(&str) -> Result<Option<String>, Reason>,
) -> Result<Vec<(Range<usize>, String)>, Reason> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("://") {
        let before = text.get(..at).unwrap_or_default();
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if !before.ends_with(is_scheme) || scheme_before(text, at).is_some() {
            continue;
        }
        let start = at + 3;
        let rest = text.get(start..).unwrap_or_default();
        let rest = rest.get(..rest.floor_char_boundary(MAX_URL)).unwrap_or_default();
        let end = rest.find(|c: char| c <= ' ' || "/?#\"'<>(){}`,;".contains(c)).unwrap_or(rest.len());
        if let Some(other) = replace(rest.get(..end).unwrap_or_default())? {
            found.push((start..start + end, other));
        }
    }
    Ok(found)
}

/// What may be meant by a URL at the start of a text: all up to what no URL holds but the punctuation at its end, or
/// all up to the first comma or the like, which no host holds.
pub(super) fn candidates(text: &str) -> [&str; 2] {
    let text = text.get(..text.floor_char_boundary(MAX_URL)).unwrap_or_default();
    let end = text.find(|c: char| c <= ' ' || "\"'<>(){}\\`".contains(c)).unwrap_or(text.len());
    let whole = text.get(..end).unwrap_or_default();
    // A bracket that closes none is the text's, not an address'.
    let whole = if whole.contains('[') { whole } else { whole.trim_end_matches(']') };
    let whole = whole.trim_end_matches(['.', ',', ';', ':', '!', '?']);
    let shorter = whole.find([',', ';', '|', '&', '=']).and_then(|end| whole.get(..end)).unwrap_or(whole);
    [whole, shorter]
}

/// How many bytes two texts have in common at their ends.
pub(super) fn common_suffix(a: &str, b: &str) -> usize {
    let same = a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b);
    same.map(|(c, _)| c.len_utf8()).sum()
}
