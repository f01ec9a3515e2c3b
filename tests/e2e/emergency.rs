//! What is stopped in an emergency is stopped for the next request, and stays so until somebody says otherwise.

use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Instant};

use serde_json::{Value, json};

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, Gateway, PROGRAM, Policy},
    http::{Answer, Request},
    platform::{Call, Document, Platform},
    until,
};

const SAID: &str = "This service is temporarily unavailable.";

/// A request to the admin API, by whoever has its token.
fn api(gateway: &Gateway, method: &'static str, path: &str, body: &Value) -> Request {
    gateway.api(method, path, body)
}

fn order(scope: Value) -> Value {
    json!({ "scope": scope, "who": "ann", "why": "card fraud, ticket 17" })
}

fn turn_on(gateway: &Gateway, scope: Value) -> String {
    let answer = api(gateway, "POST", "/v1/switches", &order(scope)).send();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().expect("it has an id").to_owned()
}

fn turn_off(gateway: &Gateway, id: &str) {
    let word = json!({ "who": "bob", "why": "all clear" });
    let answer = api(gateway, "DELETE", &format!("/v1/switches/{id}"), &word).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn switches(gateway: &Gateway) -> Vec<Value> {
    let answer = api(gateway, "GET", "/v1/switches", &Value::Null).send();
    answer.json().as_array().expect("it is a list").clone()
}

fn ask(document: &Document, call: &Call, function: &str) -> Answer {
    Platform::call_function(document, call, function, &json!({ "account": "1", "amount": 1 }))
}

fn is_stopped(document: &Document, call: &Call, function: &str) -> bool {
    ask(document, call, function).response() == SAID
}

fn fetch(gateway: &Gateway, call: &Call) -> Answer {
    gateway.platform().fetch_request("", call).send()
}

fn is_fetch_stopped(gateway: &Gateway, call: &Call) -> bool {
    fetch(gateway, call).last_words().as_deref() == Some(SAID)
}

/// The command as an operator types it: what it says, what it complains of, and whether it succeeds.
fn emergency(gateway: &Gateway, arguments: &[&str]) -> (bool, String, String) {
    gateway.operator(&[&["emergency"], arguments].concat())
}

#[test]
fn each_scope_stops_the_next_request_and_nothing_else() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).start();
        let (call, other) = (Call::new(), Call::new());
        let (document, others) = (gateway.platform().fetch(&call), gateway.platform().fetch(&other));
        for (scope, stops) in [
            (json!({ "all": true }), [true, true, true, true]),
            (json!({ "agent": "bank" }), [true, true, true, true]),
            (json!({ "agent": "bank", "function": "transfer_funds" }), [false, true, false, false]),
            (json!({ "caller": call.from }), [true, true, true, false]),
            (json!({ "caller": call.from, "agent": "bank" }), [true, true, true, false]),
        ] {
            let id = turn_on(&gateway, scope.clone());
            let stopped = [
                is_stopped(&document, &call, "get_balance"),
                is_stopped(&document, &call, "transfer_funds"),
                is_fetch_stopped(&gateway, &call.again()),
                is_stopped(&others, &other, "get_balance"),
            ];
            assert_eq!(stopped, stops, "{sdk:?} {scope}");
            let refused = tap.stays_silent("what is stopped", || ask(&document, &call, "transfer_funds"));
            let record = gateway.record_of(&refused);
            assert_eq!((refused.status, &record["reason"]), (200, &json!("emergency")), "{sdk:?} {scope}");
            assert!(record["switch"].is_string(), "{record}");
            turn_off(&gateway, &id);
            assert!(!is_stopped(&document, &call, "get_balance"), "{sdk:?} {scope}");
        }
    }
}

#[test]
fn a_stopped_caller_is_stopped_whoever_the_body_names() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    turn_on(&gateway, json!({ "caller": call.from }));
    let pretender = Call { from: "+15559998888".to_owned(), ..call.clone() };
    let nobody = Call { from: "anonymous".to_owned(), ..call.clone() };
    assert!(is_stopped(&document, &pretender, "get_balance") && is_stopped(&document, &nobody, "get_balance"));
    // And nobody is stopped by naming the caller.
    let other = Call::new();
    let others = gateway.platform().fetch(&other);
    assert!(!is_stopped(&others, &Call { from: call.from.clone(), ..other.clone() }, "get_balance"));
}

#[test]
fn a_stopped_caller_stays_so_under_a_new_token_key() {
    let keys = |ids: &[&str]| {
        let of = |id: &&str| format!("{{ id: {id}, secret_env: {id} }}");
        format!("token_keys: [{}]", ids.iter().map(of).collect::<Vec<_>>().join(", "))
    };
    let policy = Policy::of(Sdk::Rust.shared().address);
    let gateway = Gateway::start(&keys(&["TOKEN_KEY"]), &[&policy]);
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    turn_on(&gateway, json!({ "caller": call.from }));
    let before = gateway.reloads("ok");
    gateway.folder.write_settings(&keys(&["OTHER_TOKEN_KEY", "TOKEN_KEY"]));
    gateway.wait_for_reloads("ok", before + 1);
    let id = switches(&gateway)[0]["id"].as_str().expect("it is on").to_owned();
    assert!(is_stopped(&document, &call, "get_balance") && is_fetch_stopped(&gateway, &call.again()));
    turn_off(&gateway, &id);
    let newer = call.again();
    let document = gateway.platform().fetch(&newer);
    turn_on(&gateway, json!({ "caller": newer.from }));
    let nobody = Call { from: "anonymous".to_owned(), ..newer };
    assert!(is_stopped(&document, &nobody, "get_balance"));
}

#[test]
fn nothing_stops_a_clean_up() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.shared();
        let gateway = Policy::of(agent.address).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        turn_on(&gateway, json!({ "all": true }));
        assert!(is_stopped(&document, &call, "get_balance"), "{sdk:?}");
        assert_eq!(Platform::debug(&document, &call).status, 200, "{sdk:?}");
        assert_eq!(Platform::summarize(&document, &call, 1000).status, 200, "{sdk:?}");
        ask(&document, &call, "hangup_hook");
        assert_eq!((agent.ran(&call, "hangup_hook"), agent.ran(&call, "get_balance")), (1, 0), "{sdk:?}");
        assert!(agent.did(&call).iter().any(|line| line["event"] == "summary"), "{sdk:?}");
    }
}

#[test]
fn callers_hear_the_policys_sentence_in_their_own_form() {
    let say = "say: { disabled: \"We are closed for today.\" }";
    let gateway = Policy::of(Sdk::Rust.shared().address).and(say).start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    turn_on(&gateway, json!({ "agent": "bank" }));
    assert_eq!(ask(&document, &call, "get_balance").json(), json!({ "response": "We are closed for today." }));
    assert_eq!(fetch(&gateway, &call).last_words().as_deref(), Some("We are closed for today."));
    let message = json!({ "message": { "message_id": call.id, "direction": "inbound", "type": "sms",
        "from": call.from, "to": "+15559990001", "body": "hello" }, "params": {} });
    let refused = Request { body: message.to_string().into_bytes(), ..gateway.platform().fetch_request("", &call) };
    let main = refused.send().json()["sections"]["main"].clone();
    assert_eq!(main, json!([{ "reply": { "body": "We are closed for today." } }]));
}

#[test]
fn switches_outlive_a_restart_and_a_crash() {
    let agent = Sdk::Rust.shared();
    let gateway = Policy::of(agent.address).start();
    let call = Call::new();
    let off = turn_on(&gateway, json!({ "all": true }));
    turn_on(&gateway, json!({ "agent": "bank", "function": "get_balance" }));
    turn_on(&gateway, json!({ "caller": "+15550000000" }));
    let before = switches(&gateway);
    // An answer means that it is on the disk.
    let gateway = gateway.crash();
    assert_eq!(switches(&gateway), before);
    assert!(is_fetch_stopped(&gateway, &call));
    turn_off(&gateway, &off);
    let gateway = gateway.crash().restart();
    assert_eq!(switches(&gateway), before[1..]);
    let document = gateway.platform().fetch(&call);
    assert!(is_stopped(&document, &call, "get_balance") && !is_stopped(&document, &call, "transfer_funds"));
    let mode = |name: &str| fs::metadata(gateway.folder.path(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!([mode("state/swaigate.redb"), mode("state/admin.token"), mode("state")], [0o600, 0o600, 0o700]);
    assert_eq!(gateway.metric("swaigate_switches{scope=\"caller\"}"), 1);
}

#[test]
fn a_file_that_another_gateway_has_is_an_error_and_not_an_empty_start() {
    let policy = Policy::of(Sdk::Rust.shared().address);
    let gateway = Folder::new("", &[&policy]).start(&["run", "--config", "gateway.yaml"]);
    let state = gateway.folder.path("state");
    let other = Folder::new(&format!("state: {{ embedded: {{ path: {} }} }}", state.display()), &[&policy]);
    let (code, _, told) = other.run_to_the_end(&["run", "--config", "gateway.yaml"]);
    assert_eq!((code, told.contains("another process has it open")), (Some(1), true), "{told}");
}

#[test]
fn the_environment_stops_everything_and_no_request_turns_it_on_again() {
    let policy = Policy::of(Sdk::Rust.shared().address);
    let run = ["run", "--config", "gateway.yaml"];
    for value in ["true", "1"] {
        let gateway = Folder::new("", &[&policy]).start_told(&run, &[("AGENT_EMERGENCY_MODE", value)]);
        assert!(is_fetch_stopped(&gateway, &Call::new()), "{value}");
        let held = switches(&gateway);
        assert_eq!((held.len(), &held[0]["origin"]), (1, &json!("environment")), "{held:?}");
        let target = format!("/v1/switches/{}", held[0]["id"].as_str().expect("it has an id"));
        let refused = api(&gateway, "DELETE", &target, &json!({ "who": "ann", "why": "all clear" })).send();
        assert_eq!((refused.status, refused.text().contains("AGENT_EMERGENCY_MODE")), (409, true));
        let (done, said, told) = emergency(&gateway, &["off", "--why", "all clear"]);
        assert!(!done && said.contains("1 emergency switch is on") && told.contains("AGENT_EMERGENCY_MODE"), "{told}");
        // A switch of the operator's beside it ends; it holds.
        turn_on(&gateway, json!({ "all": true }));
        assert!(!emergency(&gateway, &["off", "--why", "all clear"]).0);
        assert_eq!(switches(&gateway), held);
        // It is gone with the variable.
        let gateway = gateway.restart();
        assert!(switches(&gateway).is_empty() && !is_fetch_stopped(&gateway, &Call::new()));
    }
    for value in ["false", "0", ""] {
        let gateway = Folder::new("", &[&policy]).start_told(&run, &[("AGENT_EMERGENCY_MODE", value)]);
        assert!(!is_fetch_stopped(&gateway, &Call::new()), "{value}");
    }
    let mut command = Command::new(PROGRAM);
    let folder = Folder::new("", &[&policy]);
    let secrets = folder.command(&[]);
    command.args(run).current_dir(folder.root.path()).env("AGENT_EMERGENCY_MODE", "yes");
    command.envs(secrets.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().expect("it can be started");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("AGENT_EMERGENCY_MODE must be `true`"), "{told}");
}

#[test]
fn a_switch_may_end_by_itself() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let call = Call::new();
    let mut wanted = order(json!({ "all": true }));
    wanted["for"] = json!("2s");
    let started = Instant::now();
    let answer = api(&gateway, "POST", "/v1/switches", &wanted).send();
    assert!(answer.status == 201 && answer.json()["until"].is_string(), "{}", answer.text());
    assert!(is_fetch_stopped(&gateway, &call) || started.elapsed().as_secs() >= 2);
    until("its time is over", || (!is_fetch_stopped(&gateway, &call)).then_some(()));
    assert!(started.elapsed().as_millis() >= 2000);
    assert!(switches(&gateway).is_empty());
    // Somebody has to be named for that too.
    let ended = until("its end is recorded", || {
        gateway.audit().into_iter().find(|record| record["event"] == "switch" && record["action"] == "off")
    });
    assert_eq!((&ended["who"], &ended["why"]), (&json!("swaigate"), &json!("its time is over")));
}

#[test]
fn every_change_is_recorded_with_who_and_why() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let id = turn_on(&gateway, json!({ "agent": "bank", "function": "transfer_funds" }));
    // Once more is the same switch, with the later word.
    let again = json!({ "scope": { "agent": "bank", "function": "transfer_funds" }, "who": "eve", "why": "still", "for": "1h" });
    let answer = api(&gateway, "POST", "/v1/switches", &again).send();
    assert_eq!((answer.status, answer.json()["id"].as_str()), (200, Some(id.as_str())));
    turn_off(&gateway, &id);
    let records = until("three changes are recorded", || {
        let changes = gateway.audit().into_iter().filter(|record| record["event"] == "switch");
        Some(changes.collect::<Vec<_>>()).filter(|changes| changes.len() == 3)
    });
    let told: Vec<_> = records.iter().map(|record| [&record["action"], &record["who"], &record["why"]]).collect();
    assert_eq!(told, [["on", "ann", "card fraud, ticket 17"], ["on", "eve", "still"], ["off", "bob", "all clear"]]);
    for record in &records {
        assert_eq!(record["switch"], "function bank/transfer_funds");
        assert_eq!((&record["origin"], record["switch_id"].as_str()), (&json!("operator"), Some(id.as_str())));
    }
    assert!(records[1]["until"].is_string() && records[0].get("until").is_none());
    assert_eq!(gateway.metric("swaigate_switch_changes_total{action=\"on\"}"), 2);
    assert_eq!(gateway.metric("swaigate_switch_changes_total{action=\"off\"}"), 1);
    assert_eq!(gateway.metric("swaigate_switches{scope=\"function\"}"), 0);
}

#[test]
fn the_api_is_for_whoever_has_the_token_and_no_page_in_a_browser() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let all = order(json!({ "all": true }));
    let good = api(&gateway, "POST", "/v1/switches", &all);
    let with = |authorization: &str| {
        let mut request = good.clone();
        request.headers.clear();
        if authorization.is_empty() { request } else { request.header("Authorization", authorization) }
    };
    let token = gateway.kept_token("admin.token");
    let (cut, longer) = (format!("Bearer {}", &token[1..]), format!("Bearer {token}x"));
    for wrong in ["", "Bearer ", &cut, &longer, &format!("Basic {token}"), &token] {
        let started = Instant::now();
        let refused = with(wrong).send();
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{wrong}");
        assert!(started.elapsed().as_millis() >= 200, "guessing is slow");
    }
    assert_eq!(with("Bearer nothing").header("Authorization", &format!("Bearer {token}")).send().status, 401);
    assert_eq!(good.clone().header("Origin", "http://127.0.0.1").send().status, 403);
    assert_eq!(good.clone().header("Host", "rebound.example.com").send().status, 403);
    assert_eq!(good.clone().header("Host", "localhost.example.com").send().status, 403);
    assert!(switches(&gateway).is_empty());
    // What was open stays so.
    for path in ["/healthz", "/readyz", "/metrics", "/version"] {
        assert_eq!(gateway.admin(path).status, 200, "{path}");
    }
    assert_eq!(good.clone().header("Host", "localhost:9901").send().status, 201);
    assert_eq!(good.clone().header("Host", "127.0.0.1:19901").send().status, 200, "by a forwarded port");
    assert_eq!(with(&format!("bearer {token}")).send().status, 200, "the scheme has no case");
}

#[test]
fn mistakes_change_nothing_and_say_what_is_meant() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let post = |body: Value| api(&gateway, "POST", "/v1/switches", &body).send();
    let long = "x".repeat(501);
    for (body, status, words) in [
        (json!({}), 400, "missing field `scope`"),
        (json!({ "scope": { "all": true }, "who": "ann" }), 400, "missing field `why`"),
        (json!({ "scope": { "all": true }, "who": " ", "why": "x" }), 400, "`who` must be 1 to 100 characters"),
        (json!({ "scope": { "all": true }, "who": "ann", "why": "a\nb" }), 400, "`why` must be 1 to 500 characters"),
        (json!({ "scope": { "all": true }, "who": "ann", "why": long }), 400, "`why` must be 1 to 500 characters"),
        (
            json!({ "scope": { "all": true }, "who": "ann", "why": "x", "for": "15" }),
            400,
            "`for` is `15`; write a duration",
        ),
        (
            json!({ "scope": { "all": true }, "who": "ann", "why": "x", "for": "0s" }),
            400,
            "`for` must be from 1s to 720h",
        ),
        (json!({ "scope": { "all": true }, "who": "ann", "why": "x", "until": "x" }), 400, "unknown field `until`"),
        (order(json!({ "function": "f" })), 400, "`scope` must be"),
        (order(json!({ "caller": "anonymous" })), 400, "phone number"),
        (order(json!({ "agent": "bnak" })), 404, "no agent is called `bnak`; did you mean `bank`?"),
        (order(json!({ "agent": "weather", "function": "f" })), 404, "no agent is called `weather`; there is `bank`"),
        (order(json!({ "all": true, "padding": "x".repeat(17_000) })), 413, "16384 bytes"),
    ] {
        let refused = post(body.clone());
        assert_eq!(refused.status, status, "{body}: {}", refused.text());
        let said = refused.json()["error"].as_str().expect("it says what is wrong").to_owned();
        assert!(said.contains(words), "{body}: {said}");
    }
    let word = json!({ "who": "ann", "why": "x" });
    for (method, path, body, status) in [
        ("DELETE", "/v1/switches/0123456789abcdef", &word, 404),
        ("DELETE", "/v1/switches/x", &word, 404),
        ("DELETE", "/v1/switches", &word, 405),
        ("PUT", "/v1/switches", &word, 405),
        ("GET", "/v1/switches/0123456789abcdef", &Value::Null, 405),
        ("GET", "/v1/nothing", &Value::Null, 404),
    ] {
        assert_eq!(api(&gateway, method, path, body).send().status, status, "{method} {path}");
    }
    assert!(switches(&gateway).is_empty());
    // What an agent calls its functions is its own affair.
    assert_eq!(post(order(json!({ "agent": "bank", "function": "of_tomorrow" }))).status, 201);
}

#[test]
fn the_command_line_tells_plainly_what_is_in_force() {
    let policy = Policy::of(Sdk::Rust.shared().address);
    let keys = "token_keys: [{ id: a, secret_env: TOKEN_KEY }]";
    let mut gateway = Gateway::start(keys, &[&policy]);
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    let (done, said, _) = emergency(&gateway, &["status"]);
    assert!(done && said.starts_with("No emergency switch is on"), "{said}");

    let (done, said, told) = emergency(
        &gateway,
        &["on", "--agent", "bank", "--function", "get_balance", "--why", "wrong sums", "--for", "1h"],
    );
    assert!(done && said.contains("In force from the next request on: function bank/get_balance"), "{said}{told}");
    assert!(said.contains("by ann: wrong sums") && said.contains("1 emergency switch is on"), "{said}");
    assert!(is_stopped(&document, &call, "get_balance") && !is_stopped(&document, &call, "transfer_funds"));
    let (done, said, _) = emergency(&gateway, &["on", "--why", "drill", "--who", "bob"]);
    assert!(done && said.contains("everything, since") && said.contains("2 emergency switches are on"), "{said}");
    assert!(is_stopped(&document, &call, "transfer_funds"));

    let (done, said, told) = emergency(&gateway, &["off", "--caller", &call.from, "--why", "all clear"]);
    assert!(!done && said.contains("2 emergency switches are on") && told.contains("nothing was changed"), "{told}");
    let (done, said, _) = emergency(&gateway, &["off", "--why", "all clear"]);
    assert!(done && said.contains("Ended: everything") && said.contains("1 emergency switch is on"), "{said}");
    let (done, said, _) =
        emergency(&gateway, &["off", "--agent", "bank", "--function", "get_balance", "--why", "mended"]);
    assert!(done && said.contains("No emergency switch is on"), "{said}");
    assert!(!is_stopped(&document, &call, "get_balance"));

    let (done, _, told) = emergency(&gateway, &["on", "--agent", "bnak", "--why", "x"]);
    assert!(!done && told.contains("did you mean `bank`?") && told.contains("nothing was changed"), "{told}");
    let (done, _, told) = emergency(&gateway, &["on", "--function", "f", "--why", "x"]);
    assert!(!done && told.contains("--agent"), "{told}");
    let (done, _, told) = emergency(&gateway, &["on"]);
    assert!(!done && told.contains("--why"), "{told}");
    let (done, _, told) = emergency(&gateway, &["status", "--config", "other.yaml"]);
    assert!(!done && told.contains("--admin and --token-file"), "{told}");
    let admin = gateway.folder.admin.to_string();
    let by_hand = ["status", "--config", "none", "--admin", &admin, "--token-file", "state/admin.token"];
    assert!(emergency(&gateway, &by_hand).0);

    gateway.process.signal("TERM");
    gateway.process.exit();
    let (done, _, told) = emergency(&gateway, &["on", "--why", "x"]);
    assert!(!done && told.contains("is it running? Nothing was changed"), "{told}");
    fs::remove_file(gateway.folder.path("state/admin.token")).expect("it is there");
    let (done, _, told) = emergency(&gateway, &["on", "--why", "x"]);
    assert!(!done && told.contains("nothing was changed") && told.contains("sudo"), "{told}");
}

#[test]
fn without_files_switches_are_in_memory_and_the_token_is_shown() {
    let folder = Folder::new("", &[]);
    let (listen, admin) = (folder.listen.to_string(), folder.admin.to_string());
    let gateway =
        folder.start(&["run", "--upstream", &Sdk::Rust.shared().url(), "--listen", &listen, "--admin", &admin]);
    let token = until("the token is shown", || {
        let said = gateway.process.stdout();
        let line = said.lines().find(|line| line.contains("the token for /v1/"))?;
        line.rsplit(' ').next().map(str::to_owned)
    });
    let list = Request::get(&format!("http://{admin}/v1/switches"));
    assert_eq!(list.clone().header("Authorization", &format!("Bearer {token}")).send().json(), json!([]));
    assert_eq!(list.send().status, 401);
    assert!(gateway.process.stderr().contains("in memory only") && !gateway.process.stderr().contains(&token));
    assert!(!gateway.folder.path("state").exists());
}
