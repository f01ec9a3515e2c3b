//! Every URL of a protected agent becomes one of the gateway's, with a token of its own; what the policy doesn't allow is
//! cut, or refuses the whole; what it adds is added. The rest stays as it is, byte for byte.

mod cut;
mod destinations;
mod egress;
mod endpoint;
mod functions;
mod lineage;
mod prompts;
mod prose;
mod rules;
mod verbs;

use std::{borrow::Cow, collections::HashMap};

use cut::Cut;
use endpoint::Endpoint;
pub(crate) use lineage::{Lineage, seconds};
use prose::{candidates, common_suffix, scheme_before};

use rules::{Done, Ruled};

use super::Permit;
use crate::{
    id::AgentName,
    json::{self, Edits, Member, Node, quote},
    keys::Key,
    origin::{self, HttpUrl, UrlError},
    policy::{Agent, Owned, Policies, UrlCredentials},
    record::{Bypass, Facts, Medium, Unmediated},
    route,
    swml::{self, FunctionPlace, Place, Survey, UrlPlace, WEB_HOOK_CREDENTIALS},
    token::{self, Binding, CALL_USER, Claims, Kind, PARAMETER, UnverifiedToken},
    verdict::{Reason, Route},
};

/// How deep documents may lie in strings of documents.
const MAX_EMBEDDING: usize = 4;

/// Mints the URLs of one document, and holds it to its writer's policy.
pub(crate) struct Minter<'p> {
    policies: &'p Policies,
    writer: &'p Agent,
    key: &'p Key,
    lineage: Lineage,
    passwords: HashMap<(AgentName, Kind), String>,
    unmediated: Vec<Unmediated>,
    /// What of [`Self::unmediated`] is known by each name.
    noted: HashMap<String, Vec<Bypass>>,
    has_several_sessions: bool,
    /// Whether the platform acts on it, beyond its URLs: what answers a callback is data.
    is_acted_on: bool,
    /// Whether it is a document, and not the answer to something within a call.
    is_document: bool,
    /// Whether the caller is on the phone.
    is_for_voice: bool,
    /// Whether the document answers the call somewhere, and whether an AI talks somewhere.
    answers: bool,
    talks: bool,
    /// How many bytes the policy has added to prompts.
    added: usize,
    facts: &'p mut Facts,
}

// === impl Minter ===

impl<'p> Minter<'p> {
    /// For what the permit's agent answered. `None` if the lineage's key is no longer listed.
    pub(crate) fn new(
        policies: &'p Policies,
        permit: &'p Permit,
        lineage: Lineage,
        facts: &'p mut Facts,
    ) -> Option<Self> {
        let key = policies.keys().find(lineage.key)?;
        Some(Self {
            policies,
            writer: &permit.agent,
            key,
            lineage,
            passwords: HashMap::new(),
            unmediated: Vec::new(),
            noted: HashMap::new(),
            has_several_sessions: false,
            is_acted_on: matches!(permit.route, Route::Swml | Route::Swaig | Route::Includes),
            is_document: permit.route == Route::Swml,
            is_for_voice: permit.medium == Medium::Voice,
            answers: false,
            talks: false,
            added: 0,
            facts,
        })
    }

    /// The text with every owned URL minted; `None` if there is nothing to change.
    ///
    /// # Errors
    /// The [`Reason`] why it must not leave.
    pub(crate) fn rewrite(&mut self, text: &str, root: &Node<'_>) -> Result<Option<String>, Reason> {
        self.rewrite_within(text, root, 0)
    }

    /// What was found that does not pass through the gateway.
    pub(crate) fn into_unmediated(self) -> Vec<Unmediated> {
        self.unmediated
    }

    fn rewrite_within(&mut self, text: &str, root: &Node<'_>, depth: usize) -> Result<Option<String>, Reason> {
        let survey = swml::survey(root);
        let ruled = self.rules(root, &survey)?;
        if ruled.cut.is_all() {
            return Ok(Some("[]".to_owned()));
        }
        let Ruled { mut cut, mut edits, done, .. } = ruled;
        self.has_several_sessions |= survey.sessions > 1;
        self.texts(text, survey, depth, (&mut cut, &mut edits, &done))?;
        if depth == 0 && self.is_document {
            self.answer_first(root, &cut, &mut edits);
        }
        cut.apply(&mut edits);
        if edits.is_empty() {
            return Ok(None);
        }
        edits.apply(text).map(Some).map_err(|_| Reason::Internal)
    }

    /// Mints and cleans what remains, and notes what doesn't pass through the gateway.
    fn texts<'d>(
        &mut self,
        text: &str,
        survey: Survey<'d>,
        depth: usize,
        (cut, edits, done): (&mut Cut<'d>, &mut Edits, &Done),
    ) -> Result<(), Reason> {
        let Survey { urls, embedded, prose, keys, definitions, templated, .. } = survey;
        for definition in definitions.iter().filter(|it| it.has_data_map && !cut.covers(it.node)) {
            self.note(definition.name, Bypass::DataMap);
        }
        for place in &urls {
            if !place.node().is_some_and(|node| cut.covers(node) || done.has(node)) {
                self.place(place, edits, cut)?;
            }
        }
        for node in embedded.into_iter().filter(|node| !cut.covers(node)) {
            self.embedded(node, depth, edits)?;
        }
        for (node, what) in prose.into_iter().filter(|(node, _)| !cut.covers(node) && !done.has(node)) {
            let other = prose::other_protocols(node.as_str().unwrap_or_default(), |text| self.owned_authority(text))?;
            if !other.is_empty() {
                self.note(what, Bypass::Protocol);
            }
            self.clean(node, edits)?;
        }
        for (object, member) in keys.into_iter().filter(|(_, member)| !cut.covers(&member.node)) {
            self.clean_key(text, object, member, edits)?;
        }
        for (_, what) in templated.into_iter().filter(|(node, _)| !cut.covers(node)) {
            self.note(what, Bypass::Templated);
        }
        Ok(())
    }

    fn place<'d>(&mut self, place: &UrlPlace<'d>, edits: &mut Edits, cut: &mut Cut<'d>) -> Result<(), Reason> {
        let what = place.what;
        let (url, owned) = match self.owned(place)? {
            Found::Owned(url, owned) => (url, owned),
            Found::Foreign(bypass) => {
                // Files and the rest of the world's URLs are no way around the gateway.
                if place.kind != Kind::Asset && !matches!(place.place, Place::Default(_)) {
                    self.note(what, bypass);
                }
                return place.place.text().map_or(Ok(()), |node| self.clean(node, edits));
            }
        };
        if let Place::Default(defaults) = place.place {
            edits.remove_members(defaults, |key| key == "web_hook_url" || WEB_HOOK_CREDENTIALS.contains(&key));
            return Ok(());
        }
        let endpoint = Endpoint::of(&owned);
        if endpoint == Endpoint::Forbidden || is_open(&owned, place.kind) {
            // A call can live without these functions; what else leads around the gateway is no oversight.
            let Place::McpServer(_, list, number) = place.place else { return Err(Reason::UrlForbidden) };
            self.note(what, Bypass::Cut);
            cut.add_item(list, number);
            return Ok(());
        }
        let is_template = swml::is_template(&owned.upstream_path) || url.query().is_some_and(swml::is_template);
        if is_template {
            self.note(what, Bypass::Templated);
        }
        let is_suited = endpoint.suits(place);
        if !is_suited && !is_template {
            self.note(what, Bypass::NoToken);
        }
        let minted = if is_template || !is_suited {
            self.clean_prose(url.text())?.unwrap_or_else(|| url.text().to_owned())
        } else {
            self.mint(&url, &owned, place)
        };
        put(place, &minted, self.metadata_token(&url, &owned), edits);
        Ok(())
    }

    fn owned<'u>(&self, place: &UrlPlace<'u>) -> Result<Found<'u>, Reason> {
        match &place.url {
            Ok(url) => match self.policies.owner(url.authority(), url.path(), self.writer) {
                Some(owned) => Ok(Found::Owned(url.clone(), owned)),
                None => Ok(Found::Foreign(Bypass::External)),
            },
            Err(UrlError::Invalid(text)) if swml::is_template(text) => Ok(Found::Foreign(Bypass::Templated)),
            Err(UrlError::Invalid(_)) => Ok(Found::Foreign(Bypass::External)),
            Err(UrlError::Ambiguous(text)) => {
                // Text that begins with a URL is cleaned like other text.
                let is_prose =
                    place.kind == Kind::Asset && text.contains(' ') && !text.contains(['\\', '\t', '\n', '\r']);
                if !is_prose && self.may_own(text) {
                    Err(Reason::UrlAmbiguous)
                } else {
                    Ok(Found::Foreign(Bypass::External))
                }
            }
        }
    }

    /// A SWML document in a string is a document like any other.
    fn embedded(&mut self, node: &Node<'_>, depth: usize, edits: &mut Edits) -> Result<(), Reason> {
        let inner = node.as_str().unwrap_or_default();
        if depth == MAX_EMBEDDING {
            return Err(Reason::AgentNotJson);
        }
        let text = swml::as_json(inner).map_err(|_| Reason::AgentNotJson)?;
        let root = json::parse(text.as_bytes()).map_err(|_| Reason::AgentNotJson)?;
        let rewritten = self.rewrite_within(&text, &root, depth + 1)?;
        let was_yaml = matches!(text, Cow::Owned(_)).then_some(&*text);
        if let Some(leaves) = rewritten.as_deref().or(was_yaml) {
            edits.replace(node.span.clone(), quote(leaves));
        }
        Ok(())
    }

    /// Whether a client could read a protected agent's address in this.
    fn may_own(&self, text: &str) -> bool {
        origin::lenient_authorities(text).any(|authority| self.policies.owner(&authority, "/", self.writer).is_some())
    }

    /// The gateway's host and port in place of a protected agent's; `None` for others'.
    fn owned_authority(&self, text: &str) -> Result<Option<String>, Reason> {
        let url = format!("http://{text}");
        match origin::parse(&url) {
            Some(Ok(parsed)) => {
                let owned = self.policies.owner(parsed.authority(), "/", self.writer);
                Ok(owned.map(|owned| self.policies.origin_of(&owned.agent).authority.to_string()))
            }
            Some(Err(UrlError::Ambiguous(url))) if self.may_own(url) => Err(Reason::UrlAmbiguous),
            Some(Err(UrlError::Ambiguous(_) | UrlError::Invalid(_))) | None => Ok(None),
        }
    }

    /// Cleans a key that mentions URLs. It must not become another's.
    fn clean_key(&self, text: &str, object: &Node<'_>, member: &Member<'_>, edits: &mut Edits) -> Result<(), Reason> {
        match self.clean_prose(&member.key)? {
            Some(clean) if object.get(&clean).is_some() => Err(Reason::UrlAmbiguous),
            Some(clean) => {
                edits.rename(text, member, &clean);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Cleans a string that mentions URLs.
    fn clean(&self, node: &Node<'_>, edits: &mut Edits) -> Result<(), Reason> {
        if let Some(clean) = self.clean_prose(node.as_str().unwrap_or_default())? {
            edits.replace(node.span.clone(), quote(&clean));
        }
        Ok(())
    }

    /// The text with the gateway's address, without credentials and without a token, in place of that of each URL of a
    /// protected agent, also within another URL. `None` if it mentions none.
    fn clean_prose(&self, text: &str) -> Result<Option<String>, Reason> {
        let mut edits = Edits::default();
        let mut done = 0;
        for (at, _) in text.match_indices("://") {
            let Some(start) = scheme_before(text, at).filter(|start| *start >= done) else { continue };
            let Some((length, clean)) = self.clean_start(text.get(start..).unwrap_or_default())? else { continue };
            done = start + length;
            edits.replace(start..done, clean);
        }
        for (place, authority) in prose::other_protocols(text, |text| self.owned_authority(text))? {
            if place.start >= done {
                edits.replace(place, authority);
            }
        }
        if edits.is_empty() {
            return Ok(None);
        }
        edits.apply(text).map(Some).map_err(|_| Reason::Internal)
    }

    /// For a text that starts as a URL: how much of it is replaced, and with what. That is scheme, userinfo, host, and
    /// so much of the path as is another at the gateway; what follows is looked through as well.
    fn clean_start(&self, text: &str) -> Result<Option<(usize, String)>, Reason> {
        for url in candidates(text) {
            match origin::parse(url) {
                Some(Ok(parsed)) => {
                    let (authority, path) = (parsed.authority(), parsed.path());
                    let Some(owned) = self.policies.owner(authority, path, self.writer) else {
                        // What opens the gateway doesn't leave, also where nobody is behind it.
                        if parsed.has_userinfo() && self.policies.is_public(authority) {
                            let scheme = if parsed.is_https() { "https" } else { "http" };
                            return Ok(Some((parsed.path_end() - path.len(), format!("{scheme}://{authority}"))));
                        }
                        continue;
                    };
                    let kept = common_suffix(path, &owned.public_path);
                    let front = owned.public_path.get(..owned.public_path.len() - kept).unwrap_or_default();
                    return Ok(Some((
                        parsed.path_end() - kept,
                        format!("{}{front}", self.policies.origin_of(&owned.agent).origin()),
                    )));
                }
                Some(Err(UrlError::Ambiguous(url))) if self.may_own(url) => return Err(Reason::UrlAmbiguous),
                Some(Err(UrlError::Ambiguous(_) | UrlError::Invalid(_))) | None => {}
            }
        }
        Ok(None)
    }

    fn mint(&mut self, url: &HttpUrl<'_>, owned: &Owned, place: &UrlPlace<'_>) -> String {
        let query = url.query().and_then(own_query);
        if let Place::OfFunction(function) = &place.place
            && let Some(parameters) = swml::parameters(function.definition)
        {
            self.policies.schemas().learn(place.schema, || parameters.canonical());
        }
        let claims = self.lineage.claims(place.kind, place.schema);
        let claims = Claims { is_one_of_several: self.has_several_sessions && place.kind.ends_a_session(), ..claims };
        let binding = Binding {
            agent: &owned.agent.name,
            function: place.function,
            path: &owned.upstream_path,
            query: query.as_deref(),
        };
        let token = token::mint(self.key, &claims, &binding);
        let userinfo = self.userinfo(owned, &claims);
        let origin = self.policies.origin_of(&owned.agent).with_userinfo(&userinfo);
        let separator = if query.as_deref().is_some_and(|query| !query.is_empty()) { "&" } else { "" };
        let query = query.unwrap_or_default();
        format!("{origin}{}?{query}{separator}{PARAMETER}={token}{}", owned.public_path, url.fragment())
    }

    fn userinfo(&mut self, owned: &Owned, claims: &Claims) -> String {
        match &owned.agent.platform.url_credentials {
            UrlCredentials::PerCall => {
                let key = self.key;
                let password = self
                    .passwords
                    .entry((owned.agent.name.clone(), claims.kind))
                    .or_insert_with(|| token::mint_password(key, claims, &owned.agent.name));
                format!("{CALL_USER}:{password}")
            }
            UrlCredentials::Static(userinfo) => userinfo.expose_str().unwrap_or_default().to_owned(),
        }
    }

    fn metadata_token(&self, url: &HttpUrl<'_>, owned: &Owned) -> String {
        let path = owned.upstream_path.as_str();
        let query = url.query().and_then(own_query);
        let binding = Binding { agent: &owned.agent.name, function: "", path, query: query.as_deref() };
        token::metadata_token(self.key, &binding)
    }

    fn note(&mut self, what: &str, how: Bypass) {
        let noted = self.noted.entry(what.to_owned()).or_default();
        // That the platform runs a function by itself says all there is to say of it.
        if !noted.contains(&how) && !noted.contains(&Bypass::DataMap) {
            noted.push(how);
            self.unmediated.push(Unmediated { what: what.to_owned(), how });
        }
    }
}

enum Found<'u> {
    Owned(HttpUrl<'u>, Owned),
    Foreign(Bypass),
}

/// Writes a minted URL where it belongs, and takes away credentials that stand beside it: they are the agent's.
fn put(place: &UrlPlace<'_>, minted: &str, metadata_token: String, edits: &mut Edits) {
    match &place.place {
        Place::Here(node) | Place::McpServer(node, ..) => edits.replace(node.span.clone(), quote(minted)),
        Place::WithCredentials(node, object, keys) => {
            edits.replace(node.span.clone(), quote(minted));
            edits.remove_members(object, |key| keys.contains(&key));
        }
        Place::OfFunction(FunctionPlace { definition, own, has_metadata_token, credentials }) => {
            match own {
                Some(node) => edits.replace(node.span.clone(), quote(minted)),
                None => edits.insert_member(definition, "web_hook_url", &quote(minted)),
            }
            if !has_metadata_token {
                edits.insert_member(definition, "meta_data_token", &quote(&metadata_token));
            }
            for object in std::iter::once(*definition).chain(*credentials) {
                edits.remove_members(object, |key| WEB_HOOK_CREDENTIALS.contains(&key));
            }
        }
        Place::Default(_) => {}
    }
}

/// Behind an exposed path a token would mean nothing: Basic authentication alone opens it.
fn is_open(owned: &Owned, kind: Kind) -> bool {
    let below = owned.agent.strip_path(&owned.public_path);
    kind != Kind::Asset && below.is_some_and(|below| owned.agent.expose.has(below))
}

/// The agent's own part of a query that may hold the token of an earlier gateway.
fn own_query(query: &str) -> Option<String> {
    let mut earlier = Vec::new();
    let rest = route::take_tokens(query, &mut earlier);
    match earlier.first().map(|token| UnverifiedToken::decode(token)) {
        Some(Ok(token)) => token.restore_query(rest.as_deref()).map(str::to_owned),
        Some(Err(_)) | None => rest,
    }
}
