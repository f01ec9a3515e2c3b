//! `/v1/…`: what is in force, and how it is changed. Each request needs a token.

mod archive;
mod lockouts;
mod read;
mod routes;
mod switches;
mod views;

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use http::{StatusCode, header};
use pingora_core::protocols::http::ServerSession;
use pingora_http::RequestHeader;
use serde::{Deserialize, Serialize};
use swaigate_core::{id::AgentName, policy::Agent, secret::constant_time_eq, switches::Word, yaml};
use tokio::time::sleep;

use self::{
    read::{Query, body},
    routes::{Endpoint, Found},
};
use crate::{
    app::{App, Unchanged},
    audit::{Action, Change, Changed},
    clock,
    reload::Bell,
    settings::{AdminToken, Role},
};

/// The document that describes all of it.
const OPENAPI: &str = include_str!("api/openapi.json");

/// The largest body of a request, in bytes.
const MAX_BODY: usize = 16 << 10;

/// The largest archive: all switches and lockouts that there may be, with long reasons.
const MAX_ARCHIVE: usize = 64 << 20;

/// What a wrong token costs, so that guessing is slow.
const DELAY: Duration = Duration::from_millis(200);

/// For how long a switch may be turned on.
const SWITCH_SPAN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);

/// For how long somebody may be locked out.
const LOCKOUT_SPAN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);

/// The operator's way to see and change something.
pub(super) struct Api {
    pub(super) app: Arc<App>,
    /// What whoever asks has to know.
    pub(super) tokens: Vec<AdminToken>,
    /// The way to the files, if there are any.
    pub(super) bell: Option<Bell>,
}

/// An answer: a status, and JSON.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The methods that are allowed (405).
    pub(super) allow: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Whose word something is, where nothing else is said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
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
        let Some(role) = self.role(head) else {
            sleep(DELAY).await;
            return Err(error(
                StatusCode::UNAUTHORIZED,
                "a token is needed as a bearer token: admin.token or viewer.token of the state's folder, or one of \
                 `admin.tokens`",
            ));
        };
        let (method, path, query) =
            (head.method.clone(), head.uri.path().to_owned(), head.uri.query().map(str::to_owned));
        let Found { endpoint, argument } = routes::find(&method, &path)?;
        if role < endpoint.role() {
            let (needed, role) = (endpoint.role().as_str(), role.as_str());
            return Err(error(
                StatusCode::FORBIDDEN,
                format!("that needs the role `{needed}`; the token is a {role}'s"),
            ));
        }
        let query = Query::parse(query.as_deref().unwrap_or_default(), endpoint.query())?;
        self.serve(endpoint, &argument, &query, session).await
    }

    async fn serve(
        &self,
        endpoint: Endpoint,
        argument: &str,
        query: &Query,
        session: &mut ServerSession,
    ) -> Result<Answer, Answer> {
        match endpoint {
            Endpoint::OpenApi => Ok(Answer { status: StatusCode::OK, allow: None, body: OPENAPI.as_bytes().to_vec() }),
            Endpoint::Status => Ok(self.status()),
            Endpoint::Agents => Ok(self.agents()),
            Endpoint::Policy => self.policy(argument, query),
            Endpoint::Limits => self.limits(query),
            Endpoint::Decisions => self.decisions(query),
            Endpoint::AuditHead => self.audit_head(),
            Endpoint::Switches => Ok(self.switches()),
            Endpoint::TurnOn => self.turn_on(body(session, MAX_BODY).await?).await,
            Endpoint::TurnOff => self.turn_off(argument, body(session, MAX_BODY).await?).await,
            Endpoint::Lockouts => Ok(self.lockouts()),
            Endpoint::LockOut => self.lock_out(body(session, MAX_BODY).await?).await,
            Endpoint::LetIn => self.let_in(argument, body(session, MAX_BODY).await?).await,
            Endpoint::Reload => self.reload(body(session, MAX_BODY).await?).await,
            Endpoint::Export => Ok(self.export()),
            Endpoint::Import => self.import(body(session, MAX_ARCHIVE).await?).await,
        }
    }

    /// What whoever sent this may do; nothing without one of the tokens. All are compared, so that the time tells nothing.
    fn role(&self, head: &RequestHeader) -> Option<Role> {
        let mut headers = head.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(sent), None) = (headers.next(), headers.next()) else { return None };
        let (_, sent) =
            sent.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))?;
        let known = self.tokens.iter().filter(|token| constant_time_eq(sent, token.secret.expose()));
        known.map(|token| token.role).max()
    }

    /// Has the files read again, and waits for what becomes of it.
    async fn reload(&self, told: Told) -> Result<Answer, Answer> {
        let word = told.word()?;
        let Some(bell) = &self.bell else {
            return Err(error(
                StatusCode::CONFLICT,
                "this gateway runs without a gateway.yaml: there is nothing to load",
            ));
        };
        let outcome = bell.reload().await.map_err(|unheard| error(StatusCode::SERVICE_UNAVAILABLE, unheard))?;
        let action = if outcome.is_ok() { Action::Loaded } else { Action::Refused };
        let (who, why) = (word.who(), word.why());
        tracing::info!(action = action.as_str(), who, why, "the configuration was to be loaded again");
        self.app.audit.record_change(Change { at: clock::now(), action, word, what: Changed::Configuration });
        match outcome {
            Ok(agents) => Ok(json(StatusCode::OK, &serde_json::json!({ "agents": agents }))),
            Err(why) => {
                let told = format!("the configuration in force stays, since the new one can't be used:\n{why}");
                Err(error(StatusCode::UNPROCESSABLE_ENTITY, told))
            }
        }
    }

    /// The agent of this name, in the policies in force.
    fn agent(&self, name: &AgentName) -> Result<Arc<Agent>, Answer> {
        let policies = self.app.policies.load();
        let agents = policies.agents();
        if let Some(agent) = agents.iter().find(|agent| agent.name == *name) {
            return Ok(Arc::clone(agent));
        }
        let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
        let advice = match yaml::nearest(name.as_str(), &names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("there {}", listed(&names)),
        };
        Err(error(StatusCode::NOT_FOUND, format!("no agent is called `{name}`; {advice}")))
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
                Unchanged::Held | Unchanged::Full(_) | Unchanged::LocksFull(_) => StatusCode::CONFLICT,
                Unchanged::Elsewhere => StatusCode::SERVICE_UNAVAILABLE,
                Unchanged::NotKept(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            error(status, unchanged)
        })
    }
}

// === impl Told ===

impl Told {
    fn word(&self) -> Result<Word, Answer> {
        word(&self.who, &self.why)
    }
}

fn word(who: &str, why: &str) -> Result<Word, Answer> {
    Word::new(who, why).map_err(|problem| error(StatusCode::BAD_REQUEST, problem))
}

/// How long something is to last, as `for` says it.
fn span(text: Option<&str>, bounds: RangeInclusive<Duration>) -> Result<Option<Duration>, Answer> {
    let wrong = |problem: String| error(StatusCode::BAD_REQUEST, problem);
    let span = text.map(yaml::parse_duration).transpose().map_err(|problem| wrong(format!("`for` {problem}")))?;
    if span.is_some_and(|span| !bounds.contains(&span)) {
        return Err(wrong(format!("`for` must be from 1s to {}h", bounds.end().as_secs() / 3600)));
    }
    Ok(span)
}

/// A page of another site can make a browser ask here, under a name that it has led to this address. Browsers say so.
pub(super) fn is_asked_directly(head: &RequestHeader) -> bool {
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    !head.headers.contains_key(header::ORIGIN) && is_loopback(host)
}

/// Whether a host, perhaps with a port, is this machine and no name that somebody else could lead here.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = host.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| bare.parse::<IpAddr>());
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    ip.map_or(name.eq_ignore_ascii_case("localhost"), |ip| ip.to_canonical().is_loopback())
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().take(10).map(|name| format!("`{name}`")).collect();
    format!("{} {}", if names.len() == 1 { "is" } else { "are" }, quoted.join(", "))
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    Answer { status, allow: None, body }
}

pub(super) fn error(status: StatusCode, problem: impl std::fmt::Display) -> Answer {
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
