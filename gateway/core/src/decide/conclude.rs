//! Step three: the state store has answered, so the request goes to the agent or it doesn't.

use std::{sync::Arc, time::Duration};

use super::{Check, Denial, Exceeded, Plan, rewrite::Lineage};
use crate::{
    id::FactKey,
    policy::{Agent, Exposed, Requirement},
    record::{Facts, Medium},
    route::Method,
    signature::Made,
    time::whole_seconds,
    verdict::{Reason, Route},
};

/// What the state store says to all of a plan's questions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// The first thing that is against the request. Then none of its checks has counted anything.
    pub refused: Option<Refusal>,
    /// What is against it and refuses nothing: questions in shadow, by their places in [`Plan::questions`].
    pub shadowed: Vec<usize>,
    /// Whether the request begins a call that wasn't known.
    pub begins_call: bool,
    /// What is an anomaly, whatever else is answered.
    pub exceeded: Vec<Exceeded>,
}

/// A check that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Which, by its place in [`Plan::questions`].
    pub check: usize,
    /// How long until the same request could pass; zero if it never will.
    pub wait: Duration,
}

/// The permission to send one request to one agent. Only [`conclude`] makes one.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    pub(super) agent: Arc<Agent>,
    pub(super) route: Route,
    pub(super) lineage: Option<Lineage>,
    /// What the URL of a redirect inherits, if it isn't the same.
    pub(super) redirect: Option<Lineage>,
    pub(super) exposed: Option<Arc<Exposed>>,
    pub(super) medium: Medium,
    /// What the answer is looked through for.
    pub(super) sought: Vec<Sought>,
    /// What was remembered as done before the agent was asked.
    done: Vec<FactKey>,
    forward: Forward,
}

/// What an answer may teach: that a function succeeded, which another one requires.
#[derive(Debug, Clone)]
pub(super) struct Sought {
    pub(super) requirement: Arc<Requirement>,
    pub(super) lesson: Lesson,
}

/// A fact of a call that is remembered for its later requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lesson {
    /// The fact.
    pub fact: FactKey,
    /// Until when it matters, in Unix seconds.
    pub expiry: u32,
}

/// What is sent to the agent.
#[derive(Debug)]
pub struct Forward {
    /// The method.
    pub method: Method,
    /// Path and query, as the agent wrote them.
    pub target: String,
    /// The body, if it isn't to be sent as it came.
    pub edited: Option<String>,
    /// The signatures, if the agent checks them.
    pub signatures: Option<Made>,
}

/// Concludes from the state store's answers.
///
/// # Errors
/// A [`Denial`] if one of them is a refusal.
pub fn conclude(plan: Plan, answers: Answers, facts: &mut Facts) -> Result<Permit, Denial> {
    facts.begins_call = answers.begins_call && answers.refused.is_none();
    for question in answers.shadowed.iter().filter_map(|place| plan.questions().get(*place)) {
        if let Some(rule) = question.rule {
            facts.shadowed(rule, question.reason.as_str());
        }
    }
    if let Some(refusal) = answers.refused {
        return Err(refused(&plan, refusal));
    }
    facts.permitted = true;
    let done = plan.questions().iter().filter_map(|question| match &question.check {
        Check::Once { fact, .. } => Some(*fact),
        _ => None,
    });
    let done = done.collect();
    let Plan { agent, route, method, target, edited, signatures, lineage, redirect, medium, exposed, sought, .. } =
        plan;
    let forward = Forward { method, target, edited, signatures };
    Ok(Permit { agent, route, lineage, redirect, exposed, medium, sought, done, forward })
}

fn refused(plan: &Plan, refusal: Refusal) -> Denial {
    let Refusal { check, wait } = refusal;
    let Some(question) = plan.questions().get(check) else { return plan.deny(Reason::Internal) };
    let is_locked = question.reason == Reason::CodeWrong && !wait.is_zero();
    let reason = if is_locked { Reason::CodeLocked } else { question.reason };
    let seconds = whole_seconds(wait);
    let denial = plan.deny(reason);
    Denial {
        retry_after: (seconds > 0).then_some(seconds),
        rules: plan.rules.clone().filter(|_| question.is_of_function),
        sentence: question.sentence.clone(),
        quota: question.quota(),
        ..denial
    }
}

// === impl Permit ===

impl Permit {
    /// What is sent.
    pub fn forward(&self) -> &Forward {
        &self.forward
    }

    /// To whom.
    pub fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// What is asked.
    pub fn route(&self) -> Route {
        self.route
    }

    /// Whether a body was read as JSON, so that it is to be read as nothing else.
    pub fn is_of_json(&self) -> bool {
        match self.route {
            Route::Swml | Route::Swaig | Route::Includes | Route::Summary | Route::Debug => true,
            Route::Callback | Route::Asset | Route::Health | Route::Exposed | Route::Open | Route::Unknown => false,
        }
    }

    /// Whether the gateway knows who asks. Only then its own credentials go with the request.
    pub fn is_authenticated(&self) -> bool {
        self.route != Route::Open
    }

    /// Whether the exchange is cancelled when the client leaves: only where repeating it does no harm.
    pub fn is_cancelled_with_the_client(&self) -> bool {
        self.forward.method.is_safe()
    }

    /// What was remembered as done, though the agent never heard of it.
    pub fn undone(&self) -> &[FactKey] {
        &self.done
    }

    /// What the request has in common with others that belong on the same server: those of its call, or of a document
    /// that was fetched without one. `None`: it belongs nowhere.
    pub fn home(&self) -> Option<[u8; 16]> {
        self.lineage.map(|lineage| lineage.home())
    }

    /// A refusal in place of the agent's answer.
    pub fn deny(&self, reason: Reason) -> Denial {
        Denial { medium: self.medium, ..Denial::of(reason, self.route, &self.agent) }
    }
}
