//! Every example of the Python SDK that starts without a network runs behind the gateway, and is there what it is alone.

mod alike;

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use alike::Alike;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::harness::{
    agent::{Agent, PASSWORD, USER},
    gateway::{Gateway, Policy},
    http::{Answer, Request},
    platform::{Call, function_call},
    tests_path,
};

/// How many run at once.
const AT_ONCE: usize = 2;

/// A row of `tests/agents/examples.yaml`, which explains the keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    example: String,
    #[serde(flatten)]
    start: Start,
    #[serde(default)]
    more: Vec<Start>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    with: BTreeMap<String, Value>,
    #[serde(default)]
    outside: BTreeMap<String, String>,
    #[serde(default)]
    varies: Vec<String>,
    left_out: Option<String>,
    says: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Start {
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    at: Vec<String>,
}

#[test]
fn each_is_behind_the_gateway_what_it_is_alone() {
    let examples = examples();
    let (next, told) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(example) = examples.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let told_of_it = catch_unwind(AssertUnwindSafe(|| example.try_out()));
                    let line = told_of_it.unwrap_or_else(|_| format!("{}: FAILED", example.example));
                    println!("{line}");
                    told.lock().expect("nobody panics with it").push(line);
                }
            });
        }
    });
    let told = told.into_inner().expect("nobody panicked with it");
    let failed: Vec<_> = told.iter().filter(|line| line.ends_with("FAILED")).collect();
    assert!(failed.is_empty(), "{failed:?}: what failed is told above");
    assert!(told.iter().filter(|line| line.contains("documents")).count() >= 40, "too few run: {told:#?}");
}

/// The table, which has a row for each example and no other.
fn examples() -> Vec<Example> {
    let text = fs::read_to_string(tests_path("agents/examples.yaml")).expect("the table");
    let examples: Vec<Example> = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    let listed: Vec<String> = examples.iter().map(|example| format!("{}.py", example.example)).collect();
    let files = fs::read_dir(folder()).expect("the SDK's examples; does tests/setup have to run?");
    let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    let mut there: Vec<String> = names.filter(|name| name.ends_with(".py")).collect();
    there.sort();
    assert_eq!(listed, there, "tests/agents/examples.yaml lists other examples than the SDK has");
    examples
}

fn folder() -> PathBuf {
    let interpreters = fs::read_dir(tests_path(".cache/venv/sdk/lib")).into_iter().flatten().flatten();
    let folders = interpreters.map(|entry| entry.path().join("site-packages/signalwire/_docs/examples"));
    folders.into_iter().find(|path| path.is_dir()).expect("the SDK's examples; does tests/setup have to run?")
}

// === impl Example ===

impl Example {
    /// Runs it, or finds out that it can't be; a line for the report.
    fn try_out(&self) -> String {
        let file = folder().join(format!("{}.py", self.example));
        if let Some(reason) = &self.left_out {
            self.is_left_out_rightly(&file);
            return format!("{}: left out, it {reason}", self.example);
        }
        let mut told = Told::default();
        for start in std::iter::once(&self.start).chain(&self.more) {
            self.run(&file, start, &mut told);
        }
        let Told { documents, urls, unmediated, called, skipped } = told;
        let unmediated = if unmediated.is_empty() { String::new() } else { format!(", {unmediated:?} not mediated") };
        let skipped = if skipped.is_empty() { String::new() } else { format!(", left out {skipped:?}") };
        format!("{}: {documents} documents, {urls} URLs, {called} functions called{unmediated}{skipped}", self.example)
    }

    fn is_left_out_rightly(&self, file: &Path) {
        if self.says.is_none() && self.start.at.is_empty() {
            return;
        }
        match (Agent::example(file, &[], &self.environment), &self.says) {
            (Err(printed), Some(says)) => {
                assert!(printed.contains(says), "{}: {says} is not in {printed}", self.example)
            }
            (Ok(agent), None) => {
                let status = agent.request("POST", &self.start.at[0]).try_send().map(|answer| answer.status);
                assert!(status.as_ref().is_ok_and(|status| *status >= 500), "{}: {status:?}", self.example);
            }
            (Ok(_), Some(_)) => panic!("{} serves after all", self.example),
            (Err(printed), None) => panic!("{} does not serve: {printed}", self.example),
        }
    }

    fn run(&self, file: &Path, start: &Start, told: &mut Told) {
        let agent = Agent::example(file, &start.arguments, &self.environment)
            .unwrap_or_else(|printed| panic!("{} does not serve: {printed}", self.example));
        for at in &start.at {
            let (path, query) = at.split_once('?').map_or((at.as_str(), String::new()), |(p, q)| (p, format!("?{q}")));
            let trip = Trip {
                example: self,
                agent: &agent,
                slash: if path.len() > 1 && path.ends_with('/') { "/" } else { "" },
            };
            trip.take(path.trim_end_matches('/'), &query, told);
        }
    }
}

/// What is told of an example.
#[derive(Default)]
struct Told {
    documents: usize,
    urls: usize,
    unmediated: Vec<String>,
    called: usize,
    skipped: Vec<String>,
}

/// One of its documents, and all that is in it.
struct Trip<'e> {
    example: &'e Example,
    agent: &'e Agent,
    /// What ends the path of its document.
    slash: &'static str,
}

impl Trip<'_> {
    fn take(&self, path: &str, query: &str, told: &mut Told) {
        let name = &self.example.example;
        let base = if path.is_empty() { "/" } else { path };
        let gateway = Policy::of(self.agent.address).named("example").at(base).start();
        let call = Call::new();
        let target = format!("{path}{}{query}", if path.is_empty() { "/" } else { self.slash });
        // Some take what they were configured with for their own address, unless they are told, as the gateway does.
        let host = self.agent.address.to_string();
        let told_where = self.agent.request("GET", &target).header("X-Forwarded-Host", &host);
        let own = self.fetch(told_where.header("X-Forwarded-Proto", "http"), &call);
        let through = self.fetch(gateway.request("GET", &target), &call);
        assert_eq!((own.status, through.status), (200, 200), "{name} at {target}: {} {}", own.text(), through.text());
        let alike = Alike { agent: self.agent, gateway: &gateway };
        let seen =
            alike.check(&own.json(), &through.json()).unwrap_or_else(|error| panic!("{name} at {target}: {error}"));
        alike.leaks_nothing(through.text()).unwrap_or_else(|error| panic!("{name} at {target}: {error}"));

        let record = gateway.record_of(&through);
        let noted = record["not_mediated"].as_array().cloned().unwrap_or_default();
        for function in &seen.around {
            // What is no name names no function, also to the SDK.
            let is_noted = noted.iter().any(|noted| noted["what"] == **function || noted["how"] == "unsuited");
            assert!(is_noted, "{name}: {function} doesn't pass through the gateway, and nothing says so: {noted:?}");
        }
        told.documents += 1;
        told.urls += seen.urls;
        told.unmediated
            .extend(noted.iter().map(|noted| format!("{} {}", noted["what"], noted["how"]).replace('"', "")));
        for function in &seen.functions {
            self.call(function, &call, &gateway, told);
        }
    }

    fn fetch(&self, request: Request, call: &Call) -> Answer {
        let request = Request { method: "POST", body: call.to_string().into_bytes(), ..request };
        request.header("Content-Type", "application/json").send()
    }

    fn call(&self, function: &alike::Function, call: &Call, gateway: &Gateway, told: &mut Told) {
        let (example, name) = (&self.example.example, &function.name);
        if let Some(service) = self.example.outside.get(name) {
            told.skipped.push(format!("{name}, which asks {service}"));
            return;
        }
        let arguments = self.example.with.get(name).cloned().unwrap_or_else(|| made_up(&function.parameters));
        let body = function_call(call, name, &arguments).to_string();
        let ask = |url: &str| Request::post(url, body.clone()).send();
        let (own, through) = (ask(&function.own_url), ask(&function.url));
        assert_eq!((own.status, through.status), (200, 200), "{example} {name}: {} {}", own.text(), through.text());
        assert!(!own.text().contains("token for this function is invalid"), "{example} {name}: {}", own.text());
        let alike = Alike { agent: self.agent, gateway };
        let checked = if self.example.varies.contains(name) {
            alike::same_shape(&own.json(), &through.json())
        } else {
            alike.check(&own.json(), &through.json()).map(drop)
        };
        checked.unwrap_or_else(|error| panic!("{example} {name}: {error}\n{}\n{}", own.text(), through.text()));
        alike.leaks_nothing(through.text()).unwrap_or_else(|error| panic!("{example} {name}: {error}"));
        told.called += 1;
    }
}

/// Arguments that fit a function's published parameters.
fn made_up(parameters: &Value) -> Value {
    let properties = parameters["properties"].as_object();
    let values = properties.into_iter().flatten().map(|(name, schema)| (name.clone(), made_up_value(schema)));
    Value::Object(values.collect::<Map<_, _>>())
}

fn made_up_value(schema: &Value) -> Value {
    match (schema["enum"].get(0), schema["type"].as_str()) {
        (Some(first), _) => first.clone(),
        (None, Some("integer")) => json!(3),
        (None, Some("number")) => json!(2.5),
        (None, Some("boolean")) => json!(true),
        (None, Some("array")) => json!([]),
        (None, Some("object")) => made_up(schema),
        (None, _) => json!("2 + 3"),
    }
}

/// What opens the agent is nowhere in what leaves.
const SECRETS: [&str; 2] = [USER, PASSWORD];
