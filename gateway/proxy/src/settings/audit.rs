//! The section `audit` of `gateway.yaml`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use swaigate_core::yaml::{self, Field, Fields};

use super::{
    Audit, Fsync, OnFailure, Rotate, SinkAt,
    sections::{DAY, MINUTE, MOMENT, count, path},
};

/// How many more places lines may go to.
const MAX_SINKS: usize = 8;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn audit(fields: &mut Fields<'_>, folder: &Path) -> Audit {
    let default = Audit::at(path(fields.take("path"), folder, "audit/audit.jsonl"));
    let sinks = fields.take("sinks").list(MAX_SINKS).unwrap_or_default();
    Audit {
        queue: count(fields.take("queue"), 1..=1_000_000, default.queue),
        sync: fields.take("sync").parse(sync).unwrap_or(default.sync),
        on_failure: fields
            .take("on_failure")
            .choice(&[("deny", OnFailure::Deny), ("block", OnFailure::Block)])
            .unwrap_or(default.on_failure),
        rotate: rotate(fields.take("rotate")),
        strangers: count(fields.take("strangers"), 1..=1_000_000, default.strangers),
        heads: fields.take("heads").duration(SECOND..=60 * MINUTE).unwrap_or(default.heads),
        sinks: sinks.into_iter().filter_map(|item| item.parse(sink)).collect(),
        path: default.path,
    }
}

fn rotate(field: Field<'_>) -> Option<Rotate> {
    if !field.is_given() {
        return None;
    }
    field.mapping(|fields| {
        let size = fields.take("size").size(64 << 10..=1 << 40).unwrap_or(100 << 20);
        Some(Rotate {
            size: size as u64,
            every: fields.take("every").duration(MINUTE..=366 * DAY),
            keep: fields.take("keep").integer(1..=100_000).and_then(|keep| usize::try_from(keep).ok()),
        })
    })
}

fn sync(text: &str) -> Result<Fsync, String> {
    let advice = "must be `always`, `never`, or the longest time that records may not be on the disk, from 10ms to 1m";
    match text {
        "always" => Ok(Fsync::Always),
        "never" => Ok(Fsync::Never),
        _ => match yaml::parse_duration(text) {
            Ok(every) if (MOMENT..=MINUTE).contains(&every) => Ok(Fsync::Every(every)),
            Ok(_) | Err(_) => Err(advice.to_owned()),
        },
    }
}

fn sink(text: &str) -> Result<SinkAt, String> {
    let server = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap_or_default();
        let is_one = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0);
        let advice = || format!("`{address}` must be a host and a port, like `logs.example.com:514`");
        is_one.then(|| address.to_owned()).ok_or_else(advice)
    };
    match text.split_once("://") {
        None if text == "stdout" => Ok(SinkAt::Stdout),
        Some(("syslog+udp", address)) => server(address).map(SinkAt::SyslogUdp),
        Some(("syslog+tcp", address)) => server(address).map(SinkAt::SyslogTcp),
        Some(("syslog+unix", socket)) if socket.starts_with('/') => Ok(SinkAt::SyslogUnix(PathBuf::from(socket))),
        _ => {
            Err("must be `stdout`, `syslog+udp://host:514`, `syslog+tcp://host:601` or `syslog+unix:///dev/log`"
                .to_owned())
        }
    }
}
