//! Emergency switches: what of the agents is turned off by now, by whom and why.
//!
//! A switch stops documents and function calls. Nothing stops a clean-up: hooks, summaries, callbacks and files pass.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    str::FromStr,
    sync::Arc,
};

use crate::{
    call::Caller,
    id::{AgentName, CallerDigest, FunctionName, eight_of_hex, hex},
    keys::KeyRing,
    time::Timestamp,
};

/// How many switches there may be.
pub const MAX_SWITCHES: usize = 10_000;

/// How many of them only people can turn on: who makes up callers must not take the last ones.
const FOR_PEOPLE: usize = 1_000;

/// How long the name of whoever turns a switch may be, in characters.
const MAX_WHO: usize = 100;

/// How long the reason may be, in characters.
const MAX_WHY: usize = 500;

/// All switches, and quick ways to those that a request has to look at.
#[derive(Debug, Clone, Default)]
pub struct Switches {
    all: BTreeMap<SwitchId, Arc<Switch>>,
    places: HashMap<Place, Vec<Arc<Switch>>>,
}

/// A switch that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Its name.
    pub id: SwitchId,
    /// What it stops.
    pub scope: Scope,
    /// Who turned it on, and why.
    pub word: Word,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None`: until somebody turns it off.
    pub until: Option<Timestamp>,
    /// What turned it on.
    pub origin: Origin,
}

/// The random name of a switch, as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SwitchId(pub [u8; 8]);

/// What a switch stops.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every document and function of every agent.
    All,
    /// Those of one agent.
    Agent(AgentName),
    /// One function of one agent.
    Function(AgentName, FunctionName),
    /// What a number asks for, at one agent or at all of them. [`Scope::caller`] makes one.
    Caller(String, Option<AgentName>),
}

/// What turned a switch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A person.
    Operator,
    /// The environment of the process. It is on as long as that runs.
    Environment,
    /// A rule that detects something.
    Detection,
    /// The gateway itself: the switches of before couldn't be read, so that anything may have been turned off.
    Recovery,
}

/// Who turns a switch, and why. Neither is empty, long or more than a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    who: String,
    why: String,
}

/// What a request asks for, as far as switches care.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Of which agent.
    pub agent: &'a AgentName,
    /// Which function; nothing for a document.
    pub function: Option<&'a FunctionName>,
    /// For whom: each may be the caller.
    pub callers: &'a [Option<CallerDigest>],
}

/// As many switches as may be are on: some have to be turned off first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_SWITCHES} switches are on, which is all there may be; turn others off first, or turn a wider one on")]
pub struct Full;

/// Words that nobody could make use of later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{what}` must be 1 to {most} characters on one line")]
pub struct BadWord {
    what: &'static str,
    most: usize,
}

/// A text that is no phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`caller` must be a phone number like +15551230001; withheld, SIP and WebRTC callers have none to be told by")]
pub struct NoNumber;

/// Where a request looks for switches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    All,
    Agent(AgentName),
    Function(AgentName, FunctionName),
    Caller(CallerDigest, Option<AgentName>),
}

// === impl Switches ===

impl Switches {
    /// These switches. Callers are known by their digests under these keys.
    ///
    /// # Errors
    /// [`Full`] if they are more than [`MAX_SWITCHES`].
    pub fn new(switches: impl IntoIterator<Item = Switch>, keys: &KeyRing) -> Result<Self, Full> {
        let mut all = Self::default();
        switches.into_iter().try_for_each(|switch| all.turn_on(switch, keys))?;
        Ok(all)
    }

    /// The same switches under other keys.
    #[must_use]
    pub fn under(&self, keys: &KeyRing) -> Self {
        let mut same = Self::default();
        self.all.values().for_each(|switch| same.insert(Arc::clone(switch), keys));
        same
    }

    /// Turns a switch on, in place of the one of its id if there is one.
    ///
    /// # Errors
    /// [`Full`].
    pub fn turn_on(&mut self, switch: Switch, keys: &KeyRing) -> Result<(), Full> {
        self.turn_off(switch.id, keys);
        let room = MAX_SWITCHES - if switch.origin == Origin::Detection { FOR_PEOPLE } else { 0 };
        if self.all.len() >= room {
            return Err(Full);
        }
        self.insert(Arc::new(switch), keys);
        Ok(())
    }

    /// Turns a switch off. The keys are those that it was turned on with.
    pub fn turn_off(&mut self, id: SwitchId, keys: &KeyRing) -> Option<Arc<Switch>> {
        let switch = self.all.remove(&id)?;
        for place in places(&switch.scope, keys) {
            if let Some(there) = self.places.get_mut(&place) {
                there.retain(|other| other.id != id);
                if there.is_empty() {
                    self.places.remove(&place);
                }
            }
        }
        Some(switch)
    }

    fn insert(&mut self, switch: Arc<Switch>, keys: &KeyRing) {
        for place in places(&switch.scope, keys) {
            self.places.entry(place).or_default().push(Arc::clone(&switch));
        }
        self.all.insert(switch.id, switch);
    }

    /// Whether none is on.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, those included whose time is over.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Switch>> {
        self.all.values()
    }

    /// The switch of this id.
    pub fn get(&self, id: SwitchId) -> Option<&Arc<Switch>> {
        self.all.get(&id)
    }

    /// The switch that one of these origins turned on for exactly this scope.
    pub fn find(&self, scope: &Scope, origin: Origin) -> Option<&Arc<Switch>> {
        self.iter().find(|switch| switch.scope == *scope && switch.origin == origin)
    }

    /// The switch that stops a request now, the widest first; there is nothing to look for when none is on.
    pub fn stops(&self, asked: &Asked<'_>, now: Timestamp) -> Option<&Switch> {
        if self.is_empty() {
            return None;
        }
        let agent = asked.agent;
        let on = |place: &Place| self.places.get(place)?.iter().find(|switch| switch.is_in_force(now));
        let function = |name: &FunctionName| on(&Place::Function(agent.clone(), name.clone()));
        let caller = |digest: &CallerDigest| {
            on(&Place::Caller(*digest, None)).or_else(|| on(&Place::Caller(*digest, Some(agent.clone()))))
        };
        on(&Place::All)
            .or_else(|| on(&Place::Agent(agent.clone())))
            .or_else(|| asked.function.and_then(function))
            .or_else(|| asked.callers.iter().flatten().find_map(caller))
            .map(Arc::as_ref)
    }
}

fn places(scope: &Scope, keys: &KeyRing) -> Vec<Place> {
    match scope {
        Scope::All => vec![Place::All],
        Scope::Agent(agent) => vec![Place::Agent(agent.clone())],
        Scope::Function(agent, function) => vec![Place::Function(agent.clone(), function.clone())],
        Scope::Caller(number, agent) => {
            keys.callers(number).map(|digest| Place::Caller(digest, agent.clone())).collect()
        }
    }
}

// === impl Switch ===

impl Switch {
    /// Whether its time isn't over.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

// === impl Scope ===

impl Scope {
    /// Every kind of scope, as [`Scope::kind`] names it.
    pub const KINDS: [&str; 4] = ["all", "agent", "function", "caller"];

    /// The scope of a number, with or without the usual separators.
    ///
    /// # Errors
    /// [`NoNumber`].
    pub fn caller(number: &str, agent: Option<AgentName>) -> Result<Self, NoNumber> {
        let caller = Caller::from_number(number);
        caller.number().map(|number| Scope::Caller(number.to_owned(), agent)).ok_or(NoNumber)
    }

    /// Its kind: all that is said of it in metrics and logs, since it may hold a number.
    pub fn kind(&self) -> &'static str {
        match self {
            Scope::All => "all",
            Scope::Agent(_) => "agent",
            Scope::Function(..) => "function",
            Scope::Caller(..) => "caller",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => f.write_str("all"),
            Scope::Agent(agent) => write!(f, "agent {agent}"),
            Scope::Function(agent, function) => write!(f, "function {agent}/{function}"),
            Scope::Caller(number, None) => write!(f, "caller {number}"),
            Scope::Caller(number, Some(agent)) => write!(f, "caller {number} at {agent}"),
        }
    }
}

// === impl Origin ===

impl Origin {
    /// Every origin.
    pub const ALL: [Origin; 4] = [Origin::Operator, Origin::Environment, Origin::Detection, Origin::Recovery];

    /// Its name in audit records and in the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Operator => "operator",
            Origin::Environment => "environment",
            Origin::Detection => "detection",
            Origin::Recovery => "recovery",
        }
    }
}

// === impl Word ===

impl Word {
    /// Takes a name and a reason, without the blanks around them.
    ///
    /// # Errors
    /// [`BadWord`].
    pub fn new(who: &str, why: &str) -> Result<Self, BadWord> {
        Ok(Self { who: line("who", who, MAX_WHO)?, why: line("why", why, MAX_WHY)? })
    }

    /// Who it is.
    pub fn who(&self) -> &str {
        &self.who
    }

    /// Why.
    pub fn why(&self) -> &str {
        &self.why
    }
}

fn line(what: &'static str, text: &str, most: usize) -> Result<String, BadWord> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(BadWord { what, most }) }
}

// === impl SwitchId ===

impl fmt::Display for SwitchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// A text that is no id of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a switch is 16 hex digits")]
pub struct NoSwitchId;

impl FromStr for SwitchId {
    type Err = NoSwitchId;

    fn from_str(text: &str) -> Result<Self, NoSwitchId> {
        eight_of_hex(text).map(Self).ok_or(NoSwitchId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::Key, secret::Secret};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn key(id: &str) -> Key {
        Key::new(id, &Secret::new(id.repeat(32))).unwrap()
    }

    fn ring(ids: &[&str]) -> KeyRing {
        KeyRing::new(ids.iter().map(|id| key(id)).collect()).unwrap()
    }

    fn agent(name: &str) -> AgentName {
        name.parse().unwrap()
    }

    fn function(name: &str) -> FunctionName {
        name.parse().unwrap()
    }

    fn switch(id: u64, scope: Scope) -> Switch {
        let word = Word::new("ann", "drill").unwrap();
        let id = SwitchId(id.to_be_bytes());
        Switch { id, scope, word, since: NOW, until: None, origin: Origin::Operator }
    }

    fn one(scope: Scope) -> Switches {
        Switches::new([switch(1, scope)], &ring(&["a", "b"])).unwrap()
    }

    fn stops(switches: &Switches, name: &str, of: Option<&str>, callers: &[Option<CallerDigest>]) -> bool {
        let function = of.map(function);
        let asked = Asked { agent: &agent(name), function: function.as_ref(), callers };
        switches.stops(&asked, NOW).is_some()
    }

    #[test]
    fn each_scope_stops_what_it_says_and_nothing_else() {
        let [by_a, by_b] = ["a", "b"].map(|id| Some(key(id).caller("+15551230001")));
        let other = Some(key("a").caller("+15551230002"));
        let of_bank = Scope::Function(agent("bank"), function("pay"));
        let anywhere = Scope::caller("+1 (555) 123-0001", None).unwrap();
        let at_bank = Scope::caller("15551230001", Some(agent("bank"))).unwrap();
        for (scope, name, of, caller, expected) in [
            (Scope::All, "bank", None, None, true),
            (Scope::All, "shop", Some("pay"), by_a, true),
            (Scope::Agent(agent("bank")), "bank", None, None, true),
            (Scope::Agent(agent("bank")), "bank", Some("pay"), None, true),
            (Scope::Agent(agent("bank")), "shop", Some("pay"), by_a, false),
            (of_bank.clone(), "bank", Some("pay"), None, true),
            (of_bank.clone(), "bank", Some("ask"), None, false),
            (of_bank.clone(), "bank", None, None, false),
            (of_bank, "shop", Some("pay"), None, false),
            (anywhere.clone(), "bank", Some("pay"), by_a, true),
            (anywhere.clone(), "shop", None, by_b, true),
            (anywhere.clone(), "shop", None, other, false),
            (anywhere, "shop", None, None, false),
            (at_bank.clone(), "bank", None, by_a, true),
            (at_bank, "shop", None, by_a, false),
        ] {
            let told = scope.to_string();
            assert_eq!(stops(&one(scope), name, of, &[None, caller]), expected, "{told} at {name} {of:?}");
        }
        assert!(!stops(&Switches::default(), "bank", Some("pay"), &[by_a]));
    }

    #[test]
    fn a_switch_ends_when_its_time_is_over_and_another_of_its_scope_goes_on() {
        let keys = ring(&["a"]);
        let short = Switch { until: Some(Timestamp(NOW.0 + 1)), ..switch(1, Scope::All) };
        let mut switches = Switches::new([short], &keys).unwrap();
        let bank = agent("bank");
        let asked = Asked { agent: &bank, function: None, callers: &[] };
        assert!(switches.stops(&asked, NOW).is_some());
        assert!(switches.stops(&asked, Timestamp(NOW.0 + 1)).is_none());
        switches.turn_on(switch(2, Scope::All), &keys).unwrap();
        assert_eq!(switches.stops(&asked, Timestamp(NOW.0 + 1)).unwrap().id, SwitchId(2_u64.to_be_bytes()));
        assert!(switches.turn_off(SwitchId(2_u64.to_be_bytes()), &keys).is_some());
        assert!(switches.stops(&asked, Timestamp(NOW.0 + 1)).is_none());
    }

    #[test]
    fn a_caller_stays_stopped_under_new_keys() {
        let switches = one(Scope::caller("+15551230001", None).unwrap()).under(&ring(&["c", "a"]));
        let by = |id| [Some(key(id).caller("+15551230001"))];
        assert!(stops(&switches, "bank", None, &by("c")) && stops(&switches, "bank", None, &by("a")));
        assert!(!stops(&switches, "bank", None, &by("b")), "b is no key any more");
    }

    #[test]
    fn turning_off_leaves_nothing_behind() {
        let keys = ring(&["a", "b"]);
        let scopes = [Scope::All, Scope::Agent(agent("x")), Scope::caller("+15551230001", None).unwrap()];
        let mut switches = Switches::default();
        for (id, scope) in (0_u64..).zip(scopes) {
            switches.turn_on(switch(id, scope), &keys).unwrap();
        }
        let ids: Vec<SwitchId> = switches.iter().map(|switch| switch.id).collect();
        ids.into_iter().for_each(|id| assert!(switches.turn_off(id, &keys).is_some()));
        assert!(switches.is_empty() && switches.places.is_empty());
    }

    #[test]
    fn there_are_no_more_than_the_bound_and_one_may_still_be_replaced() {
        let keys = ring(&["a"]);
        let most = u64::try_from(MAX_SWITCHES).unwrap();
        let of = |id: u64| switch(id, Scope::Function(agent("bank"), function(&format!("f{id}"))));
        let mut switches = Switches::new((0..most).map(of), &keys).unwrap();
        assert_eq!(switches.turn_on(of(most), &keys), Err(Full));
        assert_eq!(switches.turn_on(of(1), &keys), Ok(()));
        assert_eq!(switches.iter().count(), MAX_SWITCHES);
    }

    #[test]
    fn detection_leaves_room_for_people() {
        let keys = ring(&["a"]);
        let of = |id: usize, origin| Switch {
            origin,
            ..switch(u64::try_from(id).unwrap(), Scope::Function(agent("bank"), function(&format!("f{id}"))))
        };
        let room = MAX_SWITCHES - FOR_PEOPLE;
        let mut switches = Switches::new((0..room).map(|id| of(id, Origin::Detection)), &keys).unwrap();
        assert_eq!(switches.turn_on(of(room, Origin::Detection), &keys), Err(Full));
        assert_eq!(switches.turn_on(of(1, Origin::Detection), &keys), Ok(()));
        assert_eq!(switches.turn_on(of(room, Origin::Operator), &keys), Ok(()));
    }

    #[test]
    fn words_are_a_line_each_and_numbers_numbers() {
        let word = Word::new(" ann ", "card fraud, ticket 17").unwrap();
        assert_eq!((word.who(), word.why()), ("ann", "card fraud, ticket 17"));
        for (who, why, wrong) in [
            ("", "x", "`who`"),
            ("a\nb", "x", "`who`"),
            ("a", "  ", "`why`"),
            ("a", "\u{7}", "`why`"),
            ("a", &"x".repeat(501), "`why`"),
            (&"x".repeat(101), "x", "`who`"),
        ] {
            assert!(Word::new(who, why).unwrap_err().to_string().starts_with(wrong), "{who:?} {why:?}");
        }
        for text in ["anonymous", "sip:a@b", "12", "+266696687"] {
            assert_eq!(Scope::caller(text, None), Err(NoNumber), "{text}");
        }
    }

    #[test]
    fn ids_are_written_and_read() {
        let id = SwitchId([0, 1, 2, 3, 4, 5, 6, 0xff]);
        assert_eq!(id.to_string(), "00010203040506ff");
        assert_eq!("00010203040506ff".parse(), Ok(id));
        for text in ["", "0001020304050", "00010203040506FF", "+0010203040506ff", "00010203040506fg"] {
            assert_eq!(text.parse::<SwitchId>(), Err(NoSwitchId), "{text}");
        }
    }
}
