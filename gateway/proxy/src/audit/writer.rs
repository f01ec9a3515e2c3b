//! The thread that writes: it seals records in the order in which they were queued, writes them, and keeps the key in step.

use std::{
    fs,
    io::{self, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use arc_swap::ArcSwapOption;
use serde::Serialize;
use swaigate_core::chain::Chain;
use tokio::{
    runtime::Runtime,
    sync::{mpsc::Receiver, oneshot},
    time::timeout,
};

use super::{
    Message,
    anomaly::AnomalyLine,
    change::ChangeLine,
    file::{self, Found, LogFile},
    heads::{self, Head},
    kept::{ChainFile, Ending, State},
    line::Line,
    sinks::Sinks,
    strangers::Strangers,
};
use crate::{
    clock,
    metrics::Metrics,
    settings::{self, Fsync},
};

/// How long a failed write waits before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// For how long the end of the process waits for writes that fail.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// How often failures are logged.
const LOGGED: Duration = Duration::from_secs(10);

/// How long a record may wait for others to be written with.
const GATHER: Duration = Duration::from_millis(5);

/// How many bytes are gathered before they are written.
const BATCH: usize = 1 << 20;

/// How often the writer looks whether something is due, and the key is written where nothing is synced.
const TICK: Duration = Duration::from_secs(1);

/// How long a rotation that has failed waits.
const ROTATE_AGAIN: Duration = Duration::from_secs(60);

/// The writer, in its thread.
pub(super) struct Scribe {
    desk: Desk,
    log: LogFile,
    kept: ChainFile,
    state: State,
    sinks: Sinks,
    /// Whether something was sealed that the kept key doesn't know of.
    is_behind: bool,
    times: Times,
}

/// What a writer needs besides the files, and what is left when another process has those.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) settings: settings::Audit,
    /// The folder of the chain's key.
    pub(super) chain: PathBuf,
    pub(super) strangers: Arc<Strangers>,
    pub(super) head: Arc<ArcSwapOption<Head>>,
    pub(super) metrics: Arc<Metrics>,
    /// Whether the process wants to end.
    pub(super) is_ending: Arc<AtomicBool>,
}

/// When what was done last.
#[derive(Debug)]
struct Times {
    /// The key was written after all that was sealed.
    kept: Instant,
    /// A head was told; and the number of its record.
    told: (Instant, u64),
    /// A failure was logged.
    logged: Option<Instant>,
    rotation_failed: Option<Instant>,
    /// The process wants to end, and writes have failed for too long.
    has_given_up: bool,
}

/// What is left when the chain is somebody else's.
type Successor = (Box<dyn Write + Send>, oneshot::Sender<io::Result<()>>);

// === impl Times ===

impl Times {
    fn new() -> Self {
        let now = Instant::now();
        Self { kept: now, told: (now, 0), logged: None, rotation_failed: None, has_given_up: false }
    }
}

// === impl Scribe ===

impl Scribe {
    /// Goes on in the chain, from where its key says, with a section of its own.
    ///
    /// # Errors
    /// If the file can't be opened, the key not be read, or another process has it.
    pub(super) fn open(desk: Desk) -> anyhow::Result<Self> {
        let (mut kept, mut state) = ChainFile::open(&desk.chain)?;
        let path = &desk.settings.path;
        let opened = LogFile::open(path).and_then(|mut log| log.recover(&mut state).map(|found| (log, found)));
        let (log, found) = opened.with_context(|| format!("{}: the audit log can't be opened", path.display()))?;
        let after = state.ending.map_or("crash", Ending::as_str);
        tell_of_start(path, after, &state.chain, found);
        state.chain.turn();
        (state.file, state.length, state.ending) = (log.number(), log.length(), None);
        kept.write(&state, true).with_context(|| format!("{}: it can't be written", kept.path().display()))?;
        let sinks = Sinks::start(&desk.settings.sinks, &desk.metrics)?;
        let mut scribe = Self { desk, log, kept, state, sinks, is_behind: false, times: Times::new() };
        scribe.open_section(after, Some(found.cut).filter(|cut| *cut > 0));
        Ok(scribe)
    }

    /// Writes until it is told that this is the end. While another process goes on, what comes is passed on to it.
    pub(super) fn write_all(self, runtime: &Runtime, mut queue: Receiver<Message>) {
        let mut next = Some(self);
        while let Some(scribe) = next {
            next = scribe.write_to_the_end(runtime, &mut queue);
        }
    }

    fn write_to_the_end(mut self, runtime: &Runtime, queue: &mut Receiver<Message>) -> Option<Self> {
        self.rotate_if_due();
        self.write();
        loop {
            let patience = self.patience();
            // `timeout` is made within the runtime, whose clock it needs.
            let received = runtime.block_on(async { timeout(patience, queue.recv()).await });
            if let Ok(Some(message)) = received
                && let ControlFlow::Break(end) = self.gather(message, queue)
            {
                return self.end(end, queue);
            }
            self.tell_of_strangers(false);
            self.write();
            self.keep_if_due();
            self.tell_head_if_due();
        }
    }

    /// Until when nothing is due.
    fn patience(&self) -> Duration {
        match self.desk.settings.sync {
            Fsync::Every(every) if self.is_behind => every.saturating_sub(self.times.kept.elapsed()).min(TICK),
            _ => TICK,
        }
    }

    /// Takes this message, and those that come within a moment: waking this thread costs more than a record.
    fn gather(&mut self, first: Message, queue: &mut Receiver<Message>) -> ControlFlow<Option<Successor>> {
        self.take(first)?;
        thread::sleep(GATHER);
        while self.log.waiting() < BATCH {
            let Ok(message) = queue.try_recv() else { break };
            self.take(message)?;
        }
        ControlFlow::Continue(())
    }

    fn take(&mut self, message: Message) -> ControlFlow<Option<Successor>> {
        match message {
            Message::Record(entry) => self.seal(&Line::from(&*entry)),
            Message::Change(change) => self.seal(&ChangeLine::from(&*change)),
            Message::Anomaly(anomaly) => self.seal(&AnomalyLine::from(&*anomaly)),
            Message::Foreign(record) => self.seal_bytes(record),
            Message::Reopen => self.reopen(),
            Message::HandOver(to, done) => return ControlFlow::Break(Some((to, done))),
            // It has never left.
            Message::TakeBack(done) => drop(done.send(Ok(()))),
            Message::End => return ControlFlow::Break(None),
        }
        ControlFlow::Continue(())
    }

    fn seal(&mut self, record: &impl Serialize) {
        self.seal_bytes(serde_json::to_vec(record).unwrap_or_default());
    }

    fn seal_bytes(&mut self, record: Vec<u8>) {
        self.rotate_if_due();
        self.seal_here(record);
    }

    fn seal_here(&mut self, mut record: Vec<u8>) {
        self.state.chain.seal(&mut record);
        self.sinks.copy(&record);
        self.log.add(&record);
        self.is_behind = true;
        self.desk.metrics.audit.written.inc();
    }

    /// The record with which the section begins, in which the chain is now.
    fn open_section(&mut self, after: &str, cut_bytes: Option<u64>) {
        let opening = self.state.chain.opening(clock::rfc3339(clock::now()), after, cut_bytes);
        self.seal_here(serde_json::to_vec(&opening).unwrap_or_default());
    }

    fn tell_of_strangers(&mut self, is_end: bool) {
        for summary in self.desk.strangers.due(clock::now(), is_end) {
            self.seal(&summary);
        }
    }

    /// Writes what was sealed; what fails is tried again until it succeeds, or the process has waited long enough for it.
    fn write(&mut self) {
        let begun = Instant::now();
        while let Err(error) = self.log.write(clock::now()) {
            self.failed("written", &error);
            if self.times.has_given_up {
                return;
            }
            if self.desk.is_ending.load(Ordering::Relaxed) && begun.elapsed() >= LAST_TRIES {
                self.times.has_given_up = true;
                tracing::error!(path = %self.log.path().display(), "the audit log can't be written to its end: records are lost");
                return;
            }
            thread::sleep(RETRY);
        }
        self.show_head();
    }

    fn failed(&mut self, what: &str, error: &io::Error) {
        self.desk.metrics.audit.errors.inc();
        self.desk.metrics.audit.failing.set(1);
        if self.times.logged.is_none_or(|at| at.elapsed() >= LOGGED) {
            self.times.logged = Some(Instant::now());
            let path = self.log.path().display();
            tracing::error!(%path, %error, "the audit log can't be {what}; it is tried again, and when its queue is full, requests are refused or wait (`audit.on_failure`)");
        }
    }

    fn works_again(&mut self) {
        if self.desk.metrics.audit.failing.get() != 0 {
            self.desk.metrics.audit.failing.set(0);
            self.times.logged = None;
            tracing::warn!(path = %self.log.path().display(), "the audit log can be written again");
        }
    }

    fn show_head(&self) {
        let head = self.here(self.log.path());
        let is_shown =
            self.desk.head.load().as_ref().is_some_and(|shown| (shown.seq, shown.on_disk) == (head.seq, head.on_disk));
        if !is_shown {
            self.desk.head.store(Some(Arc::new(head)));
        }
    }

    fn here(&self, file: &Path) -> Head {
        let on_disk = !self.is_behind && self.desk.settings.sync != Fsync::Never;
        Head::new(self.state.chain.head(), file, clock::now(), on_disk)
    }

    fn keep_if_due(&mut self) {
        let due = match self.desk.settings.sync {
            Fsync::Always => Duration::ZERO,
            Fsync::Every(every) => every,
            Fsync::Never => TICK,
        };
        if self.is_behind && self.times.kept.elapsed() >= due {
            self.keep(None);
        }
    }

    /// First the records, then the key that is needed after them: a crash in between loses neither.
    fn keep(&mut self, ending: Option<Ending>) {
        let is_durable = self.desk.settings.sync != Fsync::Never;
        self.times.kept = Instant::now();
        (self.state.file, self.state.length) = (self.log.number(), self.log.length());
        self.state.ending = ending;
        let synced = if is_durable { self.log.sync() } else { Ok(()) };
        match synced.and_then(|()| self.kept.write(&self.state, is_durable)) {
            Ok(()) => {
                self.is_behind = false;
                self.works_again();
                self.show_head();
            }
            Err(error) => self.failed("synced, or its key not be kept", &error),
        }
    }

    // === files ===

    fn rotate_if_due(&mut self) {
        let Some(rotate) = self.desk.settings.rotate.filter(|_| self.log.is_regular() && self.log.length() > 0) else {
            return;
        };
        if self.times.rotation_failed.is_some_and(|at| at.elapsed() < ROTATE_AGAIN) {
            return;
        }
        let period = |at: u64, every: Duration| u128::from(at) / every.as_millis().max(1);
        let is_over =
            rotate.every.is_some_and(|every| period(self.log.written().0, every) != period(clock::now().0, every));
        if self.log.length() < rotate.size && !is_over {
            return;
        }
        self.write();
        self.keep(None);
        let name = file::old_name(self.log.path(), clock::now(), &self.state.chain);
        if let Err(error) = self.log.move_to(&name) {
            self.times.rotation_failed = Some(Instant::now());
            self.failed("rotated", &error);
            return;
        }
        self.times.rotation_failed = None;
        self.tell_head(self.log.path().with_file_name(&name));
        self.begin_file("rotation");
        rotate.keep.into_iter().for_each(|keep| remove_old(self.log.path(), keep));
    }

    fn reopen(&mut self) {
        if !self.log.is_regular() || !self.log.was_moved() {
            return;
        }
        self.write();
        self.keep(None);
        match LogFile::open(self.log.path()) {
            Ok(log) => self.log = log,
            Err(error) => {
                tracing::error!(path = %self.log.path().display(), %error, "the audit log can't be opened again; the old file stays");
                return;
            }
        }
        self.begin_file("reopen");
    }

    fn begin_file(&mut self, after: &str) {
        self.state.chain.turn();
        self.keep(None);
        self.open_section(after, None);
    }

    // === heads ===

    fn tell_head_if_due(&mut self) {
        let (at, seq) = self.times.told;
        if at.elapsed() >= self.desk.settings.heads && seq != self.state.chain.head().seq {
            self.tell_head(self.log.path().to_owned());
        }
    }

    fn tell_head(&mut self, file: PathBuf) {
        let head = self.here(&file);
        self.times.told = (Instant::now(), head.seq);
        tracing::info!(head = head.head, file = %file.display(), "the head of the audit log");
        if self.log.is_regular()
            && let Err(error) = heads::append(self.log.path(), &head)
        {
            tracing::warn!(%error, "the head of the audit log can't be written beside it");
        }
    }

    // === the end ===

    /// The writer that goes on later, if another process doesn't.
    fn end(mut self, end: Option<Successor>, queue: &mut Receiver<Message>) -> Option<Self> {
        self.tell_of_strangers(true);
        self.write();
        if !self.times.has_given_up {
            self.keep(Some(if end.is_some() { Ending::Handover } else { Ending::Stop }));
        }
        if self.state.chain.head().seq != self.times.told.1 {
            self.tell_head(self.log.path().to_owned());
        }
        let (to, done) = end?;
        let desk = self.desk.clone();
        let is_kept = !self.is_behind;
        // Whoever goes on needs the files, and waits until nobody has them.
        drop(self);
        let kept = is_kept.then_some(()).ok_or_else(|| io::Error::other("the audit log can't be synced"));
        // Whoever asked may be gone.
        let _ = done.send(kept);
        let taken_back = pass_on(queue, to, &desk)?;
        desk.reopen(taken_back)
    }
}

// === impl Desk ===

impl Desk {
    /// Opens the files again, as soon as they can be; none if the process wants to end before.
    fn reopen(self, done: oneshot::Sender<io::Result<()>>) -> Option<Scribe> {
        let mut done = Some(done);
        loop {
            let (opened, told) = match Scribe::open(self.clone()) {
                Ok(scribe) => (Some(scribe), Ok(())),
                Err(error) => {
                    self.metrics.audit.errors.inc();
                    tracing::error!("the audit log can't be opened again, and records wait: {error:#}");
                    (None, Err(io::Error::other(format!("{error:#}"))))
                }
            };
            // Whoever asked may be gone.
            done.take().map(|done| done.send(told));
            if opened.is_some() || self.is_ending.load(Ordering::Relaxed) {
                return opened;
            }
            thread::sleep(RETRY);
        }
    }
}

fn tell_of_start(path: &Path, after: &str, chain: &Chain, found: Found) {
    let (path, seq) = (path.display(), chain.head().seq);
    if after == "crash" {
        let Found { followed, cut, .. } = found;
        tracing::warn!(%path, seq, followed, cut_bytes = cut, "the audit log was not ended in order; it goes on after record {seq}, and what wasn't on the disk is lost");
    }
    if found.foreign > 0 {
        tracing::error!(%path, lines = found.foreign, "the audit log holds lines that are not of its chain; `swaigate audit verify` tells which");
    }
}

/// Sends what comes after a hand-over to whoever has the chain now, a line each, unsealed. Who wants it back, if anybody.
fn pass_on(
    queue: &mut Receiver<Message>,
    mut to: Box<dyn Write + Send>,
    Desk { strangers, metrics, .. }: &Desk,
) -> Option<oneshot::Sender<io::Result<()>>> {
    let json = |record: &dyn Fn() -> serde_json::Result<Vec<u8>>| record().ok();
    while let Some(message) = queue.blocking_recv() {
        let record = match message {
            Message::Record(entry) => json(&|| serde_json::to_vec(&Line::from(&*entry))),
            Message::Change(change) => json(&|| serde_json::to_vec(&ChangeLine::from(&*change))),
            Message::Anomaly(anomaly) => json(&|| serde_json::to_vec(&AnomalyLine::from(&*anomaly))),
            Message::Foreign(record) => Some(record),
            Message::Reopen => None,
            Message::HandOver(_, done) => {
                let _ = done.send(Err(io::Error::other("the audit log was handed over already")));
                None
            }
            Message::TakeBack(done) => return Some(done),
            Message::End => break,
        };
        record.into_iter().for_each(|record| send(&mut to, record, metrics));
    }
    for summary in strangers.due(clock::now(), true) {
        serde_json::to_vec(&summary).into_iter().for_each(|record| send(&mut to, record, metrics));
    }
    let _ = to.flush();
    None
}

fn send(to: &mut Box<dyn Write + Send>, mut record: Vec<u8>, metrics: &Metrics) {
    record.push(b'\n');
    if let Err(error) = to.write_all(&record).and_then(|()| to.flush()) {
        metrics.audit.errors.inc();
        tracing::error!(%error, "an audit record can't be passed on to the process that has the log now");
    }
}

fn remove_old(log: &Path, keep: usize) {
    let removed = file::old_files(log).and_then(|files| {
        let old = files.len().saturating_sub(keep);
        files.iter().take(old).try_for_each(fs::remove_file)
    });
    if let Err(error) = removed {
        tracing::error!(path = %log.display(), %error, "old files of the audit log can't be removed");
    }
}
