//! `token_keys`: with which keys tokens are signed.

use swaigate_core::{
    keys::{Key, KeyError, KeyRing},
    policy::{Secrets, secret_in_env, secret_in_file},
    secret::Secret,
    yaml::{Field, Fields},
};

use super::sections::MAX_LISTED;

/// A key for tokens, as configured.
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// Its name, 1 to 64 visible ASCII characters; no two keys have tags that are the same.
    pub id: String,
    /// At least [`swaigate_core::keys::MIN_KEY_BYTES`] bytes.
    pub secret: Secret,
}

/// The ring of these keys, newest first.
///
/// # Errors
/// [`KeyError`] if there is none, if one is too short, or if two can't be told apart.
pub fn key_ring(keys: &[TokenKey]) -> Result<KeyRing, KeyError> {
    let keys = keys.iter().map(|key| Key::new(&key.id, &key.secret)).collect::<Result<_, _>>()?;
    KeyRing::new(keys)
}

pub(super) fn token_keys(field: Field<'_>, secrets: &dyn Secrets) -> Vec<TokenKey> {
    let (report, place, given) = (field.report(), field.place(), field.is_given());
    let items = field.list(MAX_LISTED);
    if given && items.as_ref().is_some_and(Vec::is_empty) {
        report.note(place, "`token_keys` must list a key; without it, one is made and kept with the state");
    }
    let mut keys: Vec<TokenKey> = Vec::new();
    for item in items.unwrap_or_default() {
        let place = item.place();
        let Some(key) = item.mapping(|fields| token_key(fields, secrets)) else { continue };
        keys.push(key);
        if let Err(error) = key_ring(&keys) {
            report.note(place, error.to_string());
            keys.pop();
        }
    }
    keys
}

fn token_key(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<TokenKey> {
    fields.refuse(
        "secret",
        "a secret is never written in this file; name where it is with `secret_env` or `secret_file`",
    );
    let id = fields.take("id").required().parse(key_id);
    let Some((key, field)) = fields.take_one_of(["secret_env", "secret_file"]) else {
        fields.report().note(fields.place(), "a key needs `secret_env` or `secret_file`");
        return None;
    };
    let (report, place) = (field.report(), field.key_place());
    let secret = if key == "secret_env" { secret_in_env(field, secrets) } else { secret_in_file(field, secrets) };
    let (id, secret) = (id?, secret?);
    Key::new(&id, &secret).map_err(|error| report.note(place, format!("`{key}`: {error}"))).ok()?;
    Some(TokenKey { id, secret })
}

fn key_id(text: &str) -> Result<String, &'static str> {
    if (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("the id of a key is 1 to 64 visible ASCII characters")
    }
}
