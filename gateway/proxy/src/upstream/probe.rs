//! Health checks: requests of the gateway's own, to a path that the policy names. Nothing of a client's is in them, and
//! nobody gets their answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use pingora_core::{
    protocols::http::v1::client::HttpSession, server::ShutdownWatch, services::background::BackgroundService,
};
use swaigate_core::policy::{Agent, HealthCheck};
use tokio::time::{sleep, timeout};

use super::{Failure, Upstreams, failure, final_head, peer, request, tls};
use crate::app::{App, Due, Station};

/// How long nothing is done if there is nothing to check.
const LONG: Duration = Duration::from_secs(3600);

/// The key of connections that are a check's own.
const ALONE: u64 = 0;

/// Asks servers how they are, as long as the process runs. After a reload, those that are there then.
pub struct HealthChecks {
    app: Arc<App>,
    upstreams: Arc<Upstreams>,
}

// === impl HealthChecks ===

impl HealthChecks {
    /// Of the servers of this gateway's agents.
    pub fn new(app: Arc<App>, upstreams: Arc<Upstreams>) -> Self {
        Self { app, upstreams }
    }

    /// Begins what is due, and says when to come back.
    fn begin(&self, now: Instant) -> Duration {
        let (due, next) = self.app.fleets.due(now);
        for due in due {
            let (app, upstreams) = (Arc::clone(&self.app), Arc::clone(&self.upstreams));
            tokio::spawn(async move {
                let why = upstreams.check(&due).await.err();
                app.fleets.checked(&due, why.as_deref());
            });
        }
        next.map_or(LONG, |next| next.saturating_duration_since(now))
    }
}

#[async_trait]
impl BackgroundService for HealthChecks {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut changes = self.app.fleets.changes();
        loop {
            let pause = self.begin(Instant::now());
            tokio::select! {
                () = sleep(pause) => {}
                _ = changes.changed() => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}

impl Upstreams {
    /// Asks a server how it is. Of its answer, only the head is read.
    async fn check(&self, due: &Due) -> Result<(), String> {
        let agent = &due.fleet.agent;
        let Some(check) = &agent.upstream.health else { return Ok(()) };
        let asked = timeout(check.timeout, self.status(agent, &due.station, check));
        let status = asked.await.map_err(|_| format!("no answer in {:?}", check.timeout))??;
        let is_good = check.expect.map_or((200..300).contains(&status), |expected| status == expected);
        if is_good { Ok(()) } else { Err(format!("status {status}")) }
    }

    async fn status(&self, agent: &Agent, station: &Station, check: &HealthCheck) -> Result<u16, String> {
        let header = request::health_check(agent, check).map_err(|error| error.etype().as_str().to_owned())?;
        let mut session = self.connect(agent, station, check).await?;
        let asked = async {
            session.write_request_header(Box::new(header)).await.map_err(failure)?;
            session.finish_body().await.map_err(failure)?;
            final_head(&mut session).await.map(|head| head.status.as_u16())
        };
        let status = asked.await.map_err(|Failure { detail, .. }| detail);
        session.shutdown().await;
        status
    }

    /// A connection of its own: one that was kept would tell nothing of whether new ones are taken.
    async fn connect(&self, agent: &Agent, station: &Station, check: &HealthCheck) -> Result<HttpSession, String> {
        let mut why = "no address".to_owned();
        for address in self.names.look_up(&station.host, station.port, check.timeout, ALONE).await? {
            let mut peer = peer(agent, station, address);
            peer.group_key = ALONE;
            let peer = tls::dressed(&peer, &agent.upstream.tls);
            match self.connector.get_http_session(&peer).await {
                Ok((session, _)) => return Ok(session),
                Err(error) => why = failure(error).detail,
            }
        }
        Err(why)
    }
}
