//! `/v1/switches`: what is turned off, and by whom. Each request needs the token of the state's folder.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use http::{Method, StatusCode, header};
use pingora_core::protocols::http::ServerSession;
use pingora_http::RequestHeader;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use swaigate_core::{
    id::AgentName,
    secret::{Secret, constant_time_eq},
    switches::{Origin, Scope, Switch, SwitchId, Word},
    yaml,
};
use tokio::time::{sleep, timeout};

use crate::{
    app::{App, Unchanged, Wanted},
    clock,
    state::{Written, WrittenScope},
};

/// The largest body of a request, in bytes.
const MAX_BODY: usize = 16 << 10;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a wrong token costs, so that guessing is slow.
const DELAY: Duration = Duration::from_millis(200);

/// For how long a switch may be turned on.
const SPAN: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);

/// The operator's way to change something.
pub(super) struct Api {
    pub(super) app: Arc<App>,
    /// What whoever asks has to know.
    pub(super) token: Secret,
}

/// An answer: a status, and JSON.
pub(super) type Answer = (StatusCode, Vec<u8>);

/// A switch to turn on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    scope: WrittenScope,
    who: String,
    why: String,
    #[serde(default, rename = "for")]
    span: Option<String>,
}

/// Whose word it is that a switch is turned off.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllClear {
    who: String,
    why: String,
}

// === impl Api ===

impl Api {
    pub(super) async fn answer(&self, session: &mut ServerSession) -> Answer {
        self.permitted(session).await.unwrap_or_else(|refused| refused)
    }

    async fn permitted(&self, session: &mut ServerSession) -> Result<Answer, Answer> {
        let head = session.req_header();
        if !self.is_asked_directly(head) {
            return Err(error(StatusCode::FORBIDDEN, "pages in a browser have no business here"));
        }
        if !self.is_operators(head) {
            sleep(DELAY).await;
            return Err(error(
                StatusCode::UNAUTHORIZED,
                "the token of the state's folder (admin.token) is needed as a bearer token",
            ));
        }
        let (method, path) = (head.method.clone(), head.uri.path().to_owned());
        let id = path.strip_prefix("/v1/switches/");
        match (method, path.as_str(), id) {
            (Method::GET, "/v1/switches", _) => Ok(self.list()),
            (Method::POST, "/v1/switches", _) => {
                let order = self.wanted(body(session).await?)?;
                self.turn_on(order).await
            }
            (_, "/v1/switches", _) => Err(error(StatusCode::METHOD_NOT_ALLOWED, "GET or POST")),
            (Method::DELETE, _, Some(id)) => {
                let id = id.parse().map_err(|problem| error(StatusCode::NOT_FOUND, problem))?;
                let AllClear { who, why } = body(session).await?;
                let word = Word::new(&who, &why).map_err(|problem| error(StatusCode::BAD_REQUEST, problem))?;
                self.turn_off(id, word).await
            }
            (_, _, Some(_)) => Err(error(StatusCode::METHOD_NOT_ALLOWED, "DELETE")),
            (_, _, None) => Err(error(StatusCode::NOT_FOUND, "/v1/switches is all there is")),
        }
    }

    /// A page of another site can make a browser ask here, under a name that it has led to this address. Browsers say so.
    fn is_asked_directly(&self, head: &RequestHeader) -> bool {
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        !head.headers.contains_key(header::ORIGIN) && is_loopback(host)
    }

    fn is_operators(&self, head: &RequestHeader) -> bool {
        let mut headers = head.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(sent), None) = (headers.next(), headers.next()) else { return false };
        let token = sent.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        token.is_some_and(|(_, token)| constant_time_eq(token, self.token.expose()))
    }

    fn list(&self) -> Answer {
        let now = clock::now();
        let switches = self.app.switches.load();
        let mut switches: Vec<_> = switches.iter().filter(|switch| switch.is_in_force(now)).collect();
        switches.sort_by_key(|switch| (switch.since, switch.id));
        json(StatusCode::OK, &switches.into_iter().map(|switch| Written::of(switch)).collect::<Vec<_>>())
    }

    fn wanted(&self, order: Order) -> Result<Wanted, Answer> {
        let wrong = |problem: &dyn std::fmt::Display| error(StatusCode::BAD_REQUEST, problem);
        let Order { scope, who, why, span } = order;
        let scope = scope.scope().map_err(|problem| wrong(&problem))?;
        let word = Word::new(&who, &why).map_err(|problem| wrong(&problem))?;
        let span = span.map(|text| yaml::parse_duration(&text)).transpose();
        let span = span.map_err(|problem| wrong(&format!("`for` {problem}")))?;
        if span.is_some_and(|span| !SPAN.contains(&span)) {
            return Err(wrong(&"`for` must be from 1s to 720h"));
        }
        self.check_agent(&scope)?;
        Ok(Wanted { scope, word, span, origin: Origin::Operator })
    }

    /// A switch for an agent that isn't there stops nothing, and looks as if it did. Functions are the agent's to name.
    fn check_agent(&self, scope: &Scope) -> Result<(), Answer> {
        let (Scope::Agent(agent) | Scope::Function(agent, _) | Scope::Caller(_, Some(agent))) = scope else {
            return Ok(());
        };
        let policies = self.app.policies.load();
        if policies.agent(agent).is_some() {
            return Ok(());
        }
        let names: Vec<&str> = policies.agents().iter().map(|agent| agent.name.as_str()).collect();
        let advice = match yaml::nearest(agent.as_str(), &names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("there {}", listed(policies.agents().iter().map(|agent| &agent.name))),
        };
        Err(error(StatusCode::NOT_FOUND, format!("no agent is called `{agent}`; {advice}")))
    }

    async fn turn_on(&self, wanted: Wanted) -> Result<Answer, Answer> {
        let (switch, before) = self.change(move |app| app.switches.turn_on(wanted, clock::now())).await?;
        let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        Ok(json(status, &Written::of(&switch)))
    }

    async fn turn_off(&self, id: SwitchId, word: Word) -> Result<Answer, Answer> {
        let switch: Arc<Switch> = self.change(move |app| app.switches.turn_off(id, word, clock::now())).await?;
        Ok(json(StatusCode::OK, &Written::of(&switch)))
    }

    /// Waits for the disk where nobody else does.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&App) -> Result<T, Unchanged> + Send + 'static,
    ) -> Result<T, Answer> {
        let app = Arc::clone(&self.app);
        let changed = tokio::task::spawn_blocking(move || change(&app)).await;
        let changed = changed.map_err(|problem| error(StatusCode::INTERNAL_SERVER_ERROR, problem))?;
        changed.map_err(|unchanged| {
            let status = match unchanged {
                Unchanged::Unknown => StatusCode::NOT_FOUND,
                Unchanged::Held | Unchanged::Full(_) => StatusCode::CONFLICT,
                Unchanged::NotKept(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            error(status, unchanged)
        })
    }
}

/// Whether a host, perhaps with a port, is this machine and no name that somebody else could lead here.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = host.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| bare.parse::<IpAddr>());
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    ip.map_or(name.eq_ignore_ascii_case("localhost"), |ip| ip.to_canonical().is_loopback())
}

fn listed<'n>(names: impl Iterator<Item = &'n AgentName>) -> String {
    let names: Vec<String> = names.take(10).map(|name| format!("`{name}`")).collect();
    format!("{} {}", if names.len() == 1 { "is" } else { "are" }, names.join(", "))
}

async fn body<T: DeserializeOwned>(session: &mut ServerSession) -> Result<T, Answer> {
    let read = timeout(BODY_TIMEOUT, whole_body(session)).await;
    let bytes = read.map_err(|_| error(StatusCode::REQUEST_TIMEOUT, "the body took too long"))??;
    serde_json::from_slice(&bytes).map_err(|problem| error(StatusCode::BAD_REQUEST, problem))
}

async fn whole_body(session: &mut ServerSession) -> Result<BytesMut, Answer> {
    let mut whole = BytesMut::new();
    loop {
        let chunk = session.read_request_body().await;
        let chunk = chunk.map_err(|_| error(StatusCode::BAD_REQUEST, "the body is incomplete"))?;
        let Some(chunk) = chunk else { return Ok(whole) };
        if whole.len() + chunk.len() > MAX_BODY {
            return Err(error(StatusCode::PAYLOAD_TOO_LARGE, format!("the body may have {MAX_BODY} bytes")));
        }
        whole.extend_from_slice(&chunk);
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    (status, body)
}

fn error(status: StatusCode, problem: impl std::fmt::Display) -> Answer {
    json(status, &serde_json::json!({ "error": problem.to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_asked_directly() {
        for host in ["127.0.0.1", "127.0.0.1:9901", "[::1]", "[::1]:9901", "localhost", "LocalHost:1", "127.8.8.8:1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "agents.example.com", "localhost.example.com:80", "127.0.0.1.example.com", "10.0.0.1:9901"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
