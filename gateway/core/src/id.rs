//! Names and identifiers, each a type of its own.

use std::{fmt, str::FromStr, sync::Arc};

/// The name of a protected agent, as its policy file gives it: 1 to 64 of `a-z A-Z 0-9 _ -`.
///
/// It is a metric label, so it comes only from the operator's files.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentName(Arc<str>);

/// The name of a SWAIG function: 1 to 128 of `a-z A-Z 0-9 _ . -`.
///
/// The SDKs demand `^[a-zA-Z_][a-zA-Z0-9_]*$`; hand-written agents also use dots and dashes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName(Arc<str>);

/// The random identity of one SWML document that left the gateway; its tokens and credentials carry it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DocumentId(pub [u8; 16]);

/// The random identity of one HTTP request, sent as `X-Request-Id` both ways.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub [u8; 12]);

/// A keyed digest of a call id. Equal ids have equal digests under one key; the id can't be computed from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallDigest(pub [u8; 16]);

/// A keyed digest of a caller's normalised number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallerDigest(pub [u8; 16]);

/// What two requests have in common if one is the other sent again: the same URL, its token included, and the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RepeatKey(pub [u8; 32]);

/// Something that was learned or done in a call, as a digest of what it is and of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FactKey(pub [u8; 16]);

/// A name that breaks the rule of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(&'static str);

// === impl AgentName ===

impl AgentName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName("an agent's name is 1 to 64 of a-z A-Z 0-9 _ -"))
        }
    }
}

// === impl FunctionName ===

impl FunctionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the platform calls this function when the call has ended.
    pub fn is_hangup(&self) -> bool {
        matches!(self.as_str(), "hangup_hook" | "stop_hook")
    }

    /// Whether the platform calls this function by itself, at the call's start or end, and not the model
    /// (PROTOCOL.md, 4.2). Such calls are never stopped by a limit: they clean up.
    pub fn is_hook(&self) -> bool {
        matches!(self.as_str(), "startup_hook" | "hangup_hook" | "start_hook" | "stop_hook" | "summarize_conversation")
    }
}

impl FromStr for FunctionName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName("a function's name is 1 to 128 of a-z A-Z 0-9 _ . -"))
        }
    }
}

/// Names are looked up by text: both hash and compare as the text does.
impl std::borrow::Borrow<str> for FunctionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

// === how they print ===

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for CallDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for CallerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 32 hex digits")]
pub struct NoDigest;

impl FromStr for CallerDigest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let halves = text.split_at_checked(16).ok_or(NoDigest)?;
        let (Some(first), Some(last)) = (eight_of_hex(halves.0), eight_of_hex(halves.1)) else { return Err(NoDigest) };
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(first.into_iter().chain(last)).for_each(|(place, byte)| *place = byte);
        Ok(Self(bytes))
    }
}

impl fmt::Debug for CallerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// Reads eight bytes that [`hex`] wrote.
pub(crate) fn eight_of_hex(text: &str) -> Option<[u8; 8]> {
    let is_hex = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(text, 16).ok().filter(|_| is_hex).map(u64::to_be_bytes)
}

/// Writes bytes as lower-case hex digits.
pub(crate) fn hex(bytes: &[u8], f: &mut impl fmt::Write) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
    let text: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    f.write_str(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = CallerDigest(std::array::from_fn(|index| u8::try_from(index * 16).unwrap()));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for text in ["", "00", &"0".repeat(33), &"F".repeat(32), &"+15551230001".repeat(3)] {
            assert_eq!(text.parse::<CallerDigest>(), Err(NoDigest), "{text}");
        }
    }

    #[test]
    fn names_are_bounded_and_plain() {
        for good in ["bank", "a", "Agent_2-b"] {
            assert!(good.parse::<AgentName>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(bad.parse::<AgentName>().is_err(), "{bad}");
        }
        for bad in ["", "a b", "a\n", "é", "http://h", &"x".repeat(129)] {
            assert!(bad.parse::<FunctionName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hooks_are_the_platforms_own_calls() {
        for (name, hook) in [("startup_hook", true), ("hangup_hook", true), ("get_balance", false)] {
            assert_eq!(name.parse::<FunctionName>().unwrap().is_hook(), hook, "{name}");
        }
    }
}
