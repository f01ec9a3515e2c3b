//! The examples that come with signalwire-sdk, each unchanged behind a gateway of its own: their documents and the answers
//! of their functions are what they are without it, but for what the gateway has to change.
//!
//! `tests/agents/examples.yaml` lists all of them, `tests/agents/run_example.py` starts one.

mod compare;
mod document;
mod subject;
mod table;

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use table::{Example, LeftOut, Run};

use crate::harness::{
    agent::Agent,
    gateway::{Gateway, Policy},
    tests_path, until,
};

/// As many processes of Python start at once as a small machine has processors.
const WORKERS: usize = 2;

/// What a job found out.
#[derive(Debug, Default)]
struct Report {
    lines: Vec<String>,
    problems: Vec<String>,
}

/// Something to be run.
enum Job<'t> {
    Run(&'t Example, &'t Run),
    LeftOut(&'t Example, &'t LeftOut),
}

#[test]
fn every_example_of_the_sdk_is_behind_the_gateway_what_it_is_without() {
    let folder = folder();
    let table = table::read();
    let listed: BTreeSet<_> = table.iter().map(|example| example.file.clone()).collect();
    assert_eq!(listed, files(&folder), "the table lists exactly the examples that there are");
    assert_eq!(listed.len(), table.len(), "and each of them once");

    let jobs: Vec<_> = table.iter().flat_map(jobs_of).collect();
    let reports = all_reports(&folder, &jobs);
    let lines = |of: fn(&Report) -> &Vec<String>| reports.iter().flat_map(of).cloned().collect::<Vec<_>>().join("\n");
    println!("{}", lines(|report| &report.lines));
    let problems = lines(|report| &report.problems);
    assert!(problems.is_empty(), "\n{problems}");
}

/// Where the examples are, whatever Python's version.
fn folder() -> PathBuf {
    let versions = fs::read_dir(tests_path(".cache/venv/sdk/lib")).expect("tests/setup has run");
    let mut folders =
        versions.map(|version| version.expect("it can be read").path().join("site-packages/signalwire/_docs/examples"));
    folders.find(|folder| folder.is_dir()).expect("the SDK comes with examples")
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("it is a folder");
    let names = entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".py")).collect()
}

fn jobs_of(example: &Example) -> Vec<Job<'_>> {
    match (&example.left_out, &example.runs[..]) {
        (Some(left_out), []) => vec![Job::LeftOut(example, left_out)],
        (None, [_, ..]) => example.runs.iter().map(|run| Job::Run(example, run)).collect(),
        _ => panic!("{} either runs or is left out", example.file),
    }
}

/// The reports, in the order of the jobs.
fn all_reports(folder: &Path, jobs: &[Job<'_>]) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let index = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(job) = jobs.get(index)
                {
                    let report = job.report(folder);
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push((index, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}

// === impl Job ===

impl Job<'_> {
    /// What it found out; that it could not be run is one of its problems.
    fn report(&self, folder: &Path) -> Report {
        let (file, result) = match self {
            Job::Run(example, run) => {
                (&example.file, catch_unwind(AssertUnwindSafe(|| run_behind_gateway(folder, example, run))))
            }
            Job::LeftOut(example, left_out) => {
                (&example.file, catch_unwind(AssertUnwindSafe(|| leave_out(folder, example, left_out))))
            }
        };
        result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Report { problems: vec![format!("{file}: {}", text.unwrap_or_default())], ..Report::default() }
        })
    }
}

fn run_behind_gateway(folder: &Path, example: &Example, run: &Run) -> Report {
    let mut agent = Agent::example(folder, &example.file, &run.args, &run.env);
    agent.wait();
    let policies = run.agents.iter().enumerate().map(|(index, served)| {
        let policy = Policy::of(agent.address).named(&format!("agent-{index}")).at(&served.path);
        policy.aliases(&served.aliases).and(&served.policy)
    });
    let policies: Vec<_> = policies.collect();
    let gateway = Gateway::start("", &policies.iter().collect::<Vec<_>>());
    let mut report = Report::default();
    for served in &run.agents {
        let title = format!("{} {} {}", example.file, run.args.join(" "), served.path);
        subject::check(&title, &agent, &gateway, served, &mut report);
    }
    report
}

/// Runs it to the point where it says what it lacks.
fn leave_out(folder: &Path, example: &Example, LeftOut { why, prints, env }: &LeftOut) -> Report {
    let agent = Agent::example(folder, &example.file, &[], env);
    until(&format!("{} prints {prints:?}", example.file), || agent.printed().contains(prints.as_str()).then_some(()));
    Report { lines: vec![format!("{}: left out: {why}", example.file)], ..Report::default() }
}
