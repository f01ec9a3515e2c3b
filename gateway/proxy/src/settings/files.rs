//! Settings, policies and secrets as files.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use swaigate_core::{
    keys::MIN_KEY_BYTES,
    policy::{Certificate, Secrets},
    secret::Secret,
    yaml::MAX_BYTES,
};

use super::{
    certificates::{self, CertificateFile},
    fallbacks,
};

/// The longest secret that is read from a file, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// Secrets in the environment of the process and in files; relative paths are relative to one folder.
#[derive(Debug)]
pub struct FileSecrets {
    folder: PathBuf,
    found: RefCell<Found>,
}

/// What was seen on the way.
#[derive(Debug, Default)]
pub struct Found {
    /// What should be looked at: secrets that every user of the machine can read, certificates that end, and variables
    /// that stand for what a file doesn't say.
    pub notes: Vec<String>,
    /// The files with certificates.
    pub certificates: Vec<CertificateFile>,
    /// The files with private keys.
    pub private_keys: Vec<PathBuf>,
}

// === impl FileSecrets ===

impl FileSecrets {
    /// Secrets for files in this folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), found: RefCell::default() }
    }

    /// What was seen on the way.
    pub fn into_found(self) -> Found {
        self.found.into_inner()
    }

    /// Whether every user of the machine can read this file.
    pub fn is_readable_by_all(&self, path: &str) -> bool {
        world_readable(&self.folder.join(path)).unwrap_or(false)
    }

    /// What should be looked at in a file of certificates: that one isn't good, or not for long.
    pub fn note_of_certificates(&self, path: &str) -> Option<String> {
        let all = certificates::read(&bounded(&self.path(path), certificates::MAX_BYTES).ok()?).ok()?;
        all.iter().filter_map(certificates::times).find_map(|(_, note)| note)
    }

    /// As it is shown, too: without the name of the current folder.
    fn path(&self, path: &str) -> PathBuf {
        let path = self.folder.join(path);
        path.strip_prefix(".").map(Path::to_owned).unwrap_or(path)
    }

    fn note(&self, note: String) {
        let notes = &mut self.found.borrow_mut().notes;
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn read_secret(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let bytes = bounded(path, most)?;
        if world_readable(path)? {
            let advice = "holds a secret and every user of this machine can read it; `chmod o-r` changes that";
            self.note(format!("{} {advice}", path.display()));
        }
        Ok(bytes)
    }

    fn read(&self, path: &Path) -> io::Result<Secret> {
        let mut bytes = self.read_secret(path, MAX_SECRET)?;
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

    fn certificates(&self, path: &str) -> Result<Vec<Certificate>, String> {
        let path = self.path(path);
        let bytes = bounded(&path, certificates::MAX_BYTES).map_err(|error| error.to_string())?;
        let all = certificates::read(&bytes)?;
        let times: Vec<_> = all.iter().filter_map(certificates::times).collect();
        for note in times.iter().filter_map(|(_, note)| note.as_ref()) {
            self.note(format!("a certificate in {} {note}", path.display()));
        }
        let ends = times.iter().map(|(ends, _)| *ends).min().unwrap_or_default();
        self.found.borrow_mut().certificates.push(CertificateFile { path, ends });
        Ok(all)
    }

    fn private_key(&self, path: &str, of: &[Certificate]) -> Result<Secret, String> {
        let path = self.path(path);
        let bytes = self.read_secret(&path, certificates::MAX_BYTES).map_err(|error| error.to_string())?;
        let key = certificates::read_private_key(&Secret::new(bytes), of)?;
        self.found.borrow_mut().private_keys.push(path);
        Ok(key)
    }

    fn fallback(&self, name: &str, _is_required: bool) -> Option<Secret> {
        let value = self.env(name).filter(|value| !value.is_empty())?;
        self.note(format!("{name} of the environment is used, since no file says otherwise"));
        Some(value)
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

    fn fallback(&self, name: &str, is_required: bool) -> Option<Secret> {
        fallbacks::stand_in(name).filter(|_| is_required)
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
