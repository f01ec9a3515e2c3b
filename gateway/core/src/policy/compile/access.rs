//! `upstream` and `platform`: where the agent is, and who asks whom with which credentials.

use std::time::Duration;

use super::{
    super::{DEFAULT_USER, Platform, Seed, Server, Timeouts, Upstream, UpstreamCredentials, UrlCredentials},
    Secrets, is_plain, origin_of, paths, secret_in_env, secret_in_file,
    servers::{self, Servers},
    signing, tls,
};
use crate::{
    basic::{self, Argon2idHash, Password, User, Users},
    origin::{self, Authority},
    secret::{Secret, percent_encode},
    token::CALL_USER,
    yaml::{Field, Fields, show_duration},
};

/// The shortest password in plain that the platform may use, in bytes.
const MIN_PASSWORD: usize = 16;

/// Where the SDKs look for the credentials that an agent asks for.
const SDK_USER: &str = "SWML_BASIC_AUTH_USER";
const SDK_PASSWORD: &str = "SWML_BASIC_AUTH_PASSWORD";

/// How many users, and how many aliases, an agent may have.
const MAX_LISTED: usize = 32;

const NO_PASSWORDS: &str =
    "a password is never written in this file; name where it is with `password_env` or `password_file`";

/// The agent's address: what its URL says.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) https: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// What the URL has for a path: nothing, empty for `/`, else like `/bank`.
    pub(super) path: Option<String>,
}

pub(super) fn upstream(fields: &mut Fields<'_>, public_path: &str, secrets: &dyn Secrets) -> Option<Upstream> {
    let address = fields.take("url").required().parse(|text| {
        let url = origin::parse(text).and_then(Result::ok);
        if url.is_some_and(|url| url.has_userinfo()) {
            return Err(
                "the URL must not hold a user and password; name them with `username` and `password_env`".to_owned()
            );
        }
        address(text)
    });
    let credentials = credentials(fields, secrets);
    let aliases = fields.take("aliases").list(MAX_LISTED).unwrap_or_default();
    let aliases: Vec<Authority> = aliases.into_iter().filter_map(alias).collect();
    let timeouts = fields.take("timeouts").section(timeouts);
    let signing = signing::upstream(fields, secrets);
    let Servers { listed, health, eject, breaker, max_in_flight } =
        servers::servers(fields, address.as_ref().map(|address| address.port));
    let tls = fields.take("tls");
    if let Some(Address { https: false, .. }) = address.as_ref().filter(|_| tls.is_given()) {
        tls.report().note(tls.key_place(), "`tls` is read only where the `url` is an `https://` one");
    }
    let tls = tls.section(|fields| tls::upstream(fields, secrets));
    let Address { https, host, port, path } = address?;
    let path = path.unwrap_or_else(|| public_path.to_owned());
    let servers = if listed.is_empty() { vec![only_server(&host, port)] } else { listed };
    Some(Upstream {
        https,
        host,
        port,
        servers,
        health,
        eject,
        breaker,
        max_in_flight,
        path,
        credentials,
        aliases,
        timeouts,
        signing,
        tls,
    })
}

/// The server of an agent that lists none.
pub(super) fn only_server(host: &str, port: u16) -> Server {
    Server { host: host.to_owned(), port, weight: 1 }
}

/// Reads an agent's URL. What is before an `@` in it is left to the caller.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let url = origin::parse(text)
        .and_then(Result::ok)
        .ok_or("write the agent's URL, like `http://127.0.0.1:3000` or `https://agent.internal`")?;
    if url.query().is_some() || !url.fragment().is_empty() {
        return Err("the URL must not hold a query or fragment".to_owned());
    }
    let Authority { host, port } = url.authority();
    if !is_plain(host) {
        return Err("the URL's host holds characters that no host has".to_owned());
    }
    let default = if url.is_https() { 443 } else { 80 };
    let port = port.unwrap_or(default);
    if port == 0 {
        return Err("nothing listens at port 0".to_owned());
    }
    let path = if url.path().is_empty() { None } else { Some(paths::base(url.path())?) };
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok(Address { https: url.is_https(), host, port, path })
}

fn alias(field: Field<'_>) -> Option<Authority> {
    field.parse(|text| origin_of(text).map(|(_, authority)| authority))
}

fn timeouts(fields: &mut Fields<'_>) -> Timeouts {
    let default = Timeouts::default();
    let [least, platform, hour] = [Duration::from_millis(1), Duration::from_secs(120), Duration::from_secs(3600)];
    let connect = fields.take("connect").duration(least..=Duration::from_secs(60)).unwrap_or(default.connect);

    let field = fields.take("answer");
    let (place, report) = (field.place(), fields.report());
    let answer = field.duration(least..=hour).unwrap_or(default.answer);
    if answer >= platform {
        report.note(place, "`answer` must be less than 120s, when the platform itself gives up");
    }
    let field = fields.take("exchange");
    let place = if field.is_given() { field.place() } else { place };
    let exchange = field.duration(least..=hour).unwrap_or(default.exchange);
    if exchange < answer && answer < platform {
        report.note(place, format!("`exchange` must not be less than `answer`, which is {}", show_duration(answer)));
    }
    Timeouts { connect, answer, exchange }
}

/// What the agent asks for. `None` also after a mistake.
fn credentials(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<UpstreamCredentials> {
    fields.refuse("password", NO_PASSWORDS);
    let username = fields.take_one_of(["username", "username_env"]);
    let password = fields.take_one_of(["password_env", "password_file"]);
    let incomplete = match (&username, &password) {
        (Some((key, field)), None) => {
            Some((field, format!("`{key}` needs a password beside it: `password_env` or `password_file`")))
        }
        (None, Some((key, field))) => {
            Some((field, format!("`{key}` needs a user beside it: `username` or `username_env`")))
        }
        _ => None,
    };
    if let Some((field, message)) = incomplete {
        fields.report().note(field.key_place(), message);
    }
    let username = username.and_then(|(key, field)| upstream_username(key, field, secrets));
    let password = password.and_then(|(key, field)| plain_password(key, field, secrets));
    let (username, password) = (username?, password?);
    Some(UpstreamCredentials { header: basic::header(&username, password.expose()), username, password })
}

fn upstream_username(key: &str, field: Field<'_>, secrets: &dyn Secrets) -> Option<String> {
    if key == "username" {
        return field.parse(|text| username(text).map(|()| text.to_owned()));
    }
    let (report, place) = (field.report(), field.key_place());
    let secret = secret_in_env(field, secrets)?;
    let checked = match secret.expose_str() {
        Some(text) => username(text).map(|()| text.to_owned()),
        None => Err("a user name must be UTF-8"),
    };
    checked.map_err(|message| report.note(place, format!("`{key}`: {message}"))).ok()
}

/// What RFC 7617, section 2, allows for a name.
pub(super) fn username(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.contains(':') || text.chars().any(char::is_control) {
        Err("a user name must not be empty nor hold a colon or a control character")
    } else {
        Ok(())
    }
}

/// A password that is sent or compared as it is. RFC 7617, section 2: no control characters.
fn plain_password(key: &str, field: Field<'_>, secrets: &dyn Secrets) -> Option<Secret> {
    let (report, place) = (field.report(), field.key_place());
    let secret = match key {
        "password_file" => secret_in_file(field, secrets),
        _ => secret_in_env(field, secrets),
    }?;
    printable(&secret).map_err(|message| report.note(place, format!("`{key}`: {message}"))).ok()?;
    Some(secret)
}

fn printable(password: &Secret) -> Result<(), &'static str> {
    if password.expose().iter().any(u8::is_ascii_control) {
        Err("the password holds a control character, perhaps a newline at its end")
    } else {
        Ok(())
    }
}

/// Whether the platform may use a password in plain.
fn fit_password(password: &Secret) -> Result<(), String> {
    printable(password)?;
    if password.len() < MIN_PASSWORD {
        return Err(format!("the password has {} bytes; at least {MIN_PASSWORD} are needed", password.len()));
    }
    Ok(())
}

pub(super) fn platform(fields: &mut Fields<'_>, secrets: &dyn Secrets, seed: &Seed) -> Platform {
    let field = fields.take("users");
    let (given, place) = (field.is_given(), field.place());
    let of_environment = if given { None } else { user_of_environment(fields, secrets) };
    let uses_generated_password = !given && of_environment.is_none();
    let users: Vec<User> = if given {
        let items = field.list(MAX_LISTED);
        if items.as_ref().is_some_and(Vec::is_empty) {
            fields.report().note(place, "`users` must list a user; without the key, a password is made at start");
        }
        items.unwrap_or_default().into_iter().filter_map(|item| item.mapping(|fields| user(fields, secrets))).collect()
    } else {
        let made =
            || User { username: DEFAULT_USER.to_owned(), password: Password::Plain(seed.generated_password.clone()) };
        vec![of_environment.unwrap_or_else(made)]
    };
    let url_credentials = url_credentials(fields, users.first());
    let signing = signing::platform(fields, secrets);
    let users = Users::new(seed.process_key.clone(), &users);
    Platform { users, uses_generated_password, url_credentials, signing }
}

/// The user that an agent of the SDK would have asked for. `None` also after a mistake.
fn user_of_environment(fields: &Fields<'_>, secrets: &dyn Secrets) -> Option<User> {
    let password = secrets.fallback(SDK_PASSWORD, false).filter(|password| !password.is_empty())?;
    let note = |message: String| {
        let advice = "the SDK's variable is used where no `users` are listed; list them, or give it another value";
        fields.report().note(fields.place(), format!("{message}; {advice}"));
    };
    let username = secrets.fallback(SDK_USER, false).filter(|username| !username.is_empty());
    let username = username.unwrap_or_else(|| Secret::new(DEFAULT_USER));
    let username = username.expose_str().ok_or("a user name must be UTF-8").and_then(|text| {
        platform_username(text)?;
        Ok(text.to_owned())
    });
    let username = username.map_err(|message| note(format!("`{SDK_USER}`: {message}"))).ok()?;
    fit_password(&password).map_err(|message| note(format!("`{SDK_PASSWORD}`: {message}"))).ok()?;
    Some(User { username, password: Password::Plain(password) })
}

fn url_credentials(fields: &mut Fields<'_>, first: Option<&User>) -> UrlCredentials {
    let field = fields.take("insecure_static_url_credentials");
    let (place, report) = (field.place(), field.report());
    match (field.bool(), first) {
        (None | Some(false), _) | (_, None) => UrlCredentials::PerCall,
        (_, Some(User { username, password: Password::Plain(password) })) => {
            let [username, password] = [username.as_bytes(), password.expose()].map(percent_encode);
            UrlCredentials::Static(Secret::new([username.expose(), b":", password.expose()].concat()))
        }
        (_, Some(User { password: Password::Argon2id(_), .. })) => {
            let message =
                "static credentials in URLs need a first user whose password is known in plain, not as a hash";
            report.note(place, message);
            UrlCredentials::PerCall
        }
    }
}

const PASSWORDS: [&str; 4] = ["password_env", "password_file", "password_hash", "password_hash_env"];

fn user(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<User> {
    fields.refuse("password", NO_PASSWORDS);
    let name = fields.take("username").required().parse(|text| platform_username(text).map(|()| text.to_owned()));
    let Some((key, field)) = fields.take_one_of(PASSWORDS) else {
        fields.report().note(fields.place(), format!("a user needs one of {}", PASSWORDS.join(", ")));
        return None;
    };
    let password = match key {
        "password_hash" => field.parse(Argon2idHash::parse).map(Password::Argon2id),
        "password_hash_env" => hash_in_env(field, secrets),
        _ => long_password(key, field, secrets),
    };
    Some(User { username: name?, password: password? })
}

fn platform_username(text: &str) -> Result<(), &'static str> {
    username(text)?;
    if text == CALL_USER { Err("`call` is the gateway's own user; choose another name") } else { Ok(()) }
}

fn hash_in_env(field: Field<'_>, secrets: &dyn Secrets) -> Option<Password> {
    let (report, place) = (field.report(), field.key_place());
    let secret = super::hash_in_env(field, secrets)?;
    let hash = Argon2idHash::parse(secret.expose_str().unwrap_or_default());
    hash.map(Password::Argon2id).map_err(|error| report.note(place, format!("`password_hash_env`: {error}"))).ok()
}

fn long_password(key: &str, field: Field<'_>, secrets: &dyn Secrets) -> Option<Password> {
    let (report, place) = (field.report(), field.key_place());
    let secret = plain_password(key, field, secrets)?;
    fit_password(&secret).map_err(|message| report.note(place, format!("`{key}`: {message}"))).ok()?;
    Some(Password::Plain(secret))
}
