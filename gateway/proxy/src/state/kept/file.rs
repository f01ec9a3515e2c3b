//! The file itself: how it is made, opened, read, and set aside when it is damaged.

use std::{
    any::Any,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, WriteTransaction};
use serde::de::DeserializeOwned;
use swaigate_core::{orders::MAX_LOCKS, switches::MAX_SWITCHES, time::Timestamp};

use super::{ABOUT, IMPORTS, Import, LOCKS, Rows, SWITCHES, note, put_all};
use crate::{
    clock,
    state::{
        Ordered,
        written::{Written, WrittenLock},
    },
};

/// Its name in the folder of the state.
pub(super) const NAME: &str = "swaigate.redb";

/// The form that this program writes. It reads the one before, which has no lockouts.
pub(super) const FORM: u64 = 2;

/// Memory for what was read of the file, in bytes.
const CACHE: usize = 1 << 20;

/// How many damaged files are set aside. With more, the disk is to be looked at, and not the file.
const MAX_ASIDE: usize = 8;

/// Why a file can't be used.
pub(super) enum Trouble {
    /// What it holds can't be read.
    Damaged(anyhow::Error),
    /// It is another process', or another program's, or the system is against it.
    Refused(anyhow::Error),
}

/// What was read of a file, and what is wrong with the rest.
pub(super) struct Read {
    pub(super) ordered: Ordered,
    pub(super) problem: Option<anyhow::Error>,
}

/// Makes the file and its folder if they aren't there, for their owner only.
pub(super) fn make_if_missing(folder: &Path, path: &Path) -> anyhow::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    with_new(folder, &Ordered::default(), None, |new| match fs::hard_link(new, path) {
        // Unless another process was quicker.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    })?;
    tracing::info!(path = %path.display(), "a file for emergency switches and lockouts was made; it is empty");
    Ok(())
}

/// Makes a file under another name, so that a crash leaves either no file or a whole one, and gives it its place.
fn with_new(
    folder: &Path,
    ordered: &Ordered,
    told: Option<&Import>,
    place: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let new = folder.join(format!("{NAME}.{}", std::process::id()));
    let _ = fs::remove_file(&new);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let made = initialise(&new, ordered, told).and_then(|()| place(&new));
    let _ = fs::remove_file(&new);
    made?;
    Ok(File::open(folder)?.sync_all()?)
}

fn initialise(path: &Path, ordered: &Ordered, told: Option<&Import>) -> anyhow::Result<()> {
    let file = builder().create(path)?;
    durably(&file, |change| {
        change.open_table(SWITCHES)?;
        change.open_table(ABOUT)?.insert("form", FORM)?;
        bring_up_to_date(change)?;
        told.map_or(Ok(()), |told| note(change, told))?;
        put_all(change, ordered)
    })
}

/// Every page is checked when the file is opened: a damaged one is an error then, and not a surprise later.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

/// What the first form lacks.
fn bring_up_to_date(change: &WriteTransaction) -> anyhow::Result<()> {
    change.open_table(LOCKS)?;
    change.open_table(IMPORTS)?;
    change.open_table(ABOUT)?.insert("form", FORM)?;
    Ok(())
}

/// A change that is on the disk when this returns, or isn't made. Two phases: a crash in between leaves the old file.
pub(super) fn durably(
    file: &Database,
    change: impl FnOnce(&WriteTransaction) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut transaction = file.begin_write()?;
    transaction.set_two_phase_commit(true);
    change(&transaction)?;
    Ok(transaction.commit()?)
}

// === opening ===

/// Opens the file.
pub(super) fn open(path: &Path) -> Result<Database, Trouble> {
    let is_empty = fs::metadata(path).map_err(|error| Trouble::Refused(error.into()))?.len() == 0;
    if is_empty {
        return Err(Trouble::Damaged(anyhow!("the file is empty")));
    }
    // Its library may panic at what no file of its own can hold.
    let opened = catch_unwind(AssertUnwindSafe(|| builder().open(path)));
    let file = opened.map_err(|panic| Trouble::Damaged(told(&panic)))?.map_err(Trouble::of)?;
    let form = form(&file).map_err(Trouble::Damaged)?;
    match form {
        Some(FORM) => {}
        Some(1) => durably(&file, bring_up_to_date).map_err(Trouble::Refused)?,
        Some(newer) if newer > FORM => {
            return Err(Trouble::Refused(anyhow!(
                "a newer version of this program wrote it (form {newer}; this one reads {FORM})"
            )));
        }
        Some(_) | None => return Err(Trouble::Damaged(anyhow!("it doesn't say of which form it is"))),
    }
    Ok(file)
}

fn form(file: &Database) -> anyhow::Result<Option<u64>> {
    Ok(file.begin_read()?.open_table(ABOUT)?.get("form")?.map(|form| form.value()))
}

fn told(panic: &(dyn Any + Send)) -> anyhow::Error {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow!("{}", words.unwrap_or("it can't be made sense of"))
}

// === impl Trouble ===

impl Trouble {
    fn of(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Trouble::Refused(anyhow!("another process has it open")),
            DatabaseError::Storage(StorageError::Io(error))
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Trouble::Damaged(error.into())
            }
            DatabaseError::Storage(StorageError::Corrupted(_))
            | DatabaseError::UpgradeRequired(_)
            | DatabaseError::RepairAborted => Trouble::Damaged(error.into()),
            other => Trouble::Refused(other.into()),
        }
    }
}

// === reading ===

/// Reads all that can be read.
pub(super) fn read(file: &Database) -> Read {
    let mut ordered = Ordered::default();
    let read = catch_unwind(AssertUnwindSafe(|| read_into(file, &mut ordered)));
    let problem = read.unwrap_or_else(|panic| Err(told(&panic))).err();
    Read { ordered, problem }
}

fn read_into(file: &Database, ordered: &mut Ordered) -> anyhow::Result<()> {
    let transaction = file.begin_read()?;
    let switches = each(&transaction.open_table(SWITCHES)?, MAX_SWITCHES, |written: &Written| {
        let switch = written.switch()?;
        Ok((switch.id.to_string(), switch))
    });
    ordered.switches = switches.read;
    let locks = each(&transaction.open_table(LOCKS)?, MAX_LOCKS, |written: &WrittenLock| {
        let lock = written.lock()?;
        Ok((lock.id.to_string(), lock))
    });
    ordered.locks = locks.read;
    match switches.problem.or(locks.problem) {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

struct Each<T> {
    read: Vec<T>,
    problem: Option<anyhow::Error>,
}

fn each<W: DeserializeOwned, T>(
    rows: &Rows,
    most: usize,
    parse: impl Fn(&W) -> anyhow::Result<(String, T)>,
) -> Each<T> {
    let mut all = Each { read: Vec::new(), problem: None };
    let found = match rows.iter() {
        Ok(found) => found,
        Err(error) => return Each { problem: Some(error.into()), ..all },
    };
    for (index, row) in found.enumerate() {
        let parsed = row.map_err(anyhow::Error::from).and_then(|(id, json)| {
            if index >= most {
                bail!("it holds more than {most} of a kind");
            }
            let (own, parsed) = parse(&serde_json::from_str(json.value())?)?;
            if own == id.value() { Ok(parsed) } else { bail!("one is written under the name of another") }
        });
        match parsed {
            Ok(parsed) => all.read.push(parsed),
            Err(problem) => all.problem = Some(problem),
        }
        if index >= most {
            break;
        }
    }
    all
}

// === setting aside ===

/// Gives a damaged file another name and puts one with these orders in its place, of which some are to be recorded; says what
/// the other name is. At each moment there is either the damaged file or the new one.
pub(super) fn set_aside(folder: &Path, path: &Path, orders: &Ordered, told: &Import) -> anyhow::Result<PathBuf> {
    let damaged = File::open(path)?;
    // So that no two processes do this at once: the second would take the first one's new file away.
    match damaged.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another process has it open"),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let (locked, there) = (damaged.metadata()?, fs::metadata(path)?);
    if (locked.dev(), locked.ino()) != (there.dev(), there.ino()) {
        bail!("another process is about to set it aside");
    }
    let prefix = format!("{NAME}.damaged-");
    let is_aside = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&prefix);
    if fs::read_dir(folder)?.filter_map(Result::ok).filter(is_aside).count() >= MAX_ASIDE {
        bail!("{MAX_ASIDE} damaged files are set aside beside it already: look at the disk, and move them away");
    }
    let aside = folder.join(format!("{prefix}{}", clock::rfc3339(Timestamp(told.at)).replace([':', '-'], "")));
    fs::hard_link(path, &aside).with_context(|| format!("{}: it can't be set aside there", aside.display()))?;
    with_new(folder, orders, Some(told), |new| Ok(fs::rename(new, path)?))?;
    Ok(aside)
}
