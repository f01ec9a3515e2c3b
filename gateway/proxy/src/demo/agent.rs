//! The sample agent: it writes its documents as the Python SDK does, credentials in every URL, and checks no token.

use std::net::SocketAddr;

use async_trait::async_trait;
use http::{Response, StatusCode, header};
use pingora_core::{apps::http_app::ServeHttp, protocols::http::ServerSession};
use serde_json::{Value, json};
use swaigate_core::basic;

const USERNAME: &str = "agent";
const PASSWORD: &str = "known-to-the-agent-only";

/// How large a request may be, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// The agent, at an address.
pub(super) struct SampleAgent {
    address: SocketAddr,
}

impl SampleAgent {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Where it lives, with the credentials it asks for.
    pub(super) fn url(&self) -> String {
        format!("http://{USERNAME}:{PASSWORD}@{}/bank", self.address)
    }

    fn answer(&self, path: &str, body: &[u8]) -> (StatusCode, Value) {
        match path {
            "/bank" => (StatusCode::OK, self.document()),
            "/bank/swaig/" => (StatusCode::OK, call_function(body)),
            "/bank/post_prompt/" => (StatusCode::OK, json!({ "success": true })),
            _ => (StatusCode::NOT_FOUND, json!({ "error": "not found" })),
        }
    }

    fn document(&self) -> Value {
        let base = self.url();
        json!({ "version": "1.0.0", "sections": { "main": [{ "answer": {} }, { "ai": {
            "prompt": { "text": "You answer questions about bank accounts." },
            "post_prompt_url": format!("{base}/post_prompt/"),
            "SWAIG": {
                "defaults": { "web_hook_url": format!("{base}/swaig/") },
                "functions": [
                    { "function": "get_balance", "description": "The balance of an account", "parameters": {
                        "type": "object", "properties": { "account": { "type": "string" } }, "required": ["account"] } },
                    { "function": "transfer_funds", "description": "Transfers money", "parameters": {
                        "type": "object", "properties": { "to": { "type": "string" }, "amount": { "type": "number" } } } },
                ],
            },
        } }] } })
    }
}

#[async_trait]
impl ServeHttp for SampleAgent {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let path = session.req_header().uri.path().to_owned();
        let expected = basic::header(USERNAME, PASSWORD.as_bytes());
        let (status, body) = if session.get_header_bytes(header::AUTHORIZATION) != expected.expose() {
            (StatusCode::UNAUTHORIZED, json!({ "error": "unauthorized" }))
        } else {
            self.answer(&path, &read_body(session).await)
        };
        let body = body.to_string().into_bytes();
        let mut response = Response::new(body.clone());
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
        response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response
    }
}

async fn read_body(session: &mut ServerSession) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = session.read_request_body().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY {
            break;
        }
    }
    body
}

fn call_function(body: &[u8]) -> Value {
    let call: Value = serde_json::from_slice(body).unwrap_or_default();
    let argument = |name: &str| call["argument"]["parsed"][0][name].clone();
    let text = |name: &str| argument(name).as_str().unwrap_or_default().to_owned();
    let response = match call["function"].as_str() {
        Some("get_balance") => format!("The balance of account {} is $150.00.", text("account")),
        Some("transfer_funds") => format!("Transferred {} to {}.", argument("amount"), text("to")),
        Some(_) | None => "No such function.".to_owned(),
    };
    json!({ "response": response })
}
