//! A record of the audit log, as far as it tells what was decided.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;
use serde_json::value::RawValue;
use swaigate_core::{
    reason::{Cause, Reason},
    record::{Medium, Rule},
    time::Timestamp,
};

/// One line of the log. What isn't there wasn't learned.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    time: String,
    pub(super) event: String,
    pub(super) request_id: String,
    pub(super) agent: Option<String>,
    pub(super) route: String,
    pub(super) client: Option<IpAddr>,
    pub(super) function: Option<String>,
    pub(super) call_id: Option<String>,
    pub(super) caller: Option<String>,
    pub(super) caller_digest: Option<String>,
    #[serde(default)]
    pub(super) caller_disagrees: bool,
    pub(super) called: Option<String>,
    reason: String,
    #[serde(default)]
    decided_us: u64,
    gateway_us: u64,
    agent_us: Option<u64>,
    pub(super) arguments: Option<Box<RawValue>>,
    pub(super) document: Option<String>,
    pub(super) within: Option<String>,
    #[serde(default)]
    pub(super) ends_call: bool,
    #[serde(default)]
    permitted: bool,
    #[serde(default)]
    pub(super) inputs: Inputs,
    medium: Option<String>,
    pub(super) repeat: Option<String>,
    pub(super) schema: Option<String>,
    #[serde(default)]
    pub(super) schema_unknown: bool,
    #[serde(default)]
    would_refuse: Vec<WouldRefuse>,
}

/// What rules found (`record::Inputs` of the core).
#[derive(Debug, Default, Deserialize)]
pub(super) struct Inputs {
    #[serde(default)]
    pub(super) unseen: BTreeMap<String, bool>,
    pub(super) published_fits: Option<bool>,
    pub(super) lenient: Option<String>,
    #[serde(default)]
    pub(super) meant_otherwise: bool,
    #[serde(default)]
    pub(super) pins: BTreeMap<String, bool>,
    pub(super) code: Option<String>,
    pub(super) heard: Option<Heard>,
    #[serde(default)]
    pub(super) met: BTreeMap<String, bool>,
}

/// What was heard of a caller's agreement.
#[derive(Debug, Deserialize)]
pub(super) struct Heard {
    pub(super) turns: Option<u32>,
    pub(super) agreed_at: Option<u32>,
    pub(super) words: String,
}

#[derive(Debug, Deserialize)]
struct WouldRefuse {
    rule: String,
    reason: String,
}

/// What was decided of a request before the agent was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Was {
    /// Nothing was against it, whatever the agent made of it.
    Permitted,
    /// The policy was.
    Refused(Reason),
    /// Something else was, or what it was can't be told.
    Else,
}

// === impl Record ===

impl Record {
    /// When the request came.
    pub(super) fn at(&self) -> Option<Timestamp> {
        let at: jiff::Timestamp = self.time.parse().ok()?;
        u64::try_from(at.as_millisecond()).ok().map(Timestamp)
    }

    /// When it came, as the log has it.
    pub(super) fn time(&self) -> &str {
        &self.time
    }

    /// When it was decided, in microseconds since 1970.
    pub(super) fn decided_at(&self, at: Timestamp) -> u64 {
        at.0.saturating_mul(1000).saturating_add(self.decided_us)
    }

    /// When it was answered, in microseconds since 1970.
    pub(super) fn answered_at(&self, at: Timestamp) -> u64 {
        let micros = self.gateway_us.saturating_add(self.agent_us.unwrap_or_default());
        at.0.saturating_mul(1000).saturating_add(micros).max(self.decided_at(at))
    }

    /// Which process it was, and in which order the requests came to it.
    pub(super) fn arrival(&self) -> (&str, u64) {
        let (process, count) = self.request_id.split_at_checked(8).unwrap_or_default();
        (process, u64::from_str_radix(count, 16).unwrap_or_default())
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        Reason::ALL.iter().find(|reason| reason.as_str() == self.reason).copied()
    }

    pub(super) fn was(&self) -> Was {
        match self.reason() {
            _ if self.permitted => Was::Permitted,
            Some(Reason::Ok) => Was::Permitted,
            Some(reason) if reason.cause() == Cause::Policy => Was::Refused(reason),
            Some(_) | None => Was::Else,
        }
    }

    pub(super) fn medium(&self) -> Medium {
        let named = |medium: &Medium| Some(medium.as_str()) == self.medium.as_deref();
        [Medium::Messaging, Medium::Chat].into_iter().find(named).unwrap_or_default()
    }

    /// Which rules in shadow would have refused, and why; but for those that look at the answer.
    pub(super) fn would_refuse(&self) -> Vec<(String, String)> {
        let of_requests = self.would_refuse.iter().filter(|seen| is_asked_of_requests(&seen.rule));
        of_requests.map(|seen| (seen.rule.clone(), seen.reason.clone())).collect()
    }
}

/// Whether a rule is asked before the agent is.
pub(super) fn is_asked_of_requests(rule: &str) -> bool {
    let of_answers = [Rule::Destinations, Rule::Verbs, Rule::Egress, Rule::Detect];
    !of_answers.iter().any(|known| known.as_str() == rule)
}
