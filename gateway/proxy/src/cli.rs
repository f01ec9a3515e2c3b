//! The command line.

use std::{
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use argon2::{Argon2, password_hash::PasswordHasher};
use clap::{Args, Parser, Subcommand};
use swaigate_core::{
    id::{AgentName, FunctionName},
    policy::{PublicUrl, Seed},
    secret::Secret,
    yaml::Mistake,
};

use crate::{
    demo,
    doctor::Doctor,
    init::Init,
    keys, log, random, reload,
    run::{self, Gateway},
    settings,
    signature::Questioned,
};

/// The shortest password that `hash-password` takes, in bytes.
const MIN_PASSWORD: usize = 16;

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
    Run(Run),
    /// Look for mistakes in gateway.yaml and the policies beside it, without running anything
    Check {
        /// The file that `run` would be given
        #[arg(long, value_name = "FILE", default_value = "gateway.yaml")]
        config: PathBuf,
    },
    /// Look for known weaknesses of an agent that runs, without running a function of it; exits with 1 if there are any
    Doctor(DoctorArgs),
    /// Write a policy file for an agent, from what the agent itself says
    Init(InitArgs),
    /// Look into the platform's signatures
    Signature {
        #[command(subcommand)]
        command: Signature,
    },
    /// Play a call through a gateway before a sample agent, on this machine, and keep both running
    Demo,
    /// Read a password from standard input and print its argon2id hash, for `password_hash`
    HashPassword,
}

#[derive(Subcommand)]
enum Signature {
    /// Tell which of URL, key, body or scheme is off when a signature does not verify
    Explain(Explain),
}

#[derive(Args)]
struct Explain {
    /// The file that `run` is given
    #[arg(long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
    /// The agent that was asked
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// The URL that the platform was told to ask, with the user and password in it if they are
    #[arg(long, value_name = "URL")]
    url: String,
    /// The Content-Type of the request
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    content_type: String,
    /// The body as it came, byte for byte; - for standard input
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// X-SignalWire-Signature, or X-Twilio-Signature
    #[arg(long, value_name = "VALUE", required_unless_present = "sha256_signature")]
    signature: Option<String>,
    /// X-SignalWire-SHA256-Signature
    #[arg(long, value_name = "VALUE")]
    sha256_signature: Option<String>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// gateway.yaml, with the policies it names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One agent under the default policy, such as http://user:password@127.0.0.1:3000/bank
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    source: Source,
    /// Where to listen, with --upstream: an address on loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", conflicts_with = "config")]
    listen: SocketAddr,
    /// Where the platform reaches the gateway, with --upstream: what ends TLS in front of it [default: its own address]
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    public_url: Option<PublicUrl>,
    /// Where metrics and health are, with --upstream
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", conflicts_with = "config")]
    admin: SocketAddr,
}

#[derive(Args)]
struct DoctorArgs {
    /// The agent, or a gateway before it, with the user and password that it asks for
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// The environment variable with the signing key, if signatures are asked for
    #[arg(long, value_name = "NAME")]
    signing_key_env: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Leave out forged host headers, which put a name that nobody has into the documents of a Python agent until it is asked
    /// again at once; for an agent that takes calls meanwhile
    #[arg(long)]
    no_forged_headers: bool,
    /// Also call this function, without a token and with another call's, to see whether it runs; name a harmless one
    #[arg(long, value_name = "FUNCTION")]
    call: Option<FunctionName>,
}

#[derive(Args)]
struct InitArgs {
    /// The agent, with the user and password that it asks for, such as http://user:password@127.0.0.1:3000/bank
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// The environment variable with the signing key, if signatures are asked for
    #[arg(long, value_name = "NAME")]
    signing_key_env: Option<String>,
    /// The file to write, or - to print it [default: policies/<name>.yaml]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The agent's name [default: the last segment of its path]
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(Run { source, listen, public_url, admin }) => match (source.config, source.upstream) {
            (Some(config), _) => run_config(&config),
            (None, Some(url)) => run_upstream(&url, listen, public_url, admin),
            (None, None) => Ok(()),
        },
        Command::Check { config } => check(&config),
        Command::Init(InitArgs { upstream, signing_key_env, output, agent, force }) => {
            Init { upstream, signing_key_env, output, name: agent, force }.run()
        }
        Command::Signature { command: Signature::Explain(explain) } => match questioned(explain).explain() {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Command::Doctor(DoctorArgs { upstream, signing_key_env, json, no_forged_headers, call }) => {
            return Doctor { upstream, signing_key_env, json, forge: !no_forged_headers, call }.run();
        }
        Command::Demo => demo::run(),
        Command::HashPassword => hash_password(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("swaigate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn questioned(explain: Explain) -> Questioned {
    let Explain { config, agent, url, content_type, body, signature, sha256_signature } = explain;
    Questioned { config, agent, url, content_type, body, signature, sha256_signature }
}

fn run_config(config: &Path) -> anyhow::Result<()> {
    let seed = run::seed()?;
    // The log's own settings are in the file, so what reading it has to say comes after that.
    let early = settings::load(config).map_err(|mistakes| reload::told(&mistakes))?;
    log::start(&early.log);
    let (settings, policies) = reload::load(config, &seed)?;
    Gateway { settings, policies, seed, config: Some(config.to_owned()), companions: Vec::new() }.run()
}

fn run_upstream(url: &str, listen: SocketAddr, public_url: Option<PublicUrl>, admin: SocketAddr) -> anyhow::Result<()> {
    if !listen.ip().is_loopback() || !admin.ip().is_loopback() {
        bail!("with --upstream only loopback addresses are listened on; write a gateway.yaml for others");
    }
    let mut settings = settings::for_loopback(listen, admin);
    if let Some(public_url) = public_url {
        settings.public_url = public_url;
    }
    log::start(&settings.log);
    let seed = run::seed()?;
    Gateway::before(url, settings, seed)?.run()
}

fn check(config: &Path) -> anyhow::Result<()> {
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

fn hash_password() -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin().take(4096).read_to_string(&mut text).context("standard input can't be read")?;
    let password = Secret::new(text.trim_end_matches(['\n', '\r']));
    if password.len() < MIN_PASSWORD {
        bail!("a password needs at least {MIN_PASSWORD} bytes; `openssl rand -base64 32` makes a good one");
    }
    let salt = random::bytes::<16>()?;
    let hash = Argon2::default().hash_password_with_salt(password.expose(), &salt);
    println!("{}", hash.map_err(|error| anyhow::anyhow!("the password can't be hashed: {error}"))?);
    Ok(())
}
