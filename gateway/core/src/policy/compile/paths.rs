//! `match`, `routing_callbacks`, `expose`, `health_path`: paths and hosts.

use super::{
    super::{Expose, ExposedPath, ownership::ROOT_SEGMENT},
    is_plain,
};
use crate::{
    origin,
    yaml::{Field, Fields, quoted},
};

/// How many paths may be exposed.
const MAX_EXPOSED: usize = 100;

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

/// `expose` and `health_path`.
pub(super) fn expose(fields: &mut Fields<'_>) -> Expose {
    let field = fields.take("expose");
    let place = field.place();
    let listed = field.list(MAX_EXPOSED).unwrap_or_default();
    let mut health = false;
    let mut paths = Vec::new();
    for item in listed {
        match exposed(item) {
            Some(Exposed::Health) => health = true,
            Some(Exposed::Path(path)) => paths.push(path),
            None => {}
        }
    }
    if health && paths.contains(&ExposedPath::Exact("/health".to_owned())) {
        fields.report().note(place, "`health` answers at `/health`, which can't be passed on too; keep one of them");
    }
    let health_path = fields.take("health_path");
    if health_path.is_given() && !health {
        let advice = "`health_path` is read only where `expose` lists `health`; add that or remove this";
        health_path.report().note(health_path.key_place(), advice);
    }
    let health_path = health_path.parse(|text| normal(text).map(|()| text.to_owned()));
    Expose { health: health.then(|| health_path.unwrap_or_else(|| "/health".to_owned())), paths }
}

enum Exposed {
    Health,
    Path(ExposedPath),
}

fn exposed(item: Field<'_>) -> Option<Exposed> {
    item.parse(|text| {
        if text == "health" {
            return Ok(Exposed::Health);
        }
        let (path, below) = match text.strip_suffix("/*") {
            Some(path) => (path, true),
            None => (text, false),
        };
        if matches!(path, "" | "/") {
            return Err(format!("{} would expose the whole agent, or its SWML; name single paths", quoted(text)));
        }
        normal(path)?;
        if format!("{path}/").starts_with(&format!("{ROOT_SEGMENT}/")) {
            return Err(format!("{} is the whole of the agent; name what is meant", quoted(text)));
        }
        refuse_protocol(path, text)?;
        Ok(Exposed::Path(if below {
            ExposedPath::Below(format!("{path}/"))
        } else {
            ExposedPath::Exact(path.to_owned())
        }))
    })
}

fn refuse_protocol(path: &str, text: &str) -> Result<(), String> {
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
fn normal(path: &str) -> Result<(), String> {
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
