//! `swaigate explain`.

use std::{fs, path::Path};

use swaigate::{explanation::Explanation, rehearsal::StandIns, run, settings};
use swaigate_core::policy;

/// What holds for a function of this policy.
fn explained(text: &str, function: &str) -> Explanation {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bank.yaml");
    fs::write(&path, text).expect("a policy");
    let agent = settings::load_policy(&path, &StandIns::default(), &run::seed().expect("a seed"), usize::MAX);
    let agent = agent.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    Explanation::of(&agent, &function.parse().expect("a name"))
}

/// The lines about a key, each as `place value`, with single spaces.
fn lines(text: &str, key: &str) -> Vec<String> {
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_key = words.filter(|words| words.first() == Some(&key));
    of_key.map(|words| words[1..].join(" ")).collect()
}

const POLICY: &str = r#"agent: bank
upstream: { url: "http://127.0.0.1:3000" }
limits: [{ per: caller, allow: 10, every: 1m }]
say: { limited: Wait., busy: Busy. }
sensitive: [account]
mode: shadow
functions:
  default:
    say: { precondition: Not yet. }
    sensitive: [to_account]
    once: true
  transfer:
    say: { limited: Slow. }
    limits: [{ per: call, allow: 3, every: 1h }]
    verify: { argument: code, totp_env: TOTP_KEY }
    publish: true
"#;

#[test]
fn each_value_is_told_with_the_line_that_says_it() {
    let text = explained(POLICY, "transfer").text_by(Path::new("policies/bank.yaml"));
    for (key, expected) in [
        ("publish", vec!["policies/bank.yaml:16:5 true"]),
        ("once", vec!["policies/bank.yaml:11:5 (functions.default) true"]),
        ("hours", vec!["built in always"]),
        ("verify", vec![r#"policies/bank.yaml:15:5 {"argument":"code","totp_env":"TOTP_KEY"}"#]),
        ("mode", vec![r#"policies/bank.yaml:6:1 "shadow""#, r#"policies/bank.yaml:6:1 "shadow""#]),
        ("say.limited", vec![r#"policies/bank.yaml:13:5 "Slow.""#]),
        ("say.precondition", vec![r#"policies/bank.yaml:9:5 (functions.default) "Not yet.""#]),
        ("say.busy", vec![r#"policies/bank.yaml:4:1 "Busy.""#]),
        (
            "limits",
            vec![
                r#"policies/bank.yaml:14:5 [{"allow":3,"every":"1h","per":"call"}]"#,
                r#"policies/bank.yaml:3:1 [{"allow":10,"every":"1m","per":"caller"}]"#,
            ],
        ),
    ] {
        assert_eq!(lines(&text, key), expected, "{key}\n{text}");
    }
    let sensitive = lines(&text, "sensitive");
    assert!(
        sensitive[0].ends_with(r#"(functions.default) ["to_account"]"#)
            && sensitive[1].ends_with(r#":5:1 ["account"]"#)
    );
    assert!(lines(&text, "say.closed")[0].starts_with("built in \"That isn't available"));
}

#[test]
fn what_no_rule_is_for_is_told() {
    let hook = explained(POLICY, "hangup_hook").text_by(Path::new("policies/bank.yaml"));
    assert!(hook.contains("The platform calls it by itself"), "{hook}");
    let other = explained(POLICY, "other").text_by(Path::new("policies/bank.yaml"));
    assert!(other.contains("`functions.default` holds"), "{other}");
}

/// The loader tells which keys it asks for of a policy that has all.
#[test]
fn every_key_of_a_function_is_told() {
    let all = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/keys/policy.yaml")).expect("a file");
    let text = explained(POLICY, "transfer").text_by(Path::new("policies/bank.yaml"));
    let json = explained(POLICY, "transfer").json_by(Path::new("policies/bank.yaml"));
    let keys = policy::keys_of(&all, &StandIns::default(), &run::seed().expect("a seed"));
    let of_functions: Vec<_> = keys.iter().filter_map(|key| key.strip_prefix("functions.*.")).collect();
    assert!(of_functions.len() > 20, "{keys:?}");
    for key in of_functions {
        let is_nested = key.contains(['.', '[']) && !key.starts_with("say.");
        let top = if is_nested { key.split(['.', '[']).next().unwrap_or(key) } else { key };
        if top == "say" {
            continue;
        }
        assert!(!lines(&text, top).is_empty(), "{key} is not told\n{text}");
        let told = json["keys"].as_array().expect("a list").iter();
        assert!(told.clone().any(|told| told["key"] == top), "{key} is not told as JSON");
    }
}
