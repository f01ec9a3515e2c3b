//! How orders leave for elsewhere, and are brought back.

use std::sync::Arc;

use swaigate_core::{
    orders::{Locks, Orders},
    switches::{Origin, Switches, Word},
    time::Timestamp,
};

use super::{Board, Unchanged, of_lock, of_switch};
use crate::{
    audit::{Action, Change},
    state::{Import, Ordered},
};

impl Board {
    /// All orders that outlive the process.
    pub fn ordered(&self) -> Ordered {
        let Orders { switches, locks } = &*self.load();
        let switches = switches.iter().filter(|switch| switch.origin != Origin::Environment);
        Ordered {
            switches: switches.map(|switch| (**switch).clone()).collect(),
            locks: locks.iter().map(|lock| (**lock).clone()).collect(),
        }
    }

    /// Brings orders back, all or none, each in place of what is in force for the same scope or subject. It ends nothing. It
    /// waits for the disk.
    ///
    /// # Errors
    /// [`Unchanged`].
    pub fn bring_back(&self, ordered: Ordered, word: &Word, now: Timestamp) -> Result<(), Unchanged> {
        let desk = self.desk();
        let ordered = ordered.beside(&self.ordered()).map_err(|error| Unchanged::NotKept(error.into()))?;
        let keys = desk.policies.keys();
        let orders = self.load();
        let (mut switches, mut locks) = (Switches::clone(&orders.switches), Locks::clone(&orders.locks));
        ordered.switches.iter().try_for_each(|switch| switches.turn_on(switch.clone(), keys))?;
        ordered.locks.iter().try_for_each(|lock| locks.put(lock.clone(), keys))?;
        desk.keep(|kept| kept.put_all(&ordered, None))?;
        let of_switches = ordered.switches.iter().filter_map(|switch| switches.get(switch.id));
        let of_switches = of_switches.map(|switch| of_switch(now, Action::On, word.clone(), switch));
        let of_locks = ordered.locks.iter().filter_map(|lock| locks.get(lock.id));
        let of_locks = of_locks.map(|lock| of_lock(now, Action::On, word.clone(), lock));
        let changes = of_switches.chain(of_locks).collect();
        self.put_in_force(Orders { switches: Arc::new(switches), locks: Arc::new(locks) }, changes);
        Ok(())
    }

    /// What was brought back while no gateway ran is recorded now.
    pub(super) fn record_imports(&self) -> anyhow::Result<()> {
        let desk = self.desk();
        let Some(kept) = &desk.kept else { return Ok(()) };
        let imports = kept.imports()?;
        if imports.is_empty() {
            return Ok(());
        }
        let orders = self.load();
        let changes = imports.iter().map(|import| changes(&orders, import)).collect::<anyhow::Result<Vec<_>>>()?;
        self.audit.record_changes(changes.into_iter().flatten().collect());
        kept.forget_imports()
    }
}

fn changes(orders: &Orders, import: &Import) -> anyhow::Result<Vec<Change>> {
    let (word, at) = (Word::new(&import.who, &import.why)?, Timestamp(import.at));
    let switches = import.switches.iter().filter_map(|id| orders.switches.get(id.parse().ok()?));
    let switches = switches.map(|switch| of_switch(at, Action::On, word.clone(), switch));
    let locks = import.lockouts.iter().filter_map(|id| orders.locks.get(id.parse().ok()?));
    let locks = locks.map(|lock| of_lock(at, Action::On, word.clone(), lock));
    Ok(switches.chain(locks).collect())
}
