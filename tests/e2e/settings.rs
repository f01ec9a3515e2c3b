//! What keys of both files do that no other test shows.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, Gateway, Policy},
    platform::{Call, Platform},
    raw::Raw,
    until,
};

/// Of a password that no test uses.
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$Jj3HHfVBGsHkrvzcgRvwqw";

const UNAVAILABLE: &str = "This service is temporarily unavailable. Please try again later.";
const RUN: [&str; 3] = ["run", "--config", "gateway.yaml"];

fn policy() -> Policy {
    Policy::of(Sdk::Rust.shared().address)
}

// === where things are ===

#[test]
fn documents_point_to_the_public_url() {
    let gateway = Gateway::start("public_url: https://agents.example.com", &[&policy()]);
    let url = gateway.platform().fetch(&Call::new()).function_url("get_balance");
    let (scheme, rest) = url.split_once("://").expect("it is a URL");
    assert!(scheme == "https" && rest.split_once('@').is_some_and(|(_, at)| at.starts_with("agents.example.com/")));
}

#[test]
fn files_are_where_the_settings_say() {
    let settings = "policies: agents/\nstate: { embedded: { path: kept } }\naudit: { path: log/decisions.jsonl }";
    let folder = Folder::new(settings, &[]);
    fs::create_dir(folder.path("agents")).expect("the folder can be written");
    fs::write(folder.path("agents/bank.yaml"), policy().yaml()).expect("the folder can be written");
    let gateway = folder.start(&RUN);
    gateway.platform().fetch(&Call::new());
    let is_written = || fs::read_to_string(gateway.folder.path("log/decisions.jsonl")).is_ok_and(|log| !log.is_empty());
    until("it is recorded", || is_written().then_some(()));
    assert!(gateway.folder.path("kept/token.key").exists());
    assert!(!gateway.folder.path("audit").exists() && !gateway.folder.path("state").exists());
}

#[test]
fn an_address_that_others_can_reach_needs_a_word() {
    let mut folder = Folder::new("", &[&policy()]);
    folder.listen.set_ip(Ipv4Addr::UNSPECIFIED.into());
    let settings = |more: &str| {
        let Folder { listen, admin, .. } = &folder;
        let text = format!(
            "public_url: https://a.example.com\nlisten: [{{ address: \"{listen}\"{more} }}]\nadmin: {{ address: \"{admin}\" }}\n"
        );
        fs::write(folder.path("gateway.yaml"), text).expect("the folder can be written");
    };
    settings("");
    let (code, _, told) = folder.run_to_the_end(&RUN);
    assert!(code == Some(1) && told.contains("insecure_plaintext"), "{told}");
    settings(", insecure_plaintext: true");
    folder.start(&RUN).platform().fetch(&Call::new());
}

#[test]
fn a_token_key_in_a_file_is_the_one_that_signs() {
    let folder = Folder::new("token_keys: [{ id: a, secret_file: key }]", &[&policy()]);
    let write = |folder: &Folder, key: &str| fs::write(folder.path("key"), key).expect("the folder can be written");
    write(&folder, &"the first ".repeat(4));
    let gateway = folder.start(&RUN);
    let call = Call::new();
    let request = gateway.platform().fetch(&call).function_request(&call, "get_balance", &json!({ "account": "1" }));
    let gateway = gateway.restart();
    assert_eq!(request.send().status, 200, "it was kept nowhere else");
    write(&gateway.folder, &"the second ".repeat(4));
    let gateway = gateway.restart();
    assert_eq!(request.send().status, 401);
    drop(gateway);
}

// === how much ===

#[test]
fn a_burst_is_how_many_pass_at_once() {
    let gateway = policy().and("limits: [{ per: call, allow: 60, every: 1h, burst: 2 }]").start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    let ask = |account: usize| {
        let arguments = json!({ "account": account.to_string() });
        Platform::call_function(&document, &call, "get_balance", &arguments).response()
    };
    assert_eq!((0..5).filter(|account| ask(*account).starts_with("Balance")).count(), 2);
}

#[test]
fn an_answer_may_be_so_large() {
    let gateway = policy().and("bodies: { response: 1KiB }").start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    let account = "1".repeat(2000);
    let answer = Platform::call_function(&document, &call, "get_balance", &json!({ "account": account }));
    assert_eq!((answer.response().as_str(), gateway.reason_of(&answer).as_str()), (UNAVAILABLE, "agent_too_large"));
}

#[test]
fn what_is_remembered_is_bounded() {
    let settings = "state: { embedded: { max_cells: 16, max_calls: 16 } }";
    let gateway = Gateway::start(settings, &[&policy().and("limits: [{ per: caller, allow: 100, every: 1h }]")]);
    for _ in 0..40 {
        gateway.platform().fetch(&Call::new());
    }
    // Besides, there is one cell for all those who have none.
    assert!((1..=17).contains(&gateway.metric("swaigate_limiter_cells")));
    assert!((1..=16).contains(&gateway.metric("swaigate_calls")));
}

#[test]
fn what_is_done_in_calls_is_remembered_within_bounds() {
    let policy = policy().and("functions: { get_balance: { once: true } }");
    let gateway = Gateway::start("state: { embedded: { max_facts: 16 } }", &[&policy]);
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    let ask = |account: &usize| {
        let arguments = json!({ "account": account.to_string() });
        Platform::call_function(&document, &call, "get_balance", &arguments).response().starts_with("Balance")
    };
    assert_eq!((0..20).filter(ask).count(), 16, "what can't be remembered is refused");
    assert_eq!(gateway.metric("swaigate_call_facts"), 16);
}

#[test]
fn what_detection_watches_is_bounded() {
    let policy = policy().and("detect: [{ name: calls, on: calls, per: caller, more_than: 5, every: 1h }]");
    let gateway = Gateway::start("state: { embedded: { max_watched: 16 } }", &[&policy]);
    for _ in 0..40 {
        gateway.platform().fetch(&Call::new());
    }
    assert!((1..=17).contains(&gateway.metric("swaigate_watched_events")));
}

#[test]
fn kept_answers_take_so_much_memory_and_no_more() {
    let gateway = Gateway::start("state: { embedded: { max_answer_bytes: 64KiB } }", &[&policy()]);
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    for account in 0..20 {
        let account = format!("{account}{}", "0".repeat(10_000));
        let answer = Platform::call_function(&document, &call, "get_balance", &json!({ "account": account }));
        assert!(answer.body.len() > 10_000);
    }
    assert!((10_000..=64 << 10).contains(&gateway.metric("swaigate_kept_answer_bytes")));
}

#[test]
fn what_cannot_be_recorded_is_not_forwarded() {
    let folder = Folder::new("audit: { path: pipe, queue: 4 }", &[&policy()]);
    let pipe = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it can be started").success());
    // Somebody opens it and reads nothing, so it is full at some time, and then the queue is.
    let reader = std::thread::spawn(move || fs::File::open(pipe));
    let gateway = folder.start(&RUN);
    let _reader = reader.join().expect("it doesn't panic").expect("it can be read");
    let refused = |_| gateway.platform().fetch_request("", &Call::new()).send().last_words();
    assert_eq!((0..2000).find_map(refused).as_deref(), Some(UNAVAILABLE));
}

#[test]
fn as_many_threads_serve_as_the_settings_say() {
    let serving = |threads: usize| {
        let gateway = Gateway::start(&format!("threads: {threads}"), &[&policy()]);
        let tasks = fs::read_dir(format!("/proc/{}/task", gateway.process.id())).expect("it runs");
        tasks.count()
    };
    let (one, five) = (serving(1), serving(5));
    assert_eq!(five - one, 4);
}

// === how long ===

#[test]
fn an_agent_that_lets_nobody_in_is_given_up() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port is free");
    socket.listen(0).expect("it can be listened on");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it has an address");
    // Whoever comes first waits in the queue; all others are told nothing.
    let brief = Duration::from_millis(300);
    let queue: Vec<_> = std::iter::from_fn(|| TcpStream::connect_timeout(&address, brief).ok()).take(10).collect();
    assert!(queue.len() < 10, "the queue is full");
    let gateway = Policy::of(address).timeouts("{ connect: 300ms }").start();
    let begun = Instant::now();
    let answer = gateway.platform().fetch_request("", &Call::new()).send();
    assert_eq!(gateway.reason_of(&answer), "agent_unreachable");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_gateway_that_stops_serves_for_as_long_as_a_load_balancer_needs() {
    let mut gateway = Gateway::start("shutdown: { delay: 2s }", &[&policy()]);
    let begun = Instant::now();
    gateway.process.signal("TERM");
    until("it says that it isn't ready", || (gateway.admin("/readyz").status == 503).then_some(()));
    gateway.platform().fetch(&Call::new());
    assert_eq!(gateway.process.exit().code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

// === wrong credentials ===

/// A gateway that knows its platform's password by its hash alone.
fn hashed(settings: &str) -> Gateway {
    let user = format!("users: [{{ username: signalwire, password_hash: \"{HASH}\" }}]");
    Gateway::start(&format!("failed_authentication: {settings}"), &[&policy().platform(&user)])
}

/// What a password that nobody has gets: the status, and for how long to wait.
fn guess(gateway: &Gateway) -> (u16, Option<u64>) {
    let answer = gateway.platform().with_user("signalwire", "nobody's password").fetch_request("", &Call::new()).send();
    (answer.status, answer.header("retry-after").and_then(|seconds| seconds.parse().ok()))
}

#[test]
fn a_wait_is_as_long_as_the_settings_say() {
    let gateway = hashed("{ free: 0, delay: 50s }");
    assert_eq!(guess(&gateway), (401, None));
    assert!(matches!(guess(&gateway), (429, Some(20..=50))));
}

#[test]
fn a_wait_grows_no_longer_than_the_settings_say() {
    let gateway = hashed("{ free: 0, delay: 1s, max_delay: 1s }");
    for _ in 0..3 {
        until("a guess is looked at", || (guess(&gateway).0 == 401).then_some(()));
        assert_eq!(guess(&gateway), (429, Some(1)));
    }
}

#[test]
fn failures_are_forgotten() {
    let gateway = hashed("{ free: 1, delay: 1s, max_delay: 1s, forget: 2s }");
    assert_eq!([guess(&gateway).0, guess(&gateway).0, guess(&gateway).0], [401, 401, 429]);
    // Each guess that is looked at would begin the time anew.
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!([guess(&gateway).0, guess(&gateway).0, guess(&gateway).0], [401, 401, 429], "the first is free again");
}

#[test]
fn addresses_beyond_the_bound_share_one_count() {
    let gateway = hashed("{ free: 0, delay: 10m, max_addresses: 16 }");
    let request = gateway.request("GET", "/bank").with_user("signalwire", "nobody's password");
    let statuses = (1..=18).map(|number| {
        let mut raw = Raw::connect_from(Ipv4Addr::new(127, 0, 1, number).into(), gateway.listen());
        raw.request(&request);
        raw.read().expect("it is answered").status
    });
    assert_eq!(statuses.collect::<Vec<_>>(), [[401; 17].as_slice(), &[429]].concat());
}

// === the log ===

#[test]
fn the_log_is_as_loud_and_of_the_form_that_the_settings_say() {
    let log = |settings: &str| {
        let gateway = Gateway::start(settings, &[&policy()]);
        gateway.process.stderr()
    };
    assert!(log("").contains("listening"));
    assert_eq!(log("log: { level: error }"), "");
    let lines = log("log: { format: json }");
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object());
    assert!(lines.contains("listening") && lines.lines().all(is_json), "{lines}");
}
