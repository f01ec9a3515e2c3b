//! What can be seen of a running gateway. Nothing here is a secret; callers are digests, but for those whom a person named.

use std::time::Instant;

use http::StatusCode;
use serde_json::{Value, json};
use swaigate_core::{
    call::Caller,
    decide::{Family, Part},
    id::{AgentName, CallerDigest},
    policy::Agent,
    verdict::{Decision, Reason},
};

use super::{Answer, Api, Query, error, json as answer};
use crate::{
    app::{Decided, EACH, Loaded, Sieve, View},
    clock,
    explanation::Explanation,
    state::{Gauges, Used},
};

/// How many decisions are told, unless somebody says how many.
const DECISIONS: usize = 100;

impl Api {
    pub(super) fn status(&self) -> Answer {
        let (app, now) = (&self.app, clock::now());
        let Loaded { at, refused } = app.loads.last();
        let refused = refused.map(|(at, why)| json!({ "time": clock::rfc3339(at), "why": why }));
        let Gauges { cells, calls, facts, bindings, .. } = app.state.gauges();
        let out = |view: &View| {
            let out = view.servers.iter().filter(|(_, is_usable)| !is_usable);
            out.map(|(server, _)| json!({ "agent": view.agent.as_str(), "server": server })).collect::<Vec<_>>()
        };
        let out: Vec<Value> = app.fleets.view(Instant::now()).iter().flat_map(out).collect();
        answer(
            StatusCode::OK,
            &json!({
                "version": env!("CARGO_PKG_VERSION"),
                "started": clock::rfc3339(app.started),
                "uptime_seconds": now.0.saturating_sub(app.started.0) / 1000,
                "ready": !app.is_draining(),
                "in_flight": app.in_flight(),
                "agents": app.policies.load().agents().len(),
                "servers_out": out,
                "configuration": { "loaded": clock::rfc3339(at), "refused": refused },
                "switches": self.written_switches(),
                "lockouts": self.written_lockouts(),
                "waiting_addresses": app.failures.waiting(now),
                "memory": { "limiter_cells": cells, "calls": calls, "call_facts": facts, "document_bindings": bindings },
            }),
        )
    }

    pub(super) fn agents(&self) -> Answer {
        let policies = self.app.policies.load();
        let views = self.app.fleets.view(Instant::now());
        let agent = |agent: &Agent| {
            let view = views.iter().find(|view| view.agent == agent.name);
            let server = |(name, is_usable): &(String, bool)| json!({ "name": name, "usable": is_usable });
            let functions: Vec<&str> = agent.functions.names().map(|name| name.as_str()).collect();
            json!({
                "name": agent.name.as_str(),
                "url": format!("{}{}", policies.origin_of(agent).origin(), agent.path),
                "upstream": agent.upstream.host_header(),
                "servers": view.iter().flat_map(|view| view.servers.iter().map(server)).collect::<Vec<_>>(),
                "breaker": view.and_then(|view| view.breaker),
                "in_flight": view.map_or(0, |view| view.in_flight),
                "functions": functions,
            })
        };
        answer(StatusCode::OK, &policies.agents().iter().map(|it| agent(it)).collect::<Vec<Value>>())
    }

    /// The effective policy: of one function, or of all that the policy names.
    pub(super) fn policy(&self, name: &str, query: &Query) -> Result<Answer, Answer> {
        let agent = self.agent(&agent_name(name)?)?;
        let function = query.text("function").map(str::parse).transpose();
        let function = function.map_err(|problem| error(StatusCode::BAD_REQUEST, format!("`function`: {problem}")))?;
        let named = agent.functions.names().filter(|_| function.is_none());
        let functions = named.chain(&function).map(|name| Explanation::of(&agent, name)).collect::<Vec<_>>();
        // What holds for all of them is the same whichever it is asked of.
        let any = "_".parse().map_err(|problem| error(StatusCode::INTERNAL_SERVER_ERROR, problem))?;
        let told = json!({
            "agent": agent.name.as_str(),
            "keys": Explanation::of(&agent, &any).json_of_agent(),
            "functions": functions.iter().map(Explanation::json).collect::<Vec<_>>(),
        });
        Ok(answer(StatusCode::OK, &told))
    }

    /// What a caller has left of the limits that count by the caller. A limit that isn't there is unused.
    pub(super) fn limits(&self, query: &Query) -> Result<Answer, Answer> {
        let number =
            query.text("caller").ok_or_else(|| error(StatusCode::BAD_REQUEST, "`caller` is missing: a number"))?;
        let caller = self.digests(number)?;
        let agent = query.text("agent").map(agent_name).transpose()?;
        let is_of_agent = |name: &AgentName| agent.as_ref().is_none_or(|agent| agent == name);
        let usage = self.app.state.usage(&caller);
        let mut limits: Vec<&Used> = usage.limits.iter().filter(|used| is_of_agent(&used.cell.agent)).collect();
        limits.sort_by(|a, b| (&a.cell.agent, a.left).cmp(&(&b.cell.agent, b.left)));
        let calls = usage.calls.iter().filter(|(agent, _)| is_of_agent(agent));
        let told = json!({
            "caller_digests": caller.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "limits": limits.into_iter().map(told_limit).collect::<Vec<_>>(),
            "calls": calls.map(|(agent, count)| json!({ "agent": agent.as_str(), "under_way": count })).collect::<Vec<_>>(),
        });
        Ok(answer(StatusCode::OK, &told))
    }

    /// The last decisions, the newest first.
    pub(super) fn decisions(&self, query: &Query) -> Result<Answer, Answer> {
        let agent = query.text("agent").map(agent_name).transpose()?;
        let reason = query.text("reason").map(reason).transpose()?;
        let caller = query.text("caller").map(|text| self.caller(text)).transpose()?.unwrap_or_default();
        let most = query.text("limit").map(count).transpose()?.unwrap_or(DECISIONS);
        let found = self.app.recent.find(&Sieve { agent, reason, caller, most });
        Ok(answer(StatusCode::OK, &found.iter().map(|decided| told_decision(decided)).collect::<Vec<_>>()))
    }

    /// The last record of the audit log.
    pub(super) fn audit_head(&self) -> Result<Answer, Answer> {
        let head = self.app.audit.head();
        let head = head.ok_or_else(|| error(StatusCode::NOT_FOUND, "nothing was recorded yet"))?;
        Ok(answer(StatusCode::OK, &*head))
    }

    /// A caller by the number, or by the digest that audit records have.
    fn caller(&self, text: &str) -> Result<Vec<CallerDigest>, Answer> {
        match text.parse() {
            Ok(digest) => Ok(vec![digest]),
            Err(_) => self.digests(text),
        }
    }

    fn digests(&self, number: &str) -> Result<Vec<CallerDigest>, Answer> {
        // In a query, `+` is a blank.
        let caller = Caller::from_number(number.trim());
        let Some(number) = caller.number() else {
            return Err(error(StatusCode::BAD_REQUEST, "`caller` must be a phone number like %2B15551230001"));
        };
        Ok(self.app.policies.load().keys().callers(number).collect())
    }
}

fn agent_name(text: &str) -> Result<AgentName, Answer> {
    text.parse().map_err(|problem| error(StatusCode::BAD_REQUEST, format!("`agent`: {problem}")))
}

fn reason(text: &str) -> Result<Reason, Answer> {
    let found = Reason::ALL.iter().find(|reason| reason.as_str() == text).copied();
    found.ok_or_else(|| {
        error(StatusCode::BAD_REQUEST, format!("`reason`: `{text}` is none; policies/README.md lists them"))
    })
}

fn count(text: &str) -> Result<usize, Answer> {
    let most = 2 * EACH;
    let count = text.parse().ok().filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| error(StatusCode::BAD_REQUEST, format!("`limit` must be from 1 to {most}")))
}

fn told_limit(used: &Used) -> Value {
    let Used { cell, left, full_in } = used;
    let limit = &cell.limit;
    let of = match &cell.family {
        Family::Functions => "functions",
        Family::Function => "function",
        Family::Fetches => "fetches",
        Family::Calls => "calls",
        Family::Exposed(_) => "exposed",
    };
    let address = if let Part::Of(address) = &cell.subject.address { Some(address.to_string()) } else { None };
    json!({
        "agent": cell.agent.as_str(),
        "of": of,
        "per": limit.per.names(),
        "function": cell.subject.function.as_ref().map(|name| name.as_str()),
        "address": address,
        "allow": limit.allow,
        "every_seconds": limit.every.as_secs_f64(),
        "burst": limit.burst,
        "left": left,
        "full_in_seconds": full_in.as_secs_f64(),
    })
}

fn told_decision(decided: &Decided) -> Value {
    let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    json!({
        "time": clock::rfc3339(decided.at),
        "request_id": decided.request.to_string(),
        "agent": decided.agent.as_ref().map(AgentName::as_str),
        "route": decided.route.as_str(),
        "method": decided.method,
        "client": decided.client,
        "function": decided.function,
        "call_id": decided.call_id,
        "caller_digest": decided.caller.map(|digest| digest.to_string()),
        "decision": Decision::from(decided.reason).as_str(),
        "reason": decided.reason.as_str(),
        "status": decided.status,
        "gateway_us": micros(decided.gateway),
        "agent_us": decided.agent_time.map(micros),
    })
}
