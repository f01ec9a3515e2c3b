//! What the rules of a policy cost: the CPU time of a function call's decision with all of them on, beside none.
//!
//! A decision is all that is between a request and the agent, and between its answer and the caller: `admit`, `judge`, the
//! state store, `conclude`, `release`, and the audit record, written to a file. The network isn't, and is the same for all. Both
//! policies get the same calls by turns, so that a busy machine is as bad for one as for the other.
//!
//! `cargo bench -p swaigate` prints a table; an argument is the number of rounds.

use std::{env, fs, path::Path, sync::Arc, thread, time::Duration};

use serde_json::{Value, json};
use swaigate::{
    audit::{self, Audit, Entry, Event},
    metrics::Metrics,
    rehearsal::{Cast, Fetch, Function, Rehearsal, Sheet, Turn, document},
    run, settings,
};
use swaigate_core::{
    id::{DocumentId, RequestId},
    keys::MacKey,
    policy::{Secrets, Seed, compile},
    record::Medium,
    secret::Secret,
    time::Timestamp,
    verdict::{Reason, Route},
};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each policy's decisions in a round.
const DECISIONS: usize = 20_000;
/// In so many turns: what disturbs the machine for a while disturbs all.
const TURNS: usize = 20;
/// Among so many phone calls, in turn.
const CALLS: usize = 100;
const FUNCTION: &str = "get_balance";
const REQUIRED: &str = "verify_caller";
const CALLER: &str = "+15550000000";
const CODE: &str = "4711";
const ANSWER: &str = r#"{"response":"The balance of the checking account ending in 6789 is 2450 dollars and 12 cents. One payment of 80 dollars is still pending.","action":[{"set_global_data":{"last_account":"checking","balance_read":true}}]}"#;

fn main() -> anyhow::Result<()> {
    let rounds = env::args().find_map(|argument| argument.parse().ok()).unwrap_or(9);
    let rules =
        |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bench").join(name));
    let for_calls = rules("rules_for_calls.yaml")?;
    let all = format!("{for_calls}{}", rules("rules_for_answers.yaml")?);
    let policies = [
        ("no rules", "functions: { default: { learned_schema: ignore } }\n".to_owned()),
        ("all rules for calls", for_calls),
        ("and those for answers", all),
    ];
    let folder = tempfile::tempdir()?;
    let metrics = Arc::new(Metrics::new()?);
    let settings = settings::Audit { queue: 4096, ..settings::Audit::at(folder.path().join("audit.jsonl")) };
    let (audit, writer) = audit::open(&settings, folder.path(), &metrics)?;
    let mut stages = policies.iter().map(|(_, rules)| Stage::new(rules, &audit)).collect::<anyhow::Result<Vec<_>>>()?;
    stages.iter_mut().try_for_each(|stage| stage.decide(DECISIONS))?;

    let mut measured = vec![Vec::new(); stages.len()];
    for _ in 0..rounds {
        let mut spent = vec![Duration::ZERO; stages.len()];
        for _ in 0..TURNS {
            for (stage, spent) in stages.iter_mut().zip(&mut spent) {
                let before = cpu();
                stage.decide(DECISIONS / TURNS)?;
                *spent += cpu() - before;
            }
        }
        for (measured, spent) in measured.iter_mut().zip(spent) {
            measured.push(spent.as_secs_f64() * 1e6 / DECISIONS as f64);
        }
    }
    writer.finish();
    println!("| | CPU µs a decision | range | more than none | range |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for ((name, _), measures) in policies.iter().zip(&measured) {
        let more: Vec<f64> = measures.iter().zip(&measured[0]).map(|(mine, none)| mine - none).collect();
        println!("| {name} | {} | {} |", told(measures), told(&more));
    }
    Ok(())
}

/// The CPU time of all of the process's threads.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The median, and between what all are.
fn told(measures: &[f64]) -> String {
    let mut sorted = measures.to_vec();
    sorted.sort_by(f64::total_cmp);
    format!("{:.1} | {:.1}–{:.1}", sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1])
}

/// Calls under one policy.
struct Stage {
    rehearsal: Rehearsal,
    sheets: Vec<Sheet>,
    audit: Audit,
    sequence: usize,
}

impl Stage {
    fn new(rules: &str, audit: &Audit) -> anyhow::Result<Self> {
        let text = format!(
            "agent: bank\nmatch: {{ path: /bank }}\nupstream: {{ url: \"http://127.0.0.1:3000\" }}\nplatform: {{ users: [{{ username: signalwire, password_env: PASSWORD }}] }}\n{rules}"
        );
        let agents = move || {
            let agent = compile(
                "rules",
                &text,
                &Codes,
                &Seed { process_key: MacKey::new(&[7; 32]), generated_password: Secret::new("unused") },
            );
            Ok(vec![agent.map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?])
        };
        let settings = settings::for_loopback("127.0.0.1:0".parse()?, "127.0.0.1:0".parse()?);
        let cast = Cast { agents: Box::new(agents), public: settings.public_url.clone(), knows_codes: false };
        let mut bounds = run::bounds(&settings.state);
        bounds.facts = 10_000_000;
        let rehearsal = Rehearsal::new(cast, bounds, Timestamp(1_795_000_000_000))?;
        let mut stage = Self { rehearsal, sheets: Vec::new(), audit: audit.clone(), sequence: 0 };
        for number in 0..CALLS {
            stage.begin(number)?;
        }
        Ok(stage)
    }

    fn begin(&mut self, number: usize) -> anyhow::Result<()> {
        let fetch = Fetch {
            agent: "bank".parse()?,
            document: DocumentId((number as u128).to_be_bytes()),
            call_id: Some(format!("0d9c6a1e-5b0f-4f5e-8c58-{number:012}")),
            caller: Some(CALLER.to_owned()),
            called: Some("+15558000000".to_owned()),
            medium: Medium::Voice,
            client: None,
            within: None,
        };
        let schema = json!({ "type": "object", "required": ["account_type"], "properties": {
            "account_type": { "type": "string", "enum": ["checking", "savings", "credit"] },
            "include_pending": { "type": "boolean", "description": "Whether to count payments that are still pending" } } });
        let agent = self.rehearsal.policies().agent(&fetch.agent).expect("there is one");
        let document = document(agent, [(FUNCTION, Some(&schema)), (REQUIRED, None)]);
        let permit = self.rehearsal.fetch(&fetch)?;
        let played = self.rehearsal.answer(
            &permit.outcome.map_err(|denial| anyhow::anyhow!("{denial:?}"))?,
            &document,
            permit.facts,
        );
        let sheet = Sheet::of(&self.rehearsal, &fetch, self.rehearsal.now())?.with_document(played.body());
        let required = Function { name: REQUIRED, caller: Some(CALLER), ..Function::default() };
        let decided = self.rehearsal.call_function(&sheet, &required)?;
        let played = self.rehearsal.answer(
            &decided.outcome.map_err(|denial| anyhow::anyhow!("{denial:?}"))?,
            ANSWER,
            decided.facts,
        );
        self.rehearsal.learn(&played.lessons);
        self.sheets.push(sheet);
        Ok(())
    }

    /// Decides function calls, each with other arguments.
    fn decide(&mut self, count: usize) -> anyhow::Result<()> {
        let turns = [
            Turn::Model("Which account is it about?".to_owned()),
            Turn::Caller("The checking account, please.".to_owned()),
            Turn::Model("Shall I read its balance? Say confirm.".to_owned()),
            Turn::Caller("Yes, confirm.".to_owned()),
        ];
        let Value::Object(global_data) = json!({ "account": "checking" }) else { unreachable!() };
        for _ in 0..count {
            self.sequence += 1;
            let arguments = format!(
                r#"{{"account_type":"checking","last_four":"6789","code":"{CODE}","reference":"{:012}"}}"#,
                self.sequence
            );
            let function = Function {
                name: FUNCTION,
                arguments: Some(&arguments),
                caller: Some(CALLER),
                global_data: global_data.clone(),
                turns: Some(&turns),
                ..Function::default()
            };
            let decided = self.rehearsal.call_function(&self.sheets[self.sequence % CALLS], &function)?;
            let permit = decided.outcome.map_err(|denial| anyhow::anyhow!("{denial:?}"))?;
            let played = self.rehearsal.answer(&permit, ANSWER, decided.facts);
            anyhow::ensure!(played.reason == Reason::Ok, "{:?}", played.reason);
            self.rehearsal.learn(&played.lessons);
            let slot = loop {
                match self.audit.reserve() {
                    Some(slot) => break slot,
                    None => thread::sleep(Duration::from_millis(1)),
                }
            };
            slot.record(Entry {
                event: Event::Request,
                at: self.rehearsal.now(),
                request: RequestId([1; 12]),
                agent: Some("bank".parse()?),
                route: Route::Swaig,
                method: "POST",
                client: None,
                reason: played.reason,
                status: 200,
                delivered: true,
                bytes: None,
                decided: Some(Duration::from_micros(30)),
                gateway: Duration::from_micros(50),
                agent_time: Some(Duration::from_micros(100)),
                facts: played.facts,
            });
        }
        Ok(())
    }
}

/// The secrets that the policies name.
struct Codes;

impl Secrets for Codes {
    fn env(&self, name: &str) -> Option<Secret> {
        Some(Secret::new(if name == "BENCH_CODE" { CODE } else { "b3nch-platform-password" }))
    }

    fn file(&self, _path: &str) -> Result<Secret, String> {
        Err("no file is read".to_owned())
    }
}
