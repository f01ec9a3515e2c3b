//! The operator's listener, on loopback or a Unix socket: `/healthz`, `/readyz`, `/metrics`, `/version` for everybody on the
//! machine, and `/v1/…` for whoever has a token.

mod api;

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use http::{HeaderValue, Method, Response, StatusCode, header};
use pingora_core::{apps::http_app::ServeHttp, protocols::http::ServerSession};

use self::api::{Answer, Api, error, is_asked_directly};
use crate::{app::App, connection::Connection, reload::Bell, settings::AdminToken};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Answers the operator.
pub struct Admin {
    app: Arc<App>,
    api: Api,
}

// === impl Admin ===

impl Admin {
    /// For this gateway, and for whoever knows one of the tokens. Without a bell, there are no files to load again.
    pub fn new(app: Arc<App>, tokens: Vec<AdminToken>, bell: Option<Bell>) -> Self {
        Self { api: Api { app: Arc::clone(&app), tokens, bell }, app }
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, &'static str, Vec<u8>) {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return (StatusCode::METHOD_NOT_ALLOWED, TEXT, b"GET or HEAD\n".to_vec());
        }
        match path {
            "/healthz" => (StatusCode::OK, TEXT, b"ok\n".to_vec()),
            "/readyz" if self.app.is_draining() => (StatusCode::SERVICE_UNAVAILABLE, TEXT, b"shutting down\n".to_vec()),
            "/readyz" if !self.app.audit.has_room() => {
                (StatusCode::SERVICE_UNAVAILABLE, TEXT, b"the audit log can't be written\n".to_vec())
            }
            "/readyz" => (StatusCode::OK, TEXT, b"ready\n".to_vec()),
            "/version" => {
                let body = concat!(r#"{"name":"swaigate","version":""#, env!("CARGO_PKG_VERSION"), "\"}\n");
                (StatusCode::OK, JSON, body.as_bytes().to_vec())
            }
            "/metrics" => self.metrics(),
            _ => (StatusCode::NOT_FOUND, TEXT, b"/healthz /readyz /metrics /version /v1/openapi.json\n".to_vec()),
        }
    }

    fn metrics(&self) -> (StatusCode, &'static str, Vec<u8>) {
        self.app.fleets.measure(Instant::now());
        match self.app.metrics_text() {
            Ok(text) => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n").into_bytes()),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        if let Some(connection) = Connection::of(session.digest()) {
            connection.begins_request();
        }
        // A body that nobody reads isn't read as the next request.
        session.set_keepalive(None);
        let request = session.req_header();
        let (path, is_head) = (request.uri.path(), request.method == Method::HEAD);
        // Probes ask under any name, and learn nothing that matters.
        let is_probe = matches!(path, "/healthz" | "/readyz");
        let (Answer { status, allow, body }, content_type) = if !is_probe && !is_asked_directly(request) {
            (error(StatusCode::FORBIDDEN, "pages in a browser have no business here"), JSON)
        } else if path.starts_with("/v1/") {
            (self.api.answer(session).await, JSON)
        } else {
            let (status, content_type, body) = self.answer(&request.method, path);
            (Answer { status, allow: None, body }, content_type)
        };
        let length = body.len();
        let mut response = Response::new(if is_head { Vec::new() } else { body });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
