//! The way to the agent. It takes a [`Permit`], which nothing but the decision can make.
//!
//! The request is built from a short list of headers, never copied: what a client writes in `X-Forwarded-*`, `Forwarded`,
//! `X-Original-*`, `Cookie` or hop-by-hop headers reaches no agent (PROTOCOL.md, 8). What else passes for files and streams
//! is the permit's word.

mod incoming;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, header};
use pingora_core::{
    ErrorType,
    connectors::{ConnectorOptions, http::v1::Connector},
    protocols::http::v1::client::HttpSession,
    server::configuration::ServerConf,
    upstreams::peer::HttpPeer,
};
use pingora_http::{RequestHeader, ResponseHeader};
use swaigate_core::{
    decide::Permit,
    id::RequestId,
    policy::{Agent, Upstream},
    route::Method,
    signature::Made,
    verdict::Reason,
};
use tokio::time::timeout;

pub(crate) use self::incoming::Incoming;
use crate::app::{Budget, Reserved};

/// How long an idle connection to an agent is kept: less than uvicorn's and Node's 5 s, so that a request is seldom sent
/// into a connection that the agent is just closing.
const IDLE: Duration = Duration::from_secs(4);

/// How long a name's addresses are used before it is looked up again.
const NAME_TTL: Duration = Duration::from_secs(10);

/// How many names are remembered.
const MAX_NAMES: usize = 1024;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The platform's signatures (PROTOCOL.md, 7).
pub(crate) const X_SIGNALWIRE_SIGNATURE: HeaderName = HeaderName::from_static("x-signalwire-signature");
pub(crate) const X_SIGNALWIRE_SHA256_SIGNATURE: HeaderName = HeaderName::from_static("x-signalwire-sha256-signature");
/// The request's id, in the request to the agent and in the answer to the client.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Connections to agents.
pub struct Upstreams {
    connector: Connector,
    names: Mutex<HashMap<(String, u16), LookedUp>>,
}

/// What a name stood for.
struct LookedUp {
    at: Instant,
    address: SocketAddr,
}

/// What of a client's request an agent sees besides target and body.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// The request's id.
    pub request: Option<RequestId>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// `Content-Type`.
    pub content_type: Option<HeaderValue>,
    /// `Accept`.
    pub accept: Option<HeaderValue>,
    /// `User-Agent`.
    pub user_agent: Option<HeaderValue>,
    /// What the permit lets through besides.
    pub passed: Vec<(HeaderName, HeaderValue)>,
}

/// An agent's whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// The body.
    pub body: Bytes,
    /// Its share of the byte budget.
    _reserved: Reserved,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In the gateway's vocabulary.
    pub reason: Reason,
    /// In Pingora's words, for the operator; it holds no header.
    pub detail: String,
}

/// How far a request got before it failed.
struct Attempt {
    failure: Failure,
    /// Whether the agent can't have had the whole request.
    is_unsent: bool,
}

// === impl Upstreams ===

impl Upstreams {
    /// None yet.
    pub fn new(conf: &ServerConf) -> Self {
        let options = ConnectorOptions::from_server_conf(conf);
        Self { connector: Connector::new(Some(options)), names: Mutex::default() }
    }

    /// Sends a permitted request and reads the whole answer, within the policy's time and size and the byte budget.
    ///
    /// It is sent once more only where the first attempt can't have reached the agent whole: the connection failed, or
    /// broke before the request was written.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn exchange(
        &self,
        permit: &Permit,
        body: Bytes,
        envelope: &Envelope,
        budget: &Budget,
    ) -> Result<Answer, Failure> {
        let limit = permit.agent().upstream.timeouts.exchange;
        let expired = || Failure { reason: Reason::AgentTimeout, detail: format!("no whole answer in {limit:?}") };
        let whole = pin!(self.whole(permit, body, envelope, budget));
        timeout(limit, whole).await.unwrap_or_else(|_| Err(expired()))
    }

    async fn whole(
        &self,
        permit: &Permit,
        body: Bytes,
        envelope: &Envelope,
        budget: &Budget,
    ) -> Result<Answer, Failure> {
        let (mut session, peer) = self.send(permit, body, envelope).await?;
        match receive(&mut session, permit.agent().bodies.response, budget).await {
            Ok(answer) => {
                self.release(session, &peer).await;
                Ok(answer)
            }
            Err(failure) => {
                session.shutdown().await;
                Err(failure)
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    async fn release(&self, session: HttpSession, peer: &HttpPeer) {
        self.connector.release_http_session(session, peer, Some(IDLE)).await;
    }

    async fn send(
        &self,
        permit: &Permit,
        body: Bytes,
        envelope: &Envelope,
    ) -> Result<(HttpSession, HttpPeer), Failure> {
        let mut may_repeat = true;
        loop {
            match self.attempt(permit, body.clone(), envelope).await {
                Err(Attempt { is_unsent: true, .. }) if may_repeat => may_repeat = false,
                outcome => return outcome.map_err(|attempt| attempt.failure),
            }
        }
    }

    async fn attempt(
        &self,
        permit: &Permit,
        body: Bytes,
        envelope: &Envelope,
    ) -> Result<(HttpSession, HttpPeer), Attempt> {
        let agent = permit.agent();
        let unsent = |failure| Attempt { failure, is_unsent: true };
        let sent = |failure| Attempt { failure, is_unsent: false };
        let header = request_header(permit, body.len(), envelope).map_err(sent)?;
        let peer = self.peer(agent).await.map_err(sent)?;
        let mut session = self.session(&peer).await.map_err(unsent)?;
        session.read_timeout = Some(agent.upstream.timeouts.exchange);
        session.write_timeout = Some(agent.upstream.timeouts.exchange);
        if let Err(attempt) = send(&mut session, header, &body, permit.forward().method).await {
            session.shutdown().await;
            return Err(attempt);
        }
        Ok((session, peer))
    }

    async fn session(&self, peer: &HttpPeer) -> Result<HttpSession, Failure> {
        if let Some(kept) = self.connector.reused_http_session(peer).await {
            return Ok(kept);
        }
        // Boxed, since it is larger than all the rest of an exchange together, and seldom needed.
        let connecting = Box::pin(self.connector.get_http_session(peer));
        connecting.await.map(|(session, _)| session).map_err(failure)
    }

    async fn peer(&self, agent: &Agent) -> Result<HttpPeer, Failure> {
        let Upstream { https, host, port, timeouts, .. } = &agent.upstream;
        let address = match host.parse() {
            Ok(ip) => SocketAddr::new(ip, *port),
            Err(_) => self.look_up(host, *port, timeouts.connect).await?,
        };
        let mut peer = HttpPeer::new(address, *https, host.clone());
        peer.group_key = group(agent);
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        peer.options.idle_timeout = Some(IDLE);
        Ok(peer)
    }

    async fn look_up(&self, host: &str, port: u16, limit: Duration) -> Result<SocketAddr, Failure> {
        if let Some(address) = self.remembered(host, port) {
            return Ok(address);
        }
        let unknown = |detail: String| Failure { reason: Reason::AgentUnreachable, detail };
        let found = timeout(limit, tokio::net::lookup_host((host, port))).await;
        let address = found
            .map_err(|_| unknown("the name could not be looked up in time".to_owned()))?
            .map_err(|error| unknown(format!("the name could not be looked up: {error}")))?
            .next()
            .ok_or_else(|| unknown("the name has no address".to_owned()))?;
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        names.insert((host.to_owned(), port), LookedUp { at: Instant::now(), address });
        Ok(address)
    }

    fn remembered(&self, host: &str, port: u16) -> Option<SocketAddr> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.get(&(host.to_owned(), port))?;
        (known.at.elapsed() < NAME_TTL).then_some(known.address)
    }
}

/// Connections are shared by requests to one place, for one agent.
fn group(agent: &Agent) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&agent.name, &agent.upstream.host, agent.upstream.port, agent.upstream.https).hash(&mut hasher);
    hasher.finish()
}

fn request_header(permit: &Permit, length: usize, envelope: &Envelope) -> Result<RequestHeader, Failure> {
    let forward = permit.forward();
    let upstream = &permit.agent().upstream;
    let build = || -> pingora_core::Result<RequestHeader> {
        let mut request = RequestHeader::build_no_case(forward.method.as_str(), forward.target.as_bytes(), Some(16))?;
        let host = upstream.host_header();
        request.insert_header(header::HOST, host.as_str())?;
        if let Some(credentials) = upstream.credentials.as_ref().filter(|_| permit.is_authenticated()) {
            request.insert_header(header::AUTHORIZATION, credentials.header.expose())?;
        }
        request.insert_header(header::ACCEPT_ENCODING, "identity")?;
        request.insert_header(X_FORWARDED_HOST, host)?;
        request.insert_header(X_FORWARDED_PROTO, if upstream.https { "https" } else { "http" })?;
        // In another character set, or as a form, the same bytes say something else.
        let json = (permit.is_of_json() && length > 0).then_some(HeaderValue::from_static("application/json"));
        let content_type = if json.is_some() { &json } else { &envelope.content_type };
        let copied = [
            (header::CONTENT_TYPE, content_type),
            (header::ACCEPT, &envelope.accept),
            (header::USER_AGENT, &envelope.user_agent),
        ];
        for (name, value) in copied {
            if let Some(value) = value {
                request.insert_header(name, value.clone())?;
            }
        }
        for (name, value) in &envelope.passed {
            request.append_header(name, value)?;
        }
        if let Some(client) = envelope.client {
            request.insert_header(X_FORWARDED_FOR, client.to_string())?;
        }
        if let Some(id) = envelope.request {
            request.insert_header(X_REQUEST_ID, id.to_string())?;
        }
        if let Some(Made { sha1, sha256 }) = &forward.signatures {
            request.insert_header(X_SIGNALWIRE_SIGNATURE, sha1.as_str())?;
            request.insert_header(X_SIGNALWIRE_SHA256_SIGNATURE, sha256.as_str())?;
        }
        if !matches!(forward.method, Method::Get | Method::Head) {
            request.insert_header(header::CONTENT_LENGTH, length)?;
        }
        Ok(request)
    };
    let header = build().map_err(failure)?;
    // What was authorised is what is sent, byte for byte.
    if header.raw_path() == forward.target.as_bytes() {
        Ok(header)
    } else {
        Err(Failure { reason: Reason::BadRequest, detail: "the target can't be sent as it came".to_owned() })
    }
}

/// A request that breaks off before its last byte was written can't have been acted on. One without a body is whole with
/// its head, and one that breaks off at its end may be.
async fn send(session: &mut HttpSession, header: RequestHeader, body: &[u8], method: Method) -> Result<(), Attempt> {
    let attempt = |is_unsent: bool| move |failure| Attempt { failure, is_unsent };
    let head = session.write_request_header(Box::new(header)).await.map_err(failure);
    head.map_err(attempt(!body.is_empty() || method.is_safe()))?;
    if !body.is_empty() {
        session.write_body(body).await.map_err(failure).map_err(attempt(true))?;
    }
    session.finish_body().await.map(drop).map_err(failure).map_err(attempt(method.is_safe()))
}

async fn receive(session: &mut HttpSession, limit: usize, budget: &Budget) -> Result<Answer, Failure> {
    let Head { status, content_type, content_encoding, location } = head_within(final_head(session).await?, limit)?;
    let mut body = BytesMut::new();
    let mut reserved = Reserved::default();
    while let Some(chunk) = session.read_body_bytes().await.map_err(failure)? {
        if body.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        let spent = |_| Failure { reason: Reason::Overloaded, detail: "the byte budget is used up".to_owned() };
        budget.grow(&mut reserved, body.len() + chunk.len()).map_err(spent)?;
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, content_type, content_encoding, location, body: body.freeze(), _reserved: reserved })
}

/// What is used of an answer's head.
struct Head {
    status: u16,
    content_type: Option<String>,
    content_encoding: Option<String>,
    location: Option<String>,
}

/// The first head that isn't informational.
async fn final_head(session: &mut HttpSession) -> Result<&ResponseHeader, Failure> {
    let broken = |detail: &str| Failure { reason: Reason::AgentBroken, detail: detail.to_owned() };
    loop {
        session.read_response().await.map_err(failure)?;
        match session.resp_header().map(|header| header.status.as_u16()) {
            Some(101) => return Err(broken("the agent wants to change the protocol")),
            Some(100..=199) => {}
            Some(_) | None => break,
        }
    }
    session.resp_header().ok_or_else(|| broken("no response header"))
}

fn head_within(header: &ResponseHeader, limit: usize) -> Result<Head, Failure> {
    let text = |name: &str| header.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let announced = text("content-length").and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    Ok(Head {
        status: header.status.as_u16(),
        content_type: text("content-type"),
        content_encoding: text("content-encoding"),
        location: text("location"),
    })
}

fn too_large(limit: usize) -> Failure {
    Failure { reason: Reason::AgentTooLarge, detail: format!("more than {limit} bytes") }
}

#[allow(clippy::boxed_local)] // as Pingora returns it, for `map_err`
fn failure(error: Box<pingora_core::Error>) -> Failure {
    let reason = match error.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::InvalidCert
        | ErrorType::SocketError => Reason::AgentUnreachable,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Reason::AgentTimeout,
        // What else can happen on a connection is the agent's doing: a broken or closed stream, or no HTTP.
        _ => Reason::AgentBroken,
    };
    Failure { reason, detail: error.etype().as_str().to_owned() }
}
