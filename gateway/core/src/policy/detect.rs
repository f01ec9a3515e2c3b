//! What is unusual: the rules of a policy's `detect`. They refuse nothing. They count, and raise an alarm.

use std::{sync::Arc, time::Duration};

use super::Per;
use crate::{hours::Hours, id::FunctionName, reason::Reason, schema::Schema};

/// A rule that tells something unusual.
#[derive(Debug)]
pub struct Detector {
    /// What is too much.
    pub watch: Watch,
    /// What is counted.
    pub on: Observed,
    /// When nothing is counted.
    pub outside: Option<Hours>,
    /// What is done besides telling.
    pub action: Option<Action>,
    /// Whether that is noted only.
    pub is_shadow: bool,
}

/// More than so many events of one subject within so long are an anomaly.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Watch {
    /// The rule's name: 1 to 64 of `a-z A-Z 0-9 _ -`, and no other of the agent's. It is a metric label.
    pub name: Arc<str>,
    /// Whose events are counted together.
    pub per: Per,
    /// How many are usual; perhaps none.
    pub more_than: u32,
    /// Within how long, and how long an alarm isn't raised again for the same subject.
    pub every: Duration,
}

/// What is counted.
#[derive(Debug)]
pub enum Observed {
    /// Calls that begin.
    Calls,
    /// Function calls whose token is good, also those that are refused.
    Functions {
        /// Of this function alone.
        function: Option<FunctionName>,
        /// With arguments that are valid by this schema alone.
        when: Option<Schema>,
    },
    /// Requests that failed to prove who sent them: [`Reason::is_failed_authentication`].
    FailedAuthentication,
    /// Requests that were refused.
    Refusals {
        /// For one of these reasons.
        reasons: Vec<Reason>,
        /// Calls of this function alone.
        function: Option<FunctionName>,
    },
}

/// What is done besides telling, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The caller gets neither documents nor functions of this agent.
    LockCaller(Duration),
    /// Nobody gets the function.
    DisableFunction(Duration),
}

// === impl Detector ===

impl Detector {
    /// Which of the usual anomalies it tells, by what it counts: a metric label, so that alerts need not know its name.
    pub fn kind(&self) -> &'static str {
        match &self.on {
            _ if self.outside.is_some() => "after_hours",
            Observed::Calls => "call_volume",
            Observed::Functions { when: Some(_), .. } => "large_transaction",
            Observed::Functions { when: None, .. } => "function_rate",
            Observed::FailedAuthentication => "failed_authentication",
            Observed::Refusals { .. } => "refusals",
        }
    }
}

// === impl Observed ===

impl Observed {
    /// Its name in policies and audit records.
    pub fn as_str(&self) -> &'static str {
        match self {
            Observed::Calls => "calls",
            Observed::Functions { .. } => "functions",
            Observed::FailedAuthentication => "failed_authentication",
            Observed::Refusals { .. } => "refusals",
        }
    }
}

// === impl Action ===

impl Action {
    /// Its name in policies and audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::LockCaller(_) => "lock_caller",
            Action::DisableFunction(_) => "disable_function",
        }
    }

    /// For how long.
    pub fn span(self) -> Duration {
        match self {
            Action::LockCaller(span) | Action::DisableFunction(span) => span,
        }
    }
}
