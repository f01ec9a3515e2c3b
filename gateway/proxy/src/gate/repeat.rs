//! A request that the platform sends again takes part in the first, and reaches the agent once.

use std::sync::Arc;

use swaigate_core::{
    decide::{Denial, Plan},
    id::RepeatKey,
    record::Repeat,
    verdict::{Reason, Reply},
};
use tokio::time::timeout;

use crate::{
    app::App,
    state::{Begun, Outcome},
};

/// What a request is among those that are equal to it.
pub(super) enum Part {
    /// One that the platform never sends again.
    Alone,
    /// The first: it goes to the agent.
    First(Lead),
    /// A repetition: this is its answer.
    Again(Repeat, Result<Reply, Denial>),
    /// It can't be told, since as many as may be are under way.
    Refused(Denial),
}

/// The duty of the first to tell the others what became of it. Dropped before, it leaves that to one of them.
pub(super) struct Lead {
    app: Arc<App>,
    key: RepeatKey,
    is_over: bool,
}

/// Takes part in a request; a repetition waits for the first as long as that waits for the agent.
pub(super) async fn take_part(app: &Arc<App>, plan: &Plan) -> Part {
    let Some(key) = plan.repeat() else { return Part::Alone };
    let patience = plan.agent().upstream.timeouts.answer;
    timeout(patience, first_or_answered(app, key, plan))
        .await
        .unwrap_or_else(|_| Part::Again(Repeat::Joined, Err(plan.deny(Reason::AnswerSlow))))
}

async fn first_or_answered(app: &Arc<App>, key: RepeatKey, plan: &Plan) -> Part {
    loop {
        match app.state.begin(key).await {
            Begun::First => return Part::First(Lead { app: Arc::clone(app), key, is_over: false }),
            Begun::Answered(outcome) => return Part::Again(Repeat::Stored, outcome.as_ref().clone()),
            Begun::Full => return Part::Refused(plan.deny(Reason::Overloaded)),
            Begun::UnderWay(mut first) => {
                if let Ok(outcome) = first.wait_for(Option::is_some).await
                    && let Some(outcome) = outcome.as_ref()
                {
                    return Part::Again(Repeat::Joined, outcome.as_ref().clone());
                }
            }
        }
    }
}

// === impl Lead ===

impl Lead {
    /// Tells what became of the request.
    pub(super) fn finish(mut self, result: &Result<Reply, Denial>) {
        self.is_over = true;
        self.app.state.finish(self.key, Outcome::new(result.clone()));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.is_over {
            self.app.state.abandon(self.key);
        }
    }
}
