//! What a service manager hears again and again as long as requests are served, if it asks for it (`WatchdogSec=` of systemd,
//! sd_watchdog_enabled(3)). A process that falls silent is ended, and started again.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use super::{
    handover::{Phase, Phases},
    systemd,
};
use crate::edge::Pulse;

/// What is told, and when.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// After so long a silence, this process is ended.
    limit: Duration,
    pulses: Vec<Pulse>,
    phases: Phases,
}

// === impl Watchdog ===

impl Watchdog {
    /// For these servers; none, if nobody asks for it, or for another process.
    pub(super) fn asked_for(pulses: Vec<Pulse>, phases: Phases) -> Option<Self> {
        let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())?;
        Some(Self { limit, pulses, phases })
    }

    /// Tells it from now on, from a thread that ends with the process.
    ///
    /// # Errors
    /// If the thread can't be started.
    pub(super) fn start(self) -> io::Result<()> {
        self.start_with(systemd::alive)
    }

    fn start_with(self, tell: impl Fn() + Send + 'static) -> io::Result<()> {
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            loop {
                let begun = Instant::now();
                self.wait_for_pulses();
                // While another process serves, it is the one that tells.
                if self.phases.now() == Phase::Serving {
                    tell();
                }
                thread::sleep((self.limit / 2).saturating_sub(begun.elapsed()));
            }
        })?;
        Ok(())
    }

    /// Until all have answered, one after the other.
    fn wait_for_pulses(&self) {
        let patience = self.limit / 2;
        for pulse in &self.pulses {
            while !pulse.beats(patience) {
                tracing::error!(
                    waited = ?patience,
                    "the threads that serve requests don't answer; the service manager isn't told that they do"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(40);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Of a server in this runtime: what it tells comes here.
    fn told(runtimes: &[&Runtime], phases: &Phases) -> Receiver<Instant> {
        let pulses = runtimes.iter().map(|runtime| Pulse::of(runtime.handle().clone())).collect();
        let (tell, told) = channel();
        let watchdog = Watchdog { limit: LIMIT, pulses, phases: phases.clone() };
        let tell = move || {
            let _ = tell.send(Instant::now());
        };
        watchdog.start_with(tell).unwrap();
        told
    }

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    /// Runs a task that blocks until what is returned is dropped.
    fn block(runtime: &Runtime) -> std::sync::mpsc::Sender<()> {
        let ((tell, is_stuck), (release, released)) = (channel(), channel::<()>());
        runtime.spawn(async move {
            tell.send(()).unwrap();
            let _ = released.recv();
        });
        is_stuck.recv().unwrap();
        release
    }

    /// Whether nothing more is told than what may just have been under way.
    fn is_silent(told: &Receiver<Instant>) -> bool {
        while told.try_recv().is_ok() {}
        told.recv_timeout(10 * LIMIT).is_err() || told.recv_timeout(10 * LIMIT).is_err()
    }

    #[test]
    fn nothing_is_told_while_a_server_is_stuck() {
        let (public, admin, begun) = (runtime(), runtime(), Instant::now());
        let told = told(&[&public, &admin], &Phases::new());
        let times = [(); 5].map(|()| told.recv_timeout(PATIENCE).unwrap());
        assert!(times[4] - begun >= 4 * LIMIT / 2, "twice in the time, and not more often");
        for stuck in [&public, &admin] {
            let blocked = block(stuck);
            assert!(is_silent(&told), "it is told though nobody serves");
            drop(blocked);
            assert!(told.recv_timeout(PATIENCE).is_ok(), "it serves again");
        }
    }

    #[test]
    fn who_is_not_the_service_any_more_tells_nothing() {
        let (runtime, phases) = (runtime(), Phases::new());
        let told = told(&[&runtime], &phases);
        told.recv_timeout(PATIENCE).unwrap();
        phases.leave();
        assert!(is_silent(&told), "it is told by who doesn't serve");
        assert!(phases.is_returning() && phases.is_back());
        assert!(told.recv_timeout(PATIENCE).is_ok());
    }
}
