//! Calls played without a platform, an agent or a network.
//!
//! What is decided, [`swaigate_core::decide`] decides, over the same store as in a gateway; only who asks, what the agent
//! answers and what time it is are made up. So a policy is tried here, and never a copy of its rules.

mod bodies;
mod cast;
mod sheet;
mod stand_ins;

use std::{cell::RefCell, collections::HashMap, net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use anyhow::Context;
use governor::clock::FakeRelativeClock;
use swaigate_core::{
    basic,
    decide::{self, Admission, AgentAnswer, Answers, Denial, Head, Lesson, Moment, Permit, Plan},
    id::{AgentName, DocumentId, FactKey},
    keys::MIN_KEY_BYTES,
    orders::Orders,
    policy::{Agent, DEFAULT_USER, Policies, Shadow},
    record::{Facts, Medium, Rule},
    route::Method,
    secret::Secret,
    signature::Carried,
    time::Timestamp,
    verdict::{Reason, Reply},
};
use tokio::runtime::{self, Runtime};

pub use self::{
    bodies::{Function, Turn},
    cast::{Cast, Published, Without},
    sheet::{Sheet, document},
    stand_ins::StandIns,
};
use crate::{
    random,
    state::{Bounds, Embedded, StateStore},
};

/// How long a time-based code is the current one, in milliseconds.
const CODE_STEP: i64 = 30_000;

/// How often what no longer matters is forgotten, as in a gateway.
const SWEEP: Duration = Duration::from_secs(10);

/// Agents under their policies, and the platform.
pub struct Rehearsal {
    cast: Cast,
    policies: Rc<Policies>,
    /// The same without some rules.
    others: RefCell<HashMap<Without, Rc<Policies>>>,
    store: Embedded<FakeRelativeClock>,
    bounds: Bounds,
    clock: FakeRelativeClock,
    /// What limits go by, in microseconds since 1970.
    micros: u64,
    now: Timestamp,
    swept: Timestamp,
    /// What the platform is known by.
    password: Secret,
    authorization: Secret,
    /// All policies have the same key: what one makes, the others take.
    key: Secret,
    /// The store's functions are asynchronous, and never wait.
    runtime: Runtime,
}

/// The platform fetches a document.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Of this agent.
    pub agent: AgentName,
    /// The identity that the document gets.
    pub document: DocumentId,
    /// For this call.
    pub call_id: Option<String>,
    /// Who calls: a number, if it is known.
    pub caller: Option<String>,
    /// Which number is called.
    pub called: Option<String>,
    /// How the caller is talked to.
    pub medium: Medium,
    /// From which address.
    pub client: Option<IpAddr>,
    /// With a URL of this document, of the same call.
    pub within: Option<Sheet>,
}

/// What was decided of a request before the agent was asked.
#[derive(Debug)]
pub struct Decided {
    /// The permission to ask the agent, or the refusal.
    pub outcome: Result<Permit, Box<Denial>>,
    /// What was learned.
    pub facts: Facts,
}

/// How a request ended.
#[derive(Debug)]
pub struct Played {
    /// Why.
    pub reason: Reason,
    /// What is answered.
    pub reply: Reply,
    /// What was learned.
    pub facts: Facts,
    /// What the answer taught: see [`Rehearsal::learn`].
    pub lessons: Vec<Lesson>,
}

/// A request of the platform's.
struct Request<'r> {
    agent: &'r Agent,
    /// Path and query, as the platform asks them.
    target: String,
    body: String,
    document: Option<DocumentId>,
    client: Option<IpAddr>,
}

// === impl Rehearsal ===

impl Rehearsal {
    /// These agents at this time; nobody has called yet.
    ///
    /// Whoever asks is the platform: users and signatures are not what is tried here.
    ///
    /// # Errors
    /// If the agents can't be loaded or told apart, or the operating system gives no random bytes.
    pub fn new(cast: Cast, bounds: Bounds, now: Timestamp) -> anyhow::Result<Self> {
        let (password, key) = (random::password()?, Secret::new(random::bytes::<MIN_KEY_BYTES>()?));
        let clock = FakeRelativeClock::default();
        Ok(Self {
            policies: Rc::new(cast.policies(Without::NOTHING, &password, &key)?),
            others: RefCell::default(),
            store: Embedded::with_clock(bounds, clock.clone()),
            bounds,
            clock,
            micros: now.0.saturating_mul(1000),
            now,
            swept: now,
            authorization: basic::header(DEFAULT_USER, password.expose()),
            password,
            key,
            runtime: runtime::Builder::new_current_thread().build().context("no runtime can be made")?,
            cast,
        })
    }

    /// The policies without these rules.
    fn without(&self, without: Without) -> anyhow::Result<Rc<Policies>> {
        if without == Without::NOTHING {
            return Ok(Rc::clone(&self.policies));
        }
        if let Some(known) = self.others.borrow().get(&without) {
            return Ok(Rc::clone(known));
        }
        let policies = Rc::new(self.cast.policies(without, &self.password, &self.key)?);
        self.others.borrow_mut().insert(without, Rc::clone(&policies));
        Ok(policies)
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The policies that are tried.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Sets the time.
    pub fn move_to(&mut self, now: Timestamp) {
        self.move_to_micros(now.0.saturating_mul(1000), now);
    }

    /// Sets the time that limits go by, in microseconds, which doesn't go back; and that of a request, which is when it came.
    pub fn move_to_micros(&mut self, micros: u64, now: Timestamp) {
        let passed = micros.saturating_sub(self.micros);
        self.clock.advance(Duration::from_micros(passed));
        self.micros += passed;
        self.now = now;
        if u128::from(now.0.saturating_sub(self.swept.0)) >= SWEEP.as_millis() {
            self.store.sweep(now);
            self.swept = now;
        }
    }

    /// Forgets all that happened, as a restart does. Documents that have left stay good.
    pub fn restart(&mut self) {
        self.store = Embedded::with_clock(self.bounds, self.clock.clone());
    }

    /// A document is fetched.
    ///
    /// # Errors
    /// If there is no such agent.
    pub fn fetch(&self, fetch: &Fetch) -> anyhow::Result<Decided> {
        let request = self.fetch_request(fetch)?;
        Ok(self.decide(&self.policies, &request))
    }

    /// A function of a document is called.
    ///
    /// # Errors
    /// If the document is of an agent that isn't there.
    pub fn call_function(&self, sheet: &Sheet, function: &Function<'_>) -> anyhow::Result<Decided> {
        let policies = self.without(function.without)?;
        Ok(self.decide(&policies, &self.function_request(sheet, function)?))
    }

    /// Why a function call is refused, whatever the state store would say; `ok` if that would matter. Nothing is counted.
    ///
    /// # Errors
    /// If the document is of an agent that isn't there.
    pub fn look_at(&self, sheet: &Sheet, function: &Function<'_>) -> anyhow::Result<Decided> {
        let policies = self.without(function.without)?;
        let mut facts = Facts::default();
        let plan = self.plan(&policies, &self.function_request(sheet, function)?, self.now, &mut facts);
        let outcome = plan.and_then(|plan| decide::conclude(plan, Answers::default(), &mut facts));
        Ok(Decided { outcome: outcome.map_err(Box::new), facts })
    }

    /// A code for a function, and the argument for it: the right one so many steps after now, or a wrong one. Nothing, if
    /// none is asked for or the right one can't be known.
    pub fn code(&self, agent: &AgentName, function: &str, right: Option<i8>) -> Option<(String, String)> {
        let rules = self.policies.agent(agent)?.functions.rules(function);
        let verify = rules.verify.as_deref()?;
        let Some(steps) = right else {
            let mut wrong = ["000000", "111111", "222222", "333333"].into_iter();
            return wrong
                .find(|code| verify.code.check(code, self.now).is_none())
                .map(|code| (verify.argument.clone(), code.to_owned()));
        };
        let at = Timestamp(self.now.0.saturating_add_signed(i64::from(steps) * CODE_STEP));
        let known = verify.code.known(at)?;
        Some((verify.argument.clone(), known.expose_str()?.to_owned()))
    }

    fn function_request(&self, sheet: &Sheet, function: &Function<'_>) -> anyhow::Result<Request<'_>> {
        let agent = self.agent(&sheet.agent)?;
        let target = sheet.target_of_function(self, agent, function);
        let body = function.body(sheet.call_id.as_deref());
        Ok(Request { agent, target, body, document: None, client: function.client })
    }

    /// The call of a document has ended: its summary comes.
    ///
    /// # Errors
    /// If the document is of an agent that isn't there.
    pub fn end(&self, sheet: &Sheet, call_id: Option<&str>) -> anyhow::Result<Decided> {
        let agent = self.agent(&sheet.agent)?;
        let body = bodies::summary(call_id.or(sheet.call_id.as_deref()));
        let target = sheet.target_of_summary(self, agent);
        Ok(self.decide(&self.policies, &Request { agent, target, body, document: None, client: None }))
    }

    /// The agent answers what it was asked.
    pub fn answer(&self, permit: &Permit, body: &str, mut facts: Facts) -> Played {
        let answer = AgentAnswer {
            status: 200,
            content_type: Some("application/json"),
            content_encoding: None,
            location: None,
            body: body.as_bytes(),
        };
        match decide::release(permit, &self.policies, &answer, &mut facts) {
            Ok(released) => Played { reason: Reason::Ok, reply: released.reply, facts, lessons: released.lessons },
            Err(denial) => Played::refused(&denial, facts),
        }
    }

    /// Remembers what an answer taught.
    pub fn learn(&self, lessons: &[Lesson]) {
        self.runtime.block_on(self.store.learn(lessons, self.now));
    }

    /// What was remembered as done was not.
    pub fn forget(&self, facts: &[FactKey]) {
        self.runtime.block_on(self.store.forget(facts));
    }

    fn agent(&self, name: &AgentName) -> anyhow::Result<&Agent> {
        self.policies.agent(name).map(Arc::as_ref).with_context(|| format!("there is no policy for an agent `{name}`"))
    }

    fn fetch_request<'r>(&'r self, fetch: &'r Fetch) -> anyhow::Result<Request<'r>> {
        let agent = self.agent(&fetch.agent)?;
        let target = match &fetch.within {
            Some(sheet) => sheet.target_of_more(self, agent),
            None if agent.path.is_empty() => "/".to_owned(),
            None => agent.path.clone(),
        };
        let body = bodies::fetch(fetch);
        Ok(Request { agent, target, body, document: Some(fetch.document), client: fetch.client })
    }

    fn decide(&self, policies: &Policies, request: &Request<'_>) -> Decided {
        let mut facts = Facts::default();
        let outcome = self.plan(policies, request, self.now, &mut facts).and_then(|plan| {
            let answers = self.runtime.block_on(self.store.apply(plan.questions(), self.now));
            decide::conclude(plan, answers, &mut facts)
        });
        Decided { outcome: outcome.map_err(Box::new), facts }
    }

    fn plan(
        &self,
        policies: &Policies,
        request: &Request<'_>,
        now: Timestamp,
        facts: &mut Facts,
    ) -> Result<Plan, Denial> {
        let origin = policies.origin_of(request.agent);
        let head = Head {
            method: Method::Post,
            target: &request.target,
            host: &origin.authority.to_string(),
            authorization: Some(self.authorization.expose()),
            content_length: Some(request.body.len() as u64),
            content_type: Some("application/json"),
            signatures: Carried::default(),
            client: request.client,
        };
        let admitted = match decide::admit(policies, &Orders::default(), &head, now, |_| false, facts)? {
            Admission::Admitted(admitted) => admitted,
            Admission::Pending(pending) => pending.verify(facts).0?,
        };
        let moment = Moment { now, document: request.document };
        decide::judge(admitted, policies, &Orders::default(), request.body.as_bytes(), &moment, facts)
    }

    /// What is answered to a request that counts nowhere, at any time.
    fn play_uncounted(&self, request: &Request<'_>, now: Timestamp, answer: &str) -> Played {
        let mut facts = Facts::default();
        // Whom the policy lets in is not asked here.
        let everybody = Without { rules: Shadow::of([Rule::Callers]), condition: false };
        let policies = self.without(everybody).unwrap_or_else(|_| Rc::clone(&self.policies));
        let permit = self
            .plan(&policies, request, now, &mut facts)
            .and_then(|plan| decide::conclude(plan, Answers::default(), &mut facts));
        match permit {
            Ok(permit) => self.answer(&permit, answer, facts),
            Err(denial) => Played::refused(&denial, facts),
        }
    }
}

// === impl Decided ===

impl Decided {
    /// Why it is refused; `ok` if it isn't.
    pub fn reason(&self) -> Reason {
        self.outcome.as_ref().map_or_else(|denial| denial.reason, |_| Reason::Ok)
    }
}

// === impl Played ===

impl Played {
    /// A refusal, as it is answered.
    pub fn refused(denial: &Denial, facts: Facts) -> Self {
        Self { reason: denial.reason, reply: denial.reply(), facts, lessons: Vec::new() }
    }

    /// The answer's text.
    pub fn body(&self) -> &str {
        std::str::from_utf8(&self.reply.body).unwrap_or_default()
    }

    /// What the caller hears of it, if it is something to be heard.
    pub fn said(&self) -> Option<String> {
        bodies::said(self.body())
    }
}
