//! Whether the threads that serve connections still do anything.

use std::{
    sync::{
        Arc, OnceLock,
        mpsc::{RecvTimeoutError, channel},
    },
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};

/// How long the task waits that is to be run: a runtime that doesn't wake anybody does nothing either.
const NAP: Duration = Duration::from_millis(1);

/// The pulse of an [`Edge`](super::Edge), also before it serves.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<OnceLock<Handle>>);

// === impl Pulse ===

impl Pulse {
    /// Of what is served in this runtime.
    #[cfg(test)]
    pub fn of(runtime: Handle) -> Self {
        Self(Arc::new(OnceLock::from(runtime)))
    }

    /// It serves in this runtime.
    pub(super) fn begins_in(&self, runtime: Handle) {
        // An edge is served once.
        let _ = self.0.set(runtime);
    }

    /// Whether the runtime runs a task within this time, or has ended in order. It waits, first of all until something is
    /// served, so it is not for a thread that serves.
    pub fn beats(&self, patience: Duration) -> bool {
        let runtime = self.0.wait();
        let (beat, felt) = channel();
        runtime.spawn(async move {
            sleep(NAP).await;
            // Whoever has waited may have lost patience.
            let _ = beat.send(());
        });
        felt.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::runtime::Builder;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn who_serves_has_a_pulse_and_who_is_stuck_has_none() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let pulse = Pulse::of(runtime.handle().clone());
        assert!(pulse.beats(LONG));

        let ((tell, is_stuck), (release, released)) = (channel(), channel::<()>());
        runtime.spawn(async move {
            tell.send(()).unwrap();
            released.recv().unwrap();
        });
        is_stuck.recv().unwrap();
        assert!(!pulse.beats(SHORT));
        release.send(()).unwrap();
        assert!(pulse.beats(LONG));
        runtime.shutdown_timeout(LONG);
        let begun = Instant::now();
        assert!(pulse.beats(LONG) && begun.elapsed() < LONG, "nobody waits for what has ended");
    }
}
