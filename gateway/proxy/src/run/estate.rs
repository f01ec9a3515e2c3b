//! What a running gateway hands over to another process, and takes back.

use std::{
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    handover::{Estate, Late, Phase, Phases, Predecessor, Testator},
    systemd,
};
use crate::{
    app::{App, Follower},
    audit::{self, Audit},
    clock,
    edge::Closer,
    settings::Settings,
    state::Kept,
};

/// How long a process that has died may still seem to have the state open.
const LET_GO: Duration = Duration::from_secs(5);

/// All of it.
pub(super) struct Belongings {
    app: Arc<App>,
    doors: Vec<Closer>,
    /// Those that the doors accept at. None after the last door was closed.
    sockets: Mutex<Vec<OwnedFd>>,
    /// The folder of the state.
    state: PathBuf,
    /// The way to the process before, which may have requests under way.
    predecessor: Option<Predecessor>,
    /// Where late records go.
    late: Mutex<Option<Late>>,
    /// Who serves.
    phases: Phases,
}

// === impl Belongings ===

impl Belongings {
    /// Of a gateway that serves from now on. If there was one before, what that still records is recorded here, and it is
    /// told what is turned off.
    ///
    /// # Errors
    /// If a thread can't be started.
    pub(super) fn new(
        app: Arc<App>,
        doors: Vec<Closer>,
        sockets: Vec<OwnedFd>,
        state: PathBuf,
        predecessor: Option<Predecessor>,
    ) -> anyhow::Result<Arc<Self>> {
        if let Some(before) = &predecessor {
            let audit = app.audit.clone();
            before.take_late_lines(move |line| record(&audit, line.as_bytes()))?;
            let before = before.clone();
            app.board.tell(Follower::new(move |json| before.in_force(json)));
        }
        let (sockets, late) = (Mutex::new(sockets), Mutex::default());
        Ok(Arc::new(Self { app, doors, sockets, state, predecessor, late, phases: Phases::new() }))
    }

    /// Lets another process take over from now on. If that can't be, it is logged, and a restart does instead.
    pub(super) fn await_successor(self: &Arc<Self>) {
        let estate: Arc<dyn Estate> = Arc::<Self>::clone(self);
        let testator = Testator::at(&self.state, estate, self.phases.clone());
        if let Err(error) = testator.and_then(|testator| Ok(testator.start()?)) {
            tracing::warn!("another process can't take over from this one without a restart: {error:#}");
        }
    }

    /// Who serves.
    pub(super) fn phases(&self) -> &Phases {
        &self.phases
    }

    /// Whether what the process before has under way may still be recorded here.
    pub(super) fn awaits_predecessor(&self) -> bool {
        self.predecessor.as_ref().is_some_and(Predecessor::is_awaited)
    }

    /// The process before, if there was one, isn't to go on when this one stops.
    pub(super) fn stopping(&self) {
        if let Some(before) = &self.predecessor {
            before.stopping();
        }
    }

    /// To be called when the audit log is closed here: says that all late records were sent. If the process that has taken
    /// over is gone, what it hasn't recorded is recorded here.
    ///
    /// # Errors
    /// If nobody serves, and nobody has told the other process to stop.
    pub(super) fn end(&self, settings: &Settings) -> anyhow::Result<()> {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Err(untaken)) = late.map(|late| late.end()) else { return Ok(()) };
        if let Err(error) = self.record_at_last(settings, &untaken) {
            tracing::error!(records = untaken.len(), "the last records are lost: {error:#}");
        }
        if self.phases.now() == Phase::Over {
            return Ok(());
        }
        // What a service manager takes for the service is gone; it starts another one because this one fails.
        systemd::taken_back();
        bail!(
            "the process that had taken over is gone or hangs, and this one has ended what it had begun: nobody serves; \
             start one"
        )
    }

    fn record_at_last(&self, settings: &Settings, lines: &[Vec<u8>]) -> anyhow::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let open = || audit::open(&settings.audit, audit::chain_folder(settings), &self.app.metrics);
        let (audit, writer) = patiently(open)?;
        lines.iter().for_each(|line| record(&audit, line));
        writer.finish();
        Ok(())
    }

    /// Nobody is accepted any more, here or, through this process, anywhere.
    pub(super) fn close(&self) {
        self.doors.iter().for_each(Closer::close);
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn open_state(&self) -> anyhow::Result<Kept> {
        patiently(|| Kept::open(&self.state, clock::now()))
    }
}

/// Opens what a process that has died may still seem to have.
fn patiently<T>(open: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let give_up = Instant::now() + LET_GO;
    loop {
        match open() {
            Err(_) if Instant::now() < give_up => sleep(Duration::from_millis(20)),
            opened => return opened,
        }
    }
}

impl Estate for Belongings {
    fn sockets(&self) -> anyhow::Result<Vec<OwnedFd>> {
        ensure!(
            std::process::id() != 1,
            "this is process 1: where it ends, its container ends with the new process in it"
        );
        ensure!(!self.app.is_draining(), "this process was told to stop");
        ensure!(
            !self.awaits_predecessor(),
            "the process before this one has requests under way; try again when it has ended"
        );
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let copies: std::io::Result<Vec<OwnedFd>> = sockets.iter().map(OwnedFd::try_clone).collect();
        copies.context("the sockets can't be handed over")
    }

    fn let_go(&self, late: Late) -> anyhow::Result<()> {
        self.doors.iter().for_each(Closer::shut);
        self.app.board.let_go();
        *self.late.lock().unwrap_or_else(PoisonError::into_inner) = Some(late.clone());
        self.app.audit.hand_over(Box::new(late)).context("the audit log can't be closed in order")
    }

    fn take_back(&self) {
        if let Err(error) = self.app.audit.take_back() {
            tracing::error!(%error, "the audit log can't be opened again: calls are refused when its queue is full");
        }
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner).take();
        let untaken = late.map(|late| late.untaken()).unwrap_or_default();
        untaken.iter().for_each(|line| record(&self.app.audit, line));
        if let Err(error) = self.open_state().and_then(|kept| self.app.board.take_back(kept)) {
            tracing::error!("emergency switches and lockouts stay as they are until the next start: {error:#}");
        }
        self.app.go_on();
        self.doors.iter().for_each(Closer::open);
        systemd::taken_back();
    }

    fn in_force(&self, json: &str) {
        if let Err(error) = self.app.board.follow(json) {
            tracing::error!(
                "what is in force in the new process isn't for the requests that still come here: {error:#}"
            );
        }
    }

    fn left_to(&self, heir: u32) {
        self.app.drain();
        systemd::left_to(heir);
        tracing::info!(
            process = heir,
            in_flight = self.app.in_flight(),
            "another process serves; this one ends what it has begun"
        );
    }
}

fn record(audit: &Audit, line: &[u8]) {
    if let Err(error) = audit.take_in(line) {
        tracing::error!(%error, "a late record isn't written");
    }
}
