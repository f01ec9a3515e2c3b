//! An exchange that goes on when nobody waits for it any more.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

use super::{Outcome, ledger::LateLedger};

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// An exchange under way. Dropped before its end, it is handed to the runtime and its outcome recorded when it comes;
/// without a late record it ends instead.
pub(super) struct Detachable {
    running: Option<Running>,
    late: Option<LateLedger>,
}

// === impl Detachable ===

impl Detachable {
    pub(super) fn new(running: Running, late: Option<LateLedger>) -> Self {
        Self { running: Some(running), late }
    }
}

impl Future for Detachable {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let Some(running) = &mut self.running else { return Poll::Pending };
        let polled = running.as_mut().poll(context);
        if polled.is_ready() {
            self.running = None;
        }
        polled
    }
}

impl Drop for Detachable {
    fn drop(&mut self) {
        let (Some(running), Some(late)) = (self.running.take(), self.late.take()) else { return };
        // There is no runtime only while the process ends, and then nothing goes on.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { late.record(running.await) });
        }
    }
}
