//! The record of what somebody, or something, has changed: a switch, a lockout, or the configuration.

use std::{sync::Arc, thread};

use serde::Serialize;
use swaigate_core::{
    orders::Lock,
    switches::{Switch, Word},
    time::Timestamp,
};
use tokio::sync::mpsc::error::TrySendError;

use super::{Audit, Message};
use crate::clock;

/// Something was changed.
#[derive(Debug)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Which way.
    pub action: Action,
    /// Who did it, and why.
    pub word: Word,
    /// What was.
    pub what: Changed,
}

/// What was changed.
#[derive(Debug)]
pub enum Changed {
    /// A switch, as it is now or was until now.
    Switch(Arc<Switch>),
    /// A lockout, likewise.
    Lock(Arc<Lock>),
    /// The configuration was to be loaded again.
    Configuration,
}

/// Which way something was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It stops something, or keeps somebody out, from now on.
    On,
    /// It no longer does.
    Off,
    /// It was loaded, and is in force.
    Loaded,
    /// It was refused: what was in force stays.
    Refused,
}

// === impl Audit ===

impl Audit {
    /// Records a change. It is never dropped: where the queue is full it waits for a place, and nobody waits for that.
    pub fn record_change(&self, change: Change) {
        self.record_changes(vec![change]);
    }

    /// Records changes in their order, likewise.
    pub fn record_changes(&self, changes: Vec<Change>) {
        let mut messages = changes.into_iter().map(|change| Message::Change(Box::new(change)));
        let Some(first) = messages.find_map(|message| match self.queue.try_send(message) {
            Err(TrySendError::Full(message)) => Some(message),
            Ok(()) | Err(TrySendError::Closed(_)) => None,
        }) else {
            return;
        };
        let (queue, rest) = (self.queue.clone(), messages.collect::<Vec<_>>());
        let waiting = thread::Builder::new().name("audit-change".to_owned());
        let spawned = waiting.spawn(move || {
            let mut waiting = std::iter::once(first).chain(rest);
            // Nobody reads the queue any more only when the process ends.
            let _ = waiting.try_for_each(|message| queue.blocking_send(message));
        });
        if let Err(error) = spawned {
            self.metrics.audit.dropped.inc();
            tracing::error!(%error, "the audit queue is full and a change can't wait for a place in it");
        }
    }
}

/// A change as it is written.
#[derive(Serialize)]
pub(super) struct ChangeLine<'c> {
    time: String,
    event: &'static str,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    switch_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    switch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lockout_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lockout: Option<String>,
    who: &'c str,
    why: &'c str,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl<'c> From<&'c Change> for ChangeLine<'c> {
    fn from(change: &'c Change) -> Self {
        let Change { at, action, word, what } = change;
        let plain = Self {
            time: clock::rfc3339(*at),
            event: "configuration",
            action: action.as_str(),
            switch_id: None,
            switch: None,
            lockout_id: None,
            lockout: None,
            who: word.who(),
            why: word.why(),
            origin: "operator",
            since: None,
            until: None,
        };
        match what {
            Changed::Configuration => plain,
            Changed::Switch(switch) => Self {
                event: "switch",
                switch_id: Some(switch.id.to_string()),
                switch: Some(switch.scope.to_string()),
                origin: switch.origin.as_str(),
                since: Some(clock::rfc3339(switch.since)),
                until: switch.until.map(clock::rfc3339),
                ..plain
            },
            Changed::Lock(lock) => Self {
                event: "lockout",
                lockout_id: Some(lock.id.to_string()),
                lockout: Some(lock.subject.to_string()),
                since: Some(clock::rfc3339(lock.since)),
                until: lock.until.map(clock::rfc3339),
                ..plain
            },
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
            Action::Loaded => "loaded",
            Action::Refused => "refused",
        }
    }
}
