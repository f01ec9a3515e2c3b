//! What is done to a gateway while callers use it: no request of theirs is lost by it. How long each goes on is said by
//! `SWAIGATE_TEST_SECONDS`; `tests/endurance` runs them for long.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, Gateway, Policy},
    load::Load,
    platform::{Call, Platform},
    raw::Raw,
    seconds, until,
};

/// How often the configuration is loaded again.
const RELOAD: Duration = Duration::from_millis(100);

/// How much one caller may ask for in the test of reloads: more than callers of the load do, and less than is tried.
const ALLOWED: usize = 10;

#[test]
fn reloads_lose_no_request_and_no_count() {
    let agent = Sdk::Python.start();
    let limited = |words: u64| {
        let limits = format!("limits: [{{ per: caller, allow: {ALLOWED}, every: 1h }}]");
        Policy::of(agent.address).and(&format!("{limits}\nsay: {{ limited: \"Words {words}.\" }}"))
    };
    let gateway = limited(0).start();
    let caller = Call::new();
    let (tally, (passed, reloads)) = Load::on(gateway.platform()).callers(6).at_half_capacity().during(|_| {
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
    let (agent, slow) = (Sdk::Python.start(), Sdk::Python.shared());
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

/// A service manager that holds the listening socket, and starts its service again whenever that has ended.
const MANAGER: &str = r#"
import ctypes, os, socket, sys
host, port = sys.argv[1].rsplit(":", 1)
own = socket.socket()
own.bind((host, int(port)))
own.listen(4096)
while True:
    service = os.fork()
    if service == 0:
        ctypes.CDLL(None).prctl(1, 9)  # it ends with the manager
        os.dup2(own.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execv(sys.argv[2], sys.argv[2:])
    with open("new.pid", "w") as file:
        file.write(str(service))
    os.rename("new.pid", "service.pid")
    os.waitpid(service, 0)
"#;

#[test]
fn a_restart_loses_nothing_where_the_service_manager_holds_the_socket() {
    let agent = Sdk::Python.start();
    let folder = Folder::new("", &[&Policy::of(agent.address)]);
    let address = folder.listen.to_string();
    let gateway = folder.start_by(&["python3", "-c", MANAGER, &address]);
    let service = || fs::read_to_string(gateway.folder.path("service.pid")).expect("it is written before");
    let (tally, restarts) = Load::on(gateway.platform()).during(|load| {
        let give_up = Instant::now() + seconds();
        let mut restarts = 0;
        while Instant::now() < give_up || restarts < 2 {
            let answered = load.answered();
            until("callers are served", || (load.answered() > answered + 30).then_some(()));
            let old = service();
            let killed = Command::new("kill").args(["-s", "TERM", &old]).status();
            assert!(killed.is_ok_and(|status| status.success()));
            until("another one is started", || (service() != old).then_some(()));
            restarts += 1;
        }
        restarts
    });
    eprintln!("{restarts} restarts: {}", tally.told());
    tally.is_flawless();
    tally.ran_once_at(&agent);
}

#[test]
fn what_is_on_its_way_on_a_kept_connection_at_sigterm_is_answered() {
    let mut gateway = Policy::of(Sdk::Rust.shared().address).start();
    let mut kept = Raw::connect(gateway.listen());
    let request = || gateway.platform().fetch_request("", &Call::new());
    kept.request(&request());
    assert_eq!(kept.read().expect("it is answered").status, 200);
    gateway.process.signal("TERM");
    until("it stops", || gateway.process.stderr().contains("stopping").then_some(()));
    kept.request(&request());
    let last = kept.read().expect("it is answered");
    assert!(last.status == 200 && last.head.to_lowercase().contains("connection: close"), "{}", last.head);
    assert_eq!(gateway.process.exit().code(), Some(0));
}
