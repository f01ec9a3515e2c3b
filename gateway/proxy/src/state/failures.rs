//! Wrong credentials, counted by where they come from.
//!
//! At most so many addresses are remembered. When that is reached, those whose failures are forgotten go first; if there
//! are none, newcomers share one count, so that neither the memory nor the number of guesses grows with addresses.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use swaigate_core::{
    decide::{Part, address_part},
    lockout::{Failures, Rules},
    time::Timestamp,
};

/// How often a full table may be looked through while requests wait, in milliseconds.
const SWEEP_PAUSE: u64 = 1000;

/// Who has sent wrong credentials.
#[derive(Debug)]
pub struct FailedAttempts {
    rules: Rules,
    most: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<Part<IpAddr>, Failures>,
    /// Those of all who found the table full.
    others: Option<Failures>,
    swept: Option<Timestamp>,
}

// === impl FailedAttempts ===

impl FailedAttempts {
    /// None so far; at most so many addresses are remembered.
    pub fn new(rules: Rules, most: usize) -> Self {
        Self { rules, most, table: Mutex::default() }
    }

    /// How long an address has to wait until one of its passwords is hashed; nothing if that may be now.
    pub fn wait(&self, client: Option<IpAddr>, now: Timestamp) -> Option<Duration> {
        let table = self.table();
        let own = table.addresses.get(&address_part(client));
        let others = || table.others.as_ref().filter(|_| table.addresses.len() >= self.most);
        own.or_else(others)?.wait(&self.rules, now)
    }

    /// An address has sent wrong credentials.
    pub fn failed(&self, client: Option<IpAddr>, now: Timestamp) {
        let address = address_part(client);
        let mut table = self.table();
        if !table.addresses.contains_key(&address) && table.addresses.len() >= self.most {
            table.sweep_now_and_then(&self.rules, now);
        }
        let before = table.addresses.get(&address).copied();
        if before.is_some() || table.addresses.len() < self.most {
            table.addresses.insert(address, Failures::after(before, &self.rules, now));
        } else {
            table.others = Some(Failures::after(table.others, &self.rules, now));
        }
    }

    /// Forgets what is long ago. Called now and then.
    pub fn sweep(&self, now: Timestamp) {
        self.table().sweep(&self.rules, now);
    }

    /// How many addresses have to wait now; all that share one count are one.
    pub fn waiting(&self, now: Timestamp) -> usize {
        let table = self.table();
        let all = table.addresses.values().chain(&table.others);
        all.filter(|failures| failures.wait(&self.rules, now).is_some()).count()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn sweep_now_and_then(&mut self, rules: &Rules, now: Timestamp) {
        if self.swept.is_none_or(|swept| now.0.abs_diff(swept.0) >= SWEEP_PAUSE) {
            self.sweep(rules, now);
        }
    }

    fn sweep(&mut self, rules: &Rules, now: Timestamp) {
        self.swept = Some(now);
        self.addresses.retain(|_, failures| !failures.are_forgotten(rules, now));
        self.others = self.others.filter(|failures| !failures.are_forgotten(rules, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000);

    fn after(seconds: u64) -> Timestamp {
        Timestamp(START.0 + seconds * 1000)
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// Wrong credentials, so often, at the start.
    fn fail(attempts: &FailedAttempts, client: Option<IpAddr>, times: usize) {
        (0..times).for_each(|_| attempts.failed(client, START));
    }

    #[test]
    fn each_address_waits_for_itself() {
        let attempts = FailedAttempts::new(Rules::default(), 100);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        fail(&attempts, one, 5);
        assert_eq!(attempts.wait(one, START), None);
        fail(&attempts, one, 1);
        assert_eq!(attempts.wait(one, START), Some(Duration::from_secs(1)));
        assert_eq!((attempts.wait(other, START), attempts.waiting(START)), (None, 1));
        assert_eq!(attempts.wait(one, after(1)), None);
    }

    #[test]
    fn a_host_has_all_of_its_ipv6_addresses_at_once() {
        let attempts = FailedAttempts::new(Rules::default(), 100);
        (0..6).for_each(|host| attempts.failed(address(&format!("2001:db8::{host}")), START));
        assert!(attempts.wait(address("2001:db8::ffff"), START).is_some());
        assert_eq!(attempts.wait(address("2001:db8:0:1::1"), START), None);
        fail(&attempts, address("::ffff:192.0.2.1"), 6);
        assert!(attempts.wait(address("192.0.2.1"), START).is_some(), "a mapped address is the address");
    }

    #[test]
    fn a_full_table_forgets_nobody_early_and_newcomers_share_a_count() {
        let attempts = FailedAttempts::new(Rules::default(), 16);
        let (known, new, newer) = (address("192.0.2.1"), address("198.51.100.1"), address("198.51.100.2"));
        fail(&attempts, known, 7);
        (2..17).for_each(|host| fail(&attempts, address(&format!("192.0.2.{host}")), 1));
        fail(&attempts, new, 3);
        fail(&attempts, newer, 3);
        assert!(attempts.wait(new, START).is_some() && attempts.wait(newer, START).is_some());
        assert_eq!(attempts.wait(known, START), Some(Duration::from_secs(2)), "who is known counts alone");
        assert_eq!(attempts.table().addresses.len(), 16);
        // An hour later all are forgotten, and there is room again.
        attempts.failed(newer, after(3600));
        assert_eq!((attempts.wait(newer, after(3600)), attempts.table().addresses.len()), (None, 1));
        assert_eq!(attempts.wait(new, after(3600)), None);
    }
}
