//! The record of a switch that somebody, or something, has turned.

use std::{sync::Arc, thread};

use serde::Serialize;
use swaigate_core::{
    switches::{Switch, Word},
    time::Timestamp,
};
use tokio::sync::mpsc::error::TrySendError;

use super::{Audit, Message};
use crate::clock;

/// A switch was turned.
#[derive(Debug)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Which way.
    pub action: Action,
    /// Who did it, and why.
    pub word: Word,
    /// The switch, as it is now or was until now.
    pub switch: Arc<Switch>,
}

/// Which way a switch was turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It stops something from now on.
    On,
    /// It no longer does.
    Off,
}

// === impl Audit ===

impl Audit {
    /// Records a change. It is never dropped: where the queue is full it waits for a place, and nobody waits for that.
    pub fn record_change(&self, change: Change) {
        let Err(TrySendError::Full(message)) = self.queue.try_send(Message::Change(Box::new(change))) else { return };
        let queue = self.queue.clone();
        let waiting = thread::Builder::new().name("audit-switch".to_owned());
        if let Err(error) = waiting.spawn(move || queue.blocking_send(message)) {
            self.metrics.audit_dropped.inc();
            tracing::error!(%error, "the audit queue is full and the change of a switch can't wait for a place in it");
        }
    }
}

/// A change as it is written.
#[derive(Serialize)]
pub(super) struct ChangeLine<'c> {
    time: String,
    event: &'static str,
    action: &'static str,
    switch_id: String,
    switch: String,
    who: &'c str,
    why: &'c str,
    origin: &'static str,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl<'c> From<&'c Change> for ChangeLine<'c> {
    fn from(change: &'c Change) -> Self {
        let Change { at, action, word, switch } = change;
        Self {
            time: clock::rfc3339(*at),
            event: "switch",
            action: action.as_str(),
            switch_id: switch.id.to_string(),
            switch: switch.scope.to_string(),
            who: word.who(),
            why: word.why(),
            origin: switch.origin.as_str(),
            since: clock::rfc3339(switch.since),
            until: switch.until.map(clock::rfc3339),
        }
    }
}

// === impl Action ===

impl Action {
    /// Its name in audit records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::On => "on",
            Action::Off => "off",
        }
    }
}
