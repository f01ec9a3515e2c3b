//! `platform.signing_keys_…`, `platform.signature`, `upstream.signing_…`: signatures in both directions.

use super::{
    super::{Required, Signing, UpstreamSigning},
    Secrets, access, secret_in_env, secret_in_file,
};
use crate::{
    secret::Secret,
    signature::{MIN_KEY, SigningKey},
    yaml::{Field, Fields},
};

/// How many keys may be listed: each is tried on each request.
const MAX_KEYS: usize = 4;

/// What the platform's requests have to carry.
pub(super) fn platform(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<Signing> {
    let listed = fields.take_one_of(["signing_keys_env", "signing_keys_file"]);
    let is_listed = listed.is_some();
    let keys = listed.map(|(name, field)| keys(name, field, secrets)).unwrap_or_default();

    let choices = [("swml", Required::Swml), ("all", Required::All), ("if_present", Required::Nothing)];
    let field = fields.take("signature");
    needs_keys(&field, "signature", is_listed);
    let required = field.choice(&choices).unwrap_or(Required::Swml);

    let field = fields.take("insecure_unsigned_get");
    needs_keys(&field, "insecure_unsigned_get", is_listed);
    if is_listed && field.is_given() && required == Required::Nothing {
        let advice = "`insecure_unsigned_get` is read only where signatures are required; remove it";
        field.report().note(field.key_place(), advice);
    }
    let allows_get = field.bool().unwrap_or(false);
    is_listed.then_some(Signing { keys, required, allows_get })
}

/// How requests are signed for the agent.
pub(super) fn upstream(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<UpstreamSigning> {
    let key = fields.take_one_of(["signing_key_env", "signing_key_file"]);
    let base = fields.take("signing_base");
    if base.is_given() && key.is_none() {
        let advice =
            "`signing_base` is read only beside `signing_key_env` or `signing_key_file`; add one or remove this";
        base.report().note(base.key_place(), advice);
    }
    let base = base.parse(|text| {
        if text.contains('@') {
            return Err("the URL must not hold a user and password: what is signed never does".to_owned());
        }
        let base = text.trim_end_matches('/');
        access::address(base).map(|_| base.to_owned())
    });
    let (name, field) = key?;
    let (report, place) = (field.report(), field.key_place());
    let secret = secret(name, field, secrets)?;
    let key = signing_key(name, secret).map_err(|message| report.note(place, message)).ok()?;
    Some(UpstreamSigning { key, base })
}

fn needs_keys(field: &Field<'_>, name: &str, is_listed: bool) {
    if field.is_given() && !is_listed {
        let advice =
            format!("`{name}` is read only beside `signing_keys_env` or `signing_keys_file`; add one or remove this");
        field.report().note(field.key_place(), advice);
    }
}

fn keys(name: &'static str, field: Field<'_>, secrets: &dyn Secrets) -> Vec<SigningKey> {
    let (report, place) = (field.report(), field.place());
    let items = field.list(MAX_KEYS);
    if items.as_ref().is_some_and(Vec::is_empty) {
        report.note(place, format!("`{name}` must list a key; without the key, no signature is checked"));
    }
    let mut keys: Vec<SigningKey> = Vec::new();
    for item in items.unwrap_or_default() {
        let place = item.place();
        let Some(secret) = secret(name, item, secrets) else { continue };
        match signing_key(name, secret) {
            Ok(key) if keys.iter().any(|other| other.is(&key)) => {
                report.note(place, format!("`{name}` lists one key twice; remove one"));
            }
            Ok(key) => keys.push(key),
            Err(message) => report.note(place, message),
        }
    }
    keys
}

fn secret(name: &str, field: Field<'_>, secrets: &dyn Secrets) -> Option<Secret> {
    if name.ends_with("_file") { secret_in_file(field, secrets) } else { secret_in_env(field, secrets) }
}

fn signing_key(name: &str, secret: Secret) -> Result<SigningKey, String> {
    let length = secret.len();
    if secret.expose().iter().any(u8::is_ascii_control) {
        return Err(format!("`{name}`: the key holds a control character, perhaps a newline at its end"));
    }
    SigningKey::new(secret)
        .ok_or_else(|| format!("`{name}`: the key has {length} bytes; at least {MIN_KEY} are needed"))
}
