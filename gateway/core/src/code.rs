//! Codes that a caller says to prove who it is: time-based ones (TOTP, RFC 6238), and fixed ones.
//!
//! A fixed code is known in plain, from the environment or a file, or as an argon2id hash. There is no quick digest of one:
//! who reads a quick digest of four digits has tried all of them in a moment. The hash is slow for everybody, so the check
//! of one belongs where it is no harm ([`Code::is_slow`]). And no form of it helps against guesses over the phone: whoever
//! checks codes must count the tries.

use std::cmp::Ordering;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::{
    argon2id::Argon2idHash,
    secret::{Secret, constant_time_eq},
    time::Timestamp,
};

/// How long a time-based code is the current one (RFC 6238, 4.1), in milliseconds.
const STEP: u64 = 30_000;

/// How many digits a time-based code has.
const DIGITS: usize = 6;

/// Keys of less are refused, in bytes. RFC 4226 asks for 16; widespread apps have 10.
const MIN_KEY: usize = 10;

/// The longest code that is looked at, in bytes.
const MAX_GIVEN: usize = 256;

/// What a code is compared with.
#[derive(Debug, Clone)]
pub struct Code(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Totp(Secret),
    Plain(Secret),
    Hash(Argon2idHash),
}

/// That a code was right. Only [`Code::check`] makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Proof {
    step: Option<u64>,
}

/// A text that is no key for time-based codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key for time-based codes: base32 (A-Z, 2-7) of at least {MIN_KEY} bytes, as authenticator apps take it")]
pub struct NotAKey;

/// A fixed code that nobody could say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code has at least four letters or digits")]
pub struct TooShort;

// === impl Code ===

impl Code {
    /// Time-based codes of six digits, 30 seconds each, with SHA-1, as all authenticator apps make them. `key` is base32, in
    /// any case, with or without spaces and padding.
    ///
    /// # Errors
    /// [`NotAKey`].
    pub fn totp(key: &Secret) -> Result<Self, NotAKey> {
        let plain = |b: &u8| !b.is_ascii_whitespace() && *b != b'=' && *b != b'-';
        let letters: Vec<u8> = key.expose().iter().filter(|b| plain(b)).map(u8::to_ascii_uppercase).collect();
        let letters = Secret::new(letters);
        let key = BASE32_NOPAD.decode(letters.expose()).map(Secret::new).map_err(|_| NotAKey)?;
        if key.len() < MIN_KEY { Err(NotAKey) } else { Ok(Self(Kind::Totp(key))) }
    }

    /// A fixed code that is known in plain. Spaces and dashes in it don't count.
    ///
    /// # Errors
    /// [`TooShort`].
    pub fn plain(code: &Secret) -> Result<Self, TooShort> {
        let code = Secret::new(said(code.expose()));
        if code.len() < 4 { Err(TooShort) } else { Ok(Self(Kind::Plain(code))) }
    }

    /// A fixed code that is known by its hash, which must be of the code without spaces and dashes.
    pub fn hash(hash: Argon2idHash) -> Self {
        Self(Kind::Hash(hash))
    }

    /// What two codes of the same secret have in common, and nobody learns the secret from.
    pub fn mark(&self) -> [u8; 32] {
        let secret = match &self.0 {
            Kind::Totp(key) => key.expose(),
            Kind::Plain(_) | Kind::Hash(_) => b"",
        };
        Sha256::digest(secret).into()
    }

    /// Whether a check takes tens of milliseconds: run it where that is no harm.
    pub fn is_slow(&self) -> bool {
        matches!(self.0, Kind::Hash(_))
    }

    /// Whether it is time-based.
    pub fn is_time_based(&self) -> bool {
        matches!(self.0, Kind::Totp(_))
    }

    /// What somebody says who knows it: what an authenticator app shows at this time, or the fixed code. `None` of one that
    /// is known by its hash alone.
    pub fn known(&self, now: Timestamp) -> Option<Secret> {
        match &self.0 {
            Kind::Totp(key) => Some(code_of(key, now.0 / STEP)),
            Kind::Plain(code) => Some(code.clone()),
            Kind::Hash(_) => None,
        }
    }

    /// Whether a code is right, in a time that doesn't tell how much of it is. Spaces and dashes in it don't count, and a
    /// time-based code may lack the zeros at its front, as a number does. Time-based codes are right for one step before
    /// and after theirs too (RFC 6238, 5.2).
    pub fn check(&self, given: &str, now: Timestamp) -> Option<Proof> {
        if given.len() > MAX_GIVEN {
            return None;
        }
        let given = Secret::new(said(given.as_bytes()));
        match &self.0 {
            Kind::Totp(key) => step_of(key, given.expose(), now).map(|step| Proof { step: Some(step) }),
            Kind::Plain(code) => constant_time_eq(code.expose(), given.expose()).then_some(Proof { step: None }),
            Kind::Hash(hash) => hash.is_of(given.expose()).then_some(Proof { step: None }),
        }
    }
}

/// What of a code counts.
fn said(code: &[u8]) -> Vec<u8> {
    code.iter().copied().filter(|b| !matches!(b, b' ' | b'-')).collect()
}

/// The step of which this is the code, among those around now.
fn step_of(key: &Secret, given: &[u8], now: Timestamp) -> Option<u64> {
    let is_number = (1..=DIGITS).contains(&given.len()) && given.iter().all(u8::is_ascii_digit);
    if !is_number {
        return None;
    }
    let mut padded = vec![b'0'; DIGITS - given.len()];
    padded.extend_from_slice(given);
    let padded = Secret::new(padded);
    let current = now.0 / STEP;
    // All of them are made, also behind the right one. The latest of two equal ones is the one that is used up.
    let steps = [current.checked_sub(1), Some(current), current.checked_add(1)];
    steps.into_iter().flatten().fold(None, |found, step| {
        let is_it = constant_time_eq(code_of(key, step).expose(), padded.expose());
        if is_it { Some(step) } else { found }
    })
}

/// The code of a step (RFC 4226, 5.3).
fn code_of(key: &Secret, step: u64) -> Secret {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key.expose()) else { return Secret::new(Vec::new()) };
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let at = usize::from(digest.last().copied().unwrap_or_default() & 0x0f);
    let word = digest.iter().skip(at).take(4).fold(0u32, |word, byte| word << 8 | u32::from(*byte));
    Secret::new(format!("{:06}", (word & 0x7fff_ffff) % 1_000_000))
}

// === impl Proof ===

impl Proof {
    /// The time step whose code it was, of a time-based one: it must not be used twice (RFC 6238, 5.2).
    pub fn step(&self) -> Option<u64> {
        self.step
    }

    /// How many steps after now that is, from -1 to 1; 0 of a fixed code.
    pub fn steps_after(&self, now: Timestamp) -> i8 {
        let Some(step) = self.step else { return 0 };
        match step.cmp(&(now.0 / STEP)) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher};
    use proptest::prelude::*;

    use super::*;

    /// The key of RFC 6238, appendix B: `12345678901234567890`.
    const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn totp() -> Code {
        Code::totp(&Secret::new(KEY)).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B, the last six of its eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(totp().check(code, at(seconds)).unwrap().step(), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_is_right_for_a_step_before_and_after() {
        let code = "287082"; // of the step from 30 to 59
        let right = |seconds| totp().check(code, at(seconds)).and_then(|proof| proof.step());
        assert_eq!(
            (right(0), right(30), right(59), right(60), right(89)),
            (Some(1), Some(1), Some(1), Some(1), Some(1))
        );
        assert_eq!((right(90), right(1_000)), (None, None));
    }

    #[test]
    fn codes_are_as_they_are_said() {
        for good in ["005924", "005 924", "005-924", " 0 0 5 9 2 4", "5924"] {
            assert!(totp().check(good, at(1_234_567_890)).is_some(), "{good}");
        }
        for bad in ["", " ", "0005924", "05925", "00592", "005924x", "٠٠٥٩٢٤", "+5924", "5924.0"] {
            assert!(totp().check(bad, at(1_234_567_890)).is_none(), "{bad}");
        }
        assert!(totp().check(&"0".repeat(300), at(0)).is_none());
        assert!(totp().check("000000", Timestamp(u64::MAX)).is_none());
    }

    #[test]
    fn keys_are_base32() {
        for good in
            ["gezd gnbv gy3t qojq gezd gnbv gy3t qojq", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ====", "GEZDGNBVGY3TQOJQ"]
        {
            assert!(Code::totp(&Secret::new(good)).is_ok(), "{good}");
        }
        for bad in ["", "GEZDGNBV", "GEZDGNBVGY3TQOJ1", "12345678901234567890", "geheim"] {
            assert_eq!(Code::totp(&Secret::new(bad)).err(), Some(NotAKey), "{bad}");
        }
    }

    #[test]
    fn fixed_codes_are_compared_or_hashed() {
        let plain = Code::plain(&Secret::new("12-34 5")).unwrap();
        let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        let text = cheap.hash_password_with_salt(b"12345", b"saltsaltsalt").unwrap().to_string();
        let hash = Code::hash(Argon2idHash::parse(&text).unwrap());
        for code in [&plain, &hash] {
            for good in ["12345", "123-45", "1 2 3 4 5"] {
                assert_eq!(code.check(good, at(0)).unwrap().step(), None, "{good}");
            }
            for bad in ["", "1234", "123456", "012345", "54321"] {
                assert!(code.check(bad, at(0)).is_none(), "{bad}");
            }
        }
        assert!(hash.is_slow() && !plain.is_slow() && !totp().is_slow());
        assert_eq!(Code::plain(&Secret::new("1-2 3")).err(), Some(TooShort));
        assert!(!format!("{plain:?} {:?}", totp()).contains("12345"));
    }

    proptest! {
        #[test]
        fn other_codes_are_wrong(code in "[0-9]{6}", seconds in 100..1_000_000_000u64) {
            let key = Secret::new(b"12345678901234567890".to_vec());
            let step = seconds / 30;
            let is_near = (step - 1..=step + 1).any(|step| code_of(&key, step).expose() == code.as_bytes());
            prop_assert_eq!(totp().check(&code, at(seconds)).is_some(), is_near);
        }
    }
}
