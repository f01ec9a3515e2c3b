//! Which gateway is meant, and whose word it is: arguments that commands share.

use std::{
    net::TcpStream,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use swaigate_core::switches::Word;

use super::{Door, Operator};
use crate::{
    keys, reload,
    settings::{self, Settings},
};

/// Which gateway is asked.
#[derive(Debug, Args)]
pub struct Place {
    /// The file that `run` was given
    #[arg(long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
    /// The gateway's admin address or Unix socket [default: by --config]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<Door>,
    /// The file with its admin token [default: by --config]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
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

// === impl Place ===

impl Place {
    /// Whoever can read the admin token of the gateway that this is.
    ///
    /// # Errors
    /// If the file, or the token, can't be read.
    pub fn operator(self) -> anyhow::Result<Operator> {
        let (door, token_file) = match (self.admin, self.token_file) {
            (Some(door), Some(token_file)) => (door, token_file),
            (door, token_file) => {
                let settings = settings_of(&self.config)?;
                let of_state = || keys::admin_token_file(&settings.state.path);
                (door.map_or_else(|| door_of(&settings), Ok)?, token_file.unwrap_or_else(of_state))
            }
        };
        let token = keys::kept_admin_token(&token_file).with_context(|| {
            "nothing was changed. The token is made when the gateway starts, and only its user and root can read it: \
             perhaps you need sudo"
        })?;
        Ok(Operator::new(door, token))
    }

    /// The folder of the state, if no gateway runs on it.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn stopped(&self) -> anyhow::Result<Option<PathBuf>> {
        if self.admin.is_some() {
            return Ok(None);
        }
        let settings = settings_of(&self.config)?;
        let is_there = match door_of(&settings)? {
            Door::Tcp(address) => TcpStream::connect(address).is_ok(),
            Door::Unix(path) => UnixStream::connect(path).is_ok(),
        };
        Ok(if is_there { None } else { Some(settings.state.path) })
    }
}

fn door_of(settings: &Settings) -> anyhow::Result<Door> {
    let unix = settings.admin.unix.clone().map(Door::Unix);
    settings.admin.address.map(Door::Tcp).or(unix).context("the gateway has no admin address; this is a defect")
}

fn settings_of(config: &Path) -> anyhow::Result<Settings> {
    settings::load_without_secrets(config).map_err(|mistakes| reload::told(&mistakes)).context(
        "where the gateway is can't be read, and nothing was changed; without the file, say it with --admin and --token-file",
    )
}

// === impl WordArguments ===

impl WordArguments {
    /// The two as they are written down.
    ///
    /// # Errors
    /// If nobody is named, or in words that can't be written down.
    pub fn word(self) -> anyhow::Result<Word> {
        let of_environment = || ["SUDO_USER", "USER"].iter().find_map(|name| std::env::var(name).ok());
        let who = self.who.or_else(of_environment).context("who are you? Say it with --who")?;
        Ok(Word::new(&who, &self.why)?)
    }
}
