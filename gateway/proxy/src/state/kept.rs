//! What outlives the process: a redb file with the emergency switches and the lockouts.
//!
//! A switch that is lost turns a stopped agent on again. So each change is on the disk before anybody is told of it, and a
//! file that is damaged is never an empty start: it is set aside, and everything is stopped until a person says otherwise.

mod file;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Context;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use swaigate_core::{
    orders::{Lock, LockId},
    switches::{Origin, Scope, Switch, SwitchId, Word},
    time::Timestamp,
};

use self::file::Trouble;
use super::{
    Ordered,
    written::{Written, WrittenLock},
};
use crate::random;

type Table = TableDefinition<'static, &'static str, &'static str>;
type Rows = ReadOnlyTable<&'static str, &'static str>;

/// The switches: id, and the rest as JSON.
const SWITCHES: Table = TableDefinition::new("switches");

/// The lockouts, likewise.
const LOCKS: Table = TableDefinition::new("lockouts");

/// What was put in force while no gateway ran, and is to be recorded when one does.
const IMPORTS: Table = TableDefinition::new("imports");

/// What the file is.
const ABOUT: TableDefinition<'static, &'static str, u64> = TableDefinition::new("about");

/// Who stops everything when the file is damaged, and why.
const WHO: &str = "swaigate";
const WHY: &str = "the kept state was unreadable: what was stopped before isn't known";

/// The file, which no other process has open.
#[derive(Debug)]
pub struct Kept {
    file: Database,
    path: PathBuf,
    recovered: Option<Recovered>,
}

/// A damaged file was set aside.
#[derive(Debug)]
pub struct Recovered {
    /// What it is called now.
    pub aside: PathBuf,
    /// What is wrong with it.
    pub problem: anyhow::Error,
    /// How many switches could be read of it, and stay on.
    pub switches: usize,
    /// How many lockouts could be read of it, and stay in force.
    pub locks: usize,
}

/// What was put in force while no gateway ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// When, in Unix milliseconds.
    pub at: u64,
    /// Who did it.
    pub who: String,
    /// Why.
    pub why: String,
    /// The ids of the switches.
    pub switches: Vec<String>,
    /// The ids of the lockouts.
    pub lockouts: Vec<String>,
}

// === impl Kept ===

impl Kept {
    /// Opens `swaigate.redb` in the folder of the state, which are made if they aren't there, for their owner only. A damaged
    /// file is set aside, and another one stands in its place that stops everything: see [`Kept::recovered`].
    ///
    /// # Errors
    /// If the file is another process' or a newer program's, or the system doesn't let it be read or set aside; what to do is
    /// in the message.
    pub fn open(folder: &Path, now: Timestamp) -> anyhow::Result<Self> {
        let path = folder.join(file::NAME);
        Self::open_at(folder, &path, now).with_context(|| format!("{}: {ADVICE}", path.display()))
    }

    fn open_at(folder: &Path, path: &Path, now: Timestamp) -> anyhow::Result<Self> {
        file::make_if_missing(folder, path)?;
        let (read, problem) = match file::open(path) {
            Ok(file) => match file::read(&file) {
                file::Read { problem: None, .. } => return Ok(Self { file, path: path.to_owned(), recovered: None }),
                file::Read { ordered, problem: Some(problem) } => (ordered, problem),
            },
            Err(Trouble::Damaged(problem)) => (Ordered::default(), problem),
            Err(Trouble::Refused(problem)) => return Err(problem),
        };
        let (switches, locks) = (read.switches.len(), read.locks.len());
        let word = Word::new(WHO, WHY)?;
        let id = SwitchId(random::bytes()?);
        let switch = Switch { id, scope: Scope::All, word, since: now, until: None, origin: Origin::Recovery };
        let mut orders = read;
        orders.switches.push(switch);
        let told = Import {
            at: now.0,
            who: WHO.to_owned(),
            why: WHY.to_owned(),
            switches: vec![id.to_string()],
            lockouts: Vec::new(),
        };
        let aside =
            file::set_aside(folder, path, &orders, &told).with_context(|| format!("it is damaged: {problem:#}"))?;
        let recovered = Some(Recovered { aside, problem, switches, locks });
        match file::open(path) {
            Ok(file) => Ok(Self { file, path: path.to_owned(), recovered }),
            Err(Trouble::Damaged(problem) | Trouble::Refused(problem)) => Err(problem),
        }
    }

    /// What became of a damaged file when this one was opened.
    pub fn recovered(&self) -> Option<&Recovered> {
        self.recovered.as_ref()
    }

    /// All that is ordered.
    ///
    /// # Errors
    /// If it can't be read any more.
    pub fn ordered(&self) -> anyhow::Result<Ordered> {
        let file::Read { ordered, problem } = file::read(&self.file);
        match problem {
            Some(problem) => Err(problem).with_context(|| format!("{}: it can't be read", self.path.display())),
            None => Ok(ordered),
        }
    }

    /// Writes a switch, in place of the one of its id. When this returns, it is on the disk.
    ///
    /// # Errors
    /// If it can't be written; then nothing has changed.
    pub fn put_switch(&self, switch: &Switch) -> anyhow::Result<()> {
        self.change(|change| put_switch(change, switch))
    }

    /// Removes a switch. When this returns, it is gone from the disk.
    ///
    /// # Errors
    /// If that can't be written; then nothing has changed.
    pub fn remove_switch(&self, id: SwitchId) -> anyhow::Result<()> {
        self.remove(SWITCHES, &id.to_string())
    }

    /// The same as [`Kept::put_switch`] for a lockout.
    ///
    /// # Errors
    /// If it can't be written; then nothing has changed.
    pub fn put_lock(&self, lock: &Lock) -> anyhow::Result<()> {
        self.change(|change| put_lock(change, lock))
    }

    /// The same as [`Kept::remove_switch`] for a lockout.
    ///
    /// # Errors
    /// If that can't be written; then nothing has changed.
    pub fn remove_lock(&self, id: LockId) -> anyhow::Result<()> {
        self.remove(LOCKS, &id.to_string())
    }

    /// Writes all of these orders, each in place of the one of its id; with a note if that is to be recorded later.
    ///
    /// # Errors
    /// If they can't be written; then nothing has changed.
    pub fn put_all(&self, orders: &Ordered, told: Option<&Import>) -> anyhow::Result<()> {
        self.change(|change| {
            told.map_or(Ok(()), |told| note(change, told))?;
            put_all(change, orders)
        })
    }

    /// What is to be recorded.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn imports(&self) -> anyhow::Result<Vec<Import>> {
        let rows: Rows = self.file.begin_read()?.open_table(IMPORTS)?;
        let mut imports = Vec::new();
        for row in rows.iter()? {
            imports.push(serde_json::from_str(row?.1.value())?);
        }
        Ok(imports)
    }

    /// It was recorded.
    ///
    /// # Errors
    /// If that can't be written.
    pub fn forget_imports(&self) -> anyhow::Result<()> {
        self.change(|change| {
            change.delete_table(IMPORTS)?;
            change.open_table(IMPORTS)?;
            Ok(())
        })
    }

    fn remove(&self, table: Table, id: &str) -> anyhow::Result<()> {
        self.change(|change| {
            change.open_table(table)?.remove(id)?;
            Ok(())
        })
    }

    fn change(&self, change: impl FnOnce(&WriteTransaction) -> anyhow::Result<()>) -> anyhow::Result<()> {
        file::durably(&self.file, change).with_context(|| format!("{}: it can't be written", self.path.display()))
    }
}

const ADVICE: &str = "the emergency switches and lockouts can't be read, and without them what was turned off would be on \
    again. If another gateway runs on this state, stop it or give this one a `state.embedded.path` of its own. Else put a \
    copy of the file back, or move it away: then no switch is on until `swaigate emergency on` is told, and the audit log \
    says which were (\"event\":\"switch\", \"event\":\"lockout\")";

fn put_switch(change: &WriteTransaction, switch: &Switch) -> anyhow::Result<()> {
    let json = serde_json::to_string(&Written::of(switch))?;
    change.open_table(SWITCHES)?.insert(switch.id.to_string().as_str(), json.as_str())?;
    Ok(())
}

fn put_lock(change: &WriteTransaction, lock: &Lock) -> anyhow::Result<()> {
    let json = serde_json::to_string(&WrittenLock::of(lock))?;
    change.open_table(LOCKS)?.insert(lock.id.to_string().as_str(), json.as_str())?;
    Ok(())
}

fn note(change: &WriteTransaction, told: &Import) -> anyhow::Result<()> {
    change.open_table(IMPORTS)?.insert(told.at.to_string().as_str(), serde_json::to_string(told)?.as_str())?;
    Ok(())
}

fn put_all(change: &WriteTransaction, orders: &Ordered) -> anyhow::Result<()> {
    orders.switches.iter().try_for_each(|switch| put_switch(change, switch))?;
    orders.locks.iter().try_for_each(|lock| put_lock(change, lock))
}
