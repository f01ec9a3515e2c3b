//! The policy files of a gateway.

use std::path::{Path, PathBuf};

use swaigate_core::{
    policy::{Agent, Authentication, Secrets, Seed, compile},
    yaml::Mistake,
};

use super::{
    Settings,
    files::{self, FileSecrets, Found},
};

/// Bodies from clients that the gateway doesn't authenticate have this part of `bodies.budget` besides.
pub const STRANGERS_PART: usize = 8;

/// How many policy files are read.
const MAX_POLICIES: usize = 1000;

/// The agents of all policy files.
#[derive(Debug)]
pub struct LoadedPolicies {
    /// One for each file, in the order of the files' names; at least one.
    pub agents: Vec<Agent>,
    /// The files, in the same order.
    pub files: Vec<PathBuf>,
    /// What was seen on the way.
    pub found: Found,
}

/// Reads the policy files.
///
/// # Errors
/// All mistakes of all files; that the folder can't be read, or holds no policy.
pub fn load_policies(settings: &Settings, seed: &Seed) -> Result<LoadedPolicies, Vec<Mistake>> {
    let secrets = FileSecrets::new(&settings.policies);
    let loaded = load_policies_with(settings, &secrets, seed)?;
    let (files, agents) = loaded.into_iter().unzip();
    Ok(LoadedPolicies { agents, files, found: secrets.into_found() })
}

/// The same with the secrets from elsewhere, each agent with its file.
///
/// # Errors
/// As [`load_policies`].
pub fn load_policies_with(
    settings: &Settings,
    secrets: &dyn Secrets,
    seed: &Seed,
) -> Result<Vec<(PathBuf, Agent)>, Vec<Mistake>> {
    let (mut agents, mut mistakes) = (Vec::new(), Vec::new());
    for path in policy_files(settings)? {
        match load_policy(&path, secrets, seed, settings.bodies.budget) {
            Ok(agent) => agents.push((path, agent)),
            Err(more) => mistakes.extend(more),
        }
    }
    if mistakes.is_empty() { Ok(agents) } else { Err(mistakes) }
}

/// Every `*.yaml` and `*.yml` of the folder, in the order of their names. Folders within it, files whose name starts with
/// a dot, and `gateway.yaml` itself are passed over.
fn policy_files(settings: &Settings) -> Result<Vec<PathBuf>, Vec<Mistake>> {
    let folder = &settings.policies;
    let of_folder = |message: String| vec![Mistake::of_file(folder.display().to_string(), message)];
    let paths = files::policies_in(folder, settings.file.as_deref())
        .map_err(|error| of_folder(format!("the folder of the policies can't be read: {error}")))?;
    if paths.is_empty() {
        return Err(of_folder("no policy is here; each agent needs a file like `bank.yaml`".to_owned()));
    }
    if paths.len() > MAX_POLICIES {
        return Err(of_folder(format!("{} policies are here; at most {MAX_POLICIES} are read", paths.len())));
    }
    Ok(paths)
}

/// Reads one policy file, whose bodies must fit in this budget of `gateway.yaml`.
///
/// # Errors
/// All mistakes in it, or why it can't be read.
pub fn load_policy(path: &Path, secrets: &dyn Secrets, seed: &Seed, budget: usize) -> Result<Agent, Vec<Mistake>> {
    let name = path.display().to_string();
    let of_file = |message: String| vec![Mistake::of_file(&name, message)];
    let agent = compile(&name, &files::text(path).map_err(of_file)?, secrets, seed)?;
    let bodies = agent.bodies.request.max(agent.bodies.callback).max(agent.bodies.response);
    let largest = |who| {
        let of_them = agent.expose.paths.iter().filter(|item| item.authentication == who);
        of_them.filter_map(|item| item.body).max().unwrap_or_default()
    };
    for (key, largest, most) in [
        ("`bodies`", bodies, budget),
        ("an exposed path's `body`", largest(Authentication::Gateway), budget),
        ("a `body` with `authentication: agent`", largest(Authentication::Agent), budget / STRANGERS_PART),
    ] {
        if largest > most {
            return Err(of_file(format!(
                "{key} allows {largest} bytes, more than the {most} that gateway.yaml's `bodies.budget` has for all"
            )));
        }
    }
    Ok(agent)
}

#[cfg(test)]
mod tests;
