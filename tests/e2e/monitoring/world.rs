//! What alerts are about, made to happen: real traffic and real faults, at eight gateways.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::json;

use crate::harness::{
    agent::{Agent, Sdk},
    gateway::{Folder, Gateway, PROGRAM, Policy},
    http::Request,
    pki::Authority,
    platform::{Call, Platform},
    raw::Raw,
    tests_path, until,
};

const RUN: [&str; 3] = ["run", "--config", "gateway.yaml"];

/// How many descriptors the gateway without room may have: few, and more than it needs to start.
const DESCRIPTORS: u64 = 100;

/// How long its slow requests take to send, and its slow agent to answer: longer than the alerts allow.
const SLOW_BODY: Duration = Duration::from_millis(600);
const SLOW_ANSWER: &str = "{ connect: 1s, answer: 6s, exchange: 20s }";

/// Eight gateways, each with what is wrong there.
pub(super) struct World {
    /// Callers, guessers and agents, all of them trouble.
    main: Gateway,
    /// Its state has little room, and its files get a mistake.
    small: Gateway,
    /// Where the copies of its audit log go, until that is gone.
    copies: RefCell<Option<TcpListener>>,
    /// Has few descriptors and little memory.
    tight: Gateway,
    /// Lets in few connections, and its certificate ends.
    crowded: Gateway,
    authority: Authority,
    /// Its agent and its clients are slow.
    slow: Gateway,
    /// Its audit log goes nowhere.
    stuck: Gateway,
    /// Whoever reads that log, until it is taken away.
    reader: RefCell<Option<File>>,
    /// The kernel has no random bytes for it, once it is told so.
    unlucky: Gateway,
    /// Is started again and again, and ends at last.
    mortal: RefCell<Option<Gateway>>,
    mortal_admin: SocketAddr,
    /// An agent that is killed.
    killed: RefCell<Option<Agent>>,
}

/// Something that goes wrong, and the alerts that tell it.
pub(super) struct Cause<'w> {
    pub(super) alerts: &'static [&'static str],
    /// Makes it happen once more.
    pub(super) act: Act<'w>,
}

/// It is given what has been told so far.
type Act<'w> = Box<dyn FnMut(&BTreeSet<String>) + 'w>;

fn bank() -> Policy {
    Policy::of(Sdk::Rust.shared().address)
}

/// The bank under another name and path.
fn bank_as(name: &str) -> Policy {
    bank().named(name).at(&format!("/{name}")).with_upstream_path("/bank")
}

fn broken(scenario: &str) -> Policy {
    Policy::of(Agent::broken().address).named(scenario).at(&format!("/broken/{scenario}"))
}

fn start_main(killed: &Agent) -> Gateway {
    let detect = "detect:\n\
        - { name: a, on: calls, more_than: 3, every: 1s }\n\
        - { name: b, on: functions, more_than: 3, every: 1s }\n\
        - { name: c, on: failed_authentication, per: address, more_than: 3, every: 1s }\n\
        - { name: d, on: functions, when: { properties: { amount: { exclusiveMinimum: 5000 } }, required: [amount] }, more_than: 1, every: 1s }\n\
        - { name: e, on: functions, outside: { zone: UTC, open: [\"00:00-24:00\"], holidays: [01-01..12-31] }, more_than: 1, every: 1s }\n\
        - { name: f, on: refusals, reasons: [token_mismatch], per: address, more_than: 3, every: 1s }";
    let streams =
        "expose: [{ path: /status, streaming: true }]\nlimits: [{ per: agent, allow: 1, every: 1h, mode: shadow }]";
    let policies = [
        bank().and(detect),
        bank_as("repeated"),
        bank_as("limited").and("limits: [{ per: agent, allow: 1, every: 1h }]"),
        bank_as("signed").and_platform("signing_keys_env: [OTHER_SIGNING_KEY]"),
        bank_as("outspoken").and("verbs: { deny: [ai] }"),
        bank_as("unauthorized").with_other_password(),
        Policy::of(killed.address)
            .named("killed")
            .at("/killed")
            .with_upstream_path("/bank")
            .and_upstream("breaker: { failures: 3, for: 1s }"),
        bank_as("halved").and_upstream(&format!("servers: ['{}', '{}']", Sdk::Rust.shared().address, killed.address)),
        broken("plain").and(streams),
    ];
    Gateway::start("", &policies.iter().collect::<Vec<_>>())
}

/// Its audit log has a copy, as long as somebody listens here.
fn start_small(copies: &TcpListener) -> Gateway {
    let rules = "limits: [{ per: caller, allow: 100, every: 1h }]\n\
                 detect: [{ name: calls, on: calls, per: caller, more_than: 100, every: 1h }]";
    let state = "state: { embedded: { max_cells: 16, max_watched: 16 } }";
    let sinks = format!("audit: {{ sinks: ['syslog+tcp://{}'] }}", copies.local_addr().expect("it listens"));
    Gateway::start(&format!("{state}\n{sinks}"), &[&bank().and(rules)])
}

/// The limit of descriptors is the shell's, which the program inherits.
fn start_tight() -> Gateway {
    let bodies = "bodies: { request: 64KiB, callback: 64KiB, response: 64KiB }";
    let folder = Folder::new(
        "bodies: { budget: 64KiB, timeout: 5m }\nconnections: { header_timeout: 5m }",
        &[&bank().and(bodies)],
    );
    let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"");
    folder.start_by(&["sh", "-c", &limited])
}

fn start_crowded(authority: &Authority) -> Gateway {
    let folder = Folder::new("", &[&bank()]);
    authority.issue_for(folder.root.path(), "tls", "IP:127.0.0.1", "300");
    let Folder { listen, admin, .. } = &folder;
    let tls = "tls: { certificate: tls.crt, private_key: tls.key }";
    let settings = format!(
        "listen: [{{ address: \"{listen}\", {tls} }}]\nadmin: {{ address: \"{admin}\" }}\n\
         connections: {{ max: 30, max_per_address: 20 }}\n"
    );
    folder.write("gateway.yaml", &settings);
    folder.start(&RUN)
}

fn start_slow() -> Gateway {
    let silent = broken("silent").timeouts(SLOW_ANSWER);
    let busy =
        silent.clone().named("busy").at("/busy").with_upstream_path("/broken/silent").and_upstream("max_in_flight: 1");
    Gateway::start("", &[&silent, &busy])
}

fn start_stuck() -> (Gateway, File) {
    let folder = Folder::new("audit: { path: pipe, queue: 4 }", &[&bank()]);
    let pipe = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it can be started").success());
    let reader = thread::spawn(move || File::open(pipe));
    let gateway = folder.start(&RUN);
    (gateway, reader.join().expect("it doesn't panic").expect("it can be read"))
}

fn start_unlucky() -> Gateway {
    let folder = Folder::new("", &[&bank()]);
    let library = folder.path("no_randomness.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(tests_path("e2e/monitoring/no_randomness.c"));
    assert!(compiler.status().expect("there is a C compiler").success());
    folder.start_told(&RUN, &[("LD_PRELOAD", library.to_str().expect("it is text"))])
}

// === impl World ===

impl World {
    /// All is well yet.
    pub(super) fn start() -> Self {
        let (killed, authority) = (Sdk::Rust.start(), Authority::new());
        let copies = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let (stuck, reader) = start_stuck();
        let mortal = Gateway::start("shutdown: { delay: 2m }", &[&bank()]);
        Self {
            main: start_main(&killed),
            small: start_small(&copies),
            copies: RefCell::new(Some(copies)),
            tight: start_tight(),
            crowded: start_crowded(&authority),
            authority,
            slow: start_slow(),
            stuck,
            reader: RefCell::new(Some(reader)),
            unlucky: start_unlucky(),
            mortal_admin: mortal.folder.admin,
            mortal: RefCell::new(Some(mortal)),
            killed: RefCell::new(Some(killed)),
        }
    }

    /// Where each of them tells what it sees.
    pub(super) fn targets(&self) -> [(&'static str, SocketAddr); 8] {
        [
            ("main", self.main.folder.admin),
            ("small", self.small.folder.admin),
            ("tight", self.tight.folder.admin),
            ("crowded", self.crowded.folder.admin),
            ("slow", self.slow.folder.admin),
            ("stuck", self.stuck.folder.admin),
            ("unlucky", self.unlucky.folder.admin),
            ("mortal", self.mortal_admin),
        ]
    }

    /// What goes wrong.
    pub(super) fn causes(&self) -> Vec<Cause<'_>> {
        let mut causes = self.by_strangers();
        causes.extend(self.by_callers());
        causes.extend(self.by_agents());
        causes.extend(self.by_the_operator());
        causes.extend(self.by_want_of_room());
        causes.extend(self.by_the_machine());
        causes
    }

    /// What the gateway can be asked for without harm; what panels are about that tell nothing wrong.
    pub(super) fn ordinary(&self) {
        let call = Call::new();
        let document = self.main.platform_of("/broken/plain").fetch(&call);
        Platform::call_function(&document, &call, "check_order", &json!({ "order": "7" }));
        assert_eq!(self.main.request("GET", "/broken/plain/status").send().status, 200);
    }

    fn fetch(&self, path: &str, times: usize) {
        (0..times).for_each(|_| drop(self.main.platform_of(path).fetch_request("", &Call::new()).send()));
    }

    fn by_strangers(&self) -> Vec<Cause<'_>> {
        let guess = self.main.platform().with_user("signalwire", "a guess");
        let call = Call::new();
        let document = self.main.platform().fetch(&call);
        let mut forged = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
        forged.url.push_str("&x=1");
        vec![
            Cause::of(&["SwaigateFailedAuthentication", "SwaigatePasswordsGuessed"], move || {
                (0..30).for_each(|_| assert_eq!(guess.fetch_request("", &Call::new()).send().status, 401));
            }),
            Cause::of(&["SwaigateTokensRefused", "SwaigateRefusals"], move || {
                (0..30).for_each(|_| assert_eq!(forged.send().status, 403));
            }),
            Cause::of(&["SwaigateSignaturesRefused"], || self.fetch("/signed", 10)),
        ]
    }

    fn by_callers(&self) -> Vec<Cause<'_>> {
        vec![
            Cause::of(&["SwaigateCallVolume", "SwaigateCallsRise"], || self.fetch("/bank", 8)),
            Cause::of(
                &[
                    "SwaigateFunctionRate",
                    "SwaigateLargeTransactions",
                    "SwaigateAfterHours",
                    "SwaigateFunctionCallsRise",
                ],
                || {
                    let call = Call::new();
                    let document = self.main.platform().fetch(&call);
                    let arguments = json!({ "to_account": "0123456789", "amount": 9000 });
                    (0..8).for_each(|_| drop(Platform::call_function(&document, &call, "transfer_funds", &arguments)));
                },
            ),
            Cause::of(&["SwaigateCallersLimited"], || self.fetch("/limited", 5)),
            Cause::of(&["SwaigateRepeats"], || {
                let call = Call::new();
                let document = self.main.platform_of("/repeated").fetch(&call);
                let request = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
                (0..4).for_each(|_| drop(request.send()));
            }),
        ]
    }

    fn by_agents(&self) -> Vec<Cause<'_>> {
        vec![
            Cause::of(&["SwaigateAgentDown", "SwaigateAgentErrors", "SwaigateBreakerOpen"], || {
                self.killed.borrow_mut().take();
                self.fetch("/killed", 4);
            }),
            Cause::of(&["SwaigateServerDown"], || {
                self.killed.borrow_mut().take();
                self.fetch("/halved", 20);
            }),
            Cause::of(&["SwaigateAgentBusy"], || {
                (0..3).for_each(|_| self.ask_slowly("/busy", "?seconds=1"));
            }),
            Cause::of(&["SwaigateAgentUnauthorized"], || self.fetch("/unauthorized", 1)),
            Cause::of(&["SwaigateAgentAnswersRefused"], || self.fetch("/outspoken", 1)),
        ]
    }

    fn by_the_operator(&self) -> Vec<Cause<'_>> {
        let (is_spoiled, is_stopped, is_renewed, is_trusting) = Default::default();
        let once = |done: &Cell<bool>| !done.replace(true);
        vec![
            Cause::of(&["SwaigateCertificateEnds", "SwaigateCertificateEndsSoon"], move || {
                if once(&is_renewed) {
                    self.authority.issue_for(self.crowded.folder.root.path(), "tls", "IP:127.0.0.1", "2");
                }
            }),
            Cause::of(&["SwaigateAgentUnverified"], move || {
                if once(&is_trusting) {
                    let policy = bank().by_https().and_upstream("tls: { insecure_skip_verify: true }");
                    self.crowded.folder.write_policy("bank", &policy.yaml());
                }
            }),
            Cause::of(&["SwaigateReloadRefused"], move || {
                if once(&is_spoiled) {
                    self.small.folder.write_policy("mistaken", "agent: [");
                }
            }),
            Cause::of(&["SwaigateSwitchOn", "SwaigateSwitchForgotten"], move || {
                if once(&is_stopped) {
                    self.emergency(&["on", "--agent", "bank", "--function", "another", "--why", "a drill"]);
                }
            }),
        ]
    }

    fn emergency(&self, arguments: &[&str]) {
        let all = [&["emergency"], arguments, &["--config", "gateway.yaml"]].concat();
        let mut command = Command::new(PROGRAM);
        command.args(all).current_dir(self.main.folder.root.path()).env("USER", "ann");
        let secrets = self.main.folder.command(&[]);
        command.envs(secrets.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.output().expect("it can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What is wrong at the operator's own hands is put right.
    pub(super) fn mend(&self) {
        fs::remove_file(self.small.folder.path("policies/mistaken.yaml")).expect("it is there");
        self.emergency(&["off", "--agent", "bank", "--function", "another", "--why", "all clear"]);
    }

    fn by_want_of_room(&self) -> Vec<Cause<'_>> {
        let fetch = |gateway: &Gateway| gateway.platform().fetch_request("", &Call::new()).send();
        let (mut connections, mut crowd, mut body) = (Vec::new(), Vec::new(), None);
        vec![
            Cause::of(&["SwaigateLimiterOverflows", "SwaigateWatchOverflows"], move || {
                (0..40).for_each(|_| drop(fetch(&self.small)));
            }),
            Cause::of(&["SwaigateDescriptorsNear"], move || {
                while self.tight.metric("process_open_fds") <= DESCRIPTORS * 85 / 100 {
                    connections.push(Raw::connect(self.tight.listen()));
                }
            }),
            Cause::of(
                &["SwaigateConnectionsNear", "SwaigateConnectionsFull", "SwaigateConnectionsRefused"],
                move || {
                    // The first address may have no more than twenty; a third finds no room.
                    crowd.extend(self.crowd(1, 170));
                    crowd.extend(self.crowd(2, 10));
                    drop(self.crowd(3, 1));
                },
            ),
            Cause::of(&["SwaigateBodyBudgetNear", "SwaigateOverloaded"], move || {
                body.get_or_insert_with(|| self.fill_memory());
                drop(fetch(&self.tight));
            }),
            Cause::of(&["SwaigateAuditFull", "SwaigateAuditDropped"], move || {
                let is_refused = |_: &i32| fetch(&self.stuck).last_words().is_some();
                (0..300).find(is_refused);
                (0..5).for_each(|_| drop(fetch(&self.stuck)));
            }),
        ]
    }

    /// Connections from an address of this machine.
    fn crowd(&self, host: u8, count: usize) -> Vec<Raw> {
        let from = Ipv4Addr::new(127, 0, 1, host);
        (0..count).map(|_| Raw::connect_from(from.into(), self.crowded.listen())).collect()
    }

    /// A body that takes all of the budget, and never ends.
    fn fill_memory(&self) -> Raw {
        let mut raw = Raw::connect(self.tight.listen());
        let request = self.tight.platform().fetch_request("", &Call::new());
        let request = Request { body: Vec::new(), ..request }.header("Content-Length", "65500");
        raw.request(&request);
        raw.write(" ".repeat(65_000));
        let used = || self.tight.metric("swaigate_body_bytes{budget=\"known\"}");
        until("the body is there", || (used() > 64_000).then_some(()));
        raw
    }

    fn by_the_machine(&self) -> Vec<Cause<'_>> {
        vec![
            Cause {
                alerts: &["SwaigateAuditNotWritten"],
                act: Box::new(|told| {
                    if told.contains("SwaigateAuditFull") && told.contains("SwaigateAuditDropped") {
                        self.reader.borrow_mut().take();
                    }
                }),
            },
            Cause::of(&["SwaigateAuditCopiesLost"], || {
                self.copies.borrow_mut().take();
                (0..5).for_each(|_| drop(self.small.platform().fetch_request("", &Call::new()).send()));
            }),
            Cause::of(&["SwaigateInternalErrors"], || {
                fs::write(self.unlucky.folder.path("no-randomness"), "").expect("the folder can be written");
                let refused = self.unlucky.platform().fetch_request("", &Call::new()).send();
                assert_eq!(self.unlucky.reason_of(&refused), "internal", "no document can be made");
            }),
            Cause::of(&["SwaigateSlow"], || self.send_slowly()),
            Cause::of(&["SwaigateAgentSlow"], || self.ask_slowly("/broken/silent", "?seconds=9")),
            Cause {
                alerts: &["SwaigateRestarting", "SwaigateNotReady", "SwaigateDown"],
                act: Box::new(|told| self.let_die(told)),
            },
        ]
    }

    /// Its agent says nothing for so long. The requests are not waited for.
    fn ask_slowly(&self, path: &str, seconds: &str) {
        let request = self.slow.platform_of(path).fetch_request(seconds, &Call::new());
        thread::spawn(move || drop(request.try_send()));
    }

    /// The same of requests whose bodies come late.
    fn send_slowly(&self) {
        let request = self.slow.platform_of("/broken/silent").fetch_request("?seconds=0", &Call::new());
        let listen = self.slow.listen();
        thread::spawn(move || {
            let mut raw = Raw::connect(listen);
            let mut head = request.clone();
            head.body = Vec::new();
            raw.request(&head.header("Content-Length", &request.body.len().to_string()));
            thread::sleep(SLOW_BODY);
            raw.write(&request.body);
            let _ = raw.read();
        });
    }

    /// First it starts again and again, then it doesn't come to its end, then it is gone.
    fn let_die(&self, told: &BTreeSet<String>) {
        let mut mortal = self.mortal.borrow_mut();
        if !told.contains("SwaigateRestarting") {
            *mortal = mortal.take().map(Gateway::crash);
        } else if let Some(gateway) = mortal.as_ref().filter(|gateway| gateway.metric("swaigate_ready") == 1) {
            gateway.process.signal("TERM");
        } else if !told.contains("SwaigateNotReady") {
            // It is seen soon.
        } else if let Some(mut gateway) = mortal.take() {
            gateway.process.signal("KILL");
            gateway.process.exit();
        }
    }
}

// === impl Cause ===

impl<'w> Cause<'w> {
    fn of(alerts: &'static [&'static str], mut act: impl FnMut() + 'w) -> Self {
        Self { alerts, act: Box::new(move |_| act()) }
    }
}
