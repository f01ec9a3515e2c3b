//! Where URLs stand in what an agent says: SWML documents, SWAIG answers, function definitions.
//!
//! The walk goes through everything, at any depth, and knows keys, not positions (PROTOCOL.md, 3.2 to 3.4): a URL in a
//! place that no page of the platform's documentation names is found all the same. It says what stands where; whose a URL
//! is, and what becomes of it, is decided elsewhere.

mod outline;
mod walk;

use std::borrow::Cow;

pub use crate::origin::is_template;
pub use outline::{Ai, Destination, Names, NamesOf, Outline, Verb, outline};
use sha2::{Digest, Sha256};
use walk::Context;

use crate::{
    id::FunctionName,
    json::{Member, Node},
    origin::{HttpUrl, UrlError},
    token::Kind,
    yaml::{self, NotJson},
};

/// Everything in a document that a gateway has to look at.
#[derive(Debug, Default)]
pub struct Survey<'d> {
    /// URLs, in the order they stand.
    pub urls: Vec<UrlPlace<'d>>,
    /// SWML documents inside of strings.
    pub embedded: Vec<&'d Node<'d>>,
    /// Other strings in which a URL occurs, each with the name of the function or key that it is for.
    pub prose: Vec<(&'d Node<'d>, &'d str)>,
    /// Members in whose keys a URL occurs, each with the object around it.
    pub keys: Vec<(&'d Node<'d>, &'d Member<'d>)>,
    /// How many AIs there are, one after the other or one instead of the other.
    pub sessions: usize,
    /// Webhook URLs that the platform makes from a template: each with the function's name, or the key.
    pub templated: Vec<(&'d Node<'d>, &'d str)>,
    /// The definitions of functions, in the order they begin.
    pub definitions: Vec<Definition<'d>>,
    /// Where the platform is made to ask or send, in another protocol than http, or where a template says.
    pub addresses: Vec<Address<'d>>,
    /// The definition that is being walked through, by its place in [`Survey::definitions`].
    within: Option<usize>,
    /// How deep in data the walk is, which the platform keeps and passes on, and doesn't act on.
    data: usize,
}

/// Where something stands: which one it is of an array's items, or of an object's members.
#[derive(Debug, Clone, Copy)]
pub struct At<'d> {
    /// The array or the object; `None` for the root.
    pub around: Option<&'d Node<'d>>,
    /// Which one of its items or members.
    pub place: usize,
    /// Where the object stands, if it is an item of an array.
    pub item: Option<(&'d Node<'d>, usize)>,
}

/// The definition of a function.
#[derive(Debug)]
pub struct Definition<'d> {
    /// The definition.
    pub node: &'d Node<'d>,
    /// The function's name; empty if it has none.
    pub name: &'d str,
    /// Where it stands.
    pub at: At<'d>,
    /// Whether the platform runs the function by itself.
    pub has_data_map: bool,
    /// Whether the platform asks a URL for it, its own or an inherited one, of whatever kind.
    pub has_web_hook: bool,
}

/// A text that says whom the platform is to ask or to send to, and that is no http URL.
#[derive(Debug)]
pub struct Address<'d> {
    /// The text.
    pub node: &'d Node<'d>,
    /// Its key.
    pub key: &'d str,
    /// The definition in which it stands, by its place in [`Survey::definitions`].
    pub within: Option<usize>,
    /// What it makes the platform do.
    pub reach: Reach,
    /// What brings functions along from there.
    pub source: Option<Source<'d>>,
}

/// A URL and its place.
#[derive(Debug)]
pub struct UrlPlace<'d> {
    /// The URL.
    pub url: Result<HttpUrl<'d>, UrlError<'d>>,
    /// What it is for.
    pub kind: Kind,
    /// The function it calls; empty if it calls none.
    pub function: &'d str,
    /// The function in whose definition it stands; else its key.
    pub what: &'d str,
    /// What has to be done to give it another value.
    pub place: Place<'d>,
    /// The digest of the function's published parameters; zeros without any.
    pub schema: [u8; 8],
    /// The definition in which it stands, by its place in [`Survey::definitions`].
    pub within: Option<usize>,
    /// What it makes the platform do.
    pub reach: Reach,
    /// What brings functions along from there.
    pub source: Option<Source<'d>>,
}

/// An item of a list that brings functions along from elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Source<'d> {
    /// The list's key: `includes` or `mcp_servers`.
    pub list: &'d str,
    /// Where the item stands.
    pub at: At<'d>,
}

/// What a URL makes the platform do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Ask whoever is there, or send to them.
    Asks,
    /// Fetch a file to play or to send.
    Fetches,
    /// Nothing: it is data, or words.
    Nothing,
}

/// Where a URL stands.
#[derive(Debug)]
pub enum Place<'d> {
    /// It is this string.
    Here(&'d Node<'d>),
    /// It is this string, and the object around it holds credentials for it beside it, under these keys.
    WithCredentials(&'d Node<'d>, &'d Node<'d>, &'static [&'static str]),
    /// It is this function's, own or inherited.
    OfFunction(FunctionPlace<'d>),
    /// It is the default of functions which name none: each of them gets its own.
    Default(&'d Node<'d>),
    /// It is this string, in this item of a list of MCP servers.
    McpServer(&'d Node<'d>, &'d Node<'d>, usize),
}

/// The URL of a function.
#[derive(Debug)]
pub struct FunctionPlace<'d> {
    /// The function's definition.
    pub definition: &'d Node<'d>,
    /// Its own `web_hook_url`; `None` if it inherits the defaults'.
    pub own: Option<&'d Node<'d>>,
    /// Whether the function, or the defaults, name a `meta_data_token`.
    pub has_metadata_token: bool,
    /// The defaults, if what they hold are credentials for this URL.
    pub credentials: Option<&'d Node<'d>>,
}

/// The keys of credentials beside a `web_hook_url`.
pub const WEB_HOOK_CREDENTIALS: &[&str] = &["web_hook_auth_user", "web_hook_auth_password", "web_hook_auth_pass"];
const INCLUDE_CREDENTIALS: &[&str] = &["auth_user", "auth_password", "user", "pass"];
const POST_PROMPT_CREDENTIALS: &[&str] = &["post_prompt_auth_user", "post_prompt_auth_password"];

/// A document's text as JSON. Its own words, if it starts as JSON does; else it is read as YAML, which some agents write
/// by hand (PROTOCOL.md, 3.1). The platform takes JSON from everyone, so only the gateway reads the YAML.
///
/// # Errors
/// [`NotJson`] if it is neither. What starts as JSON may still be none.
pub fn as_json(text: &str) -> Result<Cow<'_, str>, NotJson> {
    if text.trim_start().starts_with(['{', '[']) {
        Ok(Cow::Borrowed(text))
    } else {
        yaml::to_json(text).map(Cow::Owned)
    }
}

/// Looks through a document, an answer or a list of function definitions.
pub fn survey<'d>(root: &'d Node<'d>) -> Survey<'d> {
    let mut survey = Survey::default();
    survey.walk(root, Context::ROOT);
    survey
}

/// Whether this defines a function, wherever it stands: `get_signature` is answered with one definition or an array of
/// them (PROTOCOL.md, 4.3), and a URL that calls a function must not get the token of something else.
fn is_definition(node: &Node<'_>) -> bool {
    let is_called = node.get("web_hook_url").is_some() || node.get("data_map").is_some();
    is_called && !function_name(node).is_empty()
}

/// Whether this string, under this key, is a document: one in which to look for more.
pub fn is_embedded(key: &str, text: &str) -> bool {
    matches!(key, "SWML" | "raw_swml") || (walk::may_embed(key) && walk::is_document(text))
}

/// The name that a definition gives its function; empty if that is none.
pub fn function_name<'d>(definition: &'d Node<'_>) -> &'d str {
    let name = definition.str_at("function").or_else(|| definition.str_at("name")).unwrap_or_default();
    if name.parse::<FunctionName>().is_ok() { name } else { "" }
}

// === impl UrlPlace, Place ===

impl<'d> UrlPlace<'d> {
    /// What is gone when the URL is: its own string, or the definition that inherits it.
    pub fn node(&self) -> Option<&'d Node<'d>> {
        match &self.place {
            Place::OfFunction(place) => Some(place.definition),
            place => place.text(),
        }
    }
}

impl<'d> Place<'d> {
    /// The string that is the URL; `None` if it is inherited.
    pub fn text(&self) -> Option<&'d Node<'d>> {
        match self {
            Place::Here(node) | Place::WithCredentials(node, ..) | Place::McpServer(node, ..) => Some(node),
            Place::OfFunction(place) => place.own,
            Place::Default(defaults) => defaults.get("web_hook_url"),
        }
    }
}

/// What a URL under this key is for. `outer` is the key of the object that has it.
fn kind_of(key: &str, outer: &str) -> Kind {
    match (key, outer) {
        ("post_prompt_url", _) => Kind::Summary,
        ("debug_webhook_url" | "event_webhook_url", _) => Kind::Debug,
        ("url", "includes") => Kind::Includes,
        ("execute" | "dest" | "transfer" | "confirm" | "transfer_after_bridge" | "wait_url", _) => Kind::Swml,
        ("url", "webhooks" | "request" | "ai_sidecar" | "params" | "mcp_servers") => Kind::Callback,
        // It calls a function, though none is named here: whatever it is, it is no callback.
        ("web_hook_url", _) => Kind::Tool,
        ("webhook" | "call_state_url" | "payment_connector_url", _) => Kind::Callback,
        (key, _) if key.ends_with("status_url") || key.ends_with("_callback") => Kind::Callback,
        _ => Kind::Asset,
    }
}

fn credentials_beside(key: &str, outer: &str) -> Option<&'static [&'static str]> {
    match (key, outer) {
        ("web_hook_url", _) => Some(WEB_HOOK_CREDENTIALS),
        ("post_prompt_url", _) => Some(POST_PROMPT_CREDENTIALS),
        ("url", "includes") => Some(INCLUDE_CREDENTIALS),
        _ => None,
    }
}

/// The parameters that a definition publishes.
pub fn parameters<'d>(definition: &'d Node<'d>) -> Option<&'d Node<'d>> {
    definition.get("parameters").or_else(|| definition.get("argument"))
}

fn schema_digest(definition: &Node<'_>) -> [u8; 8] {
    parameters(definition).map_or([0; 8], digest_of_parameters)
}

/// What a token carries of the parameters that a function publishes.
pub fn digest_of_parameters(parameters: &Node<'_>) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(parameters.canonical()).into();
    let mut first = [0; 8];
    first.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn kinds(document: &str) -> Vec<(String, Kind, String)> {
        let root = json::parse(document.as_bytes()).unwrap();
        let survey = survey(&root);
        let of = |url: &UrlPlace<'_>| (url.what.to_owned(), url.kind, url.function.to_owned());
        survey.urls.iter().map(of).collect()
    }

    #[test]
    fn keys_say_what_a_url_is_for() {
        let cases = [
            (r#"{"ai":{"post_prompt_url":"http://h/x"}}"#, "post_prompt_url", Kind::Summary),
            (r#"{"ai":{"params":{"debug_webhook_url":"http://h/x"}}}"#, "debug_webhook_url", Kind::Debug),
            (r#"{"SWAIG":{"includes":[{"url":"http://h/x"}]}}"#, "url", Kind::Includes),
            (r#"[{"execute":{"dest":"http://h/x"}}]"#, "dest", Kind::Swml),
            (r#"[{"cond":[{"then":[{"transfer":"http://h/x"}]}]}]"#, "transfer", Kind::Swml),
            (r#"[{"connect":{"serial":[{"confirm":"http://h/x"}]}}]"#, "confirm", Kind::Swml),
            (r#"[{"record_call":{"status_url":"http://h/x"}}]"#, "status_url", Kind::Callback),
            (
                r#"[{"join_conference":{"recording_status_callback":"http://h/x"}}]"#,
                "recording_status_callback",
                Kind::Callback,
            ),
            (r#"[{"request":{"url":"http://h/x"}}]"#, "url", Kind::Callback),
            (r#"[{"play":{"urls":["http://h/x"]}}]"#, "urls", Kind::Asset),
            (r#"{"global_data":{"anything":{"else":"http://h/x"}}}"#, "else", Kind::Asset),
        ];
        for (document, key, kind) in cases {
            assert_eq!(kinds(document), [(key.to_owned(), kind, String::new())], "{document}");
        }
    }

    #[test]
    fn each_function_has_its_own_url_also_an_inherited_one() {
        let document = r#"{"SWAIG":{"defaults":{"web_hook_url":"http://h/d"},"functions":[
            {"function":"own","web_hook_url":"http://h/o"},{"function":"inherits"},{"function":"hangup_hook"},
            {"function":"mapped","data_map":{"webhooks":[{"url":"http://h/m"}]}},
            {"function":"made","web_hook_url":"${base}/x"}]}}"#;
        let name = |key: &str, kind, function: &str| (key.to_owned(), kind, function.to_owned());
        assert_eq!(
            kinds(document),
            [
                name("web_hook_url", Kind::Tool, ""),
                name("own", Kind::Tool, "own"),
                name("inherits", Kind::Tool, "inherits"),
                name("hangup_hook", Kind::Hook, "hangup_hook"),
                name("mapped", Kind::Callback, ""),
            ]
        );
        let root = json::parse(document.as_bytes()).unwrap();
        let survey = survey(&root);
        let mapped: Vec<_> = survey.definitions.iter().filter(|it| it.has_data_map).map(|it| it.name).collect();
        let templated: Vec<_> = survey.templated.iter().map(|(_, name)| *name).collect();
        assert_eq!((mapped, templated), (vec!["mapped"], vec!["made"]));
    }

    #[test]
    fn definitions_alone_are_functions_too() {
        for document in [
            r#"{"function":"f","web_hook_url":"http://h/x"}"#,
            r#"[{"function":"f","web_hook_url":"http://h/x"}]"#,
            r#"{"functions":[{"function":"f","web_hook_url":"http://h/x"}],"defaults":{}}"#,
        ] {
            assert_eq!(kinds(document), [("f".to_owned(), Kind::Tool, "f".to_owned())], "{document}");
        }
    }

    #[test]
    fn names_of_functions_are_no_functions() {
        assert_eq!(kinds(r#"{"includes":[{"url":"http://h/x","functions":["a","b"]}]}"#)[0].1, Kind::Includes);
    }

    #[test]
    fn schemas_are_told_apart_by_meaning() {
        let digest = |text: &str| schema_digest(&json::parse(text.as_bytes()).unwrap());
        assert_eq!(digest(r#"{"parameters":{"a":1,"b":2}}"#), digest(r#"{"parameters":{"b":2, "a":1}}"#));
        assert_ne!(digest(r#"{"parameters":{"a":1}}"#), digest(r#"{"parameters":{"a":2}}"#));
        assert_eq!(digest("{}"), [0; 8]);
    }
}
