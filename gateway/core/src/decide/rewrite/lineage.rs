//! What the tokens of a document have in common.

use crate::{
    call::Caller,
    id::{CallDigest, CallerDigest, DocumentId},
    keys::{Key, KeyTag},
    policy::Agent,
    time::Timestamp,
    token::{Claims, Kind, VerifiedToken},
};

/// What the tokens of a document inherit: the call, the caller, and how long they live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lineage {
    pub(super) key: KeyTag,
    document: DocumentId,
    call: Option<CallDigest>,
    pub(crate) caller: Option<CallerDigest>,
    issued: u32,
    /// When tools, assets and more SWML end.
    expiry: u32,
    /// When hooks and callbacks end, which come after the call.
    callback_expiry: u32,
    /// What requests have in common that belong on one server: their call, or the document, if that was fetched without.
    home: [u8; 16],
}

// === impl Lineage ===

impl Lineage {
    /// Of a document that is fetched: by a call that begins and whose tokens live until `fresh`, or by one that has a
    /// token already and inherits its time.
    pub(crate) fn of_fetch(
        key: &Key,
        document: DocumentId,
        (now, fresh): (Timestamp, u32),
        (call_id, caller): (Option<&str>, &Caller),
        agent: &Agent,
        token: Option<&VerifiedToken>,
    ) -> Self {
        let expiry = token.map_or(fresh, |token| token.claims().expiry);
        let call = call_id.map(|id| key.call(id));
        // Within one call the caller stays who it was at the first fetch, whatever a later one says. Digests under
        // another key tell nothing.
        let same_call = token.filter(|token| call.is_some() && token.claims().call == call);
        let home = call.map_or(document.0, |call| call.0);
        let named = || caller.number().map(|number| key.caller(number));
        Self {
            key: key.tag(),
            document,
            call,
            caller: same_call.map_or_else(named, |token| token.claims().caller),
            issued: now.unix_seconds(),
            expiry,
            callback_expiry: expiry.saturating_add(seconds(agent.tokens.grace)),
            home,
        }
    }

    /// Of an answer within a call: its URLs are of the same document and die with it.
    pub(crate) fn of_token(token: &VerifiedToken, call: CallDigest, agent: &Agent) -> Self {
        Self { call: Some(call), ..Self::of_unbound(token, agent) }
    }

    /// Of an answer to a request whose call is known by its token alone.
    pub(crate) fn of_unbound(token: &VerifiedToken, agent: &Agent) -> Self {
        let claims = token.claims();
        let grace = seconds(agent.tokens.grace);
        let is_late = matches!(claims.kind, Kind::Hook | Kind::Summary | Kind::Debug | Kind::Callback);
        let expiry = if is_late { claims.expiry.saturating_sub(grace) } else { claims.expiry };
        Self {
            key: token.key_tag(),
            document: claims.document,
            call: claims.call,
            caller: claims.caller,
            // An answer is a part of its document: it does not open the window of a first use again.
            issued: claims.issued,
            expiry,
            callback_expiry: expiry.saturating_add(grace),
            home: claims.call.map_or(claims.document.0, |call| call.0),
        }
    }

    pub(crate) fn home(&self) -> [u8; 16] {
        self.home
    }

    pub(super) fn claims(&self, kind: Kind, schema: [u8; 8]) -> Claims {
        let expiry = match kind {
            Kind::Tool | Kind::Includes | Kind::Swml | Kind::Asset => self.expiry,
            Kind::Hook | Kind::Summary | Kind::Debug | Kind::Callback => self.callback_expiry,
        };
        let Self { document, call, caller, issued, .. } = *self;
        Claims { kind, document, call, caller, issued, expiry, schema, is_one_of_several: false }
    }
}

pub(crate) fn seconds(span: std::time::Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}
