//! Settings, policies and secrets as files.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use swaigate_core::{keys::MIN_KEY_BYTES, policy::Secrets, secret::Secret, yaml::MAX_BYTES};

use super::fs;

/// The longest secret that is read from a file, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// Secrets in the environment of the process and in files; relative paths are relative to one folder.
#[derive(Debug)]
pub struct FileSecrets {
    folder: PathBuf,
    notes: RefCell<Vec<String>>,
}

// === impl FileSecrets ===

impl FileSecrets {
    /// Secrets for files in this folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), notes: RefCell::default() }
    }

    /// What should be looked at: secrets that every user of the machine can read.
    pub fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }

    /// Whether every user of the machine can read this file.
    pub fn is_readable_by_all(&self, path: &str) -> bool {
        world_readable(&self.folder.join(path)).unwrap_or(false)
    }

    fn read(&self, path: &Path) -> io::Result<Secret> {
        let mut bytes = bounded(path, MAX_SECRET)?;
        if world_readable(path)? {
            self.notes.borrow_mut().push(format!(
                "{} holds a secret and every user of this machine can read it; `chmod o-r` changes that",
                path.display()
            ));
        }
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        Ok(Secret::new(bytes))
    }
}

impl Secrets for FileSecrets {
    fn env(&self, name: &str) -> Option<Secret> {
        std::env::var_os(name).map(|value| Secret::new(value.into_encoded_bytes()))
    }

    fn file(&self, path: &str) -> Result<Secret, String> {
        self.read(&self.folder.join(path)).map_err(|error| error.to_string())
    }
}

/// Stands for secrets that nobody uses: each can be had, and is no secret.
#[derive(Debug)]
pub(super) struct AnySecrets;

impl Secrets for AnySecrets {
    fn env(&self, _name: &str) -> Option<Secret> {
        Some(Secret::new([b'x'; MIN_KEY_BYTES]))
    }

    fn file(&self, _path: &str) -> Result<Secret, String> {
        Ok(Secret::new([b'x'; MIN_KEY_BYTES]))
    }
}

/// The folder that a file's relative paths start from.
pub fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The text of a settings file.
///
/// # Errors
/// Why it can't be read.
pub fn text(path: &Path) -> Result<String, String> {
    let bytes = bounded(path, MAX_BYTES as u64).map_err(|error| format!("the file can't be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())
}

/// The policy files of a folder, by name, without this one.
pub(super) fn policies_in(folder: &Path, settings: Option<&Path>) -> io::Result<Vec<PathBuf>> {
    let settings = settings.and_then(|path| path.canonicalize().ok());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let own = settings.is_some() && path.canonicalize().ok() == settings;
        if yaml && !hidden && !own && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What is in a file, which is no pipe or device and has at most so many bytes.
fn bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(unix)]
fn world_readable(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::metadata(path)?.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn world_readable(_: &Path) -> io::Result<bool> {
    Ok(false)
}
