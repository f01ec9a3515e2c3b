//! Where lines go besides the file: each place has a thread and a short queue of its own, so that a slow one holds up
//! neither requests nor the file. What doesn't fit in the queue, or can't be sent, is dropped there and counted; the file
//! has it. Since each line is sealed, a copy that was sent off the machine is what the file can be held against.

mod syslog;

use std::{
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use self::syslog::Syslog;
use crate::{metrics::Metrics, settings::SinkAt};

/// How many lines may wait for a place.
const QUEUE: usize = 4096;

/// How long after a failure nothing is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the end of the process waits for lines that are on their way.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How often failures are logged.
const LOGGED: Duration = Duration::from_secs(60);

/// A place for lines.
trait Sink: Send {
    /// Writes a line, which ends with a line break.
    ///
    /// # Errors
    /// If it is lost.
    fn write(&mut self, line: &[u8]) -> io::Result<()>;
}

/// All places.
#[derive(Debug)]
pub(super) struct Sinks(Vec<Line>);

#[derive(Debug)]
struct Line {
    name: &'static str,
    queue: SyncSender<Arc<[u8]>>,
    thread: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

// === impl Sinks ===

impl Sinks {
    /// Starts a thread for each.
    ///
    /// # Errors
    /// If one can't be started.
    pub(super) fn start(places: &[SinkAt], metrics: &Arc<Metrics>) -> io::Result<Self> {
        let start = |at: &SinkAt| {
            let (queue, lines) = sync_channel(QUEUE);
            let (name, sink) = open(at);
            metrics.audit.expect_sink(name);
            let of_thread = Arc::clone(metrics);
            let thread = thread::Builder::new().name(format!("audit-{name}"));
            let thread = thread.spawn(move || copy(name, sink, &lines, &of_thread))?;
            Ok(Line { name, queue, thread, metrics: Arc::clone(metrics) })
        };
        places.iter().map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Gives a line to each place that has room.
    pub(super) fn copy(&self, line: &[u8]) {
        if self.0.is_empty() {
            return;
        }
        let line: Arc<[u8]> = line.into();
        for place in &self.0 {
            if place.queue.try_send(Arc::clone(&line)).is_err() {
                place.metrics.audit.copy_lost(place.name);
            }
        }
    }
}

impl Drop for Sinks {
    /// Waits until what is on its way has arrived, but not for long.
    fn drop(&mut self) {
        let give_up = Instant::now() + LAST_LINES;
        for Line { name, queue, thread, .. } in self.0.drain(..) {
            // Its thread ends when nothing can come any more.
            drop(queue);
            while !thread.is_finished() && Instant::now() < give_up {
                thread::sleep(Duration::from_millis(5));
            }
            if !thread.is_finished() {
                tracing::error!(sink = name, "the last audit records could not be copied; they are in the file");
            }
        }
    }
}

fn open(at: &SinkAt) -> (&'static str, Box<dyn Sink>) {
    match at {
        SinkAt::Stdout => ("stdout", Box::new(Stdout)),
        SinkAt::SyslogUdp(_) | SinkAt::SyslogTcp(_) | SinkAt::SyslogUnix(_) => ("syslog", Box::new(Syslog::new(at))),
    }
}

fn copy(name: &'static str, mut sink: Box<dyn Sink>, lines: &Receiver<Arc<[u8]>>, metrics: &Metrics) {
    let (mut failed, mut logged): (Option<Instant>, Option<Instant>) = (None, None);
    while let Ok(line) = lines.recv() {
        if failed.is_some_and(|at| at.elapsed() < PAUSE) {
            metrics.audit.copy_lost(name);
            continue;
        }
        let written = sink.write(&line);
        failed = written.as_ref().err().map(|_| Instant::now());
        if let Err(error) = written {
            metrics.audit.copy_lost(name);
            if logged.is_none_or(|at| at.elapsed() >= LOGGED) {
                logged = Some(Instant::now());
                tracing::error!(sink = name, %error, "audit records can't be copied; they are in the file");
            }
        }
    }
}

struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(line)?;
        out.flush()
    }
}
