//! `swaigate test`: what a policy must do, told as data, and tried without an agent, a network or a secret.

mod file;
mod play;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use swaigate_core::{id::AgentName, policy::Agent};

use self::{
    file::{File, Subject},
    play::Stage,
};
use crate::{
    rehearsal::StandIns,
    reload, run,
    settings::{self, Settings},
};

/// What the command line says.
#[derive(Debug, Args)]
pub struct Trial {
    /// The gateway whose policies tests name with `agent` [default: none; tests name a file with `policy`]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Files of tests
    #[arg(value_name = "TESTS", required = true)]
    files: Vec<PathBuf>,
}

/// What came of tests.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many came out as they should.
    pub passed: usize,
    /// The first step of each other one that didn't, with its place.
    pub failures: Vec<String>,
}

// === impl Trial ===

impl Trial {
    /// Runs the tests and tells what came of them.
    ///
    /// # Errors
    /// All mistakes in the files.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let settings = self.config.as_deref().map(settings_of).transpose()?;
        let tally = try_files(&self.files, settings.as_ref(), |line| println!("{line}"))?;
        print!("{}", tally.told());
        Ok(if tally.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Runs the tests of files, and tells of each what came of it.
///
/// # Errors
/// All mistakes in a file.
pub fn try_files(files: &[PathBuf], settings: Option<&Settings>, mut tell: impl FnMut(&str)) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for path in files {
        try_file(path, settings, &mut tally, &mut tell)?;
    }
    Ok(tally)
}

fn settings_of(path: &Path) -> anyhow::Result<Settings> {
    settings::load_with(path, &StandIns::default()).map_err(|mistakes| reload::told(&mistakes))
}

fn try_file(
    path: &Path,
    settings: Option<&Settings>,
    tally: &mut Tally,
    tell: &mut impl FnMut(&str),
) -> anyhow::Result<()> {
    let file = File::read(path)?;
    tell(&format!("\n{}: {} tests", path.display(), file.tests.len()));
    for test in &file.tests {
        match stage(&file, test, settings)?.play(test) {
            Ok(()) => {
                tell(&format!("test {} ... ok", test.name));
                tally.passed += 1;
            }
            Err(failure) => {
                tell(&format!("test {} ... FAILED", test.name));
                tally.failures.push(format!("{}:{failure}", path.display()));
            }
        }
    }
    Ok(())
}

/// Each test begins where nobody has called yet.
fn stage(file: &File, test: &file::Test, settings: Option<&Settings>) -> anyhow::Result<Stage> {
    let secrets = StandIns::new(file.environment.clone());
    let seed = run::seed()?;
    let is_of_gateway = settings.is_some();
    let settings = settings.cloned().unwrap_or_else(run::for_nobody);
    let (stage, subject) = (settings.clone(), file.subject.clone());
    let (name, agents): (AgentName, Agents) = match subject {
        Subject::Policy(path) => {
            let load = move || {
                let agent = settings::load_policy(&path, &secrets, &seed, settings.bodies.budget);
                agent.map(|agent| vec![agent]).map_err(|mistakes| reload::told(&mistakes))
            };
            let name = load()?.first().map(|agent| agent.name.clone());
            (name.context("a policy has an agent")?, Box::new(load))
        }
        Subject::Agent(_) if !is_of_gateway => {
            bail!("{}: `agent` is of a gateway; name that with --config", file.name);
        }
        Subject::Agent(name) => {
            let load = move || {
                let agents = settings::load_policies_with(&settings, &secrets, &seed);
                let agents = agents.map_err(|mistakes| reload::told(&mistakes))?;
                Ok(agents.into_iter().map(|(_, agent)| agent).collect())
            };
            (name, Box::new(load))
        }
    };
    Stage::new(agents, name, file, test, &stage)
}

/// What loads agents.
type Agents = Box<dyn Fn() -> anyhow::Result<Vec<Agent>>>;

// === impl Tally ===

impl Tally {
    fn told(&self) -> String {
        let mut text = String::new();
        let Self { passed, failures } = self;
        if !failures.is_empty() {
            text.push_str("\nfailures:\n");
            failures.iter().for_each(|failure| text.push_str(&format!("\n{failure}\n")));
        }
        let result = if failures.is_empty() { "ok" } else { "FAILED" };
        let failed = failures.len();
        text.push_str(&format!("\ntest result: {result}. {passed} passed; {failed} failed\n"));
        text
    }
}
