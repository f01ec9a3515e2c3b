//! The schemas know the keys that the loaders know, and take the files that they take.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use jsonschema::Validator;
use serde_json::{Value, json};
use swaigate::{schema::Schema, settings};
use swaigate_core::{
    keys::MacKey,
    policy::{Secrets, Seed, compile, keys_of},
    record::Rule,
    secret::Secret,
};

const POLICY: &str = include_str!("policy.yaml");
const GATEWAY: &str = include_str!("gateway.yaml");

const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$Jj3HHfVBGsHkrvzcgRvwqw";

/// Whatever secret a file asks for.
struct Any;

impl Secrets for Any {
    fn env(&self, name: &str) -> Option<Secret> {
        let of = |part: &str| name.contains(part);
        let value = if of("HASH") {
            HASH.to_owned()
        } else if of("TOTP") {
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned()
        } else {
            format!("{name}: enough bytes for any use of a secret")
        };
        Some(Secret::new(if of("USER") { "user".to_owned() } else { value }))
    }

    fn file(&self, path: &str) -> Result<Secret, String> {
        self.env(path).ok_or_else(String::new)
    }
}

fn seed() -> Seed {
    Seed { process_key: MacKey::new(b"process"), generated_password: Secret::new("generated") }
}

fn validator(schema: Schema) -> Validator {
    jsonschema::draft202012::new(&tree(schema)).expect("the schema is one")
}

fn tree(schema: Schema) -> Value {
    serde_json::from_str(schema.text()).expect("the schema is JSON")
}

fn json(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What the loader has against a text; for `gateway.yaml`, but for secrets and certificates that aren't there.
fn mistakes(schema: Schema, text: &str) -> Vec<String> {
    let found = match schema {
        Schema::Policy => compile("p.yaml", text, &Any, &seed()).map(drop),
        Schema::Gateway => {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("gateway.yaml");
            fs::write(&path, text).expect("it can be written");
            settings::load(&path).map(drop)
        }
    };
    let mistakes = found.err().unwrap_or_default().into_iter().map(|mistake| mistake.to_string());
    let is_there =
        |mistake: &String| !mistake.ends_with("is not set") && !mistake.contains("can't be used: No such file");
    mistakes.filter(is_there).collect()
}

/// The keys of a schema, spelt as the loaders spell them.
pub(crate) fn keys(schema: Schema) -> BTreeSet<String> {
    let tree = tree(schema);
    let mut keys = BTreeSet::new();
    collect(&tree, &tree, "", &mut keys);
    keys
}

fn collect(tree: &Value, node: &Value, path: &str, keys: &mut BTreeSet<String>) {
    if !node.is_object() {
        return;
    }
    if let Some(name) = node["$ref"].as_str() {
        let target = tree.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is nowhere"));
        collect(tree, target, path, keys);
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in node["properties"].as_object().into_iter().flatten() {
        keys.insert(below(key));
        collect(tree, value, &below(key), keys);
    }
    for value in node["patternProperties"].as_object().into_iter().flat_map(|all| all.values()) {
        collect(tree, value, &below("*"), keys);
    }
    collect(tree, &node["additionalProperties"], &below("*"), keys);
    collect(tree, &node["items"], &format!("{path}[]"), keys);
    for alternative in ["oneOf", "anyOf", "allOf"].iter().filter_map(|key| node[key].as_array()).flatten() {
        collect(tree, alternative, path, keys);
    }
}

#[test]
fn the_schemas_know_the_keys_of_the_loaders() {
    for (schema, loader) in
        [(Schema::Policy, keys_of(POLICY, &Any, &seed())), (Schema::Gateway, settings::keys_of(GATEWAY))]
    {
        let keys = keys(schema);
        let [unknown, missing] = [keys.difference(&loader), loader.difference(&keys)].map(Vec::from_iter);
        assert!(unknown.is_empty(), "{schema:?}: no loader takes {unknown:?}; or tests/keys has no mapping for it");
        assert!(missing.is_empty(), "{schema:?}: not in policies/schema: {missing:?}");
    }
}

#[test]
fn the_words_in_the_schema_are_those_of_the_loader() {
    let tree = tree(Schema::Policy);
    let words = |pointer: &str| -> BTreeSet<String> {
        let words = tree.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("{pointer}"));
        words.iter().map(|word| word.as_str().expect("it is a word").to_owned()).collect()
    };
    let verbs = swaigate_core::verb::KNOWN.map(str::to_owned);
    assert_eq!(words("/$defs/verb/enum"), verbs.into());
    let rules = |is_there: fn(Rule) -> bool| {
        Rule::ALL
            .into_iter()
            .filter(|rule| is_there(*rule))
            .map(|rule| rule.as_str().to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(words("/properties/shadow/items/enum"), rules(Rule::is_of_agents));
    assert_eq!(words("/$defs/function/properties/shadow/items/enum"), rules(Rule::is_of_functions));
}

#[test]
fn the_files_with_every_mapping_are_right() {
    for (schema, text) in [(Schema::Policy, POLICY), (Schema::Gateway, GATEWAY)] {
        assert_eq!(mistakes(schema, text), [] as [&str; 0]);
    }
}

/// Every YAML file of a folder that is a policy or a gateway.yaml, and those of the golden worlds.
fn shipped() -> Vec<(String, Schema, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["policies", "deploy", "tests/keys", "tests/golden/worlds"] {
        let mut paths = Vec::new();
        yaml_files(&root.join(folder), &mut paths);
        for path in paths {
            let text = fs::read_to_string(&path).expect("it is UTF-8");
            // Kubernetes' own, of which there may be several in a file.
            if text.contains("apiVersion:") {
                continue;
            }
            let (name, value) = (path.display().to_string(), json(&text));
            let listed = value["policies"].as_array().into_iter().flatten();
            let policies = listed.filter_map(Value::as_str).map(|text| (name.clone(), Schema::Policy, json(text)));
            files.extend(policies);
            let is_policy = value.get("agent").is_some() && value.get("upstream").is_some();
            let schema = if is_policy { Schema::Policy } else { Schema::Gateway };
            if is_policy || value.get("listen").is_some() {
                files.push((name, schema, value));
            }
        }
    }
    files
}

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_in_the_repository_is_right_by_its_schema() {
    let files = shipped();
    assert!(files.len() > 10, "{files:?}");
    let validators = [Schema::Policy, Schema::Gateway].map(|schema| (schema, validator(schema)));
    for (name, schema, value) in files {
        let (_, validator) = validators.iter().find(|(of, _)| *of == schema).expect("both are there");
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

#[test]
fn what_the_loader_refuses_is_wrong_in_an_editor_too() {
    let policy = "agent: a\nupstream: { url: http://a }\n";
    let upstream = "agent: a\nupstream: { url: http://a, ";
    let gateway = "listen: [{ address: \"127.0.0.1:80\" }]\n";
    let cases = [
        (Schema::Policy, "", "agent: a"),
        (Schema::Policy, "", "agent: a b\nupstream: { url: http://a }"),
        (Schema::Policy, "", "agent: a\nupstream: { url: ftp://a }"),
        (Schema::Policy, "", "agent: a\nupstream: { url: http://u:p@a }"),
        (Schema::Policy, upstream, "username: a }"),
        (Schema::Policy, upstream, "password_env: A }"),
        (Schema::Policy, upstream, "username: a, password_env: A, password_file: b }"),
        (Schema::Policy, upstream, "signing_key_env: A, signing_key_file: b }"),
        (Schema::Policy, upstream, "signing_base: https://a }"),
        (Schema::Policy, upstream, "timeouts: { connect: 5 } }"),
        (Schema::Policy, upstream, "aliases: [https://a/b] }"),
        (Schema::Policy, upstream, "servers: [] }"),
        (Schema::Policy, upstream, "servers: [http://b:1] }"),
        (Schema::Policy, upstream, "servers: [{ weight: 1 }] }"),
        (Schema::Policy, upstream, "servers: [b, c], eject: { failures: 0 } }"),
        (Schema::Policy, upstream, "eject: { failures: 1 } }"),
        (Schema::Policy, upstream, "servers: [b], eject: { failures: 1 } }"),
        (Schema::Policy, upstream, "health: { every: 1s } }"),
        (Schema::Policy, upstream, "health: { path: up } }"),
        (Schema::Policy, upstream, "health: { path: //up } }"),
        (Schema::Policy, upstream, "health: { path: '/a b' } }"),
        (Schema::Policy, upstream, "health: { path: /, expect: 100 } }"),
        (Schema::Policy, upstream, "breaker: { for: 5 } }"),
        (Schema::Policy, upstream, "max_in_flight: 0 }"),
        (Schema::Policy, upstream, "tls: { certificate: a } }"),
        (Schema::Policy, upstream, "tls: { insecure_skip_verify: 1 } }"),
        (Schema::Policy, policy, "limit: []"),
        (Schema::Policy, policy, "match: { path: bank }"),
        (Schema::Policy, policy, "match: { path: /bank/ }"),
        (Schema::Policy, policy, "match: { host: https://a }"),
        (Schema::Policy, policy, "platform: { users: [] }"),
        (Schema::Policy, policy, "platform: { users: [{ username: a }] }"),
        (Schema::Policy, policy, "platform: { users: [{ username: call, password_env: A }] }"),
        (Schema::Policy, policy, "platform: { users: [{ username: a, password_env: A, password_file: b }] }"),
        (Schema::Policy, policy, "platform: { signature: all }"),
        (Schema::Policy, policy, "platform: { signature: some, signing_keys_env: [A] }"),
        (Schema::Policy, policy, "platform: { signing_keys_env: [A], signing_keys_file: [b] }"),
        (Schema::Policy, policy, "tokens: { lifetime: 4 }"),
        (Schema::Policy, policy, "tokens: { unbound: deny, bind_within: 1m }"),
        (Schema::Policy, policy, "limits: [{ per: caler, allow: 1, every: 1m }]"),
        (Schema::Policy, policy, "limits: [{ per: caller, allow: 0, every: 1m }]"),
        (Schema::Policy, policy, "limits: [{ per: caller, allow: 1 }]"),
        (Schema::Policy, policy, "limits: [{ per: [agent, call], allow: 1, every: 1m }]"),
        (Schema::Policy, policy, "calls: { idle: 1h }"),
        (Schema::Policy, policy, "calls: { max_duration: 25 }"),
        (Schema::Policy, policy, "prompt: { append: [boundaries] }"),
        (Schema::Policy, policy, "prompt: { append: [{ title: a }] }"),
        (Schema::Policy, policy, "prompt: { append: [{ title: a, body: ' ' }] }"),
        (Schema::Policy, policy, "verbs: { deny: [recordcall] }"),
        (Schema::Policy, policy, "destinations: { allow: [] }"),
        (Schema::Policy, policy, "destinations: { allow: [unidentified] }"),
        (Schema::Policy, policy, "destinations: { templates: ['${a}'] }"),
        (Schema::Policy, policy, "destinations: { deny: ['+1*'], templates: [a] }"),
        (Schema::Policy, policy, "egress: { allow: ['https://a'] }"),
        (Schema::Policy, policy, "egress: { allow: ['*'] }"),
        (Schema::Policy, policy, "egress: { assets: true }"),
        (Schema::Policy, policy, "responses: { redact: [cards] }"),
        (Schema::Policy, policy, "responses: { redact: [{ name: a }] }"),
        (Schema::Policy, policy, "mode: off"),
        (Schema::Policy, policy, "shadow: [once]"),
        (Schema::Policy, policy, "functions: { a b: {} }"),
        (Schema::Policy, policy, "functions: { hangup_hook: {} }"),
        (Schema::Policy, policy, "functions: { a: { publich: false } }"),
        (Schema::Policy, policy, "functions: { a: { requires: [{ function: b }] } }"),
        (Schema::Policy, policy, "functions: { a: { pin: { b: caller_id } } }"),
        (Schema::Policy, policy, "functions: { a: { shadow: [calls] } }"),
        (Schema::Policy, policy, "functions: { a: { arguments: known } }"),
        (Schema::Policy, policy, "functions: { a: { lenient: [typos] } }"),
        (Schema::Policy, policy, "functions: { a: { hours: { zone: UTC, open: [] } } }"),
        (Schema::Policy, policy, "functions: { a: { hours: { zone: UTC, open: ['08:00-18:00'], holidays: [May] } } }"),
        (Schema::Policy, policy, "functions: { a: { callers: {} } }"),
        (Schema::Policy, policy, "functions: { a: { confirm: {} } }"),
        (Schema::Policy, policy, "functions: { a: { confirm: { words: [x], insecure_model_only: true } } }"),
        (Schema::Policy, policy, "functions: { a: { verify: { argument: code } } }"),
        (Schema::Policy, policy, "functions: { a: { verify: { argument: code, code_env: A, totp_env: TOTP } } }"),
        (Schema::Policy, policy, "functions: { a: { verify: { argument: code, code_env: A, attempts: 0 } } }"),
        (Schema::Policy, policy, "functions: { a: { input: { max_depth: 0 } } }"),
        (Schema::Policy, policy, "destinations: { templates: [\"${x}\"] }"),
        (Schema::Policy, policy, "destinations: { deny: [] }"),
        (Schema::Policy, policy, "responses: { redact: [card] }"),
        (Schema::Policy, policy, "egress: { allow: [https://a] }"),
        (Schema::Policy, policy, "egress: { allow: [], templates: [a] }"),
        (Schema::Policy, policy, "callers: { allow: [] }"),
        (Schema::Policy, policy, "say: { slow: \" \" }"),
        (Schema::Policy, policy, "sensitive: [\"\"]"),
        (Schema::Policy, policy, "detect: [{ name: a, on: calls, every: 1m }]"),
        (Schema::Policy, policy, "detect: [{ name: a, on: refusals, more_than: 1, every: 1m }]"),
        (Schema::Policy, policy, "detect: [{ name: a, on: calls, function: f, more_than: 1, every: 1m }]"),
        (
            Schema::Policy,
            policy,
            "detect: [{ name: a, on: refusals, reasons: [limited], when: {}, more_than: 1, every: 1m }]",
        ),
        (Schema::Policy, policy, "detect: [{ name: a, on: calls, for: 1m, more_than: 1, every: 1m }]"),
        (Schema::Policy, policy, "expose: [a]"),
        (Schema::Policy, policy, "expose: [{ path: /a, authentication: agent }]"),
        (Schema::Policy, policy, "expose: [{ path: /a, limits: [{ per: call, allow: 1, every: 1m }] }]"),
        (Schema::Policy, policy, "bodies: { request: 1024 }"),
        (Schema::Gateway, "", "threads: 1"),
        (Schema::Gateway, "", "listen: []"),
        (Schema::Gateway, "", "listen: [{ address: localhost:80 }]"),
        (Schema::Gateway, "", "listen: [{ address: \"127.0.0.1:80\", tls: {} }]"),
        (
            Schema::Gateway,
            "",
            "listen: [{ address: \"127.0.0.1:80\", tls: { certificate: a, private_key: b, min_version: \"1.1\" } }]",
        ),
        (Schema::Gateway, gateway, "hsts: { max_age: 1 }"),
        (Schema::Gateway, gateway, "public_url: https://a/b"),
        (Schema::Gateway, gateway, "token_keys: []"),
        (Schema::Gateway, gateway, "token_keys: [{ id: a, secret: b }]"),
        (Schema::Gateway, gateway, "state: { redis: {} }"),
        (Schema::Gateway, gateway, "state: { embedded: { max_cells: 1 } }"),
        (Schema::Gateway, gateway, "audit: { queue: 0 }"),
        (Schema::Gateway, gateway, "threads: 0"),
        (Schema::Gateway, gateway, "connections: { keepalive: 75 }"),
        (Schema::Gateway, gateway, "log: { level: trace }"),
        (Schema::Gateway, gateway, "shutdown: { grace: 1s }"),
    ];
    let [of_policies, of_settings] = [Schema::Policy, Schema::Gateway].map(validator);
    for (schema, head, rest) in cases {
        let text = format!("{head}{rest}");
        assert_ne!(mistakes(schema, &text), [] as [&str; 0], "{text}");
        let validator = if schema == Schema::Policy { &of_policies } else { &of_settings };
        assert!(!validator.is_valid(&json(&text)), "{text}");
    }
}

#[test]
fn each_default_is_what_happens_without_the_key() {
    let bare = [
        (Schema::Policy, json!({ "agent": "a", "upstream": { "url": "http://a" } })),
        (Schema::Gateway, json!({ "listen": [{ "address": "127.0.0.1:80" }] })),
    ];
    for (schema, bare) in bare {
        let mut tried = 0;
        for (path, default) in defaults(&tree(schema)) {
            let mut with = bare.clone();
            insert(&mut with, &path, default.clone());
            let (Some(with), Some(without)) = (loaded(schema, &with), loaded(schema, &bare)) else {
                assert!(NOT_ALONE.contains(&path.as_str()), "{path}: {default} is no default that can stand alone");
                continue;
            };
            assert_eq!(with, without, "{path}: {default}");
            tried += 1;
        }
        assert!(tried > 10, "{schema:?}: {tried}");
    }
}

/// Keys that are read only beside others.
const NOT_ALONE: [&str; 13] = [
    "upstream.health.every",
    "upstream.health.timeout",
    "upstream.health.healthy",
    "upstream.health.unhealthy",
    "upstream.eject.failures",
    "upstream.eject.for",
    "upstream.eject.max_percent",
    "platform.signature",
    "platform.insecure_unsigned_get",
    "health_path",
    "calls.idle",
    "egress.assets",
    "upstream.tls.insecure_skip_verify",
];

/// The defaults of a schema, but for those in lists and under keys that are free to choose.
fn defaults(tree: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), tree)];
    while let Some((path, node)) = open.pop() {
        let target = node["$ref"].as_str().and_then(|name| tree.pointer(name.trim_start_matches('#')));
        open.extend(target.map(|target| (path.clone(), target)));
        for (key, value) in node["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            found.extend(value.get("default").map(|default| (path.clone(), default.clone())));
            open.push((path, value));
        }
    }
    found
}

fn insert(value: &mut Value, path: &str, inserted: Value) {
    let mut place = value;
    for key in path.split('.') {
        place = &mut place[key];
    }
    *place = inserted;
}

/// What a loader makes of a file, in words.
fn loaded(schema: Schema, value: &Value) -> Option<String> {
    let text = value.to_string();
    match schema {
        Schema::Policy => compile("p.yaml", &text, &Any, &seed()).ok().map(|mut agent| {
            // Which keys are given is no part of what they say.
            agent.given.clear();
            format!("{agent:?}")
        }),
        Schema::Gateway => {
            let path = std::env::temp_dir().join(format!("swaigate-keys-{}.yaml", std::process::id()));
            fs::write(&path, text).expect("it can be written");
            let settings = settings::load(&path).ok().map(|settings| format!("{settings:?}"));
            fs::remove_file(&path).expect("it is there");
            settings
        }
    }
}
