//! Step four: the agent has answered. What leaves holds none of its URLs and none of its credentials.

use std::borrow::Cow;

use super::{
    Denial, Lesson, Permit,
    conclude::Sought,
    redirect,
    rewrite::{Lineage, Minter},
    spoken,
};
use crate::{
    json::{self, JsonError},
    policy::Policies,
    record::Facts,
    swml,
    verdict::{Reason, Reply, Route},
};

/// What an agent answered.
#[derive(Debug, Clone, Copy)]
pub struct AgentAnswer<'a> {
    /// The status.
    pub status: u16,
    /// The `Content-Type`, if it is text.
    pub content_type: Option<&'a str>,
    /// The `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// The `Location`, if it is text.
    pub location: Option<&'a str>,
    /// The whole body.
    pub body: &'a [u8],
}

/// An agent's answer, fit to leave.
#[derive(Debug)]
pub struct Released {
    /// What is answered.
    pub reply: Reply,
    /// What the answer taught. The state store learns it before the answer leaves.
    pub lessons: Vec<Lesson>,
}

/// Makes an agent's answer fit to leave.
///
/// # Errors
/// A [`Denial`] if the gateway can't vouch for it.
pub fn release(
    permit: &Permit,
    policies: &Policies,
    answer: &AgentAnswer<'_>,
    facts: &mut Facts,
) -> Result<Released, Denial> {
    let reply = released(permit, policies, answer, facts).map_err(|reason| permit.deny(reason))?;
    Ok(Released { reply, lessons: lessons(permit, answer.body, facts) })
}

/// What a function's answer, as the agent gave it, says to functions that require it.
fn lessons(permit: &Permit, answer: &[u8], facts: &mut Facts) -> Vec<Lesson> {
    if permit.sought.is_empty() {
        return Vec::new();
    }
    let Ok(root) = json::parse(answer) else { return Vec::new() };
    let mut lessons = Vec::new();
    for Sought { requirement, lesson } in &permit.sought {
        let is_met = requirement.is_met_by(&root);
        facts.inputs.met.push((requirement.told(), is_met));
        lessons.extend(is_met.then_some(*lesson));
    }
    facts.has_met = Some(!lessons.is_empty());
    lessons
}

fn released(
    permit: &Permit,
    policies: &Policies,
    answer: &AgentAnswer<'_>,
    facts: &mut Facts,
) -> Result<Reply, Reason> {
    if permit.route == Route::Health {
        let word = if (200..300).contains(&answer.status) { (200, "ok") } else { (503, "unavailable") };
        return Ok(Reply::json(word.0, format!(r#"{{"status":"{}"}}"#, word.1)));
    }
    if answer.status == 401 {
        return Err(Reason::AgentUnauthorized);
    }
    if answer.content_encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        facts.detail = answer.content_encoding.map(str::to_owned);
        return Err(Reason::AgentEncoded);
    }
    match permit.route {
        Route::Swml if redirect::is_redirect(answer.status) => redirect::of_answer(permit, policies, answer, facts),
        Route::Swml => {
            require(answer.status == 200, answer, facts)?;
            document(permit, policies, answer.body, facts)
        }
        Route::Swaig | Route::Includes => {
            require((200..300).contains(&answer.status), answer, facts)?;
            document(permit, policies, answer.body, facts)
        }
        Route::Summary | Route::Debug | Route::Callback => {
            let is_redirect = (300..400).contains(&answer.status);
            require((200..500).contains(&answer.status) && !is_redirect, answer, facts)?;
            callback_reply(permit, policies, answer, facts)
        }
        Route::Exposed => verbatim(policies, answer),
        // Their answers pass as they come, or not at all.
        Route::Asset | Route::Open => Err(Reason::Internal),
        Route::Health | Route::Unknown => Err(Reason::Internal),
    }
}

fn require(holds: bool, answer: &AgentAnswer<'_>, facts: &mut Facts) -> Result<(), Reason> {
    if holds {
        return Ok(());
    }
    facts.detail = Some(format!("status {}", answer.status));
    Err(Reason::AgentStatus)
}

/// A document, an answer or definitions: rewritten. An empty answer stands for `{}`, but an empty document for none. A
/// document may be YAML; it leaves as JSON.
fn document(permit: &Permit, policies: &Policies, body: &[u8], facts: &mut Facts) -> Result<Reply, Reason> {
    let is_document = permit.route == Route::Swml;
    let body = if body.is_empty() && !is_document { b"{}" } else { body };
    let text = read(body, is_document, facts)?;
    let root = json::parse(text.as_bytes()).map_err(|error| not_json(&error, facts))?;
    let is_list = permit.route == Route::Includes && !root.items().is_empty();
    if !root.is_object() && !is_list {
        facts.detail = Some("not an object".to_owned());
        return Err(Reason::AgentNotJson);
    }
    if let Some(route) = redirect::route_of(&root).filter(|_| is_document) {
        return redirect::to_route(permit, policies, route, facts);
    }
    if permit.route == Route::Swaig {
        facts.result = result_of(&root);
        if let Some((text, count)) = spoken::redacted(&permit.agent.responses.redact, &text, &root) {
            facts.redacted = count;
            let root = json::parse(text.as_bytes()).map_err(|_| Reason::Internal)?;
            return leaving(permit, policies, &text, &root, facts);
        }
    }
    leaving(permit, policies, &text, &root, facts)
}

fn leaving(
    permit: &Permit,
    policies: &Policies,
    text: &str,
    root: &json::Node<'_>,
    facts: &mut Facts,
) -> Result<Reply, Reason> {
    let lineage = permit.lineage.ok_or(Reason::Internal)?;
    rewritten(permit, policies, lineage, text.as_bytes(), root, facts).map(|body| Reply::json(200, body))
}

/// Of what an answer consists: `response`, and the names of its actions (PROTOCOL.md, 3.4 and 4.4).
fn result_of(answer: &json::Node<'_>) -> Vec<String> {
    let action = answer.get("action");
    let listed = action.map(json::Node::items).unwrap_or_default();
    let actions = action.into_iter().chain(listed).flat_map(json::Node::members);
    let response = answer.get("response").map(|_| "response").into_iter();
    let names = response.chain(actions.map(|member| member.key.as_ref()).filter(|name| ACTIONS.contains(name)));
    let mut result: Vec<String> = Vec::new();
    for name in names {
        if !result.iter().any(|known| known == name) {
            result.push(name.to_owned());
        }
    }
    result
}

/// The actions that the platform knows.
const ACTIONS: [&str; 27] = [
    "SWML",
    "say",
    "stop",
    "hangup",
    "hold",
    "transfer",
    "change_context",
    "change_step",
    "context_switch",
    "toggle_functions",
    "set_global_data",
    "unset_global_data",
    "set_meta_data",
    "unset_meta_data",
    "user_input",
    "user_event",
    "wait_for_user",
    "playback_bg",
    "stop_playback_bg",
    "add_dynamic_hints",
    "clear_dynamic_hints",
    "end_of_speech_timeout",
    "speech_event_timeout",
    "functions_on_speaker_timeout",
    "back_to_back_functions",
    "replace_in_history",
    "settings",
];

/// What is to be read as JSON.
fn read<'b>(body: &'b [u8], is_document: bool, facts: &mut Facts) -> Result<Cow<'b, str>, Reason> {
    let text = std::str::from_utf8(body).map_err(|_| not_json(&JsonError::NotUtf8, facts))?;
    if is_document { swml::as_json(text).map_err(|error| not_json(&error, facts)) } else { Ok(Cow::Borrowed(text)) }
}

fn not_json(error: &impl ToString, facts: &mut Facts) -> Reason {
    facts.detail = Some(error.to_string());
    Reason::AgentNotJson
}

pub(super) fn rewritten(
    permit: &Permit,
    policies: &Policies,
    lineage: Lineage,
    body: &[u8],
    root: &json::Node<'_>,
    facts: &mut Facts,
) -> Result<Vec<u8>, Reason> {
    let mut minter = Minter::new(policies, permit, lineage, facts).ok_or(Reason::TokenKeyUnknown)?;
    let text = std::str::from_utf8(body).map_err(|_| Reason::AgentNotJson)?;
    let rewritten = minter.rewrite(text, root)?;
    let unmediated = minter.into_unmediated();
    facts.unmediated = unmediated;
    let out = rewritten.unwrap_or_else(|| text.to_owned());
    if policies.leak(&out) { Err(Reason::CredentialInDocument) } else { Ok(out.into_bytes()) }
}

/// The answer to a callback is advisory. An error's words may tell how the agent is built, so they stay inside.
fn callback_reply(
    permit: &Permit,
    policies: &Policies,
    answer: &AgentAnswer<'_>,
    facts: &mut Facts,
) -> Result<Reply, Reason> {
    if answer.status >= 400 {
        return Ok(Reply::json(answer.status, r#"{"error":"refused by the agent"}"#));
    }
    match json::parse(answer.body) {
        Ok(root) => {
            let lineage = permit.lineage.ok_or(Reason::Internal)?;
            let body = rewritten(permit, policies, lineage, answer.body, &root, facts)?;
            Ok(Reply::json(answer.status, body))
        }
        Err(_) => Ok(Reply::json(answer.status, "{}")),
    }
}

fn verbatim(policies: &Policies, answer: &AgentAnswer<'_>) -> Result<Reply, Reason> {
    if policies.leak(&String::from_utf8_lossy(answer.body)) {
        return Err(Reason::CredentialInDocument);
    }
    let mut reply = Reply::json(answer.status, answer.body);
    reply.content_type = answer.content_type.unwrap_or("application/octet-stream").to_owned();
    reply.challenge = false;
    Ok(reply)
}
