//! `gateway.yaml`, the policy files, and the secrets that both name.
//!
//! `policies/README.md` lists every key with its default and bounds. All paths in a file are relative to its folder.

mod admin;
mod audit;
mod certificates;
mod environment;
mod fallbacks;
mod files;
mod listen;
mod peers;
mod policies;
mod sections;
mod tls;
mod token_keys;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use swaigate_core::{
    policy::{PublicUrl, Secrets},
    yaml::{self, Mistake},
};

pub use admin::{Admin, AdminToken, Role};
pub use audit::{Audit, Fsync, OnFailure, Rotate, SinkAt};
pub use certificates::{CertificateFile, names as certificate_names};
pub use environment::emergency_mode;
pub use fallbacks::stand_in;
pub use files::{FileSecrets, Found, folder_of, text};
pub use listen::{Listener, Place};
pub use peers::{Access, Peers};
pub use policies::{LoadedPolicies, STRANGERS_PART, load_policies, load_policies_with, load_policy};
pub use sections::{Bodies, Connections, EmbeddedState, FailedAuthentication, Hsts, Log, LogFormat, Shutdown};
pub use tls::{ClientCertificates, Tls, TlsVersion};
pub use token_keys::{TokenKey, key_ring};

/// How the process runs: what `gateway.yaml` says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file they were read from, if there is one.
    pub file: Option<PathBuf>,
    /// Where the platform reaches the gateway: what the file says, else the first listener, if all are loopback.
    pub public_url: PublicUrl,
    /// Where it listens; at least one.
    pub listen: Vec<Listener>,
    /// Which proxies' `X-Forwarded-For` is read.
    pub trusted_proxies: Peers,
    /// Where metrics, health and administration are.
    pub admin: Admin,
    /// The folder of the policy files.
    pub policies: PathBuf,
    /// The keys of tokens, newest first. None: one is made and kept with the state.
    pub token_keys: Vec<TokenKey>,
    /// What is remembered between requests.
    pub state: EmbeddedState,
    /// What becomes of addresses that send wrong credentials.
    pub failed_authentication: FailedAuthentication,
    /// Where decisions are written down.
    pub audit: Audit,
    /// How many worker threads serve requests; at least 1.
    pub threads: usize,
    /// What a connection may take.
    pub connections: Connections,
    /// What all bodies together may take.
    pub bodies: Bodies,
    /// What is logged, and how.
    pub log: Log,
    /// How it stops.
    pub shutdown: Shutdown,
    /// What browsers are told, where the platform asks by https.
    pub hsts: Hsts,
    /// What is allowed but should be looked at, for the log.
    pub notes: Vec<String>,
    /// The files with certificates.
    pub certificates: Vec<CertificateFile>,
    /// The files with the private keys of these.
    pub private_keys: Vec<PathBuf>,
}

/// Reads `gateway.yaml`.
///
/// # Errors
/// All mistakes in it, or why it can't be read.
pub fn load(path: &Path) -> Result<Settings, Vec<Mistake>> {
    let secrets = FileSecrets::new(files::folder_of(path));
    let settings = load_with(path, &secrets)?;
    let Found { notes, certificates, private_keys } = secrets.into_found();
    Ok(Settings { notes, certificates, private_keys, ..settings })
}

/// The same with the secrets from elsewhere.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, secrets: &dyn Secrets) -> Result<Settings, Vec<Mistake>> {
    let name = path.display().to_string();
    let text = files::text(path).map_err(|error| vec![Mistake::of_file(&name, error)])?;
    let folder = files::folder_of(path);
    let mut settings = yaml::read(&name, &text, |fields| sections::settings(fields, folder, secrets))?;
    settings.file = Some(path.to_owned());
    Ok(settings)
}

/// The keys that [`load`] asks for while it reads this text; see [`yaml::keys_of`].
pub fn keys_of(text: &str) -> BTreeSet<String> {
    let folder = Path::new("");
    yaml::keys_of(text, |fields| sections::settings(fields, folder, &FileSecrets::new(folder)))
}

/// Reads `gateway.yaml` where its secrets needn't be: for a command that talks to a gateway that has them.
///
/// # Errors
/// All mistakes in it, or why it can't be read.
pub fn load_without_secrets(path: &Path) -> Result<Settings, Vec<Mistake>> {
    load_with(path, &files::AnySecrets)
}

/// The settings without a file: the defaults, at these addresses, with paths in the current folder.
pub fn for_loopback(listen: SocketAddr, admin: SocketAddr) -> Settings {
    sections::defaults(listen, admin)
}

/// Those of `swaigate run --upstream`: the same, and what the environment says besides.
///
/// # Errors
/// What is wrong with that.
pub fn for_upstream(
    listen: SocketAddr,
    admin: SocketAddr,
    public_url: Option<PublicUrl>,
    secrets: &dyn Secrets,
) -> Result<Settings, String> {
    let mut settings = sections::defaults(listen, admin);
    let tls = fallbacks::tls(secrets, false)?;
    settings.public_url = fallbacks::origin_of(listen, tls.is_some());
    settings.listen.iter_mut().for_each(|listener| listener.tls.clone_from(&tls));
    match public_url {
        Some(public_url) => settings.public_url = public_url,
        None => {
            let said = fallbacks::public_url(&settings.listen, secrets, false)?;
            settings.public_url = said.unwrap_or(settings.public_url);
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests;
