//! Messages, and descriptors beside them, over a Unix socket between two processes of the same user.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg, sockopt::socket_peercred,
    },
    process::geteuid,
};
use serde::{Serialize, de::DeserializeOwned};

/// How long the other process may leave a message lying there. Records wait behind each other then, and requests behind
/// records, so it is short; a process that is stopped that long is given up.
const UNREAD: Duration = Duration::from_secs(10);

/// How large a message may be, in bytes. An audit record has the arguments of a call in it.
const MAX_MESSAGE: usize = 64 << 20;

/// How many descriptors may come with one: as many as there may be listeners, and the operator's.
const MAX_DESCRIPTORS: usize = 32;

/// One end of the way to the other process.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    /// The number of the process at the other end.
    pub(super) peer: u32,
    /// Messages are sent one after the other, whoever sends them.
    sending: Arc<Mutex<()>>,
}

// === impl Link ===

impl Link {
    /// Over a connection with a process of the same user.
    ///
    /// # Errors
    /// If the process is another user's, who has nothing to give and nothing to get.
    pub(super) fn over(stream: UnixStream) -> anyhow::Result<Self> {
        let peer = socket_peercred(&stream).context("the other process can't be known")?;
        ensure!(
            peer.uid == geteuid(),
            "the other process runs as user {}, and this one as {}; both have to be the same user's",
            peer.uid.as_raw(),
            geteuid().as_raw()
        );
        let peer = peer.pid.as_raw_nonzero().get().unsigned_abs();
        stream.set_write_timeout(Some(UNREAD))?;
        Ok(Self { stream, peer, sending: Arc::default() })
    }

    /// The same way once more, for another thread. Only one of the two may receive.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, peer: self.peer, sending: Arc::clone(&self.sending) })
    }

    pub(super) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        self.send_with(message, &[])
    }

    /// Sends a message, and descriptors beside it. If that fails, nothing can be sent any more.
    pub(super) fn send_with(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let _one = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = self.try_send_with(message, descriptors);
        if sent.is_err() {
            // Half a message may be there.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        sent
    }

    fn try_send_with(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?.to_be_bytes();
        // The descriptors go with the first byte that is sent.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many sockets to hand over"));
        }
        let sent = sendmsg(&self.stream, &[IoSlice::new(&length)], &mut beside, SendFlags::NOSIGNAL)?;
        let mut stream = &self.stream;
        stream.write_all(length.get(sent..).unwrap_or_default())?;
        stream.write_all(&body)
    }

    /// The next message, if it comes in time; `None`: as long as it takes.
    pub(super) fn receive<M: DeserializeOwned>(&self, patience: Option<Duration>) -> anyhow::Result<M> {
        Ok(self.receive_with(patience)?.0)
    }

    /// The same with the descriptors that came beside it.
    pub(super) fn receive_with<M: DeserializeOwned>(
        &self,
        patience: Option<Duration>,
    ) -> anyhow::Result<(M, Vec<OwnedFd>)> {
        self.stream.set_read_timeout(patience)?;
        let mut length = [0; 4];
        let (read, descriptors) = self.receive_some(&mut length)?;
        let mut stream = &self.stream;
        stream.read_exact(length.get_mut(read..).unwrap_or_default())?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE {
            bail!("a message of {length} bytes is none of this program's");
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let message = serde_json::from_slice(&body).context("it is not understood; is it another version?")?;
        Ok((message, descriptors))
    }

    fn receive_some(&self, into: &mut [u8]) -> anyhow::Result<(usize, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(into)];
        let received = recvmsg(self.stream.as_fd(), &mut into, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
        let descriptors = beside.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        if received.bytes == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok((received.bytes, descriptors))
    }
}
