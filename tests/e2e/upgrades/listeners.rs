//! The same where callers come by TLS, with either version of HTTP, or by a socket in the file system.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    thread,
    time::Instant,
};

use serde_json::json;

use super::{RUN, wait_for};
use crate::harness::{
    agent::{Agent, Sdk},
    gateway::{Folder, Gateway, Policy},
    http::Client,
    http2::Http2,
    load::{Load, Tally},
    pki::Authority,
    platform::{Call, Document, Platform},
    raw::Local,
    seconds, until,
};

/// A gateway that is reached by TLS only.
fn by_tls(agent: &Agent) -> (Authority, Gateway) {
    let authority = Authority::new();
    let folder = Folder::new("", &[&Policy::of(agent.address)]);
    authority.issue(folder.root.path(), "one", "IP:127.0.0.1");
    let Folder { listen, admin, .. } = &folder;
    let tls = "tls: { certificate: one.crt, private_key: one.key }";
    let text = format!("listen: [{{ address: \"{listen}\", {tls} }}]\nadmin: {{ address: \"{admin}\" }}\n");
    folder.write("gateway.yaml", &text);
    (authority, folder.start(&RUN))
}

fn platform(gateway: &Gateway) -> Platform {
    Platform::at(format!("https://{}/bank", gateway.listen()))
}

/// Upgrades again and again while there is load, for as long as tests go on, and checks what has become of it all.
fn upgraded_under(load: &Load, gateway: &mut Gateway, agent: &Agent) -> Tally {
    let (tally, upgrades) = load.during(|load| {
        let give_up = Instant::now() + seconds();
        let mut upgrades = 0;
        while Instant::now() < give_up || upgrades < 3 {
            let answered = load.answered();
            until("callers are served", || (load.answered() > answered + 50).then_some(()));
            gateway.upgrade();
            upgrades += 1;
        }
        upgrades
    });
    eprintln!("{upgrades} upgrades: {}", tally.told());
    tally.is_flawless();
    tally.ran_once_at(agent);
    tally
}

#[test]
fn upgrades_lose_no_request_by_tls() {
    let agent = Sdk::Python.start();
    let (authority, mut gateway) = by_tls(&agent);
    let client = authority.client(None);
    let (kept, new) = (client.clone(), move || authority.client(None));
    let load = Load::on(platform(&gateway)).clients(move || Box::new(kept.clone()), move || Box::new(new()));
    upgraded_under(&load, &mut gateway, &agent);
}

#[test]
fn upgrades_lose_no_request_by_http_2() {
    let agent = Sdk::Python.start();
    let (authority, mut gateway) = by_tls(&agent);
    let shared = Http2::new(&authority, gateway.listen());
    let (kept, new) = (shared.clone(), shared.clone());
    // Three of them share one connection, so that streams are under way on it whenever its process is replaced.
    let load = Load::on(platform(&gateway)).callers(6);
    let load = load.clients(move || Box::new(kept.clone()), move || Box::new(new.another()));
    upgraded_under(&load, &mut gateway, &agent);
    eprintln!("{} connections, {} times told of the end", shared.connections(), shared.told());
    assert!(shared.connections() > 3, "with each process there is another connection");
}

#[test]
fn streams_under_way_are_answered_and_the_next_ones_go_to_the_new_process() {
    let agent = Sdk::Python.shared();
    let (authority, mut gateway) = by_tls(agent);
    let (client, call) = (Http2::new(&authority, gateway.listen()), Call::new());
    let idle = client.another();
    let fetched = client.send(&platform(&gateway).fetch_request("", &call)).expect("it is answered");
    let document = Document::new(fetched.text());
    let function = |name: &str, arguments| client.send(&document.function_request(&call, name, &arguments));
    assert_eq!(idle.send(&platform(&gateway).fetch_request("", &Call::new())).expect("it is answered").status, 200);
    thread::scope(|scope| {
        let slow = scope.spawn(|| function("slow_tool", json!({ "seconds": 3 })));
        until("the agent has the call", || (agent.ran(&call, "slow_tool") > 0).then_some(()));
        let heir = gateway.heir();
        wait_for(&gateway.process, "another process serves");
        // Whoever was told that the connection ends makes another one, which the new process accepts.
        until("the client goes on elsewhere", || {
            let balance = function("get_balance", json!({ "account": "1" })).expect("no request is lost");
            assert_eq!(balance.response(), "Balance of 1 is $150.00");
            (client.connections() == 2).then_some(())
        });
        assert!(client.told() > 0 && !slow.is_finished() && gateway.process.ended().is_none());
        let slow = slow.join().expect("it was asked").expect("it is answered to the end");
        assert_eq!(slow.response(), "slept");
        let answered = Instant::now();
        let mut old = std::mem::replace(&mut gateway.process, heir);
        assert_eq!(old.exit().code(), Some(0), "{}", old.stderr());
        assert!(answered.elapsed().as_secs() < 5, "nobody waits for a client that asks for nothing");
    });
    assert_eq!(agent.ran(&call, "slow_tool"), 1);
    assert_eq!(idle.send(&platform(&gateway).fetch_request("", &Call::new())).expect("it is answered").status, 200);
    assert_eq!((client.connections(), idle.connections()), (2, 2));
}

#[test]
fn upgrades_lose_no_request_by_a_socket_in_the_file_system() {
    let agent = Sdk::Python.start();
    let folder = Folder::new("", &[&Policy::of(agent.address)]);
    folder.listen_also("{ unix: gateway.sock }");
    let mut gateway = folder.start(&RUN);
    let path = gateway.folder.path("gateway.sock");
    let file = || fs::symlink_metadata(&path).map(|file| (file.ino(), file.permissions().mode() & 0o777));
    let before = file().expect("it is there");
    assert_eq!(before.1, 0o600);
    let (kept, new) = (path.clone(), path.clone());
    let load = Load::on(gateway.platform());
    let load = load.clients(move || Box::new(Local::at(kept.clone())), move || Box::new(Local::at(new.clone())));
    upgraded_under(&load, &mut gateway, &agent);
    assert_eq!(file().ok(), Some(before), "each process has listened at the same file");
    // Nobody stands in the way of the one that comes after the last.
    let gateway = gateway.restart();
    assert_eq!(file().map(|file| file.1).ok(), Some(0o600));
    let answer = Local::at(path.clone()).send(&gateway.platform().fetch_request("", &Call::new()));
    assert_eq!(answer.expect("it is answered").status, 200);
}
