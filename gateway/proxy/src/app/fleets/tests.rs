use std::{collections::HashMap as Map, time::Duration};

use swaigate_core::{
    keys::{KeyRing, MacKey},
    policy::{PublicUrl, Seed, compile},
    secret::Secret,
};

use super::*;

/// Policies of agents `bank`, each with this within `upstream`.
fn policies(more: &str) -> Policies {
    let seed = Seed { process_key: MacKey::new(b"process"), generated_password: Secret::new("generated") };
    let text = format!("agent: bank\nupstream:\n  url: http://agent:3000\n  {more}\n");
    let agent = compile("p.yaml", &text, &Map::<String, Secret>::new(), &seed).unwrap();
    let url: PublicUrl = "https://agents.example.com".parse().unwrap();
    Policies::new(url, vec![agent], ring()).unwrap()
}

fn ring() -> KeyRing {
    crate::keys::ephemeral_ring().unwrap()
}

struct World {
    metrics: Arc<Metrics>,
    fleets: Fleets,
    policies: Policies,
}

fn world(more: &str) -> World {
    let (policies, metrics) = (policies(more), Arc::new(Metrics::new().unwrap()));
    World { fleets: Fleets::new(&policies, Arc::clone(&metrics)), metrics, policies }
}

impl World {
    fn enter(&self, home: Option<u8>, now: Instant) -> Result<Visit, Reason> {
        let agent = &self.policies.agents()[0];
        self.fleets.enter_with(agent, home.map(|home| [home; 16]), false, now).map_err(|not_now| not_now.reason)
    }

    /// Fetches a call's document from where it goes first, and says where that was.
    fn begin(&self, call: u8, now: Instant) -> Arc<str> {
        let agent = &self.policies.agents()[0];
        let mut visit = self.fleets.enter_with(agent, Some([call; 16]), true, now).unwrap();
        let place = visit.places(now).unwrap().remove(0);
        visit.goes_to(&place, now);
        visit.ends(true, now);
        Arc::clone(&place.name)
    }

    /// Where a call's request goes first.
    fn first(&self, call: u8, now: Instant) -> Arc<str> {
        Arc::clone(&self.enter(Some(call), now).unwrap().places(now).unwrap()[0].name)
    }

    /// Sends a request to this server, where it fails or not.
    fn send(&self, server: &str, is_answered: bool, now: Instant) {
        let mut visit = self.enter(None, now).unwrap();
        let stations: Vec<_> = visit.fleet.stations().cloned().collect();
        let station = stations.iter().find(|station| station.name() == server).unwrap();
        visit.goes_to(station, now);
        visit.ends(is_answered, now);
    }

    fn reload(&mut self, more: &str) {
        self.policies = policies(more);
        self.fleets.follow(&self.policies);
    }

    fn metric(&self, line: &str) -> bool {
        self.fleets.measure(Instant::now());
        let text = String::from_utf8(self.metrics.text(crate::state::Gauges::default(), 0).unwrap()).unwrap();
        text.lines().any(|it| it == line)
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const TWO: &str = "servers: ['a:1', 'b:1']";

#[test]
fn as_many_requests_are_under_way_as_may_be() {
    let (world, now) = (world("max_in_flight: 2"), Instant::now());
    let visits: Vec<_> = (0..2).map(|_| world.enter(None, now).unwrap()).collect();
    assert_eq!(world.enter(None, now).err(), Some(Reason::AgentBusy));
    assert!(world.metric(r#"swaigate_agent_in_flight{agent="bank"} 2"#));
    drop(visits);
    assert!(world.enter(None, now).is_ok());
    assert!(world.metric(r#"swaigate_agent_in_flight{agent="bank"} 0"#));
}

#[test]
fn the_breaker_refuses_at_once_until_a_request_succeeds() {
    let (world, now) = (world("breaker: { failures: 2, for: 10s }"), Instant::now());
    (0..2).for_each(|_| world.send("agent:3000", false, now));
    assert_eq!(world.enter(None, now).err(), Some(Reason::AgentUnavailable));
    assert!(world.metric(r#"swaigate_agent_breaker{agent="bank"} 2"#));
    let later = now + seconds(10);
    let trial = world.enter(None, later).unwrap();
    assert_eq!(world.enter(None, later).err(), Some(Reason::AgentUnavailable));
    drop(trial);
    // `Visit` gives a trial back by the clock, which hasn't come that far: that is sooner.
    world.send("agent:3000", true, later);
    assert!(world.enter(None, later).is_ok());
    assert!(world.metric(r#"swaigate_agent_breaker{agent="bank"} 0"#));
}

#[test]
fn a_busy_agent_uses_up_no_trial() {
    let (world, now) = (world("breaker: { failures: 1, for: 10s }\n  max_in_flight: 1"), Instant::now());
    world.send("agent:3000", false, now);
    let later = now + seconds(10);
    let trial = world.enter(None, later).unwrap();
    assert_eq!(world.enter(None, later).err(), Some(Reason::AgentBusy));
    drop(trial);
    assert!(world.enter(None, later).is_ok());
}

#[test]
fn a_call_stays_on_its_server_until_that_fails_and_comes_back() {
    let (world, now) = (world(&format!("{TWO}\n  eject: {{ failures: 2, for: 10s }}")), Instant::now());
    let call = (0..=255).find(|call| &*world.first(*call, now) == "a:1").unwrap();
    world.send("a:1", false, now);
    assert_eq!(&*world.first(call, now), "a:1");
    world.send("a:1", false, now);
    assert_eq!(&*world.first(call, now), "b:1");
    assert!(world.metric(r#"swaigate_ejections_total{agent="bank",server="a:1"} 1"#));
    assert!(world.metric(r#"swaigate_server_up{agent="bank",server="a:1"} 0"#));
    assert_eq!(&*world.first(call, now + seconds(10)), "a:1");
}

#[test]
fn a_call_stays_with_the_server_that_made_its_document_whoever_comes_and_goes() {
    let (mut world, now) = (world(&format!("{TWO}\n  eject: {{ failures: 1, for: 10s }}")), Instant::now());
    let before: Vec<_> = (0..100).map(|call| world.begin(call, now)).collect();
    world.send("a:1", false, now);
    let away: Vec<_> = (100..200).map(|call| world.begin(call, now)).collect();
    assert!(away.iter().all(|server| &**server == "b:1"));
    assert!((0..100).all(|call| &*world.first(call, now) == "b:1"), "nobody else is there");
    let later = now + seconds(10);
    let servers =
        |world: &World, calls: std::ops::Range<u8>| calls.map(|call| world.first(call, later)).collect::<Vec<_>>();
    assert_eq!(servers(&world, 0..100), before);
    assert_eq!(servers(&world, 100..200), away);
    world.reload("servers: ['a:1', 'b:1', 'c:1']");
    assert_eq!(servers(&world, 0..100), before);
    assert!(servers(&world, 200..250).iter().any(|server| &**server == "c:1"), "calls that begin now");
}

#[test]
fn the_last_server_is_never_sent_away() {
    let (world, now) = (world(&format!("{TWO}\n  eject: {{ failures: 1, max_percent: 100 }}")), Instant::now());
    world.send("a:1", false, now);
    world.send("b:1", false, now);
    assert_eq!(world.enter(None, now).unwrap().places(now).unwrap()[0].name(), "b:1");
    assert!(world.metric(r#"swaigate_ejections_total{agent="bank",server="a:1"} 1"#));
    assert!(!world.metric(r#"swaigate_ejections_total{agent="bank",server="b:1"} 1"#));
}

#[test]
fn a_share_of_the_servers_stays_whatever_fails() {
    let now = Instant::now();
    for (percent, away) in [(0, 0), (1, 1), (50, 2), (100, 3)] {
        let servers = "servers: ['a:1', 'b:1', 'c:1', 'd:1']";
        let world = world(&format!("{servers}\n  eject: {{ failures: 1, max_percent: {percent} }}"));
        ["a:1", "b:1", "c:1", "d:1"].iter().for_each(|server| world.send(server, false, now));
        assert_eq!(world.enter(None, now).unwrap().places(now).unwrap().len(), 4 - away, "{percent}");
    }
}

#[test]
fn one_whose_checks_fail_gets_nothing_and_one_sent_away_is_better_than_none() {
    let more = format!("{TWO}\n  health: {{ path: /h }}\n  eject: {{ failures: 1 }}");
    let (world, now) = (world(&more), Instant::now());
    let (due, next) = world.fleets.due(now);
    assert_eq!((due.len(), next), (2, Some(now + seconds(10))));
    assert_eq!(world.fleets.due(now).0.len(), 0, "they are under way");
    let [a, b] = ["a:1", "b:1"].map(|name| due.iter().find(|due| due.station.name() == name).unwrap());
    world.send("a:1", false, now);
    world.fleets.checked(b, Some("status 500"));
    assert_eq!(world.enter(None, now).unwrap().places(now).unwrap()[0].name(), "a:1");
    world.fleets.checked(a, Some("no answer"));
    assert_eq!(world.enter(None, now).unwrap().places(now).err().map(|it| it.reason), Some(Reason::AgentUnavailable));
    assert!(world.metric(r#"swaigate_health_checks_total{agent="bank",result="failed",server="a:1"} 1"#));
}

#[test]
fn what_is_known_outlives_a_reload_and_what_is_gone_is_forgotten() {
    let check = "health: { path: /h }";
    let (mut world, now) = (world(&format!("{TWO}\n  {check}\n  max_in_flight: 1")), Instant::now());
    let visit = world.enter(None, now).unwrap();
    let (due, _) = world.fleets.due(now);
    due.iter().for_each(|due| world.fleets.checked(due, Some("status 500")));
    let mut changes = world.fleets.changes();
    changes.mark_unchanged();
    world.reload(&format!("servers: ['b:1', 'c:1']\n  {check}\n  max_in_flight: 1"));
    assert!(changes.has_changed().unwrap());
    assert_eq!(world.enter(None, now).err(), Some(Reason::AgentBusy), "the older one is still under way");
    drop(visit);
    let places = world.enter(None, now).unwrap().places(now).unwrap();
    assert_eq!(places.iter().map(|it| it.name()).collect::<Vec<_>>(), ["c:1"], "b is still down");
    assert!(!world.metric(r#"swaigate_server_up{agent="bank",server="a:1"} 0"#));
    let gone = due.iter().find(|due| due.station.name() == "a:1").unwrap();
    world.fleets.checked(gone, Some("status 500"));
    assert!(!world.metric(r#"swaigate_health_checks_total{agent="bank",result="failed",server="a:1"} 1"#));
    world.reload("servers: ['b:1', 'c:1']");
    assert_eq!(world.enter(None, now).unwrap().places(now).unwrap().len(), 2, "nobody says that b is down");
}

#[test]
fn a_request_of_before_a_reload_is_counted_with_the_others() {
    let (mut world, now) = (world("max_in_flight: 1"), Instant::now());
    let before = Arc::clone(&world.policies.agents()[0]);
    world.reload("max_in_flight: 1");
    let visit = world.fleets.enter_with(&before, None, false, now).unwrap();
    assert_eq!(world.enter(None, now).err(), Some(Reason::AgentBusy));
    drop(visit);
    assert!(world.enter(None, now).is_ok());
}
