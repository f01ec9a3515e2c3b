//! `match`, `routing_callbacks`: paths and hosts.

use super::{super::ownership::ROOT_SEGMENT, is_plain};
use crate::{
    origin,
    yaml::{Field, Fields, quoted},
};

/// How many routing callbacks an agent may have.
const MAX_CALLBACKS: usize = 32;

/// What the platform calls at every agent, and what only a token protects: exposing it would be a way around the token.
const PROTOCOL: [&str; 3] = ["/swaig", "/post_prompt", "/debug_events"];

/// `match`: the path (empty for `/`) and the host.
pub(super) fn matched(fields: &mut Fields<'_>) -> (String, Option<String>) {
    let path = fields.take("path").parse(|text| {
        let path = base(text)?;
        let reserved = path.split('/').any(|segment| segment == ROOT_SEGMENT.trim_start_matches('/'));
        if reserved { Err(format!("`{ROOT_SEGMENT}` is the gateway's own; choose another path")) } else { Ok(path) }
    });
    let host = fields.take("host").parse(host);
    (path.unwrap_or_default(), host)
}

/// `routing_callbacks`.
pub(super) fn routing_callbacks(field: Field<'_>) -> Vec<String> {
    let listed = field.list(MAX_CALLBACKS).unwrap_or_default();
    let paths = listed.into_iter().filter_map(|item| {
        item.parse(|text| {
            normal(text)?;
            if text == "/" {
                return Err("`/` is the agent's own document; remove it".to_owned());
            }
            refuse_protocol(text, text).map(|()| text.to_owned())
        })
    });
    paths.collect()
}

pub(super) fn refuse_protocol(path: &str, text: &str) -> Result<(), String> {
    if PROTOCOL.iter().any(|own| path == *own || path.starts_with(&format!("{own}/"))) {
        return Err(format!("{} is reachable with its token, and only so; remove it", quoted(text)));
    }
    Ok(())
}

/// A path under which something lives: empty for `/`.
pub(super) fn base(text: &str) -> Result<String, String> {
    normal(text)?;
    Ok(if text == "/" { String::new() } else { text.to_owned() })
}

/// Checks that a path can be compared byte by byte: no other spelling means the same.
pub(super) fn normal(path: &str) -> Result<(), String> {
    let fault = if !path.starts_with('/') {
        "must start with `/`"
    } else if path.contains("//") {
        "must not hold `//`"
    } else if path.contains(['?', '#', '%', '*', '\\']) {
        "must not hold any of `?#%*\\`"
    } else if path.bytes().any(|b| !b.is_ascii_graphic()) {
        "must hold visible ASCII characters only"
    } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        "must not hold `.` or `..` as a segment"
    } else if path.len() > 1 && path.ends_with('/') {
        "must not end in `/`"
    } else {
        return Ok(());
    };
    Err(format!("the path {} {fault}", quoted(path)))
}

fn host(text: &str) -> Result<String, String> {
    let wrong = || format!("{} is no host; write it like `agents.example.com`, without scheme and port", quoted(text));
    if text.contains(['/', '?', '#', '@']) {
        return Err(wrong());
    }
    let url = format!("http://{text}");
    let url = origin::parse(&url).and_then(Result::ok).ok_or_else(wrong)?;
    let authority = url.authority();
    if authority.port.is_some() || !is_plain(&authority.host) { Err(wrong()) } else { Ok(authority.host.clone()) }
}
