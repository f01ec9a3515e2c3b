//! The process that runs, and hands over.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use super::{FORM, FromNew, FromOld, late::Late, link::Link, meeting_place, phases::Phases};

/// How long the new process may take to say what it is: it has loaded its files before.
const GREETING: Duration = Duration::from_secs(10);

/// How long it may take to bind addresses that are new.
const PREPARATION: Duration = Duration::from_secs(30);

/// How long it may take to open the state and the audit log. Meanwhile nobody accepts.
const OPENING: Duration = Duration::from_secs(10);

/// What a process hands over, and takes back if nobody wants it.
pub(crate) trait Estate: Send + Sync + 'static {
    /// The listening sockets, which stay open here.
    ///
    /// # Errors
    /// If nothing can be handed over now.
    fn sockets(&self) -> anyhow::Result<Vec<OwnedFd>>;

    /// Stops accepting, and closes the state and the audit log in an order in which another process may open them.
    ///
    /// # Errors
    /// If one of them can't be closed as it should be; then [`Estate::take_back`] is called.
    fn let_go(&self, late: Late) -> anyhow::Result<()>;

    /// Opens both again, records the lines that nobody took, and accepts.
    fn take_back(&self);

    /// From now on these emergency switches and lockouts are in force, as JSON.
    fn in_force(&self, json: &str);

    /// Process `heir` answers for everything from now on.
    fn left_to(&self, heir: u32);
}

/// Waits for a new process at the meeting place.
pub(crate) struct Testator {
    path: PathBuf,
    listener: UnixListener,
    /// Of the file that is the socket's name; nobody else's as long as it is listened on.
    inode: u64,
    estate: Arc<dyn Estate>,
    phases: Phases,
}

// === impl Testator ===

impl Testator {
    /// Makes the meeting place in the folder of the state, in place of one that was left behind, for this user only. To
    /// be called by whoever has the state open.
    ///
    /// # Errors
    /// If it can't be made, such as where its path has more than 107 bytes.
    pub(crate) fn at(state: &Path, estate: Arc<dyn Estate>, phases: Phases) -> anyhow::Result<Self> {
        let path = meeting_place(state);
        let bound = bind(&path).and_then(|listener| Ok((listener, inode(&path)?)));
        let (listener, inode) = bound.with_context(|| path.display().to_string())?;
        Ok(Self { path, listener, inode, estate, phases })
    }

    /// Starts to wait, on a thread that ends with the process.
    ///
    /// # Errors
    /// If the thread can't be started.
    pub(crate) fn start(mut self) -> io::Result<()> {
        thread::Builder::new().name("handover".to_owned()).spawn(move || {
            while let Err(error) = self.wait() {
                tracing::error!("the gateway was not handed over, and goes on: {error:#}");
                if let Err(error) = self.return_to_place() {
                    return tracing::error!(%error, "until the next start, it can't be handed over");
                }
            }
        })?;
        Ok(())
    }

    /// The other process may have made the meeting place its own.
    fn return_to_place(&mut self) -> io::Result<()> {
        if inode(&self.path).ok() != Some(self.inode) {
            self.listener = bind(&self.path)?;
            self.inode = inode(&self.path)?;
        }
        Ok(())
    }

    fn wait(&self) -> anyhow::Result<()> {
        self.meet(self.listener.accept()?.0)
    }

    /// Hands over. Returns when another process has served until its own orderly end, or this one ends before.
    fn meet(&self, stream: UnixStream) -> anyhow::Result<()> {
        let link = Link::over(stream)?;
        let FromNew::Hello { form, version } = link.receive(Some(GREETING))? else { bail!("it didn't say what it is") };
        tracing::info!(process = link.peer, version, "another process asks to take over");
        if let Err(error) = self.introduce(&link) {
            let _ = link.send(&FromOld::Refused(format!("{error:#}")));
            return Err(error);
        }
        ensure!(form == FORM, "the other process is of version {version}, which hands over in another way");
        let FromNew::Ready = link.receive(Some(PREPARATION)).context("it was not ready")? else {
            bail!("it was not ready")
        };
        let late = Late::over(link.again()?);
        if let Err(error) = self.hand(&link, &late) {
            self.estate.take_back();
            tracing::warn!("this process serves again");
            let _ = link.send(&FromOld::Refused(format!("{error:#}")));
            return Err(error);
        }
        // All of that before the process may end.
        self.estate.left_to(link.peer);
        self.phases.leave();
        let error = self.follow(&link, &late);
        late.gone();
        if self.phases.is_returning() {
            tracing::error!(process = link.peer, "the new process is gone; this one takes everything back");
            self.estate.take_back();
            if self.phases.is_back() {
                tracing::warn!("this process serves again");
                return Err(error.context("the new process is gone"));
            }
        }
        // What it means that the new process is gone is found where this one ends.
        Ok(())
    }

    fn introduce(&self, link: &Link) -> anyhow::Result<()> {
        let sockets = self.estate.sockets()?;
        let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        let hello = FromOld::Hello { form: FORM, version: env!("CARGO_PKG_VERSION").to_owned() };
        Ok(link.send_with(&hello, &descriptors)?)
    }

    fn hand(&self, link: &Link, late: &Late) -> anyhow::Result<()> {
        self.estate.let_go(late.clone())?;
        link.send(&FromOld::Handed)?;
        let opened: FromNew =
            link.receive(Some(OPENING)).context("it didn't open the state and the audit log in time")?;
        ensure!(opened == FromNew::Opened, "it didn't open the state and the audit log");
        link.send(&FromOld::Go)?;
        // Whoever is gone by now is noticed soon enough.
        late.release();
        Ok(())
    }

    /// Until nothing more is heard of the other process, and why.
    fn follow(&self, link: &Link, late: &Late) -> anyhow::Error {
        loop {
            let followed = link.receive(None).and_then(|said| self.heed(said, late));
            if let Err(error) = followed {
                return error;
            }
        }
    }

    fn heed(&self, said: FromNew, late: &Late) -> anyhow::Result<()> {
        match said {
            FromNew::InForce(json) => {
                self.estate.in_force(&json);
                late.noted()?;
            }
            FromNew::Taken => late.taken(),
            FromNew::Stopping => self.phases.over(),
            FromNew::Hello { .. } | FromNew::Ready | FromNew::Opened => bail!("it began again"),
        }
        Ok(())
    }
}

fn inode(path: &Path) -> io::Result<u64> {
    fs::symlink_metadata(path).map(|found| found.ino())
}

/// A socket for the owner only. One that is there is a process' that is gone, or that hands over to this one.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there, and no socket")),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    // The folder is its owner's only, so nobody else was quicker.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
