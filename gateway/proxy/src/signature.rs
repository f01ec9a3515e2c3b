//! `swaigate signature explain`: why a signature of the platform's doesn't verify.

use std::{
    fs,
    io::{Read, stdin},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use swaigate_core::{
    policy::{Agent, Policies, PublicUrl},
    signature::{Attempt, Carried, Explanation, Off, SigningKey, explain},
};

use crate::{keys, reload, run, settings};

/// How large a body may be, in bytes.
const MAX_BODY: u64 = 64 << 20;

/// A request whose signature is looked at.
#[derive(Debug, Args)]
pub struct Questioned {
    /// The file that `run` is given
    #[arg(long, value_name = "FILE", default_value = "gateway.yaml")]
    pub config: PathBuf,
    /// The agent that was asked
    #[arg(long, value_name = "NAME")]
    pub agent: String,
    /// The URL that the platform was told to ask, with the user and password in it if they are
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// The Content-Type of the request
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    pub content_type: String,
    /// The body as it came, byte for byte; - for standard input
    #[arg(long, value_name = "FILE")]
    pub body: PathBuf,
    /// X-SignalWire-Signature, or X-Twilio-Signature
    #[arg(long, value_name = "VALUE", required_unless_present = "sha256_signature")]
    pub signature: Option<String>,
    /// X-SignalWire-SHA256-Signature
    #[arg(long, value_name = "VALUE")]
    pub sha256_signature: Option<String>,
}

// === impl Questioned ===

impl Questioned {
    /// Prints what is off; whether nothing is.
    ///
    /// # Errors
    /// If a file can't be read, or there is no such agent.
    pub fn explain(&self) -> anyhow::Result<bool> {
        let policies = policies(&self.config)?;
        let agent = policies.agents().iter().find(|agent| agent.name.as_str() == self.agent);
        let agent = agent.with_context(|| {
            let names: Vec<_> = policies.agents().iter().map(|agent| agent.name.as_str()).collect();
            format!("there is no agent `{}`; known here: {}", self.agent, names.join(", "))
        })?;
        let own = named_keys(agent);
        if own.is_empty() {
            bail!("the policy of agent `{}` lists no `platform.signing_keys_env`", self.agent);
        }
        let others =
            policies.agents().iter().filter(|other| other.name != agent.name).flat_map(|other| named_keys(other));
        let listed = own.len();
        let keys: Vec<_> = own.into_iter().chain(others).collect();
        let body = read_body(&self.body)?;
        let public = policies.origin_of(agent);
        let carried = Carried {
            sha256: self.sha256_signature.as_deref().map(str::as_bytes),
            sha1: self.signature.as_deref().map(str::as_bytes),
        };
        let origin = public.origin();
        let content_type = self.content_type.as_str();
        let attempt =
            Attempt { url: &self.url, public: &origin, content_type, body: &body, carried, keys: &keys, listed };
        let explanation = explain(&attempt);
        tell(&explanation, &attempt);
        warn_of_another_origin(&self.url, &public);
        Ok(matches!(explanation, Explanation::Verifies(..)))
    }
}

fn policies(config: &Path) -> anyhow::Result<Policies> {
    let seed = run::seed()?;
    let settings = settings::load(config).map_err(|mistakes| reload::told(&mistakes))?;
    let loaded = settings::load_policies(&settings, &seed).map_err(|mistakes| reload::told(&mistakes))?;
    reload::assemble(&settings, loaded.agents, keys::ephemeral_ring()?)
}

/// The keys of an agent, by what tells them apart without showing them.
fn named_keys(agent: &Agent) -> Vec<(String, SigningKey)> {
    let keys = agent.platform.signing.iter().flat_map(|signing| &signing.keys);
    keys.enumerate().map(|(place, key)| (format!("key {} of agent `{}`", place + 1, agent.name), key.clone())).collect()
}

fn read_body(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let read = if path == Path::new("-") {
        stdin().take(MAX_BODY).read_to_end(&mut body)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_BODY).read_to_end(&mut body))
    };
    read.with_context(|| format!("{}: the body can't be read", path.display()))?;
    Ok(body)
}

fn tell(explanation: &Explanation, attempt: &Attempt<'_>) {
    match explanation {
        Explanation::Verifies(scheme, key) => println!("It verifies: scheme {}, with {key}.", scheme.as_str()),
        Explanation::Missing => println!("There is no signature: give --sha256-signature or --signature."),
        Explanation::Off(off) => {
            println!("It does not verify. It would, but for:");
            off.iter().for_each(|off| println!("- {}", in_words(off)));
        }
        Explanation::Unknown => {
            println!("It does not verify, and nothing that was tried makes it. What is most likely:");
            println!(
                "- the key: {} of this agent's and {} of others were tried. A key that was just reset takes a minute to be in use.",
                attempt.listed,
                attempt.keys.len() - attempt.listed
            );
            println!(
                "- the body: it must be the bytes that came, {} here, before anything parsed or saved them anew.",
                attempt.body.len()
            );
            println!(
                "- the URL: it must be the one in the platform's settings or in the document, with its whole query."
            );
        }
    }
}

fn in_words(off: &Off) -> String {
    match off {
        Off::Url(url) => format!("the URL: what was signed is {}", without_token(url)),
        Off::Body(how) => format!("the body: when it was signed, {how}"),
        Off::Key(name) => format!("the key: it is {name}, which this agent's policy does not list"),
        Off::Scheme(how) => format!("the scheme: {how}"),
    }
}

/// A token in a URL is nobody's to read.
fn without_token(url: &str) -> String {
    match url.split_once("gw_token=") {
        Some((front, rest)) => {
            format!("{front}gw_token=…{}", rest.find('&').and_then(|end| rest.get(end..)).unwrap_or(""))
        }
        None => url.to_owned(),
    }
}

fn warn_of_another_origin(url: &str, public: &PublicUrl) {
    let origin = public.origin();
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let is_public = origin.split_once("://").is_some_and(|(_, public)| host.starts_with(public));
    if !is_public {
        println!(
            "Note: the gateway checks signatures over URLs that begin with {origin} (`public_url`, `match.host`)."
        );
    }
}
