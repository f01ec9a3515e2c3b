//! What outlives the process: a redb file with the emergency switches.
//!
//! A switch that is lost turns a stopped agent on again. So each change is on the disk before anybody is told of it, and
//! a file that can't be read is an error, never an empty start.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use swaigate_core::switches::{MAX_SWITCHES, Switch, SwitchId};

use super::written::Written;

/// The switches: id, and the rest as JSON.
const SWITCHES: TableDefinition<'_, &str, &str> = TableDefinition::new("switches");

/// What the file is.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// The form that this program writes and reads.
const FORM: u64 = 1;

/// Memory for what was read of the file, in bytes.
const CACHE: usize = 1 << 20;

/// The file, which no other process has open.
#[derive(Debug)]
pub struct Kept {
    file: Database,
    path: PathBuf,
}

// === impl Kept ===

impl Kept {
    /// Opens `swaigate.redb` in the folder of the state, which are made if they aren't there, for their owner only.
    ///
    /// # Errors
    /// If the file is another process', damaged or not one; what to do is in the message.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("swaigate.redb");
        let opened = Self::make_if_missing(folder, &path).and_then(|()| Self::open_file(&path));
        let file = opened.with_context(|| format!("{}: {}", path.display(), ADVICE))?;
        Ok(Self { file, path })
    }

    fn make_if_missing(folder: &Path, path: &Path) -> anyhow::Result<()> {
        if path.try_exists()? {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // Made under another name, so that a crash leaves either no file or a whole one.
        let new = folder.join(format!("swaigate.redb.{}", std::process::id()));
        let _ = fs::remove_file(&new);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let made = initialise(&new).and_then(|()| link(&new, path));
        let _ = fs::remove_file(&new);
        made?;
        File::open(folder)?.sync_all()?;
        tracing::info!(path = %path.display(), "a file for emergency switches was made; none is on");
        Ok(())
    }

    fn open_file(path: &Path) -> anyhow::Result<Database> {
        if fs::metadata(path)?.len() == 0 {
            bail!("the file is empty");
        }
        let opened = builder().open(path);
        let file = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => anyhow::anyhow!("another process has it open"),
            other => other.into(),
        })?;
        let form = file.begin_read()?.open_table(ABOUT)?.get("form")?.map(|form| form.value());
        if form != Some(FORM) {
            bail!("it is of another version of this program");
        }
        Ok(file)
    }

    /// All switches.
    ///
    /// # Errors
    /// If the file can't be read, or holds what is no switch.
    pub fn switches(&self) -> anyhow::Result<Vec<Switch>> {
        self.read().with_context(|| format!("{}: {ADVICE}", self.path.display()))
    }

    fn read(&self) -> anyhow::Result<Vec<Switch>> {
        let table = self.file.begin_read()?.open_table(SWITCHES)?;
        let mut switches = Vec::new();
        for row in table.iter()?.take(MAX_SWITCHES + 1) {
            let (id, json) = row?;
            let written: Written = serde_json::from_str(json.value())?;
            switches.push(written.switch()?);
            if switches.last().is_none_or(|switch| switch.id.to_string() != id.value()) {
                bail!("a switch is written under the name of another");
            }
        }
        Ok(switches)
    }

    /// Writes a switch, in place of the one of its id. When this returns, it is on the disk.
    ///
    /// # Errors
    /// If it can't be written; then nothing has changed.
    pub fn put(&self, switch: &Switch) -> anyhow::Result<()> {
        let json = serde_json::to_string(&Written::of(switch))?;
        self.change(|change| {
            change.open_table(SWITCHES)?.insert(switch.id.to_string().as_str(), json.as_str())?;
            Ok(())
        })
    }

    /// Removes a switch. When this returns, it is gone from the disk.
    ///
    /// # Errors
    /// If that can't be written; then nothing has changed.
    pub fn remove(&self, id: SwitchId) -> anyhow::Result<()> {
        self.change(|change| {
            change.open_table(SWITCHES)?.remove(id.to_string().as_str())?;
            Ok(())
        })
    }

    fn change(&self, change: impl FnOnce(&WriteTransaction) -> anyhow::Result<()>) -> anyhow::Result<()> {
        durably(&self.file, change).with_context(|| format!("{}: it can't be written", self.path.display()))
    }
}

const ADVICE: &str = "the emergency switches can't be read, and without them what was turned off would be on again. If \
    another gateway runs on this state, stop it or give this one a `state.embedded.path` of its own. If the file is \
    damaged, put a copy of it back, or move it away: then no switch is on until `swaigate emergency on` is told, and the \
    audit log says which were (\"event\":\"switch\")";

/// Every page is checked when the file is opened: a damaged one is an error then, and not a surprise later.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

fn initialise(path: &Path) -> anyhow::Result<()> {
    let file = builder().create(path)?;
    durably(&file, |change| {
        change.open_table(SWITCHES)?;
        change.open_table(ABOUT)?.insert("form", FORM)?;
        Ok(())
    })
}

/// Gives the file its name, unless another process was quicker.
fn link(new: &Path, path: &Path) -> anyhow::Result<()> {
    match fs::hard_link(new, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A change that is on the disk when this returns, or isn't made. Two phases: a crash in between leaves the old file.
fn durably(file: &Database, change: impl FnOnce(&WriteTransaction) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut transaction = file.begin_write()?;
    transaction.set_two_phase_commit(true);
    change(&transaction)?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use swaigate_core::{
        switches::{Origin, Scope, Word},
        time::Timestamp,
    };

    use super::*;

    fn switch(id: u8) -> Switch {
        Switch {
            id: SwitchId([id; 8]),
            scope: Scope::Agent("bank".parse().unwrap()),
            word: Word::new("ann", "card fraud").unwrap(),
            since: Timestamp(1_700_000_000_000),
            until: Some(Timestamp(1_700_000_900_000)),
            origin: Origin::Operator,
        }
    }

    #[test]
    fn what_is_put_is_there_when_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let kept = Kept::open(&state).unwrap();
        assert_eq!(kept.switches().unwrap(), []);
        kept.put(&switch(1)).unwrap();
        kept.put(&switch(2)).unwrap();
        kept.put(&Switch { until: None, ..switch(2) }).unwrap();
        kept.remove(SwitchId([1; 8])).unwrap();
        drop(kept);
        let kept = Kept::open(&state).unwrap();
        assert_eq!(kept.switches().unwrap(), [Switch { until: None, ..switch(2) }]);
        let mode = |name: &str| fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("swaigate.redb"), mode(".")), (0o600, 0o700));
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn only_one_process_has_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Kept::open(folder.path()).unwrap();
        let error = format!("{:#}", Kept::open(folder.path()).unwrap_err());
        assert!(error.contains("another process has it open") && error.contains("stop it"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_an_error_or_reads_as_it_was_and_never_as_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("swaigate.redb");
        let kept = Kept::open(folder.path()).unwrap();
        kept.put(&switch(1)).unwrap();
        drop(kept);
        let whole = fs::read(&path).unwrap();
        let pages = (0..whole.len()).step_by(32 * 4096);
        let places: Vec<usize> = (0..512).step_by(11).chain((4096..4400).step_by(61)).chain(pages).collect();
        let mut refused = 0;
        for at in places {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            fs::write(&path, &damaged).unwrap();
            match Kept::open(folder.path()).and_then(|kept| kept.switches()) {
                Ok(switches) => assert_eq!(switches, [switch(1)], "byte {at}"),
                Err(error) => {
                    refused += 1;
                    assert!(format!("{error:#}").contains("move it away"), "{error:#}");
                }
            }
        }
        assert!(refused > 10, "{refused}");
        for length in [0, 1, 4096, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            match Kept::open(folder.path()).and_then(|kept| kept.switches()) {
                Ok(switches) => assert_eq!(switches, [switch(1)], "{length} bytes"),
                Err(error) => assert!(format!("{error:#}").contains("move it away"), "{error:#}"),
            }
        }
    }
}
