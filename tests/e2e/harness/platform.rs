//! The stand-in for the platform: it signs, follows the URLs it finds in documents, and uses the credentials in them
//! (PROTOCOL.md, sections 4 to 7).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;

use super::{
    gateway::{GATEWAY_PASSWORD, GATEWAY_USER},
    http::{Answer, Request, without_userinfo},
    serial,
};

pub(crate) const SIGNING_KEY: &str = "PSKtest1234567890abcdef";

/// How often the platform repeats a request that ended in a 5xx (PROTOCOL.md, 4.5).
const REPEATS: usize = 3;

/// Whoever fetches documents from one agent at one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Platform {
    /// The agent's URL at the gateway, without credentials.
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

/// A call under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) from: String,
    /// `phone`, `sip` or `webrtc`.
    pub(crate) leg: &'static str,
}

/// A document, as the platform reads it.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) json: Value,
}

// === impl Platform ===

impl Platform {
    /// With the password that the tests' policies name.
    pub(crate) fn at(url: String) -> Self {
        Self { url, user: GATEWAY_USER.to_owned(), password: GATEWAY_PASSWORD.to_owned() }
    }

    pub(crate) fn with_user(&self, user: &str, password: &str) -> Self {
        Self { url: self.url.clone(), user: user.to_owned(), password: password.to_owned() }
    }

    /// Fetches the document for a call.
    pub(crate) fn fetch(&self, call: &Call) -> Document {
        self.fetch_with("", call)
    }

    /// The same with a query behind the agent's URL.
    pub(crate) fn fetch_with(&self, query: &str, call: &Call) -> Document {
        let answer = self.fetch_request(query, call).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        Document::new(answer.text())
    }

    /// Fetches by GET, which says nothing of the call.
    pub(crate) fn fetch_by_get(&self, query: &str) -> Document {
        let answer = Request::get(&format!("{}{query}", self.url)).with_user(&self.user, &self.password).send();
        Document::new(answer.text())
    }

    pub(crate) fn fetch_request(&self, query: &str, call: &Call) -> Request {
        let url = format!("{}{query}", self.url);
        let body = call.to_string();
        signed(Request::post(&url, body)).with_user(&self.user, &self.password)
    }

    /// Calls a function, again if the answer is a 5xx, and tells how often it asked.
    pub(crate) fn call_function(document: &Document, call: &Call, name: &str, arguments: &Value) -> Answer {
        repeated(&document.function_request(call, name, arguments))
    }

    /// Sends the call's summary, which may be megabytes.
    pub(crate) fn summarize(document: &Document, call: &Call, bytes: usize) -> Answer {
        repeated(&Request::post(&document.summary_url(), summary(call, bytes).to_string()))
    }

    /// Sends a debug event.
    pub(crate) fn debug(document: &Document, call: &Call) -> Answer {
        let event = json!({
            "call_info": { "call_id": call.id, "content_type": "text/json", "conversation_type": "voice" },
            "label": "barge", "action": "barge", "barge": { "words": 3 },
        });
        Request::post(&document.debug_url(), event.to_string()).send()
    }
}

fn repeated(request: &Request) -> Answer {
    let mut answer = request.send();
    for _ in 0..REPEATS {
        if answer.status < 500 {
            break;
        }
        answer = request.send();
    }
    answer
}

/// The platform signs over the URL without userinfo, followed by the body (PROTOCOL.md, 7).
fn signed(request: Request) -> Request {
    signed_with(SIGNING_KEY, request)
}

/// The same by another key.
pub(crate) fn signed_with(key: &str, request: Request) -> Request {
    let (url, _) = without_userinfo(&request.url);
    let mut sha1 = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("any length will do");
    let mut sha256 = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length will do");
    for part in [url.as_bytes(), &request.body] {
        sha1.update(part);
        sha256.update(part);
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (sha1, sha256) = (hex(&sha1.finalize().into_bytes()), hex(&sha256.finalize().into_bytes()));
    request.header("X-SignalWire-Signature", &sha1).header("X-SignalWire-SHA256-Signature", &sha256)
}

/// The body of a function call (PROTOCOL.md, 4.1). No two are equal: sent again, a request is a repetition.
pub(crate) fn function_call(call: &Call, function: &str, arguments: &Value) -> Value {
    json!({
        "function": function,
        "argument": { "parsed": [arguments], "raw": arguments.to_string(), "substituted": "" },
        "argument_desc": { "type": "object", "properties": {} },
        "description": "what the function does",
        "call_id": call.id,
        "ai_session_id": "session-of-the-model",
        "app_name": "swml app",
        "caller_id_name": "Caller",
        "caller_id_num": call.from,
        "channel_active": true, "channel_offhook": true, "channel_ready": true,
        "content_type": "text/swaig", "content_disposition": "SWAIG Function",
        "version": "2.0", "conversation_type": "voice",
        "project_id": "project", "space_id": "space",
        "global_data": { "bank": "Example Bank", "turn": serial() },
    })
}

/// The body of a summary of about this many bytes (PROTOCOL.md, 6).
pub(crate) fn summary(call: &Call, bytes: usize) -> Value {
    let words = "and then the caller said that the balance was not what it should be; ".repeat(14);
    let entry = json!({ "role": "user", "content": words });
    let entries = vec![entry; bytes.div_ceil(1000)];
    json!({
        "content_type": "text/json", "content_disposition": "agent.summary", "action": "post_conversation",
        "conversation_type": "voice", "call_id": call.id, "ai_session_id": "session-of-the-model",
        "post_prompt_data": { "raw": "The caller asked for a balance.", "parsed": [{ "topic": "balance" }] },
        "call_log": entries,
    })
}

// === impl Call ===

impl Call {
    /// By a caller who has not called before.
    pub(crate) fn new() -> Self {
        let number = serial();
        Self { id: format!("call-{}-{number}", std::process::id()), from: format!("+1555{number:07}"), leg: "phone" }
    }

    /// One more, by the same caller.
    pub(crate) fn again(&self) -> Self {
        Self { from: self.from.clone(), ..Self::new() }
    }

    /// By someone who withholds the number.
    pub(crate) fn withheld() -> Self {
        Self { from: "anonymous".to_owned(), ..Self::new() }
    }

    /// By someone who calls over SIP.
    pub(crate) fn by_sip() -> Self {
        Self { from: "sip:someone@pbx.example.com".to_owned(), leg: "sip", ..Self::new() }
    }
}

impl fmt::Display for Call {
    /// The body of the document's fetch (PROTOCOL.md, 5).
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, from, leg } = self;
        let call = json!({
            "call": {
                "call_id": id, "node_id": "node-1", "segment_id": format!("{id}.1"), "call_state": "created",
                "direction": "inbound", "type": leg, "from": from, "to": "+15559990001",
                "from_number": from, "to_number": "+15559990001",
                "headers": [{ "name": "X-Customer", "value": "12" }],
                "project_id": "project", "space_id": "space",
            },
            "vars": { "userVariables": { "theme": "dark" } }, "envs": {}, "params": {},
        });
        write!(out, "{call}")
    }
}

// === impl Document ===

impl Document {
    pub(crate) fn new(text: &str) -> Self {
        let json = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Self { text: text.to_owned(), json }
    }

    /// The `ai` verb.
    pub(crate) fn ai(&self) -> &Value {
        let main = self.json["sections"]["main"].as_array().unwrap_or_else(|| panic!("no document: {}", self.text));
        let ai = main.iter().find_map(|verb| verb.get("ai"));
        ai.unwrap_or_else(|| panic!("no ai verb: {}", self.text))
    }

    pub(crate) fn functions(&self) -> &[Value] {
        self.ai()["SWAIG"]["functions"].as_array().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn function(&self, name: &str) -> &Value {
        let found = self.functions().iter().find(|function| function["function"] == name);
        found.unwrap_or_else(|| panic!("no function {name}: {}", self.text))
    }

    /// The URL of a function, with the credentials in it.
    pub(crate) fn function_url(&self, name: &str) -> String {
        let url =
            self.function(name)["web_hook_url"].as_str().or(self.ai()["SWAIG"]["defaults"]["web_hook_url"].as_str());
        url.unwrap_or_else(|| panic!("{name} has no URL: {}", self.text)).to_owned()
    }

    pub(crate) fn summary_url(&self) -> String {
        self.ai()["post_prompt_url"].as_str().unwrap_or_else(|| panic!("no summary: {}", self.text)).to_owned()
    }

    pub(crate) fn debug_url(&self) -> String {
        self.ai()["params"]["debug_webhook_url"]
            .as_str()
            .unwrap_or_else(|| panic!("no debug: {}", self.text))
            .to_owned()
    }

    /// What the platform sends to call a function. It knows the function's `meta_data_token` from the document.
    pub(crate) fn function_request(&self, call: &Call, name: &str, arguments: &Value) -> Request {
        let mut body = function_call(call, name, arguments);
        if let Some(token) = self.function(name).get("meta_data_token") {
            body["meta_data_token"] = token.clone();
            body["meta_data"] = json!({});
        }
        Request::post(&self.function_url(name), body.to_string())
    }
}
