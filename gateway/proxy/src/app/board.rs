//! The emergency switches in force, and the only way to turn one: on the disk first, then for requests, then in the audit
//! log and the metrics.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use swaigate_core::{
    policy::Policies,
    switches::{Full, Origin, Scope, Switch, SwitchId, Switches, Word},
    time::Timestamp,
};

use crate::{
    audit::{Action, Audit, Change},
    metrics::Metrics,
    random,
    state::Kept,
};

/// The switches.
#[derive(Debug)]
pub struct Board {
    in_force: ArcSwap<Switches>,
    desk: Mutex<Desk>,
    audit: Audit,
    metrics: Arc<Metrics>,
}

/// What a change needs. Whoever holds it is the only one who changes something.
#[derive(Debug)]
struct Desk {
    /// Where switches outlive the process, if they do.
    kept: Option<Kept>,
    /// Whose keys the callers' digests are under.
    policies: Arc<Policies>,
}

/// A switch that somebody wants on.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it stops.
    pub scope: Scope,
    /// Who wants it, and why.
    pub word: Word,
    /// For how long; `None`: until somebody turns it off.
    pub span: Option<Duration>,
    /// What turns it on.
    pub origin: Origin,
}

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Unchanged {
    /// There is no such switch.
    #[error("no switch has this id; it may have been turned off by now")]
    Unknown,
    /// The environment holds it.
    #[error(
        "AGENT_EMERGENCY_MODE holds this switch: take it out of the gateway's environment and start the gateway again"
    )]
    Held,
    /// There are too many.
    #[error(transparent)]
    Full(#[from] Full),
    /// It can't be kept, or not be named.
    #[error("{0:#}")]
    NotKept(anyhow::Error),
}

// === impl Board ===

impl Board {
    /// The switches that were kept, and that of the environment if it says so.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn open(
        kept: Option<Kept>,
        held: bool,
        policies: &Arc<Policies>,
        (audit, metrics): (Audit, Arc<Metrics>),
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let switches = kept.as_ref().map(Kept::switches).transpose()?.unwrap_or_default();
        let count = switches.len();
        let in_force = Switches::new(switches, policies.keys())?;
        let desk = Mutex::new(Desk { kept, policies: Arc::clone(policies) });
        let board = Self { in_force: ArcSwap::from_pointee(in_force), desk, audit, metrics };
        board.metrics.switches(&board.load());
        if count > 0 {
            tracing::warn!(
                count,
                "emergency switches are on from before the start; `swaigate emergency status` tells which"
            );
        }
        if held {
            let word = Word::new("the environment", "AGENT_EMERGENCY_MODE is set")?;
            board.turn_on(Wanted { scope: Scope::All, word, span: None, origin: Origin::Environment }, now)?;
        }
        Ok(board)
    }

    /// Those in force now.
    pub fn load(&self) -> Arc<Switches> {
        self.in_force.load_full()
    }

    /// Turns a switch on, in place of the one that the same origin has on for the same scope. Says which is on now, and
    /// which it took the place of. It waits for the disk.
    ///
    /// # Errors
    /// [`Unchanged`].
    pub fn turn_on(&self, wanted: Wanted, now: Timestamp) -> Result<(Arc<Switch>, Option<Arc<Switch>>), Unchanged> {
        let desk = self.desk();
        let mut switches = Switches::clone(&self.load());
        let Wanted { scope, word, span, origin } = wanted;
        let before = switches.find(&scope, origin).cloned();
        let id = match &before {
            Some(before) => before.id,
            None => SwitchId(random::bytes().map_err(|error| Unchanged::NotKept(error.into()))?),
        };
        let until =
            span.map(|span| Timestamp(now.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))));
        let switch = Switch { id, scope, word: word.clone(), since: now, until, origin };
        switches.turn_on(switch.clone(), desk.policies.keys())?;
        desk.keep(&switch)?;
        let switch = Arc::new(switch);
        self.put_in_force(switches, Change { at: now, action: Action::On, word, switch: Arc::clone(&switch) });
        Ok((switch, before))
    }

    /// Turns a switch off, and says which it was. It waits for the disk.
    ///
    /// # Errors
    /// [`Unchanged`].
    pub fn turn_off(&self, id: SwitchId, word: Word, now: Timestamp) -> Result<Arc<Switch>, Unchanged> {
        let desk = self.desk();
        let mut switches = Switches::clone(&self.load());
        let switch = switches.turn_off(id, desk.policies.keys()).ok_or(Unchanged::Unknown)?;
        if switch.origin == Origin::Environment {
            return Err(Unchanged::Held);
        }
        desk.forget(id)?;
        self.put_in_force(switches, Change { at: now, action: Action::Off, word, switch: Arc::clone(&switch) });
        Ok(switch)
    }

    /// Turns those off whose time is over. They stop nothing any more, so one that can't be removed now is tried again.
    pub fn turn_off_overdue(&self, now: Timestamp) {
        let switches = self.load();
        for overdue in switches.iter().filter(|switch| !switch.is_in_force(now)) {
            let Ok(word) = Word::new("swaigate", "its time is over") else { return };
            if let Err(error) = self.turn_off(overdue.id, word, now) {
                tracing::error!(%error, "an emergency switch whose time is over can't be removed");
            }
        }
    }

    /// Knows callers by the keys of these policies from now on. To be called before they are in force.
    pub fn know_callers_by(&self, policies: &Arc<Policies>) {
        let mut desk = self.desk();
        self.in_force.store(Arc::new(self.load().under(policies.keys())));
        desk.policies = Arc::clone(policies);
    }

    fn put_in_force(&self, switches: Switches, change: Change) {
        self.metrics.switches(&switches);
        self.metrics.switch_turned(change.action.as_str());
        self.in_force.store(Arc::new(switches));
        let Change { action, switch, word, .. } = &change;
        let (action, scope, who, why) = (action.as_str(), switch.scope.kind(), word.who(), word.why());
        tracing::warn!(action, scope, id = %switch.id, who, why, "an emergency switch was turned");
        self.audit.record_change(change);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Desk ===

impl Desk {
    fn keep(&self, switch: &Switch) -> Result<(), Unchanged> {
        match &self.kept {
            // What the environment says is read from it at each start.
            Some(kept) if switch.origin != Origin::Environment => kept.put(switch).map_err(Unchanged::NotKept),
            Some(_) | None => Ok(()),
        }
    }

    fn forget(&self, id: SwitchId) -> Result<(), Unchanged> {
        self.kept.as_ref().map_or(Ok(()), |kept| kept.remove(id)).map_err(Unchanged::NotKept)
    }
}
