//! `expose`, `health_path`: what of an agent is reachable besides the protocol's endpoints, and how.

use std::sync::Arc;

use super::{
    super::{Authentication, Expose, Exposed, ExposedPath, ownership::ROOT_SEGMENT},
    paths::{normal, refuse_protocol},
    rules,
};
use crate::yaml::{Field, Fields, Report, quoted};

/// How many paths may be exposed.
const MAX_EXPOSED: usize = 100;

/// How many headers an item may name in each direction.
const MAX_HEADERS: usize = 16;

/// The largest body from clients that only the agent authenticates, unless the item says otherwise.
const STRANGERS_BODY: usize = 64 << 10;

/// What SDKs answer there, they answer without asking who it is (PROTOCOL.md, 1.1 and 1.3).
const UNGUARDED: [&str; 3] = ["/mcp", "/debug", "/check_for_input"];

/// Headers that are the gateway's word, or that two servers would have to agree on.
const GATEWAYS: [&str; 20] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "proxy-authenticate",
    "proxy-authorization",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "accept-encoding",
];

/// And those that begin like this.
const GATEWAYS_FAMILIES: [&str; 8] = [
    "x-forwarded-",
    "x-original-",
    "x-rewrite-",
    "x-http-method",
    "x-signalwire-",
    "x-twilio-",
    // What these say, nginx and others in front do.
    "x-accel-",
    "x-sendfile",
];

/// `expose` and `health_path`.
pub(super) fn expose(fields: &mut Fields<'_>) -> Expose {
    let field = fields.take("expose");
    let place = field.place();
    let mut health = false;
    let mut paths: Vec<Arc<Exposed>> = Vec::new();
    for item in field.list(MAX_EXPOSED).unwrap_or_default() {
        let place = item.place();
        match listed(item) {
            Some(Listed::Health) => health = true,
            Some(Listed::Paths(item)) => {
                if paths.iter().any(|other| other.path == item.path && **other != item) {
                    let path = quoted(item.path.as_str());
                    fields.report().note(place, format!("{path} is exposed twice, and not in one way; keep one"));
                }
                paths.push(Arc::new(item));
            }
            None => {}
        }
    }
    if health && paths.iter().any(|item| item.path == ExposedPath::Exact("/health".to_owned())) {
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

enum Listed {
    Health,
    Paths(Exposed),
}

fn listed(item: Field<'_>) -> Option<Listed> {
    if item.is_mapping() {
        return item.mapping(exposed).map(Listed::Paths);
    }
    item.parse(|text| match text {
        "health" => Ok(Listed::Health),
        _ => pattern(text).map(Exposed::plain).map(Listed::Paths),
    })
}

/// An item with more to it than its path.
fn exposed(fields: &mut Fields<'_>) -> Option<Exposed> {
    let (report, place) = (fields.report(), fields.place());
    let field = fields.take("path").required();
    let path_place = field.place();
    let path = field.parse(pattern);

    let choices = [("gateway", Authentication::Gateway), ("agent", Authentication::Agent)];
    let authentication = fields.take("authentication").choice(&choices).unwrap_or(Authentication::Gateway);
    let is_open = authentication == Authentication::Agent;
    let field = fields.take("streaming");
    let streaming_place = field.place();
    let given = field.bool();
    let streaming = given.unwrap_or(is_open);
    if is_open && !streaming {
        report.note(
            streaming_place,
            "with `authentication: agent` answers always pass as they come; remove `streaming: false`",
        );
    }
    let [request_headers, response_headers] = ["request_headers", "response_headers"].map(|key| {
        let field = fields.take(key);
        if field.is_given() && !streaming {
            report.note(
                field.key_place(),
                format!("`{key}` is read only with `streaming: true`; add that or remove this"),
            );
        }
        headers(field)
    });
    let limits = rules::address_limits(fields.take("limits"));
    let body = fields.take("body").size(rules::BODY).or(is_open.then_some(STRANGERS_BODY));
    if is_open && limits.iter().all(|limit| limit.is_shadow) {
        report.note(
            place,
            "with `authentication: agent` anyone can ask; add `limits: [{ per: address, allow: 30, every: 1m }]`",
        );
    }
    let path = path?;
    if is_open {
        refuse_unguarded(&path, path_place, report);
    }
    Some(Exposed { path, authentication, streaming, request_headers, response_headers, limits, body })
}

fn pattern(text: &str) -> Result<ExposedPath, String> {
    let (path, below) = match text.strip_suffix("/*") {
        Some(path) => (path, true),
        None => (text, false),
    };
    if matches!(path, "" | "/") {
        return Err(format!("{} would expose the whole agent, or its SWML; name single paths", quoted(text)));
    }
    // `/chat/` is one path, and what is below it is another matter.
    normal(path.strip_suffix('/').filter(|_| !below).unwrap_or(path))?;
    if format!("{path}/").starts_with(&format!("{ROOT_SEGMENT}/")) {
        return Err(format!("{} is the whole of the agent; name what is meant", quoted(text)));
    }
    refuse_protocol(path, text)?;
    Ok(if below { ExposedPath::Below(format!("{path}/")) } else { ExposedPath::Exact(path.to_owned()) })
}

/// Some servers don't tell the case of a path.
fn refuse_unguarded(path: &ExposedPath, place: crate::yaml::Place, report: &Report) {
    let first = path.as_str().to_ascii_lowercase();
    if UNGUARDED.iter().any(|own| format!("{}/", first.trim_end_matches('/')).starts_with(&format!("{own}/"))) {
        let path = quoted(path.as_str());
        report.note(place, format!("{path} is answered without authentication by agents; it needs the gateway's"));
    }
}

fn headers(field: Field<'_>) -> Vec<String> {
    let items = field.list(MAX_HEADERS).unwrap_or_default();
    items.into_iter().filter_map(|item| item.parse(header)).collect()
}

fn header(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token) {
        Err(format!("{} is no name of a header", quoted(text)))
    } else if GATEWAYS.contains(&name.as_str()) || GATEWAYS_FAMILIES.iter().any(|family| name.starts_with(family)) {
        Err(format!("{} never passes through the gateway; remove it", quoted(text)))
    } else {
        Ok(name)
    }
}
