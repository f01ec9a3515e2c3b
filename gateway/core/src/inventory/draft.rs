//! A policy file for an agent, written from what its document holds.
//!
//! Whatever of it is the agent's own words stands in a comment, and is made printable before: no name can begin a line.

use super::{Function, Inventory, WATCHED_VERBS, Way, Whose, schema};
use crate::{id::AgentName, json::quote, policy::Agent, record::Bypass, sanitize::printable};

/// The variables that the file names, in which the operator puts what the agent asks for, and what the platform will send.
pub const AGENT_USER: &str = "SWML_BASIC_AUTH_USER";
/// See [`AGENT_USER`].
pub const AGENT_PASSWORD: &str = "SWML_BASIC_AUTH_PASSWORD";
/// See [`AGENT_USER`].
pub const PLATFORM_PASSWORD: &str = "GATEWAY_PASSWORD";

/// How many aliases a policy may have.
const MAX_ALIASES: usize = 32;

/// How many names a line of a comment lists.
const MAX_NAMES: usize = 8;

/// What a policy file is written from.
#[derive(Debug)]
pub struct Draft<'d> {
    /// What the agent will be called.
    pub name: &'d AgentName,
    /// Where it is, and what it asks for.
    pub agent: &'d Agent,
    /// What its document holds.
    pub inventory: &'d Inventory,
    /// Whether it answers at `/mcp`.
    pub serves_mcp: bool,
}

// === impl Draft ===

impl Draft<'_> {
    /// The file.
    pub fn file(&self) -> String {
        let mut out = format!(
            "# The policy of agent `{}`, written by `swaigate init`. Look through it, and change it as you like:\n\
             # policies/README.md explains every key, and `swaigate check` shows every mistake.\n",
            self.name
        );
        self.warnings().iter().for_each(|warning| out.push_str(&comment(&format!("Warning: {warning}"))));
        out.push_str(&format!("\nagent: {}\n", schema::scalar(self.name.as_str())));
        let path = path(&self.agent.path);
        out.push_str(&format!("\n# Where the platform finds it at the gateway.\nmatch:\n  path: {path}\n"));
        self.upstream(&mut out);
        out.push_str(&format!(
            "\n# Who may ask. The platform sends this password, of at least 16 bytes, in the variable {PLATFORM_PASSWORD}.\n\
             platform:\n  users:\n    - {{ username: signalwire, password_env: {PLATFORM_PASSWORD} }}\n\
             \n# A caller may make 10 requests a minute, over all of their calls; one call 60.\n\
             limits:\n  - {{ per: caller, allow: 10, every: 1m }}\n  - {{ per: call, allow: 60, every: 1m }}\n"
        ));
        self.functions(&mut out);
        self.elsewhere(&mut out);
        out
    }

    /// What the operator ought to know before the gateway stands before the agent, each a sentence on one line.
    pub fn warnings(&self) -> Vec<String> {
        let Inventory { shows_credentials, mcp_servers, includes, nameless, unreadable, .. } = *self.inventory;
        let mut warnings = Vec::new();
        let mut warn = |is_so: bool, text: String| warnings.extend(is_so.then_some(text));
        let is_open = self.agent.upstream.credentials.is_none();
        warn(is_open, "the agent asks for no password: whoever reaches it may do all that the gateway may.".into());
        let shown = "the agent's own user and password stand in its document. The gateway takes them out; change them \
                     where others have seen the document.";
        warn(shows_credentials, shown.into());
        let plain = self.inventory.plain_http.iter().map(String::as_str);
        if let Some(plain) = names(plain) {
            warn(true, format!("URLs with `http://` cross a network in plain: {plain}."));
        }
        self.warn_of_tokens(&mut warn);
        let serves = "the agent answers at /mcp, where functions run without their token. The gateway keeps it shut.";
        warn(self.serves_mcp, serves.into());
        let lists = "the document names MCP servers (`mcp_servers`): the platform calls their functions by itself, unseen \
                     by the gateway. One at the agent's own /mcp is cut from the document.";
        warn(mcp_servers, lists.into());
        let includes_some =
            "the document includes functions of other servers (`SWAIG.includes`), which are not listed here.";
        warn(includes, includes_some.into());
        if let Some(verbs) = names(self.inventory.verbs.iter().copied()) {
            warn(true, format!("the document uses verbs that no policy limits in this version: {verbs}."));
        }
        if let Some(around) = names(self.inventory.around().map(|(name, _)| name)) {
            warn(true, format!("the gateway sees no call of {around}: no limit of this file holds for them."));
        }
        warn(
            nameless > 0,
            format!("definitions without a name that a function can have, which get no token: {nameless}."),
        );
        warn(unreadable > 0, format!("SWML in strings that can't be read, which the gateway refuses: {unreadable}."));
        warnings
    }

    fn warn_of_tokens(&self, warn: &mut impl FnMut(bool, String)) {
        let without = names(self.inventory.without_token());
        let any =
            self.inventory.functions.iter().any(|function| matches!(function.way, Way::Agent { token: Some(_), .. }));
        match without {
            Some(_) if !any => warn(true, "the agent mints no tokens. The gateway gives every function one.".into()),
            Some(names) => {
                warn(true, format!("the agent mints no token for {names}. The gateway gives every function one."))
            }
            None => {}
        }
    }

    fn upstream(&self, out: &mut String) {
        let upstream = &self.agent.upstream;
        let scheme = if upstream.https { "https" } else { "http" };
        out.push_str(&format!("\n# Where the agent is.\nupstream:\n  url: {scheme}://{}\n", upstream.host_header()));
        if upstream.credentials.is_some() {
            out.push_str(
                "  # What the agent itself asks for is in these variables. Agents with other passwords need others.\n",
            );
            out.push_str(&format!("  username_env: {AGENT_USER}\n  password_env: {AGENT_PASSWORD}\n"));
        } else {
            out.push_str(&format!("  # username_env: {AGENT_USER}\n  # password_env: {AGENT_PASSWORD}\n"));
        }
        let aliases: Vec<_> = self.inventory.origins_of(Whose::Alias).take(MAX_ALIASES).collect();
        if aliases.is_empty() {
            return;
        }
        out.push_str("  # Other origins under which the agent writes its own URLs. Remove one that is not the agent's.\n  aliases:\n");
        for (origin, seen) in aliases {
            let uses = names(seen.uses.iter().map(String::as_str)).unwrap_or_default();
            out.push_str(&format!("    - {origin} # {uses}\n"));
        }
    }

    fn functions(&self, out: &mut String) {
        let functions = &self.inventory.functions;
        if functions.is_empty() {
            out.push_str("\n# The document names no function.\n");
            return;
        }
        out.push_str(
            "\n# The functions in the document, with the parameters that the agent publishes. Rules for single\n",
        );
        out.push_str("# ones are written under `functions`.\n");
        functions.iter().for_each(|function| describe(function, out));
    }

    fn elsewhere(&self, out: &mut String) {
        let mut foreign = self.inventory.origins_of(Whose::Foreign).peekable();
        if foreign.peek().is_some() {
            out.push_str("\n# Origins that are not the agent's. If one is, list it under `upstream.aliases`.\n");
        }
        for (origin, seen) in foreign {
            let uses = names(seen.uses.iter().map(String::as_str)).unwrap_or_default();
            out.push_str(&format!("#   {origin}: {uses}\n"));
        }
        if !self.inventory.verbs.is_empty() {
            out.push_str("\n# Verbs that take a call, or what is said in it, elsewhere.\n");
        }
        for verb in &self.inventory.verbs {
            let why = WATCHED_VERBS.iter().find(|(name, _)| name == verb).map_or("", |(_, why)| why);
            out.push_str(&format!("#   {verb}: {why}\n"));
        }
    }
}

/// A sentence as lines of a comment.
fn comment(sentence: &str) -> String {
    const WIDTH: usize = 110;
    let mut lines = String::from("#");
    let mut width = 1;
    for word in sentence.split(' ') {
        if width + word.len() > WIDTH {
            lines.push_str("\n#  ");
            width = 3;
        }
        lines.push(' ');
        lines.push_str(word);
        width += word.len() + 1;
    }
    lines.push('\n');
    lines
}

/// A path, which is visible ASCII, as YAML.
fn path(path: &str) -> String {
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'.'));
    match path {
        "" => "/".to_owned(),
        _ if is_plain => path.to_owned(),
        _ => quote(path),
    }
}

fn describe(function: &Function, out: &mut String) {
    let Function { name, way, parameters } = function;
    let how = match way {
        Way::Agent { token: Some(_), .. } => "passes through the gateway; the agent mints a token for it too",
        Way::Agent { token: None, .. } => "passes through the gateway",
        Way::Around(Bypass::DataMap) => "doesn't pass through the gateway: the platform runs it by itself (data_map)",
        Way::Around(Bypass::External) => "doesn't pass through the gateway: its URL is not the agent's",
        Way::Around(Bypass::Templated) => {
            "doesn't pass through the gateway: the platform makes its URL from a template"
        }
        Way::Around(Bypass::Protocol | Bypass::NoToken | Bypass::Cut | Bypass::Unenforced) => {
            "doesn't pass through the gateway"
        }
        Way::Nowhere => "has no URL, and is not called",
    };
    out.push_str(&format!("#\n#   {}: # {how}\n", schema::scalar(name)));
    match parameters.as_slice() {
        [] => out.push_str("#     # no parameters are published\n"),
        lines => {
            out.push_str("#     parameters:\n");
            lines.iter().for_each(|line| out.push_str(&format!("#       {line}\n")));
        }
    }
}

/// `a, b and 3 more`; `None` for no names.
fn names<'n>(mut names: impl Iterator<Item = &'n str>) -> Option<String> {
    let first: Vec<String> = names.by_ref().take(MAX_NAMES).map(|name| printable(name, 80)).collect();
    let more = names.count();
    match (first.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(first.join(", ")),
        (false, _) => Some(format!("{} and {more} more", first.join(", "))),
    }
}
