//! A log of more than ten thousand decisions under other policies: exactly the differences that a plain model counts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::BufReader,
};

use serde_json::{Value, json};
use swaigate::{rehearsal::Function, replay::replay};

use crate::{
    dice::Dice,
    play::{Call, Play, START, policies, settings_of},
};

/// What differs between two policies.
#[derive(Clone, Copy)]
struct Rules {
    /// How many calls of functions a caller has in a minute.
    allow: u64,
    /// From when on an account can be opened, in minutes after midnight, UTC.
    opens: u64,
    /// How much may be transferred.
    maximum: u64,
    /// Whether a table is booked once in a call.
    once: bool,
    /// What a secret must be.
    secret: &'static str,
}

const OLD: Rules = Rules { allow: 10, opens: 14 * 60 + 30, maximum: 1_000, once: false, secret: "" };
const NEW: Rules = Rules { allow: 6, opens: 15 * 60, maximum: 500, once: true, secret: "^[a-z]+$" };

/// A function call, as the model knows it.
struct Asked {
    request: String,
    at: u64,
    caller: usize,
    call: String,
    function: &'static str,
    number: u64,
}

/// What the model says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Decided(&'static str),
    /// The log doesn't have what decides.
    Unknown,
}

impl Rules {
    fn policy(self) -> String {
        let Self { allow, opens, maximum, once, secret } = self;
        let (hour, minute) = (opens / 60, opens % 60);
        let secret = if secret.is_empty() { "{}".to_owned() } else { format!("{{ pattern: {secret:?} }}") };
        format!(
            "agent: bank\nupstream: {{ url: \"http://127.0.0.1:3000\" }}\nsensitive: [secret]\n\
             limits: [{{ per: caller, allow: {allow}, every: 1m }}]\nfunctions:\n  \
             open_account: {{ hours: {{ zone: UTC, open: [\"Mon-Sun {hour:02}:{minute:02}-23:00\"] }} }}\n  \
             transfer: {{ arguments: {{ properties: {{ amount: {{ maximum: {maximum} }} }} }} }}\n  \
             book: {{ once: {once} }}\n  \
             note: {{ arguments: {{ properties: {{ secret: {secret} }} }} }}\n"
        )
    }

    /// Decides one after the other: rules that look at a call alone, then limits, then what was done before in it.
    fn decide(self, all: &[Asked], sees_secrets: bool) -> Vec<Said> {
        let step = 60_000 / self.allow;
        let mut next: HashMap<usize, u64> = HashMap::new();
        let mut booked: HashSet<(&str, u64)> = HashSet::new();
        let mut said = Vec::new();
        for asked in all {
            let minute = asked.at / 60_000 % (24 * 60);
            let is_hidden = asked.function == "note" && !sees_secrets;
            let fault = match asked.function {
                "open_account" if minute < self.opens || minute >= 23 * 60 => Some("closed"),
                "transfer" if asked.number > self.maximum => Some("arguments_invalid"),
                _ => None,
            };
            // GCRA: there is room as long as what was used up is not further ahead than a burst but one.
            let ahead = next.get(&asked.caller).copied().unwrap_or_default().max(asked.at);
            let has_room = ahead - asked.at <= (self.allow - 1) * step;
            let is_again =
                self.once && asked.function == "book" && booked.contains(&(asked.call.as_str(), asked.number));
            let decided = match fault {
                Some(fault) => Said::Decided(fault),
                None if !has_room => Said::Decided("limited"),
                None if is_again => Said::Decided("repeated"),
                None if is_hidden => Said::Unknown,
                None => Said::Decided("ok"),
            };
            if matches!(decided, Said::Decided("ok") | Said::Unknown) {
                next.insert(asked.caller, ahead + step);
                if asked.function == "book" {
                    booked.insert((asked.call.as_str(), asked.number));
                }
            }
            said.push(decided);
        }
        said
    }
}

/// Plays requests of eight callers for some hours, under the old rules; the log, and what was asked and decided.
fn played(folder: &std::path::Path, requests: usize) -> (std::path::PathBuf, Vec<Asked>, Vec<&'static str>) {
    let mut dice = Dice::new(7);
    let mut play = Play::new(&policies(&folder.join("old"), &OLD.policy()), &folder.join("audit.jsonl"));
    let mut calls: Vec<Option<(u64, Call)>> = vec![None; 8];
    let (mut all, mut reasons) = (Vec::new(), Vec::new());
    while all.len() < requests {
        play.wait(dice.roll(1_300));
        let caller = usize::try_from(dice.roll(8)).expect("an index");
        let now = play.rehearsal.now().0;
        if calls[caller].as_ref().is_none_or(|(since, _)| now - since > 3_600_000) {
            let number = format!("+1555123000{caller}");
            let (came, call) = play.begin(&format!("call-{caller}-{now}"), Some(&number), None, None);
            calls[caller] = Some((now, call.unwrap_or_else(|| panic!("{came:?}"))));
        }
        let (_, call) = calls[caller].clone().expect("a call");
        let function = *dice.pick(&["get_balance", "open_account", "transfer", "book", "note", "note"]);
        let number = match function {
            "transfer" => *dice.pick(&[10, 400, 700, 5_000]),
            _ => dice.roll(6),
        };
        let arguments = match function {
            "transfer" => json!({ "amount": number }),
            "note" => json!({ "secret": format!("{number}") }),
            _ => json!({ "n": number }),
        };
        let arguments = arguments.to_string();
        let function_call = Function { name: function, arguments: Some(&arguments), ..Function::default() };
        let millis = *dice.pick(&[0, 20, 900]);
        let came = play.call(&call, &function_call, (millis, Ok(json!({ "response": "ok" }).to_string())));
        all.push(Asked { request: came.request, at: now, caller, call: call.id, function, number });
        reasons.push(came.reason.as_str());
    }
    (play.finish(), all, reasons)
}

fn count(told: &Value, list: &str, is_of: impl Fn(&Value) -> bool) -> u64 {
    let items = told[list].as_array().expect("a list").iter();
    items.filter(|item| is_of(item)).filter_map(|item| item["count"].as_u64()).sum()
}

#[test]
fn other_policies_decide_exactly_as_a_plain_model_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, all, reasons) = played(folder.path(), 12_000);
    assert!(START.0 < all[0].at && all.len() >= 10_000);
    let old = OLD.decide(&all, true);
    assert!(
        old.iter().zip(&reasons).all(|(said, reason)| *said == Said::Decided(reason)),
        "the model knows the old rules"
    );

    let new = NEW.decide(&all, false);
    let mut changes: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    let mut differing = HashSet::new();
    let (mut same, mut unknown) = (0, 0);
    for ((asked, was), now) in all.iter().zip(&reasons).zip(&new) {
        match now {
            Said::Unknown => unknown += 1,
            Said::Decided(now) if now == was => same += 1,
            Said::Decided(now) => {
                *changes.entry((asked.function, was, now)).or_default() += 1;
                differing.insert(asked.request.clone());
            }
        }
    }
    for change in [
        ("get_balance", "ok", "limited"),
        ("open_account", "ok", "closed"),
        ("open_account", "limited", "closed"),
        ("transfer", "ok", "arguments_invalid"),
        ("book", "ok", "repeated"),
        ("get_balance", "limited", "ok"),
    ] {
        assert!(changes.contains_key(&change), "{change:?} is not in {changes:?}");
    }

    let settings = settings_of(policies(&folder.path().join("new"), &NEW.policy()));
    let report = replay(BufReader::new(File::open(&log).expect("the log")), settings, all.len()).expect("a log");
    let told = report.json();
    let fetches = told["records"].as_u64().expect("a count") - all.len() as u64;
    assert_eq!(told["same"].as_u64(), Some(same + fetches), "{}", report.text());
    assert_eq!(told["different"].as_u64(), Some(differing.len() as u64), "{}", report.text());
    assert_eq!(count(&told, "undecidable", |item| item["rule"] == "arguments"), unknown);
    assert_eq!(count(&told, "undecidable", |_| true), unknown);
    for ((function, was, now), expected) in &changes {
        let is_it = |item: &Value| item["function"] == *function && item["was"] == *was && item["now"] == *now;
        assert_eq!(count(&told, "changes", is_it), *expected, "{function}: {was} → {now}");
    }
    let shown = told["examples"].as_array().expect("a list").iter();
    let shown: HashSet<String> = shown.map(|item| item["request_id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(shown, differing);
}

#[test]
fn the_old_policies_decide_that_log_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, all, _) = played(folder.path(), 1_000);
    let settings = settings_of(folder.path().join("old"));
    let told = replay(BufReader::new(File::open(&log).expect("the log")), settings, 10).expect("a log").json();
    assert_eq!((&told["different"], &told["undecidable"]), (&json!(0), &json!([])));
    assert!(told["same"].as_u64() > Some(all.len() as u64));
}
