//! Asks a running gateway to stop something or to let it go on, by its admin API.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::json;
use swaigate_core::{
    secret::Secret,
    switches::{Origin, Scope, Word},
};
use ureq::http;

use crate::{
    keys, reload,
    settings::{self, Settings},
    state::{Written, WrittenScope},
};

/// How long the gateway may take. It waits for its disk.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How much of an answer is read, in bytes: ten thousand switches with long reasons.
const MAX_ANSWER: u64 = 64 << 20;

/// Somebody who may turn switches of a gateway.
pub(super) struct Operator {
    http: ureq::Agent,
    admin: SocketAddr,
    token: Secret,
}

// === impl Operator ===

impl Operator {
    /// Whoever can read the admin token of the gateway that this file is of, or of the one at this address.
    ///
    /// # Errors
    /// If the file, or the token, can't be read.
    pub(super) fn new(config: &Path, admin: Option<SocketAddr>, token_file: Option<PathBuf>) -> anyhow::Result<Self> {
        let (admin, token_file) = match (admin, token_file) {
            (Some(admin), Some(token_file)) => (admin, token_file),
            (admin, token_file) => {
                let settings = settings_of(config)?;
                let of_state = || keys::admin_token_file(&settings.state.path);
                (admin.unwrap_or(settings.admin.address), token_file.unwrap_or_else(of_state))
            }
        };
        let token = keys::kept_admin_token(&token_file).with_context(|| {
            "nothing was changed. The token is made when the gateway starts, and only its user and root can read it: \
             perhaps you need sudo"
        })?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("swaigate/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(TIMEOUT))
            .build();
        Ok(Self { http: config.new_agent(), admin, token })
    }

    /// Stops something, and tells what is stopped now.
    ///
    /// # Errors
    /// If the gateway can't be asked, or doesn't do it.
    pub(super) fn turn_on(&self, scope: &WrittenScope, span: Option<String>, word: &Word) -> anyhow::Result<()> {
        let scope = WrittenScope::of(&scope.scope()?);
        let mut order = json!({ "scope": scope, "who": word.who(), "why": word.why() });
        if let Some(span) = span {
            order["for"] = span.into();
        }
        let switch: Written = self.ask(http::Method::POST, "/v1/switches", Some(&order))?;
        println!("In force from the next request on: {}", told(&switch)?);
        self.tell()
    }

    /// Lets something go on, and tells what is still stopped.
    ///
    /// # Errors
    /// If the gateway can't be asked, if nothing of this scope is stopped, or if the environment holds it.
    pub(super) fn turn_off(&self, scope: &WrittenScope, word: &Word) -> anyhow::Result<()> {
        let scope = scope.scope()?;
        let of_scope = |switch: &Written| switch.scope.scope().is_ok_and(|other| other == scope);
        let switches: Vec<Written> = self.list()?.into_iter().filter(of_scope).collect();
        if switches.is_empty() {
            self.tell()?;
            bail!("no switch is on for exactly this: {scope}; nothing was changed");
        }
        let (held, free): (Vec<_>, Vec<_>) =
            switches.into_iter().partition(|switch| switch.origin == Origin::Environment.as_str());
        for switch in free {
            let word = json!({ "who": word.who(), "why": word.why() });
            let target = format!("/v1/switches/{}", switch.id);
            let switch: Written = self.ask(http::Method::DELETE, &target, Some(&word))?;
            println!("Ended: {}", told(&switch)?);
        }
        self.tell()?;
        if !held.is_empty() {
            bail!(
                "AGENT_EMERGENCY_MODE still stops everything: take it out of the gateway's environment and start the \
                 gateway again"
            );
        }
        Ok(())
    }

    /// Tells what is stopped.
    ///
    /// # Errors
    /// If the gateway can't be asked.
    pub(super) fn tell(&self) -> anyhow::Result<()> {
        let switches = self.list()?;
        match switches.len() {
            0 => println!("No emergency switch is on at {}.", self.admin),
            count => {
                println!("{count} emergency switch{} on at {}:", if count == 1 { " is" } else { "es are" }, self.admin)
            }
        }
        for switch in &switches {
            println!("  {}", told(switch)?);
        }
        Ok(())
    }

    fn list(&self) -> anyhow::Result<Vec<Written>> {
        self.ask(http::Method::GET, "/v1/switches", None)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: http::Method,
        target: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<T> {
        let token = self.token.expose_str().unwrap_or_default();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.admin))
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", "application/json");
        let answered = match body {
            Some(body) => self.http.run(request.body(body.to_string())?),
            None => self.http.run(request.body(())?),
        };
        let mut answer = answered.map_err(|error| self.unanswered(error))?;
        let status = answer.status();
        let text = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_string()
            .map_err(|error| self.unanswered(error))?;
        if !status.is_success() {
            let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let said = said["error"].as_str().unwrap_or("it gave no reason").to_owned();
            bail!("the gateway at {} refused ({}): {said}; nothing was changed", self.admin, status.as_u16());
        }
        serde_json::from_str(&text).with_context(|| format!("what answers at {} is no swaigate", self.admin))
    }

    fn unanswered(&self, error: ureq::Error) -> anyhow::Error {
        let admin = self.admin;
        match error {
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => anyhow!(
                "no gateway is at {admin}: is it running? Nothing was changed. One that starts with \
                 AGENT_EMERGENCY_MODE=true stops everything from its start"
            ),
            error => anyhow!(
                "the gateway at {admin} did not answer ({error}); `swaigate emergency status` tells what is in force"
            ),
        }
    }
}

fn settings_of(config: &Path) -> anyhow::Result<Settings> {
    settings::load_without_secrets(config).map_err(|mistakes| reload::told(&mistakes)).context(
        "where the gateway is can't be read, and nothing was changed; without the file, say it with --admin and --token-file",
    )
}

/// A switch in a line.
fn told(switch: &Written) -> anyhow::Result<String> {
    let Written { scope, who, why, since, until, .. } = switch;
    let what = match scope.scope()? {
        Scope::All => "everything".to_owned(),
        other => other.to_string(),
    };
    let until = until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    Ok(format!("{what}, since {since}{until}, by {who}: {why}"))
}
