//! The new process is gone when it has served for a moment, and the old one is about to end.

use std::{thread::sleep, time::Duration};

use serde_json::json;

use super::{Heir, kept_connection, wait_for};
use crate::{
    evidence::verifies,
    harness::{
        agent::Sdk,
        gateway::{Gateway, Policy},
        platform::Call,
    },
};

/// A process that says that it serves, and doesn't.
pub(super) fn heir(gateway: &Gateway) -> Heir {
    let mut heir = Heir::of(gateway);
    heir.say(&json!("Ready"));
    assert_eq!(heir.hear(), Some(json!("Handed")));
    heir.say(&json!("Opened"));
    assert_eq!(heir.hear(), Some(json!("Go")));
    wait_for(&gateway.process, "another process serves");
    heir
}

#[test]
fn who_takes_everything_back_does_not_end_because_all_is_answered() {
    let mut gateway = Policy::of(Sdk::Rust.shared().address).start();
    let mut kept = kept_connection(&gateway);
    let heir = heir(&gateway);
    // As if the process that is gone still had the state open.
    let state = redb::Database::open(gateway.folder.path("state/swaigate.redb")).expect("nobody has it");
    drop(heir);
    wait_for(&gateway.process, "takes everything back");
    kept.request(&gateway.platform().fetch_request("", &Call::new()));
    assert_eq!(kept.read().expect("it is answered").status, 200);
    assert!(kept.is_closed());
    // It looks whether all has ended, fifty times in a second.
    sleep(Duration::from_millis(300));
    drop(state);
    wait_for(&gateway.process, "this process serves again");
    gateway.platform().fetch(&Call::new());
    assert!(gateway.process.ended().is_none());
    let answer =
        gateway.api("POST", "/v1/switches", &json!({ "scope": { "all": true }, "who": "a", "why": "b" })).send();
    assert_eq!(answer.status, 201, "{}", answer.text());
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit().code(), Some(0), "{}", gateway.process.stderr());
}

#[test]
fn who_ends_while_nobody_serves_says_so_and_loses_no_record() {
    let mut gateway = Policy::of(Sdk::Rust.shared().address).start();
    let call = Call::new();
    let mut kept = kept_connection(&gateway);
    let heir = heir(&gateway);
    kept.request(&gateway.platform().fetch_request("", &call));
    assert_eq!(kept.read().expect("it is answered").status, 200);
    assert!(kept.is_closed());
    // Its record is sent to a process that doesn't take it, and is gone before this one has ended.
    wait_for(&gateway.process, "all that was under way is answered");
    drop(heir);
    assert_eq!(gateway.process.exit().code(), Some(1));
    let told = gateway.process.stderr();
    assert!(told.contains("nobody serves") && !told.contains("serves again"), "{told}");
    assert_eq!(gateway.records(&call, 1).len(), 1);
    // What is started next goes on in the same log.
    let gateway = gateway.start_again();
    gateway.platform().fetch(&call);
    assert_eq!(gateway.records(&call, 2).len(), 2);
    verifies(&gateway.folder, &["--config", "gateway.yaml"]);
}
