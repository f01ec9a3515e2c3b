//! A document, gone through once for its operator.

use std::ptr;

use super::{Function, Inventory, Origin, WATCHED_VERBS, Way, Whose, schema};
use crate::{
    json::{self, Node, Value},
    origin::{HttpUrl, UrlError},
    policy::{Agent, Policies, PublicUrl},
    record::Bypass,
    sanitize::printable,
    swml::{self, Place, Survey, UrlPlace},
    token::{Kind, PARAMETER},
};

/// How deep documents may lie in strings of documents.
const MAX_EMBEDDING: usize = 4;

/// How many functions, origins, and uses of one origin are kept.
const MAX_KEPT: usize = 200;

/// The parameters in which SDKs carry a token, and the gateway's own (PROTOCOL.md, 2.2).
const TOKENS: [&str; 3] = ["__token", "token", PARAMETER];

pub(super) fn take_stock(text: &str, root: &Node<'_>, policies: &Policies) -> Inventory {
    let mut found = Inventory { shows_credentials: policies.leak(text), ..Inventory::default() };
    if let Some(agent) = policies.agents().first() {
        Stock { policies, agent, found: &mut found }.document(root, 0);
    }
    found
}

struct Stock<'s> {
    policies: &'s Policies,
    agent: &'s Agent,
    found: &'s mut Inventory,
}

impl Stock<'_> {
    fn document(&mut self, root: &Node<'_>, depth: usize) {
        let survey = swml::survey(root);
        survey.urls.iter().for_each(|place| self.url(place));
        survey.definitions.iter().for_each(|definition| self.function(definition.node, &survey));
        self.words(root);
        for inner in survey.embedded.iter().filter_map(|node| node.as_str()) {
            let text = swml::as_json(inner).unwrap_or_default();
            match json::parse(text.as_bytes()) {
                Ok(root) if depth < MAX_EMBEDDING => self.document(&root, depth + 1),
                Ok(_) | Err(_) => self.found.unreadable += 1,
            }
        }
    }

    fn url(&mut self, place: &UrlPlace<'_>) {
        let Ok(url) = &place.url else { return };
        let whose = self.whose(url, place.kind);
        let origin = origin_of(url);
        if whose != Whose::Foreign && !url.is_https() && !url.authority().is_loopback() {
            self.found.plain_http.insert(origin.clone());
        }
        let origins = &mut self.found.origins;
        if origins.len() < MAX_KEPT || origins.contains_key(&origin) {
            let entry = origins.entry(origin).or_insert(Origin { whose, uses: Default::default() });
            // One URL of the agent's at an origin is enough to make it the agent's.
            if entry.whose == Whose::Foreign {
                entry.whose = whose;
            }
            if entry.uses.len() < MAX_KEPT && !self.policies.leak(place.what) {
                entry.uses.insert(printable(place.what, 64));
            }
        }
    }

    fn whose(&self, url: &HttpUrl<'_>, kind: Kind) -> Whose {
        if self.policies.owner(url.authority(), url.path(), self.agent).is_some() {
            return Whose::Own;
        }
        // What a policy can't list as an alias is nobody's.
        let can_be_listed = origin_of(url).parse::<PublicUrl>().is_ok();
        // Several agents may have one password, so it alone doesn't tell.
        let below = url.path().strip_prefix(&self.agent.upstream.path);
        let is_below = below.is_some_and(|below| below.is_empty() || below.starts_with('/'));
        let has_credentials = url.has_userinfo() && self.policies.leak(url.text());
        if can_be_listed && is_below && (has_credentials || self.is_endpoint(url, kind)) {
            Whose::Alias
        } else {
            Whose::Foreign
        }
    }

    /// Whether this is where the SDKs have the endpoint for such URLs, below the agent's own path (PROTOCOL.md, 1).
    fn is_endpoint(&self, url: &HttpUrl<'_>, kind: Kind) -> bool {
        let Some(below) = url.path().strip_prefix(&self.agent.upstream.path) else { return false };
        let expected = match kind {
            Kind::Tool | Kind::Hook => "/swaig",
            Kind::Summary => "/post_prompt",
            Kind::Debug => "/debug_events",
            Kind::Includes | Kind::Swml | Kind::Callback | Kind::Asset => return false,
        };
        below.strip_suffix('/').unwrap_or(below) == expected
    }

    fn function(&mut self, definition: &Node<'_>, survey: &Survey<'_>) {
        let name = swml::function_name(definition);
        if name.is_empty() {
            self.found.nameless += 1;
            return;
        }
        let functions = &self.found.functions;
        if functions.len() >= MAX_KEPT || functions.iter().any(|known| known.name == name) {
            return;
        }
        let way = self.way(definition, name, survey);
        let mut parameters = swml::parameters(definition).map(schema::yaml).unwrap_or_default();
        if parameters.iter().any(|line| self.policies.leak(line)) {
            parameters = vec!["# … left out: they hold the agent's own credentials".to_owned()];
        }
        self.found.functions.push(Function { name: name.to_owned(), way, parameters });
    }

    fn way(&self, definition: &Node<'_>, name: &str, survey: &Survey<'_>) -> Way {
        if definition.get("data_map").is_some() {
            return Way::Around(Bypass::DataMap);
        }
        let is_its = |place: &&UrlPlace<'_>| match &place.place {
            Place::OfFunction(function) => ptr::eq(function.definition, definition),
            Place::Here(_) | Place::WithCredentials(..) | Place::Default(_) | Place::McpServer(..) => false,
        };
        match survey.urls.iter().find(is_its).map(|place| (&place.url, place.kind)) {
            Some((Ok(url), kind)) if self.whose(url, kind) != Whose::Foreign => {
                let query = url.query().unwrap_or_default();
                Way::Agent { target: format!("{}?{query}", url.path()), token: token_in(query) }
            }
            Some((Err(UrlError::Invalid(text)), _)) if swml::is_template(text) => Way::Around(Bypass::Templated),
            Some((Ok(_) | Err(_), _)) => Way::Around(Bypass::External),
            None if survey.templated.iter().any(|(_, known)| *known == name) => Way::Around(Bypass::Templated),
            None => Way::Nowhere,
        }
    }

    /// Verbs and keys that say more than the URLs below them.
    fn words(&mut self, node: &Node<'_>) {
        let verb = |name: &str| WATCHED_VERBS.iter().find(|(verb, _)| *verb == name).map(|(verb, _)| *verb);
        for item in node.items() {
            let name = item.as_str().or_else(|| item.members().first().map(|member| member.key.as_ref()));
            self.found.verbs.extend(name.filter(|_| item.members().len() < 2).and_then(verb));
            self.words(item);
        }
        for member in node.members() {
            let names_some = !member.node.items().is_empty();
            match member.key.as_ref() {
                "mcp_servers" => self.found.mcp_servers |= names_some,
                "includes" => self.found.includes |= names_some,
                _ => {}
            }
            match member.node.value {
                Value::Array(_) | Value::Object(_) => self.words(&member.node),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
    }
}

/// `https://host:port` of a URL; a port that is the scheme's default is left out.
fn origin_of(url: &HttpUrl<'_>) -> String {
    let mut authority = url.authority().clone();
    let default = if url.is_https() { 443 } else { 80 };
    authority.port = authority.port.filter(|port| *port != default);
    printable(&PublicUrl { https: url.is_https(), authority }.origin(), 300)
}

fn token_in(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(name, value)| TOKENS.contains(&name.as_ref()) && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}
