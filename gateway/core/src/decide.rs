//! The decision, in five steps; between them the gateway does what they ask for.
//!
//! ```text
//! head   ─▶ admit(head)              ─▶ Admission | Denial    route, target, size, credentials
//! body   ─▶ judge(admitted, body)    ─▶ Plan | Denial         strict JSON, token, call, arguments
//! state  ─▶ the plan's questions     ─▶ Answers               limits, first use, facts: at most one round trip
//!        ─▶ conclude(plan, answers)  ─▶ Permit | Denial
//! agent  ─▶ release(permit, answer)  ─▶ Released | Denial     rewritten, or refused; what it teaches is remembered
//!        ─▶ release_head(permit, …)  ─▶ headers | Denial      of an answer that passes as it comes
//! ```
//!
//! Each step takes what only the step before can make: a [`Permit`] can be had from nothing but [`conclude`], and the
//! agent is reached only with a [`Permit`].

mod admit;
mod checks;
mod conclude;
mod detect;
mod emergency;
mod judge;
mod redirect;
mod release;
mod rewrite;
mod rules;
mod signed;
mod spoken;
mod stream;

use std::sync::Arc;

pub use admit::{Admission, Admitted, Head, Pending, admit};
pub use checks::{
    Agreed, Begin, CallEvent, CallKey, CellKey, Check, CodeGiven, Family, Part, Question, Subject, address_part,
};
pub use conclude::{Answers, Forward, Lesson, Permit, Refusal, conclude};
pub use detect::{Alarm, Exceeded, WatchKey, alarms, of_refusal};
pub use judge::{Moment, Plan, judge};
pub use release::{AgentAnswer, Released, release};
pub use stream::{AgentHead, release_head};

use crate::{
    policy::{Agent, FunctionRules, Limit, Sentences},
    record::Medium,
    verdict::{self, RateLimit, Reason, Reply, Route},
};

/// A refusal: why, and what to answer.
#[derive(Debug, Clone)]
#[must_use]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// What was asked for.
    pub route: Route,
    /// Of whom, if that is known.
    pub agent: Option<Arc<Agent>>,
    /// In how many seconds to ask again, where that is known.
    pub retry_after: Option<u64>,
    /// How the caller is talked to.
    pub medium: Medium,
    /// The function's rules, if the caller hears its words and not the agent's.
    pub rules: Option<Arc<FunctionRules>>,
    /// What the caller hears, if it isn't their sentence for the reason.
    pub sentence: Option<String>,
    /// The limit that is reached, if it is one.
    pub quota: Option<Limit>,
    /// What detection counts of the request and no plan asks any more.
    pub watched: Vec<Question>,
}

// === impl Denial ===

impl Denial {
    /// A refusal before an agent was found.
    pub fn stranger(reason: Reason) -> Self {
        Self {
            reason,
            route: Route::Unknown,
            agent: None,
            retry_after: None,
            medium: Medium::default(),
            rules: None,
            sentence: None,
            quota: None,
            watched: Vec::new(),
        }
    }

    /// A refusal of what was asked of an agent.
    pub fn of(reason: Reason, route: Route, agent: &Arc<Agent>) -> Self {
        Self {
            reason,
            route,
            agent: Some(Arc::clone(agent)),
            retry_after: None,
            medium: Medium::default(),
            rules: None,
            sentence: None,
            quota: None,
            watched: Vec::new(),
        }
    }

    /// What is answered.
    pub fn reply(&self) -> Reply {
        let unnamed = Sentences::default();
        let of_agent = self.agent.as_ref().map_or(&unnamed, |agent| &agent.say);
        let say = self.rules.as_ref().map_or(of_agent, |rules| &rules.say);
        let mut reply = verdict::reply(self.route, self.reason, (say, self.sentence.as_deref()), self.medium);
        if self.reason == Reason::MethodNotAllowed {
            reply.allow = Some(crate::route::methods(self.route).1);
        }
        // A page in a browser that is told nothing asks again at once.
        reply.is_for_pages = self.route == Route::Open;
        if reply.retry_after.is_some() {
            reply.retry_after = self.retry_after.or(reply.retry_after);
        }
        if let (429, Some(limit)) = (reply.status, &self.quota) {
            reply.rate_limit = Some(Box::new(RateLimit::of(limit, reply.retry_after.unwrap_or(1))));
        }
        reply
    }
}
