//! `upstream.servers`, `health`, `eject`, `breaker`, `max_in_flight`: where requests go, and where not for a while.

use std::{collections::HashSet, ops::RangeInclusive, time::Duration};

use super::{
    super::{BreakerRules, Ejection, HealthCheck, Server},
    is_plain,
};
use crate::{
    origin::{self, Authority},
    yaml::{Field, Fields, show_duration},
};

/// How many servers an agent may have.
const MAX_SERVERS: usize = 32;

/// `failures`, `healthy`, `unhealthy`.
const IN_A_ROW: RangeInclusive<u64> = 1..=1000;

/// How long something may be away, and how often a server may be asked.
const SPAN: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// The longest path of a health check, in bytes.
const MAX_PATH: usize = 1024;

/// What of `upstream` is about servers.
pub(super) struct Servers {
    /// Empty, if none are listed.
    pub(super) listed: Vec<Server>,
    pub(super) health: Option<HealthCheck>,
    pub(super) eject: Ejection,
    pub(super) breaker: Option<BreakerRules>,
    pub(super) max_in_flight: u32,
}

/// `default_port` is that of `url`.
pub(super) fn servers(fields: &mut Fields<'_>, default_port: Option<u16>) -> Servers {
    let listed = listed(fields.take("servers"), default_port);
    let health = fields.take("health");
    let health = health.is_given().then(|| health.mapping(health_check)).flatten();
    let field = fields.take("eject");
    if field.is_given() && listed.len() < 2 {
        field.report().note(field.key_place(), "`eject` takes one of several `servers` away; list them, or remove it");
    }
    let eject = field.section(ejection);
    let field = fields.take("breaker");
    let breaker = field.is_given();
    let rules = field.section(breaker_rules);
    let max_in_flight = fields.take("max_in_flight").integer(1..=100_000).and_then(|count| u32::try_from(count).ok());
    Servers { listed, health, eject, breaker: breaker.then_some(rules), max_in_flight: max_in_flight.unwrap_or(1024) }
}

fn listed(field: Field<'_>, default_port: Option<u16>) -> Vec<Server> {
    let (report, place) = (field.report(), field.place());
    let Some(items) = field.list(MAX_SERVERS) else { return Vec::new() };
    if items.is_empty() {
        report.note(place, "`servers` must list a server; without the key, `url` is the only one");
    }
    let mut known = HashSet::new();
    let mut servers = Vec::new();
    for item in items {
        let place = item.place();
        let Some(server) = server(item, default_port) else { continue };
        if known.insert(server.authority()) {
            servers.push(server);
        } else {
            report
                .note(place, format!("the server {} is listed twice; give it a `weight` instead", server.authority()));
        }
    }
    servers
}

/// `host:port`, or a mapping with a weight beside it.
fn server(item: Field<'_>, default_port: Option<u16>) -> Option<Server> {
    let at = |field: Field<'_>| field.parse(|text| address(text, default_port));
    if !item.is_mapping() {
        return at(item).map(|(host, port)| Server { host, port, weight: 1 });
    }
    item.mapping(|fields| {
        let address = at(fields.take("address").required());
        let weight = fields.take("weight").integer(1..=100).and_then(|weight| u32::try_from(weight).ok());
        let (host, port) = address?;
        Some(Server { host, port, weight: weight.unwrap_or(1) })
    })
}

fn address(text: &str, default_port: Option<u16>) -> Result<(String, u16), &'static str> {
    const WRONG: &str = "write a host and a port, like `10.0.0.5:3000`; scheme and path are those of `url`";
    if text.contains(['/', '@', '?', '#', '\\']) {
        return Err(WRONG);
    }
    let url = format!("http://{text}/");
    let url = origin::parse(&url).and_then(Result::ok).ok_or(WRONG)?;
    let Authority { host, port } = url.authority();
    if !is_plain(host) {
        return Err("the host holds characters that no host has");
    }
    // A `url` with a mistake is told for itself.
    match port.or(default_port).unwrap_or(1) {
        0 => Err("nothing listens at port 0"),
        port => Ok((host.trim_matches(['[', ']']).to_owned(), port)),
    }
}

fn health_check(fields: &mut Fields<'_>) -> Option<HealthCheck> {
    let path = fields.take("path").required().parse(path);
    let every = fields.take("every").duration(SPAN).unwrap_or(Duration::from_secs(10));
    let field = fields.take("timeout");
    let (place, report, is_given) = (field.place(), field.report(), field.is_given());
    let longest = *SPAN.start()..=Duration::from_secs(60);
    let timeout = field.duration(longest).unwrap_or(Duration::from_secs(2).min(every));
    if is_given && timeout > every {
        report.note(place, format!("`timeout` must not be more than `every`, which is {}", show_duration(every)));
    }
    let mut in_a_row = |key, default| in_a_row(fields.take(key)).unwrap_or(default);
    let (healthy, unhealthy) = (in_a_row("healthy", 2), in_a_row("unhealthy", 3));
    let expect = fields.take("expect").integer(200..=599).and_then(|status| u16::try_from(status).ok());
    Some(HealthCheck { path: path?, every, timeout, healthy, unhealthy, expect })
}

/// A path that a request can be made of as it is.
fn path(text: &str) -> Result<String, String> {
    let is_fit = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'\\' | b'"' | b'<' | b'>'));
    if !text.starts_with('/') || text.starts_with("//") {
        Err("write the path at the server, like `/health`".to_owned())
    } else if text.len() > MAX_PATH {
        Err(format!("the path has {} bytes; at most {MAX_PATH} are allowed", text.len()))
    } else if !is_fit {
        Err("the path holds characters that no path has; percent-encode them".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn ejection(fields: &mut Fields<'_>) -> Ejection {
    let default = Ejection::default();
    let percent = fields.take("max_percent").integer(0..=100).and_then(|percent| u32::try_from(percent).ok());
    Ejection {
        failures: in_a_row(fields.take("failures")).unwrap_or(default.failures),
        span: fields.take("for").duration(SPAN).unwrap_or(default.span),
        max_percent: percent.unwrap_or(default.max_percent),
    }
}

fn breaker_rules(fields: &mut Fields<'_>) -> BreakerRules {
    let default = BreakerRules::default();
    BreakerRules {
        failures: in_a_row(fields.take("failures")).unwrap_or(default.failures),
        span: fields.take("for").duration(SPAN).unwrap_or(default.span),
    }
}

fn in_a_row(field: Field<'_>) -> Option<u32> {
    field.integer(IN_A_ROW).and_then(|count| u32::try_from(count).ok())
}

#[cfg(test)]
mod tests;
