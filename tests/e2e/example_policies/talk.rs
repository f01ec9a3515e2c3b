//! A call in which something is remembered: what the caller has said, and what the agent's answers set.

use std::cell::RefCell;

use serde_json::{Map, Value, json};

use crate::harness::{
    gateway::Gateway,
    http::{Answer, Request},
    platform::{Call, Document, SIGNING_KEY, signed_with, summary},
};

/// A call under way, with the document of the agent that it is at.
pub(crate) struct Talk<'g> {
    gateway: &'g Gateway,
    pub(crate) document: Document,
    pub(crate) call: Call,
    global_data: RefCell<Map<String, Value>>,
    turns: RefCell<Vec<Value>>,
}

impl<'g> Talk<'g> {
    pub(crate) fn new(gateway: &'g Gateway, document: Document, call: Call) -> Self {
        Self { gateway, document, call, global_data: RefCell::default(), turns: RefCell::default() }
    }

    /// The same call at another agent, which begins a conversation of its own.
    pub(crate) fn goes_on_with(self, document: Document) -> Self {
        Self { document, turns: RefCell::default(), ..self }
    }

    /// The caller says something.
    pub(crate) fn turn(&self, text: &str) {
        self.turns.borrow_mut().push(json!({ "role": "user", "content": text }));
    }

    /// What the platform sends to call a function, without a signature.
    pub(crate) fn request(&self, function: &str, arguments: &Value) -> Request {
        let request = self.document.function_request(&self.call, function, arguments);
        let mut body: Value = serde_json::from_slice(&request.body).expect("it is JSON");
        body["global_data"] = Value::Object(self.global_data.borrow().clone());
        body["call_log"] = Value::Array(self.turns.borrow().clone());
        // Each request is another one: sent again, it would be a repetition.
        body["ai_session_id"] = json!(Call::new().id);
        Request { body: body.to_string().into_bytes(), ..request }
    }

    /// The model calls a function, and what the answer sets is set.
    pub(crate) fn ask(&self, function: &str, arguments: &Value) -> Answer {
        let answer = signed_with(SIGNING_KEY, self.request(function, arguments)).send();
        for action in answer.json()["action"].as_array().into_iter().flatten() {
            let set = action["set_global_data"].as_object().cloned().unwrap_or_default();
            self.global_data.borrow_mut().extend(set);
        }
        answer
    }

    /// What the model is told.
    pub(crate) fn said(&self, function: &str, arguments: &Value) -> String {
        let answer = self.ask(function, arguments);
        assert_eq!(self.reason(&answer), "ok", "{function}: {}", answer.text());
        answer.response()
    }

    pub(crate) fn reason(&self, answer: &Answer) -> String {
        self.gateway.reason_of(answer)
    }

    /// The conversation with this agent is over.
    pub(crate) fn summarize(&self) -> Answer {
        let body = summary(&self.call, 1000).to_string();
        signed_with(SIGNING_KEY, Request::post(&self.document.summary_url(), body)).send()
    }
}
