//! What is unusual is told, and what a rule says is done about it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, Gateway, Policy},
    http::Answer,
    platform::{Call, Document, Platform},
    until,
};

const STOPPED: &str = "This service is temporarily unavailable.";

fn transfer(document: &Document, call: &Call, amount: u32) -> Answer {
    Platform::call_function(document, call, "transfer_funds", &json!({ "to_account": "0123456789", "amount": amount }))
}

fn balance(document: &Document, call: &Call) -> Answer {
    Platform::call_function(document, call, "get_balance", &json!({ "account": "1" }))
}

/// The records of this event so far.
fn events(gateway: &Gateway, event: &str) -> Vec<Value> {
    gateway.audit().into_iter().filter(|record| record["event"] == event).collect()
}

/// The records of this event, once there are so many: an answer doesn't wait for them.
fn recorded(gateway: &Gateway, event: &str, count: usize) -> Vec<Value> {
    until(&format!("{event} is recorded"), || Some(events(gateway, event)).filter(|records| records.len() >= count))
}

fn alarms(gateway: &Gateway, count: usize) -> Vec<Value> {
    recorded(gateway, "anomaly", count)
}

fn counted(gateway: &Gateway, rule: &str) -> u64 {
    let text = gateway.admin("/metrics").text().to_owned();
    let of_rule = |line: &&str| {
        line.starts_with("swaigate_anomalies_total{agent=\"bank\",kind=\"")
            && line.contains(&format!(",rule=\"{rule}\"}} "))
    };
    text.lines()
        .find(of_rule)
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .expect("it is counted from the start")
}

/// After which of so many tries the rule's first alarm is raised.
fn first_alarm(gateway: &Gateway, rule: &str, tries: usize, mut attempt: impl FnMut()) -> Option<usize> {
    (1..=tries).find(|_| {
        attempt();
        counted(gateway, rule) > 0
    })
}

#[test]
fn many_calls_are_told_once_also_those_that_are_refused() {
    for sdk in Sdk::ALL {
        let rule = "limits: [{ per: agent, allow: 2, every: 1h }]\n\
                    detect: [{ name: call_volume, on: calls, more_than: 3, every: 10m }]";
        let gateway = Policy::of(sdk.shared().address).and(rule).start();
        let known = Call::new();
        let fetch = |call: &Call| gateway.platform().fetch_request("", call).send();
        let began = fetch(&known);
        assert_eq!(gateway.reason_of(&began), "ok", "{sdk:?}");
        // The same call again is no further one.
        (0..5).for_each(|_| drop(fetch(&known)));
        let last = Call::new();
        assert_eq!(gateway.metric("swaigate_watched_events"), 2, "one subject, one event");
        for call in [&Call::new(), &Call::new(), &last] {
            assert_eq!(counted(&gateway, "call_volume"), 0, "{sdk:?}");
            fetch(call);
        }
        let alarm = alarms(&gateway, 1).remove(0);
        let told = ["rule", "on", "per", "count", "window_ms", "agent", "call_id", "caller", "action"];
        let told: Vec<_> = told.map(|key| alarm.get(key).cloned().unwrap_or_default()).into();
        let expected = json!(["call_volume", "calls", ["agent"], 4, 600_000, "bank", last.id, last.from, null]);
        assert_eq!(Value::from(told), expected, "{sdk:?}");
        (0..3).for_each(|_| drop(fetch(&Call::new())));
        assert_eq!(counted(&gateway, "call_volume"), 1, "{sdk:?}: not again within the window");
        let log = gateway.process.stderr();
        assert!(log.contains("WARN") && log.contains("call_volume"), "{log}");
    }
}

#[test]
fn a_caller_who_calls_functions_too_often_is_locked_out_for_a_while() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let rule = "detect: [{ name: function_rate, on: functions, per: caller, more_than: 3, every: 1h, action: lock_caller, for: 6s }]";
        let gateway = Policy::through(&tap, agent).and(rule).start();
        let (call, other) = (Call::new(), Call::new());
        let (document, others) = (gateway.platform().fetch(&call), gateway.platform().fetch(&other));
        let said: Vec<_> = (0..4).map(|_| balance(&document, &call).response()).collect();
        assert!(said.iter().all(|said| said.starts_with("Balance")), "{sdk:?}: alarms refuse nothing: {said:?}");
        let locked = Instant::now();
        let refused = tap.stays_silent("a locked caller", || balance(&document, &call));
        assert_eq!((refused.response(), gateway.reason_of(&refused)), (STOPPED.to_owned(), "emergency".to_owned()));
        let fetch = gateway.platform().fetch_request("", &call.again()).send();
        assert_eq!(fetch.last_words().as_deref(), Some(STOPPED), "{sdk:?}: nor may they call again");
        assert!(balance(&others, &other).response().starts_with("Balance"), "{sdk:?}: others go on");

        let alarm = alarms(&gateway, 1).remove(0);
        assert_eq!(
            (&alarm["action"], &alarm["taken"], &alarm["caller"]),
            (&json!("lock_caller"), &json!(true), &json!(call.from))
        );
        let switch = recorded(&gateway, "switch", 1).remove(0);
        let told = ["action", "switch", "who", "why", "origin"].map(|key| switch[key].clone());
        let scope = format!("caller {} at bank", call.from);
        assert_eq!(json!(told), json!(["on", scope, "detection", "function_rate", "detection"]), "{sdk:?}");

        until("the lock ends", || balance(&document, &call).response().starts_with("Balance").then_some(()));
        assert!(locked.elapsed() > Duration::from_secs(4), "{sdk:?}");
    }
}

#[test]
fn large_transfers_disable_the_function_for_everyone() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let rule = "detect: [{ name: large_transfer, on: functions, function: transfer_funds, \
                    when: { properties: { amount: { exclusiveMinimum: 5000 } }, required: [amount] }, \
                    per: caller, more_than: 1, every: 1h, action: disable_function, for: 30m }]";
        let gateway = Policy::through(&tap, agent).and(rule).start();
        let (call, other) = (Call::new(), Call::new());
        let (document, others) = (gateway.platform().fetch(&call), gateway.platform().fetch(&other));
        (0..3).for_each(|_| assert_ne!(transfer(&document, &call, 5000).response(), STOPPED));
        assert_ne!(transfer(&others, &other, 5001).response(), STOPPED, "{sdk:?}: another caller");
        assert_ne!(transfer(&document, &call, 5001).response(), STOPPED, "{sdk:?}: the first");
        assert_ne!(transfer(&document, &call, 9000).response(), STOPPED, "{sdk:?}: the second passes, and is told");
        let refused = tap.stays_silent("a function that is disabled", || transfer(&others, &other, 1));
        assert_eq!(refused.response(), STOPPED, "{sdk:?}");
        assert!(balance(&document, &call).response().starts_with("Balance"), "{sdk:?}: another function");
        let alarm = alarms(&gateway, 1).remove(0);
        assert_eq!((&alarm["function"], &alarm["count"]), (&json!("transfer_funds"), &json!(2)));
        assert_eq!(recorded(&gateway, "switch", 1)[0]["switch"], "function bank/transfer_funds", "{sdk:?}");
    }
}

#[test]
fn wrong_passwords_are_told_by_where_they_come_from() {
    let agent = Sdk::Rust.shared();
    let rule = "detect: [{ name: failed_auth, on: failed_authentication, per: address, more_than: 2, every: 5m }]";
    let gateway = Policy::of(agent.address).and(rule).start();
    let call = Call::new();
    let asks = gateway.platform().fetch_request("", &call);
    (0..5).for_each(|_| assert_eq!(asks.clone().anonymous().send().status, 401));
    assert_eq!(counted(&gateway, "failed_auth"), 0, "who sends no password has not tried one");
    let guess = || drop(asks.clone().with_user("signalwire", "a guess").send());
    assert_eq!(first_alarm(&gateway, "failed_auth", 4, guess), Some(3));
    let alarm = alarms(&gateway, 1).remove(0);
    assert_eq!((&alarm["client"], alarm.get("caller")), (&json!("127.0.0.1"), None));
    assert_eq!(gateway.reason_of(&asks.send()), "ok", "who knows the password is served");
}

#[test]
fn what_happens_after_hours_is_told() {
    let agent = Sdk::Rust.shared();
    let rule = |name, holidays| {
        format!(
            "{{ name: {name}, on: functions, outside: {{ zone: America/New_York, open: [\"00:00-24:00\"], holidays: [{holidays}] }}, \
             more_than: 1, every: 1h }}"
        )
    };
    let rules = format!("detect: [{}, {}]", rule("after_hours", "01-01..12-31"), rule("at_night", ""));
    let gateway = Policy::of(agent.address).and(&rules).start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    assert_eq!(first_alarm(&gateway, "after_hours", 3, || drop(balance(&document, &call))), Some(2));
    assert_eq!(counted(&gateway, "at_night"), 0, "it is always open");
}

#[test]
fn refusals_are_told_by_their_reason_also_those_before_a_plan() {
    for sdk in Sdk::ALL {
        let rules = "functions: { transfer_funds: { publish: false }, get_balance: { limits: [{ per: caller, allow: 1, every: 1h }] } }\n\
                     detect:\n\
                     - { name: limited, on: refusals, reasons: [limited], per: caller, more_than: 1, every: 10m, action: lock_caller, mode: shadow }\n\
                     - { name: rate, on: functions, per: caller, more_than: 4, every: 10m }\n\
                     - { name: forged, on: refusals, reasons: [token_mismatch], per: address, more_than: 2, every: 10m }";
        let gateway = Policy::of(sdk.shared().address).and(rules).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        assert_eq!(first_alarm(&gateway, "limited", 4, || drop(balance(&document, &call))), Some(3), "{sdk:?}");
        let alarm = alarms(&gateway, 1).remove(0);
        assert_eq!((&alarm["action"], &alarm["taken"]), (&json!("lock_caller"), &json!(false)), "{sdk:?}: in shadow");
        assert_eq!(events(&gateway, "switch"), [] as [Value; 0], "{sdk:?}");
        // Calls that were refused are still calls.
        assert_eq!(first_alarm(&gateway, "rate", 4, || drop(balance(&document, &call))), Some(2), "{sdk:?}");

        let mut forged = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
        forged.url.push_str("&x=1");
        assert_eq!(first_alarm(&gateway, "forged", 4, || assert_eq!(forged.send().status, 403)), Some(3), "{sdk:?}");
    }
}

#[test]
fn a_caller_without_a_number_is_told_and_not_locked() {
    let agent = Sdk::Rust.shared();
    let rule = "detect: [{ name: rate, on: functions, per: call, more_than: 1, every: 1h, action: lock_caller }]";
    let gateway = Policy::of(agent.address).and(rule).start();
    let call = Call::withheld();
    let document = gateway.platform().fetch(&call);
    (0..3).for_each(|_| assert!(balance(&document, &call).response().starts_with("Balance")));
    let alarm = alarms(&gateway, 1).remove(0);
    assert_eq!((&alarm["taken"], alarm.get("caller")), (&json!(false), None));
    assert_eq!(events(&gateway, "switch"), [] as [Value; 0]);
}

#[test]
fn counts_survive_a_reload_and_the_series_of_a_rule_that_is_gone_goes() {
    let agent = Sdk::Rust.shared();
    let rule = "{ name: rate, on: functions, more_than: 2, every: 1h }";
    let policy = Policy::of(agent.address);
    let with = |rules: &str| policy.clone().and(&format!("detect: [{rules}]"));
    let gateway = Folder::new("", &[&with(rule)]).start(&["run", "--config", "gateway.yaml"]);
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    (0..2).for_each(|_| drop(balance(&document, &call).response()));
    let reload = |policy: &Policy| {
        let before = gateway.reloads("ok");
        gateway.folder.write_policy("bank", &policy.yaml());
        gateway.wait_for_reloads("ok", before + 1);
    };
    reload(&with(&format!("{rule}, {}", rule.replace("rate", "rate_too"))));
    balance(&document, &call).response();
    assert_eq!((counted(&gateway, "rate"), counted(&gateway, "rate_too")), (1, 0));
    reload(&policy);
    assert!(!gateway.admin("/metrics").text().contains("swaigate_anomalies_total"));
}
