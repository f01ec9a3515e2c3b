//! What outlives a request: who has asked how often, and which call owns which document.
//!
//! A plan's checks are answered all at once: [`StateStore::apply`] is the one round trip of a request, and nothing above
//! this trait assumes that there is one gateway only.

mod embedded;

use async_trait::async_trait;
pub use embedded::Embedded;
use swaigate_core::{
    decide::{Answers, Check},
    time::Timestamp,
};

/// Where counts and bindings are kept.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// Answers all checks of one request. A request that one of them refuses is counted by none.
    async fn apply(&self, checks: &[Check], now: Timestamp) -> Answers;

    /// Forgets what no longer matters. Called now and then.
    fn sweep(&self, now: Timestamp);

    /// How much is kept.
    fn gauges(&self) -> Gauges;
}

/// How much a store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// Cells of limits.
    pub cells: usize,
    /// Documents bound to a call.
    pub bindings: usize,
    /// Requests that were counted in a shared cell, because all cells were in use.
    pub overflows: u64,
}
