//! Passwords that only a hash can tell: one after the other, on threads of their own, and none for an address that has to
//! wait. Whoever has a cheap proof never gets here.

use std::{net::IpAddr, sync::Arc, time::Duration};

use swaigate_core::{
    basic::Fingerprint,
    decide::{Admitted, Denial, Pending},
    record::Facts,
    time::{Timestamp, whole_seconds},
    verdict::Reason,
};
use tokio::time::timeout;

use crate::{app::App, clock, metrics::NO_AGENT};

/// How long a password waits for its turn to be hashed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Hashes a request's password.
///
/// # Errors
/// A [`Denial`] for a wrong password, for an address that has to wait, and where too many wait for their turn.
pub(super) async fn verify(
    app: &Arc<App>,
    pending: Pending,
    client: Option<IpAddr>,
) -> Result<(Admitted, Facts), Denial> {
    check_wait(app, &pending, client)?;
    let turn = timeout(PATIENCE, app.hashing.acquire()).await;
    let Ok(Ok(_turn)) = turn else { return Err(pending.deny(Reason::CredentialsUnchecked)) };
    // Those before it may have been wrong guesses of the same address.
    check_wait(app, &pending, client)?;
    let failed = pending.deny(Reason::Internal);
    let hashed = tokio::task::spawn_blocking(move || {
        let mut facts = Facts::default();
        (pending.verify(&mut facts), facts)
    });
    let ((admitted, fingerprint), facts): ((_, Option<Fingerprint>), _) = hashed.await.map_err(|_| failed)?;
    fingerprint.into_iter().for_each(|fingerprint| app.verified.insert(fingerprint));
    Ok((admitted?, facts))
}

fn check_wait(app: &App, pending: &Pending, client: Option<IpAddr>) -> Result<(), Denial> {
    let Some(wait) = app.failures.wait(client, clock::now()) else { return Ok(()) };
    Err(Denial { retry_after: Some(whole_seconds(wait)), ..pending.deny(Reason::CredentialsLocked) })
}

/// Remembers where wrong credentials came from. Those that nobody looked at say nothing.
pub(super) fn note_failure(app: &App, denial: &Denial, client: Option<IpAddr>, now: Timestamp) {
    if denial.reason == Reason::CredentialsWrong {
        app.failures.failed(client, now);
        app.metrics.agents.failed_authentication(denial.agent.as_ref().map_or(NO_AGENT, |agent| agent.name.as_str()));
    }
}
