//! The questions of one request, and what came of them so far.

use std::{ops::ControlFlow, time::Duration};

use swaigate_core::decide::{Answers, Question, Refusal};

/// A request's questions while they are answered.
pub(super) struct Round<'q> {
    pub(super) questions: &'q [Question],
    pub(super) answers: Answers,
}

// === impl Round ===

impl<'q> Round<'q> {
    pub(super) fn of(questions: &'q [Question]) -> Self {
        Self { questions, answers: Answers::default() }
    }

    /// A check has failed: the end, unless it is in shadow.
    pub(super) fn fails(&mut self, check: usize, wait: Duration) -> ControlFlow<()> {
        if self.questions.get(check).is_some_and(|question| question.is_shadow) {
            self.answers.shadowed.push(check);
            return ControlFlow::Continue(());
        }
        self.answers.refused = Some(Refusal { check, wait });
        ControlFlow::Break(())
    }
}
