//! Which calls have ended, and where.
//!
//! Which are under way is counted here too, for each agent and caller. A call is with one agent or, while it is transferred, with several. It has ended where its summary or hang-up came
//! from, unless a document that was made for it there later is still to be heard of; and it has ended altogether when it
//! has ended everywhere.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use swaigate_core::{
    decide::{Begin, CallEvent, CallKey, Part as Who},
    id::{AgentName, CallDigest, CallerDigest},
};

/// How many agents of one call are kept apart. A call with more forgets where it was first.
const MAX_PARTS: usize = 32;

/// At most `max` calls, of which the one that came first is forgotten for one more.
#[derive(Debug)]
pub(super) struct Calls {
    max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    calls: HashMap<CallDigest, Call>,
    /// All calls of the table, in the order in which they came.
    order: VecDeque<CallDigest>,
    /// Calls under way at an agent, of one caller or, with [`Who::Any`], of all.
    under_way: HashMap<(AgentName, Who<CallerDigest>), HashSet<CallDigest>>,
}

#[derive(Debug, Default)]
struct Call {
    parts: Vec<Part>,
    /// When nothing needs to be known of it any more, in Unix seconds.
    expiry: u32,
}

/// A call's time with one agent.
#[derive(Debug)]
struct Part {
    agent: AgentName,
    /// When the last document was made, in Unix seconds.
    fetched: u32,
    /// When its end was heard of, in Unix seconds.
    ended: Option<u32>,
    /// When the last request came, in Unix seconds.
    seen: u32,
    /// Who calls, if the call is counted.
    counted: Option<Who<CallerDigest>>,
}

// === impl Calls ===

impl Calls {
    pub(super) fn new(max: usize) -> Self {
        Self { max, table: Mutex::default() }
    }

    /// Whether this may happen to a call, `now` in Unix seconds.
    pub(super) fn allows(&self, key: &CallKey, event: CallEvent, grace: u32, now: u32) -> bool {
        let table = self.hold();
        let Some(call) = table.calls.get(&key.call) else { return true };
        let is_served = |part: &Part| part.ended.is_none_or(|ended| now < ended.saturating_add(grace));
        match event {
            CallEvent::Fetched => call.parts.iter().any(is_served),
            CallEvent::Used => call.part(&key.agent).is_none_or(is_served),
            CallEvent::Ended { .. } => true,
        }
    }

    /// Remembers what happened to a call.
    pub(super) fn note(&self, key: &CallKey, event: CallEvent, expiry: u32, now: u32) {
        match event {
            CallEvent::Fetched => {
                let mut table = self.hold();
                let part = table.part(key, expiry, self.max);
                (part.fetched, part.seen, part.ended) = (now, now, None);
            }
            CallEvent::Ended { issued } => {
                let mut table = self.hold();
                let part = table.part(key, expiry, self.max);
                if issued >= part.fetched && part.ended.is_none() {
                    part.ended = Some(now);
                    let counted = part.counted.take();
                    table.is_over(key, counted);
                }
            }
            CallEvent::Used => {
                let mut table = self.hold();
                if let Some(part) = table.calls.get_mut(&key.call).and_then(|call| call.known_mut(&key.agent)) {
                    part.seen = now;
                }
            }
        }
    }

    /// Whether a call is known, `now` in Unix seconds.
    pub(super) fn knows(&self, begin: &Begin, now: u32) -> bool {
        let table = self.hold();
        let digests = std::iter::once(&begin.call.call).chain(&begin.aliases);
        digests.filter_map(|call| table.calls.get(call)).any(|call| call.expiry > now)
    }

    /// Counts a call that begins, if there is room or `is_forced`; whether there was. One that is known has room.
    pub(super) fn begin(&self, begin: &Begin, is_forced: bool, now: u32) -> bool {
        if begin.per_caller.or(begin.per_agent).is_none() {
            return true;
        }
        if self.knows(begin, now) {
            return true;
        }
        let mut table = self.hold();
        let agent = &begin.call.agent;
        let mut groups = vec![(Who::Any, begin.per_agent)];
        if begin.caller != Who::Any {
            groups.push((begin.caller, begin.per_caller));
        }
        let has_room = groups.iter().all(|(who, max)| {
            max.is_none_or(|max| table.count(&(agent.clone(), *who), max, begin.idle, now) < max as usize)
        });
        if has_room || is_forced {
            for (who, _) in &groups {
                table.under_way.entry((agent.clone(), *who)).or_default().insert(begin.call.call);
            }
            let part = table.part(&begin.call, begin.expiry, self.max);
            (part.seen, part.counted) = (now, Some(begin.caller));
        }
        has_room
    }

    /// How many calls of a caller, whom these digests stand for, are under way at each agent.
    pub(super) fn under_way(&self, caller: &[CallerDigest]) -> Vec<(AgentName, usize)> {
        let table = self.hold();
        let groups = table.under_way.iter().filter(|((_, who), _)| matches!(who, Who::Of(it) if caller.contains(it)));
        groups.map(|((agent, _), calls)| (agent.clone(), calls.len())).collect()
    }

    /// Forgets what no token asks for any more.
    pub(super) fn sweep(&self, now: u32) {
        let Table { calls, order, under_way } = &mut *self.hold();
        calls.retain(|_, call| call.expiry > now);
        order.retain(|call| calls.contains_key(call));
        under_way.retain(|_, group| {
            group.retain(|call| calls.contains_key(call));
            !group.is_empty()
        });
    }

    pub(super) fn len(&self) -> usize {
        self.hold().calls.len()
    }

    fn hold(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn part(&mut self, key: &CallKey, expiry: u32, max: usize) -> &mut Part {
        if !self.calls.contains_key(&key.call) {
            if self.calls.len() >= max.max(1) {
                self.forget_the_first();
            }
            self.order.push_back(key.call);
        }
        let call = self.calls.entry(key.call).or_default();
        call.expiry = call.expiry.max(expiry);
        call.part_mut(&key.agent)
    }
}

impl Table {
    fn forget_the_first(&mut self) {
        let Some(first) = self.order.pop_front() else { return };
        let parts = self.calls.remove(&first).map(|call| call.parts).unwrap_or_default();
        for Part { agent, counted, .. } in parts {
            self.is_over(&CallKey { call: first, agent }, counted);
        }
    }

    /// A call is not under way any more.
    fn is_over(&mut self, key: &CallKey, counted: Option<Who<CallerDigest>>) {
        let Some(caller) = counted else { return };
        for who in [Who::Any, caller] {
            let group = (key.agent.clone(), who);
            if let Some(calls) = self.under_way.get_mut(&group) {
                calls.remove(&key.call);
                if calls.is_empty() {
                    self.under_way.remove(&group);
                }
            }
        }
    }

    /// How many calls of a group are under way. Idle ones are looked for only when there are too many.
    fn count(&mut self, group: &(AgentName, Who<CallerDigest>), max: u32, idle: u32, now: u32) -> usize {
        let Table { calls, under_way, .. } = self;
        let Some(of_group) = under_way.get_mut(group) else { return 0 };
        if of_group.len() >= max as usize {
            of_group.retain(|call| {
                let part = calls.get(call).and_then(|call| call.part(&group.0));
                part.is_some_and(|part| part.ended.is_none() && now < part.seen.saturating_add(idle))
            });
        }
        of_group.len()
    }
}

impl Call {
    fn known_mut(&mut self, agent: &AgentName) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.agent == *agent)
    }

    fn part(&self, agent: &AgentName) -> Option<&Part> {
        self.parts.iter().find(|part| part.agent == *agent)
    }

    fn part_mut(&mut self, agent: &AgentName) -> &mut Part {
        let place = self.parts.iter().position(|part| part.agent == *agent).unwrap_or_else(|| {
            if self.parts.len() >= MAX_PARTS {
                self.parts.remove(0);
            }
            self.parts.push(Part { agent: agent.clone(), fetched: 0, ended: None, seen: 0, counted: None });
            self.parts.len() - 1
        });
        &mut self.parts[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: u32 = 60;
    const EXPIRY: u32 = 10_000;

    fn at(agent: &str) -> CallKey {
        CallKey { call: CallDigest([1; 16]), agent: agent.parse().unwrap() }
    }

    fn allows(calls: &Calls, agent: &str, now: u32) -> (bool, bool) {
        let may = |event| calls.allows(&at(agent), event, GRACE, now);
        (may(CallEvent::Fetched), may(CallEvent::Used))
    }

    #[test]
    fn an_ended_call_is_served_for_its_grace_and_no_longer() {
        let calls = Calls::new(10);
        assert_eq!(allows(&calls, "bank", 0), (true, true), "nothing is known");
        calls.note(&at("bank"), CallEvent::Fetched, EXPIRY, 100);
        assert_eq!(allows(&calls, "bank", 5_000), (true, true), "it goes on");
        calls.note(&at("bank"), CallEvent::Ended { issued: 100 }, EXPIRY, 200);
        assert_eq!(allows(&calls, "bank", 259), (true, true));
        assert_eq!(allows(&calls, "bank", 260), (false, false));
        calls.note(&at("bank"), CallEvent::Ended { issued: 100 }, EXPIRY, 300);
        assert_eq!(allows(&calls, "bank", 301), (false, false), "a second end changes nothing");
    }

    #[test]
    fn a_transferred_call_has_ended_when_it_has_everywhere() {
        let calls = Calls::new(10);
        calls.note(&at("bank"), CallEvent::Fetched, EXPIRY, 100);
        calls.note(&at("shop"), CallEvent::Fetched, EXPIRY, 200);
        calls.note(&at("bank"), CallEvent::Ended { issued: 100 }, EXPIRY, 201);
        assert_eq!(
            allows(&calls, "bank", 1_000),
            (true, false),
            "it may come back, but not go on as if it had not left"
        );
        calls.note(&at("bank"), CallEvent::Fetched, EXPIRY, 1_000);
        assert_eq!(allows(&calls, "bank", 1_001), (true, true));
        calls.note(&at("shop"), CallEvent::Ended { issued: 200 }, EXPIRY, 1_001);
        calls.note(&at("bank"), CallEvent::Ended { issued: 1_000 }, EXPIRY, 1_100);
        assert_eq!(allows(&calls, "bank", 1_160), (false, false));
        assert_eq!(allows(&calls, "shop", 1_160), (false, false));
    }

    #[test]
    fn the_end_of_an_earlier_document_is_not_that_of_a_later_one() {
        let calls = Calls::new(10);
        calls.note(&at("bank"), CallEvent::Fetched, EXPIRY, 100);
        calls.note(&at("bank"), CallEvent::Fetched, EXPIRY, 200);
        calls.note(&at("bank"), CallEvent::Ended { issued: 100 }, EXPIRY, 201);
        assert_eq!(allows(&calls, "bank", 1_000), (true, true));
    }

    #[test]
    fn the_table_is_bounded_and_swept() {
        let calls = Calls::new(3);
        for call in 0..10 {
            let key = CallKey { call: CallDigest([call; 16]), agent: "bank".parse().unwrap() };
            calls.note(&key, CallEvent::Fetched, EXPIRY + u32::from(call), 0);
        }
        assert_eq!((calls.len(), calls.hold().order.len()), (3, 3));
        for agent in 0..2 * MAX_PARTS {
            calls.note(&at(&format!("a{agent}")), CallEvent::Fetched, EXPIRY, 0);
        }
        assert_eq!(calls.hold().calls[&at("a").call].parts.len(), MAX_PARTS);
        calls.sweep(EXPIRY + 8);
        assert_eq!((calls.len(), calls.hold().order.len()), (1, 1));
    }
}
