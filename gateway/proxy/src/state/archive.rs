//! What people have ordered as a file, to be kept elsewhere and brought back.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use serde::{Deserialize, Serialize};
use swaigate_core::{
    orders::{Lock, LockId, MAX_LOCKS},
    switches::{MAX_SWITCHES, Origin, Scope, Switch, SwitchId},
    time::Timestamp,
};

use super::written::{NoLock, NoSwitch, Written, WrittenLock};
use crate::{
    clock,
    random::{self, NoRandomness},
};

/// What the file says that it is.
const FORMAT: &str = "swaigate-state";

/// The form that this program writes and reads.
const VERSION: u32 = 1;

/// What people have ordered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ordered {
    /// The switches that are on, but for that of the environment.
    pub switches: Vec<Switch>,
    /// The lockouts in force.
    pub locks: Vec<Lock>,
}

/// The same as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    format: String,
    version: u32,
    exported: String,
    switches: Vec<Written>,
    lockouts: Vec<WrittenLock>,
}

/// Why an archive can't be brought back.
#[derive(Debug, thiserror::Error)]
pub enum NoArchive {
    /// It is something else.
    #[error("`format` is {0:?}, and not {FORMAT:?}: that is no exported state")]
    Format(String),
    /// A later program wrote it.
    #[error(
        "`version` is {0}, and this program reads {VERSION}: take a program that is as new as the one that wrote it"
    )]
    Version(u32),
    /// One of its switches is none.
    #[error("switches[{0}]: {1}")]
    Switch(usize, NoSwitch),
    /// A switch of the environment is read from there, and from nowhere else.
    #[error("switches[{0}]: a switch of the environment can't be brought back; set AGENT_EMERGENCY_MODE")]
    OfEnvironment(usize),
    /// One of its lockouts is none.
    #[error("lockouts[{0}]: {1}")]
    Lock(usize, NoLock),
}

// === impl Archive ===

impl Archive {
    /// What is ordered, as it is now.
    pub fn of(ordered: &Ordered, now: Timestamp) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            exported: clock::rfc3339(now),
            switches: ordered.switches.iter().map(Written::of).collect(),
            lockouts: ordered.locks.iter().map(WrittenLock::of).collect(),
        }
    }

    /// What was ordered.
    ///
    /// # Errors
    /// [`NoArchive`].
    pub fn ordered(&self) -> Result<Ordered, NoArchive> {
        if self.format != FORMAT {
            return Err(NoArchive::Format(self.format.clone()));
        }
        if self.version != VERSION {
            return Err(NoArchive::Version(self.version));
        }
        let switch = |(index, written): (usize, &Written)| {
            let switch = written.switch().map_err(|problem| NoArchive::Switch(index, problem))?;
            if switch.origin == Origin::Environment { Err(NoArchive::OfEnvironment(index)) } else { Ok(switch) }
        };
        let lock = |(index, written): (usize, &WrittenLock)| written.lock().map_err(|it| NoArchive::Lock(index, it));
        Ok(Ordered {
            switches: self.switches.iter().enumerate().map(switch).collect::<Result<_, _>>()?,
            locks: self.lockouts.iter().enumerate().map(lock).collect::<Result<_, _>>()?,
        })
    }
}

// === impl Ordered ===

impl Ordered {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.switches.is_empty() && self.locks.is_empty()
    }

    /// Whether there would be more than there may be with it.
    pub fn is_too_much_for(&self, there: &Ordered) -> bool {
        let switches = self.switches.iter().chain(&there.switches).map(|switch| switch.id).collect::<HashSet<_>>();
        let locks = self.locks.iter().chain(&there.locks).map(|lock| lock.id).collect::<HashSet<_>>();
        switches.len() > MAX_SWITCHES || locks.len() > MAX_LOCKS
    }

    /// The same as it is brought back to where something is in force: what is for the same scope or subject takes the id of
    /// that, and nothing else loses its own.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn beside(self, there: &Ordered) -> Result<Self, NoRandomness> {
        let known = there.switches.iter().map(|switch| (scope_of(switch), switch.id));
        let switches = settle(self.switches, known, scope_of, |switch| &mut switch.id, SwitchId)?;
        let known = there.locks.iter().map(|lock| (lock.subject.clone(), lock.id));
        let locks = settle(self.locks, known, |lock| lock.subject.clone(), |lock| &mut lock.id, LockId)?;
        Ok(Self { switches, locks })
    }
}

fn scope_of(switch: &Switch) -> (Scope, Origin) {
    (switch.scope.clone(), switch.origin)
}

/// Each gets the id of what it takes the place of; else its own, unless that is another's. Of two for the same, the later
/// counts.
fn settle<T, K: Hash + Eq, I: Hash + Eq + Copy>(
    all: Vec<T>,
    known: impl Iterator<Item = (K, I)>,
    key: impl Fn(&T) -> K,
    id: impl Fn(&mut T) -> &mut I,
    make: impl Fn([u8; 8]) -> I,
) -> Result<Vec<T>, NoRandomness> {
    let mut ids: HashMap<K, I> = known.collect();
    let mut taken: HashSet<I> = ids.values().copied().collect();
    let mut settled: HashMap<I, T> = HashMap::new();
    for mut one in all {
        let key = key(&one);
        let own = *id(&mut one);
        let place = match ids.get(&key) {
            Some(place) => *place,
            None if taken.contains(&own) => make(random::bytes()?),
            None => own,
        };
        *id(&mut one) = place;
        ids.insert(key, place);
        taken.insert(place);
        settled.insert(place, one);
    }
    Ok(settled.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHIVE: &str = r#"{"format":"swaigate-state","version":1,"exported":"2026-11-24T16:00:00.000Z","switches":[
        {"id":"0000000000000001","scope":{"all":true},"who":"ann","why":"drill","since":"2026-11-24T15:00:00.000Z","origin":"operator"}],
        "lockouts":[{"id":"0000000000000002","subject":{"address":"192.0.2.7"},"who":"bob","why":"scans",
        "since":"2026-11-24T15:00:00.000Z","until":"2026-11-25T15:00:00.000Z"}]}"#;

    fn read(text: &str) -> Result<Ordered, String> {
        let archive: Archive = serde_json::from_str(text).map_err(|error| error.to_string())?;
        archive.ordered().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read() {
        let ordered = read(ARCHIVE).unwrap();
        assert_eq!((ordered.switches.len(), ordered.locks.len()), (1, 1));
        let again = serde_json::to_string(&Archive::of(&ordered, Timestamp(7))).unwrap();
        assert_eq!(read(&again), Ok(ordered));
    }

    #[test]
    fn what_is_brought_back_takes_the_place_of_its_like_and_of_nothing_else() {
        let [switch, lock] = [1_u8, 2].map(|id| [0, 0, 0, 0, 0, 0, 0, id]);
        let there = read(&ARCHIVE.replacen("{\"all\":true}", "{\"agent\":\"bank\"}", 1)).unwrap();
        let back = read(ARCHIVE).unwrap().beside(&there).unwrap();
        assert_ne!(back.switches[0].id, SwitchId(switch), "that is the bank's");
        assert_eq!(back.locks[0].id, LockId(lock));
        let there = read(&ARCHIVE.replace("000000000000000", "aaaaaaaaaaaaaaa")).unwrap();
        let mut twice = read(ARCHIVE).unwrap();
        twice.switches.extend(read(&ARCHIVE.replacen("drill", "later", 1)).unwrap().switches);
        let back = twice.beside(&there).unwrap();
        assert_eq!((back.switches.len(), back.switches[0].word.why()), (1, "later"));
        assert_eq!((back.switches[0].id, back.locks[0].id), (there.switches[0].id, there.locks[0].id));
    }

    #[test]
    fn what_is_something_else_says_so() {
        for (from, to, wrong) in [
            ("swaigate-state", "other", "`format` is \"other\""),
            ("\"version\":1", "\"version\":2", "`version` is 2, and this program reads 1"),
            ("{\"all\":true}", "{}", "switches[0]: `scope` must be"),
            ("\"operator\"", "\"environment\"", "switches[0]: a switch of the environment"),
            ("\"operator\"", "\"nobody\"", "switches[0]: `origin` can't be read"),
            ("192.0.2.7", "192.0.2.7/8", "lockouts[0]: `subject`: `address`: 192.0.2.7/8 has bits"),
            ("\"lockouts\"", "\"locks\"", "unknown field `locks`"),
        ] {
            let error = read(&ARCHIVE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(wrong), "{from}: {error}");
        }
    }
}
