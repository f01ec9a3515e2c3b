//! The addresses that names stand for.
//!
//! A name is looked up again every [`TTL`], beside the requests: they go on with what is known, also while the resolver
//! fails. Only the first request to a name waits for it.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex as Turn, watch},
    time::timeout,
};

use crate::app::{digest, score};

/// How long a name's addresses are used before it is looked up again.
const TTL: Duration = Duration::from_secs(10);

/// The same for what the resolver couldn't tell.
const RETRY: Duration = Duration::from_secs(1);

/// How long an address that can't be connected to is tried last.
const SHUNNED: Duration = Duration::from_secs(30);

/// How many names are remembered. They are the operator's, so they are few.
const MAX_NAMES: usize = 1024;

/// How many addresses of a name are used.
const MAX_ADDRESSES: usize = 64;

type LookUp = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
type Resolver = dyn Fn(String, u16) -> LookUp + Send + Sync;

/// What is known of names.
pub(super) struct Names {
    resolver: Arc<Resolver>,
    known: Mutex<HashMap<(String, u16), Arc<Name>>>,
}

struct Name {
    known: watch::Sender<Known>,
    /// Whoever looks it up has this, so that nobody else does: lookups that hang would use up threads.
    turn: Arc<Turn<()>>,
}

/// What is known of a name.
#[derive(Default)]
struct Known {
    /// As the resolver ordered them.
    addresses: Vec<SocketAddr>,
    shunned: Vec<(SocketAddr, Instant)>,
    /// When to look it up again; `None`: it never was.
    due: Option<Instant>,
    error: String,
}

// === impl Names ===

impl Names {
    /// Looked up as the system does.
    pub(super) fn of_the_system() -> Self {
        Self::new(|host, port| Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }))
    }

    fn new(resolver: impl Fn(String, u16) -> LookUp + Send + Sync + 'static) -> Self {
        Self { resolver: Arc::new(resolver), known: Mutex::default() }
    }

    /// The addresses of a host, the one to try first at the front; never none. Among those of one family, `number` draws:
    /// requests of one number go to one address.
    ///
    /// # Errors
    /// Why none is known.
    pub(super) async fn look_up(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
        number: u64,
    ) -> Result<Vec<SocketAddr>, String> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let now = Instant::now();
        let name = self.name(host, port);
        let mut known = name.known.subscribe();
        let addresses = {
            let known = known.borrow_and_update();
            if known.due.is_none_or(|due| due <= now) {
                self.refresh(&name, host, port);
            } else if known.addresses.is_empty() {
                return Err(known.error.clone());
            }
            known.ordered(number, now)
        };
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        // The sender lives as long as the name does.
        timeout(limit, known.changed())
            .await
            .map_err(|_| "the name could not be looked up in time".to_owned())?
            .map_err(|error| error.to_string())?;
        let known = known.borrow();
        if known.addresses.is_empty() { Err(known.error.clone()) } else { Ok(known.ordered(number, now)) }
    }

    /// Nobody could be connected to at this address: the others come first for a while.
    pub(super) fn shun(&self, host: &str, port: u16, address: SocketAddr) {
        let names = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(name) = names.get(&(host.to_owned(), port)) else { return };
        let now = Instant::now();
        name.known.send_if_modified(|known| {
            known.shunned.retain(|(other, until)| *other != address && *until > now);
            if known.addresses.contains(&address) {
                known.shunned.push((address, now + SHUNNED));
            }
            false
        });
    }

    fn name(&self, host: &str, port: u16) -> Arc<Name> {
        let mut names = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), port);
        if !names.contains_key(&key) && names.len() >= MAX_NAMES {
            names.clear();
        }
        let new = || Arc::new(Name { known: watch::Sender::default(), turn: Arc::default() });
        Arc::clone(names.entry(key).or_insert_with(new))
    }

    /// Looks a name up beside the request, unless that is being done.
    fn refresh(&self, name: &Arc<Name>, host: &str, port: u16) {
        let Ok(turn) = Arc::clone(&name.turn).try_lock_owned() else { return };
        let (name, host, looking_up) = (Arc::clone(name), host.to_owned(), (self.resolver)(host.to_owned(), port));
        tokio::spawn(async move {
            let found = looking_up.await;
            name.known.send_modify(|known| known.learn(found, &host, Instant::now()));
            drop(turn);
        });
    }
}

// === impl Known ===

impl Known {
    fn learn(&mut self, found: io::Result<Vec<SocketAddr>>, host: &str, now: Instant) {
        let found = match found {
            Ok(found) if found.is_empty() => Err("the name has no address".to_owned()),
            Ok(found) => Ok(found),
            Err(error) => Err(format!("the name could not be looked up: {error}")),
        };
        match found {
            Ok(mut addresses) => {
                addresses.truncate(MAX_ADDRESSES);
                if !self.addresses.is_empty() && addresses.iter().any(|it| !self.addresses.contains(it)) {
                    tracing::info!(host, ?addresses, "the name has other addresses now");
                }
                self.addresses = addresses;
                self.due = Some(now + TTL);
            }
            Err(error) => {
                let kept = self.addresses.len();
                tracing::warn!(host, %error, kept, "a name can't be looked up; what was known of it is kept");
                self.error = error;
                self.due = Some(now + RETRY);
            }
        }
    }

    /// Those that can't be connected to come last, and before them those of another family than the resolver's first.
    fn ordered(&self, number: u64, now: Instant) -> Vec<SocketAddr> {
        let Some(first) = self.addresses.first() else { return Vec::new() };
        let is_shunned = |it: &SocketAddr| self.shunned.iter().any(|(other, until)| other == it && *until > now);
        let mut addresses = self.addresses.clone();
        let drawn = |it: &SocketAddr| score(digest(&it.to_string()), 1, number);
        addresses.sort_by(|a, b| {
            let classes = [a, b].map(|it| (is_shunned(it), it.is_ipv4() != first.is_ipv4()));
            classes[0].cmp(&classes[1]).then_with(|| drawn(b).total_cmp(&drawn(a)))
        });
        addresses
    }
}

#[cfg(test)]
mod tests;
