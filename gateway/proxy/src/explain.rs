//! `swaigate explain`: what holds for one function, and where each part of it comes from.
//!
//! It needs no secret: a policy names where secrets are, and that is all that is shown of them.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use swaigate_core::id::{AgentName, FunctionName};

use crate::{explanation::Explanation, rehearsal::StandIns, reload, run, settings};

/// What the command line says.
#[derive(Debug, Args)]
pub struct Explain {
    /// The file that `run` is given
    #[arg(long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
    /// The agent
    #[arg(value_name = "AGENT")]
    agent: AgentName,
    /// The function
    #[arg(value_name = "FUNCTION")]
    function: FunctionName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

// === impl Explain ===

impl Explain {
    /// Prints what holds.
    ///
    /// # Errors
    /// All mistakes in the files; that there is no such agent.
    pub fn run(&self) -> anyhow::Result<()> {
        let secrets = StandIns::default();
        let settings = settings::load_with(&self.config, &secrets).map_err(|mistakes| reload::told(&mistakes))?;
        let agents = settings::load_policies_with(&settings, &secrets, &run::seed()?);
        let agents = agents.map_err(|mistakes| reload::told(&mistakes))?;
        let found = agents.iter().find(|(_, agent)| agent.name == self.agent);
        let (file, agent) = found.with_context(|| {
            let names: Vec<_> = agents.iter().map(|(_, agent)| agent.name.as_str()).collect();
            format!("there is no agent `{}`; there are {}", self.agent, names.join(", "))
        })?;
        let explanation = Explanation::of(agent, &self.function);
        if self.json {
            println!("{:#}", explanation.json_by(file));
        } else {
            print!("{}", explanation.text_by(file));
        }
        Ok(())
    }
}
