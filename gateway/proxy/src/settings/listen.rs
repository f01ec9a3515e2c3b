//! `listen`: where the platform's requests come in, and who may send them.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use swaigate_core::{
    policy::Secrets,
    yaml::{self, Field, Fields},
};

use super::{
    fallbacks,
    peers::{Access, Peers, entrance},
    sections::{MAX_LISTED, path},
    tls::{self, Tls},
};

const WITHOUT_TLS: &str = "add `tls: { certificate: FILE, private_key: FILE }`, or listen on 127.0.0.1 behind a TLS \
    terminator, or add `insecure_plaintext: true` where the network between is yours alone";

/// A place for the platform's requests.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Where it is.
    pub place: Place,
    /// Whether it may be reached from other machines without TLS.
    pub insecure_plaintext: bool,
    /// Whether and how it speaks TLS.
    pub tls: Option<Tls>,
    /// Which clients may come in.
    pub access: Access,
    /// Which proxies say for whom they come, by the PROXY protocol; none: nobody does.
    pub proxies: Option<Peers>,
}

/// Where sockets are listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An IP address and a port that isn't 0.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix {
        /// Its name.
        path: PathBuf,
        /// Its permissions: who may write to it may connect.
        mode: u32,
    },
}

// === impl Listener ===

impl Listener {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.place.address().is_none_or(is_loopback)
    }

    /// Whether the two differ in what only a restart changes.
    pub fn is_other(&self, other: &Self) -> bool {
        let differ = self.insecure_plaintext != other.insecure_plaintext || self.tls.is_some() != other.tls.is_some();
        differ || self.place != other.place || self.access != other.access || self.proxies != other.proxies
    }
}

// === impl Place ===

impl Place {
    /// Its address, if it is one of IP.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Place::Tcp(address) => Some(*address),
            Place::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => address.fmt(f),
            Place::Unix { path, .. } => path.display().fmt(f),
        }
    }
}

pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

pub(super) fn listeners(field: Field<'_>, folder: &Path, secrets: &dyn Secrets) -> Vec<Listener> {
    let (report, place, given) = (field.report(), field.place(), field.is_given());
    let items = field.list(MAX_LISTED);
    if given && items.as_ref().is_some_and(Vec::is_empty) {
        report.note(place, "`listen` must list an address, like `{ address: \"127.0.0.1:8080\" }`");
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for item in items.unwrap_or_default() {
        let place = item.place();
        let Some(listener) = item.mapping(|fields| listener(fields, folder, secrets)) else { continue };
        if listeners.iter().any(|other| other.place == listener.place) {
            report.note(place, format!("`{}` is listed twice", listener.place));
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(fields: &mut Fields<'_>, folder: &Path, secrets: &dyn Secrets) -> Option<Listener> {
    let report = fields.report();
    let (place, at) = place(fields, folder);
    let tls = fields.take("tls");
    let (has_tls, tls_place) = (tls.is_given(), tls.key_place());
    let tls = tls.mapping(|fields| tls::tls(fields, secrets));
    let insecure_plaintext = fields.take("insecure_plaintext").bool().unwrap_or(false);
    if has_tls && insecure_plaintext {
        report.note(tls_place, "`tls` and `insecure_plaintext` exclude each other; keep one");
    }
    let (access, proxies) = entrance(fields, place.as_ref().is_none_or(|place| place.address().is_some()));
    let mut listener = Listener { place: place?, insecure_plaintext, tls, access, proxies };
    if has_tls || insecure_plaintext || listener.place.address().is_none() {
        return Some(listener);
    }
    match fallbacks::tls(secrets, !listener.is_loopback()) {
        Ok(tls) => listener.tls = tls,
        Err(error) => report.note(at, error),
    }
    if !listener.is_loopback() && listener.tls.is_none() {
        let place = &listener.place;
        report.note(at, format!("other machines can reach `{place}`, and it has no `tls`; {WITHOUT_TLS}"));
    }
    Some(listener)
}

/// An `address`, or the path of a socket: `unix`, with its `mode`; and where it is written.
fn place(fields: &mut Fields<'_>, folder: &Path) -> (Option<Place>, yaml::Place) {
    let (report, at) = (fields.report(), fields.place());
    let mode = fields.take("mode");
    let (mode_place, has_mode) = (mode.place(), mode.is_given());
    let mode = mode.parse(permissions).unwrap_or(0o600);
    match fields.take_one_of(["address", "unix"]) {
        None => {
            report.note(at, "a listener needs an `address`, or the path of a socket: `unix`");
            (None, at)
        }
        Some(("unix", field)) => (Some(Place::Unix { path: path(field, folder, "gateway.sock"), mode }), at),
        Some((_, field)) => {
            let at = field.place();
            if has_mode {
                report.note(
                    mode_place,
                    "`mode` is the permissions of a socket in the file system; an `address` has none",
                );
            }
            (field.parse(address).map(Place::Tcp), at)
        }
    }
}

/// Of a file, as `chmod` takes them.
fn permissions(text: &str) -> Result<u32, &'static str> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & 0o600 == 0o600 && *mode <= 0o777);
    mode.ok_or("write permissions as `chmod` takes them, in quotes and with those of the owner, like `\"0660\"`")
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        _ => Err("write an IP address and a port, like `127.0.0.1:8080` or `[::1]:8080`".to_owned()),
    }
}
