//! Agents with several servers, some of which fail; and agents that have too much to do.

mod stub;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde_json::{Value, json};

use self::stub::{Mood, Stub};
use crate::harness::{
    agent::{Agent, Sdk},
    free_address,
    gateway::{Gateway, Policy},
    http::Answer,
    platform::{Call, Document, Platform},
    until,
};

const HOLD: &str = "Please hold: there is a lot to do right now. Please ask again in a moment.";
const BUSY: &str = "All lines are busy. Please call again later.";
const UNAVAILABLE: &str = "This service is temporarily unavailable. Please try again later.";

/// A policy for an agent with these servers.
fn policy(servers: &[SocketAddr], more: &[&str]) -> Policy {
    let listed: Vec<_> = servers.iter().map(|server| format!("'{server}'")).collect();
    let policy = Policy::of(servers[0]).timeouts("{ connect: 1s, answer: 5s, exchange: 10s }");
    let policy = policy.and_upstream(&format!("servers: [{}]", listed.join(", ")));
    more.iter().fold(policy, |policy, more| policy.and_upstream(more))
}

fn fetch(gateway: &Gateway, call: &Call) -> Answer {
    gateway.platform().fetch_request("", call).send()
}

/// Which server a request went to, by its record.
fn server_of(gateway: &Gateway, answer: &Answer) -> String {
    let record = gateway.record_of(answer);
    record["server"].as_str().unwrap_or_else(|| panic!("no server: {record}")).to_owned()
}

fn ejections(gateway: &Gateway, server: SocketAddr) -> u64 {
    gateway.metric(&format!("swaigate_ejections_total{{agent=\"bank\",server=\"{server}\"}}"))
}

fn is_up(gateway: &Gateway, server: SocketAddr) -> bool {
    gateway.metric(&format!("swaigate_server_up{{agent=\"bank\",server=\"{server}\"}}")) == 1
}

/// How often a server is killed; `SWAIGATE_TEST_ROUNDS` makes it more.
fn rounds() -> usize {
    std::env::var("SWAIGATE_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2)
}

/// How many callers there are at once, and how many calls each makes.
const CALLERS: usize = 4;
const CALLS: usize = 25;

#[test]
fn a_server_that_dies_costs_at_most_what_it_was_just_doing_and_nothing_is_done_twice() {
    let mut agents = [Sdk::Rust.start(), Sdk::Rust.start()];
    let addresses = agents.each_ref().map(|agent| agent.address);
    let gateway = policy(&addresses, &["eject: { failures: 3, for: 1s }"]).start();
    for round in 0..rounds() {
        let dying = round % 2;
        let before = ejections(&gateway, addresses[dying]);
        kill_while_it_works(&gateway, &mut agents, dying);
        assert!(ejections(&gateway, addresses[dying]) > before);
        agents[dying] = Sdk::Rust.start_told(addresses[dying], &[]);
        until("it is back", || is_up(&gateway, addresses[dying]).then_some(()));
    }
}

fn kill_while_it_works(gateway: &Gateway, agents: &mut [Agent; 2], dying: usize) {
    let calls: Vec<(Call, Document)> = (0..CALLERS * CALLS)
        .map(|_| {
            let call = Call::new();
            let document = gateway.platform().fetch(&call);
            (call, document)
        })
        .collect();
    let answers = ask_all(&calls, || agents[dying].kill());
    let mut lost = 0;
    for (call, answer) in answers {
        let ran: usize = agents.iter().map(|agent| agent.ran(call, "get_balance")).sum();
        if answer.response().starts_with("Balance of 7") {
            assert_eq!(ran, 1, "{call:?}");
        } else {
            lost += 1;
            let reason = gateway.reason_of(&answer);
            assert_eq!(reason, "agent_broken", "{call:?}: what was sent already, and nothing else");
            assert!(ran <= 1, "{call:?}");
        }
    }
    assert!(lost <= CALLERS, "{lost} calls failed");
    let ran = |agent: &Agent| calls.iter().filter(|(call, _)| agent.ran(call, "get_balance") > 0).count();
    let [dead, alive] = [ran(&agents[dying]), ran(&agents[1 - dying])];
    assert!(dead > 0 && alive > dead, "{dead} {alive}");
}

/// Calls a function once in each call, many at once; `midway`, something happens.
fn ask_all<'c>(calls: &'c [(Call, Document)], midway: impl FnOnce()) -> Vec<(&'c Call, Answer)> {
    let done = AtomicUsize::new(0);
    let ask = |(call, document): &'c (Call, Document)| {
        let answer = Platform::call_function(document, call, "get_balance", &json!({ "account": "7" }));
        done.fetch_add(1, Ordering::SeqCst);
        (call, answer)
    };
    thread::scope(|scope| {
        let callers = calls.chunks(CALLS).map(|calls| scope.spawn(move || calls.iter().map(ask).collect::<Vec<_>>()));
        let callers: Vec<_> = callers.collect();
        until("a part of the calls is over", || (done.load(Ordering::SeqCst) > CALLERS * CALLS / 4).then_some(()));
        midway();
        callers.into_iter().flat_map(|caller| caller.join().expect("it ends")).collect()
    })
}

#[test]
fn a_call_stays_on_one_server_whose_tokens_no_other_takes() {
    let agents = [Sdk::Python.start(), Sdk::Python.start()];
    let gateway = policy(&[agents[0].address, agents[1].address], &[]).start();
    let transfer = json!({ "to_account": "8", "amount": 5 });
    for _ in 0..4 {
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        for _ in 0..3 {
            let answer = Platform::call_function(&document, &call, "transfer_funds", &transfer);
            assert_eq!(answer.response(), "Transferred $5 to account 8");
        }
        let ran = agents.each_ref().map(|agent| agent.ran(&call, "transfer_funds"));
        assert!(ran == [3, 0] || ran == [0, 3], "{ran:?}");
        let records = gateway.records(&call, 4);
        assert!(records.iter().all(|record| record["server"] == records[0]["server"]), "{records:?}");
    }
    // Fetched by GET, a document says nothing of its call, and its functions still go where it came from.
    let documents = |agent: &Agent| agent.did_all().iter().filter(|line| line["event"] == "swml").count();
    for _ in 0..8 {
        let before = agents.each_ref().map(documents);
        let (call, document) = (Call::new(), gateway.platform().fetch_by_get(""));
        let after = agents.each_ref().map(documents);
        let answer = Platform::call_function(&document, &call, "get_balance", &json!({ "account": "7" }));
        assert_eq!(answer.response(), "Balance of 7 is $150.00");
        let ran = agents.each_ref().map(|agent| agent.ran(&call, "get_balance"));
        assert_eq!(ran, [after[0] - before[0], after[1] - before[1]]);
    }
}

#[test]
fn calls_are_spread_over_the_servers_as_their_weights_say() {
    let stubs = [Stub::start(Mood::Well), Stub::start(Mood::Well)];
    let [light, heavy] = stubs.each_ref().map(|stub| stub.address);
    let servers = format!("servers: ['{light}', {{ address: '{heavy}', weight: 4 }}]");
    let gateway = Policy::of(light).and_upstream(&servers).start();
    for _ in 0..100 {
        assert_eq!(fetch(&gateway, &Call::new()).status, 200);
    }
    let [few, many] = stubs.each_ref().map(|stub| stub.seen("/bank").len());
    assert_eq!(few + many, 100);
    assert!((5..40).contains(&few), "{few} of 100");
    let host = |stub: &Stub| stub.seen("/bank").iter().all(|head| head.contains(&format!("\r\nHost: {light}\r\n")));
    assert!(stubs.iter().all(host), "all are asked by the agent's one name");
}

#[test]
fn what_did_not_reach_one_server_goes_to_another() {
    let (dead, stub) = (free_address(), Stub::start(Mood::Well));
    let gateway = policy(&[dead, stub.address], &["eject: { failures: 3, for: 1m }"]).start();
    for _ in 0..20 {
        let answer = fetch(&gateway, &Call::new());
        assert_eq!((answer.status, gateway.reason_of(&answer).as_str()), (200, "ok"));
        assert_eq!(server_of(&gateway, &answer), stub.address.to_string());
    }
    assert_eq!(ejections(&gateway, dead), 1);
    assert!(!is_up(&gateway, dead));
}

#[test]
fn what_one_server_may_have_read_goes_to_no_other() {
    let stubs = [Stub::start(Mood::Cut), Stub::start(Mood::Cut)];
    let gateway = policy(&stubs.each_ref().map(|stub| stub.address), &[]).start();
    for count in 1..=6 {
        let answer = fetch(&gateway, &Call::new());
        assert_eq!(gateway.reason_of(&answer), "agent_broken");
        assert_eq!(stubs.iter().map(|stub| stub.seen("/bank").len()).sum::<usize>(), count);
    }
}

#[test]
fn an_ejected_server_comes_back_and_a_bad_gateway_is_a_failure() {
    let stubs = [Stub::start(Mood::Well), Stub::start(Mood::Status(502))];
    let [well, sick] = stubs.each_ref().map(|stub| stub.address);
    let gateway = policy(&[well, sick], &["eject: { failures: 2, for: 1s, max_percent: 50 }"]).start();
    until("the sick one is ejected", || {
        fetch(&gateway, &Call::new());
        (!is_up(&gateway, sick)).then_some(())
    });
    assert_eq!(stubs[1].seen("/bank").len(), 2);
    stubs[1].becomes(Mood::Well);
    let before = stubs[1].seen("/bank").len();
    until("it gets calls again", || {
        assert_eq!(fetch(&gateway, &Call::new()).status, 200);
        (stubs[1].seen("/bank").len() > before).then_some(())
    });
    // An error of a function's own takes no server away from other callers.
    stubs.iter().for_each(|stub| stub.becomes(Mood::Status(500)));
    for _ in 0..10 {
        assert_eq!(gateway.reason_of(&fetch(&gateway, &Call::new())), "agent_status");
    }
    assert!(is_up(&gateway, well));
}

#[test]
fn with_no_share_to_spare_no_server_is_ejected() {
    let (dead, stub) = (free_address(), Stub::start(Mood::Well));
    let gateway = policy(&[dead, stub.address], &["eject: { failures: 1, max_percent: 0 }"]).start();
    (0..10).for_each(|_| assert_eq!(fetch(&gateway, &Call::new()).status, 200));
    assert!(is_up(&gateway, dead));
}

#[test]
fn a_health_check_takes_a_sick_server_out_and_back_in() {
    let stubs = [Stub::start(Mood::Well), Stub::start(Mood::Well)];
    let [well, sick] = stubs.each_ref().map(|stub| stub.address);
    let check = "health: { path: /up, every: 100ms, timeout: 100ms, unhealthy: 2, healthy: 2, expect: 200 }";
    let gateway = policy(&[well, sick], &[check]).start();
    stubs[1].becomes(Mood::Status(204));
    until("it is taken out", || (!is_up(&gateway, sick)).then_some(()));
    let before = stubs[1].seen("/bank").len();
    for _ in 0..20 {
        let answer = fetch(&gateway, &Call::new());
        assert_eq!((answer.status, server_of(&gateway, &answer)), (200, well.to_string()));
    }
    assert_eq!(stubs[1].seen("/bank").len(), before);
    let checks = stubs[1].seen("/up");
    assert!(checks.iter().all(|head| head.starts_with("GET /up HTTP/1.1\r\n")), "{checks:?}");
    let is_known = |head: &String| head.to_ascii_lowercase().contains("\r\nauthorization: basic ");
    assert!(checks.iter().all(is_known), "with the agent's credentials: {checks:?}");
    stubs[1].becomes(Mood::Well);
    until("it is taken back in", || is_up(&gateway, sick).then_some(()));
    until("it is asked often", || (stubs[1].seen("/up").len() >= 12).then_some(()));
}

#[test]
fn a_server_that_says_nothing_is_down_and_one_slip_is_none() {
    let stub = Stub::start(Mood::Well);
    let check = "health: { path: /up, every: 200ms, timeout: 150ms, unhealthy: 5, healthy: 4 }";
    let gateway = Policy::of(stub.address).and_upstream(check).start();
    let checks = |result: &str| {
        let server = stub.address;
        let labels = format!("agent=\"bank\",result=\"{result}\",server=\"{server}\"");
        gateway.metric(&format!("swaigate_health_checks_total{{{labels}}}"))
    };
    until("it is known to be well", || (checks("ok") > 0).then_some(()));
    stub.becomes(Mood::Silent);
    until("it is down", || (!is_up(&gateway, stub.address)).then_some(()));
    let failed = checks("failed");
    assert!((5..10).contains(&failed), "{failed}");
    until("the log says why", || gateway.process.stderr().contains("no answer in 150ms").then_some(()));
    let before = checks("ok");
    stub.becomes(Mood::Well);
    until("it is up", || is_up(&gateway, stub.address).then_some(()));
    assert!(checks("ok") >= before + 4);
}

#[test]
fn where_no_server_is_up_callers_are_told_at_once() {
    let stub = Stub::start(Mood::Status(500));
    let check = "health: { path: /up, every: 200ms }";
    let gateway = Policy::of(stub.address).and_upstream(check).start();
    until("it is known to be down", || (!is_up(&gateway, stub.address)).then_some(()));
    let answer = fetch(&gateway, &Call::new());
    assert_eq!(answer.last_words().as_deref(), Some(UNAVAILABLE));
    assert_eq!(gateway.reason_of(&answer), "agent_unavailable");
    assert!(stub.seen("/bank").is_empty());
}

#[test]
fn health_checks_follow_a_reload() {
    let stubs = [Stub::start(Mood::Well), Stub::start(Mood::Status(500))];
    let [well, sick] = stubs.each_ref().map(|stub| stub.address);
    let gateway = policy(&[well], &[]).start();
    let new = policy(&[well, sick], &["health: { path: /up, every: 100ms, unhealthy: 1 }"]);
    gateway.folder.write_policy("bank", &new.yaml());
    gateway.wait_for_reloads("ok", 2);
    until("the new server is asked how it is", || (!stubs[1].seen("/up").is_empty()).then_some(()));
    until("it is down", || (!is_up(&gateway, sick)).then_some(()));
    gateway.folder.write_policy("bank", &policy(&[well], &[]).yaml());
    gateway.wait_for_reloads("ok", 3);
    assert_eq!(fetch(&gateway, &Call::new()).status, 200);
    let text = gateway.admin("/metrics").text().to_owned();
    assert!(!text.contains(&sick.to_string()), "{text}");
}

#[test]
fn the_breaker_opens_refuses_at_once_and_closes() {
    let stub = Stub::start(Mood::Status(503));
    let gateway = Policy::of(stub.address).and_upstream("breaker: { failures: 3, for: 900ms }").start();
    let records: Vec<_> = (0..6).map(|_| fetch(&gateway, &Call::new())).collect();
    let records: Vec<_> = records.iter().map(|answer| gateway.record_of(answer)).collect();
    let reasons: Vec<_> = records.iter().map(|record| record["reason"].as_str().unwrap_or_default()).collect();
    assert_eq!(reasons[..3], ["agent_status"; 3]);
    assert_eq!(reasons[3..], ["agent_unavailable"; 3]);
    let wait = records[3]["detail"].as_str().unwrap_or_default();
    assert!(wait.ends_with("ms"), "{wait}");
    assert_eq!(stub.seen("/bank").len(), 3);
    assert_eq!(gateway.metric("swaigate_agent_breaker{agent=\"bank\"}"), 2);
    stub.becomes(Mood::Well);
    let answer = until("a request tries and is answered", || {
        let answer = fetch(&gateway, &Call::new());
        (answer.last_words().is_none()).then_some(answer)
    });
    assert_eq!(gateway.reason_of(&answer), "ok");
    assert_eq!(gateway.metric("swaigate_agent_breaker{agent=\"bank\"}"), 0);
    assert_eq!(gateway.reason_of(&fetch(&gateway, &Call::new())), "ok");
}

#[test]
fn whoever_calls_a_full_agent_is_asked_to_hold() {
    let agent = Agent::broken();
    let tap = agent.tap();
    let policy = Policy::through(&tap, agent).at("/broken/swaig-silent").and_upstream("max_in_flight: 1");
    let gateway = policy.and("functions: { check_order: { once: true } }").start();
    let platform = gateway.platform_of("/broken/swaig-silent");
    let call = Call::new();
    let document = platform.fetch_with("?seconds=2", &call);
    let ask = |order: &str| Platform::call_function(&document, &call, "check_order", &json!({ "order": order }));
    let seen = tap.seen().len();
    thread::scope(|scope| {
        let slow = scope.spawn(|| ask("1"));
        until("the agent is at work", || (tap.seen().len() > seen).then_some(()));
        let refused = ask("2");
        assert_eq!((refused.response().as_str(), gateway.reason_of(&refused).as_str()), (HOLD, "agent_busy"));
        let document = platform.fetch_request("?seconds=2", &Call::new()).send();
        assert_eq!(document.last_words().as_deref(), Some(BUSY));
        assert_eq!(slow.join().expect("it ends").response(), "check_order ran");
    });
    assert_eq!(tap.seen().len(), seen + 1);
    let again = ask("2");
    assert_eq!(again.response(), "check_order ran", "it was never done: `once` lets it pass");
    let busy = "swaigate_requests_total{agent=\"bank\",decision=\"refuse\",reason=\"agent_busy\",route=\"swaig\"}";
    assert_eq!(gateway.metric(busy), 1);
}

#[test]
fn all_addresses_of_a_name_are_tried() {
    // `localhost` is `::1` too, on most machines, and nobody listens there.
    let stub = Stub::start(Mood::Well);
    let yaml = Policy::of(stub.address).yaml().replace("//127.0.0.1", "//localhost");
    assert!(yaml.contains("http://localhost:"));
    let folder = crate::harness::gateway::Folder::new("", &[]);
    folder.write_policy("bank", &yaml);
    let gateway = folder.start(&["run", "--config", "gateway.yaml"]);
    for _ in 0..5 {
        let answer = fetch(&gateway, &Call::new());
        assert_eq!(gateway.reason_of(&answer), "ok", "{}", answer.text());
        assert_eq!(gateway.record_of(&answer)["server"], Value::Null, "there is one only");
    }
}
