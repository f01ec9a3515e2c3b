//! The gateway's own token, `gw_token`, in every URL that leaves in a document, and the password beside it.
//!
//! Neither is one-time: the platform calls one function many times with one URL (PROTOCOL.md, 4.1). What each is good
//! for is bound by its MAC: a token to agent, function, path and query; both to the call and the document.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    id::{AgentName, CallDigest, CallerDigest, DocumentId, hex},
    keys::{Key, KeyRing, KeyTag},
    secret::constant_time_eq,
    time::Timestamp,
};

/// The query parameter that carries a token.
pub const PARAMETER: &str = "gw_token";

/// The user name of per-call credentials. Operators can't give it to a user of their own.
pub const CALL_USER: &str = "call";

/// What a URL is for. It decides who may use it how, and it is covered by the MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A SWAIG function that the model calls.
    Tool,
    /// A SWAIG function that the platform calls at a call's start or end.
    Hook,
    /// `post_prompt_url`.
    Summary,
    /// Debug and event webhooks.
    Debug,
    /// `SWAIG.includes`: function definitions.
    Includes,
    /// More SWML: `execute`, `transfer`, `confirm` and the like.
    Swml,
    /// Status callbacks, `request`, data map webhooks on the agent.
    Callback,
    /// Files on the agent: audio, video, images.
    Asset,
}

/// What a token says, apart from what it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// What the URL is for.
    pub kind: Kind,
    /// The document it left in.
    pub document: DocumentId,
    /// The call; `None` in a document that was fetched without a call id, which is bound on first use.
    pub call: Option<CallDigest>,
    /// The remote party, where it is known.
    pub caller: Option<CallerDigest>,
    /// When the document left, in Unix seconds.
    pub issued: u32,
    /// From when on it is refused, in Unix seconds.
    pub expiry: u32,
    /// The first 8 bytes of the SHA-256 of the function's published `parameters`; zeros for what is no function.
    pub schema: [u8; 8],
    /// Whether the document has several AIs: then the end of one is not the call's.
    pub is_one_of_several: bool,
}

/// What a token is bound to without carrying it.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// Whose URL it is.
    pub agent: &'a AgentName,
    /// The function, for tools and hooks; else empty.
    pub function: &'a str,
    /// The path on the agent, as the agent wrote it.
    pub path: &'a str,
    /// The query as the agent wrote it, without its own `?`.
    pub query: Option<&'a str>,
}

/// A token that was decoded and not yet checked: what it says is only a claim.
#[derive(Debug, Clone)]
pub struct UnverifiedToken {
    key: KeyTag,
    claims: Claims,
    bare_query: bool,
    signed: [u8; SIGNED],
    mac: [u8; MAC],
}

/// Claims that one of the ring's keys has signed, for this binding, and that have not expired.
#[derive(Debug, Clone)]
#[must_use]
pub struct VerifiedToken {
    claims: Claims,
    key: KeyTag,
    mac: [u8; MAC],
}

/// Per-call credentials whose password one of the ring's keys has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct CallCredentials {
    kind: Kind,
    document: DocumentId,
    call: Option<CallDigest>,
    expired: bool,
}

/// Why a token or a per-call password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It isn't one of this version's.
    #[error("malformed")]
    Malformed,
    /// Its key isn't listed.
    #[error("signed by a key that is not listed")]
    UnknownKey,
    /// The MAC is not that of these claims for this agent, function, path and query.
    #[error("not made for this agent, function and URL")]
    Mismatch,
    /// It is authentic, and its time is over.
    #[error("expired")]
    Expired,
}

const VERSION: u8 = 1;
const SIGNED: usize = 1 + 4 + 1 + 1 + 4 + 4 + 16 + 16 + 16 + 8;
const MAC: usize = 32;
const PASSWORD_SIGNED: usize = 1 + 4 + 1 + 1 + 4 + 16 + 16;
const PASSWORD_MAC: usize = 16;

mod flag {
    pub(super) const NO_CALL: u8 = 1;
    pub(super) const NO_CALLER: u8 = 2;
    /// The agent's URL ended in a `?` with nothing behind it.
    pub(super) const BARE_QUERY: u8 = 4;
    /// The document has several AIs.
    pub(super) const ONE_OF_SEVERAL: u8 = 8;
}

/// A token of these claims for this URL, as the value of [`PARAMETER`].
pub fn mint(key: &Key, claims: &Claims, binding: &Binding<'_>) -> String {
    let mut token = [0; SIGNED + MAC];
    let signed = encode(key, claims, binding);
    let mac = key.token.tag(&binding.parts(&signed));
    let (front, back) = token.split_at_mut(SIGNED);
    front.copy_from_slice(&signed);
    back.copy_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(token)
}

/// The password of per-call credentials for URLs of this kind at this agent, in this document.
pub fn mint_password(key: &Key, claims: &Claims, agent: &AgentName) -> String {
    let mut writer = Writer::<PASSWORD_SIGNED>::new();
    writer.put(&[VERSION]);
    writer.put(&key.tag().0);
    writer.put(&[claims.kind.code(), if claims.call.is_none() { flag::NO_CALL } else { 0 }]);
    writer.put(&claims.expiry.to_be_bytes());
    writer.put(&claims.document.0);
    writer.put(&claims.call.map_or([0; 16], |call| call.0));
    let signed = writer.bytes;
    let mac = key.password.short_tag(&[&signed, agent.as_str().as_bytes()]);
    URL_SAFE_NO_PAD.encode([&signed[..], &mac[..]].concat())
}

/// Checks a per-call password. Whoever has valid credentials still needs a token of the same document and kind.
///
/// # Errors
/// [`TokenError`], but for an expiry: who holds authentic credentials is no stranger, and is told in other words.
pub fn verify_password(
    password: &[u8],
    ring: &KeyRing,
    agent: &AgentName,
    now: Timestamp,
) -> Result<CallCredentials, TokenError> {
    let bytes: [u8; PASSWORD_SIGNED + PASSWORD_MAC] = decode_exactly(password)?;
    let (signed, mac) = bytes.split_at(PASSWORD_SIGNED);
    let mut reader = Reader(signed);
    let [version] = reader.take()?;
    let key = KeyTag(reader.take()?);
    let [kind, flags] = reader.take()?;
    let expiry = u32::from_be_bytes(reader.take()?);
    let document = DocumentId(reader.take()?);
    let call = CallDigest(reader.take()?);
    if version != VERSION {
        return Err(TokenError::Malformed);
    }
    let key = ring.find(key).ok_or(TokenError::UnknownKey)?;
    if !constant_time_eq(mac, &key.password.short_tag(&[signed, agent.as_str().as_bytes()])) {
        return Err(TokenError::Mismatch);
    }
    Ok(CallCredentials {
        kind: Kind::from_code(kind).ok_or(TokenError::Malformed)?,
        document,
        call: (flags & flag::NO_CALL == 0).then_some(call),
        expired: now.unix_seconds() >= expiry,
    })
}

/// The `meta_data_token` that keeps functions which shared a URL in one metadata partition (PROTOCOL.md, 3.5):
/// 32 hex digits.
pub fn metadata_token(key: &Key, binding: &Binding<'_>) -> String {
    let agent = binding.agent.as_str().as_bytes();
    let query = binding.query.unwrap_or_default().as_bytes();
    let tag = key.metadata.short_tag(&[agent, binding.path.as_bytes(), query]);
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = hex(&tag, &mut text);
    text
}

// === impl Kind ===

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 8] =
        [Kind::Tool, Kind::Hook, Kind::Summary, Kind::Debug, Kind::Includes, Kind::Swml, Kind::Callback, Kind::Asset];

    /// Whether the request's own call must be the token's. The others carry ids of other legs, or none.
    pub fn is_bound_to_call(self) -> bool {
        match self {
            Kind::Tool | Kind::Hook | Kind::Summary | Kind::Debug | Kind::Swml => true,
            Kind::Includes | Kind::Callback | Kind::Asset => false,
        }
    }

    /// Whether requests of this kind may say that an AI's part in a call is over.
    pub fn ends_a_session(self) -> bool {
        match self {
            Kind::Hook | Kind::Summary => true,
            Kind::Tool | Kind::Debug | Kind::Includes | Kind::Swml | Kind::Callback | Kind::Asset => false,
        }
    }

    fn code(self) -> u8 {
        match self {
            Kind::Tool => 1,
            Kind::Hook => 2,
            Kind::Summary => 3,
            Kind::Debug => 4,
            Kind::Includes => 5,
            Kind::Swml => 6,
            Kind::Callback => 7,
            Kind::Asset => 8,
        }
    }

    fn from_code(code: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

// === impl Claims ===

impl Claims {
    /// The last moment for the first use of a document without a call.
    pub fn bind_until(&self, window: Duration) -> u32 {
        self.issued.saturating_add(u32::try_from(window.as_secs()).unwrap_or(u32::MAX))
    }
}

// === impl Binding ===

impl<'a> Binding<'a> {
    /// What the MAC covers: each part is preceded by its length ([`crate::keys::MacKey::tag`]).
    fn parts<'b>(&'b self, signed: &'b [u8; SIGNED]) -> [&'b [u8]; 5] {
        [
            signed,
            self.agent.as_str().as_bytes(),
            self.function.as_bytes(),
            self.path.as_bytes(),
            self.query.unwrap_or_default().as_bytes(),
        ]
    }
}

// === impl UnverifiedToken ===

impl UnverifiedToken {
    /// Reads a token without checking it.
    ///
    /// # Errors
    /// [`TokenError::Malformed`].
    pub fn decode(text: &str) -> Result<Self, TokenError> {
        let bytes: [u8; SIGNED + MAC] = decode_exactly(text.as_bytes())?;
        let mut reader = Reader(&bytes);
        let signed: [u8; SIGNED] = reader.take()?;
        let mac: [u8; MAC] = reader.take()?;
        let mut reader = Reader(&signed);
        let [version] = reader.take()?;
        let key = KeyTag(reader.take()?);
        let [kind, flags] = reader.take()?;
        if version != VERSION {
            return Err(TokenError::Malformed);
        }
        let claims = Claims {
            kind: Kind::from_code(kind).ok_or(TokenError::Malformed)?,
            issued: u32::from_be_bytes(reader.take()?),
            expiry: u32::from_be_bytes(reader.take()?),
            document: DocumentId(reader.take()?),
            call: Some(CallDigest(reader.take()?)).filter(|_| flags & flag::NO_CALL == 0),
            caller: Some(CallerDigest(reader.take()?)).filter(|_| flags & flag::NO_CALLER == 0),
            schema: reader.take()?,
            is_one_of_several: flags & flag::ONE_OF_SEVERAL != 0,
        };
        Ok(Self { key, claims, bare_query: flags & flag::BARE_QUERY != 0, signed, mac })
    }

    /// What it claims to be for. Until it is verified this is a stranger's word.
    pub fn claimed_kind(&self) -> Kind {
        self.claims.kind
    }

    /// The document that it claims to have left in.
    pub fn claimed_document(&self) -> DocumentId {
        self.claims.document
    }

    /// The agent's own query, given what was left of the request's after the token was taken out.
    pub fn restore_query<'q>(&self, rest: Option<&'q str>) -> Option<&'q str> {
        match rest {
            Some(query) if !query.is_empty() => Some(query),
            Some(_) | None => self.bare_query.then_some(""),
        }
    }

    /// Checks key, MAC and expiry.
    ///
    /// # Errors
    /// [`TokenError::Expired`] only if it is authentic otherwise.
    pub fn verify(&self, ring: &KeyRing, binding: &Binding<'_>, now: Timestamp) -> Result<VerifiedToken, TokenError> {
        let key = ring.find(self.key).ok_or(TokenError::UnknownKey)?;
        let expected = key.token.tag(&binding.parts(&self.signed));
        if !constant_time_eq(&expected, &self.mac) {
            return Err(TokenError::Mismatch);
        }
        if now.unix_seconds() >= self.claims.expiry {
            return Err(TokenError::Expired);
        }
        Ok(VerifiedToken { claims: self.claims, key: self.key, mac: self.mac })
    }
}

// === impl VerifiedToken ===

impl VerifiedToken {
    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What stands for the claims and for all that the token is bound to. It is as secret as the token.
    pub fn mac(&self) -> &[u8] {
        &self.mac
    }

    /// What names that key.
    pub fn key_tag(&self) -> KeyTag {
        self.key
    }

    /// The key that signed it, which its digests are made with too.
    pub fn key<'r>(&self, ring: &'r KeyRing) -> Option<&'r Key> {
        ring.find(self.key)
    }
}

// === impl CallCredentials ===

impl CallCredentials {
    /// Whether these credentials and this token left in one document, for one kind of URL and one call.
    pub fn belong_to(&self, token: &UnverifiedToken) -> bool {
        let claims = &token.claims;
        (self.kind, self.document, self.call) == (claims.kind, claims.document, claims.call)
    }

    /// Whether their time is over.
    pub fn are_expired(&self) -> bool {
        self.expired
    }
}

// === the bytes ===

fn encode(key: &Key, claims: &Claims, binding: &Binding<'_>) -> [u8; SIGNED] {
    let mut flags = 0;
    if claims.call.is_none() {
        flags |= flag::NO_CALL;
    }
    if claims.caller.is_none() {
        flags |= flag::NO_CALLER;
    }
    if claims.is_one_of_several {
        flags |= flag::ONE_OF_SEVERAL;
    }
    if binding.query == Some("") {
        flags |= flag::BARE_QUERY;
    }
    let mut writer = Writer::<SIGNED>::new();
    writer.put(&[VERSION]);
    writer.put(&key.tag().0);
    writer.put(&[claims.kind.code(), flags]);
    writer.put(&claims.issued.to_be_bytes());
    writer.put(&claims.expiry.to_be_bytes());
    writer.put(&claims.document.0);
    writer.put(&claims.call.map_or([0; 16], |call| call.0));
    writer.put(&claims.caller.map_or([0; 16], |caller| caller.0));
    writer.put(&claims.schema);
    writer.bytes
}

fn decode_exactly<const N: usize>(text: &[u8]) -> Result<[u8; N], TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
    bytes.try_into().map_err(|_| TokenError::Malformed)
}

struct Writer<const N: usize> {
    bytes: [u8; N],
    filled: usize,
}

impl<const N: usize> Writer<N> {
    fn new() -> Self {
        Self { bytes: [0; N], filled: 0 }
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.filled..end) {
            place.copy_from_slice(bytes);
        }
        self.filled = end;
    }
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        let (front, rest) = self.0.split_first_chunk().ok_or(TokenError::Malformed)?;
        self.0 = rest;
        Ok(*front)
    }
}

#[cfg(test)]
mod tests;
