//! What leaves the gateway, beside what the agent said: equal, but for what the gateway has to change.

use serde_json::{Map, Value};
use swaigate_core::token::{Kind, UnverifiedToken};

use crate::harness::http::without_userinfo;

/// An agent's answer and the gateway's, to the same question of two calls.
pub(super) struct Pair<'a> {
    /// The agent's own address.
    pub(super) agent: &'a [String],
    /// Where the gateway is.
    pub(super) gateway: &'a str,
    /// The ids of the calls.
    pub(super) calls: [&'a str; 2],
    /// Keys of URLs that lead to the gateway without a token, so to nothing.
    pub(super) no_token: &'a [&'a str],
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The URLs of the agent that are the gateway's now, each by what it is for.
    pub(super) rewritten: Vec<Kind>,
    /// What is neither equal nor explained.
    pub(super) differences: Vec<String>,
}

// === impl Pair ===

impl Pair<'_> {
    pub(super) fn compare(&self, own: &Value, gateway: &Value) -> Findings {
        let mut findings = Findings::default();
        self.values("", own, gateway, &mut findings);
        findings
    }

    fn values(&self, at: &str, own: &Value, gateway: &Value, found: &mut Findings) {
        match (own, gateway) {
            (Value::Object(own), Value::Object(gateway)) => self.objects(at, own, gateway, found),
            (Value::Array(own), Value::Array(gateway)) if own.len() == gateway.len() => {
                for (index, (own, gateway)) in own.iter().zip(gateway).enumerate() {
                    self.values(&format!("{at}/{index}"), own, gateway, found);
                }
            }
            (Value::String(own), Value::String(gateway)) => self.strings(at, own, gateway, found),
            (own, gateway) if own == gateway => {}
            _ => found.differences.push(format!("{at}: {own} became {gateway}")),
        }
    }

    fn objects(&self, at: &str, own: &Map<String, Value>, gateway: &Map<String, Value>, found: &mut Findings) {
        for (key, value) in own {
            let at = format!("{at}/{key}");
            match gateway.get(key) {
                Some(other) if key == "functions" => self.functions(&at, own, (value, other), found),
                Some(other) => self.values(&at, value, other, found),
                // Each function has its own URL, and what all of them had goes.
                None if at.ends_with("/defaults/web_hook_url") && self.is_own(value) => {}
                None => found.differences.push(format!("{at}: {value} is missing")),
            }
        }
        for (key, value) in gateway.iter().filter(|(key, _)| !own.contains_key(*key)) {
            if !(key == "meta_data_token" && gateway.contains_key("web_hook_url")) {
                found.differences.push(format!("{at}/{key}: {value} was added"));
            }
        }
    }

    /// A function without a URL has that of the defaults, and becomes one with a URL of its own.
    fn functions(&self, at: &str, swaig: &Map<String, Value>, (own, gateway): (&Value, &Value), found: &mut Findings) {
        let inherited = swaig.get("defaults").and_then(|defaults| defaults.get("web_hook_url"));
        let mut own = own.clone();
        for function in own.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            let inherits = !function.contains_key("web_hook_url") && !function.contains_key("data_map");
            if let Some(url) = inherited.filter(|url| inherits && self.is_own(url)) {
                function.insert("web_hook_url".to_owned(), url.clone());
            }
        }
        self.values(at, &own, gateway, found);
    }

    fn strings(&self, at: &str, own: &str, gateway: &str, found: &mut Findings) {
        if self.is_own_url(own) {
            match self.rewritten(at, own, gateway) {
                Ok(Some(kind)) => found.rewritten.push(kind),
                Ok(None) => {}
                Err(why) => found.differences.push(format!("{at}: {own} became {gateway}: {why}")),
            }
        } else if self.plain(own, 0) != self.plain(gateway, 1) {
            found.differences.push(format!("{at}: {own:?} became {gateway:?}"));
        }
    }

    fn plain(&self, text: &str, of: usize) -> String {
        text.replace(self.calls[of], "the call")
    }

    fn is_own(&self, value: &Value) -> bool {
        value.as_str().is_some_and(|text| self.is_own_url(text))
    }

    fn is_own_url(&self, text: &str) -> bool {
        let is_url = text.starts_with("http") && text.contains("://") && !text.contains(char::is_whitespace);
        is_url && self.target(&without_userinfo(text).0).is_some()
    }

    /// Path and query of a URL, if it is the agent's own.
    fn target<'u>(&self, url: &'u str) -> Option<&'u str> {
        let targets = self.agent.iter().filter_map(|origin| url.strip_prefix(origin.as_str()));
        targets.into_iter().find(|target| target.is_empty() || target.starts_with(['/', '?']))
    }

    /// The same path and query at the gateway, with a token of the kind that its key asks for, which is returned; or with
    /// none, where none is made.
    fn rewritten(&self, at: &str, own: &str, gateway: &str) -> Result<Option<Kind>, String> {
        let ((own, _), (gateway, userinfo)) = (without_userinfo(own), without_userinfo(gateway));
        let own = self.target(&own).ok_or("it isn't the agent's")?;
        let gateway = gateway.strip_prefix(self.gateway).ok_or("it isn't the gateway's")?;
        let (rest, token) =
            gateway.split_once("gw_token=").map_or((gateway, None), |(rest, token)| (rest, Some(token)));
        let rest = rest.strip_suffix(['&', '?']).unwrap_or(rest);
        if without_token(own) != without_token(rest) {
            return Err(format!("{own} is not {rest}"));
        }
        let has_none = self.no_token.iter().any(|key| at.rsplit('/').next() == Some(key));
        match (userinfo, token) {
            (None, None) if has_none => Ok(None),
            (Some((user, _)), Some(token)) if user == "call" && !has_none => {
                let kind = UnverifiedToken::decode(token).map_err(|error| error.to_string())?.claimed_kind();
                let expected = kind_at(at);
                let wrong = format!("its token is of a {kind:?}, not of a {expected:?}");
                (kind == expected).then_some(Some(kind)).ok_or(wrong)
            }
            (userinfo, token) => Err(format!("user {:?}, token {token:?}", userinfo.map(|(user, _)| user))),
        }
    }
}

/// The SDK's own token is made anew for each call.
fn without_token(target: &str) -> String {
    let Some((front, rest)) = target.split_once("__token=") else { return target.to_owned() };
    let (token, rest) = rest.split_at(rest.find('&').unwrap_or(rest.len()));
    let shape = if token.len() > 40 { "a token" } else { token };
    format!("{front}__token={shape}{rest}")
}

/// What a URL at this place is for (PROTOCOL.md, 3.2).
fn kind_at(pointer: &str) -> Kind {
    let mut keys = pointer.rsplit('/');
    match (keys.next().unwrap_or_default(), keys.next().unwrap_or_default()) {
        ("web_hook_url", _) => Kind::Tool,
        ("post_prompt_url", _) => Kind::Summary,
        ("debug_webhook_url", _) => Kind::Debug,
        ("dest" | "transfer" | "execute", _) => Kind::Swml,
        ("url", "ai_sidecar") | ("status_url", _) => Kind::Callback,
        _ => Kind::Asset,
    }
}
