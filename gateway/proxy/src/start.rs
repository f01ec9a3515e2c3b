//! `swaigate run`: a gateway from files, or one before a single agent.

use std::{net::SocketAddr, path::Path, path::PathBuf};

use anyhow::{anyhow, bail};
use clap::Args;
use swaigate_core::policy::PublicUrl;

use crate::{
    log, reload,
    run::{self, Gateway},
    settings::{self, FileSecrets},
};

/// What the command line says.
#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    source: Source,
    /// Where to listen, with --upstream: an address on loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", conflicts_with = "config")]
    listen: SocketAddr,
    /// Where the platform reaches the gateway, with --upstream: what ends TLS in front of it [default: its own address]
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    public_url: Option<PublicUrl>,
    /// Take over from the gateway that runs on the same state: it hands its sockets over, ends what it has begun, and stops
    #[arg(long, conflicts_with = "upstream")]
    upgrade: bool,
    /// Where metrics and health are, with --upstream
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", conflicts_with = "config")]
    admin: SocketAddr,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// gateway.yaml, with the policies it names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One agent under the default policy, such as http://user:password@127.0.0.1:3000/bank
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
}

// === impl Start ===

impl Start {
    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// All mistakes in the files or in the URL, or what can't be bound or opened.
    pub fn run(self) -> anyhow::Result<()> {
        match (&self.source.config, &self.source.upstream) {
            (Some(config), _) => with_files(config, self.upgrade),
            (None, Some(url)) => self.before(url),
            (None, None) => Ok(()),
        }
    }

    fn before(&self, url: &str) -> anyhow::Result<()> {
        if !self.listen.ip().is_loopback() || !self.admin.ip().is_loopback() {
            bail!("with --upstream only loopback addresses are listened on; write a gateway.yaml for others");
        }
        let secrets = FileSecrets::new(Path::new("."));
        let settings = settings::for_upstream(self.listen, self.admin, self.public_url.clone(), &secrets);
        let settings = settings.map_err(|error| anyhow!(error))?;
        log::start(&settings.log);
        let seed = run::seed()?;
        let gateway = Gateway::before(url, &secrets, settings, seed)?;
        secrets.into_found().notes.iter().for_each(|note| tracing::warn!("{note}"));
        gateway.run()
    }
}

fn with_files(config: &Path, is_upgrade: bool) -> anyhow::Result<()> {
    let seed = run::seed()?;
    // The log's own settings are in the file, so what reading it has to say comes after that.
    let early = settings::load(config).map_err(|mistakes| reload::told(&mistakes))?;
    log::start(&early.log);
    let (settings, policies) = reload::load(config, &seed)?;
    let config = Some(config.to_owned());
    Gateway { settings, policies, seed, config, companions: Vec::new(), is_upgrade }.run()
}
