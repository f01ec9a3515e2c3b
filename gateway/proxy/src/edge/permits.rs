//! How many connections may be open, in all and from one address.

use std::{net::IpAddr, sync::Arc};

use dashmap::{DashMap, Entry};
use swaigate_core::decide::{Part, address_part};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is left of both numbers.
#[derive(Debug)]
pub(super) struct Permits {
    all: Arc<Semaphore>,
    per_address: usize,
    /// Only addresses that have one open are here, so there are no more of them than connections.
    open: DashMap<Part<IpAddr>, usize>,
}

/// One connection; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Arc<Permits>,
    address: Option<Part<IpAddr>>,
    _one_of_all: OwnedSemaphorePermit,
}

/// As many as may be are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

// === impl Permits ===

impl Permits {
    pub(super) fn new(all: usize, per_address: usize) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { all, per_address, open: DashMap::new() })
    }

    /// For one more, from wherever.
    ///
    /// # Errors
    /// [`Full`], if as many are open as may be in all.
    pub(super) fn take(self: &Arc<Self>) -> Result<Permit, Full> {
        let one_of_all = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Full)?;
        Ok(Permit { permits: Arc::clone(self), address: None, _one_of_all: one_of_all })
    }
}

// === impl Permit ===

impl Permit {
    /// Counts it for its client's address; those of one IPv6 network of 64 bits are one.
    ///
    /// # Errors
    /// [`Full`], if as many are open from there as may be.
    pub(super) fn count_for(&mut self, client: IpAddr) -> Result<(), Full> {
        let address = address_part(Some(client));
        let mut open = self.permits.open.entry(address).or_insert(0);
        if *open >= self.permits.per_address {
            return Err(Full);
        }
        *open += 1;
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        if let Entry::Occupied(mut open) = self.permits.open.entry(address) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(permits: &Arc<Permits>, address: &str) -> Result<Permit, Full> {
        let mut permit = permits.take()?;
        permit.count_for(address.parse().unwrap())?;
        Ok(permit)
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let permits = Permits::new(3, 2);
        let first = from(&permits, "192.0.2.1").unwrap();
        let _second = from(&permits, "::ffff:192.0.2.1").unwrap();
        assert_eq!(from(&permits, "192.0.2.1").err(), Some(Full));
        let _other = from(&permits, "192.0.2.2").unwrap();
        assert_eq!(from(&permits, "192.0.2.3").err(), Some(Full), "that is all");
        drop(first);
        assert!(from(&permits, "192.0.2.1").is_ok(), "what ends is given back");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let permits = Permits::new(10, 1);
        let permit = from(&permits, "2001:db8::1").unwrap();
        assert_eq!(from(&permits, "2001:db8::ffff:1").err(), Some(Full));
        assert!(from(&permits, "2001:db8:0:1::1").is_ok());
        drop(permit);
        assert!(permits.open.is_empty(), "nothing is remembered of who has left");
        assert!(from(&permits, "2001:db8::2").is_ok());
    }
}
