//! `swaigate hash-password`: what `password_hash` is.

use std::io::Read;

use anyhow::{Context, bail};
use argon2::{Argon2, password_hash::PasswordHasher};
use swaigate_core::secret::Secret;

use crate::random;

/// The shortest password that is hashed, in bytes.
const MIN_PASSWORD: usize = 16;

/// Reads a password from standard input and prints its argon2id hash.
///
/// # Errors
/// If it can't be read, or is too short.
pub fn hash() -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin().take(4096).read_to_string(&mut text).context("standard input can't be read")?;
    let password = Secret::new(text.trim_end_matches(['\n', '\r']));
    if password.len() < MIN_PASSWORD {
        bail!("a password needs at least {MIN_PASSWORD} bytes; `openssl rand -base64 32` makes a good one");
    }
    let salt = random::bytes::<16>()?;
    let hash = Argon2::default().hash_password_with_salt(password.expose(), &salt);
    println!("{}", hash.map_err(|error| anyhow::anyhow!("the password can't be hashed: {error}"))?);
    Ok(())
}
