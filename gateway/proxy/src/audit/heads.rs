//! Heads of the chain: whoever has one elsewhere notices if anything before it is changed or removed.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use swaigate_core::{chain, time::Timestamp};

use crate::clock;

/// How large the file of heads gets in bytes, before it takes the place of the one before.
const MOST: u64 = 1 << 20;

/// The head of the log as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// When it was the head, RFC 3339.
    pub time: String,
    /// The file that the record is in.
    pub file: PathBuf,
    /// The number of the record.
    pub seq: u64,
    /// What `swaigate audit verify --expected-head` takes.
    pub head: String,
    /// Whether it is known to be on the disk.
    pub on_disk: bool,
}

impl Head {
    pub(super) fn new(head: chain::Head, file: &Path, at: Timestamp, on_disk: bool) -> Self {
        Self { time: clock::rfc3339(at), file: file.to_owned(), seq: head.seq, head: head.to_string(), on_disk }
    }
}

/// Where heads of this log are written.
pub(super) fn path_beside(log: &Path) -> PathBuf {
    let mut name = log.file_name().unwrap_or_default().to_owned();
    name.push(".heads");
    log.with_file_name(name)
}

/// Adds a head to the file, a JSON object a line. The file before is kept, those before that are not.
///
/// # Errors
/// If it can't be written.
pub(super) fn append(log: &Path, head: &Head) -> io::Result<()> {
    let path = path_beside(log);
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    let mut line = serde_json::to_vec(head)?;
    line.push(b'\n');
    file.write_all(&line)?;
    if file.metadata()?.len() >= MOST {
        let mut old = path.clone().into_os_string();
        old.push(".1");
        fs::rename(&path, old)?;
    }
    Ok(())
}
