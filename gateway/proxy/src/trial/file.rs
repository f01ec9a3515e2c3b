//! A file of policy tests. `policies/README.md`, "Policy tests", lists every key.

use std::{
    collections::HashMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use swaigate_core::{
    call::Caller,
    id::{AgentName, FunctionName},
    record::{Medium, Rule},
    secret::Secret,
    time::Timestamp,
    verdict::Reason,
    yaml::{self, Field, Fields, Place},
};

use crate::reload;

/// How many tests a file may have, and how many steps a test.
const MAX_TESTS: usize = 1000;
const MAX_STEPS: usize = 1000;

/// How many names a list or a mapping of names may have.
const MAX_NAMES: usize = 500;

/// How often a step may be done.
const MAX_TIMES: u64 = 100_000;

/// How long a step may wait.
const MAX_WAIT: Duration = Duration::from_secs(366 * 86_400);

/// The call that steps are of, unless they say otherwise.
pub(super) const CALL: &str = "call";

/// When tests play, unless they say otherwise: on a Wednesday at noon, in UTC.
const NOON: Timestamp = Timestamp(1_767_787_200_000);

/// Who calls, unless a test says otherwise.
const CALLER: &str = "+15551230001";

/// A file of tests.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) subject: Subject,
    /// What stands in for the secrets that the policy names.
    pub(super) environment: HashMap<String, Secret>,
    /// The functions that the agent has, with their parameters if they are told.
    pub(super) functions: Vec<(String, Option<Value>)>,
    pub(super) tests: Vec<Test>,
}

/// What is tested.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    /// The policy in this file.
    Policy(PathBuf),
    /// An agent of the gateway that the command line names.
    Agent(AgentName),
}

/// One test.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) at: Timestamp,
    pub(super) leg: Leg,
    pub(super) global_data: Map<String, Value>,
    pub(super) meta_data: Map<String, Value>,
    pub(super) steps: Vec<Step>,
}

/// How a call comes in.
#[derive(Debug, Clone)]
pub(super) struct Leg {
    /// The caller's number; none, if it is withheld.
    pub(super) caller: Option<String>,
    pub(super) called: String,
    pub(super) medium: Medium,
    pub(super) client: Option<IpAddr>,
    /// What the agent answers to the fetch, if it is given.
    pub(super) document: Option<Value>,
}

/// One step of a test.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) place: Place,
    pub(super) act: Act,
}

/// What happens.
#[derive(Debug)]
pub(super) enum Act {
    /// A call begins.
    Begin { call: String, leg: Leg, publishes: Vec<String>, lacks: Vec<String>, expected: Expected },
    /// The model calls a function.
    Call {
        function: FunctionName,
        call: String,
        arguments: Option<Value>,
        code: Option<Code>,
        answer: Value,
        expected: Expected,
    },
    /// The caller says something.
    Turn(String),
    /// Time passes.
    After(Duration),
    /// It is this time.
    At(Timestamp),
    /// The call's data change.
    GlobalData(Map<String, Value>),
    /// The function's data change.
    MetaData(Map<String, Value>),
    /// A call ends.
    End(String),
}

/// A code that is given with a function call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// The right one, at that time.
    Valid,
    /// Another one.
    Wrong,
}

/// What must come of it.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) reason: Reason,
    /// A part of the sentence that is heard.
    pub(super) says: Option<String>,
    /// Which rules in shadow would refuse it.
    pub(super) shadow: Vec<Rule>,
    /// How often it is done.
    pub(super) times: u64,
}

// === impl File ===

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// All mistakes in it, or why it can't be read.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).with_context(|| format!("{name}: the file can't be read"))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let file = yaml::read(&name, &text, |fields| file(fields, &name, folder));
        let file = file.map_err(|mistakes| reload::told(&mistakes))?;
        if file.tests.is_empty() {
            bail!("{name}: there are no tests");
        }
        Ok(file)
    }
}

fn file(fields: &mut Fields<'_>, name: &str, folder: &Path) -> Option<File> {
    let (report, place) = (fields.report(), fields.place());
    let subject = match fields.take_one_of(["policy", "agent"]) {
        Some(("policy", field)) => field.text().map(|path| Subject::Policy(folder.join(path))),
        Some((_, field)) => field.parse(str::parse).map(Subject::Agent),
        None => {
            report.note(place, "`policy` is missing: the file that is tested; or `agent`, one of the gateway's");
            None
        }
    };
    let environment = names(fields.take("environment"));
    let environment = environment.into_iter().filter_map(|(name, field)| Some((name, Secret::new(field.text()?))));
    let environment = environment.collect();
    let functions = names(fields.take("functions")).into_iter().map(|(name, field)| (name, parameters(field)));
    let functions = functions.collect();
    let tests = fields.take("tests").required().list(MAX_TESTS).unwrap_or_default();
    let tests: Vec<_> = tests.into_iter().filter_map(|field| field.mapping(test)).collect();
    Some(File { name: name.to_owned(), subject: subject?, environment, functions, tests })
}

fn names(field: Field<'_>) -> Vec<(String, Field<'_>)> {
    if field.is_given() { field.map(MAX_NAMES).unwrap_or_default() } else { Vec::new() }
}

/// What a function publishes; `{}` or nothing for one that tells nothing.
fn parameters(field: Field<'_>) -> Option<Value> {
    field.json().filter(|parameters| parameters.as_object().is_some_and(|members| !members.is_empty()))
}

fn test(fields: &mut Fields<'_>) -> Option<Test> {
    let name = fields.take("name").required().text();
    let at = fields.take("at").parse(time);
    let standard = Leg {
        caller: Some(CALLER.to_owned()),
        called: "+15559990000".to_owned(),
        medium: Medium::Voice,
        client: None,
        document: None,
    };
    let leg = leg(fields, &standard);
    let global_data = object(fields.take("global_data"));
    let meta_data = object(fields.take("meta_data"));
    let steps = fields.take("steps").required().list(MAX_STEPS).unwrap_or_default();
    let steps: Vec<_> = steps.into_iter().filter_map(|field| field.mapping(|fields| step(fields, &leg))).collect();
    let (global_data, meta_data) = (global_data.unwrap_or_default(), meta_data.unwrap_or_default());
    Some(Test { name: name?, at: at.unwrap_or(NOON), leg, global_data, meta_data, steps })
}

fn leg(fields: &mut Fields<'_>, standard: &Leg) -> Leg {
    let caller = fields.take("caller").parse(caller);
    let called = fields.take("called").text();
    let media = [("voice", Medium::Voice), ("messaging", Medium::Messaging), ("chat", Medium::Chat)];
    let medium = fields.take("medium").choice(&media);
    let client = fields.take("client").parse(str::parse);
    let document = object(fields.take("document"));
    Leg {
        caller: caller.unwrap_or_else(|| standard.caller.clone()),
        called: called.unwrap_or_else(|| standard.called.clone()),
        medium: medium.unwrap_or(standard.medium),
        client: client.or(standard.client),
        document: document.map(Value::Object).or_else(|| standard.document.clone()),
    }
}

fn caller(text: &str) -> Result<Option<String>, &'static str> {
    match Caller::from_number(text) {
        _ if text == "withheld" => Ok(None),
        Caller::Number(number) => Ok(Some(number)),
        Caller::Unidentified => Err("write a number like \"+15551230001\", or `withheld`"),
    }
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    let at: Option<jiff::Timestamp> = text.parse().ok();
    let at = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    at.map(Timestamp).ok_or("write a time like `2026-11-24T10:00:00-05:00`")
}

fn object(field: Field<'_>) -> Option<Map<String, Value>> {
    if !field.is_given() {
        return None;
    }
    let (report, place) = (field.report(), field.place());
    match field.json() {
        Some(Value::Object(members)) => Some(members),
        Some(_) => {
            report.note(place, "must be a mapping of keys to values");
            None
        }
        None => None,
    }
}

// === steps ===

const ACTS: [&str; 8] = ["call", "begin", "end", "after", "at", "turn", "global_data", "meta_data"];

fn step(fields: &mut Fields<'_>, standard: &Leg) -> Option<Step> {
    let place = fields.place();
    let Some((key, field)) = fields.take_one_of(ACTS) else {
        fields.report().note(place, format!("nothing happens here; a step has one of {}", ACTS.join(", ")));
        return None;
    };
    let act = match key {
        "call" => function_call(fields, field),
        "begin" => begin(fields, field, standard),
        "end" => field.text().map(Act::End),
        "after" => field.duration(Duration::from_millis(1)..=MAX_WAIT).map(Act::After),
        "at" => field.parse(time).map(Act::At),
        "turn" => field.text().map(Act::Turn),
        "global_data" => object(field).map(Act::GlobalData),
        _ => object(field).map(Act::MetaData),
    };
    Some(Step { place, act: act? })
}

fn begin(fields: &mut Fields<'_>, name: Field<'_>, standard: &Leg) -> Option<Act> {
    let call = name.text();
    let leg = leg(fields, standard);
    let [publishes, lacks] = ["publishes", "lacks"].map(|key| list_of_names(fields.take(key)));
    let expected = expected(fields);
    Some(Act::Begin { call: call?, leg, publishes, lacks, expected })
}

fn function_call(fields: &mut Fields<'_>, function: Field<'_>) -> Option<Act> {
    let function = function.parse(str::parse);
    let call = fields.take("in").text().unwrap_or_else(|| CALL.to_owned());
    let arguments = fields.take("arguments").json();
    let code = fields.take("code").choice(&[("valid", Code::Valid), ("wrong", Code::Wrong)]);
    let answer = object(fields.take("answer"));
    let answer = answer.map_or_else(|| serde_json::json!({ "response": "ok" }), Value::Object);
    let expected = expected(fields);
    Some(Act::Call { function: function?, call, arguments, code, answer, expected })
}

fn expected(fields: &mut Fields<'_>) -> Expected {
    let reasons: Vec<_> = Reason::ALL.iter().map(|reason| (reason.as_str(), *reason)).collect();
    let rules = Rule::ALL.map(|rule| (rule.as_str(), rule));
    let reason = fields.take("expect").parse(|text| {
        let found = reasons.iter().find(|(word, _)| *word == text).map(|(_, reason)| *reason);
        found.ok_or("write `ok`, or a reason of policies/README.md, \"Reasons\"")
    });
    let says = fields.take("says").text();
    let shadow = fields.take("shadow").list(rules.len()).unwrap_or_default();
    let shadow = shadow.into_iter().filter_map(|item| item.choice(&rules)).collect();
    let times = fields.take("times").integer(1..=MAX_TIMES).unwrap_or(1);
    Expected { reason: reason.unwrap_or(Reason::Ok), says, shadow, times }
}

fn list_of_names(field: Field<'_>) -> Vec<String> {
    field.list(MAX_NAMES).unwrap_or_default().into_iter().filter_map(Field::text).collect()
}
