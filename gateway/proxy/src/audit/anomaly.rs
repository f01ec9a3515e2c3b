//! The record of an anomaly.

use std::net::IpAddr;

use serde::Serialize;
use swaigate_core::{
    decide::Alarm,
    id::{AgentName, RequestId},
    policy::Action,
    record::Facts,
    time::Timestamp,
};

use super::micros;
use crate::clock;

/// Detection has found more than is usual.
#[derive(Debug)]
pub struct Anomaly {
    /// When the last of the events came.
    pub at: Timestamp,
    /// The request that it was.
    pub request: RequestId,
    /// At which agent.
    pub agent: AgentName,
    /// Who sent the request, by the socket.
    pub client: Option<IpAddr>,
    /// What was found.
    pub alarm: Alarm,
    /// Whether the rule's action is taken.
    pub is_taken: bool,
    /// What was learned about the request so far.
    pub facts: Facts,
}

/// An anomaly as it is written.
#[derive(Serialize)]
pub(super) struct AnomalyLine<'a> {
    time: String,
    event: &'static str,
    request_id: String,
    agent: &'a str,
    rule: &'a str,
    on: &'static str,
    per: Vec<&'static str>,
    /// As many as were too many.
    count: u32,
    window_ms: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<bool>,
}

impl<'a> From<&'a Anomaly> for AnomalyLine<'a> {
    fn from(anomaly: &'a Anomaly) -> Self {
        let Anomaly { facts, alarm, .. } = anomaly;
        let (detector, watch) = (&alarm.detector, &alarm.detector.watch);
        Self {
            time: clock::rfc3339(anomaly.at),
            event: "anomaly",
            request_id: anomaly.request.to_string(),
            agent: anomaly.agent.as_str(),
            rule: &watch.name,
            on: detector.on.as_str(),
            per: watch.per.names(),
            count: watch.more_than.saturating_add(1),
            window_ms: micros(watch.every) / 1000,
            shared: alarm.is_shared,
            client: anomaly.client,
            function: facts.function.as_deref(),
            call_id: facts.call_id.as_deref(),
            caller: facts.caller.as_deref(),
            caller_digest: facts.caller_digest.map(|digest| digest.to_string()),
            action: detector.action.map(Action::as_str),
            taken: detector.action.map(|_| anomaly.is_taken),
        }
    }
}
