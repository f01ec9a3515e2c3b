//! The key ring: the newest key mints, every listed key verifies.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::{
    id::{CallDigest, CallerDigest},
    secret::Secret,
};

/// The shortest secret that a key may be made from, in bytes.
pub const MIN_KEY_BYTES: usize = 32;

/// A HMAC-SHA-256 key, ready to use. It doesn't print.
#[derive(Clone)]
pub struct MacKey(Hmac<Sha256>);

/// Which key of the ring made something: the first four bytes of the SHA-256 of the key's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyTag(pub [u8; 4]);

/// One key of the ring, with a subkey for each use (HKDF-SHA-256, RFC 5869), so that no two uses share one.
#[derive(Debug)]
pub struct Key {
    id: String,
    tag: KeyTag,
    /// Tokens in URLs.
    pub token: MacKey,
    /// Passwords of per-call credentials.
    pub password: MacKey,
    /// `meta_data_token`s that stand for a URL.
    pub metadata: MacKey,
    /// Digests of call ids and callers.
    pub digest: MacKey,
}

/// The keys in force, newest first; never empty.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
}

/// Why a set of keys can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The secret is shorter than [`MIN_KEY_BYTES`].
    #[error("token key `{id}` has {len} bytes; at least {MIN_KEY_BYTES} are needed")]
    TooShort {
        /// The key's id.
        id: String,
        /// Its length in bytes.
        len: usize,
    },
    /// Two keys have one id, or ids whose tags are the same.
    #[error("token keys `{0}` and `{1}` can't be told apart; give one another id")]
    Ambiguous(String, String),
    /// There is no key.
    #[error("no token key is given")]
    Empty,
}

// === impl MacKey ===

impl MacKey {
    /// A key of any length (RFC 2104: one longer than 64 bytes is hashed first).
    pub fn new(bytes: &[u8]) -> Self {
        // `new_from_slice` has an error type for MACs with fixed key sizes; HMAC takes any length.
        let mac = Hmac::new_from_slice(bytes).unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self(mac)
    }

    /// The MAC of the parts, each preceded by its length as 8 bytes, so that no two lists of parts collide.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The first 16 bytes of [`MacKey::tag`].
    pub fn short_tag(&self, parts: &[&[u8]]) -> [u8; 16] {
        let [first, _] = halves(self.tag(parts));
        first
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

// === impl Key ===

impl Key {
    /// A key under an id.
    ///
    /// # Errors
    /// [`KeyError::TooShort`] if the secret has fewer than [`MIN_KEY_BYTES`] bytes.
    pub fn new(id: impl Into<String>, secret: &Secret) -> Result<Self, KeyError> {
        let id = id.into();
        if secret.len() < MIN_KEY_BYTES {
            return Err(KeyError::TooShort { id, len: secret.len() });
        }
        let expander = Hkdf::<Sha256>::new(Some(b"swaigate"), secret.expose());
        let subkey = |purpose: &[u8]| {
            let mut bytes = [0; 32];
            // Expansion fails only past 255 blocks; one is asked for.
            let _ = expander.expand(purpose, &mut bytes);
            MacKey::new(&bytes)
        };
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(id.as_bytes()));
        Ok(Self {
            tag: KeyTag([a, b, c, d]),
            token: subkey(b"token/1"),
            password: subkey(b"password/1"),
            metadata: subkey(b"metadata/1"),
            digest: subkey(b"digest/1"),
            id,
        })
    }

    /// The id that the operator gave it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What tokens carry of the id.
    pub fn tag(&self) -> KeyTag {
        self.tag
    }

    /// The digest of a call id.
    pub fn call(&self, call_id: &str) -> CallDigest {
        CallDigest(self.digest.short_tag(&[b"call", call_id.as_bytes()]))
    }

    /// The digest of a normalised caller.
    pub fn caller(&self, caller: &str) -> CallerDigest {
        CallerDigest(self.digest.short_tag(&[b"caller", caller.as_bytes()]))
    }
}

// === impl KeyRing ===

impl KeyRing {
    /// A ring of these keys, newest first.
    ///
    /// # Errors
    /// [`KeyError::Empty`] without a key, [`KeyError::Ambiguous`] if two can't be told apart by their tags.
    pub fn new(keys: Vec<Key>) -> Result<Self, KeyError> {
        for (i, key) in keys.iter().enumerate() {
            if let Some(twin) = keys.iter().take(i).find(|other| other.tag == key.tag) {
                return Err(KeyError::Ambiguous(twin.id.clone(), key.id.clone()));
            }
        }
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(Self { keys }) }
    }

    /// The key that mints.
    #[allow(clippy::indexing_slicing)] // `new` refuses an empty ring.
    pub fn newest(&self) -> &Key {
        &self.keys[0]
    }

    /// All of them, newest first.
    pub fn all(&self) -> &[Key] {
        &self.keys
    }

    /// The digests that stand for a number: it is the same caller with `+` and without, and under each key.
    pub fn callers(&self, number: &str) -> impl Iterator<Item = CallerDigest> {
        let digits = number.trim_start_matches('+');
        let spellings = [digits.to_owned(), format!("+{digits}")];
        self.keys.iter().flat_map(move |key| spellings.each_ref().map(|number| key.caller(number)))
    }

    /// The key that a token names, if it is still listed.
    pub fn find(&self, tag: KeyTag) -> Option<&Key> {
        self.keys.iter().find(|key| key.tag == tag)
    }
}

fn halves(bytes: [u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    for (half, chunk) in halves.iter_mut().zip(bytes.chunks_exact(16)) {
        half.copy_from_slice(chunk);
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> Key {
        Key::new(id, &Secret::new([7; 32])).unwrap()
    }

    #[test]
    fn uses_do_not_share_a_subkey() {
        let key = key("a");
        let tags = [&key.token, &key.password, &key.metadata, &key.digest].map(|k| k.tag(&[b"x"]));
        for (i, tag) in tags.iter().enumerate() {
            assert!(!tags[..i].contains(tag));
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        let mac = MacKey::new(b"k");
        assert_ne!(mac.tag(&[b"ab", b"c"]), mac.tag(&[b"a", b"bc"]));
        assert_ne!(mac.tag(&[b"ab"]), mac.tag(&[b"ab", b""]));
    }

    #[test]
    fn short_keys_twins_and_nothing_are_refused() {
        assert_eq!(Key::new("a", &Secret::new([7; 31])).unwrap_err(), KeyError::TooShort { id: "a".into(), len: 31 });
        assert_eq!(KeyRing::new(vec![]).unwrap_err(), KeyError::Empty);
        assert!(matches!(KeyRing::new(vec![key("a"), key("a")]), Err(KeyError::Ambiguous(..))));
    }

    #[test]
    fn hmac_is_rfc_4231s() {
        // RFC 4231, test case 2, over the plain message: checked through the inner MAC, without length prefixes.
        let mut mac = MacKey::new(b"Jefe").0;
        mac.update(b"what do ya want for nothing?");
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        assert_eq!(tag[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }
}
