//! What people have ordered outlives crashes, damage and the machine.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, Gateway, Policy},
    http::Request,
    platform::Call,
    until,
};

const RUN: [&str; 3] = ["run", "--config", "gateway.yaml"];

fn list(gateway: &Gateway, what: &str) -> Vec<Value> {
    let answer = gateway.api("GET", &format!("/v1/{what}"), &Value::Null).send();
    answer.json().as_array().expect("it is a list").clone()
}

fn post(gateway: &Gateway, what: &str, order: &Value) {
    let answer = gateway.api("POST", &format!("/v1/{what}"), order).send();
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

fn is_stopped(gateway: &Gateway) -> bool {
    let answer = gateway.platform().fetch_request("", &Call::new()).send();
    answer.last_words().as_deref() == Some("This service is temporarily unavailable.")
}

#[test]
fn a_damaged_file_is_set_aside_and_everything_stops_until_a_person_says_otherwise() {
    let policy = Policy::of(Sdk::Rust.shared().address);
    for damage in ["", "no database", &"x".repeat(8192)] {
        let folder = Folder::new("", &[&policy]);
        fs::create_dir(folder.path("state")).expect("the folder can be written");
        fs::write(folder.path("state/swaigate.redb"), damage).expect("the folder can be written");
        let gateway = folder.start(&RUN);
        assert!(is_stopped(&gateway), "{damage:.10}");
        let told = gateway.process.stderr();
        assert!(told.contains("ERROR") && told.contains("Everything is stopped until"), "{told}");
        let aside = fs::read_dir(gateway.folder.path("state")).expect("it is there").filter_map(|entry| {
            let entry = entry.expect("an entry");
            entry.file_name().to_str()?.starts_with("swaigate.redb.damaged-").then(|| fs::read_to_string(entry.path()))
        });
        let aside: Vec<String> = aside.map(|text| text.expect("it can be read")).collect();
        assert_eq!(aside, [damage], "nothing of it is lost");
        // It stays so over a crash, and one word ends it.
        let gateway = gateway.crash();
        let [switch] = &list(&gateway, "switches")[..] else { panic!("one switch is on") };
        assert_eq!((&switch["origin"], &switch["who"]), (&json!("recovery"), &json!("swaigate")));
        assert!(is_stopped(&gateway));
        let (done, said, told) = gateway.operator(&["emergency", "off", "--why", "looked at"]);
        assert!(done && said.contains("Ended: everything"), "{said}{told}");
        assert!(!is_stopped(&gateway));
        let first = until("it is recorded", || gateway.audit().into_iter().find(|record| record["event"] == "switch"));
        assert_eq!(first["origin"], "recovery", "{first}");
        assert!(!is_stopped(&gateway.restart()));
    }
}

/// Waits until both orders are recorded, each with who brought it back.
fn brought_back(gateway: &Gateway) {
    until("what was brought back is recorded", || {
        (gateway.audit().iter().filter(|record| record["why"] == "new machine").count() == 2).then_some(())
    });
}

#[test]
fn what_is_ordered_moves_from_one_machine_to_another() {
    let policy = Policy::of(Sdk::Rust.shared().address);
    let one = policy.start();
    post(&one, "switches", &json!({ "scope": { "agent": "bank" }, "who": "ann", "why": "fraud" }));
    post(
        &one,
        "lockouts",
        &json!({ "subject": { "address": "192.0.2.0/24" }, "who": "ann", "why": "scans", "for": "24h" }),
    );
    let (done, running, told) = one.operator(&["state", "export"]);
    assert!(done, "{told}");
    let orders = (list(&one, "switches"), list(&one, "lockouts"));

    // A stopped gateway tells the same.
    let mut one = one;
    one.process.signal("TERM");
    one.process.exit();
    let (done, stopped, told) = one.operator(&["state", "export"]);
    assert!(done, "{told}");
    let but_for_the_time = |text: &str| {
        let mut state: Value = serde_json::from_str(text).expect("it is JSON");
        assert_eq!((&state["format"], &state["version"]), (&json!("swaigate-state"), &json!(1)));
        state["exported"] = Value::Null;
        state
    };
    assert_eq!(but_for_the_time(&running), but_for_the_time(&stopped));

    // Into one that runs: all of it at once, beside what is in force there.
    let other = policy.start();
    post(&other, "switches", &json!({ "scope": { "agent": "bank" }, "who": "bob", "why": "older" }));
    post(&other, "lockouts", &json!({ "subject": { "user": "nobody" }, "who": "bob", "why": "left" }));
    fs::write(other.folder.path("kept.json"), &running).expect("the folder can be written");
    let (done, said, told) = other.operator(&["state", "import", "kept.json", "--why", "new machine"]);
    assert!(done && said.contains("1 switches and 1 lockouts") && said.contains("next request"), "{said}{told}");
    assert!(is_stopped(&other));
    let words =
        |found: &[Value]| found.iter().map(|it| it["why"].as_str().expect("why").to_owned()).collect::<BTreeSet<_>>();
    brought_back(&other);
    let imported = other.crash();
    assert_eq!(words(&list(&imported, "switches")), ["fraud".to_owned()].into(), "it took the place of the older one");
    assert_eq!(words(&list(&imported, "lockouts")), ["left".to_owned(), "scans".to_owned()].into());

    // Into one that is stopped: in force, and recorded, when it starts.
    let third = policy.start();
    let mut third = third;
    third.process.signal("TERM");
    third.process.exit();
    fs::write(third.folder.path("kept.json"), &running).expect("the folder can be written");
    let (done, said, told) = third.operator(&["state", "import", "kept.json", "--why", "new machine"]);
    assert!(done && said.contains("in force from its start on"), "{said}{told}");
    let third = third.start_again();
    assert_eq!((list(&third, "switches"), list(&third, "lockouts")), orders);
    assert!(is_stopped(&third));
    brought_back(&third);
    let again = third.restart();
    assert_eq!(again.audit().iter().filter(|record| record["why"] == "new machine").count(), 2, "and only once");

    // As many as there may be are brought back at once, and one more not at all.
    let many = |count: usize| {
        let mut state: Value = serde_json::from_str(&running).expect("it is JSON");
        let lock = state["lockouts"][0].clone();
        let of = |number: usize| {
            let mut lock = lock.clone();
            lock["id"] = format!("{number:016x}").into();
            lock["subject"] = json!({ "caller": format!("+1557{number:07}") });
            lock
        };
        state["lockouts"] = (0..count).map(of).collect();
        json!({ "state": state, "who": "ann", "why": "all of them" })
    };
    let refused = again.api("POST", "/v1/state", &many(10_000)).send();
    assert!(refused.status == 409 && refused.text().contains("10000 lockouts are in force"), "{}", refused.text());
    assert_eq!((list(&again, "switches"), list(&again, "lockouts")), orders, "all or none");
    let taken = again.api("POST", "/v1/state", &many(9_999)).send();
    assert_eq!((taken.status, list(&again, "lockouts").len()), (200, 10_000), "{}", taken.text());
    let again = again.crash();
    assert_eq!(list(&again, "lockouts").len(), 10_000);
    let orders = (list(&again, "switches"), list(&again, "lockouts"));

    for (text, wrong) in [
        ("{}", "missing field"),
        (&running.replace("swaigate-state", "other")[..], "that is no exported state"),
        (&running.replace("\"version\": 1", "\"version\": 2"), "as new as the one that wrote it"),
        (&running.replace("192.0.2.0/24", "192.0.2.0/4"), "lockouts[0]"),
    ] {
        fs::write(again.folder.path("kept.json"), text).expect("the folder can be written");
        let (done, _, told) = again.operator(&["state", "import", "kept.json", "--why", "x"]);
        assert!(!done && told.contains(wrong), "{told}");
    }
    assert_eq!((list(&again, "switches"), list(&again, "lockouts")), orders, "nothing was changed");
}

/// What was acknowledged, by its id: in force, or ended.
#[derive(Default)]
struct Acknowledged {
    on: BTreeSet<String>,
    off: BTreeSet<String>,
}

/// Orders something, and ends every third, until the gateway is gone.
fn order_until_killed(api: &dyn Fn(&'static str, &str, &Value) -> Request, what: &str, known: &Mutex<Acknowledged>) {
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let order = match what {
            "switches" => {
                json!({ "scope": { "agent": "bank", "function": format!("f{number}") }, "who": "a", "why": "b" })
            }
            _ => json!({ "subject": { "caller": format!("+1556{number:07}") }, "who": "a", "why": "b" }),
        };
        let Ok(answer) = api("POST", &format!("/v1/{what}"), &order).try_send() else { return };
        assert_eq!(answer.status, 201, "{}", answer.text());
        let id = answer.json()["id"].as_str().expect("it has an id").to_owned();
        known.lock().expect("no test panicked").on.insert(id.clone());
        if number.is_multiple_of(3) {
            // Whether one that isn't answered has ended can't be said.
            known.lock().expect("no test panicked").on.remove(&id);
            let word = json!({ "who": "a", "why": "b" });
            let Ok(answer) = api("DELETE", &format!("/v1/{what}/{id}"), &word).try_send() else { return };
            assert_eq!(answer.status, 200, "{}", answer.text());
            known.lock().expect("no test panicked").off.insert(id);
        }
    }
}

#[test]
fn no_acknowledged_order_is_lost_when_the_gateway_is_killed_under_load() {
    let rounds = std::env::var("SWAIGATE_TEST_ROUNDS").map_or(6, |rounds| rounds.parse().expect("a number"));
    let mut gateway = Policy::of(Sdk::Rust.shared().address).start();
    let known: [Mutex<Acknowledged>; 2] = Default::default();
    let mut starts = Vec::new();
    for round in 0..rounds {
        let (platform, api) = (gateway.platform(), gateway.api("GET", "/", &Value::Null));
        let ask = |method: &'static str, path: &str, body: &Value| {
            let base = api.url.trim_end_matches('/');
            Request { method, url: format!("{base}{path}"), body: body.to_string().into_bytes(), ..api.clone() }
        };
        gateway = thread::scope(|threads| {
            threads.spawn(|| while platform.fetch_request("", &Call::new()).try_send().is_ok() {});
            for (what, known) in ["switches", "lockouts"].into_iter().zip(&known) {
                threads.spawn(move || order_until_killed(&ask, what, known));
            }
            // A different moment each time.
            sleep(Duration::from_millis(60 + 37 * (round % 7)));
            gateway.kill()
        });
        let started = Instant::now();
        gateway = gateway.start_again();
        starts.push(started.elapsed());
        for (what, known) in ["switches", "lockouts"].iter().zip(&known) {
            let there: BTreeSet<String> =
                list(&gateway, what).iter().map(|it| it["id"].as_str().expect("it has an id").to_owned()).collect();
            let known = known.lock().expect("no test panicked");
            let lost: Vec<_> = known.on.difference(&there).collect();
            let back: Vec<_> = known.off.intersection(&there).collect();
            assert!(lost.is_empty() && back.is_empty(), "round {round}: {what}: lost {lost:?}, came back {back:?}");
        }
    }
    let count: usize = known.iter().map(|known| known.lock().expect("no test panicked").on.len()).sum();
    assert!(count > 2 * usize::try_from(rounds).expect("it is small"), "{count} orders in {rounds} rounds");
    starts.sort();
    let (median, slowest) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    eprintln!("{count} orders over {rounds} kills; started in {median:?}, at most {slowest:?}");
    assert!(median < Duration::from_secs(1), "{starts:?}");
}
