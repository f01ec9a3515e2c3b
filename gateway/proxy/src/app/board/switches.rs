//! How a switch is turned.

use std::{sync::Arc, time::Duration};

use swaigate_core::{
    orders::Orders,
    switches::{Origin, Scope, Switch, SwitchId, Switches, Word},
    time::Timestamp,
};

use super::{Board, Unchanged, end_of, of_switch};
use crate::{audit::Action, random};

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

impl Board {
    /// Turns a switch on, in place of the one that the same origin has on for the same scope. Says which is on now, and
    /// which it took the place of. It waits for the disk.
    ///
    /// # Errors
    /// [`Unchanged`].
    pub fn turn_on(&self, wanted: Wanted, now: Timestamp) -> Result<(Arc<Switch>, Option<Arc<Switch>>), Unchanged> {
        let desk = self.desk();
        let orders = self.load();
        let mut switches = Switches::clone(&orders.switches);
        let Wanted { scope, word, span, origin } = wanted;
        let before = switches.find(&scope, origin).cloned();
        let id = match &before {
            Some(before) => before.id,
            None => SwitchId(random::bytes().map_err(|error| Unchanged::NotKept(error.into()))?),
        };
        let switch = Switch { id, scope, word: word.clone(), since: now, until: end_of(span, now), origin };
        switches.turn_on(switch.clone(), desk.policies.keys())?;
        // What the environment says is read from it at each start.
        if origin != Origin::Environment {
            desk.keep(|kept| kept.put_switch(&switch))?;
        }
        let switch = Arc::new(switch);
        let change = of_switch(now, Action::On, word, &switch);
        self.put_in_force(Orders { switches: Arc::new(switches), locks: Arc::clone(&orders.locks) }, vec![change]);
        Ok((switch, before))
    }

    /// Turns a switch off, and says which it was. It waits for the disk.
    ///
    /// # Errors
    /// [`Unchanged`].
    pub fn turn_off(&self, id: SwitchId, word: Word, now: Timestamp) -> Result<Arc<Switch>, Unchanged> {
        let desk = self.desk();
        let orders = self.load();
        let mut switches = Switches::clone(&orders.switches);
        let switch = switches.turn_off(id, desk.policies.keys()).ok_or(Unchanged::Unknown)?;
        if switch.origin == Origin::Environment {
            return Err(Unchanged::Held);
        }
        desk.keep(|kept| kept.remove_switch(id))?;
        let change = of_switch(now, Action::Off, word, &switch);
        self.put_in_force(Orders { switches: Arc::new(switches), locks: Arc::clone(&orders.locks) }, vec![change]);
        Ok(switch)
    }
}
