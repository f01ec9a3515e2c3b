//! What the process is told from outside, and how it ends: SIGHUP loads the configuration again and opens the audit log
//! anew, SIGUSR2 starts another process that takes over, SIGTERM and SIGINT stop this one in order, and a second one at
//! once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::{estate::Belongings, handover::Phase, successor::Successor, systemd};
use crate::{app::App, reload::Bell, settings::Shutdown};

/// How often it is looked whether all has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How long a connection on which nothing is under way may still bring a request, after the process was told to stop: it
/// may be on its way. It is answered, and is the last one.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// The process, as the world outside reaches it.
pub(super) struct Signals {
    pub(super) app: Arc<App>,
    pub(super) belongings: Arc<Belongings>,
    pub(super) shutdown: Shutdown,
    pub(super) bell: Option<Bell>,
    /// None: there is no state that another process could take over.
    pub(super) successor: Option<Successor>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let kinds =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::user_defined2()];
        let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup), Ok(mut upgrade)] = kinds.map(signal) else {
            tracing::error!("signals can't be received; the process stops only when it is killed");
            return std::future::pending().await;
        };
        systemd::ready();
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => self.hang_up(),
                _ = upgrade.recv() => self.start_successor(),
                () = self.belongings.phases().reaches(Phase::Left) => if self.leave(&mut terminate).await {
                    return ShutdownSignal::GracefulTerminate;
                },
            }
        }
        tokio::select! {
            () = self.stop() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        ShutdownSignal::GracefulTerminate
    }
}

impl Signals {
    fn hang_up(&self) {
        self.app.audit.reopen();
        match &self.bell {
            Some(bell) => {
                systemd::reloading();
                bell.ring();
            }
            None => tracing::warn!("SIGHUP: there is no file to load again"),
        }
    }

    fn start_successor(&self) {
        match self.successor.as_ref().map(Successor::start) {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "SIGUSR2: no process can be started to take over"),
            None => {
                tracing::warn!("SIGUSR2: without a gateway.yaml there is nothing that another process could take over")
            }
        }
    }

    /// Another process serves: what is under way here ends. Whether this process ends too, which it doesn't if it has to
    /// serve again.
    async fn leave(&self, terminate: &mut Signal) -> bool {
        let phases = self.belongings.phases();
        tokio::select! {
            () = self.drain(self.shutdown.drain) => {
                if phases.may_end() {
                    tracing::info!("all that was under way is answered");
                    return true;
                }
            }
            () = phases.reaches(Phase::Serving) => return false,
            // The first one may be meant for all processes of a service, and what is asked for is being done.
            () = async { terminate.recv().await; terminate.recv().await; } => {
                phases.end();
                return true;
            }
        }
        phases.reaches(Phase::Serving).await;
        false
    }

    /// Not ready first, so that load balancers turn away; then as long as requests are under way, or the time is over.
    async fn stop(&self) {
        systemd::stopping();
        self.belongings.stopping();
        self.app.drain();
        tracing::info!(in_flight = self.app.in_flight(), "stopping");
        sleep(self.shutdown.delay).await;
        self.belongings.close();
        self.drain(LAST_REQUEST).await;
    }

    /// Until nothing is under way: no request, and for so long no connection on which one may be on its way.
    async fn drain(&self, kept: Duration) {
        let begun = Instant::now();
        while self.is_busy() || (self.app.metrics.connections.count() > 0 && begun.elapsed() < kept) {
            if begun.elapsed() >= self.shutdown.drain {
                tracing::warn!(in_flight = self.app.in_flight(), "the time to drain is over");
                return;
            }
            sleep(LOOK).await;
        }
    }

    fn is_busy(&self) -> bool {
        self.app.in_flight() > 0 || self.belongings.awaits_predecessor()
    }
}
