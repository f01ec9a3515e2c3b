//! The operator's API: what the document says of it is so.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    time::Duration,
};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::harness::{
    agent::{PASSWORD, Sdk},
    gateway::{Folder, GATEWAY_PASSWORD, Gateway, Policy},
    http::{Answer, Request},
    platform::{Call, Platform},
    process::Process,
    until,
};

const VIEWER: &str = "a-viewers-token-of-at-least-32-characters";
const OPERATOR: &str = "an-operators-token-of-at-least-32-chars";
const LISTED: [(&str, &str); 1] = [("VIEWER_TOKEN", VIEWER)];

fn document(gateway: &Gateway) -> Value {
    gateway.api("GET", "/v1/openapi.json", &Value::Null).send().json()
}

/// The path of an operation that is there for whoever may ask.
fn target(path: &str) -> String {
    let query = match path {
        "/v1/limits" => "?caller=%2B15551230001",
        "/v1/decisions" => "?limit=5",
        _ => "",
    };
    path.replace("{name}", "bank").replace("{id}", "0123456789abcdef") + query
}

/// A body that an operation takes.
fn taken(path: &str) -> Value {
    let word = |more: Value| {
        let mut body = json!({ "who": "ann", "why": "a test" });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let state = json!({ "format": "swaigate-state", "version": 1, "exported": "2026-11-24T16:00:00.000Z",
        "switches": [], "lockouts": [] });
    match path {
        "/v1/switches" => word(json!({ "scope": { "agent": "bank", "function": "f" } })),
        "/v1/lockouts" => word(json!({ "subject": { "address": "192.0.2.1" } })),
        "/v1/state" => word(json!({ "state": state })),
        _ => word(json!({})),
    }
}

fn operations(document: &Value) -> Vec<(&'static str, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let method = ["GET", "POST", "DELETE"].into_iter().find(|it| it.eq_ignore_ascii_case(method));
            found.push((method.expect("a known method"), path.clone(), operation.clone()));
        }
    }
    found
}

fn ask(gateway: &Gateway, method: &'static str, path: &str, token: Option<&str>) -> Answer {
    let body = if method == "GET" { Value::Null } else { taken(path) };
    let request = gateway.api(method, &target(path), &body).anonymous();
    token.map_or(request.clone(), |token| request.header("Authorization", &format!("Bearer {token}"))).send()
}

/// Whether an answer is of the form that the document says it has.
fn check_form(document: &Value, operation: &Value, answer: &Answer) {
    let described = &operation["responses"][answer.status.to_string()];
    assert!(
        described.is_object(),
        "{}: {} is not described: {}",
        operation["operationId"],
        answer.status,
        answer.text()
    );
    let mut schema = described["content"]["application/json"]["schema"].clone();
    schema["components"] = document["components"].clone();
    let validator: Validator = jsonschema::draft202012::new(&schema).expect("it is a schema");
    if let Err(error) = validator.validate(&answer.json()) {
        panic!("{}: {error}: {}", operation["operationId"], answer.text());
    }
}

/// A gateway that lists tokens.
fn gateway_with_tokens() -> Gateway {
    let policy = Policy::of(Sdk::Rust.shared().address);
    let folder = Folder::new("", &[&policy]);
    let tokens = "tokens: [{ role: viewer, token_env: VIEWER_TOKEN }, { role: operator, token_file: operator }]";
    let (listen, admin) = (folder.listen, folder.admin);
    folder.write("operator", &format!("{OPERATOR}\n"));
    folder.write(
        "gateway.yaml",
        &format!("listen: [{{ address: \"{listen}\" }}]\nadmin: {{ address: \"{admin}\", {tokens} }}\n"),
    );
    folder.start_told(&["run", "--config", "gateway.yaml"], &LISTED)
}

#[test]
fn each_role_may_what_the_document_says() {
    let gateway = gateway_with_tokens();
    let (kept_operator, kept_viewer) = (gateway.kept_token("admin.token"), gateway.kept_token("viewer.token"));
    let document = document(&gateway);
    let operations = operations(&document);
    assert_eq!(operations.len(), 16);
    for (method, path, operation) in &operations {
        let is_for_viewers = operation["x-role"] == "viewer";
        assert_eq!(is_for_viewers, *method == "GET", "{method} {path}: who looks changes nothing");
        let nobody = ask(&gateway, method, path, None);
        assert_eq!(nobody.status, 401, "{method} {path}");
        check_form(&document, operation, &nobody);
        for viewer in [VIEWER, &kept_viewer] {
            let answer = ask(&gateway, method, path, Some(viewer));
            assert_eq!(answer.status == 403, !is_for_viewers, "{method} {path}: {}", answer.text());
            check_form(&document, operation, &answer);
        }
    }
    let orders = |what: &str| gateway.api("GET", &format!("/v1/{what}"), &Value::Null).send().json();
    assert_eq!([orders("switches"), orders("lockouts")], [json!([]), json!([])], "no viewer has changed anything");
    for (method, path, operation) in &operations {
        for operator in [OPERATOR, &kept_operator] {
            let answer = ask(&gateway, method, path, Some(operator));
            let is_of_nothing = path.contains("{id}");
            assert_eq!(answer.status, if is_of_nothing { 404 } else { answer.status.min(201) }, "{method} {path}");
            check_form(&document, operation, &answer);
        }
    }
}

#[test]
fn answers_are_of_the_form_that_the_document_gives_them() {
    let policy = Policy::of(Sdk::Rust.shared().address)
        .and("limits: [{ per: caller, allow: 5, every: 1m }]\ncalls: { concurrent_per_caller: 3 }\nfunctions: { get_balance: { once: true } }");
    let gateway = policy.start();
    let call = Call::new();
    let answers = gateway.platform().fetch(&call);
    Platform::call_function(&answers, &call, "get_balance", &json!({ "account": "1" }));
    gateway.platform().with_user("nobody", "x").fetch_request("", &call).send();
    for (path, body) in [
        (
            "/v1/switches",
            json!({ "scope": { "caller": "+15550000009", "agent": "bank" }, "who": "a", "why": "b", "for": "1h" }),
        ),
        ("/v1/switches", json!({ "scope": { "agent": "bank", "function": "g" }, "who": "a", "why": "b" })),
        ("/v1/lockouts", json!({ "subject": { "caller": "+15550000009" }, "who": "a", "why": "b", "for": "1h" })),
        ("/v1/lockouts", json!({ "subject": { "user": "nobody" }, "who": "a", "why": "b" })),
    ] {
        assert_eq!(gateway.api("POST", path, &body).send().status, 201, "{body}");
    }
    let document = document(&gateway);
    let number = call.from.replace('+', "%2B");
    let head = || gateway.api("GET", "/v1/audit/head", &Value::Null).send().json();
    until("all of it is recorded", || (head()["seq"].as_u64() >= Some(6)).then_some(()));
    for (path, query, status) in [
        ("/v1/status", "", 200),
        ("/v1/agents", "", 200),
        ("/v1/agents/bank/policy", "", 200),
        ("/v1/agents/bank/policy", "?function=transfer_funds", 200),
        ("/v1/agents/bnak/policy", "", 404),
        ("/v1/agents/bank/policy", "?function=a%20b", 400),
        ("/v1/agents/bank/policy", "?what=x", 400),
        ("/v1/limits", &format!("?caller={number}"), 200),
        ("/v1/limits", "", 400),
        ("/v1/limits", "?caller=anonymous", 400),
        ("/v1/decisions", "", 200),
        ("/v1/decisions", "?limit=0", 400),
        ("/v1/decisions", "?reason=nothing", 400),
        ("/v1/decisions", "?agent=bank&agent=bank", 400),
        ("/v1/audit/head", "", 200),
        ("/v1/switches", "", 200),
        ("/v1/lockouts", "", 200),
        ("/v1/state", "", 200),
    ] {
        let answer = gateway.api("GET", &format!("{path}{query}"), &Value::Null).send();
        assert_eq!(answer.status, status, "{path}{query}: {}", answer.text());
        let templated = path.replace("/bank/", "/{name}/").replace("/bnak/", "/{name}/");
        check_form(&document, &document["paths"][templated]["get"], &answer);
    }
    let refused = gateway.api("PUT", "/v1/switches", &json!({})).send();
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, POST")));
    let head = Request { method: "HEAD", ..gateway.api("GET", "/v1/status", &Value::Null) }.send();
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn limits_tell_what_a_caller_has_left_and_count_nothing() {
    let policy = Policy::of(Sdk::Rust.shared().address)
        .and("limits: [{ per: caller, allow: 5, every: 1h }]\ncalls: { concurrent_per_caller: 3 }");
    let gateway = policy.start();
    let call = Call::new();
    let number = call.from.replace('+', "%2B");
    let usage = |query: &str| gateway.api("GET", &format!("/v1/limits?{query}"), &Value::Null).send().json();
    assert_eq!(usage(&format!("caller={number}"))["limits"], json!([]), "nothing is used");
    let document = gateway.platform().fetch(&call);
    for used in 1..=5 {
        let answer = Platform::call_function(&document, &call, "get_balance", &json!({ "account": used.to_string() }));
        assert_eq!(answer.status, 200);
        let told = usage(&format!("caller={number}"));
        let limits = told["limits"].as_array().expect("a list").iter();
        let functions = limits.clone().find(|limit| limit["of"] == "functions").expect("it is used");
        assert_eq!((&functions["left"], &functions["allow"]), (&json!(5 - used), &json!(5)), "{told}");
        assert_eq!(told["calls"], json!([{ "agent": "bank", "under_way": 1 }]));
    }
    assert_eq!(
        usage(&format!("caller={}", call.from.replace('+', "")))["limits"][0]["agent"],
        "bank",
        "with + and without"
    );
    assert_eq!(usage(&format!("caller={number}&agent=shop"))["limits"], json!([]));
    assert_eq!(usage("caller=%2B15550000042")["limits"], json!([]));
}

#[test]
fn the_last_decisions_are_told_without_secrets() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    Platform::call_function(&document, &call, "get_balance", &json!({ "account": "4711-secret" }));
    gateway.request("GET", "/nothing").anonymous().send();
    let decisions = |query: &str| {
        let answer = gateway.api("GET", &format!("/v1/decisions{query}"), &Value::Null).send();
        let text = answer.text().to_owned();
        for secret in ["4711", "gw_token", call.from.trim_start_matches('+')] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        answer.json().as_array().expect("a list").clone()
    };
    let all = until("all three are there", || Some(decisions("")).filter(|all| all.len() == 3));
    let told: Vec<_> = all.iter().map(|it| [&it["route"], &it["reason"], &it["function"]]).collect();
    let null = Value::Null;
    let [unknown, swaig, swml] = ["unknown", "swaig", "swml"].map(Value::from);
    let [not_found, ok, function] = ["not_found", "ok", "get_balance"].map(Value::from);
    assert_eq!(told, [[&unknown, &not_found, &null], [&swaig, &ok, &function], [&swml, &ok, &null]]);
    let digest = all[1]["caller_digest"].as_str().expect("the caller is known").to_owned();
    assert_eq!(decisions(&format!("?caller={digest}")).len(), 2);
    assert_eq!(decisions(&format!("?caller={}", call.from.replace('+', "%2B"))).len(), 2);
    assert_eq!(decisions("?agent=bank&limit=1")[0]["route"], "swaig");
    assert_eq!(decisions("?reason=not_found").len(), 1);
    assert_eq!(decisions("?agent=shop").len(), 0);
}

#[test]
fn the_effective_policy_is_what_explain_tells_and_no_secret_is_in_it() {
    let more = "limits: [{ per: caller, allow: 5, every: 1h }]\nfunctions: { transfer_funds: { once: true } }";
    let gateway = Policy::of(Sdk::Rust.shared().address).and(more).start();
    let answer = gateway.api("GET", "/v1/agents/bank/policy", &Value::Null).send();
    let told = answer.json();
    let function = &told["functions"][0];
    assert_eq!((&told["agent"], &function["function"]), (&json!("bank"), &json!("transfer_funds")));
    let once = function["keys"].as_array().expect("keys").iter().find(|key| key["key"] == "once").expect("it is there");
    assert_eq!((&once["value"], &once["level"]), (&json!(true), &json!("function")));
    let (code, explained, _) = gateway.folder.run_to_the_end(&["explain", "bank", "transfer_funds", "--json"]);
    let explained: Value = serde_json::from_str(&explained).expect("it is JSON");
    assert_eq!(code, Some(0));
    assert_eq!((&explained["keys"], &explained["of_agent"]), (&function["keys"], &told["keys"]));
    let agents = gateway.api("GET", "/v1/agents", &Value::Null).send();
    for secret in [GATEWAY_PASSWORD, PASSWORD] {
        assert!(!answer.text().contains(secret) && !agents.text().contains(secret));
    }
    assert_eq!(agents.json()[0]["name"], "bank");
}

#[test]
fn a_reload_that_is_asked_for_says_what_becomes_of_it() {
    let policy = Policy::of(Sdk::Rust.shared().address);
    let gateway = policy.start();
    let reload = || gateway.api("POST", "/v1/reload", &json!({ "who": "ann", "why": "new limits" })).send();
    let good = reload();
    assert_eq!((good.status, good.json()), (200, json!({ "agents": 1 })));
    gateway.folder.write_policy("bank", &policy.clone().and("limtis: []").yaml());
    let refused = reload();
    let said = refused.json()["error"].as_str().expect("it says why").to_owned();
    assert!(refused.status == 422 && said.contains("limits") && said.contains("bank.yaml"), "{said}");
    let (done, told, _) = gateway.operator(&["status"]);
    assert!(done && told.contains("REFUSED") && told.contains("did you mean"), "{told}");
    gateway.folder.write_policy("bank", &policy.yaml());
    assert_eq!(reload().status, 200);
    assert!(!gateway.operator(&["status"]).1.contains("REFUSED"));
    let records = until("three are recorded", || {
        let records =
            gateway.audit().into_iter().filter(|record| record["event"] == "configuration").collect::<Vec<_>>();
        (records.len() == 3).then_some(records)
    });
    let told: Vec<_> = records.iter().map(|record| [&record["action"], &record["who"], &record["why"]]).collect();
    let [loaded, refused, who, why] = ["loaded", "refused", "ann", "new limits"].map(Value::from);
    assert_eq!(told, [[&loaded, &who, &why], [&refused, &who, &why], [&loaded, &who, &why]]);
}

#[test]
fn status_tells_people_and_programs_how_the_gateway_is() {
    let mut gateway = Policy::of(Sdk::Rust.shared().address).start();
    assert!(gateway.operator(&["emergency", "on", "--agent", "bank", "--why", "drill"]).0);
    assert!(gateway.operator(&["lockout", "on", "--user", "nobody", "--why", "left"]).0);
    let (done, told, complaint) = gateway.operator(&["status"]);
    assert!(done, "{complaint}");
    for words in [": ready", "1 agents", "agent bank, since", "by ann: drill", "user nobody, since", "by ann: left"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let (done, json, _) = gateway.operator(&["status", "--json"]);
    let status: Value = serde_json::from_str(&json).expect("it is JSON");
    assert!(done && status["ready"] == true && status["lockouts"][0]["why"] == "left", "{json}");
    let mut now = gateway.api("GET", "/v1/status", &Value::Null).send().json();
    now["uptime_seconds"] = status["uptime_seconds"].clone();
    assert_eq!(status, now);
    let (done, told, _) = gateway.operator(&["status", "--token-file", "state/viewer.token"]);
    assert!(done && told.contains(": ready"), "a viewer may look: {told}");
    gateway.process.signal("TERM");
    gateway.process.exit();
    let (done, _, told) = gateway.operator(&["status"]);
    assert!(!done && told.contains("is it running?"), "{told}");
}

#[test]
fn pages_in_a_browser_see_neither_the_metrics_nor_the_version() {
    let gateway = Policy::of(Sdk::Rust.shared().address).start();
    let get = |path: &str| Request::get(&format!("http://{}{path}", gateway.folder.admin));
    for path in ["/metrics", "/version"] {
        assert_eq!(get(path).send().status, 200, "{path}");
        assert_eq!(get(path).header("Host", "rebound.example.com").send().status, 403, "{path}");
        assert_eq!(get(path).header("Origin", "http://127.0.0.1").send().status, 403, "{path}");
        assert_eq!(get(path).header("Host", "localhost:1").send().status, 200, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(path).header("Host", "probe.example.com").send().status, 200, "{path}");
    }
}

/// A request to a socket, by a client that is not the gateway's.
fn by_socket(socket: &Path, head: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("it can be set");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_socket_serves_whoever_may_open_it_and_commands_find_it() {
    let policy = Policy::of(Sdk::Rust.shared().address);
    let folder = Folder::new("", &[&policy]);
    let (listen, socket, admin) = (folder.listen, folder.path("admin.sock"), folder.admin);
    folder.write("gateway.yaml", &format!("listen: [{{ address: \"{listen}\" }}]\nadmin: {{ unix: admin.sock }}\n"));
    let start = |folder: &Folder| {
        let process = Process::start(folder.command(&["run", "--config", "gateway.yaml"]), folder.root.path());
        let ready = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        until("it is ready", || by_socket(&socket, ready).filter(|answer| answer.contains("200 OK")));
        process
    };
    let gateway = Gateway { process: start(&folder), folder };
    assert_eq!(fs::metadata(&socket).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert!(std::net::TcpStream::connect(admin).is_err(), "there is no address besides");
    let listed = "GET /v1/switches HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(by_socket(&socket, listed).expect("an answer").contains("401"), "the token is needed here too");
    let (done, said, told) = gateway.operator(&["emergency", "on", "--agent", "bank", "--why", "drill"]);
    assert!(done && said.contains("1 emergency switch is on at") && said.contains("admin.sock"), "{said}{told}");
    let by_hand = ["status", "--config", "none", "--admin", "./admin.sock", "--token-file", "state/admin.token"];
    let (done, said, told) = gateway.operator(&by_hand);
    assert!(done && said.contains("by ann: drill"), "{said}{told}");
    // What a crash leaves behind is replaced, and nothing else is.
    let mut gateway = gateway.kill();
    assert!(socket.exists());
    gateway.process = start(&gateway.folder);
    assert!(gateway.operator(&["status"]).1.contains("by ann: drill"));
    let (_, _, told) = gateway.folder.run_to_the_end(&["run", "--config", "gateway.yaml"]);
    assert!(told.contains("can't be listened on") || told.contains("another process has it open"), "{told}");
    gateway.process.signal("TERM");
    gateway.process.exit();
    let _ = fs::remove_file(&socket);
    fs::write(&socket, "a file").expect("the folder can be written");
    let (code, _, told) = gateway.folder.run_to_the_end(&["run", "--config", "gateway.yaml"]);
    assert!(code == Some(1) && told.contains("something that is no socket has this name"), "{told}");
    assert_eq!(fs::read_to_string(&socket).expect("it is there"), "a file");
}
