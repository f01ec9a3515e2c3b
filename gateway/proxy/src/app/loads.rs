//! When the configuration in force was loaded, and what has become of later ones.

use std::sync::{Mutex, MutexGuard, PoisonError};

use swaigate_core::time::Timestamp;

/// The loads of the configuration.
#[derive(Debug)]
pub struct Loads(Mutex<Loaded>);

/// What is in force, and what isn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// When the configuration in force was loaded.
    pub at: Timestamp,
    /// When a later one was refused, and why, if that is the last that has happened.
    pub refused: Option<(Timestamp, String)>,
}

// === impl Loads ===

impl Loads {
    /// The first was loaded.
    pub fn new(at: Timestamp) -> Self {
        Self(Mutex::new(Loaded { at, refused: None }))
    }

    /// One more was loaded.
    pub fn loaded(&self, at: Timestamp) {
        *self.hold() = Loaded { at, refused: None };
    }

    /// One was refused.
    pub fn refused(&self, at: Timestamp, why: String) {
        self.hold().refused = Some((at, why));
    }

    /// As it is now.
    pub fn last(&self) -> Loaded {
        self.hold().clone()
    }

    fn hold(&self) -> MutexGuard<'_, Loaded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
