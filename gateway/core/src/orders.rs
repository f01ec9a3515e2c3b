//! What people have ordered besides the policies: what is stopped, and who is locked out.

mod locks;

use std::sync::Arc;

pub use locks::{Full, Lock, LockId, Locks, MAX_LOCKS, NoLockId, NoSubject, Subject};

use crate::switches::Switches;

/// The orders in force. A step of the decision holds one set from start to end.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// What is turned off.
    pub switches: Arc<Switches>,
    /// Who is locked out.
    pub locks: Arc<Locks>,
}

impl Orders {
    /// Whether nobody has ordered anything.
    pub fn is_empty(&self) -> bool {
        self.switches.is_empty() && self.locks.is_empty()
    }
}
