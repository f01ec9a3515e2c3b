//! `swaigate run --upstream http://user:password@127.0.0.1:3000/bank`: one agent, without a file.

use std::collections::HashMap;

use super::{
    super::{Agent, Seed, UpstreamCredentials},
    Secrets, access, compile, default_policy,
};
use crate::{basic, secret::Secret, yaml::Mistake};

/// What a mistake in the URL is said to be in.
const SOURCE: &str = "--upstream";

/// The default policy for the agent at this URL. It is published under the URL's path; a user and password in the URL
/// are what the agent asks for, percent-encoded where they hold `/`, `?`, `#` or `%`.
///
/// # Errors
/// What is wrong with the URL. The words never hold a part of it, since that may be the password.
pub fn compile_for_upstream(url: &str, seed: &Seed) -> Result<Agent, Vec<Mistake>> {
    compile_for_upstream_with(url, &HashMap::new(), seed)
}

/// The same for a gateway whose environment may say who the platform is.
///
/// # Errors
/// As [`compile_for_upstream`]; and what is wrong with that.
pub fn compile_for_upstream_with(url: &str, secrets: &dyn Secrets, seed: &Seed) -> Result<Agent, Vec<Mistake>> {
    let wrong = |message: String| vec![Mistake::of_file(SOURCE, message)];
    let address = access::address(url).map_err(wrong)?;
    if address.path.as_ref().is_some_and(|path| path.contains('@')) {
        return Err(wrong("the URL's path holds a `@`; in a password, write `%2F` for `/`".to_owned()));
    }
    let credentials = credentials(url).map_err(|message| wrong(message.to_owned()))?;
    let mut agent = compile("policies/default.yaml", default_policy(), secrets, seed)?;
    agent.path = address.path.unwrap_or_default();
    agent.upstream.https = address.https;
    agent.upstream.servers = vec![access::only_server(&address.host, address.port)];
    agent.upstream.host = address.host;
    agent.upstream.port = address.port;
    agent.upstream.path = agent.path.clone();
    agent.upstream.credentials = credentials;
    Ok(agent)
}

fn credentials(url: &str) -> Result<Option<UpstreamCredentials>, &'static str> {
    let after = url.split_once("://").map_or("", |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((userinfo, _)) = authority.rsplit_once('@') else { return Ok(None) };
    let (username, password) = userinfo.split_once(':').ok_or("the URL holds a user without a password")?;
    let username = String::from_utf8(percent_decode(username)?).map_err(|_| "the URL's user is not UTF-8")?;
    access::username(&username)?;
    let password = Secret::new(percent_decode(password)?);
    if password.is_empty() || password.expose().iter().any(u8::is_ascii_control) {
        return Err("the URL's password is empty or holds a control character");
    }
    Ok(Some(UpstreamCredentials { header: basic::header(&username, password.expose()), username, password }))
}

fn percent_decode(text: &str) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str =
        "the URL holds a `%` that is not followed by two hexadecimal digits; write `%25` for `%` itself";
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(WRONG)?;
        let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        decoded.push(u8::from_str_radix(digits, 16).ok().filter(|_| hex).ok_or(WRONG)?);
        decoded.extend_from_slice(rest.as_bytes());
    }
    Ok(decoded)
}
