//! The walk through a document in search of URLs.

use super::{
    Address, At, Definition, FunctionPlace, Place, Reach, Source, Survey, UrlPlace, credentials_beside, function_name,
    is_definition, is_embedded, is_template, kind_of, schema_digest,
};
use crate::{
    id::FunctionName,
    json::{Member, Node, Value},
    origin::{self, HttpUrl, UrlError},
    token::Kind,
};

/// Whether what stands under this key is data: the platform keeps it or passes it on, and doesn't act on it. `outer` is the
/// key of the object that has it.
pub(super) fn is_data(key: &str, outer: &str) -> bool {
    let is_passed_on = key == "params" && matches!(outer, "webhooks" | "execute" | "transfer");
    is_passed_on
        || matches!(
            key,
            "global_data"
                | "set_global_data"
                | "meta_data"
                | "set_meta_data"
                | "parameters"
                | "argument"
                | "set"
                | "user_event"
                | "body"
                | "meta"
                | "headers"
                | "vars"
        )
}

/// Whether names that somebody chose stand under this key: one that is called like data is none.
pub(super) fn holds_names(key: &str) -> bool {
    matches!(key, "sections" | "case" | "contexts")
}

/// Whether a SWML document may stand in a string under this key, beside URLs and names.
pub(super) fn may_embed(key: &str) -> bool {
    matches!(key, "dest" | "transfer" | "execute" | "confirm" | "transfer_after_bridge")
}

/// Whether this text, under such a key, is a document.
pub(super) fn is_document(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) || (text.contains('\n') && text.contains("sections"))
}

/// Where a value is met.
#[derive(Clone, Copy)]
pub(super) struct Context<'d> {
    /// The nearest key.
    pub(super) key: &'d str,
    /// The key of the object that has it.
    pub(super) outer: &'d str,
    /// That object.
    object: Option<&'d Node<'d>>,
    /// Where the value stands.
    pub(super) at: At<'d>,
}

impl Context<'_> {
    pub(super) const ROOT: Self =
        Context { key: "", outer: "", object: None, at: At { around: None, place: 0, item: None } };
}

impl<'d> Context<'d> {
    /// Of a member of `object`, which stands in this context.
    pub(super) fn of_member(self, object: &'d Node<'d>, place: usize, key: &'d str, outer: &'d str) -> Self {
        let item = self.at.around.filter(|around| !around.is_object()).map(|around| (around, self.at.place));
        Context { key, outer, object: Some(object), at: At { around: Some(object), place, item } }
    }

    /// Of an item of `array`, which stands in this context.
    pub(super) fn of_item(self, array: &'d Node<'d>, place: usize) -> Self {
        Context { at: At { around: Some(array), place, item: None }, ..self }
    }
}

// === impl Survey ===

impl<'d> Survey<'d> {
    pub(super) fn walk(&mut self, node: &'d Node<'d>, context: Context<'d>) {
        match &node.value {
            Value::Object(_) if is_definition(node) => self.function(node, None, context),
            Value::Object(members) => self.object(node, members, context),
            Value::Array(items) if context.key == "mcp_servers" => self.mcp_servers(node, items, context),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(place, item)| self.walk(item, context.of_item(node, place)));
            }
            Value::String(text) => self.string(node, text, context),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn mcp_servers(&mut self, list: &'d Node<'d>, servers: &'d [Node<'d>], context: Context<'d>) {
        for (place, server) in servers.iter().enumerate() {
            let within = context.of_item(list, place);
            let url = server.get("url").and_then(|node| node.as_str().and_then(origin::parse).map(|url| (node, url)));
            let Some((node, url)) = url else {
                self.walk(server, within);
                continue;
            };
            self.url(
                url,
                Kind::Callback,
                Place::McpServer(node, list, place),
                Context { key: "mcp_servers", ..within },
            );
            self.look_at_keys(server);
            for (place, member) in server.members().iter().enumerate().filter(|(_, member)| member.key != "url") {
                self.walk(&member.node, within.of_member(server, place, &member.key, "mcp_servers"));
            }
        }
    }

    fn look_at_keys(&mut self, object: &'d Node<'d>) {
        let named = object.members().iter().filter(|member| member.key.contains("://"));
        self.keys.extend(named.map(|member| (object, member)));
    }

    fn object(&mut self, node: &'d Node<'d>, members: &'d [Member<'d>], context: Context<'d>) {
        self.look_at_keys(node);
        let definitions = node.get("functions").map(Node::items).unwrap_or_default();
        let holds_functions = definitions.iter().any(Node::is_object);
        let defaults = node.get("defaults").filter(|_| holds_functions);
        for (place, member) in members.iter().enumerate() {
            let within = context.of_member(node, place, &member.key, context.key);
            match member.key.as_ref() {
                "functions" if holds_functions => {
                    for (place, definition) in definitions.iter().enumerate() {
                        let within = within.of_item(&member.node, place);
                        match definition.value {
                            Value::Object(_) => self.function(definition, defaults, within),
                            _ => self.walk(definition, within),
                        }
                    }
                }
                "defaults" if holds_functions && member.node.is_object() => self.defaults(&member.node, within),
                key => {
                    // Sidecars listen beside an AI, and send no summary.
                    self.sessions += usize::from(matches!(key, "ai" | "amazon_bedrock") && member.node.is_object());
                    let data = usize::from(is_data(key, context.key) && !holds_names(context.key));
                    self.data += data;
                    self.walk(&member.node, within);
                    self.data -= data;
                }
            }
        }
    }

    fn defaults(&mut self, defaults: &'d Node<'d>, context: Context<'d>) {
        self.look_at_keys(defaults);
        for (place, member) in defaults.members().iter().enumerate() {
            let within = context.of_member(defaults, place, &member.key, "defaults");
            let url = member.node.as_str().filter(|_| member.key == "web_hook_url").and_then(origin::parse);
            match url {
                Some(url) => self.url(url, Kind::Tool, Place::Default(defaults), within),
                None => self.walk(&member.node, within),
            }
        }
    }

    fn function(&mut self, node: &'d Node<'d>, defaults: Option<&'d Node<'d>>, context: Context<'d>) {
        self.look_at_keys(node);
        let name = function_name(node);
        let number = self.definitions.len();
        let has_data_map = node.get("data_map").is_some();
        self.definitions.push(Definition { node, name, at: context.at, has_data_map, has_web_hook: false });
        let around = self.within.replace(number);
        let has_own_url = self.web_hook(node, defaults, name);
        for (place, member) in node.members().iter().enumerate() {
            if !has_own_url || member.key != "web_hook_url" {
                let data = usize::from(is_data(&member.key, "functions"));
                self.data += data;
                self.walk(&member.node, context.of_member(node, place, &member.key, "functions"));
                self.data -= data;
            }
        }
        self.within = around;
    }

    /// The function in whose definition the walk is; empty outside of any.
    fn function_around(&self) -> &'d str {
        self.within.and_then(|number| self.definitions.get(number)).map_or("", |definition| definition.name)
    }

    /// What a URL under this key is called in notes.
    fn what(&self, key: &'d str) -> &'d str {
        let function = self.function_around();
        if function.is_empty() { key } else { function }
    }

    /// Whether the function has a URL of its own, which is dealt with then.
    fn web_hook(&mut self, definition: &'d Node<'d>, defaults: Option<&'d Node<'d>>, name: &'d str) -> bool {
        let own = definition.get("web_hook_url");
        // Nothing can be called that has no name.
        let inherits = own.is_none() && definition.get("data_map").is_none() && !name.is_empty();
        let inherited = defaults.filter(|_| inherits).and_then(|defaults| defaults.get("web_hook_url"));
        let called = own.or(inherited);
        self.definitions.last_mut().into_iter().for_each(|definition| definition.has_web_hook = called.is_some());
        let Some((node, text)) = called.and_then(|node| Some((node, node.as_str()?))) else { return false };
        let Some(url) = origin::parse(text) else {
            if is_template(text) {
                self.templated.push((node, name));
            }
            return false;
        };
        let names_token = |node: &Node<'_>| node.get("meta_data_token").is_some();
        let place = FunctionPlace {
            definition,
            own,
            has_metadata_token: names_token(definition) || defaults.is_some_and(names_token),
            // Where the defaults have a URL of their own, the credentials beside it go or stay with that.
            credentials: defaults.filter(|defaults| own.is_some() && defaults.get("web_hook_url").is_none()),
        };
        let is_hook = name.parse().is_ok_and(|name: FunctionName| name.is_hook());
        self.urls.push(UrlPlace {
            url,
            kind: if is_hook { Kind::Hook } else { Kind::Tool },
            function: name,
            what: if name.is_empty() { "web_hook_url" } else { name },
            place: Place::OfFunction(place),
            schema: schema_digest(definition),
            within: self.within,
            reach: Reach::Asks,
            source: None,
        });
        own.is_some()
    }

    fn string(&mut self, node: &'d Node<'d>, text: &'d str, context: Context<'d>) {
        let key = context.key;
        if is_embedded(key, text) {
            self.embedded.push(node);
            return;
        }
        let kind = kind_of(key, context.outer);
        let Some(url) = origin::parse(text) else {
            let (has_scheme, is_template) = (text.contains("://"), is_template(text));
            if is_template && has_scheme && kind != Kind::Asset {
                self.templated.push((node, self.what(key)));
            }
            if has_scheme {
                self.prose.push((node, self.what(key)));
            }
            // What a template under `to` becomes is a number, an address or a stream's: a place that calls are sent to.
            if has_scheme || (is_template && key != "to") {
                let (reach, within, source) = (self.reach(kind, context), self.within, source_of(context));
                self.addresses.push(Address { node, key, within, reach, source });
            }
            return;
        };
        let place = match (context.object, credentials_beside(key, context.outer)) {
            (Some(object), Some(keys)) => Place::WithCredentials(node, object, keys),
            (Some(_) | None, _) => Place::Here(node),
        };
        self.url(url, kind, place, context);
    }

    fn url(&mut self, url: Result<HttpUrl<'d>, UrlError<'d>>, kind: Kind, place: Place<'d>, context: Context<'d>) {
        let reach = self.reach(kind, context);
        let is_server = context.key == "mcp_servers";
        let source = if is_server { Some(Source { list: context.key, at: context.at }) } else { source_of(context) };
        let (what, within) = (self.what(context.key), self.within);
        self.urls.push(UrlPlace { url, kind, function: "", what, place, schema: [0; 8], within, reach, source });
    }

    /// What a URL of this kind makes the platform do where it stands.
    fn reach(&self, kind: Kind, context: Context<'d>) -> Reach {
        let Context { key, outer, .. } = context;
        let asks = kind != Kind::Asset
            || matches!(key, "uri" | "document" | "to" | "dest_swml")
            || (key == "url"
                && matches!(outer, "stream" | "tap" | "connect" | "serial" | "parallel" | "serial_parallel"))
            || key.ends_with("_url")
            || key.ends_with("_url_override");
        let is_file =
            matches!(key, "url" | "urls" | "play" | "ringback" | "media" | "file" | "playback_bg" | "hold_music");
        match () {
            () if self.data > 0 => Reach::Nothing,
            () if asks => Reach::Asks,
            () if is_file || key.ends_with("_file") => Reach::Fetches,
            () => Reach::Nothing,
        }
    }
}

/// What brings functions along from this URL.
fn source_of(context: Context<'_>) -> Option<Source<'_>> {
    let (list, place) = context.at.item.filter(|_| context.key == "url")?;
    let at = At { around: Some(list), place, item: None };
    matches!(context.outer, "includes" | "mcp_servers").then_some(Source { list: context.outer, at })
}
