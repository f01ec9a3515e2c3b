//! A document that has left for a call, with the tokens that are good in it.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use swaigate_core::{
    id::AgentName,
    policy::Agent,
    route::Target,
    time::Timestamp,
    token::{self, Binding, Claims, Kind, PARAMETER, UnverifiedToken},
    verdict::Reason,
};

use super::{Fetch, Function, Rehearsal};

/// Where the agents here take function calls, summaries and more.
const SWAIG: &str = "/swaig";
const SUMMARY: &str = "/post_prompt";
const MORE: &str = "/more";

/// A document that has left for a call.
#[derive(Debug, Clone)]
pub struct Sheet {
    pub(super) agent: AgentName,
    /// The call that it was fetched for.
    pub(super) call_id: Option<String>,
    /// What its tokens say, those of functions.
    claims: Claims,
    /// The document as it left, if it was given.
    released: Option<Value>,
}

// === impl Sheet ===

impl Sheet {
    /// The document that was fetched so at this time, whatever the state store had to say.
    ///
    /// # Errors
    /// If there is no such agent, or its policy lets not even a document without functions leave.
    pub fn of(rehearsal: &Rehearsal, fetch: &Fetch, at: Timestamp) -> anyhow::Result<Self> {
        let agent = rehearsal.agent(&fetch.agent)?;
        let request = rehearsal.fetch_request(fetch)?;
        let played = rehearsal.play_uncounted(&request, at, &smallest(agent));
        if played.reason != Reason::Ok {
            bail!("a document of `{}` is refused: {}", fetch.agent, played.reason.as_str());
        }
        let document: Value = serde_json::from_str(played.body())?;
        let url = summary_url(&document);
        let claims = claims(rehearsal, agent, url.context("the document lost its summary")?, at)?;
        Ok(Self { agent: fetch.agent.clone(), call_id: fetch.call_id.clone(), claims, released: None })
    }

    /// The same with what the agent really answered, as it left.
    pub fn with_document(self, released: &str) -> Self {
        Self { released: serde_json::from_str(released).ok(), ..self }
    }

    /// Whether the document, as it left, has this function, with whatever URL.
    pub fn publishes(&self, function: &str) -> bool {
        self.released.as_ref().is_some_and(|document| find(document, function).is_some())
    }

    /// The function's own URL; one that the document doesn't have was there before, as after a policy has changed.
    pub(super) fn target_of_function(&self, rehearsal: &Rehearsal, agent: &Agent, function: &Function<'_>) -> String {
        let own = self.released.as_ref().and_then(|document| find(document, function.name)?.as_str());
        let own = own.and_then(|url| {
            url.strip_prefix(&rehearsal.policies().origin_of(agent).origin()).or_else(|| {
                let (_, rest) = url.split_once('@')?;
                rest.find('/').map(|slash| &rest[slash..])
            })
        });
        own.map_or_else(
            || {
                let sheet =
                    Self { claims: Claims { schema: function.published.digest(), ..self.claims }, ..self.clone() };
                sheet.mint(rehearsal, agent, Kind::Tool, function.name, SWAIG)
            },
            str::to_owned,
        )
    }

    pub(super) fn target_of_summary(&self, rehearsal: &Rehearsal, agent: &Agent) -> String {
        self.mint(rehearsal, agent, Kind::Summary, "", SUMMARY)
    }

    /// One more document, also of another agent.
    pub(super) fn target_of_more(&self, rehearsal: &Rehearsal, agent: &Agent) -> String {
        self.mint(rehearsal, agent, Kind::Swml, "", MORE)
    }

    fn mint(&self, rehearsal: &Rehearsal, agent: &Agent, kind: Kind, function: &str, below: &str) -> String {
        let grace = if kind == Kind::Summary { grace(agent) } else { 0 };
        let expiry = self.claims.expiry.saturating_add(grace);
        let claims = Claims { kind, expiry, ..self.claims };
        let path = path(agent, below);
        let binding = Binding { agent: &agent.name, function, path: &path, query: None };
        let token = token::mint(rehearsal.policies().keys().newest(), &claims, &binding);
        format!("{}{below}?{PARAMETER}={token}", agent.path)
    }
}

/// Where the summary goes. The gateway may have put an `answer` before the AI.
fn summary_url(document: &Value) -> Option<&str> {
    let main = document.pointer("/sections/main")?.as_array()?;
    main.iter().find_map(|step| step.pointer("/ai/post_prompt_url")?.as_str())
}

/// What the tokens of functions say beside this URL of a summary.
fn claims(rehearsal: &Rehearsal, agent: &Agent, url: &str, at: Timestamp) -> anyhow::Result<Claims> {
    let (_, query) = url.split_once('?').context("a URL without a token")?;
    let target = format!("/?{query}");
    let target = Target::parse(&target).ok().context("a URL that can't be read")?;
    let token = UnverifiedToken::decode(target.tokens.first().context("a URL without a token")?)?;
    let path = path(agent, SUMMARY);
    let binding = Binding { agent: &agent.name, function: "", path: &path, query: None };
    let claims = *token.verify(rehearsal.policies().keys(), &binding, at)?.claims();
    Ok(Claims { kind: Kind::Tool, expiry: claims.expiry.saturating_sub(grace(agent)), ..claims })
}

fn grace(agent: &Agent) -> u32 {
    u32::try_from(agent.tokens.grace.as_secs()).unwrap_or(u32::MAX)
}

/// The agent's own path.
fn path(agent: &Agent, below: &str) -> String {
    format!("{}{below}", agent.upstream.path)
}

/// A document without functions.
fn smallest(agent: &Agent) -> String {
    let summary = format!("{}{}", agent.upstream.origin(), path(agent, SUMMARY));
    json!({ "version": "1.0.0", "sections": { "main": [{ "ai": { "post_prompt_url": summary } }] } }).to_string()
}

/// A document with these functions, each with the parameters that it publishes, for an agent whose own isn't given.
pub fn document<'f>(agent: &Agent, functions: impl IntoIterator<Item = (&'f str, Option<&'f Value>)>) -> String {
    let url = format!("{}{}", agent.upstream.origin(), path(agent, SWAIG));
    let function = |(name, parameters): (&str, Option<&Value>)| {
        let mut definition = json!({ "function": name, "web_hook_url": url });
        if let Some(parameters) = parameters {
            definition["parameters"] = parameters.clone();
        }
        definition
    };
    let functions: Vec<Value> = functions.into_iter().map(function).collect();
    let ai = json!({ "prompt": { "text": "You help." }, "SWAIG": { "functions": functions } });
    json!({ "version": "1.0.0", "sections": { "main": [{ "ai": ai }] } }).to_string()
}

/// The URL of a function, wherever the document defines it; null if it has none of its own.
fn find<'d>(document: &'d Value, function: &str) -> Option<&'d Value> {
    match document {
        Value::Object(members) => {
            if members.get("function").and_then(Value::as_str) == Some(function) {
                return Some(members.get("web_hook_url").unwrap_or(&Value::Null));
            }
            members.values().find_map(|value| find(value, function))
        }
        Value::Array(items) => items.iter().find_map(|item| find(item, function)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
