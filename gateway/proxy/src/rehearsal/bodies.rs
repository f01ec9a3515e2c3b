//! What the platform sends (gateway/PROTOCOL.md, 4 to 6), and what a caller hears of an answer.

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use swaigate_core::record::Medium;

use super::{Fetch, Published, Without};

/// A function call, as the model makes it.
#[derive(Debug, Clone, Default)]
pub struct Function<'f> {
    /// The function.
    pub name: &'f str,
    /// Its arguments as JSON; none, if there are none.
    pub arguments: Option<&'f str>,
    /// The caller's number, if the platform tells it.
    pub caller: Option<&'f str>,
    /// The call's data.
    pub global_data: Map<String, Value>,
    /// The function's data.
    pub meta_data: Map<String, Value>,
    /// What was said so far, if the platform tells it.
    pub turns: Option<&'f [Turn]>,
    /// From which address it comes.
    pub client: Option<IpAddr>,
    /// The call, if the document was fetched for none.
    pub call_id: Option<&'f str>,
    /// The schema that the agent published for it, where the document doesn't tell.
    pub published: Published,
    /// Which rules are left out.
    pub without: Without,
}

/// Something that was said in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// By the caller.
    Caller(String),
    /// By the model.
    Model(String),
}

// === impl Function ===

impl Function<'_> {
    pub(super) fn body(&self, of_document: Option<&str>) -> String {
        let mut body = json!({ "function": self.name, "global_data": self.global_data, "meta_data": self.meta_data });
        if let Some(raw) = self.arguments {
            body["argument"] = json!({ "raw": raw });
            // The platform tells them apart if they are JSON.
            if let Ok(parsed) = serde_json::from_str::<Value>(raw) {
                body["argument"]["parsed"] = json!([parsed]);
            }
        }
        if let Some(id) = of_document.or(self.call_id) {
            body["call_id"] = id.into();
        }
        if let Some(caller) = self.caller {
            body["caller_id_num"] = caller.into();
        }
        if let Some(turns) = self.turns {
            body["call_log"] = turns.iter().map(Turn::logged).collect();
        }
        body.to_string()
    }
}

impl Turn {
    fn logged(&self) -> Value {
        match self {
            Turn::Caller(text) => json!({ "role": "user", "content": text }),
            Turn::Model(text) => json!({ "role": "assistant", "content": text }),
        }
    }
}

/// The body with which a document is fetched.
pub(super) fn fetch(fetch: &Fetch) -> String {
    let Fetch { call_id, caller, called, medium, .. } = fetch;
    let remote = caller.as_deref().unwrap_or("anonymous");
    let mut leg = json!({ "direction": "inbound", "from": remote, "to": called });
    let mut body = json!({});
    match medium {
        Medium::Voice => {
            leg["type"] = "phone".into();
            leg["call_id"] = json!(call_id);
            // Another leg names the call that it is of.
            let whole = fetch.within.as_ref().and_then(|sheet| sheet.call_id.as_deref());
            if let Some(whole) = whole.filter(|whole| call_id.as_deref() != Some(whole)) {
                leg["parent"] = json!({ "call_id": whole });
            }
            body["call"] = leg;
        }
        Medium::Messaging => {
            leg["type"] = "sms".into();
            leg["message_id"] = json!(call_id);
            body["message"] = leg;
        }
        Medium::Chat => {
            leg["call_id"] = json!(call_id);
            body["call"] = leg;
            body["conversation_type"] = "chat".into();
        }
    }
    body.to_string()
}

/// The summary that ends a call.
pub(super) fn summary(call_id: Option<&str>) -> String {
    json!({ "action": "post_conversation", "call_id": call_id }).to_string()
}

/// What is heard of an answer: a function's `response`, or what a last document says.
pub(super) fn said(body: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(body).ok()?;
    let response = answer.get("response").and_then(Value::as_str);
    let main = || answer.pointer("/sections/main").and_then(Value::as_array);
    let in_document = || {
        main()?.iter().find_map(|step| {
            let played = step.pointer("/play/url").and_then(|url| url.as_str()?.strip_prefix("say:"));
            let written = || step.pointer("/reply/body").and_then(Value::as_str);
            let prompted = || step.pointer("/ai/prompt/text").and_then(Value::as_str);
            played.or_else(written).or_else(prompted)
        })
    };
    response.or_else(in_document).map(str::to_owned)
}
