//! The log's file: lines at its end, and none of them half.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use swaigate_core::{
    chain::{Chain, number_of},
    time::Timestamp,
};

use super::kept::State;

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 16 << 20;

/// The open file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// What it is: a pipe or a device isn't read, cut, synced or moved.
    is_regular: bool,
    identity: (u64, u64),
    length: u64,
    /// When something was written last.
    written: Timestamp,
    /// Lines that aren't written yet, and how much of them is.
    pending: Vec<u8>,
    done: usize,
}

/// What was found in the file after the last record that was known to be on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// How many records the chain has followed.
    pub(super) followed: u64,
    /// How many lines are not of the chain.
    pub(super) foreign: u64,
    /// How many bytes of an unfinished line were cut off.
    pub(super) cut: u64,
}

// === impl LogFile ===

impl LogFile {
    /// Opens the file, and makes it and its folder if they aren't there: for their owner only.
    ///
    /// # Errors
    /// If it can't be opened.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let about = file.metadata()?;
        let is_regular = about.is_file();
        Ok(Self {
            path: path.to_owned(),
            file,
            is_regular,
            identity: identity(&about),
            length: if is_regular { about.len() } else { 0 },
            written: written(&about),
            pending: Vec::new(),
            done: 0,
        })
    }

    /// Lets the chain follow what was written after the state was, and cuts off a line that a crash has left unfinished. It
    /// is in this file, or in one beside it, if that was moved since.
    ///
    /// # Errors
    /// If it can't be read or cut.
    pub(super) fn recover(&mut self, state: &mut State) -> io::Result<Found> {
        if !self.is_regular {
            return Ok(Found::default());
        }
        let mut moved = Found::default();
        if state.file != self.number() && state.file != 0 {
            if let Some(path) = beside(&self.path, state.file)? {
                moved = follow(&path, state.length, &mut state.chain, false)?;
            }
            state.length = 0;
        }
        let found = follow(&self.path, state.length, &mut state.chain, true)?;
        self.length -= found.cut;
        Ok(Found {
            followed: moved.followed + found.followed,
            foreign: moved.foreign + found.foreign,
            cut: moved.cut + found.cut,
        })
    }

    /// Adds a line to those that are written next.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.pending.extend_from_slice(line);
    }

    /// Writes what was added. What has failed is tried again from where it stopped.
    ///
    /// # Errors
    /// If not all of it could be written.
    pub(super) fn write(&mut self, now: Timestamp) -> io::Result<()> {
        while self.done < self.pending.len() {
            match self.file.write(&self.pending[self.done..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.done += written;
                    self.length += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.done > 0 {
            self.written = now;
        }
        self.pending.clear();
        self.done = 0;
        Ok(())
    }

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// If that can't be known.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.is_regular { self.file.sync_data() } else { Ok(()) }
    }

    /// Whether the file at its path is another one by now, or none.
    pub(super) fn was_moved(&self) -> bool {
        fs::metadata(&self.path).map_or(true, |about| identity(&about) != self.identity)
    }

    /// Gives the file another name, beside it, and goes on in a new one.
    ///
    /// # Errors
    /// If it can't be moved, or no other be opened; then it goes on in the old one.
    pub(super) fn move_to(&mut self, name: &str) -> io::Result<()> {
        let other = self.path.with_file_name(name);
        fs::rename(&self.path, &other)?;
        match Self::open(&self.path) {
            Ok(new) => *self = new,
            Err(error) => {
                // A file of its name may have been made, and holds nothing then.
                let _ = fs::rename(&other, &self.path);
                return Err(error);
            }
        }
        super::kept::sync_folder(&self.path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The length it has when all that was added is written.
    pub(super) fn length(&self) -> u64 {
        self.length + self.waiting() as u64
    }

    /// How many bytes aren't written yet.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len() - self.done
    }

    /// The file's inode: it keeps that when it is moved.
    pub(super) fn number(&self) -> u64 {
        self.identity.1
    }

    pub(super) fn is_regular(&self) -> bool {
        self.is_regular
    }

    /// When something was written last.
    pub(super) fn written(&self) -> Timestamp {
        self.written
    }
}

/// Follows a file from where it was so long. One that may be another's is cut only if it holds what was followed.
fn follow(path: &Path, length: u64, chain: &mut Chain, is_the_log: bool) -> io::Result<Found> {
    let mut reader = BufReader::new(File::open(path)?);
    let whole = reader.get_ref().metadata()?.len();
    let from = if ends_a_line(&mut reader, length, whole)? { length } else { 0 };
    reader.seek(SeekFrom::Start(from))?;
    let (last, mut end, mut found) = (chain.head().seq, from, Found::default());
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
        if !line.ends_with(b"\n") && length < MAX_LINE {
            break;
        }
        end += length;
        let is_known = number_of(&line).is_some_and(|seq| seq <= last);
        match chain.follow(&line) {
            true => found.followed += 1,
            false if is_known => {}
            false => found.foreign += 1,
        }
    }
    if !is_the_log && found.followed == 0 {
        return Ok(Found::default());
    }
    found.cut = whole.saturating_sub(end);
    if found.cut > 0 {
        OpenOptions::new().write(true).open(path)?.set_len(end)?;
    }
    Ok(found)
}

/// Whether a line ends there.
fn ends_a_line(reader: &mut BufReader<File>, length: u64, whole: u64) -> io::Result<bool> {
    if length == 0 || length > whole {
        return Ok(length == 0);
    }
    let mut last = [0];
    reader.seek(SeekFrom::Start(length - 1))?;
    reader.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The file of this inode in the same folder.
fn beside(path: &Path, inode: u64) -> io::Result<Option<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.metadata().is_ok_and(|about| about.is_file() && about.ino() == inode) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn identity(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

fn written(about: &Metadata) -> Timestamp {
    let since = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The name of a file that is full: when that was, and the number of its last record.
pub(super) fn old_name(path: &Path, now: Timestamp, chain: &Chain) -> String {
    let time: String = crate::clock::rfc3339(now).chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let time = time.split('.').next().unwrap_or_default();
    let (stem, extension) = parts(path);
    format!("{stem}-{time}Z-{}{extension}", chain.head().seq)
}

/// The files that were given such a name, the oldest first.
///
/// # Errors
/// If the folder can't be read.
pub(super) fn old_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (stem, extension) = parts(path);
    // By time first: another chain counts anew.
    let order = |name: &str| -> Option<(String, u64)> {
        let rest = name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&extension)?;
        let (time, number) = rest.split_once('-')?;
        let is_time = time.len() == 16 && time.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z'));
        Some((time.to_owned(), number.parse().ok()?)).filter(|_| is_time)
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(order) = entry.file_name().to_str().and_then(order) {
            files.push((order, entry.path()));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// The name of a file up to its last dot, and from there.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).unwrap_or_default().to_owned();
    let extension = text(path.extension());
    (text(path.file_stem()), if extension.is_empty() { extension } else { format!(".{extension}") })
}
