//! What detection counts of a request, and the alarms that come of it.
//!
//! Counting refuses nothing. What is counted stays counted whatever becomes of the request, so that whoever is refused by
//! other rules is still seen.

use std::{net::IpAddr, sync::Arc};

use super::{
    Answers, Denial,
    checks::{Asker, Check, Question, Subject},
    judge::Arguments,
};
use crate::{
    id::{AgentName, FunctionName},
    policy::{Action, Agent, Detector, Observed, Policies, Watch},
    reason::Reason,
    record::Facts,
    schema::{self, Leniencies, Schema},
    switches::Scope,
    time::Timestamp,
};

/// Which events a rule counts together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WatchKey {
    /// At which agent.
    pub agent: AgentName,
    /// By which rule: a changed one counts anew, an unchanged one goes on counting over a reload.
    pub watch: Watch,
    /// Whose.
    pub subject: Subject,
}

/// More events than are usual, as the state store has counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// What was asked, by its place among the questions.
    pub check: usize,
    /// Whether they are those of all subjects that there was no room for, together.
    pub is_shared: bool,
}

/// An anomaly.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// The rule that tells it.
    pub detector: Arc<Detector>,
    /// See [`Exceeded::is_shared`]: nobody is the one who did it.
    pub is_shared: bool,
}

/// What is counted of a call that begins.
pub(super) fn of_call(asker: &Asker<'_>, now: Timestamp) -> Vec<Question> {
    watched(asker, now, |observed| matches!(observed, Observed::Calls))
}

/// What is counted of a function call.
pub(super) fn of_function(asker: &Asker<'_>, arguments: Option<&Arguments<'_>>, now: Timestamp) -> Vec<Question> {
    watched(asker, now, |observed| match observed {
        Observed::Functions { function, when } => {
            is_of(function.as_ref(), asker) && when.as_ref().is_none_or(|when| holds(when, arguments))
        }
        Observed::Calls | Observed::FailedAuthentication | Observed::Refusals { .. } => false,
    })
}

/// What is to be asked of a request that was refused: what is counted of it that no plan has asked. Nothing, where the
/// agent has no such rules.
pub fn of_refusal(
    denial: &Denial,
    policies: &Policies,
    client: Option<IpAddr>,
    now: Timestamp,
    facts: &Facts,
) -> Vec<Question> {
    let Some(agent) = denial.agent.as_ref().filter(|agent| !agent.detect.is_empty()) else { return Vec::new() };
    let reason = denial.reason;
    // The name is the body's own, and may be no name at all.
    let function: Option<FunctionName> = facts.function.as_ref().and_then(|name| name.parse().ok());
    let call = facts.call_id.as_ref().map(|id| policies.keys().newest().call(id));
    let asker = Asker { agent, caller: facts.caller_digest, call, function: function.as_ref(), client };
    let refused = watched(&asker, now, |observed| match observed {
        Observed::FailedAuthentication => reason.is_failed_authentication(),
        Observed::Refusals { reasons, function } => reasons.contains(&reason) && is_of(function.as_ref(), &asker),
        Observed::Calls | Observed::Functions { .. } => false,
    });
    denial.watched.iter().cloned().chain(refused).collect()
}

/// The alarms among the answers to these questions.
pub fn alarms(agent: &Agent, questions: &[Question], answers: &Answers) -> Vec<Alarm> {
    let alarm = |exceeded: &Exceeded| {
        let Check::Watch { key, .. } = &questions.get(exceeded.check)?.check else { return None };
        let detector = agent.detect.iter().find(|detector| detector.watch == key.watch)?;
        Some(Alarm { detector: Arc::clone(detector), is_shared: exceeded.is_shared })
    };
    answers.exceeded.iter().filter_map(alarm).collect()
}

// === impl Alarm ===

impl Alarm {
    /// What the rule's action stops. Nothing, if it has none or is in shadow, if nobody is the one who did it, or if that is
    /// a caller without a number.
    pub fn stops(&self, agent: &Agent, policies: &Policies, facts: &Facts) -> Option<Scope> {
        let detector = &self.detector;
        if detector.is_shadow || self.is_shared {
            return None;
        }
        let agent = agent.name.clone();
        match detector.action? {
            Action::LockCaller(_) => {
                // The number of whoever was counted, and not of whoever a body names besides.
                let (number, digest) = (facts.caller.as_ref()?, facts.caller_digest?);
                let is_counted = policies.keys().all().iter().any(|key| key.caller(number) == digest);
                Scope::caller(number, Some(agent)).ok().filter(|_| is_counted)
            }
            Action::DisableFunction(_) => {
                let function = facts.function.as_ref()?.parse().ok()?;
                Some(Scope::Function(agent, function))
            }
        }
    }
}

/// The questions of the rules that count this; none of those that count by what isn't known of the request.
fn watched(asker: &Asker<'_>, now: Timestamp, counts: impl Fn(&Observed) -> bool) -> Vec<Question> {
    let counts = |detector: &&Arc<Detector>| {
        counts(&detector.on) && detector.outside.as_ref().is_none_or(|hours| !hours.is_open(now))
    };
    let question = |detector: &Arc<Detector>| {
        let watch = &detector.watch;
        let subject = asker.subject(watch.per, watch.per.function)?;
        let key = WatchKey { agent: asker.agent.name.clone(), watch: watch.clone(), subject };
        let only_new_calls = matches!(detector.on, Observed::Calls);
        Some(Question::always(Check::Watch { key, only_new_calls }, Reason::Internal))
    };
    asker.agent.detect.iter().filter(counts).filter_map(question).collect()
}

fn is_of(function: Option<&FunctionName>, asker: &Asker<'_>) -> bool {
    function.is_none_or(|function| asker.function == Some(function))
}

fn holds(when: &Schema, arguments: Option<&Arguments<'_>>) -> bool {
    schema::check(arguments.and_then(Arguments::node), None, Some(when), &Leniencies::default()).is_ok()
}
