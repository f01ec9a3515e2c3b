//! Whether what left the gateway is what the agent said, but for its URLs.

use serde_json::Value;

use super::SECRETS;
use crate::harness::{agent::Agent, gateway::Gateway};

/// Keys that the gateway adds to a function, or takes away with the URL that they are for.
const ADDED: [&str; 2] = ["meta_data_token", "web_hook_url"];
const TAKEN: [&str; 4] = ["web_hook_url", "web_hook_auth_user", "web_hook_auth_password", "post_prompt_auth_user"];

/// Between whom it is compared.
pub(super) struct Alike<'a> {
    pub(super) agent: &'a Agent,
    pub(super) gateway: &'a Gateway,
}

/// What is in a document.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How many URLs became the gateway's.
    pub(super) urls: usize,
    /// Functions that can be called.
    pub(super) functions: Vec<Function>,
    /// Functions that don't pass through the gateway.
    pub(super) around: Vec<String>,
}

/// A function with its two URLs.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) parameters: Value,
    pub(super) own_url: String,
    pub(super) url: String,
}

// === impl Alike ===

impl Alike<'_> {
    /// Compares the agent's own words with those that left.
    ///
    /// # Errors
    /// What differs and is no URL.
    pub(super) fn check(&self, own: &Value, left: &Value) -> Result<Seen, String> {
        let mut seen = Seen::default();
        self.same(own, left, "", None, &mut seen)?;
        Ok(seen)
    }

    /// # Errors
    /// What leaves of where the agent is, and of what opens it.
    pub(super) fn leaks_nothing(&self, text: &str) -> Result<(), String> {
        let port = self.agent.address.port();
        let addresses = [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("0.0.0.0:{port}")];
        let inside = addresses.iter().map(String::as_str).chain(SECRETS).find(|inside| text.contains(inside));
        inside.map_or(Ok(()), |inside| Err(format!("{inside} leaves in {text}")))
    }

    fn same(
        &self,
        own: &Value,
        left: &Value,
        key: &str,
        defaults: Option<&Value>,
        seen: &mut Seen,
    ) -> Result<(), String> {
        match (own, left) {
            (Value::Object(_), Value::Object(_)) => self.same_object(own, left, key, defaults, seen),
            (Value::Array(own), Value::Array(left)) if key == "mcp_servers" => {
                let (ours, others): (Vec<_>, Vec<_>) = own.iter().partition(|server| self.is_own(&server["url"]));
                if others.len() == left.len() {
                    Ok(())
                } else {
                    Err(format!("of {ours:?} and {others:?}, {left:?} leave"))
                }
            }
            (Value::Array(own), Value::Array(left)) if own.len() == left.len() => {
                own.iter().zip(left).try_for_each(|(own, left)| self.same(own, left, key, defaults, seen))
            }
            (Value::String(_), Value::String(url)) if self.is_own(own) => {
                let is_the_gateways = url.contains(&self.gateway.listen().to_string());
                seen.urls += usize::from(url.contains("gw_token="));
                if is_the_gateways { Ok(()) } else { Err(format!("`{key}` was {own} and is {url}")) }
            }
            _ if own == left => Ok(()),
            _ => Err(format!("`{key}` was {own} and is {left}")),
        }
    }

    fn same_object(
        &self,
        own: &Value,
        left: &Value,
        key: &str,
        defaults: Option<&Value>,
        seen: &mut Seen,
    ) -> Result<(), String> {
        let (members, left_members) = (own.as_object().ok_or("no object")?, left.as_object().ok_or("no object")?);
        if let Some(name) = own["function"].as_str().filter(|_| key == "functions") {
            self.function(name, own, left, defaults, seen);
        }
        for (name, value) in members {
            let below = own.get("defaults").filter(|_| name == "functions");
            match left_members.get(name) {
                Some(left) => self.same(value, left, name, below, seen)?,
                None if TAKEN.contains(&name.as_str()) => {}
                None => return Err(format!("`{name}` is gone from `{key}`: {value}")),
            }
        }
        let new = left_members.keys().find(|name| !members.contains_key(*name) && !ADDED.contains(&name.as_str()));
        new.map_or(Ok(()), |name| Err(format!("`{name}` is new in `{key}`: {left}")))
    }

    fn function(&self, name: &str, own: &Value, left: &Value, defaults: Option<&Value>, seen: &mut Seen) {
        let inherited = defaults.map(|defaults| &defaults["web_hook_url"]);
        let own_url = own.get("web_hook_url").or(inherited.filter(|_| own.get("data_map").is_none()));
        match (own_url.filter(|url| self.is_own(url)).and_then(Value::as_str), left["web_hook_url"].as_str()) {
            (Some(own_url), Some(url)) if url.contains("gw_token=") => seen.functions.push(Function {
                name: name.to_owned(),
                parameters: own["parameters"].clone(),
                own_url: own_url.to_owned(),
                url: url.to_owned(),
            }),
            _ => seen.around.push(name.to_owned()),
        }
    }

    fn is_own(&self, value: &Value) -> bool {
        let port = format!(":{}", self.agent.address.port());
        value.as_str().is_some_and(|text| text.starts_with("http") && text.contains(&port))
    }
}

/// Whether two answers have the same keys and kinds of values.
///
/// # Errors
/// Where they differ.
pub(super) fn same_shape(own: &Value, left: &Value) -> Result<(), String> {
    match (own, left) {
        (Value::Object(own), Value::Object(left)) => {
            let keys = |members: &serde_json::Map<String, Value>| members.keys().cloned().collect::<Vec<_>>();
            if keys(own) != keys(left) {
                return Err(format!("the keys were {:?} and are {:?}", keys(own), keys(left)));
            }
            own.iter().try_for_each(|(key, value)| same_shape(value, &left[key]))
        }
        (Value::Array(own), Value::Array(left)) if own.len() == left.len() => {
            own.iter().zip(left).try_for_each(|(own, left)| same_shape(own, left))
        }
        (Value::String(_), Value::String(_)) | (Value::Number(_), Value::Number(_)) => Ok(()),
        _ if own == left => Ok(()),
        _ => Err(format!("it was {own} and is {left}")),
    }
}
