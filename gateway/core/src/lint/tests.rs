use std::collections::HashMap;

use super::*;
use crate::{
    keys::MacKey,
    policy::{Seed, compile},
    secret::Secret,
};

/// Files that nothing is said of.
const GATEWAY: &str = "\
public_url: https://agents.example.com
listen:
  - { address: \"127.0.0.1:8080\" }
token_keys: [{ id: a, secret_env: TOKEN_KEY }]
audit: { path: /var/log/swaigate/audit.jsonl }
";
const POLICY: &str = "\
agent: bank
match: { path: /bank }
upstream:
  url: http://127.0.0.1:3000
  username: agent
  password_env: AGENT_PASSWORD
platform:
  users: [{ username: signalwire, password_env: GATEWAY_PASSWORD }]
  signing_keys_env: [SIGNING_KEY]
tokens: { unbound: deny }
limits: [{ per: caller, allow: 10, every: 1m }]
sensitive: [to_account]
prompt: { append: [security_boundaries, confirmation] }
detect: [{ name: calls, on: calls, per: caller, more_than: 20, every: 1h }]
functions:
  default: { publish: false }
  get_balance: { publish: true }
  transfer_funds: { publish: true, limits: [{ per: call, allow: 1, every: 1m }] }
";

fn secrets() -> HashMap<String, Secret> {
    let pairs = [
        ("TOKEN_KEY", "b7d1f2a94e5c60837f1a2b3c4d5e6f70"),
        ("AGENT_PASSWORD", "q7Rk0zXv2LmN8pTb4YwCs6HdJf1GaUeE"),
        ("GATEWAY_PASSWORD", "Zt3xW8vKq1LsP6yB0nRmC4hD9jFgA2uE"),
        ("SIGNING_KEY", "PSKtest1234567890abcdef"),
        ("SHORT", "Zt3xW8vKq1LsP6yB0nRm"),
        ("PLAIN", "password-password-password-password"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), Secret::new(value))).into()
}

fn process() -> Process {
    Process {
        is_public_https: true,
        open_listeners: Vec::new(),
        has_token_keys: true,
        audit: "/var/log/swaigate/audit.jsonl".to_owned(),
    }
}

fn with<T>(gateway: &str, process: Process, policies: &[&str], then: impl FnOnce(&Subject<'_>) -> T) -> T {
    let secrets = secrets();
    let seed = Seed { process_key: MacKey::new(b"process"), generated_password: Secret::new("generated") };
    let compiled: Vec<Agent> = policies.iter().map(|text| compile("p", text, &secrets, &seed).unwrap()).collect();
    let source = |file, text: &str| Source { file, outline: Outline::of(text), secrets: &secrets };
    let policies = policies.iter().zip(&compiled).map(|(text, agent)| (source("bank.yaml", text), agent));
    then(&Subject { gateway: source("gateway.yaml", gateway), process, policies: policies.collect() })
}

/// What is found, without its words.
fn found(gateway: &str, process: Process, policy: &str) -> Vec<String> {
    let told = |Finding { lint, file, place, .. }: &Finding| {
        format!("{file}:{}:{}: {}", place.line, place.column, lint.as_str())
    };
    with(gateway, process, &[policy], |subject| lint(subject).iter().map(told).collect())
}

#[test]
fn nothing_is_said_of_what_is_wise() {
    assert_eq!(found(GATEWAY, process(), POLICY), [] as [&str; 0]);
}

/// What is changed of a policy, and what is found then.
const OF_POLICIES: [(&str, &str, &[&str]); 23] = [
    ("prompt: { append: [security_boundaries, confirmation] }\n", "", &["bank.yaml:1:1: no_prompt_append"]),
    (
        "detect: [{ name: calls, on: calls, per: caller, more_than: 20, every: 1h }]\n",
        "",
        &["bank.yaml:1:1: no_detection"],
    ),
    ("env: GATEWAY_PASSWORD", "env: SHORT", &["bank.yaml:8:35: weak_password"]),
    ("env: GATEWAY_PASSWORD", "env: PLAIN", &["bank.yaml:8:35: weak_password"]),
    ("env: AGENT_PASSWORD", "file: SHORT", &["bank.yaml:6:3: weak_password"]),
    ("env: GATEWAY_PASSWORD", "env: AGENT_PASSWORD", &["bank.yaml:8:35: reused_secret"]),
    ("env: GATEWAY_PASSWORD", "file: TOKEN_KEY", &["bank.yaml:8:35: reused_secret"]),
    (
        "  users: [{ username: signalwire, password_env: GATEWAY_PASSWORD }]\n",
        "",
        &["bank.yaml:7:1: generated_password"],
    ),
    ("  signing_keys_env: [SIGNING_KEY]\n", "", &["bank.yaml:7:1: no_signing_keys"]),
    ("[SIGNING_KEY]\n", "[SIGNING_KEY]\n  signature: if_present\n", &["bank.yaml:10:3: optional_signature"]),
    ("[SIGNING_KEY]\n", "[SIGNING_KEY]\n  insecure_unsigned_get: true\n", &["bank.yaml:10:3: insecure"]),
    ("[SIGNING_KEY]\n", "[SIGNING_KEY]\n  insecure_unsigned_get: false\n", &[]),
    ("http://127.0.0.1:3000", "http://agent.internal", &["bank.yaml:4:3: plain_upstream"]),
    ("http://127.0.0.1:3000", "https://agent.internal", &[]),
    (
        "http://127.0.0.1:3000",
        "http://127.0.0.1:3000\n  servers: ['127.0.0.1:3000', '10.0.0.5:3000']",
        &["bank.yaml:4:3: plain_upstream"],
    ),
    ("http://127.0.0.1:3000", "http://agent.internal\n  servers: ['127.0.0.1:3000', 'localhost:3001']", &[]),
    ("unbound: deny", "unbound: bind", &["bank.yaml:10:11: unbound_documents"]),
    ("limits: [{ per: caller, allow: 10, every: 1m }]\n", "", &["bank.yaml:1:1: no_limits"]),
    ("sensitive: [to_account]\n", "", &["bank.yaml:1:1: nothing_sensitive"]),
    ("  default: { publish: false }\n", "", &["bank.yaml:15:1: no_function_default"]),
    (", limits: [{ per: call, allow: 1, every: 1m }]", "", &["bank.yaml:18:3: unguarded_function"]),
    ("{ publish: true }", "{ publish: true, sensitive: [pin_code] }", &["bank.yaml:17:3: unguarded_function"]),
    (
        "sensitive: [to_account]",
        "sensitive: [to_account]\nmode: shadow\nshadow: [limits]",
        &["bank.yaml:13:1: in_shadow", "bank.yaml:14:10: in_shadow"],
    ),
];

#[test]
fn what_is_unwise_in_a_policy_is_found_at_its_key() {
    for (old, new, expected) in OF_POLICIES {
        let policy = POLICY.replacen(old, new, 1);
        assert_ne!(policy, POLICY, "{old}");
        assert_eq!(found(GATEWAY, process(), &policy), expected, "{policy}");
    }
}

#[test]
fn what_is_unwise_in_the_settings_is_found_at_its_key() {
    let cases = [
        (Process { is_public_https: false, ..process() }, "gateway.yaml:1:1: plain_listener"),
        (Process { open_listeners: vec![0], ..process() }, "gateway.yaml:3:5: plain_listener"),
        (Process { has_token_keys: false, ..process() }, "gateway.yaml:4:1: generated_token_key"),
        (Process { audit: "/tmp/audit.jsonl".to_owned(), ..process() }, "gateway.yaml:5:10: audit_on_tmp"),
    ];
    for (process, expected) in cases {
        assert_eq!(found(GATEWAY, process, POLICY), [expected]);
    }
}

#[test]
fn several_agents_may_know_the_platform_by_one_password() {
    let shop = POLICY.replace("bank", "shop").replace("AGENT_PASSWORD", "OTHER");
    let mut told = Vec::new();
    let policies = [POLICY, &shop.replace("  username: agent\n  password_env: OTHER\n", "")];
    with(GATEWAY, process(), &policies, |subject| told.extend(lint(subject)));
    assert_eq!(told, []);
}

#[test]
fn no_secret_is_told() {
    for (old, new, _) in OF_POLICIES {
        let policy = POLICY.replacen(old, new, 1);
        let words = with(GATEWAY, Process::default(), &[&policy], |subject| {
            format!("{:?}{:?}", lint(subject), checklist(subject))
        });
        for secret in secrets().values() {
            assert!(!words.contains(secret.expose_str().unwrap()), "{words}");
        }
    }
}

#[test]
fn every_kind_is_found_by_a_case_here_and_listed_for_users() {
    let readme = include_str!("../../../../policies/README.md");
    let here = include_str!("tests.rs");
    for kind in Lint::ALL {
        assert!(readme.contains(&format!("| `{}` |", kind.as_str())), "{} is not in policies/README.md", kind.as_str());
        // What needs the file system is found by `swaigate check` itself.
        let is_of_files = matches!(kind, Lint::ReadableSecret | Lint::CertificateEnds);
        assert!(is_of_files || here.contains(&format!(": {}\"", kind.as_str())), "{}", kind.as_str());
    }
}

#[test]
fn harm_is_known_by_its_words() {
    for name in ["transfer_funds", "transferFunds", "pay", "delete.account", "issue-refund", "changePassword"] {
        assert!(agent::is_harmful(name), "{name}");
    }
    for name in ["get_balance", "payee_name", "transferable", "repay", ""] {
        assert!(!agent::is_harmful(name), "{name}");
    }
}

#[test]
fn the_checklist_has_each_line_of_the_guide() {
    let state = |policy: &str, process: Process, line: &str| {
        with(GATEWAY, process, &[policy], |subject| {
            let items = checklist(subject);
            assert_eq!(items.len(), 19);
            items.into_iter().find(|item| item.line.starts_with(line)).unwrap().state
        })
    };
    let weak = POLICY.replace("env: GATEWAY_PASSWORD", "env: SHORT");
    let unsaid = POLICY.replace("security_boundaries, ", "");
    let open = POLICY.replace("publish: false", "publish: true");
    let bare = POLICY.replace("limits: [{ per: caller, allow: 10, every: 1m }]\n", "");
    let confirmed = POLICY.replace("limits: [{ per: call, allow: 1, every: 1m }]", "confirm: { words: [confirm] }");
    let ignored = POLICY.replace("get_balance: {", "get_balance: { learned_schema: ignore,");
    assert_eq!(state(&confirmed, process(), "Confirmation"), State::Met);
    assert_eq!(state(&POLICY.replace("transfer", "tell"), process(), "Confirmation"), State::Untold);
    for (line, wise, other, process_of_other) in [
        ("HTTPS", State::Met, POLICY, Process { is_public_https: false, ..process() }),
        ("Strong", State::Met, weak.as_str(), process()),
        ("Rate", State::Met, bare.as_str(), process()),
        ("Audit", State::Met, POLICY, Process { audit: "/tmp/a".to_owned(), ..process() }),
        ("Input", State::Met, ignored.as_str(), process()),
        ("Security boundaries", State::Met, unsaid.as_str(), process()),
        ("System prompt", State::Met, unsaid.as_str(), process()),
        ("No excessive", State::Met, open.as_str(), process()),
    ] {
        assert_eq!(state(POLICY, process(), line), wise, "{line}");
        assert_eq!(state(other, process_of_other, line), State::NotMet, "{line}");
    }
    assert_eq!(state(POLICY, process(), "Confirmation"), State::NotMet, "`transfer_funds` has limits alone");
}
