//! Argon2id hashes (RFC 9106).

use argon2::{
    Argon2,
    password_hash::{PasswordVerifier, phc::PasswordHash},
};

/// An argon2id hash in PHC form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argon2idHash(Box<PasswordHash>);

/// A text that is no argon2id hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an argon2id hash in PHC form ($argon2id$v=19$…); `swaigate hash-password` makes one")]
pub struct NotArgon2id;

impl Argon2idHash {
    /// Checks that a text is an argon2id hash.
    ///
    /// # Errors
    /// [`NotArgon2id`].
    pub fn parse(text: &str) -> Result<Self, NotArgon2id> {
        let hash = PasswordHash::new(text).map_err(|_| NotArgon2id)?;
        let usable = hash.algorithm.as_str() == "argon2id" && hash.hash.is_some() && hash.salt.is_some();
        if usable { Ok(Self(Box::new(hash))) } else { Err(NotArgon2id) }
    }

    /// Whether this is the hash of these bytes. It takes tens of milliseconds, and mebibytes, by what the hash says.
    pub fn is_of(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, self.0.as_ref()).is_ok()
    }

    /// The hash in PHC form.
    pub fn phc(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_argon2id_is_a_hash() {
        for text in
            ["", "hunter2", "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", "$2b$12$abcdefghijklmnopqrstuv"]
        {
            assert_eq!(Argon2idHash::parse(text), Err(NotArgon2id), "{text}");
        }
    }
}
