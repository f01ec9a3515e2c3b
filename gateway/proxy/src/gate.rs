//! The pipeline of a request, on one page.
//!
//! ```text
//! admit → judge → repeat → state → conclude → exchange → release → record
//! ```
//!
//! All of it happens inside of Pingora's `request_filter`: that is the only way to refuse before a byte goes to the
//! agent, to hold a body of any size, and to turn a bad answer into a clean refusal. What is decided is decided by
//! [`swaigate_core::decide`]; this module collects what it asks for, and obeys.

mod alarm;
mod body;
mod client;
mod detach;
mod head;
mod headers;
mod ledger;
mod password;
mod repeat;
mod reply;
mod stream;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::{Error, ErrorType, Result, modules::http::HttpModules, upstreams::peer::HttpPeer};
use pingora_proxy::{ProxyHttp, Session};
use swaigate_core::{
    decide::{self, Admission, Admitted, AgentAnswer, Denial, Moment, Permit, Plan, Released},
    id::{DocumentId, RepeatKey},
    orders::Orders,
    policy::Policies,
    record::Facts,
    time::Timestamp,
    verdict::{Reason, Reply, Route},
};
use tokio::time::timeout;

use self::{
    body::Body,
    detach::Detachable,
    head::OwnedHead,
    ledger::Ledger,
    repeat::{Lead, Part},
    stream::Ended,
};
use crate::{
    app::App,
    clock,
    connection::Connection,
    random,
    upstream::{Answer, Envelope, Exchanged, Upstreams},
};

/// From this size on, JSON is worked on where it blocks nobody else.
const LARGE: usize = 256 * 1024;

/// Serves requests.
pub struct Gate {
    app: Arc<App>,
    upstreams: Arc<Upstreams>,
}

// === impl Gate ===

impl Gate {
    /// A gate to these agents.
    pub fn new(app: Arc<App>, upstreams: Arc<Upstreams>) -> Self {
        Self { app, upstreams }
    }

    async fn serve(&self, session: &mut Session, ledger: &mut Ledger) -> Result<Served, Denial> {
        let policies = self.app.policies.load_full();
        let head = head::read(session, &self.app.connections, ledger.client()).map_err(Denial::stranger)?;
        let now = clock::now();

        let client = head.envelope.client;
        let admitted = self.admit(&policies, &head, now, ledger).await;
        let admitted = admitted.inspect_err(|denial| password::note_failure(&self.app, denial, client, now))?;
        if let Some(reply) = self.app.health.recent(&admitted) {
            return Ok(Served::Whole { reply, request: None });
        }
        let moment = moment(now, &admitted).map_err(|reason| admitted.deny(reason))?;
        let body = body::read(session, &self.app, &admitted).await.map_err(|reason| admitted.deny(reason))?;
        ledger.decides();
        let plan = judge(admitted, &policies, self.app.board.load(), &body, moment, ledger).await?;
        let request = plan.repeat();
        let lead = match repeat::take_part(&self.app, &plan).await {
            Part::Alone => None,
            Part::First(lead) => Some(lead),
            Part::Again(repeat, answered) => {
                ledger.facts().repeat = Some(repeat);
                return answered.map(|reply| Served::Whole { reply, request });
            }
            Part::Refused(denial) => return Err(denial),
        };
        ledger.decides();
        let answers = self.app.state.apply(plan.questions(), moment.now).await;
        let alarms = decide::alarms(plan.agent(), plan.questions(), &answers);
        alarm::raise(&self.app, plan.agent(), alarms, ledger).await;
        let permit = decide::conclude(plan, answers, ledger.facts())?;
        ledger.keep_place().await.map_err(|reason| permit.deny(reason))?;
        let (agent, route) = (Arc::clone(permit.agent()), permit.route());
        let exchange = Exchange { permit, lead, policies, body, envelope: head.envelope };
        if exchange.permit.is_streamed() {
            return stream::pass_on(session, &self.upstreams, exchange, ledger).await.map(Served::Streamed);
        }
        let reply = self.exchange_and_release(session, exchange, ledger).await?;
        self.app.health.remember(&agent, route, &reply);
        Ok(Served::Whole { reply, request })
    }

    async fn admit(
        &self,
        policies: &Policies,
        head: &OwnedHead,
        now: Timestamp,
        ledger: &mut Ledger,
    ) -> Result<Admitted, Denial> {
        let verified = |fingerprint: &_| self.app.verified.contains(fingerprint);
        let facts = ledger.facts();
        let orders = self.app.board.load();
        let admission = guard(|| decide::admit(policies, &orders, &head.borrow(), now, verified, facts))
            .unwrap_or_else(|Panicked| Err(Denial::stranger(Reason::Internal)))?;
        let pending = match admission {
            Admission::Admitted(admitted) => {
                ledger.asks(admitted.agent(), admitted.route());
                return Ok(admitted);
            }
            Admission::Pending(pending) => pending,
        };
        let (admitted, facts) = password::verify(&self.app, *pending, head.envelope.client).await?;
        ledger.facts().user = facts.user;
        ledger.asks(admitted.agent(), admitted.route());
        Ok(admitted)
    }

    /// What changes something goes on without the client's connection: it ends, and is recorded, also if the client
    /// leaves or was told to wait. What changes nothing ends with the client.
    async fn exchange_and_release(
        &self,
        session: &mut Session,
        mut exchange: Exchange,
        ledger: &mut Ledger,
    ) -> Result<Reply, Denial> {
        exchange.envelope.request = Some(ledger.request());
        let permit = &exchange.permit;
        let patience = permit.agent().upstream.timeouts.answer;
        let (slow, gone) = (permit.deny(Reason::AnswerSlow), permit.deny(Reason::ClientGone));
        let is_cancelled = permit.is_cancelled_with_the_client();
        let running = exchange.run(Arc::clone(&self.app), Arc::clone(&self.upstreams), ledger.facts_so_far());
        let late = (!is_cancelled).then(|| ledger.for_late_answer());
        let mut running = Detachable::new(Box::pin(running), late);

        let answered = if is_cancelled {
            tokio::select! {
                answered = timeout(patience, &mut running) => answered,
                _ = session.read_body_or_idle(true) => return Err(gone),
            }
        } else {
            timeout(patience, &mut running).await
        };
        match answered {
            Ok(Outcome { result, facts, agent_time }) => {
                ledger.learn(facts, agent_time);
                result
            }
            Err(_) => {
                ledger.took(patience);
                Err(slow)
            }
        }
    }
}

/// What became of a request.
enum Served {
    /// This is answered; the request is named if its answer may be sent again.
    Whole { reply: Reply, request: Option<RepeatKey> },
    /// The answer has left already, or as much of it as there was.
    Streamed(Ended),
}

/// What came of an exchange.
struct Outcome {
    result: Result<Reply, Denial>,
    facts: Facts,
    agent_time: Option<Duration>,
}

struct Exchange {
    permit: Permit,
    lead: Option<Lead>,
    policies: Arc<Policies>,
    body: Body,
    envelope: Envelope,
}

impl Exchange {
    async fn run(self, app: Arc<App>, upstreams: Arc<Upstreams>, mut facts: Facts) -> Outcome {
        let Exchange { permit, lead, policies, body, envelope } = self;
        let _flight = app.take_off();
        let started = Instant::now();
        let sent = match &permit.forward().edited {
            Some(edited) => Bytes::from(edited.clone()),
            None => body.bytes(),
        };
        let Exchanged { server, answer } = upstreams.exchange(&permit, sent, &envelope).await;
        facts.server = server;
        let agent_time = Some(started.elapsed());
        drop(body);
        let (result, facts) = match answer {
            Ok(answer) => {
                let (released, facts) = release(permit, policies, answer, facts).await;
                (learn(&app, released).await, facts)
            }
            Err(failure) => {
                facts.detail = Some(failure.detail);
                // The agent never heard of it: it may be asked again.
                if failure.reason.is_before_the_agent() {
                    app.state.forget(permit.undone()).await;
                }
                (Err(permit.deny(failure.reason)), facts)
            }
        };
        if let Some(lead) = lead {
            lead.finish(&result);
        }
        Outcome { result, facts, agent_time }
    }
}

async fn judge(
    admitted: Admitted,
    policies: &Arc<Policies>,
    orders: Arc<Orders>,
    body: &Body,
    moment: Moment,
    ledger: &mut Ledger,
) -> Result<Plan, Denial> {
    let failed = admitted.deny(Reason::Internal);
    let has_slow_codes = admitted.route() == Route::Swaig && admitted.agent().functions.has_slow_codes();
    let (policies, bytes, mut facts) = (Arc::clone(policies), body.bytes(), std::mem::take(ledger.facts()));
    let work = move || {
        let plan = guard(|| decide::judge(admitted, &policies, &orders, &bytes, &moment, &mut facts));
        (plan, facts)
    };
    let size = if has_slow_codes { LARGE } else { body.len() };
    let (plan, facts) = aside(size, work).await.ok_or_else(|| failed.clone())?;
    *ledger.facts() = facts;
    plan.unwrap_or(Err(failed))
}

/// What an answer teaches is remembered before it leaves.
async fn learn(app: &App, released: Result<Released, Denial>) -> Result<Reply, Denial> {
    let Released { reply, lessons } = released?;
    if !lessons.is_empty() {
        app.state.learn(&lessons, clock::now()).await;
    }
    Ok(reply)
}

async fn release(
    permit: Permit,
    policies: Arc<Policies>,
    answer: Answer,
    mut facts: Facts,
) -> (Result<Released, Denial>, Facts) {
    let failed = permit.deny(Reason::Internal);
    let size = answer.body.len();
    let work = move || {
        let whole = AgentAnswer {
            status: answer.status,
            content_type: answer.content_type.as_deref(),
            content_encoding: answer.content_encoding.as_deref(),
            location: answer.location.as_deref(),
            body: &answer.body,
        };
        let reply = guard(|| decide::release(&permit, &policies, &whole, &mut facts));
        (reply, facts)
    };
    match aside(size, work).await {
        Some((reply, facts)) => (reply.unwrap_or(Err(failed)), facts),
        None => (Err(failed), Facts::default()),
    }
}

/// Runs small work here, and large work where it blocks no other request. `None` if it panicked there.
async fn aside<T: Send + 'static>(size: usize, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if size < LARGE { Some(work()) } else { tokio::task::spawn_blocking(work).await.ok() }
}

struct Panicked;

/// A panic in the decision costs one request, which is refused.
fn guard<T>(decide: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(decide)).map_err(|_| Panicked)
}

/// Only a document that is fetched needs an id of its own; drawing one costs a system call.
fn moment(now: Timestamp, admitted: &Admitted) -> Result<Moment, Reason> {
    let drawn = (admitted.route() == Route::Swml).then(random::bytes).transpose();
    let document = drawn.map_err(|error| {
        tracing::error!(%error, "no document can be made");
        Reason::Internal
    })?;
    Ok(Moment { now, document: document.map(DocumentId) })
}

// === Pingora's side ===

#[async_trait]
impl ProxyHttp for Gate {
    type CTX = ();

    fn new_ctx(&self) {}

    /// The default module compresses; answers are small, and compressing secrets beside an attacker's text leaks them.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<()> {
        if let Some(connection) = Connection::of(session.digest()) {
            connection.begins_request();
        }
        // Pingora keeps an idle connection for ever unless it is told otherwise.
        let keepalive = (!self.app.is_draining()).then_some(self.app.connections.keepalive.as_secs());
        session.set_keepalive(keepalive);
        session.set_read_timeout(Some(self.app.body_timeout));
        session.set_write_timeout(Some(self.app.body_timeout));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        let _flight = self.app.take_off();
        let mut ledger = Ledger::open(Arc::clone(&self.app), session);
        let outcome = self.serve(session, &mut ledger).await;
        let (reply, request, reason) = match outcome {
            Ok(Served::Whole { reply, request }) => (reply, request, Reason::Ok),
            Ok(Served::Streamed(Ended { reason, delivery })) => {
                alarm::of_stream(&self.app, reason, &mut ledger).await;
                ledger.close(reason, delivery);
                return if delivery.complete { Ok(true) } else { Err(stream::cut()) };
            }
            Err(denial) => {
                ledger.refused(&denial);
                alarm::of_refusal(&self.app, &denial, &mut ledger).await;
                (denial.reply(), None, denial.reason)
            }
        };
        let is_lost = request.is_some() && reply::has_left(session).await;
        let mut delivery = reply::write(session, &self.app, reply, reason, ledger.request()).await;
        let is_cut = !delivery.complete;
        delivery.complete &= !is_lost;
        if let Some(request) = request.filter(|_| delivery.complete) {
            self.app.state.delivered(request);
        }
        ledger.close(reason, delivery);
        // What is left of it would be waited for again, and for longer.
        if is_cut { Err(stream::cut()) } else { Ok(true) }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, _ctx: &mut ()) {
        if let Some(connection) = Connection::of(session.digest()) {
            connection.ends_request();
        }
    }

    /// Never reached: `request_filter` answers every request.
    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Error::err(ErrorType::InternalError)
    }

    /// Each request has its audit record; Pingora's own line would hold the query, and so the token.
    fn suppress_error_log(&self, _session: &Session, _ctx: &(), _error: &Error) -> bool {
        true
    }

    fn request_summary(&self, session: &Session, _ctx: &()) -> String {
        session.req_header().method.to_string()
    }
}
