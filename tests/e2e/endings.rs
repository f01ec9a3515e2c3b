//! How the process ends, and why it doesn't begin.

use std::{thread, time::Instant};

use serde_json::json;

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, Gateway, Policy},
    platform::{Call, Platform},
    until,
};

/// Whether the gateway has the call at the agent.
fn is_under_way(gateway: &Gateway) -> bool {
    gateway.metric("swaigate_in_flight") > 0
}

#[test]
fn sigterm_lets_a_call_under_way_finish_after_it_has_turned_others_away() {
    for sdk in Sdk::PYTHON {
        let mut gateway =
            Gateway::start("shutdown: { delay: 500ms, drain: 20s }", &[&Policy::of(sdk.shared().address)]);
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        thread::scope(|scope| {
            let slow =
                scope.spawn(|| Platform::call_function(&document, &call, "slow_tool", &json!({ "seconds": 1.5 })));
            until("the call is under way", || is_under_way(&gateway).then_some(()));
            gateway.process.signal("TERM");
            until("it says that it isn't ready", || (gateway.admin("/readyz").status == 503).then_some(()));
            assert_eq!(gateway.admin("/healthz").status, 200, "it still lives");
            // Until load balancers have noticed, what they send is served.
            let last = gateway.platform().fetch_request("", &Call::new()).send();
            assert_eq!((last.status, last.header("connection")), (200, Some("close")), "{sdk:?}");
            assert_eq!(slow.join().expect("it was asked").response(), "slept", "{sdk:?}");
        });
        assert_eq!(gateway.process.exit().code(), Some(0), "{sdk:?}: {}", gateway.process.stderr());
        let records = gateway.records(&call, 2);
        assert_eq!((&records[1]["function"], &records[1]["reason"]), (&json!("slow_tool"), &json!("ok")), "{sdk:?}");
    }
}

#[test]
fn a_drain_that_takes_too_long_is_over_and_a_second_signal_ends_it_at_once() {
    let policy = Policy::of(Sdk::Python.shared().address);
    for (settings, signals) in [("shutdown: { drain: 300ms }", 1), ("shutdown: { drain: 10m }", 2)] {
        let mut gateway = Gateway::start(settings, &[&policy]);
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        let request = document.function_request(&call, "slow_tool", &json!({ "seconds": 8 }));
        thread::spawn(move || request.try_send());
        until("the call is under way", || is_under_way(&gateway).then_some(()));
        let begun = Instant::now();
        for _ in 0..signals {
            gateway.process.signal("TERM");
            until("the signal is seen", || gateway.process.stderr().contains("stopping").then_some(()));
        }
        assert_eq!(gateway.process.exit().code(), Some(0), "{settings}");
        assert!(begun.elapsed().as_secs() < 6, "{settings}: before the call has ended");
    }
}

#[test]
fn an_idle_gateway_ends_at_once_by_either_signal() {
    for signal in ["TERM", "INT"] {
        let mut gateway = Policy::of(Sdk::Rust.shared().address).start();
        gateway.platform().fetch(&Call::new());
        gateway.process.signal(signal);
        assert_eq!(gateway.process.exit().code(), Some(0), "{signal}");
        assert_eq!(gateway.audit().len(), 1, "what was recorded is written");
    }
}

#[test]
fn a_taken_address_ends_the_process_with_the_address_in_the_error() {
    let policy = Policy::of(Sdk::Rust.shared().address);
    let gateway = policy.start();
    for taken in ["listen", "admin"] {
        let mut folder = Folder::new("", &[&policy]);
        match taken {
            "listen" => folder.listen = gateway.listen(),
            _ => folder.admin = gateway.folder.admin,
        }
        folder.write_settings("");
        let (code, _, told) = folder.run_to_the_end(&["run", "--config", "gateway.yaml"]);
        let address = if taken == "listen" { gateway.listen() } else { gateway.folder.admin };
        assert_eq!(code, Some(1), "{taken}: {told}");
        assert!(told.contains(&format!("{address} can't be listened on")), "{taken}: {told}");
    }
    gateway.platform().fetch(&Call::new());
}
