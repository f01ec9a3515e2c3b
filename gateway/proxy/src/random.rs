//! The one place that draws random numbers: from the operating system.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use swaigate_core::secret::Secret;

/// The operating system gave no random bytes: nothing can be minted.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

/// `N` random bytes.
///
/// # Errors
/// [`NoRandomness`].
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// A password of 32 random bytes, as 43 characters of base64url: the SDKs' `token_urlsafe(32)`.
///
/// # Errors
/// [`NoRandomness`].
pub fn password() -> Result<Secret, NoRandomness> {
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes::<32>()?)))
}
