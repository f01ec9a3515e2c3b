//! Basic authentication (RFC 7617).

use base64::{Engine, engine::general_purpose::STANDARD};

pub use crate::argon2id::{Argon2idHash, NotArgon2id};
use crate::{
    keys::MacKey,
    secret::{Secret, constant_time_eq},
};

/// The longest `Authorization` header that is looked at, in bytes.
pub const MAX_HEADER: usize = 4096;

/// What an `Authorization: Basic` header carries.
#[derive(Debug)]
pub struct Credentials {
    /// The user name; it holds no colon.
    pub username: String,
    /// The password; it may hold any byte.
    pub password: Secret,
}

/// One user of the gateway, as configured.
#[derive(Debug, Clone)]
pub struct User {
    /// The name.
    pub username: String,
    /// How the password is known.
    pub password: Password,
}

/// How a password is known.
#[derive(Debug, Clone)]
pub enum Password {
    /// In plain, from the environment or a file.
    Plain(Secret),
    /// As an argon2id hash (PHC string), checked when it was loaded.
    Argon2id(Argon2idHash),
}

/// The users who may talk to one agent.
///
/// Several users may have one name, so that a password can be rotated without a moment in which neither works.
#[derive(Debug)]
pub struct Users {
    key: MacKey,
    plain: Vec<[u8; 32]>,
    hashed: Vec<HashedUser>,
}

/// What a quick look at credentials says.
#[derive(Debug)]
#[must_use]
pub enum Check {
    /// They are a user's.
    Accepted,
    /// They are nobody's.
    Refused,
    /// Only a password hash can tell, which takes tens of milliseconds: run it where that is no harm.
    Slow(SlowCheck),
}

/// The work of checking a password against argon2id hashes.
#[derive(Debug)]
pub struct SlowCheck {
    password: Secret,
    hashes: Vec<Argon2idHash>,
    known_user: bool,
    fingerprint: Fingerprint,
}

/// A keyed digest of credentials and of the hashes they were checked against. It stands for a check that succeeded, so
/// that a busy platform pays for the hash once; the password can't be computed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

#[derive(Debug)]
struct HashedUser {
    name: [u8; 32],
    hash: Argon2idHash,
}

/// Reads an `Authorization` header. `None` if it is not well-formed Basic authentication.
pub fn parse_header(value: &[u8]) -> Option<Credentials> {
    if value.len() > MAX_HEADER {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, token) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Secret::new(STANDARD.decode(token.trim_matches(' ')).ok()?);
    let bytes = decoded.expose();
    let colon = bytes.iter().position(|&b| b == b':')?;
    let (username, rest) = bytes.split_at(colon);
    let username = std::str::from_utf8(username).ok()?.to_owned();
    let password = Secret::new(rest.get(1..)?);
    // RFC 7617, section 2: neither may hold control characters.
    let control = |b: &u8| b.is_ascii_control();
    if username.bytes().any(|b| b.is_ascii_control()) || password.expose().iter().any(control) {
        return None;
    }
    Some(Credentials { username, password })
}

/// An `Authorization` header with these credentials.
pub fn header(username: &str, password: &[u8]) -> Secret {
    let pair = Secret::new([username.as_bytes(), b":", password].concat());
    Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())))
}

// === impl Users ===

impl Users {
    /// The users, and a key for digests of what they send. The key is best made anew at each start.
    pub fn new(key: MacKey, users: &[User]) -> Self {
        let mut plain = Vec::new();
        let mut hashed = Vec::new();
        for User { username, password } in users {
            match password {
                Password::Plain(password) => plain.push(pair(&key, username, password.expose())),
                Password::Argon2id(hash) => {
                    hashed.push(HashedUser { name: name(&key, username), hash: hash.clone() });
                }
            }
        }
        Self { key, plain, hashed }
    }

    /// Looks whose the credentials are. `verified` says whether a fingerprint stands for an earlier success.
    ///
    /// The time it takes depends on the number of users, not on which of them is meant or whether there is one.
    pub fn check(&self, credentials: &Credentials, verified: impl Fn(&Fingerprint) -> bool) -> Check {
        let digest = pair(&self.key, &credentials.username, credentials.password.expose());
        let found = self.plain.iter().fold(false, |found, known| constant_time_eq(known, &digest) | found);
        if found {
            return Check::Accepted;
        }
        if self.hashed.is_empty() {
            return Check::Refused;
        }
        let slow = self.slow_check(credentials, &digest);
        if verified(&slow.fingerprint) { Check::Accepted } else { Check::Slow(slow) }
    }

    /// As many hashes for a name nobody has as for one that somebody has.
    fn slow_check(&self, credentials: &Credentials, digest: &[u8; 32]) -> SlowCheck {
        let wanted = name(&self.key, &credentials.username);
        let of_user = |user: &&HashedUser| constant_time_eq(&user.name, &wanted);
        let mut hashes: Vec<_> = self.hashed.iter().filter(of_user).map(|user| user.hash.clone()).collect();
        let known_user = !hashes.is_empty();
        let missing = self.most_hashes_of_one_name().saturating_sub(hashes.len());
        hashes.extend(self.hashed.iter().cycle().take(missing).map(|user| user.hash.clone()));
        let texts: Vec<String> = hashes.iter().map(Argon2idHash::phc).collect();
        let mut parts: Vec<&[u8]> = vec![b"verified", digest];
        parts.extend(texts.iter().map(String::as_bytes));
        let fingerprint = Fingerprint(self.key.tag(&parts));
        SlowCheck { password: credentials.password.clone(), hashes, known_user, fingerprint }
    }

    fn most_hashes_of_one_name(&self) -> usize {
        let count = |user: &HashedUser| self.hashed.iter().filter(|other| other.name == user.name).count();
        self.hashed.iter().map(count).max().unwrap_or_default()
    }
}

// === impl SlowCheck ===

impl SlowCheck {
    /// Does the work. `Some` if the credentials are a user's: remember it, and they are accepted quickly next time.
    pub fn run(&self) -> Option<Fingerprint> {
        let password = self.password.expose();
        // Every hash is computed, also after a match, and one that merely fills up never counts.
        let matched = self.hashes.iter().fold(false, |matched, hash| hash.is_of(password) | matched);
        (matched && self.known_user).then_some(self.fingerprint)
    }
}

fn pair(key: &MacKey, username: &str, password: &[u8]) -> [u8; 32] {
    key.tag(&[b"pair", username.as_bytes(), password])
}

fn name(key: &MacKey, username: &str) -> [u8; 32] {
    key.tag(&[b"name", username.as_bytes()])
}

#[cfg(test)]
mod tests {
    use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher};

    use super::*;

    fn credentials(username: &str, password: &str) -> Credentials {
        Credentials { username: username.into(), password: Secret::new(password) }
    }

    fn hash(password: &str) -> Password {
        let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        let text = cheap.hash_password_with_salt(password.as_bytes(), b"saltsaltsalt").unwrap().to_string();
        Password::Argon2id(Argon2idHash::parse(&text).unwrap())
    }

    fn users(users: &[(&str, Password)]) -> Users {
        let users: Vec<User> = users
            .iter()
            .map(|(name, password)| User { username: (*name).into(), password: password.clone() })
            .collect();
        Users::new(MacKey::new(b"process"), &users)
    }

    fn accepted(users: &Users, username: &str, password: &str) -> bool {
        match users.check(&credentials(username, password), |_| false) {
            Check::Accepted => true,
            Check::Refused => false,
            Check::Slow(slow) => slow.run().is_some(),
        }
    }

    #[test]
    fn headers_are_rfc_7617s() {
        let good = [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
            ("bAsIc   YTpiOmM=", "a", "b:c"),
            ("Basic Og==", "", ""),
        ];
        for (header, username, password) in good {
            let parsed = parse_header(header.as_bytes()).unwrap();
            assert_eq!((parsed.username.as_str(), parsed.password.expose_str().unwrap()), (username, password));
        }
        for bad in ["", "Basic", "Basic !!!", "Bearer YTpi", "Basic YWI=", "Basic YQBiOmM=", "BasicYTpi"] {
            assert!(parse_header(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(parse_header(format!("Basic {}", "A".repeat(MAX_HEADER)).as_bytes()).is_none());
    }

    #[test]
    fn a_header_is_read_as_it_was_made() {
        let parsed = parse_header(header("bank", b"p:w@d").expose()).unwrap();
        assert_eq!((parsed.username.as_str(), parsed.password.expose()), ("bank", &b"p:w@d"[..]));
    }

    #[test]
    fn several_users_plain_and_hashed() {
        let users = users(&[
            ("signalwire", Password::Plain(Secret::new("new"))),
            ("signalwire", Password::Plain(Secret::new("old"))),
            ("ops", hash("first")),
            ("ops", hash("second")),
        ]);
        for (username, password, expected) in [
            ("signalwire", "new", true),
            ("signalwire", "old", true),
            ("signalwire", "first", false),
            ("ops", "first", true),
            ("ops", "second", true),
            ("ops", "new", false),
            ("nobody", "first", false),
            ("", "", false),
        ] {
            assert_eq!(accepted(&users, username, password), expected, "{username}:{password}");
        }
    }

    #[test]
    fn nobody_costs_as_many_hashes_as_somebody() {
        let users = users(&[("ops", hash("a")), ("ops", hash("b")), ("solo", hash("c"))]);
        for username in ["ops", "solo", "nobody"] {
            let Check::Slow(slow) = users.check(&credentials(username, "x"), |_| false) else { panic!() };
            assert_eq!(slow.hashes.len(), 2, "{username}");
        }
    }

    #[test]
    fn a_success_is_remembered_for_the_same_credentials_and_hashes_only() {
        let users_before = users(&[("ops", hash("a"))]);
        let Check::Slow(slow) = users_before.check(&credentials("ops", "a"), |_| false) else { panic!() };
        let fingerprint = slow.run().unwrap();
        let remembered = |f: &Fingerprint| *f == fingerprint;
        assert!(matches!(users_before.check(&credentials("ops", "a"), remembered), Check::Accepted));
        assert!(matches!(users_before.check(&credentials("ops", "b"), remembered), Check::Slow(_)));
        let users_after = users(&[("ops", hash("rotated"))]);
        assert!(matches!(users_after.check(&credentials("ops", "a"), remembered), Check::Slow(_)));
    }
}
