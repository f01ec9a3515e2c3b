//! `/v1/lockouts`: who is locked out, and by whom.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use swaigate_core::orders::Lock;

use super::{Answer, Api, LOCKOUT_SPAN, Told, error, json, span, word};
use crate::{
    app::WantedLock,
    clock,
    state::{WrittenLock, WrittenSubject},
};

/// A lockout to put in force.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    subject: WrittenSubject,
    who: String,
    why: String,
    #[serde(default, rename = "for")]
    span: Option<String>,
}

impl Api {
    pub(super) fn lockouts(&self) -> Answer {
        json(StatusCode::OK, &self.written_lockouts())
    }

    /// Those in force, the oldest first.
    pub(super) fn written_lockouts(&self) -> Vec<WrittenLock> {
        let now = clock::now();
        let orders = self.app.board.load();
        let mut locks: Vec<_> = orders.locks.iter().filter(|lock| lock.is_in_force(now)).collect();
        locks.sort_by_key(|lock| (lock.since, lock.id));
        locks.into_iter().map(|lock| WrittenLock::of(lock)).collect()
    }

    pub(super) async fn lock_out(&self, order: Order) -> Result<Answer, Answer> {
        let Order { subject, who, why, span: lasts } = order;
        let subject = subject.subject().map_err(|problem| error(StatusCode::BAD_REQUEST, problem))?;
        let wanted = WantedLock { subject, word: word(&who, &why)?, span: span(lasts.as_deref(), LOCKOUT_SPAN)? };
        let (lock, before) = self.change(move |app| app.board.lock_out(wanted, clock::now())).await?;
        let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        Ok(json(status, &WrittenLock::of(&lock)))
    }

    pub(super) async fn let_in(&self, id: &str, told: Told) -> Result<Answer, Answer> {
        let id = id.parse().map_err(|problem| error(StatusCode::NOT_FOUND, problem))?;
        let word = told.word()?;
        let lock: Arc<Lock> = self.change(move |app| app.board.let_in(id, word, clock::now())).await?;
        Ok(json(StatusCode::OK, &WrittenLock::of(&lock)))
    }
}
