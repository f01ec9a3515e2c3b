//! One agent's policy file, compiled.
//!
//! `policies/README.md` lists every key with its default and bounds. Nothing here is checked again later: what comes
//! out is what the gateway works with.

mod access;
mod agent_url;
mod arguments;
mod calls;
mod code;
mod confirm;
mod detect;
mod documents;
mod expose;
mod functions;
mod hours;
mod paths;
mod patterns;
mod rules;
mod servers;
mod signing;
mod texts;
mod tls;
mod words;

use std::{
    collections::{BTreeSet, HashMap},
    str::FromStr,
};

use functions::OfAgent;

use super::{Agent, Given, PublicUrl, Seed, Sentences, Shadow, tls::Certificate};
use crate::{
    origin::{self, Authority},
    record::Rule,
    sanitize::SensitiveNames,
    secret::Secret,
    yaml::{self, Field, Fields, Mistake},
};

pub use agent_url::{compile_for_upstream, compile_for_upstream_with};
pub use tls::{certificates, identity};

/// Where the secrets are that a file names.
pub trait Secrets {
    /// The value of an environment variable; `None` if it isn't set.
    fn env(&self, name: &str) -> Option<Secret>;

    /// The same of one that holds a hash.
    fn hash_env(&self, name: &str) -> Option<Secret> {
        self.env(name)
    }

    /// What is in a file, without a newline at its end. A relative path is relative to the folder of the policy file.
    ///
    /// # Errors
    /// Why it can't be read, for the operator.
    fn file(&self, path: &str) -> Result<Secret, String>;

    /// The certificates in a file, at least one. Where files aren't looked into, the whole of it stands for one.
    ///
    /// # Errors
    /// Why it can't be read, or is no file of certificates.
    fn certificates(&self, path: &str) -> Result<Vec<Certificate>, String> {
        self.file(path).map(|whole| vec![Certificate(whole.expose().to_vec())])
    }

    /// The private key in a file, which is that of the first of these certificates.
    ///
    /// # Errors
    /// Why it can't be read, is no key, or another one's.
    fn private_key(&self, path: &str, _of: &[Certificate]) -> Result<Secret, String> {
        self.file(path)
    }

    /// What one of the SDK's own variables says in the environment. It is asked for where the file says nothing;
    /// `is_required` where that is a mistake otherwise.
    fn fallback(&self, _name: &str, _is_required: bool) -> Option<Secret> {
        None
    }
}

/// A text that is not the origin of a website.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOrigin(&'static str);

/// Compiles an agent's policy file. `file` is its name, for messages.
///
/// # Errors
/// All mistakes in it, each with its line and column.
pub fn compile(file: &str, text: &str, secrets: &dyn Secrets, seed: &Seed) -> Result<Agent, Vec<Mistake>> {
    yaml::read(file, text, |fields| agent(fields, secrets, seed))
}

/// The keys that [`compile`] asks for while it reads this text; see [`yaml::keys_of`].
pub fn keys_of(text: &str, secrets: &dyn Secrets, seed: &Seed) -> BTreeSet<String> {
    yaml::keys_of(text, |fields| agent(fields, secrets, seed))
}

/// The policy of an agent for which nothing else is said: `policies/default.yaml`.
pub fn default_policy() -> &'static str {
    include_str!("../../../../policies/default.yaml")
}

/// The keys of an agent that hold for all of its functions.
const OF_AGENT: [&str; 12] = [
    "callers",
    "limits",
    "calls",
    "say",
    "sensitive",
    "responses",
    "destinations",
    "verbs",
    "egress",
    "detect",
    "mode",
    "shadow",
];

fn agent(fields: &mut Fields<'_>, secrets: &dyn Secrets, seed: &Seed) -> Option<Agent> {
    let given = OF_AGENT.into_iter().filter_map(|key| Given::of(fields, key, false)).collect();
    let name = fields.take("agent").required().parse(str::parse);
    let (path, host) = fields.take("match").section(paths::matched);
    let upstream = fields.take("upstream").required().mapping(|fields| access::upstream(fields, &path, secrets));
    let platform = fields.take("platform").section(|fields| access::platform(fields, secrets, seed));
    let tokens = fields.take("tokens").section(rules::tokens);
    let (unidentified_callers, callers) = fields.take("callers").section(rules::callers);
    let limits = rules::limits(fields.take("limits"));
    let calls = fields.take("calls").section(calls::calls);
    let say = fields.take("say").section(|fields| rules::sentences(fields, Sentences::default()));
    let sensitive = rules::sensitive(fields.take("sensitive"));
    let responses = fields.take("responses").section(documents::responses);
    let prompt = fields.take("prompt").section(documents::prompt);
    let destinations = fields.take("destinations").section(documents::destinations);
    let egress = fields.take("egress").section(documents::egress);
    let verbs = fields.take("verbs").section(documents::verbs);
    let shadow = rules::shadow(fields, Rule::is_of_agents);
    let routing_callbacks = paths::routing_callbacks(fields.take("routing_callbacks"));
    let expose = expose::expose(fields);
    let bodies = fields.take("bodies").section(rules::bodies);
    let all_shadow = if shadow == Shadow::ALL { Shadow::ALL } else { Shadow::default() };
    let of_agent = OfAgent { say: &say, sensitive: &sensitive, shadow: all_shadow };
    let functions = functions::functions(fields.take("functions"), &of_agent, secrets);
    let detect = detect::detectors(fields.take("detect"), shadow.has(Rule::Detect));
    Some(Agent {
        name: name?,
        path,
        host,
        upstream: upstream?,
        platform,
        tokens,
        unidentified_callers,
        callers,
        limits,
        calls,
        say,
        sensitive: SensitiveNames::with(sensitive),
        routing_callbacks,
        expose,
        bodies,
        functions,
        responses,
        prompt,
        verbs,
        destinations,
        egress,
        detect,
        shadow,
        given,
    })
}

/// `https://host:port`: a scheme, a host and perhaps a port. A slash at the end is nothing.
fn origin_of(text: &str) -> Result<(bool, Authority), InvalidOrigin> {
    let url = origin::parse(text)
        .and_then(Result::ok)
        .ok_or(InvalidOrigin("write an origin like `https://agents.example.com`"))?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_empty();
    if !is_plain(&url.authority().host) {
        Err(InvalidOrigin("the host holds characters that no host has"))
    } else if url.has_userinfo() {
        Err(InvalidOrigin("an origin has no user and password"))
    } else if !bare {
        Err(InvalidOrigin("an origin ends behind its host and port; remove the path, query or fragment"))
    } else {
        Ok((url.is_https(), url.authority().clone()))
    }
}

/// Whether this is a host that exists outside of templates: the URL standard lets `${HOST}` pass.
fn is_plain(host: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'[' | b']' | b':');
    !host.is_empty() && host.bytes().all(plain)
}

impl FromStr for PublicUrl {
    type Err = InvalidOrigin;

    /// Reads an origin. A port that is the scheme's default is left out.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (https, mut authority) = origin_of(text)?;
        let default = if https { 443 } else { 80 };
        authority.port = authority.port.filter(|port| *port != default);
        Ok(Self { https, authority })
    }
}

/// The secret in an environment variable, which must not be empty.
pub fn secret_in_env(field: Field<'_>, secrets: &dyn Secrets) -> Option<Secret> {
    field.resolve(|name| match secrets.env(name) {
        Some(secret) if !secret.is_empty() => Ok(secret),
        Some(_) => Err(format!("the environment variable {} is empty", yaml::quoted(name))),
        None => Err(format!("the environment variable {} is not set", yaml::quoted(name))),
    })
}

/// The hash in an environment variable, which must not be empty.
fn hash_in_env(field: Field<'_>, secrets: &dyn Secrets) -> Option<Secret> {
    secret_in_env(field, &Hashes(secrets))
}

/// Secrets of which each is a hash.
struct Hashes<'s>(&'s dyn Secrets);

impl Secrets for Hashes<'_> {
    fn env(&self, name: &str) -> Option<Secret> {
        self.0.hash_env(name)
    }

    fn file(&self, path: &str) -> Result<Secret, String> {
        self.0.file(path)
    }
}

/// The secret in a file, which must not be empty.
pub fn secret_in_file(field: Field<'_>, secrets: &dyn Secrets) -> Option<Secret> {
    field.resolve(|path| match secrets.file(path) {
        Ok(secret) if !secret.is_empty() => Ok(secret),
        Ok(_) => Err(format!("the file {} is empty", yaml::quoted(path))),
        Err(error) => Err(format!("the file {} can't be used: {error}", yaml::quoted(path))),
    })
}

/// Secrets in memory, by the name of their variable or file; none, in an empty map.
impl Secrets for HashMap<String, Secret> {
    fn env(&self, name: &str) -> Option<Secret> {
        self.get(name).cloned()
    }

    fn file(&self, path: &str) -> Result<Secret, String> {
        self.get(path).cloned().ok_or_else(|| "there is none".to_owned())
    }
}

#[cfg(test)]
mod tests;
