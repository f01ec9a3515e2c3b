//! The file with the chain's key: what is needed to seal the next record, and nothing of what was sealed.
//!
//! `audit.chain` has two places. The state is written to the one that holds the older, and when it is on the disk there,
//! over the other one too: at each moment one of them is whole, and the key of before is overwritten at once. What a file
//! system or an SSD keeps of overwritten blocks is beyond this program.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use swaigate_core::{
    chain::{Chain, ChainKey},
    secret::Secret,
};

use super::hex;
use crate::random;

/// The size of a place in bytes; they are a page apart, so that one write damages one of them at most.
const PLACE: usize = 512;
const APART: u64 = 4096;

/// How long another process may take to let go of the file: one that hands over, or ends.
const PATIENCE: Duration = Duration::from_secs(5);

const FORM: &str = "swaigate-audit-chain/1";

/// The open file, which no other process has.
#[derive(Debug)]
pub(super) struct ChainFile {
    file: File,
    path: PathBuf,
    /// How often it was written.
    count: u64,
}

/// What it holds.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The chain after the last record that is known to be on the disk.
    pub(super) chain: Chain,
    /// The file that it is in (its inode), and how long that was with it, in bytes.
    pub(super) file: u64,
    pub(super) length: u64,
    /// What ended it, if it was ended in order.
    pub(super) ending: Option<Ending>,
}

/// How a process ends in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// There is no record yet.
    Made,
    /// It was stopped.
    Stop,
    /// Another process goes on.
    Handover,
}

// === impl ChainFile ===

impl ChainFile {
    /// Opens the file in this folder. Where there is none, a chain is made: its verification key is in a file beside it then.
    ///
    /// # Errors
    /// If it can't be read or written, or another process has it.
    pub(super) fn open(folder: &Path) -> anyhow::Result<(Self, State)> {
        let path = folder.join("audit.chain");
        let place = || format!("{}: the key of the audit log", path.display());
        let is_new = !path.try_exists().with_context(place)?;
        if is_new {
            let (key, id) = new_key()?;
            let key_file = folder.join(format!("audit-{id}.key"));
            make_folder(folder).and_then(|()| write_key(&key_file, &key)).with_context(place)?;
            make(&path, &key).with_context(place)?;
            tracing::warn!(key = %key_file.display(), "a chain of audit records begins: move its verification key to another machine and remove it here, since whoever reads it can rewrite the log; `swaigate audit verify --key` needs it");
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).with_context(place)?;
        lock(&file).with_context(place)?;
        let mut opened = Self { file, path: path.clone(), count: 0 };
        if let Some(state) = opened.read().with_context(place)? {
            if !is_new {
                warn_of_keys(folder);
            }
            return Ok((opened, state));
        }
        drop(opened);
        set_aside(&path).with_context(place)?;
        Self::open(folder)
    }

    /// The newer of the two places; nothing if neither is whole.
    fn read(&mut self) -> io::Result<Option<State>> {
        let mut newest = None;
        for place in 0..2 {
            let mut text = zeroize::Zeroizing::new([0; PLACE]);
            let length = read_at(&self.file, text.as_mut_slice(), place * APART)?;
            let Some((count, state)) = text.get(..length).and_then(parse) else { continue };
            if newest.as_ref().is_none_or(|(other, _)| count > *other) {
                newest = Some((count, state));
            }
        }
        self.count = newest.as_ref().map_or(0, |(count, _)| *count);
        Ok(newest.map(|(_, state)| state))
    }

    /// Writes the state, and waits for the disk if that is wanted. The one of before is overwritten.
    ///
    /// # Errors
    /// If it can't be written: then one of the two places may hold the state of before.
    pub(super) fn write(&mut self, state: &State, is_durable: bool) -> io::Result<()> {
        self.count += 1;
        let text = text(self.count, state);
        self.file.write_all_at(text.expose(), self.count % 2 * APART)?;
        if is_durable {
            self.file.sync_data()?;
        }
        self.file.write_all_at(text.expose(), (self.count + 1) % 2 * APART)?;
        // What ends is not written again.
        if is_durable && state.ending.is_some() { self.file.sync_data() } else { Ok(()) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a chain in this folder, and says its verification key, which is written nowhere.
///
/// # Errors
/// If there is one, or it can't be written.
pub(super) fn make_chain(folder: &Path) -> anyhow::Result<ChainKey> {
    let path = folder.join("audit.chain");
    if path.try_exists()? {
        bail!(
            "{}: there is a chain already; with another one, what was written is no longer one chain",
            path.display()
        );
    }
    let (key, _) = new_key()?;
    make_folder(folder).and_then(|()| make(&path, &key)).with_context(|| format!("{}", path.display()))?;
    Ok(key)
}

/// What the file of a gateway says, which may be running.
///
/// # Errors
/// If it can't be read.
pub(super) fn look(folder: &Path) -> anyhow::Result<State> {
    let path = folder.join("audit.chain");
    let file = File::open(&path).with_context(|| format!("{}: it can't be read", path.display()))?;
    // A place may be half written just now, but not both.
    let state = ChainFile { file, path: path.clone(), count: 0 }.read()?;
    state.with_context(|| format!("{}: it is damaged", path.display()))
}

fn new_key() -> anyhow::Result<(ChainKey, swaigate_core::chain::ChainId)> {
    let key = ChainKey::new(random::bytes::<32>()?);
    let id = key.id();
    Ok((key, id))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn write_key(path: &Path, key: &ChainKey) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.to_text().expose())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Under another name first: a crash leaves either no file or a whole one.
fn make(path: &Path, key: &ChainKey) -> io::Result<()> {
    let new = path.with_extension(format!("chain.{}", std::process::id()));
    let _ = fs::remove_file(&new);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let state = State { chain: Chain::begin(key), file: 0, length: 0, ending: Some(Ending::Made) };
    let mut made = ChainFile { file, path: path.to_owned(), count: 0 };
    made.write(&state, true)?;
    // Unless another process was quicker.
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    linked?;
    sync_folder(path)
}

fn lock(file: &File) -> anyhow::Result<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => {
                bail!("another process has it open: two gateways can't write one audit log")
            }
        }
    }
}

/// A damaged file isn't written over: somebody may want to know why. The log goes on in a new chain, and a verifier tells.
fn set_aside(path: &Path) -> io::Result<()> {
    let aside = path.with_extension(format!("damaged-{}", crate::clock::now().0));
    fs::rename(path, &aside)?;
    tracing::error!(path = %path.display(), aside = %aside.display(), "the key of the audit log is damaged: it was set aside, and another chain begins");
    sync_folder(path)
}

/// Keys that should be elsewhere by now.
fn warn_of_keys(folder: &Path) {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for key in names.filter(|path| is_key(path)) {
        tracing::warn!(key = %key.display(), "a verification key of the audit log is on this machine: whoever reads it can rewrite the log; move it to another one");
    }
}

fn is_key(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".key")).is_some_and(|id| id.len() == 16)
}

/// Waits until the names in the folder of this file are on the disk.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], at + length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

// === a place as text ===

fn text(count: u64, state: &State) -> Secret {
    let chain = state.chain.to_text();
    let ending = state.ending.map_or("open", Ending::as_str);
    let mut text = zeroize::Zeroizing::new(Vec::with_capacity(PLACE));
    text.extend_from_slice(format!("{FORM} {count} {} {} {ending} ", state.file, state.length).as_bytes());
    text.extend_from_slice(chain.expose());
    let sum = checksum(&text);
    text.extend_from_slice(format!(" {sum}").as_bytes());
    text.resize(PLACE - 1, b' ');
    text.push(b'\n');
    Secret::new(text.as_slice())
}

fn parse(text: &[u8]) -> Option<(u64, State)> {
    let (text, sum) = std::str::from_utf8(text).ok()?.trim_end().rsplit_once(' ')?;
    if checksum(text.as_bytes()) != sum {
        return None;
    }
    let mut words = text.strip_prefix(FORM)?.strip_prefix(' ')?.splitn(5, ' ');
    let count = words.next()?.parse().ok()?;
    let (file, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let ending = Ending::ALL.into_iter().find(|ending| Some(ending.as_str()) == words.clone().next());
    let chain = Chain::from_text(words.nth(1)?).ok()?;
    Some((count, State { chain, file, length, ending }))
}

fn checksum(text: &[u8]) -> String {
    hex(&Sha256::digest(text)[..8])
}

// === impl Ending ===

impl Ending {
    const ALL: [Self; 3] = [Ending::Made, Ending::Stop, Ending::Handover];

    /// As openings of sections have it (`after`).
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Ending::Made => "start",
            Ending::Stop => "stop",
            Ending::Handover => "handover",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn sealed(state: &State, records: usize) -> State {
        let mut chain = state.chain.clone();
        (0..records).for_each(|_| chain.seal(&mut b"{\"a\":1}".to_vec()));
        State { chain, file: 5, length: 7, ending: None }
    }

    #[test]
    fn a_chain_is_made_once_with_a_key_that_is_the_operators() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (file, made) = ChainFile::open(&state).unwrap();
        assert_eq!((made.ending, made.chain.head().seq), (Some(Ending::Made), 0));
        let names: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
        let key = names.iter().find(|path| is_key(path)).expect("the verification key");
        let key_text = Secret::new(fs::read(key).unwrap());
        assert_eq!(Chain::begin(&ChainKey::from_text(&key_text).unwrap()).head(), made.chain.head());
        for path in [key.as_path(), file.path()] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(names.len(), 2, "{names:?}");
        drop(file);
        let (_file, again) = ChainFile::open(&state).unwrap();
        assert_eq!(again.chain.head(), made.chain.head());
        assert!(make_chain(&state).unwrap_err().to_string().contains("already"));
    }

    #[test]
    fn the_key_of_before_is_gone_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, mut state) = ChainFile::open(folder.path()).unwrap();
        let mut old = Vec::new();
        for round in 0..4 {
            let key = state.chain.to_text().expose_str().unwrap().split(' ').next_back().unwrap().to_owned();
            let whole = fs::read_to_string(file.path()).unwrap();
            assert!(whole.contains(&key) && old.iter().all(|old: &String| !whole.contains(old)), "round {round}");
            old.push(key);
            state = sealed(&state, 3);
            file.write(&state, true).unwrap();
        }
    }

    #[test]
    fn a_write_that_a_crash_cuts_leaves_the_state_of_before_or_after() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, state) = ChainFile::open(folder.path()).unwrap();
        let before = fs::read(file.path()).unwrap();
        let later = sealed(&state, 2);
        file.write(&later, true).unwrap();
        let (path, after) = (file.path().to_owned(), fs::read(file.path()).unwrap());
        drop(file);
        let (first, second) =
            (APART as usize * (file_place(&before, &after)), APART as usize * (1 - file_place(&before, &after)));
        for (place, settled) in [(first, &before), (second, &after)] {
            for cut in 0..=PLACE {
                let mut torn = settled.clone();
                torn[place..place + cut].copy_from_slice(&after[place..place + cut]);
                torn[place + cut..place + PLACE].copy_from_slice(&before[place + cut..place + PLACE]);
                fs::write(&path, &torn).unwrap();
                let found = look(folder.path()).unwrap().chain.head();
                assert!(found == state.chain.head() || found == later.chain.head(), "{cut}");
            }
        }
    }

    /// Which place is written first: that of an even count is the first one.
    fn file_place(before: &[u8], _after: &[u8]) -> usize {
        let count: u64 =
            std::str::from_utf8(before).unwrap_or_default().split(' ').nth(1).map_or(1, |c| c.parse().unwrap());
        usize::try_from((count + 1) % 2).unwrap()
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_another_chain_begins() {
        let folder = tempfile::tempdir().unwrap();
        let (file, state) = ChainFile::open(folder.path()).unwrap();
        let path = file.path().to_owned();
        drop(file);
        fs::write(&path, "x").unwrap();
        assert!(look(folder.path()).is_err());
        let (_file, other) = ChainFile::open(folder.path()).unwrap();
        assert_ne!(other.chain.head().chain, state.chain.head().chain);
        let aside = fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("damaged"));
        assert_eq!(aside.count(), 1);
    }

    #[test]
    fn only_one_process_has_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (_file, _) = ChainFile::open(folder.path()).unwrap();
        let path = folder.path().join("audit.chain");
        assert!(matches!(File::open(path).unwrap().try_lock(), Err(TryLockError::WouldBlock)));
    }
}
