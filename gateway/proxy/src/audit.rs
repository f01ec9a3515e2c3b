//! The audit log: one JSON line for each decision.
//!
//! The rule for when its queue is full: a request is forwarded only if its record has a place in the queue, so nothing
//! reaches an agent unrecorded; that request is refused (`audit_full`). Records of refusals may fill three quarters of
//! the queue and are dropped beyond that, counted in `swaigate_audit_dropped_total`, so that a flood of strangers can't
//! take the places of real calls. A failed write is tried again until it succeeds; meanwhile the queue fills.

mod anomaly;
mod change;
mod inputs;

pub use inputs::hex;

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    net::IpAddr,
    ops::ControlFlow,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

pub use anomaly::Anomaly;
pub use change::{Action, Change};
use serde::Serialize;
use swaigate_core::{
    id::{AgentName, RequestId},
    record::{Facts, Medium, Repeat},
    time::Timestamp,
    verdict::{Decision, Reason, Route},
};
use tokio::sync::mpsc::{self, OwnedPermit, Receiver, Sender};

use self::{anomaly::AnomalyLine, change::ChangeLine};
use crate::{clock, metrics::Metrics};

/// How long a failed write waits before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How long a record may wait for others to be written with.
const GATHER: Duration = Duration::from_millis(5);

/// The queue's sending end.
#[derive(Debug, Clone)]
pub struct Audit {
    queue: Sender<Message>,
    metrics: Arc<Metrics>,
}

/// The thread that writes.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
    queue: Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Record(Box<Entry>),
    Change(Box<Change>),
    Anomaly(Box<Anomaly>),
    /// The file was moved away: go on in a new one.
    Reopen,
    /// Nothing that matters comes after this.
    End,
}

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

/// Opens the log, makes its folder if there is none, and starts the writer. The file has mode 0600.
///
/// # Errors
/// If the file can't be opened.
pub fn open(path: &Path, queue: usize, metrics: &Arc<Metrics>) -> io::Result<(Audit, Writer)> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let log = Log { path: path.to_owned(), out: BufWriter::new(open_file(path)?), metrics: Arc::clone(metrics) };
    let (sender, receiver) = mpsc::channel(queue.max(4));
    let thread = thread::Builder::new().name("audit".to_owned()).spawn(move || log.write_all(receiver))?;
    let writer = Writer { thread, queue: sender.clone() };
    Ok((Audit { queue: sender, metrics: Arc::clone(metrics) }, writer))
}

// === impl Audit ===

impl Audit {
    /// A place for the record of a request that is to be forwarded. `None` if there is none left.
    pub fn reserve(&self) -> Option<Slot> {
        self.queue.clone().try_reserve_owned().ok().map(Slot)
    }

    /// Records a request that was not forwarded, if there is room for such.
    pub fn record_refusal(&self, entry: Entry) {
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
            self.metrics.audit_dropped.inc();
        }
    }
}

impl Audit {
    /// Goes on in a new file, if the old one was moved away: for programs that rotate logs.
    pub fn reopen(&self) {
        if self.queue.try_send(Message::Reopen).is_err() {
            tracing::warn!("the audit queue is full; the file was not opened again");
        }
    }
}

impl Slot {
    /// Records the request that the place was kept for.
    pub fn record(self, entry: Entry) {
        self.0.send(Message::Record(Box::new(entry)));
    }
}

impl Writer {
    /// Waits until all that was queued until now is written.
    pub fn finish(self) {
        // Either fails only if the thread is gone, and then there is nothing to wait for.
        let _ = self.queue.blocking_send(Message::End);
        let _ = self.thread.join();
    }
}

// === writing ===

struct Log {
    path: PathBuf,
    out: BufWriter<File>,
    metrics: Arc<Metrics>,
}

impl Log {
    fn write_all(mut self, mut queue: Receiver<Message>) {
        while let Some(message) = queue.blocking_recv() {
            if self.take(message).is_break() {
                return;
            }
            // Waking this thread costs more than a record: what comes within a moment is written together.
            thread::sleep(GATHER);
            while let Ok(message) = queue.try_recv() {
                if self.take(message).is_break() {
                    return;
                }
            }
            self.retrying(|out| out.flush());
        }
    }

    fn take(&mut self, message: Message) -> ControlFlow<()> {
        match message {
            Message::Record(entry) => self.write(&Line::from(&*entry)),
            Message::Change(change) => self.write(&ChangeLine::from(&*change)),
            Message::Anomaly(anomaly) => self.write(&AnomalyLine::from(&*anomaly)),
            Message::Reopen => self.reopen(),
            Message::End => {
                self.retrying(|out| out.flush());
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn reopen(&mut self) {
        self.retrying(|out| out.flush());
        match open_file(&self.path) {
            Ok(file) => self.out = BufWriter::new(file),
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the audit log can't be opened again; the old file stays");
            }
        }
    }

    fn write(&mut self, line: &impl Serialize) {
        let mut line = serde_json::to_vec(line).unwrap_or_default();
        line.push(b'\n');
        self.retrying(|out| out.write_all(&line));
        self.metrics.audit_written.inc();
    }

    fn retrying(&mut self, write: impl Fn(&mut BufWriter<File>) -> io::Result<()>) {
        while let Err(error) = write(&mut self.out) {
            self.metrics.audit_errors.inc();
            tracing::error!(path = %self.path.display(), %error, "the audit log can't be written; calls are refused when its queue is full");
            thread::sleep(RETRY);
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// A record as it is written. What was not learned is left out.
#[derive(Serialize)]
struct Line<'e> {
    time: String,
    event: &'static str,
    request_id: String,
    agent: Option<&'e str>,
    route: &'static str,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_digest: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    caller_disagrees: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    called: Option<&'e str>,
    decision: &'static str,
    reason: &'static str,
    status: u16,
    delivered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_us: Option<u64>,
    gateway_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'e serde_json::value::RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ends_call: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    permitted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<inputs::Line<'e>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    medium: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    schema_unknown: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    result: &'e [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    has_met: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_refuse: Vec<WouldRefuse>,
    #[serde(skip_serializing_if = "is_zero")]
    redacted: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_mediated: Vec<NotMediated<'e>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    switch: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'e str>,
}

#[derive(Serialize)]
struct WouldRefuse {
    rule: &'static str,
    reason: &'static str,
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct NotMediated<'e> {
    what: &'e str,
    how: &'static str,
}

impl<'e> From<&'e Entry> for Line<'e> {
    fn from(entry: &'e Entry) -> Self {
        let facts = &entry.facts;
        let unmediated = facts.unmediated.iter();
        Self {
            time: clock::rfc3339(entry.at),
            event: entry.event.as_str(),
            request_id: entry.request.to_string(),
            agent: entry.agent.as_ref().map(AgentName::as_str),
            route: entry.route.as_str(),
            method: entry.method,
            client: entry.client,
            user: facts.user.as_deref(),
            function: facts.function.as_deref(),
            call_id: facts.call_id.as_deref(),
            caller: facts.caller.as_deref(),
            caller_digest: facts.caller_digest.map(|digest| digest.to_string()),
            caller_disagrees: facts.caller_disagrees,
            called: facts.called.as_deref(),
            decision: Decision::from(entry.reason).as_str(),
            reason: entry.reason.as_str(),
            status: entry.status,
            delivered: entry.delivered,
            bytes: entry.bytes,
            decided_us: entry.decided.map(micros),
            gateway_us: micros(entry.gateway),
            agent_us: entry.agent_time.map(micros),
            arguments: facts.arguments.as_deref().and_then(|json| serde_json::from_str(json).ok()),
            document: facts.document.map(|id| id.to_string()),
            within: facts.within.map(|id| id.to_string()),
            ends_call: facts.ends_call,
            // What is passed on was permitted.
            permitted: facts.permitted && entry.reason != Reason::Ok,
            inputs: inputs::Line::of(&facts.inputs),
            medium: Some(facts.medium).filter(|medium| *medium != Medium::Voice).map(Medium::as_str),
            signature: facts.signature,
            repeat: facts.repeat.map(Repeat::as_str),
            schema: facts.schema.map(|digest| hex(&digest)),
            schema_unknown: facts.schema_unknown,
            result: &facts.result,
            has_met: facts.has_met,
            would_refuse: facts
                .would_refuse
                .iter()
                .map(|seen| WouldRefuse { rule: seen.rule.as_str(), reason: seen.reason })
                .collect(),
            redacted: facts.redacted,
            not_mediated: unmediated.map(|u| NotMediated { what: &u.what, how: u.how.as_str() }).collect(),
            switch: facts.switch.as_deref(),
            server: facts.server.as_deref(),
            detail: facts.detail.as_deref(),
        }
    }
}

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
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use swaigate_core::switches::{Origin, Scope, Switch, SwitchId, Word};

    use super::*;

    fn entry(reason: Reason) -> Entry {
        Entry {
            event: Event::Request,
            at: Timestamp(1_700_000_000_000),
            request: RequestId([1; 12]),
            agent: Some("bank".parse().unwrap()),
            route: Route::Swaig,
            method: "POST",
            client: None,
            reason,
            status: 200,
            delivered: true,
            bytes: None,
            decided: None,
            gateway: Duration::from_micros(50),
            agent_time: None,
            facts: Facts { arguments: Some(r#"{"pin":"[REDACTED]"}"#.into()), ..Facts::default() },
        }
    }

    #[test]
    fn a_record_is_one_line_of_json_in_a_file_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit/audit.jsonl");
        let (audit, writer) = open(&path, 16, &Arc::new(Metrics::new().unwrap())).unwrap();
        audit.reserve().unwrap().record(entry(Reason::Ok));
        audit.record_refusal(entry(Reason::Limited));
        writer.finish();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["decision"], &lines[0]["reason"]), (&"allow".into(), &"ok".into()));
        assert_eq!((&lines[1]["decision"], &lines[1]["reason"]), (&"refuse".into(), &"limited".into()));
        assert_eq!(lines[0]["arguments"]["pin"], "[REDACTED]");
        assert_eq!(lines[0]["time"], "2023-11-14T22:13:20.000Z");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_operators_page_explains_every_field() {
        let page = include_str!("../../../policies/README.md");
        let (_, page) = page.split_once("# The audit log").unwrap();
        for source in [include_str!("audit.rs"), include_str!("audit/inputs.rs")] {
            let (_, line) = source.split_once("struct Line<").unwrap();
            let (line, _) = line.split_once("\n}").unwrap();
            let names =
                line.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(": ")).map(|(name, _)| name);
            let names: Vec<_> = names.collect();
            assert!(names.len() > 5, "{names:?}");
            for name in names {
                assert!(page.contains(&format!("`{name}`")), "policies/README.md lacks `{name}`");
            }
        }
    }

    #[test]
    fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let [path, moved] = ["audit.jsonl", "audit.1.jsonl"].map(|name| folder.path().join(name));
        let (audit, writer) = open(&path, 16, &Arc::new(Metrics::new().unwrap())).unwrap();
        audit.record_refusal(entry(Reason::Limited));
        std::fs::rename(&path, &moved).unwrap();
        audit.reopen();
        audit.record_refusal(entry(Reason::NotFound));
        writer.finish();
        let reasons = [moved, path].map(|path| std::fs::read_to_string(path).unwrap());
        assert!(reasons[0].contains("limited") && reasons[1].contains("not_found"));
    }

    /// The queue without its writer: nothing is taken out.
    fn stuck(capacity: usize) -> (Audit, Receiver<Message>) {
        let (queue, receiver) = mpsc::channel(capacity);
        (Audit { queue, metrics: Arc::new(Metrics::new().unwrap()) }, receiver)
    }

    #[test]
    fn the_change_of_a_switch_waits_for_a_place_and_is_not_dropped() {
        let (audit, mut receiver) = stuck(2);
        let slots: Vec<_> = std::iter::from_fn(|| audit.reserve()).collect();
        audit.record_change(Change {
            at: Timestamp(1_700_000_000_000),
            action: Action::On,
            word: Word::new("ann", "card fraud").unwrap(),
            switch: Arc::new(Switch {
                id: SwitchId([1; 8]),
                scope: Scope::Agent("bank".parse().unwrap()),
                word: Word::new("ann", "card fraud").unwrap(),
                since: Timestamp(1_700_000_000_000),
                until: None,
                origin: Origin::Operator,
            }),
        });
        drop(slots);
        let Some(Message::Change(change)) = receiver.blocking_recv() else { panic!("it is not there") };
        assert_eq!(
            serde_json::to_value(ChangeLine::from(&*change)).unwrap(),
            serde_json::json!({ "time": "2023-11-14T22:13:20.000Z", "event": "switch", "action": "on",
                "switch_id": "0101010101010101", "switch": "agent bank", "who": "ann", "why": "card fraud",
                "origin": "operator", "since": "2023-11-14T22:13:20.000Z" })
        );
        assert_eq!(audit.metrics.audit_dropped.get(), 0);
    }

    #[test]
    fn refusals_leave_a_quarter_of_the_queue_to_forwards() {
        let (audit, _receiver) = stuck(8);
        for _ in 0..100 {
            audit.record_refusal(entry(Reason::CredentialsMissing));
        }
        assert_eq!(audit.metrics.audit_dropped.get(), 94);
        let slots: Vec<_> = std::iter::from_fn(|| audit.reserve()).collect();
        assert_eq!(slots.len(), 2, "then nothing is forwarded any more");
    }
}
