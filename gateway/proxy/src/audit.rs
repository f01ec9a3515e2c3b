//! The audit log: one JSON line for each decision, sealed so that it can't be rewritten later.
//!
//! **When its queue is full.** A request is forwarded only if its record has a place in the queue, so nothing reaches an
//! agent unrecorded. Without a place it is refused (`audit_full`), at once or after some seconds (`audit.on_failure`).
//! Records of refusals may fill three quarters of the queue and are dropped beyond that, counted in
//! `swaigate_audit_dropped_total`, so that a flood of strangers can't take the places of real calls; and most of a flood is
//! counted, not recorded ([`strangers`]). Changes of switches wait for a place and are never dropped.
//!
//! **When it can't be written.** A failed write is tried again until it succeeds, from the byte where it stopped; meanwhile
//! the queue fills. It is told in the log, in `swaigate_audit_failing`, and by `/readyz` when there is no place left.
//!
//! **How it convicts.** [`swaigate_core::chain`] seals each record under a key that is gone then. What is needed to go on is
//! kept beside the state ([`kept`]): it is written after the records have been synced (`audit.sync`), so a crash loses at
//! most what came since, and says so in the record with which the next process begins. Who takes the machine gets the key
//! of that moment: what was sealed since the last sync can be sealed anew with it, what is older can't. The end of a log
//! can always be cut off; heads ([`heads`]) that are known elsewhere, and copies ([`sinks`]), show that.

mod anomaly;
mod change;
mod file;
mod heads;
mod inputs;
mod kept;
mod line;
mod sinks;
mod strangers;
mod writer;

use std::{
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use swaigate_core::{
    chain,
    id::{AgentName, RequestId},
    record::Facts,
    time::Timestamp,
    verdict::{Reason, Route},
};
use tokio::{
    runtime,
    sync::{
        mpsc::{self, OwnedPermit, Sender},
        oneshot,
    },
    time::timeout,
};

pub use self::{
    anomaly::Anomaly,
    change::{Action, Change, Changed},
    heads::Head,
    inputs::hex,
};
use self::{
    strangers::Strangers,
    writer::{Desk, Scribe},
};
use crate::{
    metrics::Metrics,
    settings::{self, OnFailure},
};

/// How long a request waits for a place, where it may wait.
const BLOCK: Duration = Duration::from_secs(10);

/// The largest record that is taken from another process, in bytes.
const MAX_FOREIGN: usize = 16 << 20;

/// The queue's sending end.
#[derive(Debug, Clone)]
pub struct Audit {
    queue: Sender<Message>,
    /// How long a request waits for a place.
    patience: Duration,
    strangers: Arc<Strangers>,
    head: Arc<ArcSwapOption<Head>>,
    metrics: Arc<Metrics>,
}

/// The thread that writes.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
    queue: Sender<Message>,
    is_ending: Arc<AtomicBool>,
}

enum Message {
    Record(Box<Entry>),
    Change(Box<Change>),
    Anomaly(Box<Anomaly>),
    /// A record of the process that had the log before.
    Foreign(Vec<u8>),
    /// The file may have been moved away: go on in a new one then.
    Reopen,
    /// Another process goes on; what comes from now on is to be sent there.
    HandOver(Box<dyn Write + Send>, oneshot::Sender<io::Result<()>>),
    /// It doesn't: this process goes on.
    TakeBack(oneshot::Sender<io::Result<()>>),
    /// Nothing that matters comes after this.
    End,
}

/// What is no record that another process has passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record is an object of JSON, on one line and without a seal")]
pub struct NoRecord;

/// A place in the queue.
#[derive(Debug)]
#[must_use]
pub struct Slot(OwnedPermit<Message>);

/// What is recorded.
#[derive(Debug)]
pub struct Entry {
    /// What it tells.
    pub event: Event,
    /// When the request came.
    pub at: Timestamp,
    /// The request.
    pub request: RequestId,
    /// The agent, if it is known.
    pub agent: Option<AgentName>,
    /// What was asked.
    pub route: Route,
    /// With which method.
    pub method: &'static str,
    /// Who sent it, by the socket.
    pub client: Option<IpAddr>,
    /// How it ended.
    pub reason: Reason,
    /// The HTTP status that was answered; 0 if nothing was.
    pub status: u16,
    /// Whether the answer was written to the end.
    pub delivered: bool,
    /// How many bytes of its body were written, if it passed as it came.
    pub bytes: Option<u64>,
    /// How long after [`Entry::at`] it was decided, if it was.
    pub decided: Option<Duration>,
    /// The gateway's own time.
    pub gateway: Duration,
    /// The agent's time, if it was asked.
    pub agent_time: Option<Duration>,
    /// What the decision learned.
    pub facts: Facts,
}

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A request has ended.
    Request,
    /// The same of the request with which a call begins.
    CallStart,
    /// The agent has answered a request that had ended already: the caller was told to wait, or left.
    LateAnswer,
}

/// Opens the log, makes its folder if there is none, and starts the writer. All files are for their owner only. The chain's
/// key is kept in the other folder.
///
/// # Errors
/// If the file can't be opened, the key not be read, or another process has it.
pub fn open(settings: &settings::Audit, chain: &Path, metrics: &Arc<Metrics>) -> anyhow::Result<(Audit, Writer)> {
    let (queue, receiver) = mpsc::channel(settings.queue.max(4));
    let strangers = Arc::new(Strangers::new(settings.strangers));
    let (head, is_ending) = (Arc::new(ArcSwapOption::empty()), Arc::new(AtomicBool::new(false)));
    let desk = Desk {
        settings: settings.clone(),
        chain: chain.to_owned(),
        strangers: Arc::clone(&strangers),
        head: Arc::clone(&head),
        metrics: Arc::clone(metrics),
        is_ending: Arc::clone(&is_ending),
    };
    let scribe = Scribe::open(desk)?;
    let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = thread::Builder::new().name("audit".to_owned());
    let thread = thread.spawn(move || scribe.write_all(&runtime, receiver))?;
    let writer = Writer { thread, queue: queue.clone(), is_ending };
    let patience = match settings.on_failure {
        OnFailure::Deny => Duration::ZERO,
        OnFailure::Block => BLOCK,
    };
    Ok((Audit { queue, patience, strangers, head, metrics: Arc::clone(metrics) }, writer))
}

/// Makes the chain of a gateway that hasn't run yet, with its key in this folder. Says the verification key, which is
/// written nowhere.
///
/// # Errors
/// If there is a chain already, or it can't be written.
pub fn make_chain(folder: &Path) -> anyhow::Result<chain::ChainKey> {
    kept::make_chain(folder)
}

/// The head that is known to be on the disk, by the key that is kept in this folder; also while a gateway runs.
///
/// # Errors
/// If the key can't be read.
pub fn kept_head(folder: &Path) -> anyhow::Result<chain::Head> {
    kept::look(folder).map(|state| state.chain.head())
}

/// All files of a log that are there, the oldest first.
///
/// # Errors
/// If its folder can't be read.
pub fn files(log: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = file::old_files(log)?;
    files.extend(log.exists().then(|| log.to_owned()));
    Ok(files)
}

/// Where the chain's key is kept: with the state, or, where a gateway keeps none, beside the log.
pub fn chain_folder(settings: &settings::Settings) -> &Path {
    match &settings.file {
        Some(_) => &settings.state.path,
        None => settings::folder_of(&settings.audit.path),
    }
}

// === impl Audit ===

impl Audit {
    /// A place for the record of a request that is to be forwarded. `None` if there is none left.
    pub fn reserve(&self) -> Option<Slot> {
        self.queue.clone().try_reserve_owned().ok().map(Slot)
    }

    /// The same; where requests may wait for a place, some seconds later.
    pub async fn place(&self) -> Option<Slot> {
        let place = self.reserve();
        if place.is_some() || self.patience.is_zero() {
            return place;
        }
        let place = timeout(self.patience, self.queue.clone().reserve_owned()).await;
        place.ok().and_then(Result::ok).map(Slot)
    }

    /// Whether there is a place, and somebody who writes.
    pub fn has_room(&self) -> bool {
        self.queue.capacity() > 0 && !self.queue.is_closed()
    }

    /// Records a request that was not forwarded, if there is room for such. Of those of strangers most are counted.
    pub fn record_refusal(&self, entry: Entry) {
        let is_strangers = entry.facts.user.is_none();
        if is_strangers && !self.strangers.has_record(entry.client, entry.reason, entry.at) {
            self.metrics.audit.counted.inc();
            return;
        }
        self.send_if_there_is_room(Message::Record(Box::new(entry)));
    }

    /// Records an anomaly, if there is room for such: strangers can make some.
    pub fn record_anomaly(&self, anomaly: Anomaly) {
        self.send_if_there_is_room(Message::Anomaly(Box::new(anomaly)));
    }

    fn send_if_there_is_room(&self, message: Message) {
        let kept_for_forwards = self.queue.max_capacity() / 4;
        let has_room = self.queue.capacity() > kept_for_forwards;
        if !has_room || self.queue.try_send(message).is_err() {
            self.metrics.audit.dropped.inc();
        }
    }

    /// Records what the process that had the log before has passed on ([`Audit::hand_over`]): one of its lines. It waits
    /// for a place, so it is not for a thread that serves requests.
    ///
    /// # Errors
    /// [`NoRecord`].
    pub fn take_in(&self, line: &[u8]) -> Result<(), NoRecord> {
        let line = line.trim_ascii();
        let is_object = line.starts_with(b"{\"") && line.ends_with(b"}") && line.len() <= MAX_FOREIGN;
        let is_json = || serde_json::from_slice::<&serde_json::value::RawValue>(line).is_ok();
        if !is_object || line.contains(&b'\n') || !is_json() || chain::is_sealed(line) {
            return Err(NoRecord);
        }
        // It fails only if the writer is gone, and then nothing is recorded any more.
        let _ = self.queue.blocking_send(Message::Foreign(line.to_vec()));
        Ok(())
    }

    /// Lets another process go on with the log: writes and syncs all that was queued until now, and lets go of the files.
    /// When this returns, that process can [`open`] them, and goes on in the same chain. Records that come here later are
    /// written to `to`, a line each, for its [`Audit::take_in`]; [`Writer::finish`] ends that, or [`Audit::take_back`]. It
    /// waits, so it is not for a thread that serves requests.
    ///
    /// # Errors
    /// If the end of the log can't be synced. The files are let go all the same.
    pub fn hand_over(&self, to: Box<dyn Write + Send>) -> io::Result<()> {
        self.ask(|done| Message::HandOver(to, done))
    }

    /// Goes on with the log after another process had it, in the same chain. When this returns, nothing more is written to
    /// where records went meanwhile. It waits.
    ///
    /// # Errors
    /// If the files can't be opened yet. It is tried again until they can, and records wait.
    pub fn take_back(&self) -> io::Result<()> {
        self.ask(Message::TakeBack)
    }

    fn ask(&self, question: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Message) -> io::Result<()> {
        let gone = || io::Error::other("the audit log's writer is gone");
        let (done, is_done) = oneshot::channel();
        self.queue.blocking_send(question(done)).map_err(|_| gone())?;
        is_done.blocking_recv().map_err(|_| gone())?
    }

    /// The last record that was written, and whether it is known to be on the disk; nothing before the first.
    pub fn head(&self) -> Option<Arc<Head>> {
        self.head.load_full()
    }

    /// Goes on in a new file, if the old one was moved away: for programs that rotate logs.
    pub fn reopen(&self) {
        if self.queue.try_send(Message::Reopen).is_err() {
            tracing::warn!("the audit queue is full; the file was not opened again");
        }
    }
}

// === impl Slot ===

impl Slot {
    /// Records the request that the place was kept for.
    pub fn record(self, entry: Entry) {
        self.0.send(Message::Record(Box::new(entry)));
    }
}

// === impl Writer ===

impl Writer {
    /// Waits until all that was queued until now is written and on the disk.
    pub fn finish(self) {
        self.is_ending.store(true, Ordering::Relaxed);
        // Either fails only if the thread is gone, and then there is nothing to wait for.
        let _ = self.queue.blocking_send(Message::End);
        let _ = self.thread.join();
    }
}

// === impl Message ===

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Message::Record(_) => "Record",
            Message::Change(_) => "Change",
            Message::Anomaly(_) => "Anomaly",
            Message::Foreign(_) => "Foreign",
            Message::Reopen => "Reopen",
            Message::HandOver(..) => "HandOver",
            Message::TakeBack(_) => "TakeBack",
            Message::End => "End",
        })
    }
}

// === impl Event ===

impl Event {
    fn as_str(self) -> &'static str {
        match self {
            Event::Request => "request",
            Event::CallStart => "call_start",
            Event::LateAnswer => "late_answer",
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
