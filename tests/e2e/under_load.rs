//! What is done to a gateway while callers use it: no request of theirs is lost by it. How long each goes on is said by
//! `SWAIGATE_TEST_SECONDS`; `tests/endurance` runs them for long.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::harness::{
    agent::Sdk,
    gateway::{Gateway, Policy},
    load::Load,
    platform::{Call, Platform},
    seconds, until,
};

/// How often the configuration is loaded again.
const RELOAD: Duration = Duration::from_millis(100);

/// How much one caller may ask for in the test of reloads: more than callers of the load do, and less than is tried.
const ALLOWED: usize = 10;

#[test]
fn reloads_lose_no_request_and_no_count() {
    let agent = Sdk::Rust.start();
    let limited = |words: u64| {
        let limits = format!("limits: [{{ per: caller, allow: {ALLOWED}, every: 1h }}]");
        Policy::of(agent.address).and(&format!("{limits}\nsay: {{ limited: \"Words {words}.\" }}"))
    };
    let gateway = limited(0).start();
    let caller = Call::new();
    let (tally, (passed, reloads)) = Load::on(gateway.platform()).callers(6).during(|_| {
        let give_up = Instant::now() + seconds();
        let (mut passed, mut reloads, mut last) = (0, 0, String::new());
        while Instant::now() < give_up || reloads < 2 * ALLOWED as u64 {
            let next = Instant::now() + RELOAD;
            reloads += 1;
            gateway.folder.write_policy("bank", &limited(reloads).yaml());
            gateway.process.signal("HUP");
            let answer = gateway.platform().fetch_request("", &caller.again()).send();
            match answer.last_words() {
                Some(words) => last = words,
                None => passed += 1,
            }
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        assert!(last.starts_with("Words "), "{last}");
        (passed, reloads)
    });
    eprintln!("{reloads} reloads: {}", tally.told());
    tally.is_flawless();
    tally.ran_once_at(&agent);
    assert_eq!(passed, ALLOWED, "a limit goes on counting over reloads");
    assert_eq!(gateway.reloads("refused"), 0);
    assert!(gateway.reloads("ok") * 2 > reloads, "most of {reloads} have been loaded one by one");
}

#[test]
fn sigterm_under_load_ends_what_is_under_way_and_loses_nothing_that_was_taken() {
    let (agent, slow) = (Sdk::Rust.start(), Sdk::Python.shared());
    let slow_policy = Policy::of(slow.address).named("slow").at("/slow").with_upstream_path("/bank");
    let settings = "shutdown: { delay: 2s, drain: 30s }";
    let mut gateway = Gateway::start(settings, &[&Policy::of(agent.address), &slow_policy]);
    let call = Call::new();
    let document = gateway.platform_of("/slow").fetch(&call);
    let load = Load::on(gateway.platform()).pause(Duration::from_millis(2)).start();
    thread::scope(|scope| {
        let asked = scope.spawn(|| Platform::call_function(&document, &call, "slow_tool", &json!({ "seconds": 4 })));
        until("the agent has the slow call", || (slow.ran(&call, "slow_tool") > 0).then_some(()));
        until("there is load", || (load.answered() > 50).then_some(()));
        gateway.process.signal("TERM");
        // What a load balancer does: it asks, and sends nothing more here once the answer is no.
        until("it says that it isn't ready", || (gateway.admin("/readyz").status == 503).then_some(()));
        let tally = load.stop();
        eprintln!("SIGTERM: {}", tally.told());
        tally.is_flawless();
        tally.ran_once_at(&agent);
        assert_eq!(asked.join().expect("it was asked").response(), "slept");
    });
    assert_eq!(gateway.process.exit().code(), Some(0), "{}", gateway.process.stderr());
    assert_eq!(gateway.records(&call, 2)[1]["reason"], "ok");
}
