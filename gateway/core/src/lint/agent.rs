//! What is unwise in a policy.

use std::net::IpAddr;

use super::{Finding, Lint, Source};
use crate::{
    policy::{Agent, FunctionRules, Required, Unbound},
    yaml::quoted,
};

/// Words in the names of functions that move money, or that nobody can undo.
const HARMFUL: [&str; 20] = [
    "buy", "cancel", "charge", "close", "debit", "delete", "erase", "order", "password", "pay", "payment", "payout",
    "purchase", "refund", "remove", "reset", "send", "transfer", "wire", "withdraw",
];

/// Rules of which a harmful function needs one.
const GUARDS: [&str; 3] = ["limits", "confirm", "verify"];

pub(super) fn lint(source: &Source<'_>, agent: &Agent) -> Vec<Finding> {
    let mut findings = Vec::new();
    for found in [platform, upstream, rules, functions, insecure] {
        findings.extend(found(source, agent));
    }
    findings.into_iter().map(|finding| Finding { agent: Some(agent.name.clone()), ..finding }).collect()
}

fn platform(source: &Source<'_>, agent: &Agent) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |lint, path: &[&str], message: &str| findings.push(source.finding(lint, path, message));
    if agent.platform.uses_generated_password {
        let message = "no user is listed, so the password is another one after each start; list `users`";
        note(Lint::GeneratedPassword, &["platform", "users"], message);
    }
    match &agent.platform.signing {
        None => {
            let message = "whoever has the password can ask in the platform's name, for a call of their choice; list the platform's keys in `signing_keys_env`";
            note(Lint::NoSigningKeys, &["platform"], message);
        }
        Some(signing) if signing.required == Required::Nothing => {
            let message = "keys are listed, and nothing has to be signed; write `signature: swml`, or remove the key";
            note(Lint::OptionalSignature, &["platform", "signature"], message);
        }
        Some(_) => {}
    }
    if agent.tokens.unbound != Unbound::Deny {
        let message = "a document that is fetched without a call id is good for the first call that uses it; write `unbound: deny`, if the platform always says which call it is";
        note(Lint::UnboundDocuments, &["tokens", "unbound"], message);
    }
    findings
}

fn upstream(source: &Source<'_>, agent: &Agent) -> Vec<Finding> {
    let is_here =
        |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    let mut hosts = agent.upstream.servers.iter().map(|server| &server.host);
    let Some(host) = hosts.find(|host| !agent.upstream.https && !is_here(host)) else { return Vec::new() };
    let message = format!(
        "the agent at {} is asked in plain over the network, its password with it; write `https://`, or let it listen on this machine alone",
        quoted(host)
    );
    vec![source.finding(Lint::PlainUpstream, &["upstream", "url"], message)]
}

fn rules(source: &Source<'_>, agent: &Agent) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |lint, path: &[&str], message: &str| findings.push(source.finding(lint, path, message));
    if !has_limits(agent) {
        let message = "one caller may use all of the agent; write `limits: [{ per: caller, allow: 10, every: 1m }]`";
        note(Lint::NoLimits, &["limits"], message);
    }
    if !source.outline.has(&["sensitive"]) {
        let message = "values of arguments are written to the audit log, but for `password`, `ssn`, `credit_card` and `pin`; list others in `sensitive`, like `[to_account]`";
        note(Lint::NothingSensitive, &["sensitive"], message);
    }
    if agent.prompt.append.is_empty() {
        let message = "the agent's prompts are what the agent says; write `prompt: { append: [security_boundaries, confirmation] }`";
        note(Lint::NoPromptAppend, &["prompt", "append"], message);
    }
    if agent.detect.is_empty() {
        let message = "nothing unusual is told; list rules in `detect`, like `{ name: calls, on: calls, per: caller, more_than: 20, every: 1h }`";
        note(Lint::NoDetection, &["detect"], message);
    }
    for leaf in source.outline.leaves() {
        let key = leaf.path.iter().rev().find(|step| step.parse::<usize>().is_err()).map(String::as_str);
        if (key == Some("mode") && leaf.text == "shadow") || key == Some("shadow") {
            let path: Vec<&str> = leaf.path.iter().map(String::as_str).collect();
            note(
                Lint::InShadow,
                &path,
                "what is in shadow is recorded, and refuses nothing; enforce it when the records look right",
            );
        }
    }
    findings
}

/// Whether anything bounds what a caller may do.
pub(super) fn has_limits(agent: &Agent) -> bool {
    !agent.limits.is_empty() || !agent.functions.default_rules().limits.is_empty()
}

fn functions(source: &Source<'_>, agent: &Agent) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.outline.has(&["functions", "default"]) {
        let message = "functions that the policy doesn't name pass without rules; write `functions: { default: { publish: false } }` and name those that callers need";
        findings.push(source.finding(Lint::NoFunctionDefault, &["functions"], message));
    }
    for (name, _) in unguarded(agent) {
        let message = format!(
            "{} can do harm, and nothing stands before it; give it `limits`, `confirm` or `verify`",
            quoted(name)
        );
        findings.push(source.finding(Lint::UnguardedFunction, &["functions", name], message));
    }
    findings
}

/// The functions that can do harm and have no rule that slows anyone down.
pub(super) fn unguarded(agent: &Agent) -> Vec<(&str, &FunctionRules)> {
    harmful(agent).into_iter().filter(|(_, rules)| !has_one_of(rules, &GUARDS)).collect()
}

/// The functions of a policy that can do harm, by their names or by what is sensitive of them, in alphabetical order.
pub(super) fn harmful(agent: &Agent) -> Vec<(&str, &FunctionRules)> {
    let named = agent.functions.names().map(|name| (name.as_str(), agent.functions.rules(name.as_str()).as_ref()));
    let can_harm =
        |name: &str, rules: &FunctionRules| rules.publish && (is_harmful(name) || has_one_of(rules, &["sensitive"]));
    let mut harmful: Vec<_> = named.filter(|(name, rules)| can_harm(name, rules)).collect();
    harmful.sort_by_key(|(name, _)| *name);
    harmful
}

/// Whether one of these keys is given, and not as an empty list.
pub(super) fn has_one_of(rules: &FunctionRules, keys: &[&str]) -> bool {
    let is_empty = |value: &serde_json::Value| value.as_array().is_some_and(Vec::is_empty);
    rules.given.iter().any(|given| keys.contains(&given.key) && !is_empty(&given.value))
}

/// Whether a function's name holds a word for what does harm: `transferFunds`, `pay_bill`.
pub(super) fn is_harmful(name: &str) -> bool {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || c.is_ascii_uppercase() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    words.iter().any(|word| HARMFUL.contains(&word.as_str()))
}

fn insecure(source: &Source<'_>, _: &Agent) -> Vec<Finding> {
    insecure_keys(source)
}

/// Every key that begins with `insecure_` and is `true`.
pub(super) fn insecure_keys(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for leaf in source.outline.leaves() {
        let Some(key) = leaf.path.last().filter(|key| key.starts_with("insecure_") && leaf.text == "true") else {
            continue;
        };
        let path: Vec<&str> = leaf.path.iter().map(String::as_str).collect();
        let message = format!("{} gives a protection up; remove it, if you can do without", quoted(key));
        findings.push(source.finding(Lint::Insecure, &path, message));
    }
    findings
}
