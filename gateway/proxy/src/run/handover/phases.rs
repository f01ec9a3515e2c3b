//! Who serves, as all threads of a process that may be replaced agree on it.

use std::sync::Arc;

use tokio::sync::watch;

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// This process.
    Serving,
    /// Another one; this one ends when what it has under way is answered.
    Left,
    /// The other one is gone, and this process takes everything back to serve again.
    Returning,
    /// Another one, which was told to stop.
    Over,
    /// This process ends, and can't serve any more.
    Ending,
}

/// The phase that a process is in. It ends or it returns, whichever is first, and never both.
#[derive(Debug, Clone)]
pub(crate) struct Phases(Arc<watch::Sender<Phase>>);

// === impl Phases ===

impl Phases {
    /// Of a process that serves.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Serving)))
    }

    /// The one it is in.
    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Ends when this phase is reached.
    pub(crate) async fn reaches(&self, phase: Phase) {
        // It can't fail: this is a sender.
        let _ = self.0.subscribe().wait_for(|now| *now == phase).await;
    }

    /// Another process serves.
    pub(crate) fn leave(&self) {
        self.0.send_replace(Phase::Left);
    }

    /// Whether this process takes everything back, since the other one is gone. It doesn't if it ends.
    pub(crate) fn is_returning(&self) -> bool {
        self.go(Phase::Returning, &[Phase::Left])
    }

    /// Whether it serves again. It doesn't if it was ended meanwhile.
    pub(crate) fn is_back(&self) -> bool {
        self.go(Phase::Serving, &[Phase::Returning])
    }

    /// The other process was told to stop.
    pub(super) fn over(&self) {
        self.go(Phase::Over, &[Phase::Left]);
    }

    /// Whether this process may end, now that nothing is under way. It mayn't if it is about to serve again.
    pub(crate) fn may_end(&self) -> bool {
        self.now() == Phase::Over || self.go(Phase::Ending, &[Phase::Left])
    }

    /// It ends, whatever it is about to do.
    pub(crate) fn end(&self) {
        self.go(Phase::Ending, &[Phase::Left, Phase::Returning]);
    }

    fn go(&self, to: Phase, from: &[Phase]) -> bool {
        self.0.send_if_modified(|now| {
            let may = from.contains(now);
            if may {
                *now = to;
            }
            may
        })
    }
}
