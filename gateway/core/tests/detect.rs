//! What comes of too many events: which alarm, and whom its action stops.

#[path = "support/world.rs"]
mod world;

use serde_json::json;
use swaigate_core::{
    decide::{self, Alarm, Answers, Exceeded},
    record::Facts,
    route::Method,
    token::Kind,
};
use world::{CALL, CALLER, Request, Wanted, World, WorldFile};

/// The agent of `tests/golden/worlds/watched.yaml`.
fn watched() -> World {
    let file: WorldFile =
        serde_yaml::from_str(include_str!("../../../tests/golden/worlds/watched.yaml")).expect("a world");
    World::new(file).expect("policies")
}

/// The alarms of a call of this function, if each of its questions is one too many, and what is known of it.
fn alarms(world: &World, function: &str, is_shared: bool) -> (Vec<Alarm>, Facts) {
    let target = format!("/bank/swaig?gw_token={}", Wanted::new(Kind::Tool, function, "bank", "/bank/swaig").token());
    let body = json!({ "function": function, "argument": { "parsed": [{ "amount": 6000 }] }, "call_id": CALL, "caller_id_num": CALLER });
    let mut facts = Facts::default();
    let plan =
        world.plan(&Request::of_platform(Method::Post, &target, body.to_string()), &mut facts).expect("it is in order");
    let exceeded = (0..plan.questions().len()).map(|check| Exceeded { check, is_shared }).collect();
    let answers = Answers { exceeded, ..Answers::default() };
    (decide::alarms(plan.agent(), plan.questions(), &answers), facts)
}

/// Each alarm with what it stops.
fn stopped(world: &World, (alarms, facts): &(Vec<Alarm>, Facts)) -> Vec<(String, Option<String>)> {
    let stops = |alarm: &Alarm| alarm.stops(world.agent("bank"), &world.policies, facts).map(|scope| scope.to_string());
    alarms.iter().map(|alarm| (alarm.detector.watch.name.to_string(), stops(alarm))).collect()
}

#[test]
fn an_action_stops_who_did_it_and_nobody_else() {
    let world = watched();
    let raised = alarms(&world, "transfer", false);
    let caller = ("rate".to_owned(), Some(format!("caller {CALLER} at bank")));
    let function = ("large".to_owned(), Some("function bank/transfer".to_owned()));
    assert_eq!(stopped(&world, &raised), [caller, function], "other checks raise no alarm");

    let shared = alarms(&world, "transfer", true);
    assert!(stopped(&world, &shared).iter().all(|(_, scope)| scope.is_none()), "nobody is the one who did it");

    let (of_a_caller, mut facts) = alarms(&world, "f", false);
    facts.caller = Some("+15559998888".to_owned());
    assert_eq!(
        stopped(&world, &(of_a_caller.clone(), facts)),
        [("rate".to_owned(), None)],
        "another number than the one counted"
    );
    assert_eq!(stopped(&world, &(of_a_caller, Facts::default())), [("rate".to_owned(), None)], "no number");
}
