//! What the state store is asked of a request.

use std::net::{IpAddr, Ipv6Addr};

use super::{detect::WatchKey, rewrite::seconds};
use crate::{
    id::{AgentName, CallDigest, CallerDigest, DocumentId, FactKey, FunctionName},
    policy::{Agent, ExposedPath, Limit, LimitRule, Per, UnidentifiedCallers},
    record::Rule,
    token::VerifiedToken,
    verdict::Reason,
};

/// A check, and what it is to the request if it fails.
#[derive(Debug, Clone)]
pub struct Question {
    /// What is asked.
    pub check: Check,
    /// Whether its failure is noted and refuses nothing, because its rule is in shadow.
    pub is_shadow: bool,
    /// The rule of the policy that asks, if it is one.
    pub(super) rule: Option<Rule>,
    /// Why the request is refused if it fails.
    pub(super) reason: Reason,
    /// Whether the caller hears the function's words then, and not the agent's.
    pub(super) is_of_function: bool,
    /// What the caller hears, if it isn't their sentence for the reason.
    pub(super) sentence: Option<String>,
}

/// A question to the state store. All of a plan's are answered at once, and a request that one of them refuses counts for
/// none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// May one more request be counted in this cell?
    Rate {
        /// Where it is counted.
        cell: CellKey,
        /// Whether only a call that isn't known yet is counted: see [`Check::Begin`].
        only_new_calls: bool,
    },
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
    /// Is this a call that is known, or is there room for one more?
    Begin(Begin),
    /// Was this fact learned?
    Fact(FactKey),
    /// Is this the first time? It is remembered until the expiry.
    Once {
        /// What happens.
        fact: FactKey,
        /// In Unix seconds.
        expiry: u32,
    },
    /// Has the caller agreed to what was asked? The first time, it is asked.
    Agreed(Agreed),
    /// Is the code right, after not too many wrong ones?
    Code(CodeGiven),
    /// Is this event one too many? It refuses nothing, and is counted whatever the other checks say.
    Watch {
        /// Where it is counted.
        key: WatchKey,
        /// See [`Check::Rate`].
        only_new_calls: bool,
    },
}

/// A call that may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// The call at an agent, under the newest key.
    pub call: CallKey,
    /// The same under older keys.
    pub aliases: Vec<CallDigest>,
    /// Who calls.
    pub caller: Part<CallerDigest>,
    /// How many calls that caller may have at once at this agent.
    pub per_caller: Option<u32>,
    /// How many all callers may have at once at this agent.
    pub per_agent: Option<u32>,
    /// After how many seconds without a request a call is over.
    pub idle: u32,
    /// See [`Check::Call`].
    pub expiry: u32,
}

/// What was asked of a caller, and what is heard of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The call, the function and its arguments.
    pub fact: FactKey,
    /// Which of the call's turns was an answer last: one answers one question only.
    pub answered: FactKey,
    /// Until when that is remembered, in Unix seconds.
    pub expiry: u32,
    /// How many turns the caller has had; `None` if that isn't told.
    pub turns: Option<u32>,
    /// The last of them, counted from 0, that says yes or no, if that is a yes.
    pub agreed_at: Option<u32>,
    /// Whether the model's word is enough: that it asks a second time.
    pub trusts_model: bool,
    /// Until when the question stands, in Unix seconds.
    pub until: u32,
}

/// A code that a caller gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeGiven {
    /// Where wrong ones are counted: for the call and, if it is known, for the caller.
    pub counters: Vec<FactKey>,
    /// Whether it is right.
    pub is_right: bool,
    /// What makes a right one good for one use, if it is.
    pub use_once: Option<FactKey>,
    /// How many wrong ones there may be.
    pub attempts: u32,
    /// For how many seconds after the last wrong one no further one is looked at.
    pub lock: u32,
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
    /// Calls of a function that has limits of its own.
    Function,
    /// Calls that begin: SWML fetches without a token.
    Fetches,
    /// The same, by `calls`.
    Calls,
    /// Requests for paths that one item of the policy exposes.
    Exposed(ExposedPath),
}

/// Whose requests: those that are equal in all of these parts.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The caller.
    pub caller: Part<CallerDigest>,
    /// The call.
    pub call: Option<CallDigest>,
    /// The function.
    pub function: Option<FunctionName>,
    /// The address; of an IPv6 address only the first 64 bits, since a host has all of the rest.
    pub address: Part<IpAddr>,
}

/// A part of a subject.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part<T> {
    /// It doesn't matter.
    #[default]
    Any,
    /// This one.
    Of(T),
    /// All those that can't be told apart.
    Unidentified,
}

/// What a request is known by, for its limits.
pub(super) struct Asker<'a> {
    pub(super) agent: &'a Agent,
    pub(super) caller: Option<CallerDigest>,
    pub(super) call: Option<CallDigest>,
    pub(super) function: Option<&'a FunctionName>,
    pub(super) client: Option<IpAddr>,
}

// === impl Question ===

impl Question {
    /// One for a store alone, without a request to refuse.
    pub fn for_store(check: Check, is_shadow: bool) -> Self {
        Self { is_shadow, ..Self::always(check, Reason::Internal) }
    }

    /// One that no rule of a policy asks.
    pub(super) fn always(check: Check, reason: Reason) -> Self {
        Self { check, is_shadow: false, rule: None, reason, is_of_function: false, sentence: None }
    }

    /// One that a rule asks.
    pub(super) fn of(rule: Rule, is_shadow: bool, check: Check, reason: Reason) -> Self {
        Self { check, is_shadow, rule: Some(rule), reason, is_of_function: false, sentence: None }
    }

    /// The same, asked by another rule.
    pub(super) fn by(self, rule: Rule, reason: Reason) -> Self {
        Self { rule: Some(rule), reason, ..self }
    }

    /// The limit that is asked, if it is one.
    pub(super) fn quota(&self) -> Option<Limit> {
        match &self.check {
            Check::Rate { cell, .. } => Some(cell.limit.clone()),
            _ => None,
        }
    }

    /// The same, asked by a rule of the function's own.
    pub(super) fn of_function(self) -> Self {
        Self { is_of_function: true, ..self }
    }

    pub(super) fn saying(self, sentence: String) -> Self {
        Self { sentence: Some(sentence), ..self }
    }
}

/// What is asked of a call's state, for an event at this agent.
pub(super) fn call_check(agent: &Agent, call: CallDigest, event: CallEvent, expiry: u32) -> Question {
    let call = CallKey { call, agent: agent.name.clone() };
    let check = Check::Call { call, event, grace: seconds(agent.tokens.ended_grace), expiry };
    Question::always(check, Reason::CallEnded)
}

/// What the end of an AI's part in a call is to the call; nothing, where the document has more of them.
pub(super) fn ended(token: &VerifiedToken) -> Option<CallEvent> {
    let claims = token.claims();
    (!claims.is_one_of_several).then_some(CallEvent::Ended { issued: claims.issued })
}

// === limits ===

impl Asker<'_> {
    /// The questions of these limits; none of those that count by what isn't known of the request.
    pub(super) fn rates(
        &self,
        rules: &[LimitRule],
        family: &Family,
        is_shadow: bool,
    ) -> impl Iterator<Item = Question> {
        rules.iter().filter_map(move |rule| {
            // The source of a request is its own; a call that is known has no part in the limits of those that begin.
            let only_new_calls = matches!(family, Family::Fetches | Family::Calls) && !rule.limit.per.address;
            let cell = self.cell(&rule.limit, family.clone())?;
            let check = Check::Rate { cell, only_new_calls };
            Some(Question::of(Rule::Limits, is_shadow || rule.is_shadow, check, Reason::Limited))
        })
    }

    fn cell(&self, limit: &Limit, family: Family) -> Option<CellKey> {
        let subject = self.subject(limit.per, limit.per.function || family == Family::Function)?;
        Some(CellKey { agent: self.agent.name.clone(), family, limit: limit.clone(), subject })
    }

    /// Whose the request is, by these parts and perhaps by its function; `None` if one of them isn't known.
    pub(super) fn subject(&self, per: Per, is_of_function: bool) -> Option<Subject> {
        Some(Subject {
            caller: if per.caller { self.caller_part()? } else { Part::Any },
            call: if per.call { Some(self.call?) } else { None },
            function: if is_of_function { Some(self.function?.clone()) } else { None },
            address: if per.address { address_part(self.client) } else { Part::Any },
        })
    }

    /// `None` for callers that are counted for each call alone.
    pub(super) fn caller_part(&self) -> Option<Part<CallerDigest>> {
        match (self.caller, self.agent.unidentified_callers) {
            (Some(caller), _) => Some(Part::Of(caller)),
            (None, UnidentifiedCallers::Shared) => Some(Part::Unidentified),
            (None, UnidentifiedCallers::PerCall) => None,
        }
    }
}

/// An address as limits count it; all whose source isn't known are one.
pub fn address_part(client: Option<IpAddr>) -> Part<IpAddr> {
    match client.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Part::Of(Ipv6Addr::from(network).into())
        }
        Some(address @ IpAddr::V4(_)) => Part::Of(address),
        None => Part::Unidentified,
    }
}

/// The question of a limit on an exposed path.
pub(super) fn exposed_rate(agent: &Agent, path: &ExposedPath, rule: &LimitRule, client: Option<IpAddr>) -> Question {
    let subject = Subject { address: address_part(client), ..Subject::default() };
    let family = Family::Exposed(path.clone());
    let cell = CellKey { agent: agent.name.clone(), family, limit: rule.limit.clone(), subject };
    Question::of(Rule::Limits, rule.is_shadow, Check::Rate { cell, only_new_calls: false }, Reason::Limited)
}
