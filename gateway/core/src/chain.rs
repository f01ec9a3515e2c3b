//! The chain of audit records: what is written cannot be rewritten later, not even by whoever has taken the machine.
//!
//! Each record is sealed: at the end of its line stand its number (`seq`) and an HMAC-SHA-256 (`mac`) over the MAC of the
//! record before and all bytes of the line up to `mac`, under a key that is good for this one number. The next key is
//! derived from it, one way, and the old one is wiped. Whoever reads the memory and the files at some time has the keys
//! of what is yet to come, and none of what was. So the past can be forged by nobody but whoever kept the first key, the
//! verification key, which belongs on another machine. (Bellare and Yee 1997; Schneier and Kelsey 1999.)
//!
//! ```text
//! verification key = key 1 ─▶ key 2 ─▶ key 3 ─▶ …       one way
//!                      │        │        │
//!            zero ─▶ mac 1 ─▶ mac 2 ─▶ mac 3 ─▶ …       over the record, its section and the mac before
//! ```
//!
//! A section begins when a file begins or a process starts, with a record that tells its number. Its number is in all of
//! its MACs. So what a crash has lost and what is written in its place are sealed differently, though they have one number;
//! and after whatever is wrong in a file, the next one can be checked again. The keys depend on the numbers of records
//! alone: a section can't be made to begin before what was written already, since the key for that is gone; and a file can
//! be checked without those before it.

mod verify;

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

pub use self::verify::{Fault, Note, Verifier};
use crate::secret::Secret;

/// How a record begins that opens a section.
const OPENING: &[u8] = br#"{"event":"chain","#;

/// What a key is used for: the first byte of what is authenticated by it.
#[derive(Clone, Copy)]
enum Use {
    Seal = 0,
    Next = 1,
    Name = 2,
}

/// The key of one record, from which those of all later ones follow; the first is the verification key. It doesn't print,
/// and is wiped.
#[derive(Clone)]
pub struct ChainKey(Zeroizing<[u8; 32]>);

/// The name of a chain: it tells whose verification key is needed, and nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainId(pub [u8; 8]);

/// The end of a chain, ready to seal the next record.
#[derive(Clone)]
pub struct Chain {
    id: ChainId,
    section: u64,
    seq: u64,
    mac: [u8; 32],
    key: ChainKey,
}

/// A point of a chain: whoever knows it notices if anything up to there is changed or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Of which chain.
    pub chain: ChainId,
    /// The number of the last record; 0 before the first.
    pub seq: u64,
    /// Its MAC.
    pub mac: [u8; 32],
}

/// The record that opens a section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Always `chain`; first in the line, where no other record has it.
    pub event: String,
    /// When, RFC 3339.
    pub time: String,
    /// The chain's name.
    pub chain: String,
    /// The number of the section.
    pub section: u64,
    /// What the section before ended with: `start`, `stop`, `crash`, `rotation`, `reopen`, `handover`.
    pub after: String,
    /// The MAC of the last record of the section before.
    pub previous: String,
    /// How many bytes of a record that a crash had left unfinished were cut off the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_bytes: Option<u64>,
}

/// A line, taken apart.
struct Sealed<'l> {
    /// What the MAC is over.
    record: &'l [u8],
    seq: u64,
    mac: [u8; 32],
}

/// Whether a line ends with a number and a MAC. Whether they are right nobody has looked.
pub fn is_sealed(line: &[u8]) -> bool {
    Sealed::read(line).is_some()
}

/// The number of a record, if the line is sealed. Whether it is the right one nobody has looked.
pub fn number_of(line: &[u8]) -> Option<u64> {
    Sealed::read(line).map(|sealed| sealed.seq)
}

/// A text that is no head, key or state of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOfAChain {
    /// No head.
    #[error("a head is the name of its chain, the number of a record and its MAC, like `0f…:5711:9a…`")]
    Head,
    /// No verification key.
    #[error("this is no verification key: one is `swaigate-audit-key/1` and 64 hex digits")]
    Key,
    /// No state.
    #[error("this is not the state of a chain")]
    State,
}

// === impl ChainKey ===

impl ChainKey {
    /// A key of these bytes: random ones.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The name of the chain that begins with this key.
    pub fn id(&self) -> ChainId {
        let [a, b, c, d, e, f, g, h, ..] = derive(&self.0, Use::Name);
        ChainId([a, b, c, d, e, f, g, h])
    }

    /// As the operator keeps it.
    pub fn to_text(&self) -> Secret {
        let mut text = Zeroizing::new(String::with_capacity(KEY_FORM.len() + 66));
        text.push_str(KEY_FORM);
        text.push(' ');
        HEXLOWER.encode_append(self.0.as_slice(), &mut text);
        Secret::new(text.as_bytes())
    }

    /// Reads what [`ChainKey::to_text`] writes.
    ///
    /// # Errors
    /// [`NotOfAChain::Key`].
    pub fn from_text(text: &Secret) -> Result<Self, NotOfAChain> {
        let digits = text.expose().trim_ascii().strip_prefix(KEY_FORM.as_bytes());
        let digits = digits.and_then(|digits| digits.strip_prefix(b" ")).ok_or(NotOfAChain::Key)?;
        array(digits).map(Self::new).ok_or(NotOfAChain::Key)
    }

    fn seal(&self, section: u64, previous: &[u8; 32], record: &[u8]) -> [u8; 32] {
        mac(&self.0, &[&[Use::Seal as u8], &section.to_be_bytes(), previous, record])
    }

    fn next(&self) -> Self {
        Self::new(derive(&self.0, Use::Next))
    }
}

const KEY_FORM: &str = "swaigate-audit-key/1";

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

fn derive(key: &[u8; 32], purpose: Use) -> [u8; 32] {
    mac(key, &[&[purpose as u8], b"swaigate audit chain/1"])
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // `new_from_slice` has an error type for MACs with fixed key sizes; HMAC takes any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

// === impl Chain ===

impl Chain {
    /// A chain without a record.
    pub fn begin(key: &ChainKey) -> Self {
        Self { id: key.id(), section: 0, seq: 0, mac: [0; 32], key: key.clone() }
    }

    /// Goes on in the next section.
    pub fn turn(&mut self) {
        self.section += 1;
    }

    /// The record with which the section has to begin.
    pub fn opening(&self, time: String, after: &str, cut_bytes: Option<u64>) -> Opening {
        Opening {
            event: "chain".to_owned(),
            time,
            chain: self.id.to_string(),
            section: self.section,
            after: after.to_owned(),
            previous: HEXLOWER.encode(&self.mac),
            cut_bytes,
        }
    }

    /// Seals a record, an object of JSON without a line break that isn't empty, and makes a line of it. Its key is gone then.
    pub fn seal(&mut self, record: &mut Vec<u8>) {
        let seq = self.seq + 1;
        record.pop_if(|last| *last == b'}');
        record.extend_from_slice(format!("{SEQ}{seq}").as_bytes());
        let mac = self.key.seal(self.section, &self.mac, record);
        record.extend_from_slice(MAC);
        record.extend_from_slice(HEXLOWER.encode(&mac).as_bytes());
        record.extend_from_slice(b"\"}\n");
        self.advance(seq, mac);
    }

    /// Takes a line that was sealed after this point, so that the chain goes on behind it. Otherwise nothing has changed.
    pub fn follow(&mut self, line: &[u8]) -> bool {
        let Some(sealed) = Sealed::read(line) else { return false };
        let opening = sealed.opening();
        let section = opening.map_or(self.section, |opening| opening.section.max(self.section));
        let is_next = self.has_sealed(section, &sealed);
        if is_next {
            self.section = section;
            self.advance(sealed.seq, sealed.mac);
        }
        is_next
    }

    /// Whether this is the record after this point.
    fn has_sealed(&self, section: u64, sealed: &Sealed<'_>) -> bool {
        sealed.seq == self.seq + 1 && self.key.seal(section, &self.mac, sealed.record) == sealed.mac
    }

    /// The same chain one record later, if that had this MAC.
    fn after(&self, seq: u64, mac: [u8; 32]) -> Self {
        let mut chain = self.clone();
        chain.advance(seq, mac);
        chain
    }

    /// Passes over the keys of so many records.
    fn skip(&mut self, records: u64) {
        (0..records).for_each(|_| self.key = self.key.next());
    }

    fn advance(&mut self, seq: u64, mac: [u8; 32]) {
        self.seq = seq;
        self.mac = mac;
        self.key = self.key.next();
    }

    /// Where it is.
    pub fn head(&self) -> Head {
        Head { chain: self.id, seq: self.seq, mac: self.mac }
    }

    /// Its state: what is needed to go on, and nothing of what was.
    pub fn to_text(&self) -> Secret {
        let mut text = Zeroizing::new(String::with_capacity(256));
        text.push_str(&format!("{} {} {} {} ", self.id, self.section, self.seq, HEXLOWER.encode(&self.mac)));
        HEXLOWER.encode_append(self.key.0.as_slice(), &mut text);
        Secret::new(text.as_bytes())
    }

    /// Reads what [`Chain::to_text`] writes.
    ///
    /// # Errors
    /// [`NotOfAChain::State`].
    pub fn from_text(text: &str) -> Result<Self, NotOfAChain> {
        let words: Vec<&str> = text.split(' ').collect();
        let [id, section, seq, mac, key] = words.as_slice() else { return Err(NotOfAChain::State) };
        let read = || {
            Some(Self {
                id: id.parse().ok()?,
                section: section.parse().ok()?,
                seq: seq.parse().ok()?,
                mac: array(mac.as_bytes())?,
                key: ChainKey::new(array(key.as_bytes())?),
            })
        };
        read().ok_or(NotOfAChain::State)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("section", &self.section).field("head", &self.head()).finish_non_exhaustive()
    }
}

// === impl Sealed ===

const SEQ: &str = ",\"seq\":";
const MAC: &[u8] = b",\"mac\":\"";

impl<'l> Sealed<'l> {
    /// Takes a line apart, perhaps with its line break.
    fn read(line: &'l [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line).strip_suffix(b"\"}")?;
        let (front, digits) = line.split_at_checked(line.len().checked_sub(64)?)?;
        let (record, mac) = (front.strip_suffix(MAC)?, array(digits)?);
        let length = record.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let (front, seq) = record.split_at_checked(record.len().checked_sub(length)?)?;
        let seq = std::str::from_utf8(seq).ok()?.parse().ok()?;
        front.ends_with(SEQ.as_bytes()).then_some(Self { record, seq, mac })
    }

    /// What it says as the record that opens a section, if it is one. Nobody has looked at its MAC.
    fn opening(&self) -> Option<Opening> {
        let whole = [self.record, b"}"].concat();
        self.record.starts_with(OPENING).then(|| serde_json::from_slice(&whole).ok())?
    }
}

fn array<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_whole = HEXLOWER.decode_len(digits.len()).ok()? == N;
    is_whole.then(|| HEXLOWER.decode_mut(digits, &mut bytes).ok())??;
    Some(bytes)
}

// === names ===

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for ChainId {
    type Err = NotOfAChain;

    fn from_str(text: &str) -> Result<Self, NotOfAChain> {
        array(text.as_bytes()).map(Self).ok_or(NotOfAChain::Head)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.chain, self.seq, HEXLOWER.encode(&self.mac))
    }
}

impl FromStr for Head {
    type Err = NotOfAChain;

    fn from_str(text: &str) -> Result<Self, NotOfAChain> {
        let mut parts = text.trim().split(':');
        let (Some(chain), Some(seq), Some(mac), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(NotOfAChain::Head);
        };
        let (seq, mac) = (seq.parse().map_err(|_| NotOfAChain::Head)?, array(mac.as_bytes()).ok_or(NotOfAChain::Head)?);
        Ok(Self { chain: chain.parse()?, seq, mac })
    }
}

#[cfg(test)]
mod tests;
