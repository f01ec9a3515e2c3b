//! Records that are made after the audit log was handed over: they wait until the new process has the log, and go there.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{FromOld, link::Link};

/// Where the lines of such records are written.
#[derive(Debug, Clone)]
pub(crate) struct Late(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    link: Link,
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
        Self(Arc::new(Mutex::new(Waiting {
            link,
            is_released: false,
            lines: VecDeque::new(),
            sent: 0,
            begun: Vec::new(),
        })))
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

    /// Says that no line will come any more.
    pub(crate) fn end(&self) {
        // Whoever is gone needs not be told.
        let _ = self.waiting().link.send(&FromOld::End);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
