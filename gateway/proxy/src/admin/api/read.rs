//! What a request says: its body and its query, both bounded.

use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use pingora_core::protocols::http::ServerSession;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use url::form_urlencoded;

use super::{Answer, error};

/// How long a body may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A query, each key at most once.
pub(super) struct Query(Vec<(&'static str, String)>);

// === impl Query ===

impl Query {
    /// Takes the keys that an endpoint knows.
    ///
    /// # Errors
    /// The answer for one that it doesn't know, and for one that is there twice.
    pub(super) fn parse(text: &str, known: &'static [&'static str]) -> Result<Self, Answer> {
        let mut pairs = Vec::new();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            let Some(key) = known.iter().find(|known| **known == key) else {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(error(
                    StatusCode::BAD_REQUEST,
                    format!("`{key}` is no query of this path; known: {known}"),
                ));
            };
            if pairs.iter().any(|(other, _)| other == key) {
                return Err(error(StatusCode::BAD_REQUEST, format!("`{key}` is there twice")));
            }
            pairs.push((*key, value.into_owned()));
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| *own == key).map(|(_, value)| value.as_str())
    }
}

/// The body as JSON, of at most `most` bytes.
///
/// # Errors
/// The answer for a body that is too large, too slow or something else.
pub(super) async fn body<T: DeserializeOwned>(session: &mut ServerSession, most: usize) -> Result<T, Answer> {
    let read = timeout(TIMEOUT, whole_body(session, most)).await;
    let bytes = read.map_err(|_| error(StatusCode::REQUEST_TIMEOUT, "the body took too long"))??;
    serde_json::from_slice(&bytes).map_err(|problem| error(StatusCode::BAD_REQUEST, problem))
}

async fn whole_body(session: &mut ServerSession, most: usize) -> Result<BytesMut, Answer> {
    let mut whole = BytesMut::new();
    loop {
        let chunk = session.read_request_body().await;
        let chunk = chunk.map_err(|_| error(StatusCode::BAD_REQUEST, "the body is incomplete"))?;
        let Some(chunk) = chunk else { return Ok(whole) };
        if whole.len() + chunk.len() > most {
            return Err(error(StatusCode::PAYLOAD_TOO_LARGE, format!("the body may have {most} bytes")));
        }
        whole.extend_from_slice(&chunk);
    }
}
