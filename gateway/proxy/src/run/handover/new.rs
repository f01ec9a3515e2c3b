//! The process that takes over.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};

use super::{FORM, FromNew, FromOld, link::Link, meeting_place};

/// How long the old process may take for a step.
const STEP: Duration = Duration::from_secs(10);

/// How long it may take to close the state and the audit log.
const CLOSING: Duration = Duration::from_secs(30);

/// How long it may take to hold its requests to what is turned off.
const NOTICE: Duration = Duration::from_secs(2);

const SILENT: &str = "the gateway that runs doesn't answer";

/// What a new process may get.
#[derive(Debug)]
pub(crate) struct Inheritance {
    link: Link,
    sockets: Vec<OwnedFd>,
}

/// What it has got, and has to open.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// None: the old process is gone.
    link: Option<Link>,
}

/// The way back to the old process.
#[derive(Debug, Clone)]
pub(crate) struct Predecessor(Arc<Back>);

#[derive(Debug)]
struct Back {
    link: Link,
    /// What it has noted.
    noted: Mutex<Receiver<()>>,
    note: Sender<()>,
    /// Whether it has ended, or is gone.
    has_ended: AtomicBool,
}

// === impl Inheritance ===

impl Inheritance {
    /// Asks the gateway that runs on this state to hand over, which it doesn't do before [`Inheritance::claim`].
    ///
    /// # Errors
    /// If none runs, or it is another user's or of another form.
    pub(crate) fn ask(state: &Path) -> anyhow::Result<Self> {
        let path = meeting_place(state);
        let stream = UnixStream::connect(&path).with_context(|| {
            format!("{}: no gateway is there to take over from; start without --upgrade", path.display())
        })?;
        let link = Link::over(stream)?;
        link.send(&FromNew::Hello { form: FORM, version: env!("CARGO_PKG_VERSION").to_owned() })?;
        let (hello, sockets) = link.receive_with(Some(STEP)).context(SILENT)?;
        let (form, version) = match hello {
            FromOld::Hello { form, version } => (form, version),
            other => return Err(unexpected(other)),
        };
        ensure!(form == FORM, "the gateway that runs is of version {version}, which hands over in another way");
        tracing::info!(process = link.peer, version, sockets = sockets.len(), "taking over");
        Ok(Self { link, sockets })
    }

    /// The listening sockets.
    pub(crate) fn take_sockets(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.sockets)
    }

    /// Says that this process can serve, and waits until the state and the audit log are closed. If the old process dies
    /// meanwhile, they are closed as well, and somebody has to serve.
    ///
    /// # Errors
    /// If the old process would rather go on, or doesn't answer.
    pub(crate) fn claim(self) -> anyhow::Result<Claimed> {
        let said = self.link.send(&FromNew::Ready).map_err(anyhow::Error::from);
        let said = said.and_then(|()| self.link.receive(Some(CLOSING)));
        match said {
            Ok(FromOld::Handed) => Ok(Claimed { link: Some(self.link) }),
            Ok(other) => Err(unexpected(other)),
            Err(error) if is_gone(&error) => {
                tracing::warn!(process = self.link.peer, "the old process is gone before it has handed over");
                Ok(Claimed { link: None })
            }
            Err(error) => Err(error.context(SILENT)),
        }
    }
}

fn is_gone(error: &anyhow::Error) -> bool {
    let gone = [io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    error.downcast_ref::<io::Error>().is_some_and(|error| gone.contains(&error.kind()))
}

fn unexpected(said: FromOld) -> anyhow::Error {
    match said {
        FromOld::Refused(why) => anyhow!("the gateway that runs doesn't hand over: {why}"),
        _ => anyhow!("the gateway that runs hands over in another way"),
    }
}

// === impl Claimed ===

impl Claimed {
    /// Says that both are open, and waits for the word to accept. The way back, if somebody is there.
    ///
    /// # Errors
    /// If the old process has lost its patience and serves again.
    pub(crate) fn go(self) -> anyhow::Result<Option<Predecessor>> {
        let Some(link) = self.link else { return Ok(None) };
        link.send(&FromNew::Opened)?;
        match link.receive(Some(STEP)).context(SILENT)? {
            FromOld::Go => Ok(Some(Predecessor::over(link))),
            other => Err(unexpected(other)),
        }
    }
}

// === impl Predecessor ===

impl Predecessor {
    fn over(link: Link) -> Self {
        let (note, noted) = channel();
        Self(Arc::new(Back { link, noted: Mutex::new(noted), note, has_ended: AtomicBool::new(false) }))
    }

    /// Takes the lines that the old process still has for the audit log, on a thread of its own.
    ///
    /// # Errors
    /// If the thread can't be started.
    pub(crate) fn take_late_lines(&self, mut write: impl FnMut(String) + Send + 'static) -> io::Result<()> {
        let back = Arc::clone(&self.0);
        thread::Builder::new().name("late records".to_owned()).spawn(move || {
            let process = back.link.peer;
            let end = loop {
                match back.link.receive(None) {
                    Ok(FromOld::Late(line)) => {
                        write(line);
                        // If it is gone, nobody else has the line.
                        let _ = back.link.send(&FromNew::Taken);
                    }
                    Ok(FromOld::End) => break None,
                    Ok(FromOld::Noted) => drop(back.note.send(())),
                    Ok(_) => {}
                    Err(error) => break Some(error),
                }
            };
            match end {
                None => tracing::info!(process, "the old process has ended"),
                Some(error) => tracing::error!(
                    process, error = %format!("{error:#}"),
                    "the old process ended before its time, and its last records may be lost"
                ),
            }
            back.has_ended.store(true, Ordering::Release);
            // Nobody is to wait for its word any more.
            let _ = back.note.send(());
        })?;
        Ok(())
    }

    /// Whether lines may still come of it.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.0.has_ended.load(Ordering::Acquire)
    }

    /// Tells it what is turned off, and waits until the requests that still come to it are held to that.
    pub(crate) fn in_force(&self, json: String) {
        let noted = self.0.noted.lock().unwrap_or_else(PoisonError::into_inner);
        while noted.try_recv().is_ok() {}
        if !self.is_awaited() {
            return;
        }
        // If it is gone, nothing comes to it.
        let is_told = self.0.link.send(&FromNew::InForce(json)).is_ok();
        if is_told && noted.recv_timeout(NOTICE).is_err() && self.is_awaited() {
            tracing::warn!(process = self.0.link.peer, "the old process doesn't say that it knows what is turned off");
        }
    }

    /// Tells it that it isn't to go on in place of this one.
    pub(crate) fn stopping(&self) {
        let _ = self.0.link.send(&FromNew::Stopping);
    }
}
