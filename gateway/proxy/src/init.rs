//! `swaigate init`: a policy file for an agent, from what the agent itself says.

mod rehearsal;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use swaigate_core::{
    id::AgentName,
    inventory::{AGENT_PASSWORD, AGENT_USER, Draft, Inventory, PLATFORM_PASSWORD},
    json,
    policy::Agent,
    record::Bypass,
};

use crate::client::{Client, Credentials};

/// What the command line says.
#[derive(Debug, Args)]
pub struct Init {
    /// The agent, with the user and password that it asks for, such as http://user:password@127.0.0.1:3000/bank
    #[arg(long, value_name = "URL")]
    pub upstream: String,
    /// The environment variable with the signing key, if signatures are asked for
    #[arg(long, value_name = "NAME")]
    pub signing_key_env: Option<String>,
    /// Who vouches for the certificate of an https agent, in a PEM file [default: whom this machine trusts]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<String>,
    /// The file to write, or - to print it [default: policies/<name>.yaml]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The agent's name [default: the last segment of its path]
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentName>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

// === impl Init ===

impl Init {
    /// Asks the agent and writes the file.
    ///
    /// # Errors
    /// If the agent doesn't answer with a document, or the file is there already or can't be written.
    pub fn run(&self) -> anyhow::Result<()> {
        let client = Client::new(&self.upstream, self.signing_key_env.as_deref(), self.ca.as_deref())?;
        let name = self.agent.clone().unwrap_or_else(|| name_of(client.agent()));
        let output = self.output.clone().unwrap_or_else(|| PathBuf::from(format!("policies/{name}.yaml")));
        let is_printed = output.as_os_str() == "-";
        if !is_printed && !self.force && output.exists() {
            bail!("{}", is_there(&output));
        }
        let document = client.document()?;
        let root = json::parse(document.as_bytes()).context("the document can't be read")?;
        let inventory = Inventory::of(&document, &root, client.policies());
        // The document is what counts: an agent that says nothing at /mcp has none.
        let serves_mcp = client.serves_mcp(Credentials::Own).unwrap_or(false);
        let draft = Draft { name: &name, agent: client.agent(), inventory: &inventory, serves_mcp };
        let file = draft.file();
        let refused = rehearsal::refusal(&file, client.agent(), &document)?;
        if is_printed {
            io::stdout().write_all(file.as_bytes()).context("standard output can't be written")?;
        } else {
            self.write(&output, &file)?;
        }
        draft.warnings().iter().chain(&refused).for_each(|warning| eprintln!("warning: {warning}"));
        if !is_printed {
            eprint!("{}", next_steps(&output, &inventory, client.agent()));
            if let Some(ca) = &self.ca {
                eprintln!(
                    "The file doesn't name {ca} yet: add `tls: {{ ca: … }}` to `upstream`, relative to its own folder."
                );
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        let unwritable = || format!("{}: the file can't be written", path.display());
        if let (None, Some(folder)) = (&self.output, path.parent()) {
            fs::create_dir_all(folder).with_context(unwritable)?;
        }
        // `create_new`: what came to be there since is not written over either.
        let opened = match self.force {
            true => OpenOptions::new().write(true).create(true).truncate(true).open(path),
            false => OpenOptions::new().write(true).create_new(true).open(path),
        };
        match opened {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!("{}", is_there(path)),
            opened => opened.and_then(|mut file| file.write_all(text.as_bytes())).with_context(unwritable),
        }
    }
}

fn is_there(path: &Path) -> String {
    format!("{} is there already; --force writes over it, --output names another file", path.display())
}

/// The last segment of the agent's path, if that can be a name.
fn name_of(agent: &Agent) -> AgentName {
    let last = agent.path.rsplit('/').next().unwrap_or_default();
    last.parse().unwrap_or_else(|_| "agent".parse().expect("it is a name"))
}

/// What was found, and what the operator does now.
fn next_steps(path: &Path, inventory: &Inventory, agent: &Agent) -> String {
    let around: Vec<(&str, Bypass)> = inventory.around().collect();
    let count = inventory.functions.len();
    let mut told = format!(
        "{} is written: {count} functions, {} of them pass through the gateway.\n",
        path.display(),
        count - around.len()
    );
    told.push_str("Set these variables where the gateway runs, then look at the file and try it:\n\n");
    if agent.upstream.credentials.is_some() {
        told.push_str(&format!("  export {AGENT_USER}=…       # what the agent asks for, as in the URL\n"));
        told.push_str(&format!("  export {AGENT_PASSWORD}=…\n"));
    }
    told.push_str(&format!(
        "  export {PLATFORM_PASSWORD}=\"$(openssl rand -base64 24)\"   # what the platform will send\n"
    ));
    told.push_str(
        "  swaigate check --config gateway.yaml   # `listen: [{ address: \"127.0.0.1:8080\" }]` is a whole one\n",
    );
    told.push_str("  swaigate run --config gateway.yaml\n");
    told
}
