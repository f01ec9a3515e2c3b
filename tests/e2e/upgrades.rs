//! Another process of the program takes over from the one that runs, and nobody who calls notices.

mod listeners;
mod losses;
mod manager;

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    evidence::verifies,
    harness::{
        PATIENCE,
        agent::Sdk,
        gateway::{Folder, Gateway, PROGRAM, Policy},
        load::Load,
        platform::{Call, Platform},
        process::Process,
        raw::Raw,
        rounds, seconds, until,
    },
};

const RUN: [&str; 3] = ["run", "--config", "gateway.yaml"];

/// What callers hear while a switch is on.
const SAID: &str = "This service is temporarily unavailable.";

fn turn_on(gateway: &Gateway, scope: Value) {
    let order = json!({ "scope": scope, "who": "ann", "why": "a test" });
    let answer = gateway.api("POST", "/v1/switches", &order).send();
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// What is turned off, in the order of time.
fn scopes(gateway: &Gateway) -> Vec<Value> {
    let switches = gateway.api("GET", "/v1/switches", &Value::Null).send().json();
    let switches = switches.as_array().expect("it is a list");
    switches.iter().map(|switch| switch["scope"].clone()).collect()
}

fn wait_for(process: &Process, words: &str) {
    until(words, || process.stderr().contains(words).then_some(()));
}

#[test]
fn upgrades_under_load_lose_no_request_no_switch_and_no_record() {
    let agent = Sdk::Python.start();
    let mut gateway = Policy::of(agent.address).start();
    let mut switched = Vec::new();
    let (tally, upgrades) = Load::on(gateway.platform()).at_half_capacity().during(|load| {
        let give_up = Instant::now() + seconds();
        let mut upgrades = 0;
        while Instant::now() < give_up || upgrades < 2 {
            let answered = load.answered();
            until("callers are served", || (load.answered() > answered + 50).then_some(()));
            let scope = json!({ "caller": Call::new().from });
            turn_on(&gateway, scope.clone());
            switched.push(scope);
            gateway.upgrade();
            assert_eq!(scopes(&gateway), switched);
            upgrades += 1;
        }
        upgrades
    });
    eprintln!("{upgrades} upgrades: {}", tally.told());
    tally.is_flawless();
    tally.ran_once_at(&agent);
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit().code(), Some(0), "{}", gateway.process.stderr());
    let records = gateway.audit();
    let of_calls =
        records.iter().filter(|record| tally.answered.contains_key(record["call_id"].as_str().unwrap_or("")));
    let functions = of_calls.filter(|record| record["function"] == "get_balance").count();
    assert_eq!(functions, tally.answered.values().sum::<usize>(), "each function call is recorded once");
    let turned = records.iter().filter(|record| record["event"] == "switch").count();
    assert_eq!(turned, upgrades);
    let told = verifies(&gateway.folder, &["--config", "gateway.yaml"]);
    assert!(told.contains("after a handover") && !told.contains("crash"), "{told}");
}

#[test]
fn a_function_that_is_under_way_is_answered_by_the_old_process_and_recorded_once() {
    let agent = Sdk::Python.shared();
    let mut gateway = Policy::of(agent.address).start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    thread::scope(|scope| {
        let asked = scope.spawn(|| Platform::call_function(&document, &call, "slow_tool", &json!({ "seconds": 3 })));
        until("the agent has the call", || (agent.ran(&call, "slow_tool") > 0).then_some(()));
        let heir = gateway.heir();
        wait_for(&gateway.process, "another process serves");
        // Meanwhile the new one serves, with the same call.
        let balance = Platform::call_function(&document, &call, "get_balance", &json!({ "account": "1" }));
        assert_eq!(balance.response(), "Balance of 1 is $150.00");
        assert!(!asked.is_finished() && gateway.process.ended().is_none());
        assert_eq!(asked.join().expect("it was asked").response(), "slept");
        let mut old = std::mem::replace(&mut gateway.process, heir);
        assert_eq!(old.exit().code(), Some(0), "{}", old.stderr());
    });
    let records = gateway.records(&call, 3);
    let functions: Vec<_> = records.iter().map(|record| record["function"].as_str().unwrap_or("-")).collect();
    assert_eq!(functions, ["-", "get_balance", "slow_tool"]);
    assert!(records.iter().all(|record| record["reason"] == "ok"), "{records:?}");
    assert_eq!(agent.ran(&call, "slow_tool"), 1);
    assert_eq!(gateway.records(&call, 3).len(), 3);
}

#[test]
fn a_new_process_that_cannot_serve_leaves_everything_to_the_old_one() {
    let mut gateway = Policy::of(Sdk::Python.shared().address).start();
    let (tally, ()) = Load::on(gateway.platform()).during(|load| {
        until("there is load", || (load.answered() > 20).then_some(()));
        // The old process looks at the file as well, and stays with the last good one.
        gateway.folder.write("gateway.yaml", "listen: nowhere\n");
        let mut heir = gateway.heir();
        assert_eq!(heir.exit().code(), Some(1));
        assert!(heir.stderr().contains("gateway.yaml:1:9: "), "{}", heir.stderr());
        // An address that is new, and another program's.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let taken = taken.local_addr().map(|address| (taken, address)).expect("it has an address");
        let Folder { listen, admin, .. } = &gateway.folder;
        let settings = format!(
            "listen: [{{ address: \"{listen}\" }}, {{ address: \"{}\" }}]\nadmin: {{ address: \"{admin}\" }}\n\
             public_url: http://{listen}\n",
            taken.1
        );
        gateway.folder.write("gateway.yaml", &settings);
        let mut heir = gateway.heir();
        assert_eq!(heir.exit().code(), Some(1));
        assert!(heir.stderr().contains(&format!("{} can't be listened on", taken.1)), "{}", heir.stderr());
        until("there was load", || (load.answered() > 200).then_some(()));
        assert!(gateway.process.ended().is_none());
    });
    tally.is_flawless();
    turn_on(&gateway, json!({ "all": true }));
    gateway.folder.write_settings("");
    gateway.upgrade();
    assert_eq!(scopes(&gateway), [json!({ "all": true })]);
}

/// What a new process says, by the bytes that it sends.
struct Heir(UnixStream);

impl Heir {
    fn of(gateway: &Gateway) -> Self {
        let stream = UnixStream::connect(gateway.folder.path("state/upgrade.sock")).expect("it is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
        let mut heir = Self(stream);
        heir.say(&json!({ "Hello": { "form": 1, "version": "a test" } }));
        assert!(heir.hear().expect("it says hello").get("Hello").is_some());
        heir
    }

    fn say(&mut self, message: &Value) {
        let message = message.to_string();
        let length = u32::try_from(message.len()).expect("it is short").to_be_bytes();
        self.0.write_all(&[&length[..], message.as_bytes()].concat()).expect("somebody listens");
    }

    /// What is said next; none at the end. The sockets that come with the first are closed.
    fn hear(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut message).expect("a whole message");
        Some(serde_json::from_slice(&message).expect("it is JSON"))
    }
}

#[test]
fn a_new_process_that_dies_or_hangs_during_the_hand_over_loses_nothing() {
    let agent = Sdk::Python.start();
    let mut gateway = Policy::of(agent.address).start();
    let kept = kept_connection(&gateway);
    let (tally, ()) = Load::on(gateway.platform()).during(|load| {
        for round in 0..2 * rounds() {
            until("there is load", || (load.answered() > 20).then_some(()));
            let mut heir = Heir::of(&gateway);
            heir.say(&json!("Ready"));
            assert_eq!(heir.hear(), Some(json!("Handed")));
            if round % 2 == 1 {
                heir.say(&json!("Opened"));
                assert_eq!(heir.hear(), Some(json!("Go")));
            }
            drop(heir);
            let answered = load.answered();
            until("callers are served", || (load.answered() > answered + 20).then_some(()));
        }
    });
    drop(kept);
    tally.is_flawless();
    tally.ran_once_at(&agent);
    // It has its state and its log again, is ready, and can be replaced by one that lives.
    turn_on(&gateway, json!({ "agent": "bank" }));
    until("it is ready", || (gateway.admin("/readyz").status == 200).then_some(()));
    gateway.upgrade();
    assert_eq!(scopes(&gateway), [json!({ "agent": "bank" })]);
    let answered: usize = tally.answered.values().sum();
    let recorded = || gateway.audit().iter().filter(|record| record["function"] == "get_balance").count();
    until("all are recorded", || (recorded() >= answered).then_some(()));
    assert_eq!(recorded(), answered, "each once");
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit().code(), Some(0), "{}", gateway.process.stderr());
    verifies(&gateway.folder, &["--config", "gateway.yaml"]);
}

#[test]
fn a_new_process_that_is_killed_at_any_time_leaves_a_gateway_that_serves() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let mut switched = Vec::new();
    let _kept = kept_connection(&gateway);
    for round in 0..rounds() {
        let heir = gateway.heir();
        thread::sleep(Duration::from_millis(37 * (round % 17)));
        heir.signal("KILL");
        drop(heir);
        until("the old one serves", || gateway.platform().fetch_request("", &Call::new()).try_send().ok());
        let scope = json!({ "caller": Call::new().from });
        let order = json!({ "scope": scope, "who": "ann", "why": "a test" });
        until("switches can be turned", || {
            let answer = gateway.api("POST", "/v1/switches", &order).try_send().ok()?;
            (answer.status == 201).then_some(())
        });
        switched.push(scope);
        assert_eq!(scopes(&gateway), switched);
    }
}

/// As long as somebody may still ask the old process, it is there.
fn kept_connection(gateway: &Gateway) -> Raw {
    let mut kept = Raw::connect(gateway.listen());
    kept.request(&gateway.platform().fetch_request("", &Call::new()));
    assert_eq!(kept.read().expect("it is answered").status, 200);
    kept
}

#[test]
fn what_is_turned_off_after_the_upgrade_is_off_on_connections_of_before() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    let request = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
    let [mut kept, mut also] = [(); 2].map(|()| {
        let mut kept = Raw::connect(gateway.listen());
        kept.request(&request);
        assert_eq!(kept.read().expect("it is answered").status, 200);
        kept
    });
    let _heir = gateway.heir();
    wait_for(&gateway.process, "another process serves");
    let order = json!({ "subject": { "address": "127.0.0.1" }, "who": "ann", "why": "a test" });
    let locked = gateway.api("POST", "/v1/lockouts", &order).send();
    assert_eq!(locked.status, 201, "{}", locked.text());
    also.request(&gateway.platform().fetch_request("", &Call::new()));
    assert_eq!(also.read().expect("the old process answers").status, 403);
    turn_on(&gateway, json!({ "agent": "bank" }));
    let id = locked.json()["id"].as_str().expect("it has an id").to_owned();
    let word = json!({ "who": "ann", "why": "a test" });
    assert_eq!(gateway.api("DELETE", &format!("/v1/lockouts/{id}"), &word).send().status, 200);
    kept.request(&document.function_request(&call, "get_balance", &json!({ "account": "2" })));
    let answer = kept.read().expect("the old process answers");
    assert!(answer.body.contains(SAID), "{}", answer.body);
    assert!(answer.head.to_lowercase().contains("connection: close"), "{}", answer.head);
    assert!(kept.is_closed());
}

#[test]
fn a_switch_that_nobody_can_keep_during_the_hand_over_is_refused_and_not_lost() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let order = json!({ "scope": { "agent": "bank" }, "who": "ann", "why": "a test" });
    let request = gateway.api("POST", "/v1/switches", &order);
    // Accepted before, and asked when the file is nobody's.
    let mut operator = Raw::connect(gateway.folder.admin);
    let (first, rest) = Raw::halves(&request);
    operator.write(first);
    until("the connection is accepted", || operator.is_accepted().then_some(()));
    let mut heir = Heir::of(&gateway);
    heir.say(&json!("Ready"));
    assert_eq!(heir.hear(), Some(json!("Handed")));
    operator.write(rest);
    let refused = operator.read().expect("it is answered");
    assert!(refused.status == 503 && refused.body.contains("ask again"), "{}", refused.body);
    drop(heir);
    until("the old one serves", || (gateway.admin("/readyz").status == 200).then_some(()));
    assert_eq!(scopes(&gateway), Vec::<Value>::new());
    assert_eq!(request.send().status, 201);
}

/// A process that nobody guards, which ends with this.
struct Stray(u32);

impl Stray {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.0.to_string()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "SIG{name}");
    }

    fn kill(self) {
        self.signal("KILL");
        // Its number may be another's soon.
        std::mem::forget(self);
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "KILL", &self.0.to_string()]).status();
    }
}

#[test]
fn sigusr2_starts_the_program_file_that_is_there_now() {
    let mut gateway = Policy::of(Sdk::Rust.shared().address).start();
    gateway.process.signal("USR2");
    assert_eq!(gateway.process.exit().code(), Some(0), "{}", gateway.process.stderr());
    let told = gateway.process.stderr();
    let heir = told.split_once("another process serves").and_then(|(_, rest)| rest.split_once("process="));
    let heir = heir.map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    let heir = heir.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number: {told}"));
    let _heir = Stray(heir);
    gateway.platform().fetch(&Call::new());
    let program = std::fs::read_link(format!("/proc/{heir}/exe")).expect("it runs");
    assert_eq!(program, std::path::Path::new(PROGRAM).canonicalize().expect("it is there"));
}

#[test]
fn there_is_nothing_to_take_over_where_nothing_runs() {
    let folder = Folder::new("", &[&Policy::of(Sdk::Rust.shared().address)]);
    let (code, _, told) = folder.run_to_the_end(&["run", "--config", "gateway.yaml", "--upgrade"]);
    assert!(code == Some(1) && told.contains("start without --upgrade"), "{told}");
    let (code, _, told) = folder.run_to_the_end(&["run", "--upstream", "http://127.0.0.1:1/bank", "--upgrade"]);
    assert!(code == Some(2) && told.contains("--upgrade"), "{told}");
}
