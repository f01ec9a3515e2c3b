//! What a service manager is told (sd_notify(3)), if one asks for it by `NOTIFY_SOCKET`.

use sd_notify::NotifyState;

/// It serves; also after a reload.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It loads its configuration again. [`ready`] has to follow.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager isn't told of the reload"),
    }
}

/// It ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process is the service now.
pub(super) fn left_to(heir: u32) {
    tell(&[NotifyState::MainPid(heir), NotifyState::Ready]);
}

/// This process is the service, after all.
pub(super) fn taken_back() {
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

/// Requests are served.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}
