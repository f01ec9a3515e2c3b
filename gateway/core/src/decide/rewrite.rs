//! Every URL of a protected agent becomes one of the gateway's, with a token of its own; the rest stays as it is, byte
//! for byte.

use std::collections::HashMap;

use crate::{
    call::Caller,
    id::{AgentName, CallDigest, CallerDigest, DocumentId},
    json::{self, Edits, Node, quote},
    keys::{Key, KeyTag},
    origin::{self, HttpUrl, UrlError},
    policy::{Agent, Owned, Policies, UrlCredentials, unescape},
    record::{Bypass, Unmediated},
    route,
    swml::{self, FunctionPlace, Place, Survey, UrlPlace, WEB_HOOK_CREDENTIALS},
    time::Timestamp,
    token::{self, Binding, CALL_USER, Claims, Kind, PARAMETER, UnverifiedToken, VerifiedToken},
    verdict::Reason,
};

/// How deep documents may lie in strings of documents.
const MAX_EMBEDDING: usize = 4;

/// Endpoints that no document may give access to: they answer without the checks that tools have (PROTOCOL.md, 1).
const FORBIDDEN: [&str; 3] = ["mcp", "debug", "check_for_input"];

/// What the tokens of a document inherit: the call, the caller, and how long they live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lineage {
    key: KeyTag,
    document: DocumentId,
    call: Option<CallDigest>,
    pub(crate) caller: Option<CallerDigest>,
    issued: u32,
    /// When tools, assets and more SWML end.
    expiry: u32,
    /// When hooks and callbacks end, which come after the call.
    callback_expiry: u32,
}

/// Mints the URLs of one document.
pub(crate) struct Minter<'p> {
    policies: &'p Policies,
    writer: &'p Agent,
    key: &'p Key,
    lineage: Lineage,
    passwords: HashMap<(AgentName, Kind), String>,
    unmediated: Vec<Unmediated>,
}

// === impl Lineage ===

impl Lineage {
    /// Of a document that is fetched: by a call that begins and whose tokens live until `fresh`, or by one that has a
    /// token already and inherits its time.
    pub(crate) fn of_fetch(
        key: &Key,
        document: DocumentId,
        (now, fresh): (Timestamp, u32),
        (call_id, caller): (Option<&str>, &Caller),
        agent: &Agent,
        token: Option<&VerifiedToken>,
    ) -> Self {
        let expiry = token.map_or(fresh, |token| token.claims().expiry);
        let call = call_id.map(|id| key.call(id));
        // Within one call the caller stays who it was at the first fetch, whatever a later one says. Digests under
        // another key tell nothing.
        let same_call = token.filter(|token| call.is_some() && token.claims().call == call);
        let named = || caller.number().map(|number| key.caller(number));
        Self {
            key: key.tag(),
            document,
            call,
            caller: same_call.map_or_else(named, |token| token.claims().caller),
            issued: now.unix_seconds(),
            expiry,
            callback_expiry: expiry.saturating_add(seconds(agent.tokens.grace)),
        }
    }

    /// Of an answer within a call: its URLs are of the same document and die with it.
    pub(crate) fn of_token(token: &VerifiedToken, call: CallDigest, agent: &Agent) -> Self {
        Self { call: Some(call), ..Self::of_unbound(token, agent) }
    }

    /// Of an answer to a request whose call is known by its token alone.
    pub(crate) fn of_unbound(token: &VerifiedToken, agent: &Agent) -> Self {
        let claims = token.claims();
        let grace = seconds(agent.tokens.grace);
        let is_late = matches!(claims.kind, Kind::Hook | Kind::Summary | Kind::Debug | Kind::Callback);
        let expiry = if is_late { claims.expiry.saturating_sub(grace) } else { claims.expiry };
        Self {
            key: token.key_tag(),
            document: claims.document,
            call: claims.call,
            caller: claims.caller,
            // An answer is a part of its document: it does not open the window of a first use again.
            issued: claims.issued,
            expiry,
            callback_expiry: expiry.saturating_add(grace),
        }
    }

    fn claims(&self, kind: Kind, schema: [u8; 8]) -> Claims {
        let expiry = match kind {
            Kind::Tool | Kind::Includes | Kind::Swml | Kind::Asset => self.expiry,
            Kind::Hook | Kind::Summary | Kind::Debug | Kind::Callback => self.callback_expiry,
        };
        let Self { document, call, caller, issued, .. } = *self;
        Claims { kind, document, call, caller, issued, expiry, schema }
    }
}

pub(super) fn seconds(span: std::time::Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

// === impl Minter ===

impl<'p> Minter<'p> {
    /// For a document that `writer` wrote. `None` if the lineage's key is no longer listed.
    pub(crate) fn new(policies: &'p Policies, writer: &'p Agent, lineage: Lineage) -> Option<Self> {
        let key = policies.keys().find(lineage.key)?;
        Some(Self { policies, writer, key, lineage, passwords: HashMap::new(), unmediated: Vec::new() })
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
        let Survey { urls, embedded, prose, data_maps, templated, .. } = swml::survey(root);
        data_maps.into_iter().for_each(|function| self.note(function, Bypass::DataMap));
        let mut edits = Edits::default();
        for place in &urls {
            self.place(place, &mut edits)?;
        }
        for node in embedded {
            self.embedded(node, depth, &mut edits)?;
        }
        for node in prose {
            self.clean(node, &mut edits)?;
        }
        templated.into_iter().for_each(|what| self.note(what, Bypass::Templated));
        if edits.is_empty() {
            return Ok(None);
        }
        edits.apply(text).map(Some).map_err(|_| Reason::Internal)
    }

    fn place(&mut self, place: &UrlPlace<'_>, edits: &mut Edits) -> Result<(), Reason> {
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
            return Err(Reason::UrlForbidden);
        }
        let is_template = swml::is_template(&owned.upstream_path) || url.query().is_some_and(swml::is_template);
        if is_template {
            self.note(what, Bypass::Templated);
        }
        let minted = if is_template || !endpoint.suits(place) {
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
        match json::parse(inner.as_bytes()) {
            Ok(root) => {
                if let Some(rewritten) = self.rewrite_within(inner, &root, depth + 1)? {
                    edits.replace(node.span.clone(), quote(&rewritten));
                }
                Ok(())
            }
            Err(_) => Err(Reason::AgentNotJson),
        }
    }

    /// Whether a client could read a protected agent's address in this.
    fn may_own(&self, text: &str) -> bool {
        origin::lenient_authorities(text).any(|authority| self.policies.owner(&authority, "/", self.writer).is_some())
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
                    let path = parsed.path();
                    let Some(owned) = self.policies.owner(parsed.authority(), path, self.writer) else { continue };
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
        let claims = self.lineage.claims(place.kind, place.schema);
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
        let binding = Binding { agent: &owned.agent.name, function: "", path, query: url.query() };
        token::metadata_token(self.key, &binding)
    }

    fn note(&mut self, what: &str, how: Bypass) {
        // That the platform runs a function by itself says all there is to say of it.
        let says_it = |noted: &Unmediated| noted.what == what && (noted.how == how || noted.how == Bypass::DataMap);
        if !self.unmediated.iter().any(says_it) {
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
        Place::Here(node) => edits.replace(node.span.clone(), quote(minted)),
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

/// What a path of an agent is, in the SDKs (PROTOCOL.md, 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    /// The agent itself: its document; a small agent answers everything there.
    Root,
    /// Function calls.
    Swaig,
    /// Summaries.
    PostPrompt,
    /// Debug events.
    DebugEvents,
    /// What no document may give access to.
    Forbidden,
    /// Anything else.
    Other,
}

// === impl Endpoint ===

impl Endpoint {
    fn of(owned: &Owned) -> Self {
        let base = owned.agent.upstream.path.as_str();
        let below = owned.upstream_path.strip_prefix(base).unwrap_or(&owned.upstream_path);
        // As a server may read it: decoded, without path parameters and empty segments, in any case.
        let decoded = unescape::once(below).unwrap_or_else(|| below.to_owned()).to_ascii_lowercase();
        let segments = decoded.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
        let mut segments = segments.filter(|segment| !segment.is_empty());
        let Some(first) = segments.next() else { return Endpoint::Root };
        // Below the agent's path the first segment tells; a path outside of it may be another agent's.
        match (Self::named(first), Self::named(segments.next_back().unwrap_or(first))) {
            (Endpoint::Forbidden, _) | (_, Endpoint::Forbidden) => Endpoint::Forbidden,
            (Endpoint::Other, last) => last,
            (first, _) => first,
        }
    }

    fn named(segment: &str) -> Self {
        match segment {
            "swaig" => Endpoint::Swaig,
            "post_prompt" => Endpoint::PostPrompt,
            "debug_events" => Endpoint::DebugEvents,
            _ if FORBIDDEN.contains(&segment) => Endpoint::Forbidden,
            _ => Endpoint::Other,
        }
    }

    /// Whether a URL in this place may get a token for this endpoint. Whoever holds the token of a callback or a file
    /// is not asked for a function, a call and a limit, so it must not open what asks for these; and a file is passed
    /// on as it is, so it must not be a document.
    fn suits(self, place: &UrlPlace<'_>) -> bool {
        match place.kind {
            Kind::Tool | Kind::Hook => !place.function.is_empty(),
            Kind::Includes => true,
            Kind::Summary | Kind::Debug | Kind::Callback => self != Endpoint::Swaig,
            Kind::Swml => matches!(self, Endpoint::Root | Endpoint::Other),
            Kind::Asset => self == Endpoint::Other,
        }
    }
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

/// How much of a text is looked at as one URL, in bytes.
const MAX_URL: usize = 4096;

/// Where the http or https scheme starts that ends at `at`.
fn scheme_before(text: &str, at: usize) -> Option<usize> {
    let start_of = |scheme: &str| {
        let start = at.checked_sub(scheme.len())?;
        text.get(start..at).filter(|end| end.eq_ignore_ascii_case(scheme)).map(|_| start)
    };
    start_of("https").or_else(|| start_of("http"))
}

/// What may be meant by a URL at the start of a text: all up to what no URL holds but the punctuation at its end, or
/// all up to the first comma or the like, which no host holds.
fn candidates(text: &str) -> [&str; 2] {
    let text = text.get(..text.floor_char_boundary(MAX_URL)).unwrap_or_default();
    let end = text.find(|c: char| c <= ' ' || "\"'<>(){}\\`".contains(c)).unwrap_or(text.len());
    let whole = text.get(..end).unwrap_or_default();
    // A bracket that closes none is the text's, not an address'.
    let whole = if whole.contains('[') { whole } else { whole.trim_end_matches(']') };
    let whole = whole.trim_end_matches(['.', ',', ';', ':', '!', '?']);
    let shorter = whole.find([',', ';', '|', '&', '=']).and_then(|end| whole.get(..end)).unwrap_or(whole);
    [whole, shorter]
}

/// How many bytes two texts have in common at their ends.
fn common_suffix(a: &str, b: &str) -> usize {
    let same = a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b);
    same.map(|(c, _)| c.len_utf8()).sum()
}

#[cfg(test)]
mod tests;
