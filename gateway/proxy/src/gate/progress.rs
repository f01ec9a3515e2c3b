//! How a connection's deadline learns that a request's head is complete.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

tokio::task_local! {
    /// Whether the connection's current request has its whole head.
    static HAS_HEAD: Arc<AtomicBool>;
}

/// Serves a request; `has_head` becomes true when its head is complete.
pub(crate) fn watching<F: Future>(has_head: Arc<AtomicBool>, request: F) -> impl Future<Output = F::Output> {
    HAS_HEAD.scope(has_head, request)
}

/// Says that the head is complete. Called by the first filter of a request.
pub(super) fn head_is_complete() {
    // Where no connection is watched, nobody needs to know.
    let _ = HAS_HEAD.try_with(|has_head| has_head.store(true, Ordering::Relaxed));
}
