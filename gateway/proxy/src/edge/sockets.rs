//! The sockets that are listened on: opened anew, or taken over from who started the process.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
};

use anyhow::{Context, bail};
use listenfd::ListenFd;
use socket2::{Domain, SockAddr, Type};

use crate::settings::Place;

/// How many connections may wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// A socket that is listened on.
#[derive(Debug)]
pub enum Socket {
    /// Of IP.
    Tcp(TcpListener),
    /// In the file system.
    Unix(UnixListener),
}

/// Sockets that the process was started with, as systemd hands them over: `LISTEN_FDS` from descriptor 3 on.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Socket>);

// === impl Socket ===

impl Socket {
    /// Listens at a place: by an inherited socket that is bound to it, or by a new one.
    ///
    /// # Errors
    /// If the place is taken or can't be bound.
    pub fn open(place: &Place, inherited: &mut Inherited) -> anyhow::Result<Self> {
        if let Some(socket) = inherited.take(place) {
            return Ok(socket);
        }
        let opened = match place {
            Place::Tcp(address) => tcp(*address).map(Socket::Tcp).map_err(anyhow::Error::from),
            Place::Unix { path, mode } => unix(path, *mode).map(Socket::Unix),
        };
        opened.with_context(|| format!("{place} can't be listened on"))
    }

    fn is_at(&self, place: &Place) -> bool {
        match (self, place) {
            (Socket::Tcp(socket), Place::Tcp(address)) => socket.local_addr().is_ok_and(|own| own == *address),
            (Socket::Unix(socket), Place::Unix { path, .. }) => {
                let is_same = |own: &Path| own == path || own.canonicalize().ok() == path.canonicalize().ok();
                socket.local_addr().is_ok_and(|own| own.as_pathname().is_some_and(is_same))
            }
            _ => false,
        }
    }

    fn prepared(self) -> io::Result<Self> {
        match &self {
            Socket::Tcp(socket) => socket.set_nonblocking(true)?,
            Socket::Unix(socket) => socket.set_nonblocking(true)?,
        }
        Ok(self)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // So that a restart needn't wait for the last connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Nobody can connect before the file's mode is set, since it isn't listened on yet.
fn unix(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    remove_stale(path)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket stays in the file system when its process has ended. Only such a one is removed: nothing else that has this
/// name, and none that somebody listens on.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        bail!("something that is no socket has this name");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Ok(_) => bail!("another process listens there"),
        Err(error) => Err(error).context("whether another process listens there can't be told"),
    }
}

// === impl Inherited ===

impl Inherited {
    /// All that the environment speaks of. They are taken out of it, so that no child of this process takes them for its own.
    ///
    /// # Errors
    /// If one of them is not a listening stream socket.
    pub fn from_environment() -> anyhow::Result<Self> {
        let mut handed = ListenFd::from_env();
        let sockets = (0..handed.len()).map(|index| {
            let socket = match handed.take_tcp_listener(index) {
                Ok(socket) => socket.map(Socket::Tcp),
                Err(_) => handed.take_unix_listener(index)?.map(Socket::Unix),
            };
            socket.context("it was taken before")?.prepared().map_err(anyhow::Error::from)
        });
        let sockets: anyhow::Result<_> = sockets.collect();
        sockets.map(Self).context("a descriptor in LISTEN_FDS can't be listened on")
    }

    /// These as well: they are known by their addresses.
    ///
    /// # Errors
    /// If one is not a listening socket of IP or of the file system.
    pub fn and(mut self, more: Vec<OwnedFd>) -> anyhow::Result<Self> {
        for descriptor in more {
            let socket = socket2::Socket::from(descriptor);
            let is_local = socket.local_addr()?.domain() == Domain::UNIX;
            let socket = if is_local { Socket::Unix(socket.into()) } else { Socket::Tcp(socket.into()) };
            self.0.push(socket.prepared()?);
        }
        Ok(self)
    }

    fn take(&mut self, place: &Place) -> Option<Socket> {
        let index = self.0.iter().position(|socket| socket.is_at(place))?;
        Some(self.0.swap_remove(index))
    }

    /// How many nobody has asked for.
    pub fn unused(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Place {
        Place::Unix { path: path.to_owned(), mode: 0o600 }
    }

    fn open(place: &Place) -> anyhow::Result<Socket> {
        Socket::open(place, &mut Inherited::default())
    }

    #[test]
    fn a_socket_in_the_file_system_is_for_its_owner_and_takes_the_place_of_a_dead_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.sock");
        let socket = open(&at(&path)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let told = format!("{:#}", open(&at(&path)).unwrap_err());
        assert_eq!(told, format!("{} can't be listened on: another process listens there", path.display()));
        drop(socket);
        let _second = open(&Place::Unix { path: path.clone(), mode: 0o660 }).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn nothing_but_a_dead_socket_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "precious").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link, &folder.path().to_owned()] {
            let told = format!("{:#}", open(&at(path)).unwrap_err());
            assert!(told.ends_with("something that is no socket has this name"), "{told}");
        }
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }

    #[test]
    fn an_inherited_socket_is_known_by_its_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.sock");
        let tcp = open(&Place::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let Socket::Tcp(listener) = &tcp else { panic!("it is of IP") };
        let address = listener.local_addr().unwrap();
        let mut inherited = Inherited(vec![open(&at(&path)).unwrap(), tcp]);
        assert!(Socket::open(&Place::Tcp(address), &mut inherited).is_ok());
        assert_eq!(inherited.unused(), 1);
        assert!(
            Socket::open(&Place::Tcp(address), &mut inherited).is_ok(),
            "the first one is gone, so a new one is made"
        );
        assert!(Socket::open(&at(&path), &mut inherited).is_ok());
        assert_eq!(inherited.unused(), 0);
    }
}
