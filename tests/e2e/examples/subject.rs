//! One agent: its documents, its functions, its summary and its events, asked for both ways.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Report,
    compare::{Findings, Pair},
    document::{Function, arguments, find, form, functions, urls},
    table::{Broken, Served, Tool},
};
use crate::harness::{
    agent::{Agent, PASSWORD, USER},
    gateway::{GATEWAY_PASSWORD, GATEWAY_USER, Gateway},
    http::{Answer, Request},
    platform::{Call, function_call, summary},
    serial,
};

/// An agent, its gateway, and what is expected of the two.
struct Subject<'a> {
    title: String,
    agent: &'a Agent,
    gateway: &'a Gateway,
    served: &'a Served,
    /// Of the agent's own addresses, each with its scheme.
    addresses: Vec<String>,
    /// The call that goes to the agent, and the one that goes through the gateway.
    calls: [Call; 2],
    report: &'a mut Report,
}

/// Asks one agent everything.
pub(super) fn check(title: &str, agent: &Agent, gateway: &Gateway, served: &Served, report: &mut Report) {
    let port = agent.address.port();
    let mut addresses = vec![format!("http://{}", agent.address), format!("http://localhost:{port}")];
    addresses.extend(served.aliases.split(',').map(|alias| alias.trim().to_owned()).filter(|alias| !alias.is_empty()));
    for document in &served.documents {
        let direct = Call::new();
        let calls = [direct.clone(), direct.again()];
        let title = format!("{title}{document}");
        let addresses = addresses.clone();
        let mut subject = Subject { title, agent, gateway, served, addresses, calls, report };
        subject.document(document);
    }
}

/// What is at this URL for a call. A path without a slash at its end may lead to the one with it.
fn fetch(url: &str, call: &Call, (user, password): (&str, &str)) -> Answer {
    let answer = Request::post(url, call.to_string()).with_user(user, password).send();
    match answer.header("location") {
        Some(location) if answer.status == 307 => {
            let next = Request::post(location, call.to_string());
            let has_credentials = next.headers.iter().any(|(name, _)| name == "Authorization");
            if has_credentials { next } else { next.with_user(user, password) }.send()
        }
        _ => answer,
    }
}

// === impl Subject ===

impl Subject<'_> {
    fn problem(&mut self, problem: &str) {
        self.report.problems.push(format!("{}: {problem}", self.title));
    }

    fn document(&mut self, document: &str) {
        let target = format!("{}{document}", self.served.path).replacen("//", "/", 1);
        let [direct, call] = &self.calls;
        let own = fetch(&format!("{}{target}", self.agent.origin()), direct, (USER, PASSWORD));
        let answer = fetch(&format!("{}{target}", self.gateway.origin()), call, (GATEWAY_USER, GATEWAY_PASSWORD));
        if let Some(broken) = &self.served.broken {
            return self.broken(broken, &own, &answer);
        }
        if (own.status, answer.status) != (200, 200) || answer.last_words().is_some() && own.last_words().is_none() {
            let reason = self.gateway.reason_of(&answer);
            return self.problem(&format!("{} became {} ({reason}):\n{}", own.status, answer.status, own.text()));
        }
        let (own, gateway) = (own.json(), answer.json());
        let kinds = self.compare("", &own, &gateway).rewritten;
        self.leaks(answer.text());
        self.explained(&answer, &gateway);
        let called = self.functions(&own, &gateway);
        let events = self.events(&own, &gateway);
        let (bytes, bypass) = (answer.body.len(), &self.served.not_mediated);
        self.line(&format!(
            "{bytes} bytes; rewritten: {kinds:?}; not mediated: {bypass:?}; called: {called:?}; sent: {events:?}"
        ));
    }

    fn line(&mut self, line: &str) {
        self.report.lines.push(format!("{}: {line}", self.title));
    }

    /// Who calls is told something all the same.
    fn broken(&mut self, broken: &Broken, own: &Answer, answer: &Answer) {
        let reason = self.gateway.reason_of(answer);
        let found = (own.status, reason.as_str(), answer.last_words().is_some());
        if found != (broken.status, broken.reason.as_str(), true) {
            self.problem(&format!("{found:?}, where {broken:?} was expected"));
        }
        self.line(&format!("the caller is told that it is unavailable: {}", broken.why));
    }

    fn compare(&mut self, what: &str, own: &Value, gateway: &Value) -> Findings {
        let [direct, call] = &self.calls;
        let origin = self.gateway.origin();
        let calls = [direct.id.as_str(), call.id.as_str()];
        let bypass = self.served.not_mediated.iter().filter(|(_, how)| *how == "no_token");
        let no_token: Vec<_> = bypass.map(|(what, _)| what.as_str()).collect();
        let findings =
            Pair { agent: &self.addresses, gateway: &origin, calls, no_token: &no_token }.compare(own, gateway);
        let differences = findings.differences.iter().map(|difference| format!("{}: {what}{difference}", self.title));
        self.report.problems.extend(differences);
        findings
    }

    /// Nobody learns where the agent is, or what opens it.
    fn leaks(&mut self, text: &str) {
        let port = format!(":{}", self.agent.address.port());
        for secret in [PASSWORD, USER, GATEWAY_PASSWORD, &port] {
            if text.contains(secret) {
                self.problem(&format!("{secret} leaves in {text}"));
            }
        }
    }

    /// Each URL of the document leads to the gateway, or the table and the audit record say that it doesn't.
    fn explained(&mut self, answer: &Answer, gateway: &Value) {
        let record = self.gateway.record_of(answer);
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let named = record["not_mediated"].as_array().into_iter().flatten();
        let named: BTreeMap<_, _> = named.map(|entry| (text(entry, "what"), text(entry, "how"))).collect();
        let expected = &self.served.not_mediated;
        if named != *expected {
            self.problem(&format!("not mediated: {named:?}, expected {expected:?}"));
        }
        let mut found = Vec::new();
        urls(gateway, &[], &mut found);
        let origin = self.gateway.listen().to_string();
        for (around, url) in found {
            let is_named = named.keys().any(|what| around.contains(&what.as_str()));
            let is_listed = self.served.foreign.iter().any(|key| around.last() == Some(&key.as_str()));
            if !url.contains(&origin) && !is_named && !is_listed {
                self.problem(&format!("{around:?}: {url} is not explained"));
            }
        }
    }

    /// Calls each function at both of its URLs, and tells which.
    fn functions(&mut self, own: &Value, gateway: &Value) -> Vec<String> {
        let (ours, theirs) = (functions(own), functions(gateway));
        let global_data = find(own, "global_data").cloned().unwrap_or_else(|| json!({}));
        let served = self.served;
        if let Some(name) = served.tools.keys().find(|name| ours.iter().all(|own| own.name != **name)) {
            self.problem(&format!("the table speaks of {name}, which is no function"));
        }
        let mut called = Vec::new();
        for (own, gateway) in ours.iter().zip(&theirs) {
            let rule = served.tools.get(&own.name).unwrap_or(&Tool::EMPTY);
            match &own.url {
                Some(url) if url.contains(&format!(":{}/", self.agent.address.port())) => {
                    called.push(self.function(own, gateway, rule, &global_data));
                }
                Some(_) | None if served.not_mediated.contains_key(&own.name) => {}
                Some(_) | None => self.problem(&format!("{} is not called", own.name)),
            }
        }
        called
    }

    fn function(&mut self, own: &Function, gateway: &Function, rule: &Tool, global_data: &Value) -> String {
        let arguments = rule.arguments.clone().unwrap_or_else(|| arguments(&own.definition));
        let serial = serial();
        let ask = |call: &Call, function: &Function| {
            let mut body = function_call(call, &function.name, &arguments);
            (body["global_data"], body["meta_data"]) = (global_data.clone(), json!({}));
            body["global_data"]["serial"] = json!(serial);
            if let Some(token) = function.definition.get("meta_data_token") {
                body["meta_data_token"] = token.clone();
            }
            Request::post(function.url.as_deref().unwrap_or_default(), body.to_string()).send()
        };
        let (direct, answer) = (ask(&self.calls[0], own), ask(&self.calls[1], gateway));
        if rule.refused.is_none() {
            self.same(&own.name, &direct, &answer, rule.varies.is_some());
        } else if direct.status == 200 || answer.status == 200 {
            self.problem(&format!("{}: {} and {}", own.name, direct.status, answer.status));
        }
        let asks = rule.asks.as_ref().filter(|host| !self.agent.printed().contains(&format!("looks up {host}")));
        if let Some(host) = asks {
            self.problem(&format!("{} doesn't ask {host}", own.name));
        }
        format!("{}{rule}", own.name)
    }

    fn same(&mut self, what: &str, own: &Answer, gateway: &Answer, only_in_form: bool) {
        if (own.status, gateway.status) != (200, 200) {
            let reason = self.gateway.reason_of(gateway);
            let texts = (own.text(), gateway.text());
            return self.problem(&format!("{what}: {} became {} ({reason}): {texts:?}", own.status, gateway.status));
        }
        self.leaks(gateway.text());
        let (own, gateway) = (own.json(), gateway.json());
        match only_in_form {
            true if form(&own) == form(&gateway) => {}
            true => self.problem(&format!("{what}: {own} became {gateway}")),
            false => {
                self.compare(what, &own, &gateway);
            }
        }
    }

    /// Sends a debug event and a summary where the document wants them, and tells which.
    fn events(&mut self, own: &Value, gateway: &Value) -> Vec<&'static str> {
        let event = |call: &Call| json!({ "call_info": { "call_id": call.id }, "label": "barge", "serial": serial() });
        // The summary last: it ends the call.
        let sent = [
            self.event("debug_webhook_url", (own, gateway), &event),
            self.event("post_prompt_url", (own, gateway), &|call| summary(call, 100)),
        ];
        sent.into_iter().flatten().collect()
    }

    fn event(
        &mut self,
        key: &'static str,
        (own, gateway): (&Value, &Value),
        body: &dyn Fn(&Call) -> Value,
    ) -> Option<&'static str> {
        let (own, gateway) = (find(own, key)?.as_str()?, find(gateway, key)?.as_str()?);
        if !gateway.contains("gw_token=") {
            return None;
        }
        let post = |url: &str, call: &Call| Request::post(url, body(call).to_string()).send();
        let answers = [post(own, &self.calls[0]), post(gateway, &self.calls[1])];
        self.same(key, &answers[0], &answers[1], false);
        Some(key)
    }
}
