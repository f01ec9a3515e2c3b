//! Records that are made after the audit log was handed over: they wait until the new process has the log, and go there.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{FromOld, link::Link};

/// How long the new process may take for the last lines.
const LAST: Duration = Duration::from_secs(10);

/// Where the lines of such records are written.
#[derive(Debug, Clone)]
pub(crate) struct Late(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Rung when the new process has taken a line, or is gone.
    news: Condvar,
}

#[derive(Debug)]
struct Waiting {
    link: Link,
    is_gone: bool,
    /// Whether the new process takes lines.
    is_released: bool,
    /// What nobody has taken. It is bounded: before it is released by the patience of [`super::old`], after that by what
    /// fits into the socket.
    lines: VecDeque<Vec<u8>>,
    /// How many of them were sent.
    sent: usize,
    /// A line that isn't whole yet.
    begun: Vec<u8>,
}

// === impl Late ===

impl Late {
    /// To the process at the other end, once it is [released](Late::release).
    pub(super) fn over(link: Link) -> Self {
        let waiting =
            Waiting { link, is_gone: false, is_released: false, lines: VecDeque::new(), sent: 0, begun: Vec::new() };
        Self(Arc::new(Shared { waiting: Mutex::new(waiting), news: Condvar::new() }))
    }

    /// The new process has the log: lines go there from now on, those first that have waited.
    pub(super) fn release(&self) {
        let mut waiting = self.waiting();
        waiting.is_released = true;
        waiting.send();
    }

    /// The new process has taken one more.
    pub(super) fn taken(&self) {
        let mut waiting = self.waiting();
        if waiting.sent > 0 {
            waiting.sent -= 1;
            waiting.lines.pop_front();
        }
        self.0.news.notify_all();
    }

    /// The new process takes no more.
    pub(super) fn gone(&self) {
        self.waiting().is_gone = true;
        self.0.news.notify_all();
    }

    /// What nobody has taken. Nothing is sent after this, so nobody may write any more.
    pub(crate) fn untaken(&self) -> Vec<Vec<u8>> {
        let mut waiting = self.waiting();
        waiting.is_released = false;
        mem::take(&mut waiting.lines).into()
    }

    /// Says that what is in force is known here.
    pub(super) fn noted(&self) -> io::Result<()> {
        self.waiting().link.send(&FromOld::Noted)
    }

    /// Says that no line will come any more, when the new process has taken all that were sent, or some time later. If it
    /// is gone, what it hasn't taken.
    pub(crate) fn end(&self) -> Result<(), Vec<Vec<u8>>> {
        let is_awaited = |waiting: &mut Waiting| !waiting.lines.is_empty() && !waiting.is_gone;
        let waited = self.0.news.wait_timeout_while(self.waiting(), LAST, is_awaited);
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !waiting.is_gone && waiting.link.send(&FromOld::End).is_ok() {
            return Ok(());
        }
        drop(waiting);
        Err(self.untaken())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Late {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut waiting = self.waiting();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            waiting.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = mem::take(&mut waiting.begun);
                waiting.lines.push_back(line);
                waiting.send();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Waiting ===

impl Waiting {
    fn send(&mut self) {
        for line in self.lines.iter().skip(self.sent) {
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            if !self.is_released || self.link.send(&FromOld::Late(text)).is_err() {
                self.is_released = false;
                return;
            }
            self.sent += 1;
        }
    }
}
