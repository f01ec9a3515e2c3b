//! The way to the agents. It takes a [`Permit`], which nothing but the decision can make.
//!
//! An agent may have several servers, and a name several addresses. Which of them a request goes to first is
//! [`crate::app::Fleets`]' word; the next one gets it only if the one before can't have had it whole.

mod incoming;
mod names;
mod probe;
mod request;
mod tls;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
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
    policy::{Agent, Upstream, UpstreamTls},
    route::Method,
    verdict::Reason,
};
use tokio::time::timeout;

pub(crate) use self::incoming::Incoming;
use self::names::Names;
pub use self::probe::HealthChecks;
use crate::app::{App, Budget, NotNow, Reserved, Station, Visit};

/// How long an idle connection to an agent is kept: less than uvicorn's and Node's 5 s, so that a request is seldom sent
/// into a connection that the agent is just closing.
const IDLE: Duration = Duration::from_secs(4);

/// How often a request is tried at an agent with one server: the second time, if it wasn't sent whole the first.
const ATTEMPTS: usize = 2;

/// And at one with several, each time at another place.
const ATTEMPTS_AT_SEVERAL: usize = 3;

/// The platform's signatures (PROTOCOL.md, 7).
pub(crate) const X_SIGNALWIRE_SIGNATURE: HeaderName = HeaderName::from_static("x-signalwire-signature");
pub(crate) const X_SIGNALWIRE_SHA256_SIGNATURE: HeaderName = HeaderName::from_static("x-signalwire-sha256-signature");
/// The request's id, in the request to the agent and in the answer to the client.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Connections to agents.
pub struct Upstreams {
    app: Arc<App>,
    connector: Connector,
    names: Names,
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

/// What became of a request.
#[derive(Debug)]
pub struct Exchanged {
    /// The server that was asked last, if the agent has several.
    pub server: Option<Arc<str>>,
    /// What it said.
    pub answer: Result<Answer, Failure>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In the gateway's vocabulary.
    pub reason: Reason,
    /// In Pingora's words, for the operator; it holds no header.
    pub detail: String,
}

/// A request on its way to one of several places.
#[derive(Clone, Copy)]
struct Request<'r> {
    permit: &'r Permit,
    header: &'r RequestHeader,
    body: &'r Bytes,
    number: u64,
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
    pub fn new(conf: &ServerConf, app: Arc<App>) -> Self {
        let options = ConnectorOptions::from_server_conf(conf);
        Self { app, connector: Connector::new(Some(options)), names: Names::of_the_system() }
    }

    /// Sends a permitted request and reads the whole answer, within the policy's time and size and the byte budget.
    ///
    /// It is sent again, at another place if there is one, only where it can't have reached the agent whole: the
    /// connection failed, or broke before the request was written.
    pub async fn exchange(&self, permit: &Permit, body: Bytes, envelope: &Envelope) -> Exchanged {
        let mut visit = match self.enter(permit) {
            Ok(visit) => visit,
            Err(failure) => return Exchanged { server: None, answer: Err(failure) },
        };
        let limit = permit.agent().upstream.timeouts.exchange;
        let expired = || Failure { reason: Reason::AgentTimeout, detail: format!("no whole answer in {limit:?}") };
        let answer = {
            let whole = pin!(self.whole(permit, body, envelope, &mut visit));
            timeout(limit, whole).await.unwrap_or_else(|_| Err(expired()))
        };
        let is_answered = match &answer {
            Ok(answer) => Some(!is_gateways_failure(answer.status)),
            Err(failure) => failure.is_answered(),
        };
        if let Some(is_answered) = is_answered {
            visit.ends(is_answered, Instant::now());
        }
        Exchanged { server: visit.server(), answer }
    }

    fn enter(&self, permit: &Permit) -> Result<Visit, Failure> {
        Ok(self.app.fleets.enter(permit, Instant::now())?)
    }

    async fn whole(
        &self,
        permit: &Permit,
        body: Bytes,
        envelope: &Envelope,
        visit: &mut Visit,
    ) -> Result<Answer, Failure> {
        let (mut session, peer) = self.send(permit, body, envelope, visit).await?;
        match receive(&mut session, permit.agent().bodies.response, &self.app.bodies).await {
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
        visit: &mut Visit,
    ) -> Result<(HttpSession, HttpPeer), Failure> {
        let header = request::permitted(permit, body.len(), envelope)?;
        let stations = visit.places(Instant::now())?;
        let is_single = stations.len() == 1;
        let mut left = if is_single { ATTEMPTS } else { ATTEMPTS_AT_SEVERAL };
        let rounds = if is_single { ATTEMPTS } else { 1 };
        let mut last = None;
        for station in stations.iter().cycle().take(rounds * stations.len()) {
            visit.goes_to(station, Instant::now());
            let request = Request { permit, header: &header, body: &body, number: visit.number() };
            match self.send_to(station, &request, &mut left).await {
                Ok(sent) => return Ok(sent),
                Err(Attempt { failure, is_unsent }) if !is_unsent || left == 0 => return Err(failure),
                Err(Attempt { failure, .. }) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_else(|| Failure { reason: Reason::AgentUnreachable, detail: "no server".to_owned() }))
    }

    /// Tries one address of a server after the other.
    async fn send_to(
        &self,
        station: &Station,
        request: &Request<'_>,
        left: &mut usize,
    ) -> Result<(HttpSession, HttpPeer), Attempt> {
        let agent = request.permit.agent();
        let unsent = |failure| Attempt { failure, is_unsent: true };
        let Station { host, port, .. } = station;
        let found = self.names.look_up(host, *port, agent.upstream.timeouts.connect, request.number).await;
        let addresses = found.map_err(|detail| unsent(Failure { reason: Reason::AgentUnreachable, detail }))?;
        let mut last = unsent(Failure { reason: Reason::AgentUnreachable, detail: "no address".to_owned() });
        for address in addresses {
            if *left == 0 {
                break;
            }
            *left -= 1;
            let peer = peer(agent, station, address);
            match self.attempt(&peer, request).await {
                Ok(session) => return Ok((session, peer)),
                Err(attempt @ Attempt { is_unsent: false, .. }) => return Err(attempt),
                Err(attempt) => {
                    if attempt.failure.reason == Reason::AgentUnreachable {
                        self.names.shun(host, *port, address);
                    }
                    last = attempt;
                }
            }
        }
        Err(last)
    }

    async fn attempt(&self, peer: &HttpPeer, request: &Request<'_>) -> Result<HttpSession, Attempt> {
        let Request { permit, header, body, .. } = *request;
        let mut session = self
            .session(peer, &permit.agent().upstream.tls)
            .await
            .map_err(|failure| Attempt { failure, is_unsent: true })?;
        let patience = permit.agent().upstream.timeouts.exchange;
        session.read_timeout = Some(patience);
        session.write_timeout = Some(patience);
        if let Err(attempt) = send(&mut session, header.clone(), body, permit.forward().method).await {
            session.shutdown().await;
            return Err(attempt);
        }
        Ok(session)
    }

    async fn session(&self, peer: &HttpPeer, tls: &UpstreamTls) -> Result<HttpSession, Failure> {
        if let Some(kept) = self.connector.reused_http_session(peer).await {
            return Ok(kept);
        }
        let dressed = tls::dressed(peer, tls);
        // Boxed, since it is larger than all the rest of an exchange together, and seldom needed.
        let connecting = Box::pin(self.connector.get_http_session(&dressed));
        connecting.await.map(|(session, _)| session).map_err(failure)
    }
}

// === impl Failure ===

impl Failure {
    /// Whether the agent has answered at all; `None`, where nothing is known.
    fn is_answered(&self) -> Option<bool> {
        match self.reason {
            Reason::AgentUnreachable | Reason::AgentTimeout | Reason::AgentBroken => Some(false),
            Reason::AgentTooLarge => Some(true),
            _ => None,
        }
    }
}

impl From<NotNow> for Failure {
    fn from(NotNow { reason, detail }: NotNow) -> Self {
        Self { reason, detail }
    }
}

/// Whether an answer of this status says that the agent isn't there. One that fails in a function of its own (500) is: a
/// caller who finds out how to bring that about must not be able to turn it off for all others.
fn is_gateways_failure(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// An agent's server at an address. TLS names the agent, whichever server it is.
fn peer(agent: &Agent, station: &Station, address: SocketAddr) -> HttpPeer {
    let upstream = &agent.upstream;
    let mut peer = HttpPeer::new(address, upstream.https, upstream.host.clone());
    peer.group_key = group(agent, station);
    peer.options.connection_timeout = Some(upstream.timeouts.connect);
    peer.options.total_connection_timeout = Some(upstream.timeouts.connect);
    peer.options.idle_timeout = Some(IDLE);
    peer
}

/// Connections are shared by requests to one place, for one agent.
fn group(agent: &Agent, station: &Station) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Upstream { host, https, tls, .. } = &agent.upstream;
    (&agent.name, host, &station.host, station.port, https).hash(&mut hasher);
    if *https {
        tls.digest().hash(&mut hasher);
    }
    hasher.finish()
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
