//! Escapes undone, so that a secret is found however it is written. Nothing that comes out is ever sent.

use memchr::memchr2;

/// The text with its JSON escapes and percent-encodings undone, once; `None` if it holds none. What looks like an
/// escape and is none stays as it is.
pub(crate) fn once(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut out, mut meant) = (Vec::new(), Vec::new());
    let mut copied = 0;
    let mut searched = 0;
    while let Some(at) = bytes.get(searched..).and_then(|rest| memchr2(b'\\', b'%', rest)).map(|at| searched + at) {
        let rest = bytes.get(at + 1..).unwrap_or_default();
        meant.clear();
        let taken = if bytes.get(at) == Some(&b'%') { percent(rest, &mut meant) } else { backslash(rest, &mut meant) };
        searched = at + 1 + taken;
        // What is none is not copied, so that a text full of them is read once.
        if taken > 0 {
            out.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
            out.extend_from_slice(&meant);
            copied = searched;
        }
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// How many bytes behind the backslash belong to the escape; none if it is no escape.
fn backslash(rest: &[u8], out: &mut Vec<u8>) -> usize {
    match rest {
        [b'u', ..] => unicode(rest, out),
        [c @ (b'"' | b'\\' | b'/'), ..] => {
            out.push(*c);
            1
        }
        _ => 0,
    }
}

fn unicode(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(first) = rest.get(1..5).and_then(hex) else { return 0 };
    let pair = match rest.get(5..7) {
        Some(b"\\u") if (0xd800..0xdc00).contains(&first) => rest.get(7..11).and_then(hex),
        Some(_) | None => None,
    };
    let low = pair.filter(|low| (0xdc00..0xe000).contains(low));
    let (code, taken) = match low {
        Some(low) => (0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00), 11),
        None => (first, 5),
    };
    let Some(c) = char::from_u32(code) else { return 0 };
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    taken
}

fn percent(rest: &[u8], out: &mut Vec<u8>) -> usize {
    match rest.get(..2).and_then(hex).and_then(|byte| u8::try_from(byte).ok()) {
        Some(byte) => {
            out.push(byte);
            2
        }
        None => 0,
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let digit = |value: u32, &byte: &u8| Some(value * 16 + char::from(byte).to_digit(16)?);
    digits.iter().try_fold(0, digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_once() {
        for (text, expected) in [
            (r"a\/b", Some("a/b")),
            (r"\u0041\u00e9\ud83d\ude00", Some("A\u{e9}\u{1f600}")),
            (r"\\u0041", Some(r"\u0041")),
            ("%41%c3%A9", Some("A\u{e9}")),
            ("%2541", Some("%41")),
            (r"\n\ud83d\u12\", None),
            ("100% %g1 %", None),
            ("plain", None),
        ] {
            assert_eq!(once(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_text_full_of_what_is_none_is_read_once() {
        // Were it copied for each, this would take minutes.
        assert_eq!(once(&r"\n".repeat(1 << 19)), None);
    }
}
