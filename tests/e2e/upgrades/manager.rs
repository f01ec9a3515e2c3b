//! What a service manager is told, by a stand-in for systemd's (sd_notify(3)).

use std::{io::IoSliceMut, mem::MaybeUninit, os::unix::net::UnixDatagram};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt::set_socket_passcred};

use super::{RUN, Stray, kept_connection, losses::heir, wait_for};
use crate::harness::{
    PATIENCE,
    agent::Sdk,
    gateway::{Folder, Gateway, Policy},
    platform::Call,
};

/// Whoever listens where `NOTIFY_SOCKET` says.
struct Manager(UnixDatagram);

impl Manager {
    fn of(folder: &Folder) -> Self {
        let socket = UnixDatagram::bind(folder.path("notify.sock")).expect("the folder can be written");
        socket.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
        set_socket_passcred(&socket, true).expect("it is a Unix socket");
        Self(socket)
    }

    /// The next message, and the number of the process that sent it.
    fn hear(&self) -> (u32, String) {
        let (mut text, mut space) = ([0; 1024], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))]);
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&self.0, &mut [IoSliceMut::new(&mut text)], &mut beside, RecvFlags::empty());
        let length = received.expect("it is told something").bytes;
        let sender = beside.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid.as_raw_nonzero().get().unsigned_abs()),
            _ => None,
        });
        (sender.expect("the kernel names the sender"), String::from_utf8_lossy(&text[..length]).trim().to_owned())
    }
}

/// A gateway whose manager listens.
fn managed() -> (Manager, Gateway) {
    let folder = Folder::new("", &[&Policy::of(Sdk::Rust.shared().address)]);
    let (manager, path) = (Manager::of(&folder), folder.path("notify.sock"));
    let gateway = folder.start_told(&RUN, &[("NOTIFY_SOCKET", path.to_str().expect("it is text"))]);
    assert_eq!(manager.hear(), (gateway.process.id(), "READY=1".to_owned()));
    (manager, gateway)
}

fn number_in(message: &str) -> u32 {
    let number = message.split_once("MAINPID=").and_then(|(_, number)| number.lines().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("it is told the number: {message}"))
}

#[test]
fn a_service_manager_is_told_what_the_process_does() {
    let (manager, mut gateway) = managed();
    let old = gateway.process.id();
    gateway.process.signal("HUP");
    let (sender, reloading) = manager.hear();
    assert!(sender == old && reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.hear(), (old, "READY=1".to_owned()));
    gateway.process.signal("USR2");
    let (sender, left) = manager.hear();
    let heir = Stray(number_in(&left));
    assert_eq!(sender, old);
    assert_eq!(gateway.process.exit().code(), Some(0), "{}", gateway.process.stderr());
    // The new process speaks for itself; the old one is not the service any more, and doesn't say that it stops.
    assert_eq!(manager.hear(), (heir.0, "READY=1".to_owned()));
    gateway.platform().fetch(&Call::new());
    heir.signal("TERM");
    assert_eq!(manager.hear(), (heir.0, "STOPPING=1".to_owned()));
}

#[test]
fn a_service_manager_is_told_which_process_is_left() {
    let (manager, mut gateway) = managed();
    let old = gateway.process.id();
    let back = (old, format!("MAINPID={old}\nREADY=1"));
    let kept = kept_connection(&gateway);
    let first = heir(&gateway);
    assert_eq!(number_in(&manager.hear().1), std::process::id());
    drop(first);
    assert_eq!(manager.hear(), back, "the old one serves again");
    drop(kept);
    let mut kept = kept_connection(&gateway);
    let second = heir(&gateway);
    assert_eq!(number_in(&manager.hear().1), std::process::id());
    kept.request(&gateway.platform().fetch_request("", &Call::new()));
    assert_eq!(kept.read().expect("it is answered").status, 200);
    wait_for(&gateway.process, "all that was under way is answered");
    drop(second);
    assert_eq!(manager.hear(), back, "the old one is the service that fails");
    assert_eq!(gateway.process.exit().code(), Some(1), "{}", gateway.process.stderr());
}

/// Becomes the program, as a service whose manager wants signs of life.
const WATCHED: &str = r#"export NOTIFY_SOCKET="$PWD/notify.sock" WATCHDOG_USEC=200000 WATCHDOG_PID=$$; exec "$@""#;

#[test]
fn a_service_manager_hears_signs_of_life_of_the_process_that_serves() {
    let folder = Folder::new("", &[&Policy::of(Sdk::Rust.shared().address)]);
    let manager = Manager::of(&folder);
    let mut gateway = folder.start_by(&["sh", "-c", WATCHED, "sh"]);
    let old = gateway.process.id();
    let alive = |process: u32| (process, "WATCHDOG=1".to_owned());
    let next = |wanted: &dyn Fn(&str) -> bool| {
        std::iter::repeat_with(|| manager.hear()).find(|(_, said)| wanted(said)).expect("it goes on for ever")
    };
    for _ in 0..5 {
        assert_eq!(next(&|said| said == "WATCHDOG=1"), alive(old));
    }
    // As long as somebody may ask the old process, it is there, and not the one that is watched.
    let kept = kept_connection(&gateway);
    gateway.process.signal("USR2");
    let heir = Stray(number_in(&next(&|said| said.starts_with("MAINPID=")).1));
    assert_eq!(next(&|said| said == "READY=1"), (heir.0, "READY=1".to_owned()));
    for _ in 0..5 {
        assert_eq!(next(&|said| said == "WATCHDOG=1"), alive(heir.0));
    }
    assert!(gateway.process.ended().is_none());
    // It says that of itself also when it has to serve again.
    heir.kill();
    assert_eq!(next(&|said| said.starts_with("MAINPID=")), (old, format!("MAINPID={old}\nREADY=1")));
    assert_eq!(next(&|said| said == "WATCHDOG=1"), alive(old));
    drop(kept);
    gateway.process.signal("USR2");
    let heir = Stray(number_in(&next(&|said| said.starts_with("MAINPID=")).1));
    assert_eq!(gateway.process.exit().code(), Some(0), "{}", gateway.process.stderr());
    while manager.hear() != alive(heir.0) {}
}

#[test]
fn signs_of_life_that_another_process_is_asked_for_are_not_given() {
    let folder = Folder::new("", &[&Policy::of(Sdk::Rust.shared().address)]);
    let (manager, path) = (Manager::of(&folder), folder.path("notify.sock"));
    let told =
        [("NOTIFY_SOCKET", path.to_str().expect("it is text")), ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let mut gateway = folder.start_told(&RUN, &told);
    let own = gateway.process.id();
    gateway.platform().fetch(&Call::new());
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit().code(), Some(0), "{}", gateway.process.stderr());
    assert_eq!([manager.hear(), manager.hear()], [(own, "READY=1".to_owned()), (own, "STOPPING=1".to_owned())]);
}
