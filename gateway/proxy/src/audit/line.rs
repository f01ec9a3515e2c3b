//! The record of a request, as it is written.

use std::net::IpAddr;

use serde::Serialize;
use swaigate_core::{
    id::AgentName,
    record::{Medium, Repeat},
    verdict::{Decision, Reason},
};

use super::{Entry, hex, inputs, micros};
use crate::clock;

/// A record as it is written. What was not learned is left out.
#[derive(Serialize)]
pub(super) struct Line<'e> {
    time: String,
    event: &'static str,
    request_id: String,
    agent: Option<&'e str>,
    route: &'static str,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_digest: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    caller_disagrees: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    called: Option<&'e str>,
    decision: &'static str,
    reason: &'static str,
    status: u16,
    delivered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_us: Option<u64>,
    gateway_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'e serde_json::value::RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ends_call: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    permitted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<inputs::Line<'e>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    medium: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    schema_unknown: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    result: &'e [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    has_met: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_refuse: Vec<WouldRefuse>,
    #[serde(skip_serializing_if = "is_zero")]
    redacted: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_mediated: Vec<NotMediated<'e>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    switch: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lockout: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'e str>,
}

#[derive(Serialize)]
struct WouldRefuse {
    rule: &'static str,
    reason: &'static str,
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct NotMediated<'e> {
    what: &'e str,
    how: &'static str,
}

impl<'e> From<&'e Entry> for Line<'e> {
    fn from(entry: &'e Entry) -> Self {
        let facts = &entry.facts;
        let unmediated = facts.unmediated.iter();
        Self {
            time: clock::rfc3339(entry.at),
            event: entry.event.as_str(),
            request_id: entry.request.to_string(),
            agent: entry.agent.as_ref().map(AgentName::as_str),
            route: entry.route.as_str(),
            method: entry.method,
            client: entry.client,
            user: facts.user.as_deref(),
            function: facts.function.as_deref(),
            call_id: facts.call_id.as_deref(),
            caller: facts.caller.as_deref(),
            caller_digest: facts.caller_digest.map(|digest| digest.to_string()),
            caller_disagrees: facts.caller_disagrees,
            called: facts.called.as_deref(),
            decision: Decision::from(entry.reason).as_str(),
            reason: entry.reason.as_str(),
            status: entry.status,
            delivered: entry.delivered,
            bytes: entry.bytes,
            decided_us: entry.decided.map(micros),
            gateway_us: micros(entry.gateway),
            agent_us: entry.agent_time.map(micros),
            arguments: facts.arguments.as_deref().and_then(|json| serde_json::from_str(json).ok()),
            document: facts.document.map(|id| id.to_string()),
            within: facts.within.map(|id| id.to_string()),
            ends_call: facts.ends_call,
            // What is passed on was permitted.
            permitted: facts.permitted && entry.reason != Reason::Ok,
            inputs: inputs::Line::of(&facts.inputs),
            medium: Some(facts.medium).filter(|medium| *medium != Medium::Voice).map(Medium::as_str),
            signature: facts.signature,
            repeat: facts.repeat.map(Repeat::as_str),
            schema: facts.schema.map(|digest| hex(&digest)),
            schema_unknown: facts.schema_unknown,
            result: &facts.result,
            has_met: facts.has_met,
            would_refuse: facts
                .would_refuse
                .iter()
                .map(|seen| WouldRefuse { rule: seen.rule.as_str(), reason: seen.reason })
                .collect(),
            redacted: facts.redacted,
            not_mediated: unmediated.map(|u| NotMediated { what: &u.what, how: u.how.as_str() }).collect(),
            switch: facts.switch.as_deref(),
            lockout: facts.lockout.as_deref(),
            server: facts.server.as_deref(),
            detail: facts.detail.as_deref(),
        }
    }
}
