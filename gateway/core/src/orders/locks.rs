//! Lockouts: who isn't served, because a person said so.
//!
//! An address gets nothing at all, a caller hears a sentence, and a user's password is as good as a wrong one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    str::FromStr,
    sync::Arc,
};

use ipnet::IpNet;

use crate::{
    call::Caller,
    id::{CallerDigest, eight_of_hex, hex},
    keys::KeyRing,
    switches::Word,
    time::Timestamp,
    token::CALL_USER,
};

/// How many lockouts there may be.
pub const MAX_LOCKS: usize = 10_000;

/// The shortest prefix of a network of IPv4: wider ones are parts of the internet, and mostly mistakes.
const WIDEST_V4: u8 = 8;

/// The same of IPv6.
const WIDEST_V6: u8 = 16;

/// How long the name of a user may be, in characters.
const MAX_USER: usize = 256;

/// All lockouts, and quick ways to those that a request has to look at.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    all: BTreeMap<LockId, Arc<Lock>>,
    places: HashMap<Place, Vec<Arc<Lock>>>,
    /// Of which lengths the prefixes of the networks are, of IPv4 and of IPv6.
    lengths: [BTreeSet<u8>; 2],
}

/// Somebody who is locked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its name.
    pub id: LockId,
    /// Who is.
    pub subject: Subject,
    /// Who said so, and why.
    pub word: Word,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None`: until somebody lets them in again.
    pub until: Option<Timestamp>,
}

/// The random name of a lockout, as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockId(pub [u8; 8]);

/// Who is locked out. Each kind has its maker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Whoever asks from these addresses: [`Subject::address`].
    Address(IpNet),
    /// Whoever calls from this number: [`Subject::caller`].
    Caller(String),
    /// Whoever sends this user's name: [`Subject::user`].
    User(String),
}

/// As many lockouts as may be are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_LOCKS} lockouts are in force, which is all there may be; end others first, or lock a wider network out")]
pub struct Full;

/// What nobody can be locked out by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSubject {
    /// It is no address and no network.
    #[error("`address` must be an IP address or a network, like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64")]
    Address,
    /// Bits are set behind the prefix: the address or the length is a mistake.
    #[error("`address`: {0} has bits behind its prefix; the network is {1}")]
    Bits(IpNet, IpNet),
    /// It is a part of the internet.
    #[error(
        "`address`: a network as wide as {0} can't be locked out (at most /{WIDEST_V4} of IPv4, /{WIDEST_V6} of IPv6); to \
         stop everything, turn an emergency switch on"
    )]
    Wide(IpNet),
    /// It is no number.
    #[error(
        "`caller` must be a phone number like +15551230001; withheld, SIP and WebRTC callers have none to be told by"
    )]
    Number,
    /// It is nobody's name.
    #[error("`user` must be 1 to {MAX_USER} characters on one line, without a colon")]
    User,
    /// It stands for the credentials in documents.
    #[error("`{CALL_USER}` is the user of all calls under way; to stop them, turn an emergency switch on")]
    OfCalls,
}

/// Where a request looks for lockouts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Network(IpNet),
    Caller(CallerDigest),
    User(String),
}

// === impl Locks ===

impl Locks {
    /// These lockouts. Callers are known by their digests under these keys.
    ///
    /// # Errors
    /// [`Full`] if they are more than [`MAX_LOCKS`].
    pub fn new(locks: impl IntoIterator<Item = Lock>, keys: &KeyRing) -> Result<Self, Full> {
        let mut all = Self::default();
        locks.into_iter().try_for_each(|lock| all.put(lock, keys))?;
        Ok(all)
    }

    /// The same lockouts under other keys.
    #[must_use]
    pub fn under(&self, keys: &KeyRing) -> Self {
        let mut same = Self::default();
        self.all.values().for_each(|lock| same.insert(Arc::clone(lock), keys));
        same
    }

    /// Locks somebody out, in place of the lockout of the same id if there is one.
    ///
    /// # Errors
    /// [`Full`].
    pub fn put(&mut self, lock: Lock, keys: &KeyRing) -> Result<(), Full> {
        self.remove(lock.id, keys);
        if self.all.len() >= MAX_LOCKS {
            return Err(Full);
        }
        self.insert(Arc::new(lock), keys);
        Ok(())
    }

    /// Lets somebody in again. The keys are those that the lockout was put with.
    pub fn remove(&mut self, id: LockId, keys: &KeyRing) -> Option<Arc<Lock>> {
        let lock = self.all.remove(&id)?;
        for place in places(&lock.subject, keys) {
            if let Some(there) = self.places.get_mut(&place) {
                there.retain(|other| other.id != id);
                if there.is_empty() {
                    self.places.remove(&place);
                }
            }
        }
        if matches!(lock.subject, Subject::Address(_)) {
            self.lengths = Default::default();
            let lengths = &mut self.lengths;
            self.all.values().for_each(|lock| note_length(lengths, &lock.subject));
        }
        Some(lock)
    }

    fn insert(&mut self, lock: Arc<Lock>, keys: &KeyRing) {
        note_length(&mut self.lengths, &lock.subject);
        for place in places(&lock.subject, keys) {
            self.places.entry(place).or_default().push(Arc::clone(&lock));
        }
        self.all.insert(lock.id, lock);
    }

    /// Whether nobody is locked out.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, those included whose time is over.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Lock>> {
        self.all.values()
    }

    /// The lockout of this id.
    pub fn get(&self, id: LockId) -> Option<&Arc<Lock>> {
        self.all.get(&id)
    }

    /// The lockout of exactly this subject.
    pub fn find(&self, subject: &Subject) -> Option<&Arc<Lock>> {
        self.iter().find(|lock| lock.subject == *subject)
    }

    /// The lockout of the widest network that this address is in.
    pub fn of_address(&self, client: Option<IpAddr>, now: Timestamp) -> Option<&Lock> {
        let client = client.filter(|_| !self.is_empty())?.to_canonical();
        let [v4, v6] = &self.lengths;
        let lengths = if client.is_ipv4() { v4 } else { v6 };
        let networks = lengths.iter().filter_map(|length| IpNet::new(client, *length).ok());
        networks.map(|network| Place::Network(network.trunc())).find_map(|place| self.in_force(&place, now))
    }

    /// The lockout of a user.
    pub fn of_user(&self, name: &str, now: Timestamp) -> Option<&Lock> {
        if self.is_empty() { None } else { self.in_force(&Place::User(name.to_owned()), now) }
    }

    /// The lockout of one of those who may be the caller.
    pub fn of_caller(&self, callers: &[Option<CallerDigest>], now: Timestamp) -> Option<&Lock> {
        if self.is_empty() {
            return None;
        }
        callers.iter().flatten().find_map(|caller| self.in_force(&Place::Caller(*caller), now))
    }

    fn in_force(&self, place: &Place, now: Timestamp) -> Option<&Lock> {
        self.places.get(place)?.iter().find(|lock| lock.is_in_force(now)).map(Arc::as_ref)
    }
}

fn note_length([v4, v6]: &mut [BTreeSet<u8>; 2], subject: &Subject) {
    if let Subject::Address(network) = subject {
        let lengths = if matches!(network, IpNet::V4(_)) { v4 } else { v6 };
        lengths.insert(network.prefix_len());
    }
}

/// A number is the same caller with `+` and without, and under each key that may have made its digest.
fn places(subject: &Subject, keys: &KeyRing) -> Vec<Place> {
    match subject {
        Subject::Address(network) => vec![Place::Network(*network)],
        Subject::User(name) => vec![Place::User(name.clone())],
        Subject::Caller(number) => keys.callers(number).map(Place::Caller).collect(),
    }
}

// === impl Lock ===

impl Lock {
    /// Whether its time isn't over.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

// === impl Subject ===

impl Subject {
    /// Every kind of subject, as [`Subject::kind`] names it.
    pub const KINDS: [&str; 3] = ["address", "caller", "user"];

    /// An address alone, or a network.
    ///
    /// # Errors
    /// [`NoSubject`].
    pub fn address(text: &str) -> Result<Self, NoSubject> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical().into()));
        }
        let network: IpNet = text.parse().map_err(|_| NoSubject::Address)?;
        let widest = if matches!(network, IpNet::V4(_)) { WIDEST_V4 } else { WIDEST_V6 };
        if network.prefix_len() < widest {
            return Err(NoSubject::Wide(network));
        }
        // IPv4 in IPv6's clothes: connections never come as such.
        if network.addr().to_canonical().is_ipv4() != network.addr().is_ipv4() {
            return Err(NoSubject::Address);
        }
        if network != network.trunc() {
            return Err(NoSubject::Bits(network, network.trunc()));
        }
        Ok(Self::Address(network))
    }

    /// A number, with or without the usual separators.
    ///
    /// # Errors
    /// [`NoSubject::Number`].
    pub fn caller(number: &str) -> Result<Self, NoSubject> {
        let caller = Caller::from_number(number);
        caller.number().map(|number| Self::Caller(number.to_owned())).ok_or(NoSubject::Number)
    }

    /// A user of the platform's, at all agents.
    ///
    /// # Errors
    /// [`NoSubject`].
    pub fn user(name: &str) -> Result<Self, NoSubject> {
        let is_name =
            (1..=MAX_USER).contains(&name.chars().count()) && !name.contains(|c: char| c.is_control() || c == ':');
        match (is_name, name) {
            (_, CALL_USER) => Err(NoSubject::OfCalls),
            (true, name) => Ok(Self::User(name.to_owned())),
            (false, _) => Err(NoSubject::User),
        }
    }

    /// Its kind: all that is said of it in metrics and logs, since it may hold a number.
    pub fn kind(&self) -> &'static str {
        match self {
            Subject::Address(_) => "address",
            Subject::Caller(_) => "caller",
            Subject::User(_) => "user",
        }
    }

    /// Who it is, without the kind.
    pub fn name(&self) -> String {
        match self {
            Subject::Address(network) if network.prefix_len() == network.max_prefix_len() => network.addr().to_string(),
            Subject::Address(network) => network.to_string(),
            Subject::Caller(name) | Subject::User(name) => name.clone(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

// === impl LockId ===

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// A text that is no id of a lockout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a lockout is 16 hex digits")]
pub struct NoLockId;

impl FromStr for LockId {
    type Err = NoLockId;

    fn from_str(text: &str) -> Result<Self, NoLockId> {
        eight_of_hex(text).map(Self).ok_or(NoLockId)
    }
}

#[cfg(test)]
mod tests;
