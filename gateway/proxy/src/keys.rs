//! The token keys: those of the settings, or one that is made at the first start and kept. And the admin token, which is
//! made and kept in the same way.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use swaigate_core::{
    keys::{Key, KeyRing, MIN_KEY_BYTES},
    secret::Secret,
};

use crate::{
    random,
    settings::{self, Settings},
};

/// The id of a key that was made here.
const GENERATED: &str = "generated";

/// The shortest admin token, in bytes: 32 random ones in base64.
const MIN_ADMIN_TOKEN: usize = 43;

/// The ring of the settings' keys; without any, of the key that is kept in the state folder, which is made if need be.
///
/// # Errors
/// If a key is unfit, or the kept one can't be read or written.
pub fn ring(settings: &Settings) -> anyhow::Result<KeyRing> {
    if !settings.token_keys.is_empty() {
        return settings::key_ring(&settings.token_keys).map_err(Into::into);
    }
    let path = settings.state.path.join("token.key");
    let secret = match fs::read_to_string(&path) {
        Ok(text) => Secret::new(STANDARD.decode(text.trim()).with_context(|| not_a_key(&path))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path)?,
        Err(error) => return Err(error).with_context(|| format!("{}: the token key can't be read", path.display())),
    };
    if secret.len() < MIN_KEY_BYTES {
        bail!("{}", not_a_key(&path));
    }
    Ok(KeyRing::new(vec![Key::new(GENERATED, &secret)?])?)
}

/// The file of the operator's token, in the folder of the state.
pub fn admin_token_file(state: &Path) -> PathBuf {
    state.join("admin.token")
}

/// The file of the viewer's token, likewise.
fn viewer_token_file(state: &Path) -> PathBuf {
    state.join("viewer.token")
}

/// The token that is kept there, without the newline that an editor may have put behind it.
///
/// # Errors
/// If the file can't be read, or is shorter than a token.
pub fn kept_admin_token(path: &Path) -> anyhow::Result<Secret> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{}: the admin token can't be read", path.display()))?;
    let token = Secret::new(text.trim());
    if token.len() < MIN_ADMIN_TOKEN || token.expose().iter().any(|byte| !byte.is_ascii_graphic()) {
        bail!("{}: not an admin token; remove the file to have one made at the next start", path.display());
    }
    Ok(token)
}

/// The tokens that are kept in the folder of the state, which are made if need be: the operator's and the viewer's.
///
/// # Errors
/// If a kept one can't be read, or a new one not be written.
pub fn admin_tokens(state: &Path) -> anyhow::Result<[Secret; 2]> {
    Ok([kept_or_made(admin_token_file(state))?, kept_or_made(viewer_token_file(state))?])
}

fn kept_or_made(path: PathBuf) -> anyhow::Result<Secret> {
    if path.try_exists().with_context(|| format!("{}: it can't be looked for", path.display()))? {
        return kept_admin_token(&path);
    }
    let token = random::password()?;
    write(&path, token.expose()).with_context(|| format!("{}: the admin token can't be written", path.display()))?;
    tracing::info!(path = %path.display(), "an admin token was made; `swaigate emergency` reads it");
    Ok(token)
}

/// A ring of a key that is kept nowhere: its tokens die with the process.
///
/// # Errors
/// If the operating system gives no random bytes.
pub fn ephemeral_ring() -> anyhow::Result<KeyRing> {
    let secret = Secret::new(random::bytes::<MIN_KEY_BYTES>()?);
    Ok(KeyRing::new(vec![Key::new("ephemeral", &secret)?])?)
}

fn make(path: &Path) -> anyhow::Result<Secret> {
    let bytes = random::bytes::<MIN_KEY_BYTES>()?;
    let text = Secret::new(STANDARD.encode(bytes));
    write(path, text.expose()).with_context(|| format!("{}: the token key can't be written", path.display()))?;
    tracing::info!(path = %path.display(), "a token key was made; list `token_keys` to use your own");
    Ok(Secret::new(bytes))
}

/// Writes a file that wasn't there, for its owner only.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn not_a_key(path: &Path) -> String {
    format!("{}: not a token key; remove the file to have one made, which ends the calls under way", path.display())
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, os::unix::fs::PermissionsExt};

    use super::*;

    fn settings(folder: &Path) -> Settings {
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        let mut settings = settings::for_loopback(address, address);
        settings.state.path = folder.join("state");
        settings
    }

    #[test]
    fn a_key_is_made_once_and_kept_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let first = ring(&settings).unwrap().newest().call("c");
        assert_eq!(ring(&settings).unwrap().newest().call("c"), first);
        let mode = fs::metadata(folder.path().join("state/token.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn admin_tokens_are_made_once_and_kept_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let exposed = || admin_tokens(&state).unwrap().map(|token| token.expose().to_vec());
        let first = exposed();
        assert_eq!(exposed(), first);
        assert_ne!(first[0], first[1]);
        for path in [admin_token_file(&state), viewer_token_file(&state)] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            for text in ["", "short", &"x ".repeat(30)] {
                fs::write(&path, text).unwrap();
                assert!(admin_tokens(&state).unwrap_err().to_string().contains("not an admin token"), "{text}");
            }
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_damaged_key_is_an_error_and_not_a_new_key() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        fs::create_dir(folder.path().join("state")).unwrap();
        for text in ["", "AAAA", "not base64"] {
            fs::write(folder.path().join("state/token.key"), text).unwrap();
            assert!(ring(&settings).unwrap_err().to_string().contains("not a token key"), "{text}");
        }
    }
}
