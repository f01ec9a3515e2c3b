//! What stands in for the secrets that a policy names, where nothing secret is tried.

use std::{cell::RefCell, collections::HashMap};

use swaigate_core::{policy::Secrets, secret::Secret};

use crate::{random, settings};

/// A hash of nothing that anybody knows.
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$Jj3HHfVBGsHkrvzcgRvwqw";

/// The letters of base32: what is made of them is a password, a name and a key of every kind.
const LETTERS: [u8; 32] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Secrets by the names of their variables or files: those that are given, and made-up ones for all others.
#[derive(Debug, Default)]
pub struct StandIns {
    given: HashMap<String, Secret>,
    made: RefCell<HashMap<String, Secret>>,
}

// === impl StandIns ===

impl StandIns {
    /// These, and made-up ones for all others.
    pub fn new(given: HashMap<String, Secret>) -> Self {
        Self { given, made: RefCell::default() }
    }

    fn of(&self, name: &str) -> Option<Secret> {
        if let Some(given) = self.given.get(name) {
            return Some(given.clone());
        }
        let made = self.made.borrow().get(name).cloned();
        made.or_else(|| {
            let letters = random::bytes::<56>().ok()?.map(|byte| LETTERS[usize::from(byte % 32)]);
            let fresh = Secret::new(letters);
            self.made.borrow_mut().insert(name.to_owned(), fresh.clone());
            Some(fresh)
        })
    }
}

impl Secrets for StandIns {
    fn env(&self, name: &str) -> Option<Secret> {
        self.of(name)
    }

    fn hash_env(&self, name: &str) -> Option<Secret> {
        self.given.get(name).cloned().or_else(|| Some(Secret::new(HASH)))
    }

    fn file(&self, path: &str) -> Result<Secret, String> {
        self.of(path).ok_or_else(|| "the operating system gives no random bytes".to_owned())
    }

    fn fallback(&self, name: &str, is_required: bool) -> Option<Secret> {
        settings::stand_in(name).filter(|_| is_required)
    }
}
