//! The last decisions, for whoever looks at a running gateway. The audit log has all of them; here is no secret, and callers
//! are digests.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use swaigate_core::{
    id::{AgentName, CallerDigest, RequestId},
    time::Timestamp,
    verdict::{Reason, Route},
};

use crate::audit::Entry;

/// How many decisions are remembered of those who proved who they are, and how many of strangers: a flood of these must not
/// push the others out.
pub const EACH: usize = 1000;

/// The last decisions.
#[derive(Debug, Default)]
pub struct Recent {
    known: Mutex<VecDeque<Arc<Decided>>>,
    strangers: Mutex<VecDeque<Arc<Decided>>>,
}

/// What is remembered of a request that has ended.
#[derive(Debug, Clone)]
pub struct Decided {
    /// When it came.
    pub at: Timestamp,
    /// Its id.
    pub request: RequestId,
    /// The agent, if it is known.
    pub agent: Option<AgentName>,
    /// What was asked.
    pub route: Route,
    /// With which method.
    pub method: &'static str,
    /// Who sent it, by the socket.
    pub client: Option<IpAddr>,
    /// The function that it names.
    pub function: Option<String>,
    /// The call that it names.
    pub call_id: Option<String>,
    /// The caller.
    pub caller: Option<CallerDigest>,
    /// How it ended.
    pub reason: Reason,
    /// The HTTP status; 0 if nothing was answered.
    pub status: u16,
    /// The gateway's own time.
    pub gateway: Duration,
    /// The agent's time, if it was asked.
    pub agent_time: Option<Duration>,
}

/// Which decisions somebody wants to see.
#[derive(Debug, Default)]
pub struct Sieve {
    /// Of this agent.
    pub agent: Option<AgentName>,
    /// That ended so.
    pub reason: Option<Reason>,
    /// Of a caller whom one of these stands for; empty: of anybody.
    pub caller: Vec<CallerDigest>,
    /// At most so many.
    pub most: usize,
}

// === impl Recent ===

impl Recent {
    /// Remembers a request that has ended.
    pub fn note(&self, entry: &Entry) {
        let ring = if entry.facts.user.is_some() { &self.known } else { &self.strangers };
        let decided = Arc::new(Decided::of(entry));
        let mut ring = hold(ring);
        if ring.len() >= EACH {
            ring.pop_front();
        }
        ring.push_back(decided);
    }

    /// The last ones that pass, the newest first.
    pub fn find(&self, sieve: &Sieve) -> Vec<Arc<Decided>> {
        let mut found: Vec<Arc<Decided>> = Vec::new();
        for ring in [&self.known, &self.strangers] {
            found.extend(hold(ring).iter().rev().filter(|decided| sieve.passes(decided)).take(sieve.most).cloned());
        }
        found.sort_by_key(|decided| std::cmp::Reverse(decided.at));
        found.truncate(sieve.most);
        found
    }
}

fn hold(ring: &Mutex<VecDeque<Arc<Decided>>>) -> MutexGuard<'_, VecDeque<Arc<Decided>>> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Sieve ===

impl Sieve {
    fn passes(&self, decided: &Decided) -> bool {
        let is_of_agent = self.agent.is_none() || self.agent == decided.agent;
        let is_of_reason = self.reason.is_none_or(|reason| reason == decided.reason);
        let is_of_caller = self.caller.is_empty() || decided.caller.is_some_and(|caller| self.caller.contains(&caller));
        is_of_agent && is_of_reason && is_of_caller
    }
}

// === impl Decided ===

impl Decided {
    fn of(entry: &Entry) -> Self {
        let facts = &entry.facts;
        Self {
            at: entry.at,
            request: entry.request,
            agent: entry.agent.clone(),
            route: entry.route,
            method: entry.method,
            client: entry.client,
            function: facts.function.clone(),
            call_id: facts.call_id.clone(),
            caller: facts.caller_digest,
            reason: entry.reason,
            status: entry.status,
            gateway: entry.gateway,
            agent_time: entry.agent_time,
        }
    }
}

#[cfg(test)]
mod tests {
    use swaigate_core::record::Facts;

    use super::*;
    use crate::audit::Event;

    fn entry(at: u64, agent: &str, reason: Reason, user: Option<&str>) -> Entry {
        let caller_digest = Some(CallerDigest([u8::try_from(at % 2).unwrap(); 16]));
        Entry {
            event: Event::Request,
            at: Timestamp(at),
            request: RequestId([1; 12]),
            agent: Some(agent.parse().unwrap()),
            route: Route::Swaig,
            method: "POST",
            client: None,
            reason,
            status: 200,
            delivered: true,
            bytes: None,
            decided: None,
            gateway: Duration::ZERO,
            agent_time: None,
            facts: Facts { user: user.map(str::to_owned), caller_digest, ..Facts::default() },
        }
    }

    fn times(recent: &Recent, sieve: Sieve) -> Vec<u64> {
        recent.find(&sieve).iter().map(|decided| decided.at.0).collect()
    }

    #[test]
    fn strangers_push_out_only_each_other() {
        let recent = Recent::default();
        recent.note(&entry(1, "bank", Reason::Ok, Some("call")));
        for at in 0..3000 {
            recent.note(&entry(10 + at, "bank", Reason::CredentialsMissing, None));
        }
        let all = times(&recent, Sieve { most: usize::MAX, ..Sieve::default() });
        assert_eq!((all.len(), all.first(), all.last()), (EACH + 1, Some(&3009), Some(&1)));
        for at in 0..1000 {
            recent.note(&entry(5000 + at, "bank", Reason::Ok, Some("call")));
        }
        assert_eq!(times(&recent, Sieve { most: usize::MAX, ..Sieve::default() }).len(), 2 * EACH, "there is a bound");
    }

    #[test]
    fn they_are_found_by_agent_reason_and_caller_the_newest_first() {
        let recent = Recent::default();
        recent.note(&entry(1, "bank", Reason::Ok, Some("call")));
        recent.note(&entry(2, "shop", Reason::Limited, Some("call")));
        recent.note(&entry(3, "bank", Reason::CredentialsWrong, None));
        recent.note(&entry(4, "bank", Reason::Limited, Some("call")));
        let sieve = || Sieve { most: 10, ..Sieve::default() };
        let bank = Some("bank".parse().unwrap());
        assert_eq!(times(&recent, sieve()), [4, 3, 2, 1]);
        assert_eq!(times(&recent, Sieve { most: 2, ..sieve() }), [4, 3]);
        assert_eq!(times(&recent, Sieve { agent: bank.clone(), ..sieve() }), [4, 3, 1]);
        assert_eq!(times(&recent, Sieve { reason: Some(Reason::Limited), ..sieve() }), [4, 2]);
        assert_eq!(times(&recent, Sieve { agent: bank, caller: vec![CallerDigest([1; 16])], ..sieve() }), [3, 1]);
    }
}
