//! The agent's view of a request is the gateway's word, and a forged one changes no document (PROTOCOL.md, 8).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::harness::{
    agent::{Agent, PASSWORD, Sdk, USER},
    gateway::Policy,
    http::{Request, basic, client},
    platform::{Call, Document, Platform},
    tap::Seen,
};

/// What a client may claim about itself, its way, or the URL it means.
const FORGED: [(&str, &str); 25] = [
    ("X-Forwarded-Host", "other.example.com"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Forwarded-Port", "8443"),
    ("X-Forwarded-Prefix", "/other"),
    ("X-Forwarded-Server", "other.example.com"),
    ("Forwarded", "for=203.0.113.7;host=other.example.com;proto=https"),
    ("X-Original-Host", "other.example.com"),
    ("X-Original-URL", "/bank/debug"),
    ("X-Original-Query-String", "a=1"),
    ("X-Rewrite-URL", "/bank/debug"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-Real-IP", "203.0.113.7"),
    ("X_Real_IP", "203.0.113.7"),
    ("X_Forwarded_Host", "other.example.com"),
    ("Transfer_Encoding", "chunked"),
    ("X-Remote-User", "admin"),
    ("Remote-User", "admin"),
    ("Cookie", "session=1"),
    ("Proxy-Authorization", "Basic YTpi"),
    ("Connection", "keep-alive, X-Nominated, Authorization"),
    ("X-Nominated", "1"),
    ("Keep-Alive", "timeout=100"),
    ("X-Request-Id", "chosen-by-the-client"),
    ("X-Anything-Else", "1"),
];

/// What the agent gets, name by name; `x-request-id` is the gateway's own.
fn expected(host: &str, length: usize) -> Vec<(String, String)> {
    let pairs = [
        ("accept", "*/*"),
        ("accept-encoding", "identity"),
        ("authorization", &basic(USER, PASSWORD)),
        ("content-length", &length.to_string()),
        ("content-type", "application/json"),
        ("host", host),
        ("user-agent", "SignalWire"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", host),
        ("x-forwarded-proto", "http"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn headers(seen: &Seen) -> Vec<(String, String)> {
    let all = seen.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut all: Vec<_> = all.filter(|(name, _)| name != "x-request-id").collect();
    all.sort();
    all
}

fn forged(request: Request) -> Request {
    FORGED.iter().fold(request, |request, (name, value)| request.header(name, value))
}

#[test]
fn the_agent_gets_the_gateways_headers_and_no_others() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).start();
        let host = tap.address.to_string();
        let call = Call::new();
        let fetch = forged(gateway.platform().fetch_request("", &call));
        let document = Document::new(fetch.send().text());
        let call_function = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
        assert_eq!(forged(call_function).send().response(), "Balance of 1 is $150.00", "{sdk:?}");
        let seen = tap.seen();
        assert_eq!(seen.len(), 2);
        for request in &seen {
            assert_eq!(headers(request), expected(&host, request.body.len()), "{sdk:?}");
            let id = request.header("x-request-id").expect("the gateway names each request");
            assert_ne!(id, "chosen-by-the-client");
        }
        for kind in ["application/x-www-form-urlencoded", "application/json; charset=utf-16", "text/xml"] {
            let mut request = document.function_request(&call, "get_balance", &json!({ "account": kind }));
            request.headers.retain(|(name, _)| name != "Content-Type");
            assert!(request.header("Content-Type", kind).send().response().starts_with("Balance of "), "{sdk:?}");
            let seen = tap.seen();
            assert_eq!(seen.last().expect("it was asked").header("content-type"), Some("application/json"), "{kind}");
        }
        assert_eq!((seen[0].target.as_str(), seen[1].target.split('?').next()), ("/bank", Some(sdk.swaig_path())));
    }
}

/// Without credentials, as anyone can send them.
fn attack(url: &str) -> Request {
    let request = Request::get(url);
    request.header("X-Forwarded-Host", "other.example.com").header("X-Forwarded-Proto", "https")
}

/// So that a test of the gateway that passes is known to mean something.
#[test]
fn the_agents_alone_hand_their_credentials_to_whoever_forges_a_header() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.start();
        assert_eq!(attack(&format!("{}/bank", agent.origin())).send().status, 401, "{sdk:?}: a stranger");
        let answer = agent.request("GET", "/bank/swaig?call_id=call-1").send();
        let leaked = format!("https://{USER}:{PASSWORD}@other.example.com/");
        assert!(answer.text().contains(&leaked), "{sdk:?}: {}", answer.text());
        assert!(poisoned_while_attacked(&agent), "{sdk:?}: the race");
    }
}

fn poisoned_while_attacked(agent: &Agent) -> bool {
    let over = AtomicBool::new(false);
    let url = format!("{}/bank", agent.origin());
    thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(|| flood(&attack(&url), &over))));
        let give_up = Instant::now() + Duration::from_secs(20);
        let mut poisoned = false;
        while !poisoned && Instant::now() < give_up {
            poisoned = agent.fetch("/bank", &Call::new()).to_string().contains("other.example.com");
        }
        over.store(true, Ordering::SeqCst);
        poisoned
    })
}

fn flood(request: &Request, over: &AtomicBool) {
    let client = client();
    while !over.load(Ordering::SeqCst) {
        request.send_with(&client);
    }
}

#[test]
fn no_document_through_the_gateway_leaks_under_the_same_attack() {
    const DOCUMENTS: usize = 2_000;
    const THREADS: usize = 4;
    // Fresh ones: they don't know their own address, which is what the attack needs.
    let agents = Sdk::PYTHON.map(Sdk::start);
    thread::scope(|scope| {
        for agent in &agents {
            scope.spawn(|| {
                let gateway = Policy::of(agent.address).start();
                let platform = gateway.platform();
                let over = AtomicBool::new(false);
                thread::scope(|scope| {
                    (0..2).for_each(|_| drop(scope.spawn(|| flood(&attack(&platform.url), &over))));
                    let fetch = || fetch_clean(&platform, DOCUMENTS / THREADS, &gateway.origin());
                    let fetchers: Vec<_> = (0..THREADS).map(|_| scope.spawn(fetch)).collect();
                    let clean = fetchers.into_iter().map(|fetcher| fetcher.join());
                    let clean: Vec<_> = clean.collect();
                    over.store(true, Ordering::SeqCst);
                    assert_eq!(clean.into_iter().map(|count| count.expect("no leak")).sum::<usize>(), DOCUMENTS);
                });
            });
        }
    });
}

/// Fetches documents, with forged headers too, and counts those in which every URL is the gateway's.
fn fetch_clean(platform: &Platform, count: usize, origin: &str) -> usize {
    let client = client();
    let at_gateway = origin.replace("http://", "@");
    for number in 0..count {
        let fetch = platform.fetch_request("", &Call::new());
        let fetch = if number % 2 == 0 { fetch } else { forged(fetch) };
        let answer = fetch.send_with(&client);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        assert!(!text.contains("other.example.com") && !text.contains(PASSWORD), "{text}");
        // One URL is the weather's, in a data map.
        let urls = text.match_indices("://").map(|(at, _)| &text[at + 3..]);
        let foreign = urls.filter(|url| !url.split(['/', '"']).next().is_some_and(|host| host.ends_with(&at_gateway)));
        assert_eq!(foreign.filter(|url| !url.starts_with("api.example.com/")).count(), 0, "{text}");
    }
    count
}
