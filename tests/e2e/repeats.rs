//! The platform sends a request again when it got no answer: the agent runs it once all the same, and an equal request
//! that is meant runs again (PROTOCOL.md, 4.5).

use std::thread;

use serde_json::{Value, json};

use crate::harness::{
    agent::{Agent, Sdk},
    gateway::{Gateway, Policy},
    http::{Answer, Request},
    platform::{Call, Document, Platform, summary},
    raw::Raw,
    until,
};

/// How often the platform sends a request, with its repetitions.
const ATTEMPTS: usize = 4;

/// A call's document, and the request that runs its slow function.
fn slow_request(gateway: &Gateway, call: &Call, seconds: f64) -> (Document, Request) {
    let document = gateway.platform().fetch(call);
    let request = document.function_request(call, "slow_tool", &json!({ "seconds": seconds }));
    (document, request)
}

/// The records of a call's function calls, oldest first, once there are so many.
fn function_records(gateway: &Gateway, call: &Call, count: usize) -> Vec<Value> {
    until("all are recorded", || {
        let of_it = |record: &Value| record["call_id"] == call.id && record["function"] == "slow_tool";
        let records: Vec<_> = gateway.audit().into_iter().filter(of_it).collect();
        (records.len() >= count).then_some(records)
    })
}

fn how(records: &[Value], repeat: &str) -> usize {
    records.iter().filter(|record| record["repeat"] == repeat).count()
}

#[test]
fn repetitions_that_overlap_run_once_and_count_once() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).and("limits: [{ per: call, allow: 1, every: 1h }]").start();
        let call = Call::new();
        let (_, request) = slow_request(&gateway, &call, 0.7);
        let answers: Vec<Answer> = thread::scope(|scope| {
            let sent: Vec<_> = (0..ATTEMPTS).map(|_| scope.spawn(|| request.send())).collect();
            sent.into_iter().map(|answer| answer.join().expect("it was asked")).collect()
        });
        for answer in &answers {
            assert_eq!(answer.response(), "slept", "{sdk:?}");
        }
        assert_eq!(agent.ran(&call, "slow_tool"), 1, "{sdk:?}");
        let records = function_records(&gateway, &call, ATTEMPTS);
        assert_eq!(how(&records, "joined") + how(&records, "stored"), ATTEMPTS - 1, "{sdk:?}: {records:?}");
        assert!(how(&records, "joined") > 0, "{sdk:?}: {records:?}");
        let counted = r#"swaigate_repeated_requests_total{agent="bank",how="joined"}"#;
        until("they are counted", || (gateway.metric(counted) == how(&records, "joined") as u64).then_some(()));
    }
}

/// Sends a request on a connection of its own, which is cut when the gateway is at it.
fn cut_off(gateway: &Gateway, request: &Request, at_work: impl Fn() -> bool) {
    let mut raw = Raw::connect(gateway.listen());
    raw.request(request);
    until("it is at work", || at_work().then_some(()));
}

#[test]
fn a_repetition_after_a_cut_connection_gets_the_answer_of_the_first() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).start();
        for waits_for_the_end in [false, true] {
            let call = Call::new();
            let (_, request) = slow_request(&gateway, &call, 0.5);
            cut_off(&gateway, &request, || agent.ran(&call, "slow_tool") == 1);
            if waits_for_the_end {
                let first = function_records(&gateway, &call, 1).remove(0);
                assert_eq!(first["delivered"], false, "{sdk:?}: {first}");
            }
            for _ in 1..ATTEMPTS {
                assert_eq!(request.send().response(), "slept", "{sdk:?}");
            }
            assert_eq!(agent.ran(&call, "slow_tool"), 1, "{sdk:?}");
        }
    }
}

#[test]
fn what_took_too_long_is_answered_when_it_is_asked_for_again() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).timeouts("{ answer: 1s }").start();
        let call = Call::new();
        let (_, request) = slow_request(&gateway, &call, 2.5);
        let first = request.send();
        assert_eq!(gateway.reason_of(&first), "answer_slow", "{sdk:?}");
        let asked = until("the answer is there", || {
            let answer = request.send();
            (answer.response() == "slept").then_some(answer)
        });
        assert_eq!(asked.status, 200);
        assert_eq!(agent.ran(&call, "slow_tool"), 1, "{sdk:?}");
    }
}

#[test]
fn an_equal_call_that_is_meant_runs_again() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        let request = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
        assert!(request.send().response().contains("150"), "{sdk:?}");
        request.send();
        assert_eq!(agent.ran(&call, "get_balance"), 1, "{sdk:?}: a second later the platform repeats");
        // An answer that was delivered is kept for three seconds.
        until("it runs again", || {
            request.send();
            (agent.ran(&call, "get_balance") == 2).then_some(())
        });
        // Not the same bytes: another account.
        let other = document.function_request(&call, "get_balance", &json!({ "account": "2" }));
        other.send();
        assert_eq!(agent.ran(&call, "get_balance"), 3, "{sdk:?}");
    }
}

#[test]
fn a_refusal_is_not_kept() {
    let gateway = Policy::of(Agent::broken().address).at("/broken/swaig-flaky").start();
    let call = Call::new();
    let document = gateway.platform_of("/broken/swaig-flaky").fetch_with("?fails=1", &call);
    let request = document.function_request(&call, "check_order", &json!({ "order": "1" }));
    let failed = request.send();
    assert_eq!(gateway.reason_of(&failed), "agent_status");
    let answered = request.send();
    assert_eq!(gateway.reason_of(&answered), "ok");

    let limited = Policy::of(Sdk::Rust.shared().address).and("limits: [{ per: call, allow: 1, every: 2s }]").start();
    let document = limited.platform().fetch(&call);
    document.function_request(&call, "get_balance", &json!({ "account": "1" })).send();
    let request = document.function_request(&call, "get_balance", &json!({ "account": "2" }));
    assert_eq!(limited.reason_of(&request.send()), "limited");
    until("the limit has room again", || (limited.reason_of(&request.send()) == "ok").then_some(()));
}

#[test]
fn a_summary_that_is_handed_in_again_is_taken_once() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        let request = Request::post(&document.summary_url(), summary(&call, 1_000_000).to_string());
        for _ in 0..ATTEMPTS {
            assert_eq!(request.send().status, 200, "{sdk:?}");
        }
        let summaries = agent.did(&call).into_iter().filter(|line| line["event"] == "summary").count();
        assert_eq!(summaries, 1, "{sdk:?}");
    }
}

#[test]
fn what_may_be_repeated_is_bounded() {
    let settings = "state: { embedded: { max_answers: 16, max_answer_bytes: 64KiB } }";
    let agent = Sdk::Rust.shared();
    let gateway = Gateway::start(settings, &[&Policy::of(agent.address)]);
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    for account in 0..40 {
        let request = document.function_request(&call, "get_balance", &json!({ "account": account.to_string() }));
        assert_eq!(request.send().status, 200);
    }
    assert!(gateway.metric("swaigate_repeatable_requests") <= 16);
    assert!((1..=64 << 10).contains(&gateway.metric("swaigate_kept_answer_bytes")));
}

#[test]
fn a_call_that_has_ended_is_served_no_more() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).and("tokens: { ended_grace: 0s }").start();
        for ending in ["summary", "hangup_hook"] {
            let (call, other) = (Call::new(), Call::new());
            let (document, going_on) = (gateway.platform().fetch(&call), gateway.platform().fetch(&other));
            let balance = json!({ "account": "1" });
            Platform::call_function(&document, &call, "get_balance", &balance);
            let ended = match ending {
                "summary" => Platform::summarize(&document, &call, 100),
                hook => Platform::call_function(&document, &call, hook, &json!({})),
            };
            assert_eq!(ended.status, 200, "{sdk:?} {ending}");

            let late = Platform::call_function(&document, &call, "get_balance", &json!({ "account": "2" }));
            assert_eq!(gateway.reason_of(&late), "call_ended", "{sdk:?} {ending}");
            assert_eq!(late.response(), "This call has ended. Please call again.");
            let document_again = gateway.platform().fetch_request("", &call).send();
            assert_eq!(gateway.reason_of(&document_again), "call_ended", "{sdk:?} {ending}");
            assert_eq!(document_again.last_words().as_deref(), Some("This call has ended. Please call again."));
            assert_eq!(agent.ran(&call, "get_balance"), 1, "{sdk:?} {ending}");

            // What comes after a call's end still comes, and other calls go on.
            assert_eq!(Platform::debug(&document, &call).status, 200, "{sdk:?} {ending}");
            assert_eq!(Platform::summarize(&document, &call, 50).status, 200, "{sdk:?} {ending}");
            Platform::call_function(&going_on, &other, "get_balance", &balance).response();
        }
        assert!(gateway.metric("swaigate_calls") >= 4);
    }
}

#[test]
fn within_its_grace_an_ended_call_is_served() {
    let gateway = Policy::of(Sdk::Python.shared().address).start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    assert_eq!(Platform::summarize(&document, &call, 100).status, 200);
    let answer = Platform::call_function(&document, &call, "get_balance", &json!({ "account": "1" }));
    assert!(answer.response().contains("150"));
}
