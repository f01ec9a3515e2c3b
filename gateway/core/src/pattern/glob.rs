//! Wildcards, in a time that is linear in the text.

/// A text in which `?` is one character and `*` any number of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// What stands between the `*`s: the first begins the text, the last ends it.
    parts: Vec<Box<[u8]>>,
}

impl Glob {
    /// `pattern` is ASCII in lower case, as are the texts it is matched with.
    pub(super) fn new(pattern: &str) -> Self {
        Self { parts: pattern.split('*').map(|part| part.as_bytes().into()).collect() }
    }

    /// Whether the whole text is of this form. Each part is looked for once, as early as can be: no later place would leave
    /// more room for the rest.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text = text.as_bytes();
        let Some((first, rest)) = self.parts.split_first() else { return text.is_empty() };
        let Some((last, between)) = rest.split_last() else { return is(first, text) };
        let Some((head, mut text)) = text.split_at_checked(first.len()) else { return false };
        if !is(first, head) {
            return false;
        }
        for part in between.iter().filter(|part| !part.is_empty()) {
            let Some(at) = text.windows(part.len()).position(|window| is(part, window)) else { return false };
            text = text.get(at + part.len()..).unwrap_or_default();
        }
        let tail = text.len().checked_sub(last.len()).and_then(|at| text.get(at..));
        tail.is_some_and(|tail| is(last, tail))
    }
}

fn is(part: &[u8], text: &[u8]) -> bool {
    part.len() == text.len() && part.iter().zip(text).all(|(wanted, found)| *wanted == b'?' || wanted == found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What wildcards mean, without regard for time.
    fn plainly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some((b'*', rest)), None) => plainly(rest, text),
            (Some((b'*', rest)), Some((_, shorter))) => plainly(rest, text) || plainly(pattern, shorter),
            (Some((wanted, rest)), Some((found, shorter))) => {
                (*wanted == b'?' || wanted == found) && plainly(rest, shorter)
            }
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn wildcards_mean_what_they_do(pattern in "[ab?*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&text), plainly(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
