//! Alarms: what detection has found is told at once, and what its rules say is done, before anything else becomes of the
//! request.

use std::sync::Arc;

use swaigate_core::{
    decide::{self, Alarm, Denial},
    policy::{Action, Agent, Detector},
    switches::{Origin, Scope, Word},
    time::Timestamp,
    verdict::Reason,
};

use super::{guard, ledger::Ledger};
use crate::{
    app::{App, Wanted},
    audit::Anomaly,
    clock,
};

/// Who turns switches on, in their audit records.
const WHO: &str = "detection";

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
        let (at, detector) = (clock::now(), Arc::clone(&alarm.detector));
        let stopped = alarm.stops(agent, &app.policies.load(), ledger.facts());
        tell(app, agent, &alarm, ledger);
        app.audit.record_anomaly(Anomaly {
            at,
            request: ledger.request(),
            agent: agent.name.clone(),
            client: ledger.client(),
            alarm,
            is_taken: stopped.is_some(),
            facts: ledger.facts_so_far(),
        });
        if let (Some(scope), Some(action)) = (stopped, detector.action) {
            act(app, scope, action, &detector.watch.name, at).await;
        }
    }
}

fn tell(app: &App, agent: &Agent, alarm: &Alarm, ledger: &Ledger) {
    let Detector { watch, on, .. } = alarm.detector.as_ref();
    let (name, rule, on, request) = (agent.name.as_str(), &*watch.name, on.as_str(), ledger.request());
    let (more_than, every) = (watch.more_than, watch.every);
    tracing::warn!(%request, agent = name, rule, on, more_than, ?every, shared = alarm.is_shared, "an anomaly");
    // A request that outlives a rule must not bring back a series that a reload has removed.
    if app.policies.load().agent(&agent.name).is_some_and(|known| known.detector(rule).is_some()) {
        app.metrics.agents.anomaly(name, &alarm.detector);
    }
}

/// Turns a switch on, unless one of detection's is on for longer. That waits for the disk, so it is done aside.
async fn act(app: &Arc<App>, scope: Scope, action: Action, rule: &str, now: Timestamp) {
    let Ok(word) = Word::new(WHO, rule) else { return };
    let wanted = Wanted { scope, word, span: Some(action.span()), origin: Origin::Detection };
    let app = Arc::clone(app);
    let turned = tokio::task::spawn_blocking(move || {
        let orders = app.board.load();
        let before = orders.switches.find(&wanted.scope, Origin::Detection).and_then(|switch| switch.until);
        let until = now.0.saturating_add(u64::try_from(action.span().as_millis()).unwrap_or(u64::MAX));
        if before.is_some_and(|before| before.0 >= until) {
            return Ok(());
        }
        app.board.turn_on(wanted, now).map(drop)
    });
    match turned.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(rule, %error, "what detection has found is not stopped"),
        Err(error) => tracing::error!(rule, %error, "what detection has found is not stopped"),
    }
}
