//! What the state store is asked of a request.

use std::net::{IpAddr, Ipv6Addr};

use super::{Admitted, rewrite::seconds};
use crate::{
    id::{AgentName, CallDigest, CallerDigest, DocumentId},
    policy::{Agent, ExposedPath, Limit, Per, UnidentifiedCallers},
    token::VerifiedToken,
};

/// A question to the state store. All of a plan's are answered at once, and a request that one of them refuses counts for
/// none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// May one more request be counted in this cell?
    Rate(CellKey),
    /// Is this the call that owns the document, or is it the first to use it?
    Bind {
        /// The document.
        document: DocumentId,
        /// The call that uses it.
        call: CallDigest,
        /// The last second in which a first use is accepted, in Unix seconds.
        until: u32,
        /// When the document's tokens die, in Unix seconds: from then on the answer needn't be kept.
        expiry: u32,
    },
    /// Does the call go on? What happens to it is remembered with the answer.
    Call {
        /// The call, at an agent.
        call: CallKey,
        /// What happens.
        event: CallEvent,
        /// How many seconds after its end it is served.
        grace: u32,
        /// When its last token dies, in Unix seconds: from then on nothing needs to be known of it.
        expiry: u32,
    },
}

/// A call, at one of the agents that it is or was at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The call.
    pub call: CallDigest,
    /// The agent.
    pub agent: AgentName,
}

/// What happens to a call at an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEvent {
    /// A document is made for it. A call that has ended at one agent and goes on at another may come back.
    Fetched,
    /// One of its functions is called.
    Used,
    /// It has ended there. That is never refused.
    Ended {
        /// When the document left that says so, in Unix seconds: a later one may still go on.
        issued: u32,
    },
}

/// Which requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CellKey {
    /// At which agent.
    pub agent: AgentName,
    /// Which of its requests.
    pub family: Family,
    /// By which limit: a changed limit counts anew, an unchanged one goes on counting over a reload.
    pub limit: Limit,
    /// Whose.
    pub subject: Subject,
}

/// Requests of one sort.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Family {
    /// Function calls.
    Functions,
    /// Calls that begin: SWML fetches without a token.
    Fetches,
    /// Requests for paths that one item of the policy exposes.
    Exposed(ExposedPath),
}

/// Whose requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One caller's.
    Caller(CallerDigest),
    /// One call's.
    Call(CallDigest),
    /// One address's; of an IPv6 address only the first 64 bits, since a host has all of the rest.
    Address(IpAddr),
    /// Those of all callers, or clients, who can't be told apart.
    Unidentified,
}

/// What is asked of a call's state, for an event at this agent.
pub(super) fn call_check(agent: &Agent, call: CallDigest, event: CallEvent, expiry: u32) -> Check {
    let call = CallKey { call, agent: agent.name.clone() };
    Check::Call { call, event, grace: seconds(agent.tokens.ended_grace), expiry }
}

/// What the end of an AI's part in a call is to the call; nothing, where the document has more of them.
pub(super) fn ended(token: &VerifiedToken) -> Option<CallEvent> {
    let claims = token.claims();
    (!claims.is_one_of_several).then_some(CallEvent::Ended { issued: claims.issued })
}

// === limits ===

fn caller_subject(agent: &Agent, caller: Option<CallerDigest>) -> Option<Subject> {
    match (caller, agent.unidentified_callers) {
        (Some(caller), _) => Some(Subject::Caller(caller)),
        (None, UnidentifiedCallers::Shared) => Some(Subject::Unidentified),
        (None, UnidentifiedCallers::PerCall) => None,
    }
}

/// Whose request it is by its source; all whose source isn't known are one.
pub(super) fn address_subject(client: Option<IpAddr>) -> Subject {
    match client.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Subject::Address(Ipv6Addr::from(network).into())
        }
        Some(address @ IpAddr::V4(_)) => Subject::Address(address),
        None => Subject::Unidentified,
    }
}

pub(super) fn rate_checks(
    admitted: &Admitted,
    family: &Family,
    caller: Option<CallerDigest>,
    call: Option<CallDigest>,
) -> impl Iterator<Item = Check> {
    let agent = &admitted.agent;
    agent.limits.iter().filter_map(move |limit| {
        let subject = match limit.per {
            Per::Caller => caller_subject(agent, caller)?,
            Per::Call => Subject::Call(call?),
            Per::Address => address_subject(admitted.client),
        };
        Some(rate_check(agent, family, limit, subject))
    })
}

pub(super) fn rate_check(agent: &Agent, family: &Family, limit: &Limit, subject: Subject) -> Check {
    Check::Rate(CellKey { agent: agent.name.clone(), family: family.clone(), limit: limit.clone(), subject })
}
