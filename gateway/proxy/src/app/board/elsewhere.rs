//! The orders while another process of the gateway answers for them: it has the file, and says what is in force.

use std::{
    fmt,
    sync::{Arc, PoisonError},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use swaigate_core::{
    keys::KeyRing,
    orders::{Lock, Locks, Orders},
    switches::{Origin, Switch, Switches},
};

use super::Board;
use crate::state::{Kept, Ordered, Written, WrittenLock};

/// Who is told what is in force, as JSON, whenever that changes.
pub struct Follower(Box<dyn Fn(String) + Send>);

/// What is in force, as JSON has it: unlike an archive, with what the environment says.
#[derive(Serialize, Deserialize)]
struct InForce {
    switches: Vec<Written>,
    lockouts: Vec<WrittenLock>,
}

// === impl Board ===

impl Board {
    /// Closes the file, so that another process may open it. What is in force stays so; nothing can be changed here.
    pub fn let_go(&self) {
        let mut desk = self.desk();
        desk.kept = None;
        desk.is_elsewhere = true;
    }

    /// Answers for the orders again: those in the file, which the other process may have changed.
    ///
    /// # Errors
    /// If they can't be read. Then those in force stay so, and nothing can be changed.
    pub fn take_back(&self, kept: Kept) -> anyhow::Result<()> {
        let mut desk = self.desk();
        let Ordered { mut switches, locks } = kept.ordered()?;
        let before = self.load();
        // What the environment says is in no file.
        let held = before.switches.iter().filter(|switch| switch.origin == Origin::Environment);
        switches.extend(held.map(|switch| Switch::clone(switch)));
        self.show(switches, locks, desk.policies.keys())?;
        desk.kept = Some(kept);
        desk.is_elsewhere = false;
        drop(desk);
        self.tell_recovery();
        self.record_imports()
    }

    /// Puts in force what the process that answers for the orders says.
    ///
    /// # Errors
    /// If it isn't understood; then what was in force stays so.
    pub fn follow(&self, json: &str) -> anyhow::Result<()> {
        let desk = self.desk();
        let said: InForce = serde_json::from_str(json).context("it is not understood")?;
        let switches = said.switches.iter().map(Written::switch).collect::<Result<Vec<Switch>, _>>()?;
        let locks = said.lockouts.iter().map(WrittenLock::lock).collect::<Result<Vec<Lock>, _>>()?;
        self.show(switches, locks, desk.policies.keys())?;
        Ok(())
    }

    /// From now on this one is told, first of all what is in force now.
    pub fn tell(&self, follower: Follower) {
        let _nobody_changes_it = self.desk();
        follower.tell(&self.load());
        *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(follower);
    }

    pub(super) fn tell_follower(&self, orders: &Orders) {
        if let Some(follower) = &*self.follower.lock().unwrap_or_else(PoisonError::into_inner) {
            follower.tell(orders);
        }
    }

    fn show(&self, switches: Vec<Switch>, locks: Vec<Lock>, keys: &KeyRing) -> anyhow::Result<()> {
        let orders = Orders { switches: Switches::new(switches, keys)?.into(), locks: Locks::new(locks, keys)?.into() };
        self.measure(&orders);
        self.in_force.store(Arc::new(orders));
        Ok(())
    }
}

// === impl Follower ===

impl Follower {
    /// One that is told by this. It is called before whoever changed something is answered.
    pub fn new(tell: impl Fn(String) + Send + 'static) -> Self {
        Self(Box::new(tell))
    }

    fn tell(&self, orders: &Orders) {
        let switches = orders.switches.iter().map(|switch| Written::of(switch)).collect();
        let lockouts = orders.locks.iter().map(|lock| WrittenLock::of(lock)).collect();
        (self.0)(serde_json::to_string(&InForce { switches, lockouts }).unwrap_or_default());
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}
