//! The command line: which commands there are. What each takes and does is in its own module.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    archive::State, auditor::Auditor, check::Check, demo, doctor::Doctor, emergency::Emergency, explain::Explain,
    init::Init, lockout::Lockout, password, replay::Replay, schema::Schema, signature::Questioned, start::Start,
    status::Status, trial::Trial,
};

/// A security reverse proxy for voice-AI agents.
#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Protect agents
    Run(Start),
    /// Look for mistakes in gateway.yaml and the policies beside it, and for what is unwise, without running anything
    Check(Check),
    /// Show what holds for one function of an agent, and which line of a file says so
    Explain(Explain),
    /// Run tests of policies, without an agent, a network or a secret; exits with 1 if any fails
    Test(Trial),
    /// Tell what other policies would have decided of the requests in an audit log
    Replay(Replay),
    /// Look for known weaknesses of an agent that runs, without running a function of it; exits with 1 if there are any
    Doctor(Doctor),
    /// Write a policy file for an agent, from what the agent itself says
    Init(Init),
    /// Look into the platform's signatures
    Signature {
        #[command(subcommand)]
        command: Signature,
    },
    /// Stop agents, functions or callers of a running gateway at once, and let them go on
    Emergency {
        #[command(subcommand)]
        command: Emergency,
    },
    /// Verify the audit log, and make and tell what that needs
    Audit {
        #[command(subcommand)]
        command: Auditor,
    },
    /// Lock addresses, callers or users out of a running gateway at once, and let them in again
    Lockout {
        #[command(subcommand)]
        command: Lockout,
    },
    /// Tell how a running gateway is, what is stopped and who is locked out
    Status(Status),
    /// Write down the switches and lockouts in force, and bring them back
    State {
        #[command(subcommand)]
        command: State,
    },
    /// Print the JSON Schema of a file, for editors
    Schema {
        /// Which file
        file: Schema,
    },
    /// Play a call through a gateway before a sample agent, on this machine, and keep both running
    Demo,
    /// Read a password from standard input and print its argon2id hash, for `password_hash`
    HashPassword,
}

#[derive(Subcommand)]
enum Signature {
    /// Tell which of URL, key, body or scheme is off when a signature does not verify
    Explain(Questioned),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(start) => start.run().map(|()| ExitCode::SUCCESS),
        Command::Check(check) => check.run(),
        Command::Explain(explain) => explain.run().map(|()| ExitCode::SUCCESS),
        Command::Replay(replay) => replay.run().map(|()| ExitCode::SUCCESS),
        Command::Test(trial) => trial.run(),
        Command::Doctor(doctor) => Ok(doctor.run()),
        Command::Init(init) => init.run().map(|()| ExitCode::SUCCESS),
        Command::Signature { command: Signature::Explain(questioned) } => {
            questioned.explain().map(|verifies| if verifies { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Schema { file } => {
            print!("{}", file.text());
            Ok(ExitCode::SUCCESS)
        }
        Command::Audit { command } => command.run(),
        Command::Emergency { command } => command.run().map(|()| ExitCode::SUCCESS),
        Command::Lockout { command } => command.run().map(|()| ExitCode::SUCCESS),
        Command::Status(status) => status.run().map(|()| ExitCode::SUCCESS),
        Command::State { command } => command.run().map(|()| ExitCode::SUCCESS),
        Command::Demo => demo::run().map(|()| ExitCode::SUCCESS),
        Command::HashPassword => password::hash().map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("swaigate: {error:#}");
        ExitCode::FAILURE
    })
}
