//! What people have ordered, as it is in force, and the only way to change it: on the disk first, then for requests, then in
//! the audit log and the metrics.

mod elsewhere;
mod imports;
mod locks;
mod switches;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use swaigate_core::{
    orders::{self, Lock, Locks, Orders},
    policy::Policies,
    switches::{self as core_switches, Origin, Scope, Switch, Switches, Word},
    time::Timestamp,
};

pub use self::{elsewhere::Follower, locks::WantedLock, switches::Wanted};
use crate::{
    audit::{Action, Audit, Change, Changed},
    metrics::Metrics,
    state::{Kept, Ordered, Recovered},
};

/// What is ordered.
#[derive(Debug)]
pub struct Board {
    in_force: ArcSwap<Orders>,
    desk: Mutex<Desk>,
    /// Who is told of each change.
    follower: Mutex<Option<Follower>>,
    audit: Audit,
    metrics: Arc<Metrics>,
}

/// What a change needs. Whoever holds it is the only one who changes something.
#[derive(Debug)]
struct Desk {
    /// Where orders outlive the process, if they do.
    kept: Option<Kept>,
    /// Whether another process has the file, and answers for the orders.
    is_elsewhere: bool,
    /// Whose keys the callers' digests are under.
    policies: Arc<Policies>,
}

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Unchanged {
    /// There is no such switch, or no such lockout.
    #[error("nothing in force has this id; somebody may have ended it by now")]
    Unknown,
    /// The environment holds it.
    #[error(
        "AGENT_EMERGENCY_MODE holds this switch: take it out of the gateway's environment and start the gateway again"
    )]
    Held,
    /// There are too many switches.
    #[error(transparent)]
    Full(#[from] core_switches::Full),
    /// There are too many lockouts.
    #[error(transparent)]
    LocksFull(#[from] orders::Full),
    /// Another process answers for the orders, or will in a moment.
    #[error("another process of the gateway takes over just now; ask again")]
    Elsewhere,
    /// It can't be kept, or not be named.
    #[error("{0:#}")]
    NotKept(anyhow::Error),
}

// === impl Board ===

impl Board {
    /// The orders that were kept, and the switch of the environment if it says so.
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
        let Ordered { switches, locks } = kept.as_ref().map(Kept::ordered).transpose()?.unwrap_or_default();
        if !switches.is_empty() || !locks.is_empty() {
            let (switches, lockouts) = (switches.len(), locks.len());
            tracing::warn!(switches, lockouts, "in force from before the start; `swaigate status` tells which");
        }
        let keys = policies.keys();
        let (switches, locks) = (Switches::new(switches, keys)?.into(), Locks::new(locks, keys)?.into());
        let in_force = ArcSwap::from_pointee(Orders { switches, locks });
        let desk = Mutex::new(Desk { kept, is_elsewhere: false, policies: Arc::clone(policies) });
        let board = Self { in_force, desk, follower: Mutex::default(), audit, metrics };
        board.measure(&board.load());
        board.tell_recovery();
        board.record_imports()?;
        if held {
            let word = Word::new("the environment", "AGENT_EMERGENCY_MODE is set")?;
            board.turn_on(Wanted { scope: Scope::All, word, span: None, origin: Origin::Environment }, now)?;
        }
        Ok(board)
    }

    /// Those in force now.
    pub fn load(&self) -> Arc<Orders> {
        self.in_force.load_full()
    }

    /// Ends what has lasted as long as it was to. It does nothing any more, so what can't be removed now is tried again.
    pub fn end_overdue(&self, now: Timestamp) {
        if self.desk().is_elsewhere {
            return;
        }
        let Orders { switches, locks } = &*self.load();
        let Ok(word) = Word::new("swaigate", "its time is over") else { return };
        let switches = switches.iter().filter(|switch| !switch.is_in_force(now)).map(|switch| switch.id);
        let ended = switches.map(|id| self.turn_off(id, word.clone(), now).map(drop));
        let locks = locks.iter().filter(|lock| !lock.is_in_force(now)).map(|lock| lock.id);
        let ended = ended.chain(locks.map(|id| self.let_in(id, word.clone(), now).map(drop)));
        for error in ended.filter_map(Result::err) {
            tracing::error!(%error, "what is over can't be removed from the kept state");
        }
    }

    /// Knows callers by the keys of these policies from now on. To be called before they are in force.
    pub fn know_callers_by(&self, policies: &Arc<Policies>) {
        let mut desk = self.desk();
        let Orders { switches, locks } = &*self.load();
        let (switches, locks) = (switches.under(policies.keys()).into(), locks.under(policies.keys()).into());
        self.in_force.store(Arc::new(Orders { switches, locks }));
        desk.policies = Arc::clone(policies);
    }

    /// A damaged file was set aside: that is said loudly. That everything is stopped since is recorded like an import.
    fn tell_recovery(&self) {
        let desk = self.desk();
        let Some(recovered) = desk.kept.as_ref().and_then(Kept::recovered) else { return };
        let Recovered { aside, problem, switches, locks } = recovered;
        tracing::error!(
            aside = %aside.display(), problem = %format!("{problem:#}"), switches, lockouts = locks,
            "the kept emergency switches and lockouts were unreadable, and the file was set aside. Only as many as are told \
             here could be read of it. Everything is stopped until `swaigate emergency off --why …` says otherwise: turn on \
             before that what was on (the audit log says what that was), or bring it back by `swaigate state import`"
        );
    }

    fn put_in_force(&self, orders: Orders, changes: Vec<Change>) {
        self.tell_follower(&orders);
        self.measure(&orders);
        self.in_force.store(Arc::new(orders));
        for Change { action, word, what, .. } in &changes {
            let (action, who, why) = (action.as_str(), word.who(), word.why());
            match what {
                Changed::Switch(switch) => {
                    self.metrics.orders.switch_turned(action);
                    let scope = switch.scope.kind();
                    tracing::warn!(action, scope, id = %switch.id, who, why, "an emergency switch was turned");
                }
                Changed::Lock(lock) => {
                    self.metrics.orders.lockout_changed(action);
                    tracing::warn!(action, kind = lock.subject.kind(), id = %lock.id, who, why, "a lockout was changed");
                }
                Changed::Configuration => {}
            }
        }
        self.audit.record_changes(changes);
    }

    fn measure(&self, orders: &Orders) {
        self.metrics.orders.switches(&orders.switches);
        self.metrics.orders.lockouts(&orders.locks);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When something ends that begins now.
fn end_of(span: Option<Duration>, now: Timestamp) -> Option<Timestamp> {
    span.map(|span| Timestamp(now.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))))
}

// === impl Desk ===

impl Desk {
    /// Does something to what outlives the process, if there is such.
    fn keep(&self, change: impl FnOnce(&Kept) -> anyhow::Result<()>) -> Result<(), Unchanged> {
        if self.is_elsewhere {
            return Err(Unchanged::Elsewhere);
        }
        self.kept.as_ref().map_or(Ok(()), change).map_err(Unchanged::NotKept)
    }
}

/// The record of one that is in force from now on, or no longer.
fn of_switch(at: Timestamp, action: Action, word: Word, switch: &Arc<Switch>) -> Change {
    Change { at, action, word, what: Changed::Switch(Arc::clone(switch)) }
}

fn of_lock(at: Timestamp, action: Action, word: Word, lock: &Arc<Lock>) -> Change {
    Change { at, action, word, what: Changed::Lock(Arc::clone(lock)) }
}
