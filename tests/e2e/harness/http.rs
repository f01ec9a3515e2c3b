//! Well-formed requests, by an HTTP client that is not the gateway's.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use ureq::tls::TlsConfig;

/// How large an answer may be.
const MAX_BODY: u64 = 64 << 20;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// Without user and password.
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Whoever sends requests.
pub(crate) trait Client: Send + Sync {
    /// Sends one and reads the whole answer.
    ///
    /// # Errors
    /// If there is no answer: the words of what went wrong.
    fn send(&self, request: &Request) -> Result<Answer, String>;
}

/// Reads `http://user:password@host/path`: the URL without them, and the two.
pub(crate) fn without_userinfo(url: &str) -> (String, Option<(String, String)>) {
    let (scheme, rest) = url.split_once("://").unwrap_or_else(|| panic!("no URL: {url}"));
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((userinfo, host)) = authority.rsplit_once('@') else { return (url.to_owned(), None) };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    (format!("{scheme}://{host}{path}"), Some((user.to_owned(), password.to_owned())))
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

// === impl Request ===

impl Request {
    /// To a URL, with the credentials in it.
    pub(crate) fn new(method: &'static str, url: &str) -> Self {
        let (url, userinfo) = without_userinfo(url);
        let request = Self { method, url, headers: Vec::new(), body: Vec::new() };
        match userinfo {
            Some((user, password)) => request.with_user(&user, &password),
            None => request,
        }
    }

    pub(crate) fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// A POST of JSON.
    pub(crate) fn post(url: &str, body: impl Into<Vec<u8>>) -> Self {
        let request = Self::new("POST", url).header("Content-Type", "application/json");
        Self { body: body.into(), ..request }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With these credentials, in place of others.
    pub(crate) fn with_user(self, user: &str, password: &str) -> Self {
        self.anonymous().header("Authorization", &basic(user, password))
    }

    /// Without credentials.
    pub(crate) fn anonymous(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "Authorization");
        self
    }

    /// Sends it and reads the whole answer.
    pub(crate) fn send(&self) -> Answer {
        self.send_with(&client())
    }

    pub(crate) fn send_with(&self, client: &ureq::Agent) -> Answer {
        self.try_send_with(client).unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.url))
    }

    /// Sends it to someone who may leave it unanswered.
    pub(crate) fn try_send(&self) -> Result<Answer, ureq::Error> {
        self.try_send_with(&client())
    }

    /// The same by a client whose connections are kept.
    pub(crate) fn try_send_with(&self, client: &ureq::Agent) -> Result<Answer, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(self.method).uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answered = match (self.body.is_empty(), self.method) {
            (true, "GET" | "HEAD" | "DELETE") => client.run(request.body(()).expect("it is well-formed")),
            _ => client.run(request.body(&self.body[..]).expect("it is well-formed")),
        };
        let mut answer = answered?;
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("it is ASCII").to_owned()));
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: headers.collect(),
            body: answer.body_mut().with_config().limit(MAX_BODY).read_to_vec()?,
        })
    }
}

impl Client for ureq::Agent {
    fn send(&self, request: &Request) -> Result<Answer, String> {
        request.try_send_with(self).map_err(|error| error.to_string())
    }
}

/// A client with connections of its own.
pub(crate) fn client() -> ureq::Agent {
    client_with(TlsConfig::default())
}

/// The same with its own idea of whom to believe.
pub(crate) fn client_with(tls: TlsConfig) -> ureq::Agent {
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent("SignalWire")
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .new_agent()
}

// === impl Answer ===

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("it is text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// What the model is told.
    pub(crate) fn response(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["response"].as_str().unwrap_or_else(|| panic!("no response: {}", self.text())).to_owned()
    }

    /// What a document says before it ends the call; nothing if it isn't of that form.
    pub(crate) fn last_words(&self) -> Option<String> {
        assert_eq!(self.status, 200, "{}", self.text());
        let document = self.json();
        let main = document["sections"]["main"].as_array()?;
        let said = main.iter().find_map(|verb| verb["play"]["url"].as_str())?;
        let ends = main.last().is_some_and(|verb| !verb["hangup"].is_null());
        ends.then(|| said.strip_prefix("say:").map(str::to_owned)).flatten()
    }
}
