//! `swaigate check`: looks for mistakes in the files.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use swaigate_core::{policy::Seed, yaml::Mistake};

use crate::{keys, reload, run, settings};

/// What the command line says.
#[derive(Debug, Args)]
pub struct Check {
    /// The file that `run` would be given
    #[arg(long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
}

// === impl Check ===

impl Check {
    /// Prints what was found.
    ///
    /// # Errors
    /// All mistakes.
    pub fn run(&self) -> anyhow::Result<()> {
        let config = &self.config;
        let seed = run::seed()?;
        let settings = match settings::load(config) {
            Ok(settings) => settings,
            Err(mistakes) => return Err(counted(with_those_of_policies(config, mistakes, &seed))),
        };
        let loaded = settings::load_policies(&settings, &seed).map_err(counted)?;
        settings.notes.iter().chain(&loaded.notes).for_each(|note| println!("note: {note}"));
        let count = loaded.agents.len();
        reload::assemble(&settings, loaded.agents, keys::ephemeral_ring()?)?;
        println!("{}: in order, with {count} polic{}", config.display(), if count == 1 { "y" } else { "ies" });
        Ok(())
    }
}

/// Where the settings can't be read, the policies are most likely where they are by default.
fn with_those_of_policies(config: &Path, mut mistakes: Vec<Mistake>, seed: &Seed) -> Vec<Mistake> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = settings::for_loopback(nowhere, nowhere);
    settings.policies = config.parent().unwrap_or(Path::new("")).join(settings.policies);
    if settings.policies.is_dir() {
        mistakes.extend(settings::load_policies(&settings, seed).err().unwrap_or_default());
    }
    mistakes
}

fn counted(mistakes: Vec<Mistake>) -> anyhow::Error {
    let count = mistakes.len();
    reload::told(&mistakes).context(format!("{count} mistake{}", if count == 1 { "" } else { "s" }))
}
