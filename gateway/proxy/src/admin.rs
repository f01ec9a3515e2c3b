//! The operator's listener, on loopback: `/healthz`, `/readyz`, `/metrics`, `/version`.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, StatusCode, header};
use pingora_core::{apps::http_app::ServeHttp, protocols::http::ServerSession};

use crate::app::App;

/// Answers the operator.
pub struct Admin {
    app: Arc<App>,
}

impl Admin {
    /// For this gateway.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, &'static str, Vec<u8>) {
        const TEXT: &str = "text/plain; charset=utf-8";
        if !matches!(*method, Method::GET | Method::HEAD) {
            return (StatusCode::METHOD_NOT_ALLOWED, TEXT, b"GET or HEAD\n".to_vec());
        }
        match path {
            "/healthz" => (StatusCode::OK, TEXT, b"ok\n".to_vec()),
            "/readyz" if self.app.is_draining() => (StatusCode::SERVICE_UNAVAILABLE, TEXT, b"shutting down\n".to_vec()),
            "/readyz" => (StatusCode::OK, TEXT, b"ready\n".to_vec()),
            "/version" => {
                let body = concat!(r#"{"name":"swaigate","version":""#, env!("CARGO_PKG_VERSION"), "\"}\n");
                (StatusCode::OK, "application/json", body.as_bytes().to_vec())
            }
            "/metrics" => match self.app.metrics.text(self.app.state.gauges()) {
                Ok(text) => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n").into_bytes()),
            },
            _ => (StatusCode::NOT_FOUND, TEXT, b"/healthz /readyz /metrics /version\n".to_vec()),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let (status, content_type, body) = self.answer(&request.method, request.uri.path());
        let is_head = request.method == Method::HEAD;
        // No request here has a body; one that comes anyway isn't read as the next request.
        session.set_keepalive(None);
        let mut response = Response::new(if is_head { Vec::new() } else { body.clone() });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
        headers.insert(header::CONTENT_LENGTH, http::HeaderValue::from(body.len()));
        response
    }
}
