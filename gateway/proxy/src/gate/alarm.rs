//! Alarms: what detection has found is told at once, before anything else becomes of the request.

use std::sync::Arc;

use swaigate_core::{
    decide::{self, Alarm, Denial},
    policy::{Agent, Detector},
    verdict::Reason,
};

use super::{guard, ledger::Ledger};
use crate::{app::App, audit::Anomaly, clock};

/// Counts a request that was refused, and raises what alarms come of it. What repeats an earlier request was counted with
/// that.
pub(super) async fn of_refusal(app: &Arc<App>, denial: &Denial, ledger: &mut Ledger) {
    let Some(agent) = &denial.agent else { return };
    if agent.detect.is_empty() || ledger.facts().repeat.is_some() {
        return;
    }
    let (policies, client, now) = (app.policies.load_full(), ledger.client(), clock::now());
    let questions = guard(|| decide::of_refusal(denial, &policies, client, now, ledger.facts())).unwrap_or_default();
    if questions.is_empty() {
        return;
    }
    let answers = app.state.apply(&questions, now).await;
    raise(app, agent, decide::alarms(agent, &questions, &answers), ledger).await;
}

/// The same of an answer that passed as it came, and was broken off.
pub(super) async fn of_stream(app: &Arc<App>, reason: Reason, ledger: &mut Ledger) {
    if let Some(denial) = ledger.denial(reason) {
        of_refusal(app, &denial, ledger).await;
    }
}

/// Tells what was found, and does what the rules say.
pub(super) async fn raise(app: &Arc<App>, agent: &Arc<Agent>, alarms: Vec<Alarm>, ledger: &mut Ledger) {
    for alarm in alarms {
        let at = clock::now();
        let is_taken = false;
        tell(app, agent, &alarm, ledger);
        app.audit.record_anomaly(Anomaly {
            at,
            request: ledger.request(),
            agent: agent.name.clone(),
            client: ledger.client(),
            alarm,
            is_taken,
            facts: ledger.facts_so_far(),
        });
    }
}

fn tell(app: &App, agent: &Agent, alarm: &Alarm, ledger: &Ledger) {
    let Detector { watch, on, .. } = alarm.detector.as_ref();
    let (name, rule, on, request) = (agent.name.as_str(), &*watch.name, on.as_str(), ledger.request());
    let (more_than, every) = (watch.more_than, watch.every);
    tracing::warn!(%request, agent = name, rule, on, more_than, ?every, shared = alarm.is_shared, "an anomaly");
    // A request that outlives a rule must not bring back a series that a reload has removed.
    if app.policies.load().agent(&agent.name).is_some_and(|known| known.detector(rule).is_some()) {
        app.metrics.anomaly(name, rule);
    }
}
