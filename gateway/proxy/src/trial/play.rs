//! A test is played: its steps, one after the other, up to the first that comes out otherwise than it should.

use std::{collections::HashMap, fmt};

use anyhow::Context;
use serde_json::{Map, Value, json};
use swaigate_core::{
    id::{AgentName, DocumentId, FunctionName},
    policy::Agent,
    time::Timestamp,
    verdict::Reason,
    yaml::Place,
};

use super::file::{Act, CALL, Code, Expected, File, Leg, Step, Test};
use crate::{
    rehearsal::{self, Cast, Fetch, Function, Played, Rehearsal, Sheet, Turn},
    run,
    settings::Settings,
};

/// Where a test is played.
pub(super) struct Stage {
    rehearsal: Rehearsal,
    agent: AgentName,
    /// What the agent answers to a fetch, unless a test says otherwise.
    document: String,
    calls: HashMap<String, Call>,
    global_data: Map<String, Value>,
    meta_data: Map<String, Value>,
    documents: u128,
}

/// A call under way.
struct Call {
    sheet: Sheet,
    leg: Leg,
    turns: Vec<Turn>,
}

/// A step that came out otherwise than it should.
#[derive(Debug)]
pub(super) struct Failure {
    place: Place,
    what: String,
}

// === impl Stage ===

impl Stage {
    /// An empty one.
    ///
    /// # Errors
    /// If the agents can't be loaded or told apart, or the operating system gives no random bytes.
    pub(super) fn new(
        agents: Box<dyn Fn() -> anyhow::Result<Vec<Agent>>>,
        agent: AgentName,
        file: &File,
        test: &Test,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let cast = Cast { agents, public: settings.public_url.clone(), knows_codes: false };
        let rehearsal = Rehearsal::new(cast, run::bounds(&settings.state), test.at)?;
        let found = rehearsal.policies().agent(&agent);
        let found = found.with_context(|| format!("{}: there is no agent `{agent}`", file.name))?;
        let document = document(found, file, test);
        Ok(Self {
            rehearsal,
            agent,
            document,
            calls: HashMap::new(),
            global_data: test.global_data.clone(),
            meta_data: test.meta_data.clone(),
            documents: 0,
        })
    }

    /// Plays a test to its end.
    ///
    /// # Errors
    /// The first step that came out otherwise than it should.
    pub(super) fn play(mut self, test: &Test) -> Result<(), Failure> {
        for step in &test.steps {
            self.step(step, test).map_err(|what| Failure { place: step.place, what })?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, test: &Test) -> Result<(), String> {
        match &step.act {
            Act::Begin { call, leg, publishes, lacks, expected } => {
                for time in 1..=expected.times {
                    let name = if time == expected.times { call.clone() } else { format!("{call}, {time}") };
                    let played = self.begin(&name, leg)?;
                    expected.compare(&format!("call `{call}` begins"), time, &played)?;
                }
                self.compare_functions(call, publishes, lacks)
            }
            Act::Call { expected, .. } => (1..=expected.times).try_for_each(|time| self.call(&step.act, test, time)),
            Act::Turn(text) => {
                self.ensure_call(CALL, &test.leg)?;
                self.calls.values_mut().for_each(|call| call.turns.push(Turn::Caller(text.clone())));
                Ok(())
            }
            Act::After(wait) => {
                let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                self.rehearsal.move_to(Timestamp(self.rehearsal.now().0.saturating_add(millis)));
                Ok(())
            }
            Act::At(at) if *at < self.rehearsal.now() => Err("time doesn't go back".to_owned()),
            Act::At(at) => {
                self.rehearsal.move_to(*at);
                Ok(())
            }
            Act::GlobalData(data) => {
                self.global_data.clone_from(data);
                Ok(())
            }
            Act::MetaData(data) => {
                self.meta_data.clone_from(data);
                Ok(())
            }
            Act::End(call) => self.end(call),
        }
    }

    fn begin(&mut self, name: &str, leg: &Leg) -> Result<Played, String> {
        self.documents += 1;
        let fetch = Fetch {
            agent: self.agent.clone(),
            document: DocumentId(self.documents.to_be_bytes()),
            call_id: Some(format!("{name} ({})", self.documents)),
            caller: leg.caller.clone(),
            called: Some(leg.called.clone()),
            medium: leg.medium,
            client: leg.client,
            within: None,
        };
        let decided = self.rehearsal.fetch(&fetch).map_err(told)?;
        let given = leg.document.as_ref().map(Value::to_string);
        let document = given.as_ref().unwrap_or(&self.document);
        let played = match decided.outcome {
            Ok(permit) => self.rehearsal.answer(&permit, document, decided.facts),
            Err(denial) => Played::refused(&denial, decided.facts),
        };
        if played.reason == Reason::Ok {
            let sheet = Sheet::of(&self.rehearsal, &fetch, self.rehearsal.now()).map_err(told)?;
            let sheet = sheet.with_document(played.body());
            self.calls.insert(name.to_owned(), Call { sheet, leg: leg.clone(), turns: Vec::new() });
        }
        Ok(played)
    }

    /// A test that doesn't say how its call begins has one that just did.
    fn ensure_call(&mut self, name: &str, leg: &Leg) -> Result<(), String> {
        if self.calls.contains_key(name) {
            return Ok(());
        }
        if name != CALL {
            return Err(format!("there is no call `{name}`; a step `begin: {name}` begins one"));
        }
        let played = self.begin(name, leg)?;
        if played.reason == Reason::Ok {
            return Ok(());
        }
        Err(format!("the call can't begin: {}", reason(played.reason)))
    }

    fn call(&mut self, act: &Act, test: &Test, time: u64) -> Result<(), String> {
        let Act::Call { function, call: name, arguments, code, answer, expected } = act else { return Ok(()) };
        self.ensure_call(name, &test.leg)?;
        let Some(call) = self.calls.get(name) else { return Ok(()) };
        let arguments = self.with_code(function, arguments.clone(), *code)?.map(|arguments| arguments.to_string());
        let function = Function {
            name: function.as_str(),
            arguments: arguments.as_deref(),
            caller: call.leg.caller.as_deref(),
            global_data: self.global_data.clone(),
            meta_data: self.meta_data.clone(),
            turns: Some(&call.turns),
            client: call.leg.client,
            ..Function::default()
        };
        let decided = self.rehearsal.call_function(&call.sheet, &function).map_err(told)?;
        let played = match decided.outcome {
            Ok(permit) => self.rehearsal.answer(&permit, &answer.to_string(), decided.facts),
            Err(denial) => Played::refused(&denial, decided.facts),
        };
        self.rehearsal.learn(&played.lessons);
        expected.compare(&format!("call {}", function.name), time, &played)?;
        if played.reason == Reason::Ok {
            take_actions(answer, &mut self.global_data, &mut self.meta_data);
        }
        Ok(())
    }

    fn with_code(
        &self,
        function: &FunctionName,
        arguments: Option<Value>,
        code: Option<Code>,
    ) -> Result<Option<Value>, String> {
        let Some(code) = code else { return Ok(arguments) };
        let right = (code == Code::Valid).then_some(0);
        let known = self.rehearsal.code(&self.agent, function.as_str(), right);
        let (argument, code) = known.ok_or(
            "the policy asks for no code here, or it knows the code by its hash alone: then give it in `arguments`",
        )?;
        let mut arguments = arguments.unwrap_or_else(|| json!({}));
        arguments[argument] = code.into();
        Ok(Some(arguments))
    }

    fn end(&mut self, name: &str) -> Result<(), String> {
        let call = self.calls.get(name).ok_or_else(|| format!("there is no call `{name}`"))?;
        let decided = self.rehearsal.end(&call.sheet, None).map_err(told)?;
        match decided.reason() {
            Reason::Ok => Ok(()),
            refused => Err(format!("call `{name}` can't end: {}", reason(refused))),
        }
    }

    fn compare_functions(&self, call: &str, publishes: &[String], lacks: &[String]) -> Result<(), String> {
        let has = |name: &String| self.calls.get(call).is_some_and(|call| call.sheet.publishes(name));
        if let Some(missing) = publishes.iter().find(|name| !has(name)) {
            return Err(format!("the document lacks the function `{missing}`"));
        }
        match lacks.iter().find(|name| has(name)) {
            Some(there) => Err(format!("the document has the function `{there}`")),
            None => Ok(()),
        }
    }
}

/// What the platform does with an answer's data.
fn take_actions(answer: &Value, global_data: &mut Map<String, Value>, meta_data: &mut Map<String, Value>) {
    let actions = match answer.get("action") {
        Some(Value::Array(actions)) => actions.as_slice(),
        Some(action) => std::slice::from_ref(action),
        None => &[],
    };
    for (key, data) in [("set_global_data", global_data), ("set_meta_data", meta_data)] {
        let set = actions.iter().filter_map(|action| action.get(key)?.as_object());
        set.for_each(|members| data.extend(members.clone()));
    }
}

/// A document with the functions that the file tells, the policy names and the test calls.
fn document(agent: &Agent, file: &File, test: &Test) -> String {
    let mut functions: Vec<(&str, Option<&Value>)> =
        file.functions.iter().map(|(name, parameters)| (name.as_str(), parameters.as_ref())).collect();
    let called = test.steps.iter().filter_map(|step| match &step.act {
        Act::Call { function, .. } => Some(function),
        _ => None,
    });
    for name in agent.functions.names().chain(called) {
        if !functions.iter().any(|(known, _)| *known == name.as_str()) {
            functions.push((name.as_str(), None));
        }
    }
    rehearsal::document(agent, functions)
}

fn told(error: anyhow::Error) -> String {
    format!("{error:#}")
}

fn reason(reason: Reason) -> String {
    format!("{} ({})", reason.as_str(), reason.meaning())
}

// === impl Expected ===

impl Expected {
    fn compare(&self, what: &str, time: u64, played: &Played) -> Result<(), String> {
        let what = if self.times > 1 { format!("{what}, time {time} of {}", self.times) } else { what.to_owned() };
        if played.reason != self.reason {
            let detail =
                played.facts.detail.as_ref().map(|detail| format!("\n    detail   {detail}")).unwrap_or_default();
            return Err(format!(
                "{what}\n    expected {}\n    came     {}{detail}",
                reason(self.reason),
                reason(played.reason)
            ));
        }
        let said = played.said().unwrap_or_default();
        if let Some(says) = self.says.as_ref().filter(|says| !said.contains(says.as_str())) {
            return Err(format!("{what}\n    expected to hear {says:?}\n    heard            {said:?}"));
        }
        let mut seen: Vec<_> = played.facts.would_refuse.iter().map(|seen| seen.rule.as_str()).collect();
        let mut wanted: Vec<_> = self.shadow.iter().map(|rule| rule.as_str()).collect();
        seen.sort_unstable();
        wanted.sort_unstable();
        if seen != wanted {
            let list = |rules: &[&str]| if rules.is_empty() { "none".to_owned() } else { rules.join(", ") };
            return Err(format!(
                "{what}\n    expected rules in shadow that would refuse: {}\n    came: {}",
                list(&wanted),
                list(&seen)
            ));
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place: Place { line, column }, what } = self;
        write!(f, "{line}:{column}: {what}")
    }
}
