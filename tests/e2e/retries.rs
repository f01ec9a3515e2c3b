//! A request is sent again only where the agent can't have had it; a caller who leaves stops nothing that was begun.

use serde_json::json;

use crate::harness::{
    agent::{Agent, Sdk},
    gateway::{Gateway, Policy},
    http::Request,
    platform::{Call, Platform, summary},
    raw::Raw,
    tap::Tap,
    until,
};

/// More than the sockets between gateway and agent hold, so that writing it notices a broken connection.
const LARGE: usize = 8_000_000;

#[test]
fn what_was_not_sent_whole_is_sent_once_more() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        drop_idle_connections(&tap);
        let before = tap.connections();
        tap.break_next(1);
        assert_eq!(Platform::summarize(&document, &call, LARGE).status, 200, "{sdk:?}");
        let whole = tap.seen().into_iter().filter(|seen| seen.body.len() > LARGE / 2).count();
        assert_eq!((tap.connections() - before, whole), (2, 1), "{sdk:?}");
    }
}

#[test]
fn it_is_sent_no_more_than_twice() {
    let agent = Sdk::Rust.shared();
    let tap = agent.tap();
    let gateway = Policy::through(&tap, agent).start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    drop_idle_connections(&tap);
    let before = tap.connections();
    tap.break_next(2);
    let request = Request::post(&document.summary_url(), summary(&call, LARGE).to_string());
    let answer = request.send();
    assert_eq!((answer.status, gateway.reason_of(&answer).as_str()), (502, "agent_broken"));
    assert_eq!(tap.connections() - before, 2);
}

/// The gateway keeps connections for some seconds.
fn drop_idle_connections(tap: &Tap) {
    until("idle connections are closed", || (!tap.is_open()).then_some(()));
}

#[test]
fn what_the_agent_may_have_read_is_not_sent_again() {
    let tap = Agent::broken().tap();
    let gateway = Policy::through(&tap, Agent::broken()).at("/broken/swaig-cut-head").start();
    let call = Call::new();
    let document = gateway.platform_of("/broken/swaig-cut-head").fetch(&call);
    let before = tap.seen().len();
    let answer = Platform::call_function(&document, &call, "check_order", &json!({ "order": "7" }));
    assert_eq!(gateway.reason_of(&answer), "agent_broken");
    assert_eq!(tap.seen().len() - before, 1);
}

#[test]
fn the_platform_asks_again_itself_and_each_time_counts() {
    let tap = Agent::broken().tap();
    let gateway = Policy::through(&tap, Agent::broken()).at("/broken/summary-flaky").start();
    let call = Call::new();
    let document = gateway.platform_of("/broken/summary-flaky").fetch_with("?fails=2", &call);
    let before = tap.seen().len();
    assert_eq!(Platform::summarize(&document, &call, 100).status, 200);
    assert_eq!(tap.seen().len() - before, 3, "two failures and a success");
}

/// Sends a request and hangs up when the agent has it.
fn hang_up(gateway: &Gateway, tap: &Tap, request: &Request) {
    let before = tap.seen().len();
    let mut raw = Raw::connect(gateway.listen());
    raw.request(request);
    until("the agent gets it", || (tap.seen().len() > before).then_some(()));
}

#[test]
fn a_function_call_goes_on_when_the_caller_hangs_up() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        hang_up(&gateway, &tap, &document.function_request(&call, "slow_tool", &json!({ "seconds": 1 })));
        let record = until("it is recorded", || {
            let of_it = |record: &serde_json::Value| record["function"] == "slow_tool" && record["event"] == "request";
            gateway.audit().into_iter().find(of_it)
        });
        // It was waited for, and the answer could not be delivered or nobody was there to notice.
        assert_eq!(record["reason"], "ok", "{sdk:?}: {record}");
        assert!(record["agent_us"].as_u64() >= Some(900_000), "{sdk:?}: {record}");
        assert_eq!(agent.ran(&call, "slow_tool"), 1, "{sdk:?}");
    }
}

#[test]
fn a_fetch_by_get_ends_with_the_client() {
    let tap = Agent::broken().tap();
    let gateway = Policy::through(&tap, Agent::broken()).at("/broken/silent").start();
    hang_up(&gateway, &tap, &gateway.request("GET", "/broken/silent?seconds=20"));
    until("the connection to the agent is closed, long before it answers", || (!tap.is_open()).then_some(()));
    let record = until("it is recorded", || gateway.audit().pop());
    assert_eq!((&record["reason"], &record["status"]), (&json!("client_gone"), &json!(0)));
    assert_eq!(gateway.audit().len(), 1);
}
