//! `functions`: the rules for single functions, each key over `default`, and that over what is built in.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{ArgumentRules, CallFact, FunctionRules, Functions, Given, Pin, Requirement, Sentences, Shadow},
    Secrets, arguments, confirm, hours, patterns, rules, texts,
};
use crate::{
    id::FunctionName,
    input::InputRules,
    pattern::Access,
    record::Rule,
    sanitize::SensitiveNames,
    yaml::{Field, Fields, quoted},
};

/// How many functions a policy may name.
const MAX_FUNCTIONS: usize = 500;

/// How many requirements, or pinned arguments, a function may have.
const MAX_LISTED: usize = 16;

/// What functions have of their agent.
pub(super) struct OfAgent<'a> {
    pub(super) say: &'a Sentences,
    pub(super) sensitive: &'a [String],
    /// The rules of functions that are in shadow because all of the agent's are.
    pub(super) shadow: Shadow,
}

pub(super) fn functions(field: Field<'_>, agent: &OfAgent<'_>, secrets: &dyn Secrets) -> Functions {
    let entries = if field.is_given() { field.map(MAX_FUNCTIONS) } else { None }.unwrap_or_default();
    let (default, named): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(name, _)| name == "default");
    let mut base = built_in(agent);
    for (_, field) in default {
        base = field.mapping(|fields| Some(function(fields, &base, true, secrets))).unwrap_or(base);
    }
    let mut rules = HashMap::new();
    for (name, field) in named {
        let (place, report) = (field.key_place(), field.report());
        match named_function(&name) {
            Ok(name) => {
                let own = field.mapping(|fields| Some(function(fields, &base, false, secrets)));
                if let Some(own) = own {
                    if own.requires.iter().any(|requirement| requirement.function == name) {
                        report.note(place, format!("{} can't require itself", quoted(name.as_str())));
                    }
                    rules.insert(name, Arc::new(own));
                }
            }
            Err(message) => report.note(place, message),
        }
    }
    Functions::new(base, rules)
}

fn named_function(name: &str) -> Result<FunctionName, String> {
    let parsed = name.parse::<FunctionName>().map_err(|error| format!("{}: {error}", quoted(name)))?;
    if parsed.is_hook() {
        Err(format!("{} is called by the platform itself, and no rule holds for it; remove it", quoted(name)))
    } else {
        Ok(parsed)
    }
}

fn built_in(agent: &OfAgent<'_>) -> FunctionRules {
    FunctionRules {
        publish: true,
        input: Arc::new(InputRules::default()),
        arguments: ArgumentRules::default(),
        hours: None,
        callers: Access::default(),
        requires: Vec::new(),
        confirm: None,
        verify: None,
        pin: Vec::new(),
        once: false,
        limits: Vec::new(),
        allows_unmediated: false,
        say: agent.say.clone(),
        sensitive: SensitiveNames::with(agent.sensitive.iter().cloned()),
        shadow: agent.shadow,
        given: Vec::new(),
    }
}

/// The keys of a function, remembered with their places.
struct Keys<'f, 'r> {
    fields: &'f mut Fields<'r>,
    given: Vec<Given>,
    by_default: bool,
}

impl<'r> Keys<'_, 'r> {
    /// The value of a key, if the file has one.
    fn take(&mut self, key: &'static str) -> Option<Field<'r>> {
        self.given.extend(Given::of(self.fields, key, self.by_default));
        let field = self.fields.take(key);
        field.is_given().then_some(field)
    }
}

fn function(fields: &mut Fields<'_>, base: &FunctionRules, by_default: bool, secrets: &dyn Secrets) -> FunctionRules {
    let mut keys = Keys { fields, given: base.given.clone(), by_default };
    keys.given.extend(["mode", "shadow"].into_iter().filter_map(|key| Given::of(keys.fields, key, by_default)));
    let publish = keys.take("publish").and_then(Field::bool);
    let input = keys.take("input").map(|field| Arc::new(texts::input(field)));
    let arguments = argument_rules(&mut keys, &base.arguments);
    let hours = keys.take("hours").and_then(hours::hours).map(Arc::new);
    let callers = keys.take("callers").and_then(patterns::callers);
    let requires = keys.take("requires").map(requirements);
    let pin = keys.take("pin").map(pins);
    let once = keys.take("once").and_then(Field::bool);
    let limits = keys.take("limits").map(rules::limits);
    let allows_unmediated = keys.take("insecure_unmediated").and_then(Field::bool);
    let sensitive = keys.take("sensitive").map(rules::sensitive);
    let say = keys.take("say").map(|field| field.section(|fields| rules::function_sentences(fields, base.say.clone())));
    let verify = keys.take("verify").and_then(|field| field.mapping(|fields| confirm::verify(fields, secrets)));
    let verify = verify.map(Arc::new).or_else(|| base.verify.clone());
    // A code is nobody else's business.
    let code = verify.iter().map(|verify| verify.argument.clone());
    let sensitive = base.sensitive.and(sensitive.into_iter().flatten().chain(code));
    let confirm = keys.take("confirm").and_then(|field| field.mapping(|f| confirm::confirm(f, &sensitive)));
    let Keys { fields, given, .. } = keys;
    let shadow = rules::shadow(fields, Rule::is_of_functions);
    FunctionRules {
        publish: publish.unwrap_or(base.publish),
        input: input.unwrap_or_else(|| Arc::clone(&base.input)),
        arguments,
        hours: hours.or_else(|| base.hours.clone()),
        callers: callers.unwrap_or_else(|| base.callers.clone()),
        requires: requires.unwrap_or_else(|| base.requires.clone()),
        verify,
        confirm: confirm.map(Arc::new).or_else(|| base.confirm.clone()),
        pin: pin.unwrap_or_else(|| base.pin.clone()),
        once: once.unwrap_or(base.once),
        limits: limits.unwrap_or_else(|| base.limits.clone()),
        allows_unmediated: allows_unmediated.unwrap_or(base.allows_unmediated),
        say: say.unwrap_or_else(|| base.say.clone()),
        sensitive,
        shadow: base.shadow.and(shadow),
        given,
    }
}

fn argument_rules(keys: &mut Keys<'_, '_>, base: &ArgumentRules) -> ArgumentRules {
    let own = keys.take("arguments").and_then(arguments::own);
    let learned = keys.take("learned_schema").and_then(arguments::learned);
    let denies_unknown = keys.take("unknown_schema").and_then(arguments::denies_unknown);
    let lenient = keys.take("lenient").and_then(arguments::leniencies);
    ArgumentRules {
        own: own.unwrap_or_else(|| base.own.clone()),
        learned: learned.unwrap_or(base.learned),
        denies_unknown: denies_unknown.unwrap_or(base.denies_unknown),
        lenient: lenient.unwrap_or(base.lenient),
    }
}

// === requires ===

fn requirements(field: Field<'_>) -> Vec<Arc<Requirement>> {
    let items = field.list(MAX_LISTED).unwrap_or_default();
    items.into_iter().filter_map(|item| item.mapping(requirement)).collect()
}

fn requirement(fields: &mut Fields<'_>) -> Option<Arc<Requirement>> {
    let function = fields.take("function").required().parse(named_function);
    let success = fields.take("success").required().mapping(|fields| {
        let pointer = fields.take("pointer").required().parse(pointer);
        let equals = fields.take("equals").required().json();
        Some((pointer?, equals?))
    });
    let (function, (pointer, equals)) = (function?, success?);
    Some(Arc::new(Requirement { function, pointer, equals: equals.to_string() }))
}

/// RFC 6901: empty, or steps that each begin with a slash; `~` only as `~0` and `~1`.
fn pointer(text: &str) -> Result<String, &'static str> {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if (text.is_empty() || text.starts_with('/')) && escapes && text.len() <= 256 {
        Ok(text.to_owned())
    } else {
        Err("write a JSON pointer into the function's answer, like `/response` or `/action/0/set_global_data/verified`")
    }
}

// === pin ===

fn pins(field: Field<'_>) -> Vec<Pin> {
    let pin = |(argument, field): (String, Field<'_>)| {
        let to = field.parse(call_fact)?;
        Some(Pin { argument, to })
    };
    field.map(MAX_LISTED).unwrap_or_default().into_iter().filter_map(pin).collect()
}

fn call_fact(text: &str) -> Result<CallFact, &'static str> {
    const ADVICE: &str = "write `caller`, `global_data.account` or `meta_data.account`";
    let (word, path) = text.split_once('.').unwrap_or((text, ""));
    let path: Vec<String> = path.split('.').map(str::to_owned).collect();
    let is_path = path.iter().all(|key| !key.is_empty() && key.len() <= 128) && path.len() <= 16;
    match word {
        "caller" if text == "caller" => Ok(CallFact::Caller),
        "global_data" if is_path => Ok(CallFact::GlobalData(path)),
        "meta_data" if is_path => Ok(CallFact::MetaData(path)),
        _ => Err(ADVICE),
    }
}
