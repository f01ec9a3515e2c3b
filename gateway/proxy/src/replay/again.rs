//! Each request of the log is decided again, as it came and when it came.

use std::collections::{HashMap, HashSet, VecDeque};

use anyhow::Context;
use serde_json::{Map, Value};
use swaigate_core::{
    decide::Permit,
    id::{AgentName, DocumentId, FunctionName},
    policy::FunctionRules,
    record::Facts,
    time::Timestamp,
    verdict::{Reason, Route},
};

use super::{
    known::{Around, Doubt, Known},
    record::{Record, Was},
    verdict::{Verdict, compare, is_of, mistaken_identity},
};
use crate::rehearsal::{Decided, Fetch, Rehearsal, Sheet};

/// How many documents, and the calls they are of, are remembered. The first goes for one more.
const MAX_DOCUMENTS: usize = 1_000_000;

/// How many requests are remembered of which the agent's answer is still to be heard of.
const MAX_UNANSWERED: usize = 100_000;

/// The gateways, and the log so far.
pub(super) struct Again {
    rehearsal: Rehearsal,
    /// The processes that wrote the log so far: each began with nothing.
    processes: HashSet<String>,
    documents: HashMap<String, Document>,
    /// In the order in which they left.
    left: VecDeque<(Timestamp, String)>,
    calls: HashMap<CallName, Answers>,
    unanswered: HashMap<String, (Permit, Facts)>,
    made: u128,
}

/// A document that has left for a call.
struct Document {
    /// None, if it wouldn't have: its call wouldn't have begun.
    sheet: Option<Sheet>,
    call: CallName,
    caller: Option<String>,
    /// Whether the log tells how its call began.
    is_known: bool,
    /// Whether the caller's number is that of the log.
    knows_caller: bool,
}

type CallName = (AgentName, Option<String>);

/// What is known of the answers in a call that functions require.
#[derive(Default)]
struct Answers {
    met: HashSet<(FunctionName, String)>,
    /// Functions that are called now, and weren't.
    unknown: HashSet<FunctionName>,
}

/// What came of a request after it was decided.
pub(super) struct Later {
    permit: Permit,
    facts: Facts,
    came: Came,
}

enum Came {
    /// The agent's answer: what of it is required, by `Requirement::told`.
    Answer { call: CallName, function: FunctionName, met: HashMap<String, bool> },
    /// The agent never heard of it.
    Unreached,
}

const SAME_ARGUMENTS: &str = "whether its arguments are those of before: the log doesn't have them as they were taken";

// === impl Again ===

impl Again {
    pub(super) fn new(rehearsal: Rehearsal) -> Self {
        Self {
            rehearsal,
            processes: HashSet::new(),
            documents: HashMap::new(),
            left: VecDeque::new(),
            calls: HashMap::new(),
            unanswered: HashMap::new(),
            made: 0,
        }
    }

    /// Decides a request again, and says what comes of it later.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub(super) fn request(
        &mut self,
        at: Timestamp,
        record: &Record,
    ) -> anyhow::Result<(Verdict, Option<(u64, Later)>)> {
        self.rehearsal.move_to_micros(record.decided_at(at), at);
        self.forget();
        let process = record.arrival().0;
        if !self.processes.contains(process) {
            if !self.processes.is_empty() {
                self.rehearsal.restart();
            }
            self.processes.insert(process.to_owned());
        }
        if record.event == "late_answer" {
            return Ok((not_policy("late_answer"), self.late_answer(at, record)));
        }
        if record.repeat.is_some() {
            return Ok((not_policy("repetition"), None));
        }
        let Some(agent) = record.agent.as_ref().and_then(|name| name.parse::<AgentName>().ok()) else {
            return Ok((not_policy(reason_of(record)), None));
        };
        if record.was() != Was::Else && self.rehearsal.policies().agent(&agent).is_none() {
            return Ok((Verdict::Undecidable(None, "its agent has no policy now"), None));
        }
        if record.ends_call && record.was() == Was::Permitted {
            self.end(&agent, record)?;
        }
        match (record.route.as_str(), record.was()) {
            (_, Was::Else) => Ok((not_policy(reason_of(record)), None)),
            (route, _) if route == Route::Swml.as_str() => Ok((self.fetch(agent, record)?, None)),
            (route, was) if route == Route::Swaig.as_str() => self.function(agent, at, record, was),
            (route, _) => Ok((not_policy(route), None)),
        }
    }

    /// What came of a request.
    pub(super) fn later(&mut self, micros: u64, later: Later) {
        self.rehearsal.move_to_micros(micros, Timestamp(micros / 1000));
        let Later { permit, facts, came } = later;
        let (call, function, met) = match came {
            Came::Unreached => return self.rehearsal.forget(permit.undone()),
            Came::Answer { call, function, met } => (call, function, met),
        };
        let policies = self.rehearsal.policies();
        let Some(agent) = policies.agent(&call.0) else { return };
        let sought = agent.functions.sought_of(function.as_str());
        let answers = self.calls.entry(call).or_default();
        let mut answer = Value::Object(Map::new());
        for requirement in sought {
            match met.get(&requirement.told()) {
                Some(true) => {
                    let wanted = serde_json::from_str(&requirement.equals).unwrap_or_default();
                    put(&mut answer, &requirement.pointer, wanted);
                    answers.met.insert((function.clone(), requirement.told()));
                }
                Some(false) => {}
                None => drop(answers.unknown.insert(function.clone())),
            }
        }
        let played = self.rehearsal.answer(&permit, &answer.to_string(), facts);
        self.rehearsal.learn(&played.lessons);
    }

    // === documents ===

    fn fetch(&mut self, agent: AgentName, record: &Record) -> anyhow::Result<Verdict> {
        let within = match &record.within {
            None => None,
            Some(parent) => match self.sheet(parent, &agent, record)? {
                Some(sheet) => Some(sheet),
                None => return Ok(Verdict::OfRefusedCall),
            },
        };
        let fetch = self.fetch_of(agent.clone(), record, within);
        let decided = self.rehearsal.fetch(&fetch)?;
        let has_left = decided.reason() == Reason::Ok;
        if let (Was::Permitted, Some(document)) = (record.was(), &record.document) {
            let sheet = if has_left { Some(Sheet::of(&self.rehearsal, &fetch, self.rehearsal.now())?) } else { None };
            let (caller, call) = (record.caller.clone(), (agent, record.call_id.clone()));
            self.remember(document, Document { sheet, call, caller, is_known: true, knows_caller: true });
        }
        let is_known =
            record.within.as_ref().is_none_or(|parent| self.documents.get(parent).is_none_or(|d| d.is_known));
        Ok(compare(record, &decided, is_known, &[]))
    }

    fn fetch_of(&mut self, agent: AgentName, record: &Record, within: Option<Sheet>) -> Fetch {
        self.made += 1;
        let named = record.document.as_ref().and_then(|document| u128::from_str_radix(document, 16).ok());
        Fetch {
            agent,
            document: DocumentId(named.unwrap_or(self.made).to_be_bytes()),
            call_id: record.call_id.clone(),
            caller: record.caller.clone(),
            called: record.called.clone(),
            medium: record.medium(),
            client: record.client,
            within,
        }
    }

    /// The document of this name; one that the log doesn't have is taken to have left now. `None` if it wouldn't have left.
    fn sheet(&mut self, document: &str, agent: &AgentName, record: &Record) -> anyhow::Result<Option<Sheet>> {
        if let Some(known) = self.documents.get(document) {
            return Ok(known.sheet.clone());
        }
        let named = u128::from_str_radix(document, 16).context("a document's name is no hex")?;
        let caller = record.caller.clone().or_else(|| record.caller_digest.as_deref().and_then(made_up_number));
        let fetch = Fetch {
            document: DocumentId(named.to_be_bytes()),
            caller: caller.clone(),
            ..self.fetch_of(agent.clone(), record, None)
        };
        let sheet = Sheet::of(&self.rehearsal, &fetch, self.rehearsal.now())?;
        let (call, knows_caller) = ((agent.clone(), record.call_id.clone()), caller == record.caller);
        let sheet = Some(sheet);
        self.remember(document, Document { sheet: sheet.clone(), call, caller, is_known: false, knows_caller });
        Ok(sheet)
    }

    fn remember(&mut self, name: &str, document: Document) {
        let lifetime = self.rehearsal.policies().agent(&document.call.0).map(|agent| {
            let tokens = &agent.tokens;
            tokens.lifetime.max(tokens.chat_lifetime) + tokens.grace
        });
        let millis = u64::try_from(lifetime.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        let until = Timestamp(self.rehearsal.now().0.saturating_add(millis));
        self.left.push_back((until, name.to_owned()));
        self.documents.insert(name.to_owned(), document);
    }

    /// Forgets documents whose tokens have died, and their calls.
    fn forget(&mut self) {
        let now = self.rehearsal.now();
        while self.left.front().is_some_and(|(until, _)| *until < now) || self.left.len() > MAX_DOCUMENTS {
            let Some((_, name)) = self.left.pop_front() else { return };
            if let Some(document) = self.documents.remove(&name) {
                self.calls.remove(&document.call);
            }
        }
    }

    fn end(&mut self, agent: &AgentName, record: &Record) -> anyhow::Result<()> {
        let Some(document) = &record.document else { return Ok(()) };
        if let Some(sheet) = self.sheet(document, agent, record)? {
            self.rehearsal.end(&sheet, record.call_id.as_deref())?;
        }
        Ok(())
    }

    // === functions ===

    fn function(
        &mut self,
        agent: AgentName,
        at: Timestamp,
        record: &Record,
        was: Was,
    ) -> anyhow::Result<(Verdict, Option<(u64, Later)>)> {
        let name = record.function.as_ref().and_then(|name| name.parse::<FunctionName>().ok());
        let (Some(name), Some(document)) = (name, &record.document) else {
            return Ok((not_policy(reason_of(record)), None));
        };
        if name.is_hook() {
            return Ok((not_policy("hook"), None));
        }
        let Some(sheet) = self.sheet(document, &agent, record)? else { return Ok((Verdict::OfRefusedCall, None)) };
        let Some(of_document) = self.documents.get(document) else { return Ok((not_policy("document"), None)) };
        let (is_known, call) = (of_document.is_known, of_document.call.clone());
        let rules = self.rules(&agent, &name)?;
        let mut known = self.known(&agent, record, name.clone(), &rules, of_document)?;
        let doubts: Vec<Doubt> = known.doubts.iter().copied().filter(|doubt| !rules.is_shadow(doubt.rule)).collect();

        // What can't be told is taken to be as it was.
        let is_doubtful_refusal = matches!(was, Was::Refused(reason) if doubts.iter().any(|d| is_of(reason, d.rule)));
        let decided = if is_doubtful_refusal {
            self.rehearsal.look_at(&sheet, &known.function(record))?
        } else {
            self.rehearsal.call_function(&sheet, &known.function(record))?
        };
        if let Some(doubt) = doubts.first().filter(|_| decided.reason() == Reason::Ok) {
            let verdict = Verdict::Undecidable(Some(doubt.rule), doubt.why);
            let later = if is_doubtful_refusal { None } else { self.what_comes(at, record, decided, call, name, was) };
            return Ok((verdict, later));
        }
        let verdict = compare(record, &decided, is_known, &known.doubts);
        let Some(rule) = mistaken_identity(record, &known, &verdict, &decided, was) else {
            return Ok((verdict, self.what_comes(at, record, decided, call, name, was)));
        };
        // It counts, though the rule would refuse it here.
        known.leave_out(rule);
        let again = (was == Was::Permitted).then(|| self.rehearsal.call_function(&sheet, &known.function(record)));
        let later = again.transpose()?.and_then(|decided| self.what_comes(at, record, decided, call, name, was));
        Ok((Verdict::Undecidable(Some(rule), SAME_ARGUMENTS), later))
    }

    fn rules(&self, agent: &AgentName, name: &FunctionName) -> anyhow::Result<FunctionRules> {
        let agent = self.rehearsal.policies().agent(agent).context("the agent is there")?;
        Ok(agent.functions.rules(name.as_str()).as_ref().clone())
    }

    fn known(
        &self,
        agent: &AgentName,
        record: &Record,
        name: FunctionName,
        rules: &FunctionRules,
        document: &Document,
    ) -> anyhow::Result<Known> {
        let answers = self.calls.get(&document.call);
        let unknown_answers = |rules: &FunctionRules| {
            rules.requires.iter().any(|required| {
                let met = (required.function.clone(), required.told());
                let is_met = answers.is_some_and(|answers| answers.met.contains(&met));
                let is_unknown = answers.is_some_and(|answers| answers.unknown.contains(&required.function));
                !is_met && (is_unknown || !document.is_known)
            })
        };
        let of_agent = self.rehearsal.policies().agent(agent).context("the agent is there")?;
        let around = Around {
            rehearsal: &self.rehearsal,
            agent,
            knows_caller: document.knows_caller,
            caller: document.caller.as_deref(),
            max_body: of_agent.bodies.request,
            agent_lists_callers: !of_agent.callers.is_empty(),
            unknown_answers: &unknown_answers,
        };
        Ok(Known::of(record, name, rules, &around))
    }

    /// What comes of a request that is let through, as far as the log tells.
    fn what_comes(
        &mut self,
        at: Timestamp,
        record: &Record,
        decided: Decided,
        call: CallName,
        function: FunctionName,
        was: Was,
    ) -> Option<(u64, Later)> {
        let Decided { outcome: Ok(permit), facts } = decided else { return None };
        let then = record.answered_at(at);
        match record.reason() {
            _ if was != Was::Permitted => {
                self.calls.entry(call).or_default().unknown.insert(function);
                None
            }
            Some(Reason::Ok) => {
                let met = record.inputs.met.clone().into_iter().collect();
                Some((then, Later { permit, facts, came: Came::Answer { call, function, met } }))
            }
            Some(Reason::AgentUnreachable) => Some((then, Later { permit, facts, came: Came::Unreached })),
            // The agent goes on, and its answer is a record of its own.
            Some(Reason::AnswerSlow | Reason::ClientGone) => {
                if self.unanswered.len() < MAX_UNANSWERED {
                    self.unanswered.insert(record.request_id.clone(), (permit, facts));
                }
                None
            }
            Some(_) | None => None,
        }
    }

    fn late_answer(&mut self, at: Timestamp, record: &Record) -> Option<(u64, Later)> {
        let (permit, facts) = self.unanswered.remove(&record.request_id)?;
        let call = self.documents.get(record.document.as_ref()?)?.call.clone();
        let function = record.function.as_ref()?.parse().ok()?;
        let met = record.inputs.met.clone().into_iter().collect();
        let came = match record.reason()? {
            Reason::Ok => Came::Answer { call, function, met },
            Reason::AgentUnreachable => Came::Unreached,
            _ => return None,
        };
        Some((record.answered_at(at), Later { permit, facts, came }))
    }
}

fn not_policy(what: &str) -> Verdict {
    Verdict::NotPolicy(what.to_owned())
}

fn reason_of(record: &Record) -> &'static str {
    record.reason().map_or("an unknown reason", Reason::as_str)
}

/// A number of nobody's, for a caller of whom only the digest is known.
fn made_up_number(digest: &str) -> Option<String> {
    let number = u64::from_str_radix(digest.get(..12)?, 16).ok()?;
    Some(format!("+9{:014}", number % 100_000_000_000_000))
}

/// Puts a value where a JSON pointer leads.
fn put(within: &mut Value, pointer: &str, value: Value) {
    let Some(path) = pointer.strip_prefix('/') else {
        *within = value;
        return;
    };
    let (step, rest) = path.split_once('/').map_or((path, String::new()), |(step, rest)| (step, format!("/{rest}")));
    let key = step.replace("~1", "/").replace("~0", "~");
    let below = match (key.parse::<usize>(), within) {
        (Ok(at), within) if at < 64 && (within.is_array() || *within == Value::Object(Map::new())) => {
            if !within.is_array() {
                *within = Value::Array(Vec::new());
            }
            let Value::Array(items) = within else { return };
            items.resize(items.len().max(at + 1), Value::Object(Map::new()));
            &mut items[at]
        }
        (_, Value::Object(members)) => members.entry(key).or_insert_with(|| Value::Object(Map::new())),
        _ => return,
    };
    put(below, &rest, value);
}
