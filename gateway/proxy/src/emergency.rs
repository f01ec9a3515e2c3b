//! `swaigate emergency`: stops something at a running gateway, lets it go on, and tells what is stopped.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;
use swaigate_core::switches::{Origin, Word};
use ureq::http::Method;

use crate::{
    operator::{Operator, Place, WordArguments},
    state::{Written, WrittenScope},
};

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

// === impl Emergency ===

impl Emergency {
    /// Does it, and prints what is in force then.
    ///
    /// # Errors
    /// If the gateway can't be asked, or doesn't do it.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Emergency::On { scope, span, word, place } => {
                turn_on(&place.operator()?, &scope.into(), span, &word.word()?)
            }
            Emergency::Off { scope, word, place } => turn_off(&place.operator()?, &scope.into(), &word.word()?),
            Emergency::Status { place } => tell(&place.operator()?),
        }
    }
}

impl From<ScopeArguments> for WrittenScope {
    fn from(ScopeArguments { agent, function, caller }: ScopeArguments) -> Self {
        let all = (agent.is_none() && caller.is_none()).then_some(true);
        Self { all, agent, function, caller }
    }
}

/// Stops something, and tells what is stopped now.
fn turn_on(operator: &Operator, scope: &WrittenScope, span: Option<String>, word: &Word) -> anyhow::Result<()> {
    let scope = WrittenScope::of(&scope.scope()?);
    let switch: Written = operator.order("/v1/switches", json!({ "scope": scope }), span, word)?;
    println!("In force from the next request on: {}", switch.told());
    tell(operator)
}

/// Lets something go on, and tells what is still stopped.
fn turn_off(operator: &Operator, scope: &WrittenScope, word: &Word) -> anyhow::Result<()> {
    let scope = scope.scope()?;
    let of_scope = |switch: &Written| switch.scope.scope().is_ok_and(|other| other == scope);
    let switches: Vec<Written> = list(operator)?.into_iter().filter(of_scope).collect();
    if switches.is_empty() {
        tell(operator)?;
        bail!("no switch is on for exactly this: {scope}; nothing was changed");
    }
    let (held, free): (Vec<_>, Vec<_>) =
        switches.into_iter().partition(|switch| switch.origin == Origin::Environment.as_str());
    for switch in free {
        let word = json!({ "who": word.who(), "why": word.why() });
        let target = format!("/v1/switches/{}", switch.id);
        let switch: Written = operator.ask(Method::DELETE, &target, Some(&word))?;
        println!("Ended: {}", switch.told());
    }
    tell(operator)?;
    if !held.is_empty() {
        bail!(
            "AGENT_EMERGENCY_MODE still stops everything: take it out of the gateway's environment and start the \
             gateway again"
        );
    }
    Ok(())
}

/// Tells what is stopped.
fn tell(operator: &Operator) -> anyhow::Result<()> {
    let (switches, door) = (list(operator)?, operator.door());
    match switches.len() {
        0 => println!("No emergency switch is on at {door}."),
        1 => println!("1 emergency switch is on at {door}:"),
        count => println!("{count} emergency switches are on at {door}:"),
    }
    switches.iter().for_each(|switch| println!("  {}", switch.told()));
    Ok(())
}

fn list(operator: &Operator) -> anyhow::Result<Vec<Written>> {
    operator.get("/v1/switches")
}
