//! How a caller's code is known: `totp_env`, `code_env`, `code_hash` and the like.

use std::fmt::Display;

use super::{Secrets, hash_in_env, secret_in_env, secret_in_file};
use crate::{
    basic::Argon2idHash,
    code::Code,
    secret::Secret,
    yaml::{Field, Fields},
};

const KEYS: [&str; 6] = ["totp_env", "totp_file", "code_env", "code_file", "code_hash", "code_hash_env"];

/// Takes the one of these keys that the mapping has. It must have one.
pub(super) fn code(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<Code> {
    fields.refuse("code", "codes are never written in this file; use `code_env`, `code_file` or `code_hash`");
    fields.refuse("totp", "keys are never written in this file; use `totp_env` or `totp_file`");
    let Some((key, field)) = fields.take_one_of(KEYS) else {
        fields.report().note(fields.place(), format!("a code needs one of {}", KEYS.join(", ")));
        return None;
    };
    match key {
        "totp_env" => secret(key, field, |field| secret_in_env(field, secrets), Code::totp),
        "totp_file" => secret(key, field, |field| secret_in_file(field, secrets), Code::totp),
        "code_env" => secret(key, field, |field| secret_in_env(field, secrets), Code::plain),
        "code_file" => secret(key, field, |field| secret_in_file(field, secrets), Code::plain),
        "code_hash_env" => secret(key, field, |field| hash_in_env(field, secrets), hash),
        _ => field.parse(Argon2idHash::parse).map(Code::hash),
    }
}

fn hash(secret: &Secret) -> Result<Code, impl Display + use<>> {
    Argon2idHash::parse(secret.expose_str().unwrap_or_default()).map(Code::hash)
}

/// A code made of a secret; what is wrong with that is told at its key, and not what it is.
fn secret<E: Display>(
    key: &str,
    field: Field<'_>,
    read: impl FnOnce(Field<'_>) -> Option<Secret>,
    make: impl FnOnce(&Secret) -> Result<Code, E>,
) -> Option<Code> {
    let (report, place) = (field.report(), field.key_place());
    make(&read(field)?).map_err(|error| report.note(place, format!("`{key}`: {error}"))).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{time::Timestamp, yaml};

    const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$Jj3HHfVBGsHkrvzcgRvwqw";

    fn read(text: &str) -> Result<Code, String> {
        let secrets = [
            ("TOTP", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
            ("PIN", "1234"),
            ("SHORT", "12"),
            ("HASH", HASH),
            ("totp.txt", "gezd gnbv gy3t qojq"),
        ];
        let secrets: HashMap<String, Secret> =
            secrets.map(|(name, value)| (name.to_owned(), Secret::new(value))).into();
        yaml::read("p", text, |fields| code(fields, &secrets))
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn codes_are_read() {
        assert!(read("totp_env: TOTP").unwrap().check("287082", Timestamp(59_000)).is_some());
        assert!(read("totp_file: totp.txt").is_ok());
        let pin = read("code_env: PIN").unwrap();
        assert!(pin.check("1 2 3 4", Timestamp(0)).is_some() && !pin.is_slow());
        for hashed in [format!("code_hash: {HASH}"), "code_hash_env: HASH".to_owned()] {
            assert!(read(&hashed).unwrap().is_slow(), "{hashed}");
        }
    }

    #[test]
    fn mistakes_are_told_without_the_secret() {
        for (text, part) in [
            ("{}", "a code needs one of totp_env"),
            ("code: '1234'", "codes are never written in this file"),
            ("totp: GEZDGNBVGY3TQOJQ", "keys are never written in this file"),
            ("{ totp_env: TOTP, code_env: PIN }", "exclude each other"),
            ("totp_env: PIN", "`totp_env`: not a key for time-based codes"),
            ("code_env: SHORT", "`code_env`: a code has at least four"),
            ("code_hash: '1234'", "not an argon2id hash"),
            ("code_hash_env: PIN", "not an argon2id hash"),
            ("totp_env: NONE", "is not set"),
        ] {
            let mistakes = read(text).unwrap_err();
            assert!(mistakes.contains(part) && !mistakes.contains("1234"), "{text}: {mistakes}");
        }
    }
}
