//! Step three: the state store has answered, so the request goes to the agent or it doesn't.

use std::{sync::Arc, time::Duration};

use super::{Check, Denial, Plan, rewrite::Lineage};
use crate::{
    policy::{Agent, Exposed},
    record::Medium,
    route::Method,
    signature::Made,
    verdict::{Reason, Route},
};

/// What the state store says to all of a plan's checks: nothing against it, or the first thing that is.
pub type Answers = Result<(), Refusal>;

/// A check that failed. Then none of the plan's checks has counted anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Which, by its place in [`Plan::checks`].
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
    medium: Medium,
    forward: Forward,
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
pub fn conclude(plan: Plan, answers: Answers) -> Result<Permit, Denial> {
    match answers {
        Ok(()) => {
            let Plan { agent, route, method, target, edited, signatures, lineage, redirect, medium, exposed, .. } =
                plan;
            Ok(Permit {
                agent,
                route,
                lineage,
                redirect,
                exposed,
                medium,
                forward: Forward { method, target, edited, signatures },
            })
        }
        Err(Refusal { check, wait }) => {
            let reason = match plan.checks().get(check) {
                Some(Check::Rate(_)) => Reason::Limited,
                Some(Check::Bind { .. }) => Reason::TokenUnbound,
                Some(Check::Call { .. }) => Reason::CallEnded,
                None => Reason::Internal,
            };
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Err(Denial { retry_after: (seconds > 0).then_some(seconds), ..plan.deny(reason) })
        }
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

    /// Whether the gateway knows who asks. Only then its own credentials go with the request.
    pub fn is_authenticated(&self) -> bool {
        self.route != Route::Open
    }

    /// Whether the exchange is cancelled when the client leaves: only where repeating it does no harm.
    pub fn is_cancelled_with_the_client(&self) -> bool {
        self.forward.method.is_safe()
    }

    /// A refusal in place of the agent's answer.
    pub fn deny(&self, reason: Reason) -> Denial {
        Denial { medium: self.medium, ..Denial::of(reason, self.route, &self.agent) }
    }
}
