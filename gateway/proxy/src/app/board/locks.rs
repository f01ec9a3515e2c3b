//! How somebody is locked out, and let in again.

use std::{sync::Arc, time::Duration};

use swaigate_core::{
    orders::{Lock, LockId, Locks, Orders, Subject},
    switches::Word,
    time::Timestamp,
};

use super::{Board, Unchanged, end_of, of_lock};
use crate::{audit::Action, random};

/// A lockout that somebody wants.
#[derive(Debug, Clone)]
pub struct WantedLock {
    /// Who is to be locked out.
    pub subject: Subject,
    /// Who wants it, and why.
    pub word: Word,
    /// For how long; `None`: until somebody lets them in again.
    pub span: Option<Duration>,
}

impl Board {
    /// Locks somebody out, in place of the lockout of the same subject if there is one. Says which is in force now, and which
    /// it took the place of. It waits for the disk.
    ///
    /// # Errors
    /// [`Unchanged`].
    pub fn lock_out(&self, wanted: WantedLock, now: Timestamp) -> Result<(Arc<Lock>, Option<Arc<Lock>>), Unchanged> {
        let desk = self.desk();
        let orders = self.load();
        let mut locks = Locks::clone(&orders.locks);
        let WantedLock { subject, word, span } = wanted;
        let before = locks.find(&subject).cloned();
        let id = match &before {
            Some(before) => before.id,
            None => LockId(random::bytes().map_err(|error| Unchanged::NotKept(error.into()))?),
        };
        let lock = Lock { id, subject, word: word.clone(), since: now, until: end_of(span, now) };
        locks.put(lock.clone(), desk.policies.keys())?;
        desk.keep(|kept| kept.put_lock(&lock))?;
        let lock = Arc::new(lock);
        let change = of_lock(now, Action::On, word, &lock);
        self.put_in_force(Orders { switches: Arc::clone(&orders.switches), locks: Arc::new(locks) }, vec![change]);
        Ok((lock, before))
    }

    /// Lets somebody in again, and says who was locked out. It waits for the disk.
    ///
    /// # Errors
    /// [`Unchanged`].
    pub fn let_in(&self, id: LockId, word: Word, now: Timestamp) -> Result<Arc<Lock>, Unchanged> {
        let desk = self.desk();
        let orders = self.load();
        let mut locks = Locks::clone(&orders.locks);
        let lock = locks.remove(id, desk.policies.keys()).ok_or(Unchanged::Unknown)?;
        desk.keep(|kept| kept.remove_lock(id))?;
        let change = of_lock(now, Action::Off, word, &lock);
        self.put_in_force(Orders { switches: Arc::clone(&orders.switches), locks: Arc::new(locks) }, vec![change]);
        Ok(lock)
    }
}
