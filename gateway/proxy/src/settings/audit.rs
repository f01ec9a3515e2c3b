//! The section `audit` of `gateway.yaml`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use swaigate_core::yaml::{self, Field, Fields};

use super::sections::{DAY, MINUTE, MOMENT, count, path};

/// How many more places lines may go to.
const MAX_SINKS: usize = 8;

const SECOND: Duration = Duration::from_secs(1);

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The file, one JSON object a line.
    pub path: PathBuf,
    /// How many records may wait to be written, 1 to 1,000,000.
    pub queue: usize,
    /// When it is on the disk.
    pub sync: Fsync,
    /// What becomes of requests while it can't be written.
    pub on_failure: OnFailure,
    /// When a new file begins, if the gateway itself sees to that.
    pub rotate: Option<Rotate>,
    /// How many requests of strangers are recorded for each source and minute, 1 to 1,000,000; the others are counted.
    pub strangers: usize,
    /// How often its head is told, 1 s to 1 h.
    pub heads: Duration,
    /// Where else its lines go.
    pub sinks: Vec<SinkAt>,
}

/// When the audit log is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// After each batch, which is what came within some milliseconds.
    Always,
    /// At most so much later, 10 ms to 1 min.
    Every(Duration),
    /// When the operating system likes.
    Never,
}

/// What becomes of requests while the audit log can't be written and its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They are refused at once.
    Deny,
    /// They wait some seconds for a place.
    Block,
}

/// When a new file of the audit log begins, and the oldest goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotate {
    /// When the file has so many bytes, 64 KiB to 1 TiB.
    pub size: u64,
    /// When a multiple of this time since 1970 (UTC) has passed, 1 min to 366 days; `24h` is at midnight.
    pub every: Option<Duration>,
    /// How many old files are kept, 1 to 100,000; without it, all.
    pub keep: Option<usize>,
}

/// Where lines of the audit log go besides its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkAt {
    /// Standard output.
    Stdout,
    /// A syslog server by UDP, a record a datagram (RFC 5426): host and port.
    SyslogUdp(String),
    /// A syslog server by TCP, each record preceded by its length (RFC 6587): host and port.
    SyslogTcp(String),
    /// A local socket of datagrams, such as `/dev/log`.
    SyslogUnix(PathBuf),
}

// === impl Audit ===

impl Audit {
    /// With its defaults.
    pub fn at(path: PathBuf) -> Self {
        Self {
            path,
            queue: 8192,
            sync: Fsync::Every(Duration::from_secs(1)),
            on_failure: OnFailure::Deny,
            rotate: None,
            strangers: 10,
            heads: Duration::from_secs(60),
            sinks: Vec::new(),
        }
    }
}

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
