//! `swaigate emergency`: stops something at a running gateway, lets it go on, and tells what is stopped.

mod operator;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use swaigate_core::switches::Word;

use self::operator::Operator;
use crate::state::WrittenScope;

/// What the command line says.
#[derive(Debug, Subcommand)]
pub enum Emergency {
    /// Stop something: without --agent and --caller, everything
    On {
        /// What.
        #[command(flatten)]
        scope: ScopeArguments,
        /// Let it go on by itself after this time, like 15m
        #[arg(long = "for", value_name = "TIME")]
        span: Option<String>,
        /// Who and why.
        #[command(flatten)]
        word: WordArguments,
        /// Where.
        #[command(flatten)]
        place: Place,
    },
    /// Let it go on; name what `on` named
    Off {
        /// What.
        #[command(flatten)]
        scope: ScopeArguments,
        /// Who and why.
        #[command(flatten)]
        word: WordArguments,
        /// Where.
        #[command(flatten)]
        place: Place,
    },
    /// Tell what is stopped, by whom and why
    Status {
        /// Where.
        #[command(flatten)]
        place: Place,
    },
}

/// What is meant.
#[derive(Debug, Args)]
pub struct ScopeArguments {
    /// One agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// One function of the agent
    #[arg(long, value_name = "FUNCTION", requires = "agent", conflicts_with = "caller")]
    function: Option<String>,
    /// One caller's number, at all agents or at one
    #[arg(long, value_name = "NUMBER")]
    caller: Option<String>,
}

/// Whose word it is.
#[derive(Debug, Args)]
pub struct WordArguments {
    /// Why, for the audit log and whoever comes after you
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who you are [default: $SUDO_USER or $USER]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
}

/// Which gateway is asked.
#[derive(Debug, Args)]
pub struct Place {
    /// The file that `run` was given
    #[arg(long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
    /// The gateway's admin address [default: by --config]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// The file with its admin token [default: by --config]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

// === impl Emergency ===

impl Emergency {
    /// Does it, and prints what is in force then.
    ///
    /// # Errors
    /// If the gateway can't be asked, or doesn't do it.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Emergency::On { scope, span, word, place } => place.operator()?.turn_on(&scope.into(), span, &word.word()?),
            Emergency::Off { scope, word, place } => place.operator()?.turn_off(&scope.into(), &word.word()?),
            Emergency::Status { place } => place.operator()?.tell(),
        }
    }
}

impl Place {
    fn operator(self) -> anyhow::Result<Operator> {
        Operator::new(&self.config, self.admin, self.token_file)
    }
}

impl From<ScopeArguments> for WrittenScope {
    fn from(ScopeArguments { agent, function, caller }: ScopeArguments) -> Self {
        let all = (agent.is_none() && caller.is_none()).then_some(true);
        Self { all, agent, function, caller }
    }
}

impl WordArguments {
    fn word(self) -> anyhow::Result<Word> {
        let of_environment = || ["SUDO_USER", "USER"].iter().find_map(|name| std::env::var(name).ok());
        let who = self.who.or_else(of_environment).context("who are you? Say it with --who")?;
        Ok(Word::new(&who, &self.why)?)
    }
}
