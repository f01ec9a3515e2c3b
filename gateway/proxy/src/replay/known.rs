//! What a record tells of a function call, made a call that can be decided again; and what it doesn't tell.

use serde_json::{Map, Value};
use swaigate_core::{
    call::Caller,
    id::{AgentName, FunctionName},
    policy::{CallFact, FunctionRules, Pin, Shadow},
    record::Rule,
    sanitize,
};

use super::record::{Heard, Record};
use crate::{
    audit,
    rehearsal::{Function, Published, Rehearsal, Turn, Without},
};

/// A number that nobody has: what a body says that names another caller than the token.
const SOMEBODY_ELSE: &str = "+999999999999999";

/// What a caller says that decides nothing.
const MURMUR: &str = "…";

/// A rule, and why it can't be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) rule: Rule,
    pub(super) why: &'static str,
}

/// A function call of which enough is known to decide it again, but for some rules.
#[derive(Debug)]
pub(super) struct Known {
    name: FunctionName,
    arguments: Option<String>,
    /// Whether they are the arguments that came.
    pub(super) is_whole: bool,
    caller: Option<String>,
    global_data: Map<String, Value>,
    meta_data: Map<String, Value>,
    turns: Option<Vec<Turn>>,
    published: Published,
    without: Without,
    pub(super) doubts: Vec<Doubt>,
}

/// What is known of the call that a function was called in.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) rehearsal: &'a Rehearsal,
    pub(super) agent: &'a AgentName,
    /// Whether the caller's number is the one of the log.
    pub(super) knows_caller: bool,
    /// The number that the call was begun with here.
    pub(super) caller: Option<&'a str>,
    /// How large the body of a function call may be, in bytes.
    pub(super) max_body: usize,
    /// Whether the policy lists which callers the agent is for.
    pub(super) agent_lists_callers: bool,
    /// Requirements that were met, or not, by an answer that isn't in the log.
    pub(super) unknown_answers: &'a dyn Fn(&FunctionRules) -> bool,
}

const REDACTED: &str = "its arguments were redacted, or too long to be written";
const UNHEARD: &str = "what the caller said was not asked, or with other words";

// === impl Known ===

impl Known {
    pub(super) fn of(record: &Record, name: FunctionName, rules: &FunctionRules, around: &Around<'_>) -> Self {
        let text = record.arguments.as_ref().map(|arguments| arguments.get());
        let is_whole = text.is_none_or(sanitize::is_whole);
        let caller = if record.caller_disagrees {
            Some(SOMEBODY_ELSE.to_owned())
        } else {
            record.caller.as_ref().map(|number| around.caller.unwrap_or(number).to_owned())
        };
        let mut known = Self {
            name,
            arguments: None,
            is_whole,
            caller,
            global_data: Map::new(),
            meta_data: Map::new(),
            turns: None,
            published: Published::Nothing,
            without: Without::NOTHING,
            doubts: Vec::new(),
        };
        let mut arguments = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        known.take_callers(rules, around);
        if known.take_input(record, rules, around) {
            // What is too large is refused for the same reason.
            known.arguments = Some(format!(r#"{{"too large":"{}"}}"#, "x".repeat(rules.input.max_bytes)));
            return known;
        }
        let is_no_json = arguments.as_ref().is_some_and(Value::is_string);
        known.take_schemas(record, rules, is_no_json);
        known.take_code(record, rules, around, &mut arguments);
        rules.pin.iter().for_each(|pin| known.take_pin(record, pin, around, &mut arguments));
        if (around.unknown_answers)(rules) {
            known.doubt(Rule::Requires, "the answer of the function that it requires is not in the log");
        }
        known.take_turns(record, rules);
        known.arguments = arguments.map(|arguments| told(&arguments, text));
        known
    }

    /// The call.
    pub(super) fn function<'k>(&'k self, record: &'k Record) -> Function<'k> {
        Function {
            name: self.name.as_str(),
            arguments: self.arguments.as_deref(),
            caller: self.caller.as_deref(),
            global_data: self.global_data.clone(),
            meta_data: self.meta_data.clone(),
            turns: self.turns.as_deref(),
            client: record.client,
            call_id: record.call_id.as_deref(),
            published: self.published,
            without: self.without,
        }
    }

    /// The same without this rule.
    pub(super) fn leave_out(&mut self, rule: Rule) {
        self.without.rules = self.without.rules.and(Shadow::of([rule]));
    }

    /// A rule that can't be asked is left out.
    fn doubt(&mut self, rule: Rule, why: &'static str) {
        self.leave_out(rule);
        self.doubts.push(Doubt { rule, why });
    }

    fn take_callers(&mut self, rules: &FunctionRules, around: &Around<'_>) {
        if !around.knows_caller && (around.agent_lists_callers || !rules.callers.is_empty()) {
            self.doubt(Rule::Callers, "the caller's number is not in the log");
        }
    }

    /// Whether the arguments are known to be refused.
    fn take_input(&mut self, record: &Record, rules: &FunctionRules, around: &Around<'_>) -> bool {
        if self.is_whole {
            return false;
        }
        let can_be_refused = rules.input.max_bytes < around.max_body / 4 && !rules.is_shadow(Rule::Input);
        match unseen(record, "input", rules.digest("input", None)) {
            Some(false) if can_be_refused => return true,
            Some(true) => self.leave_out(Rule::Input),
            Some(false) | None => self.doubt(Rule::Input, REDACTED),
        }
        false
    }

    fn take_schemas(&mut self, record: &Record, rules: &FunctionRules, is_no_json: bool) {
        let asked = &rules.arguments;
        self.published = match record.inputs.published_fits {
            _ if record.schema.is_none() || !asked.learned => Published::Nothing,
            _ if record.schema_unknown => Published::Unknown,
            Some(true) if record.inputs.lenient == asked.lenient.told() => Published::Fits,
            Some(false) if record.inputs.lenient == asked.lenient.told() => Published::Misfits,
            Some(_) | None => {
                self.doubts.push(Doubt {
                    rule: Rule::Arguments,
                    why: "whether its arguments fit the agent's schema was not asked, or forgiving other things",
                });
                Published::Fits
            }
        };
        // What is no JSON fits no schema.
        if asked.own.is_none() || self.is_whole || is_no_json {
            return;
        }
        match unseen(record, "arguments", rules.digest("arguments", None)) {
            Some(true) => self.leave_out(Rule::Arguments),
            // What fits the one and not the other is refused for the same reason.
            Some(false) if asked.learned => self.published = Published::Misfits,
            Some(false) | None => self.doubt(Rule::Arguments, REDACTED),
        }
    }

    fn take_code(
        &mut self,
        record: &Record,
        rules: &FunctionRules,
        around: &Around<'_>,
        arguments: &mut Option<Value>,
    ) {
        let Some(verify) = rules.verify.as_deref() else { return };
        if verify.when.is_some() && !self.is_whole {
            match unseen(record, "when", rules.digest("verify", Some("when"))) {
                Some(true) => self.without.condition = true,
                Some(false) => return self.leave_out(Rule::Verify),
                None => return self.doubt(Rule::Verify, REDACTED),
            }
        }
        let code = |right| around.rehearsal.code(around.agent, self.name.as_str(), right).map(|(_, code)| code);
        let given = match record.inputs.code.as_deref() {
            Some("right") => code(Some(0)),
            Some("right_before") => code(Some(-1)),
            Some("right_after") => code(Some(1)),
            Some("wrong") => code(None),
            Some(_) => Some(String::new()),
            None if arguments.as_ref().is_none_or(|arguments| is_without(arguments, &verify.argument))
                && self.is_whole =>
            {
                return;
            }
            None => None,
        };
        let Some(given) = given else { return self.doubt(Rule::Verify, "which code was given is not in the log") };
        if let Value::Object(members) = arguments.get_or_insert_with(|| Value::Object(Map::new())) {
            members.insert(verify.argument.clone(), given.into());
        }
    }

    fn take_pin(&mut self, record: &Record, pin: &Pin, around: &Around<'_>, arguments: &mut Option<Value>) {
        let held = record.inputs.pins.get(&pin.told()).copied();
        let visible = arguments.as_ref().and_then(|arguments| arguments.get(&pin.argument));
        let is_visible = visible.is_some_and(|value| *value != sanitize::REDACTED) || self.is_whole;
        let is_held = match (held, &pin.to) {
            (Some(held), _) => held,
            (None, CallFact::Caller) if is_visible && around.knows_caller => return,
            (None, _) => {
                self.doubts
                    .push(Doubt { rule: Rule::Pin, why: "whether the argument was the pinned fact was not asked" });
                true
            }
        };
        let Value::Object(members) = arguments.get_or_insert_with(|| Value::Object(Map::new())) else { return };
        match &pin.to {
            CallFact::Caller if is_held && !is_callers(members.get(&pin.argument), around.caller) => {
                members.insert(pin.argument.clone(), around.caller.unwrap_or_default().into());
            }
            CallFact::Caller => {}
            CallFact::GlobalData(path) | CallFact::MetaData(path) if is_held => {
                let value = members.entry(pin.argument.clone()).or_insert_with(|| "held".into()).clone();
                let is_global = matches!(pin.to, CallFact::GlobalData(_));
                insert(if is_global { &mut self.global_data } else { &mut self.meta_data }, path, value);
            }
            CallFact::GlobalData(_) | CallFact::MetaData(_) => {}
        }
    }

    fn take_turns(&mut self, record: &Record, rules: &FunctionRules) {
        let Some(words) = rules.confirm.as_deref().and_then(|confirm| confirm.words.as_ref()) else { return };
        let heard = record.inputs.heard.as_ref().filter(|heard| heard.words == audit::hex(&words.digest()));
        let accepted = words.accepted().first().map(|phrase| phrase.text());
        match (heard, accepted) {
            (Some(heard), Some(accepted)) => self.turns = turns(heard, &accepted),
            _ => self.doubt(Rule::Confirm, UNHEARD),
        }
    }
}

/// What was found in arguments that the log doesn't have.
fn unseen(record: &Record, key: &str, rule: [u8; 4]) -> Option<bool> {
    record.inputs.unseen.get(&format!("{key}:{}", audit::hex(&rule))).copied()
}

/// The caller's turns, of which one agreed.
fn turns(heard: &Heard, accepted: &str) -> Option<Vec<Turn>> {
    let turn = |at| if heard.agreed_at == Some(at) { accepted } else { MURMUR };
    heard.turns.map(|turns| (0..turns.min(100_000)).map(|at| Turn::Caller(turn(at).to_owned())).collect())
}

fn is_without(arguments: &Value, argument: &str) -> bool {
    arguments.as_object().is_some_and(|members| !members.contains_key(argument))
}

fn is_callers(argument: Option<&Value>, caller: Option<&str>) -> bool {
    let number = argument.and_then(Value::as_str).map(Caller::from_number);
    number.is_some_and(|number| number.number().is_some() && number.number() == caller)
}

/// Puts a value where a path leads, key by key.
fn insert(data: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => drop(data.insert(last.clone(), value)),
        [first, rest @ ..] => {
            let mut below = match data.remove(first) {
                Some(Value::Object(below)) => below,
                Some(_) | None => Map::new(),
            };
            insert(&mut below, rest, value);
            data.insert(first.clone(), Value::Object(below));
        }
    }
}

/// As JSON, and as it was written if it is that; what was no JSON when it came is none here either.
fn told(arguments: &Value, written: Option<&str>) -> String {
    let as_written = written.filter(|text| serde_json::from_str::<Value>(text).is_ok_and(|value| value == *arguments));
    match (arguments, as_written) {
        (Value::String(text), _) if text == sanitize::REDACTED => "no JSON".to_owned(),
        (_, Some(written)) => written.to_owned(),
        (arguments, None) => arguments.to_string(),
    }
}
