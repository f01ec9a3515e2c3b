//! Whose URL is this? Looked up over all agents: a transfer to another protected agent is minted for that agent.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Agent, PublicUrl, Upstream, below, servers};
use crate::origin::Authority;

/// The public path segment, below an agent's own, that stands for the agent's root: an agent may own a URL outside of
/// the path it lives under (a file, say), which still needs an address at the gateway.
pub(super) const ROOT_SEGMENT: &str = "/.root";

/// A URL that belongs to a protected agent.
#[derive(Debug, Clone)]
pub struct Owned {
    /// Whose it is.
    pub agent: Arc<Agent>,
    /// Its path at the gateway.
    pub public_path: String,
    /// Its path on the agent, as written (`/` where the URL has none).
    pub upstream_path: String,
}

#[derive(Debug)]
pub(super) struct Owners {
    /// Who listens at a host and port, by index.
    upstreams: HashMap<(String, u16), Vec<usize>>,
    /// Who listens at a port of a loopback name.
    loopback: HashMap<u16, Vec<usize>>,
    /// The public host, and those of agents that answer for one only.
    public_hosts: Vec<String>,
    public_ports: Vec<u16>,
}

// === impl Owners ===

impl Owners {
    pub(super) fn new(public: &PublicUrl, agents: &[Arc<Agent>]) -> Self {
        let mut upstreams: HashMap<(String, u16), Vec<usize>> = HashMap::new();
        let mut loopback: HashMap<u16, Vec<usize>> = HashMap::new();
        for (index, agent) in agents.iter().enumerate() {
            for authority in authorities(agent) {
                for port in authority.ports() {
                    upstreams.entry((authority.host.clone(), port)).or_default().push(index);
                }
            }
            for port in places(agent).map(|(_, port)| port).collect::<HashSet<_>>() {
                loopback.entry(port).or_default().push(index);
            }
        }
        let hosts = agents.iter().filter_map(|agent| agent.host.clone());
        let public_hosts = std::iter::once(public.authority.host.clone()).chain(hosts).collect();
        Self { upstreams, loopback, public_hosts, public_ports: public.authority.ports().collect() }
    }

    pub(super) fn find(
        &self,
        agents: &[Arc<Agent>],
        authority: &Authority,
        path: &str,
        writer: &Agent,
    ) -> Option<Owned> {
        let path = if path.is_empty() { "/" } else { path };
        self.at_public(agents, authority, path).or_else(|| self.at_upstream(agents, authority, path, writer))
    }

    /// Whether this is the gateway's own, whatever the path.
    pub(super) fn is_public(&self, authority: &Authority) -> bool {
        let is_host = self.public_hosts.contains(&authority.host);
        is_host && authority.ports().any(|port| self.public_ports.contains(&port))
    }

    fn at_public(&self, agents: &[Arc<Agent>], authority: &Authority, path: &str) -> Option<Owned> {
        if !self.is_public(authority) {
            return None;
        }
        let agents: Vec<_> = answering(agents, Some(&authority.host)).collect();
        // An agent that was told its public base may still write its own path behind it.
        longest(agents.iter().copied(), path, |agent| &agent.path)
            .map(|(agent, rest)| owned(agent, path.to_owned(), upstream_path(agent, rest)))
            .or_else(|| {
                longest(agents.iter().copied(), path, |agent| &agent.upstream.path)
                    .map(|(agent, rest)| owned(agent, format!("{}{rest}", agent.path), path.to_owned()))
            })
    }

    fn at_upstream(&self, agents: &[Arc<Agent>], authority: &Authority, path: &str, writer: &Agent) -> Option<Owned> {
        let listed = |port| self.upstreams.get(&(authority.host.clone(), port));
        let local = |port| authority.is_loopback().then(|| self.loopback.get(&port)).flatten();
        let here: Vec<&Arc<Agent>> = authority
            .ports()
            .flat_map(|port| listed(port).into_iter().chain(local(port)))
            .flatten()
            .filter_map(|&index| agents.get(index))
            .collect();
        // A loopback name is the writer's own machine, whoever else has the same port on another one.
        let is_beside = |host: &str| places(writer).any(|(own, _)| own == host);
        let neighbours = |agent: &&Arc<Agent>| places(agent).any(|(host, _)| is_beside(host));
        let knows_place = authority.is_loopback() && here.iter().any(|agent| agent.name == writer.name);
        let here: Vec<_> = here.into_iter().filter(|agent| !knows_place || neighbours(agent)).collect();
        // Where several policies are for one place, the writer's own comes first.
        let own = here.iter().filter(|agent| agent.name == writer.name);
        let ordered: Vec<_> = own.chain(here.iter().filter(|agent| agent.name != writer.name)).copied().collect();
        if let Some((agent, rest)) = longest(ordered.iter().copied(), path, |agent| &agent.upstream.path) {
            let public_path = format!("{}{rest}", agent.path);
            if longest(answering(agents, agent.host.as_ref().or(self.public_hosts.first())), &public_path, |agent| {
                &agent.path
            })
            .is_some_and(|(other, _)| other.name == agent.name)
            {
                return Some(owned(agent, public_path, path.to_owned()));
            }
            // Another agent lives there at the gateway.
            return Some(owned(agent, format!("{}{ROOT_SEGMENT}{path}", agent.path), path.to_owned()));
        }
        let agent = ordered.first()?;
        Some(owned(agent, format!("{}{ROOT_SEGMENT}{path}", agent.path), path.to_owned()))
    }
}

/// The agent's path for what follows its public path.
pub(crate) fn upstream_path(agent: &Agent, rest: &str) -> String {
    match rest.strip_prefix(ROOT_SEGMENT) {
        Some(from_root) if from_root.starts_with('/') => from_root.to_owned(),
        _ => {
            let path = format!("{}{rest}", agent.upstream.path);
            if path.is_empty() { "/".to_owned() } else { path }
        }
    }
}

fn owned(agent: &Arc<Agent>, public_path: String, upstream_path: String) -> Owned {
    Owned { agent: Arc::clone(agent), public_path, upstream_path }
}

/// Where an agent says that it is, and where its servers are.
fn places(agent: &Agent) -> impl Iterator<Item = (&str, u16)> {
    let Upstream { host, port, servers, .. } = &agent.upstream;
    let servers = servers.iter().map(|server| (server.host.as_str(), server.port));
    std::iter::once((host.as_str(), *port)).chain(servers)
}

fn authorities(agent: &Agent) -> impl Iterator<Item = Authority> {
    let default = if agent.upstream.https { 443 } else { 80 };
    let own = places(agent).map(move |(host, port)| {
        let host = servers::bracketed(host);
        Authority { host, port: (port != default).then_some(port) }
    });
    own.collect::<HashSet<_>>().into_iter().chain(agent.upstream.aliases.iter().cloned())
}

/// The agents that answer under a host, those that do under no other first; without one, those that answer under any.
fn answering<'a>(agents: &'a [Arc<Agent>], host: Option<&'a String>) -> impl Iterator<Item = &'a Arc<Agent>> {
    let own = agents.iter().filter(move |agent| agent.host.is_some() && agent.host.as_ref() == host);
    own.chain(agents.iter().filter(|agent| agent.host.is_none()))
}

/// The agent with the longest base that a path lies below, and the rest of the path.
fn longest<'a, 'p>(
    agents: impl Iterator<Item = &'a Arc<Agent>>,
    path: &'p str,
    base: impl Fn(&Agent) -> &String,
) -> Option<(&'a Arc<Agent>, &'p str)> {
    agents.filter_map(|agent| below(base(agent), path).map(|rest| (agent, rest))).min_by_key(|(_, rest)| rest.len())
}
