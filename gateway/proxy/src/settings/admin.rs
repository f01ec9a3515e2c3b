//! `admin`: where the operator's own door is, and who may come in.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use swaigate_core::{
    policy::{Secrets, secret_in_env, secret_in_file},
    secret::{Secret, constant_time_eq},
    yaml::{Field, Fields},
};

use super::{
    listen::{Listener, Place, address, is_loopback},
    sections::{MAX_LISTED, path},
};

const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

/// The longest path that a Unix socket can have on Linux, in bytes.
const MAX_UNIX: usize = 107;

/// The shortest token, in bytes.
const MIN_TOKEN: usize = 32;

/// The operator's own door; at least one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// A loopback address and a port that isn't 0.
    pub address: Option<SocketAddr>,
    /// A Unix socket.
    pub unix: Option<PathBuf>,
    /// Who may ask besides those who can read the tokens that are kept with the state.
    pub tokens: Vec<AdminToken>,
}

/// A token for the admin API.
#[derive(Debug, Clone)]
pub struct AdminToken {
    /// What whoever has it may do.
    pub role: Role,
    /// At least 32 visible ASCII characters.
    pub secret: Secret,
}

/// What somebody may do at the admin API. Each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Change something.
    Operator,
}

/// The section. Without a Unix socket there is an address, whatever the file says.
pub(super) fn admin(fields: &mut Fields<'_>, listen: &[Listener], (folder, secrets): (&Path, &dyn Secrets)) -> Admin {
    let unix = fields.take("unix");
    let (report, place) = (unix.report(), unix.place());
    let unix = unix.is_given().then(|| path(unix, folder, ""));
    if unix.as_ref().is_some_and(|path| path.as_os_str().len() > MAX_UNIX) {
        report.note(place, format!("the path of a Unix socket has at most {MAX_UNIX} bytes"));
    }
    let field = fields.take("address");
    let address = if field.is_given() || unix.is_none() { Some(loopback(field, listen)) } else { None };
    Admin { address, unix, tokens: tokens(fields.take("tokens"), secrets) }
}

fn loopback(field: Field<'_>, listen: &[Listener]) -> SocketAddr {
    let (report, place) = (field.report(), field.place());
    let address = field.parse(address).unwrap_or(DEFAULT);
    if !is_loopback(address) {
        report
            .note(place, format!("`{address}` can be reached from other machines; the admin address must be loopback"));
    }
    if listen.iter().any(|listener| listener.place == Place::Tcp(address)) {
        report.note(place, format!("`{address}` is in `listen` too; give the admin address a port of its own"));
    }
    address
}

fn tokens(field: Field<'_>, secrets: &dyn Secrets) -> Vec<AdminToken> {
    let items = field.list(MAX_LISTED).unwrap_or_default();
    items.into_iter().filter_map(|item| item.mapping(|fields| token(fields, secrets))).collect()
}

fn token(fields: &mut Fields<'_>, secrets: &dyn Secrets) -> Option<AdminToken> {
    fields.refuse("token", "a token is never written in this file; name where it is with `token_env` or `token_file`");
    let role = fields.take("role").required().choice(&[("viewer", Role::Viewer), ("operator", Role::Operator)]);
    let Some((key, field)) = fields.take_one_of(["token_env", "token_file"]) else {
        fields.report().note(fields.place(), "a token needs `token_env` or `token_file`");
        return None;
    };
    let (report, place) = (field.report(), field.key_place());
    let secret = if key == "token_env" { secret_in_env(field, secrets) } else { secret_in_file(field, secrets) }?;
    if secret.len() < MIN_TOKEN || secret.expose().iter().any(|byte| !byte.is_ascii_graphic()) {
        report.note(place, format!("`{key}`: a token has at least {MIN_TOKEN} visible ASCII characters, like those of `openssl rand -hex 32`"));
        return None;
    }
    Some(AdminToken { role: role?, secret })
}

// === impl Admin ===

impl Admin {
    /// Where it is listened.
    pub fn places(&self) -> Vec<Place> {
        let unix = self.unix.iter().map(|path| Place::Unix { path: path.clone(), mode: 0o600 });
        self.address.into_iter().map(Place::Tcp).chain(unix).collect()
    }
}

// === impl AdminToken ===

impl PartialEq for AdminToken {
    fn eq(&self, other: &Self) -> bool {
        self.role == other.role && constant_time_eq(self.secret.expose(), other.secret.expose())
    }
}

impl Eq for AdminToken {}

// === impl Role ===

impl Role {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
        }
    }
}
