//! The rules of a policy for one function call, in the order in which they are asked.
//!
//! What can be told from the call itself is decided here; what depends on other calls becomes questions to the state
//! store. The cheapest and most final come first, and a caller is asked to confirm only what nothing else is against.

mod same;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    checks::{Agreed, Asker, Check, CodeGiven, Family, Part, Question},
    conclude::{Lesson, Sought},
    judge::{Arguments, Refused},
    rewrite::seconds,
};
use crate::{
    code::Proof,
    id::{AgentName, CallDigest, FactKey},
    input::InputFault,
    json::{Node, Value},
    pattern::Access,
    policy::{Agent, CallFact, Confirm, FunctionRules, Pin, Policies, Requirement, Verify},
    record::{CodeSeen, Facts, Heard, Inputs, Rule, Unseen},
    sanitize,
    schema::{self, Author, Leniencies, Schema, Violation},
    swml,
    time::Timestamp,
    turns,
    verdict::Reason,
};

/// A function call, as its rules see it.
pub(super) struct Called<'a> {
    pub(super) asker: &'a Asker<'a>,
    pub(super) rules: &'a Arc<FunctionRules>,
    pub(super) body: &'a Node<'a>,
    pub(super) arguments: Option<&'a Arguments<'a>>,
    pub(super) call: CallDigest,
    /// The caller's number, as far as the body and the token agree on it.
    pub(super) caller: Option<String>,
    /// Whether they don't.
    pub(super) caller_disagrees: bool,
    /// The digest of the parameters that the agent published for it.
    pub(super) schema: [u8; 8],
    /// When the call's tokens die, in Unix seconds.
    pub(super) expiry: u32,
    pub(super) now: Timestamp,
}

/// The schema that the agent published.
enum Learned {
    /// It published none, or none is asked for.
    None,
    Schema(Arc<Schema>),
    /// It isn't known any more, or can't be told: it holds expressions that the platform replaces.
    Unknown,
}

/// The arguments as their schemas took them.
struct Checked {
    arguments: serde_json::Value,
    learned: Option<Arc<Schema>>,
    own: Option<Arc<Schema>>,
}

/// What is left to ask of the state store, and what to look for in the answer.
#[derive(Default)]
pub(super) struct Ruled {
    pub(super) questions: Vec<Question>,
    pub(super) sought: Vec<Sought>,
}

/// Asks all rules.
///
/// # Errors
/// The first that refuses the call, whatever the state store may say.
pub(super) fn apply(called: &Called<'_>, policies: &Policies, facts: &mut Facts) -> Result<Ruled, Refused> {
    let rules = called.rules;
    let mut court = Court { rules, facts };
    if !called.admits_caller(&called.asker.agent.callers) {
        against_agent(called.asker.agent, Rule::Callers, Reason::CallerDenied, court.facts)?;
    }
    if !rules.publish {
        court.against(Rule::Publish, Reason::FunctionDenied)?;
    }
    if !called.admits_caller(&rules.callers) {
        court.against(Rule::Callers, Reason::CallerDenied)?;
    }
    if rules.hours.as_ref().is_some_and(|hours| !hours.is_open(called.now)) {
        court.against(Rule::Hours, Reason::Closed)?;
    }
    let input = called.input_fault();
    court.unseen("input", ("input", None), input.is_ok());
    if let Err(fault) = input {
        court.facts.detail = Some(fault.to_string());
        court.against_argument(Rule::Input, Reason::InputForbidden, None)?;
    }
    let checked = called.check_arguments(policies, &mut court)?;
    for pin in &rules.pin {
        let holds = called.is_pinned(pin);
        court.facts.inputs.pins.push((pin.told(), holds));
        if !holds {
            court.against_argument(Rule::Pin, Reason::ArgumentPinned, Some(&pin.argument))?;
        }
    }
    let code = called.code_given(&mut court)?;
    let questions = called.questions(&checked, code, &mut facts.inputs);
    Ok(Ruled { questions, sought: called.sought() })
}

/// A rule for the whole agent refuses, or, in shadow, only notes that it would.
pub(super) fn against_agent(agent: &Agent, rule: Rule, reason: Reason, facts: &mut Facts) -> Result<(), Reason> {
    if agent.is_shadow(rule) {
        facts.shadowed(rule, reason.as_str());
        return Ok(());
    }
    Err(reason)
}

/// The sentence about an argument.
fn about(sentence: &str, argument: Option<&str>) -> String {
    let name = argument.map_or_else(|| "these details".to_owned(), |name| name.replace('_', " "));
    sentence.replace("{argument}", &name)
}

/// Where rules refuse, or, in shadow, only note that they would.
struct Court<'c> {
    rules: &'c Arc<FunctionRules>,
    facts: &'c mut Facts,
}

// === impl Court ===

impl Court<'_> {
    /// Notes what a rule found in arguments that are not written down whole.
    fn unseen(&mut self, name: &'static str, (key, within): (&str, Option<&str>), fits: bool) {
        if self.facts.arguments.as_deref().is_some_and(|arguments| !sanitize::is_whole(arguments)) {
            let rule = self.rules.digest(key, within);
            self.facts.inputs.unseen.push(Unseen { key: name, rule, fits });
        }
    }

    fn against(&mut self, rule: Rule, reason: Reason) -> Result<(), Refused> {
        if self.rules.is_shadow(rule) {
            self.facts.shadowed(rule, reason.as_str());
            return Ok(());
        }
        Err(Refused::by(self.rules, reason))
    }

    /// The same, where the sentence names an argument.
    fn against_argument(&mut self, rule: Rule, reason: Reason, argument: Option<&str>) -> Result<(), Refused> {
        let sentence = about(&self.rules.say.argument, argument);
        let refused = self.against(rule, reason);
        refused.map_err(|refused| Refused { sentence: Some(sentence), ..refused })
    }
}

// === impl Called ===

impl Called<'_> {
    /// A caller of whom body and token disagree is nobody that a list admits.
    fn admits_caller(&self, access: &Access) -> bool {
        access.is_empty() || (!self.caller_disagrees && access.admits_caller(self.caller.as_deref()))
    }

    fn input_fault(&self) -> Result<(), InputFault> {
        let input = &self.rules.input;
        match self.arguments {
            Some(Arguments::Parsed(node)) => input.check(node, node.span.len()),
            Some(Arguments::Raw(raw, Some(node))) => input.check(node, raw.len()),
            Some(Arguments::Raw(raw, None)) => input.check_raw(raw),
            None => Ok(()),
        }
    }

    fn check_arguments(&self, policies: &Policies, court: &mut Court<'_>) -> Result<Checked, Refused> {
        let rules = &self.rules.arguments;
        let arguments = self.arguments.and_then(Arguments::node);
        let is_checked = rules.own.is_some() || (rules.learned && self.schema != [0; 8]);
        if self.arguments.is_some() && arguments.is_none() && is_checked {
            // The model wrote no JSON: an agent may read it as it likes, so nothing can be vouched for.
            court.against_argument(Rule::Arguments, Reason::ArgumentsInvalid, None)?;
        }
        let learned = if rules.learned { self.learned(policies) } else { Learned::None };
        if matches!(learned, Learned::Unknown) {
            court.facts.schema_unknown = true;
            if rules.denies_unknown {
                court.against(Rule::Arguments, Reason::SchemaUnknown)?;
            }
        }
        let learned = match learned {
            Learned::Schema(schema) => Some(schema),
            Learned::None | Learned::Unknown => None,
        };
        let own = rules.own.clone();
        let checked = schema::check(arguments, learned.as_deref(), own.as_deref(), &rules.lenient);
        let at_fault = checked.as_ref().map_or_else(|violation| violation.of, |_| Some(Author::Policy));
        let inputs = &mut court.facts.inputs;
        inputs.published_fits = learned.as_ref().and(at_fault).map(|author| author == Author::Policy);
        inputs.lenient = inputs.published_fits.and_then(|_| rules.lenient.told());
        if own.is_some() && at_fault == Some(Author::Policy) {
            court.unseen("arguments", ("arguments", None), checked.is_ok());
        }
        match checked {
            Ok(arguments) => Ok(Checked { arguments, learned, own }),
            Err(Violation { argument, keyword, .. }) => {
                let argument = argument.as_deref();
                court.facts.detail = Some(format!("{}: {keyword}", argument.unwrap_or("arguments")));
                court.against_argument(Rule::Arguments, Reason::ArgumentsInvalid, argument)?;
                // Nothing passed, so nothing is said of it.
                Ok(Checked { arguments: serde_json::Value::Null, learned: None, own: None })
            }
        }
    }

    /// What the agent published: as it was seen leaving, or as the platform sends it back, if that is the same.
    fn learned(&self, policies: &Policies) -> Learned {
        if self.schema == [0; 8] {
            return Learned::None;
        }
        let schemas = policies.schemas();
        let sent = self.body.get("argument_desc");
        let found = schemas.find(self.schema).or_else(|| {
            let sent = sent.filter(|sent| swml::digest_of_parameters(sent) == self.schema)?;
            schemas.learn(self.schema, || sent.canonical());
            schemas.find(self.schema)
        });
        found.map_or(Learned::Unknown, Learned::Schema)
    }

    /// What depends on other calls, the confirmation last.
    fn questions(&self, checked: &Checked, code: Option<CodeGiven>, inputs: &mut Inputs) -> Vec<Question> {
        let rules = self.rules;
        let mut questions = Vec::with_capacity(8);
        let of = |rule, check, reason| Question::of(rule, rules.is_shadow(rule), check, reason).of_function();
        let limits = self.asker.rates(&rules.limits, &Family::Function, rules.is_shadow(Rule::Limits));
        questions.extend(limits.map(Question::of_function));
        for requirement in &rules.requires {
            let check = Check::Fact(self.met(requirement));
            questions.push(of(Rule::Requires, check, Reason::Precondition));
        }
        if rules.once {
            let meant = self.by_meaning(checked);
            inputs.meant_otherwise = checked.learned.is_some() && meant != self.by_themselves();
            let fact = self.fact("once", &[self.function(), &meant]);
            let check = Check::Once { fact, expiry: self.expiry };
            questions.push(of(Rule::Once, check, Reason::Repeated));
        }
        if let Some(code) = code {
            questions.push(of(Rule::Verify, Check::Code(code), Reason::CodeWrong));
        }
        if let Some(confirm) = &rules.confirm {
            let agreed = self.agreed(confirm);
            inputs.heard = confirm.words.as_ref().map(|words| Heard {
                turns: agreed.turns,
                agreed_at: agreed.agreed_at,
                words: words.digest(),
            });
            let check = Check::Agreed(agreed);
            let sentence =
                confirm.say.fill(&checked.arguments, |name| !rules.sensitive.contains(name) && checked.declares(name));
            questions.push(of(Rule::Confirm, check, Reason::ConfirmationAsked).saying(sentence));
        }
        questions
    }

    /// The code that the call needs, as it was given; `None` if it needs none.
    fn code_given(&self, court: &mut Court<'_>) -> Result<Option<CodeGiven>, Refused> {
        let Some(verify) = self.rules.verify.as_deref() else { return Ok(None) };
        let needs_code = self.needs_code(verify);
        court.unseen("when", ("verify", Some("when")), needs_code);
        if !needs_code {
            return Ok(None);
        }
        let argument = self.arguments.and_then(|arguments| arguments.node()?.get(&verify.argument));
        let Some(given) = argument.and_then(as_text).filter(|given| !given.trim().is_empty()) else {
            court.facts.inputs.code = Some(CodeSeen::Missing);
            court.against(Rule::Verify, Reason::CodeMissing)?;
            return Ok(None);
        };
        let proof = verify.code.check(&given, self.now);
        let right = |proof: &Proof| CodeSeen::Right { step: proof.steps_after(self.now) };
        court.facts.inputs.code = Some(proof.as_ref().map_or(CodeSeen::Wrong, right));
        let caller = self.whose_guesses().map(|whose| fact(&self.asker.agent.name, &whose, "code", &[self.function()]));
        let step = proof.as_ref().and_then(|proof| proof.step());
        Ok(Some(CodeGiven {
            counters: [Some(self.fact("code", &[self.function()])), caller].into_iter().flatten().collect(),
            is_right: proof.is_some(),
            use_once: step.map(|step| fact(&self.asker.agent.name, &verify.code.mark(), "used", &[&step.to_string()])),
            attempts: verify.attempts,
            lock: seconds(verify.lock),
        }))
    }

    /// Whose wrong codes are counted besides the call's; nobody's, where callers without a number are told apart by their
    /// calls alone.
    fn whose_guesses(&self) -> Option<Vec<u8>> {
        match self.asker.caller_part()? {
            Part::Of(caller) => Some(caller.0.to_vec()),
            Part::Unidentified | Part::Any => Some(Vec::new()),
        }
    }

    /// Arguments of which nothing can be told need it too.
    fn needs_code(&self, verify: &Verify) -> bool {
        let Some(when) = &verify.when else { return true };
        let arguments = self.arguments.and_then(Arguments::node);
        let is_readable = self.arguments.is_none() || arguments.is_some();
        !is_readable || when.is_met(arguments, &Leniencies::default())
    }

    fn agreed(&self, confirm: &Confirm) -> Agreed {
        let count = |turns: usize| u32::try_from(turns).unwrap_or(u32::MAX);
        let words = confirm.words.as_ref();
        Agreed {
            fact: self.fact("asked", &[self.function(), &self.as_written()]),
            answered: self.fact("answered", &[]),
            expiry: self.expiry,
            turns: words.and_then(|_| turns::user_turns(self.body)).map(count),
            agreed_at: words.and_then(|words| words.agreed_at(self.body)).map(count),
            trusts_model: words.is_none(),
            until: self.now.unix_seconds_after(confirm.within),
        }
    }

    fn sought(&self) -> Vec<Sought> {
        let requirements = self.asker.agent.functions.sought_of(self.function());
        let sought = |requirement: &Arc<Requirement>| Sought {
            requirement: Arc::clone(requirement),
            lesson: Lesson { fact: self.met(requirement), expiry: self.expiry },
        };
        requirements.iter().map(sought).collect()
    }

    /// That another function succeeded in this call.
    fn met(&self, requirement: &Requirement) -> FactKey {
        let Requirement { function, pointer, equals } = requirement;
        self.fact("met", &[function.as_str(), pointer, equals])
    }

    fn is_pinned(&self, pin: &Pin) -> bool {
        let argument = self.arguments.and_then(|arguments| arguments.node()?.get(&pin.argument));
        let Some(argument) = argument else { return false };
        match &pin.to {
            CallFact::Caller => argument.as_str().is_some_and(|text| {
                let number = crate::call::Caller::from_number(text);
                number.number().is_some_and(|number| Some(number) == self.caller.as_deref())
            }),
            fact => fact.find(self.body).is_some_and(|fact| says_something(fact) && is_equal(argument, fact)),
        }
    }

    fn function(&self) -> &str {
        self.asker.function.map_or("", |name| name.as_str())
    }

    fn fact(&self, kind: &str, parts: &[&str]) -> FactKey {
        fact(&self.asker.agent.name, &self.call.0, kind, parts)
    }
}

// === impl Checked ===

impl Checked {
    /// Whether a schema says what this argument is.
    fn declares(&self, argument: &str) -> bool {
        [&self.learned, &self.own].into_iter().flatten().any(|schema| schema.declares(argument))
    }
}

/// A fact of a call, or of what else is named by a digest.
fn fact(agent: &AgentName, whose: &[u8], kind: &str, parts: &[&str]) -> FactKey {
    let mut digest = Sha256::new();
    for part in
        [kind.as_bytes(), agent.as_str().as_bytes(), whose].into_iter().chain(parts.iter().map(|p| p.as_bytes()))
    {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest: [u8; 32] = digest.finalize().into();
    let mut first = [0; 16];
    first.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    FactKey(first)
}

/// What isn't known yet pins nothing.
fn says_something(fact: &Node<'_>) -> bool {
    fact.value != Value::Null && fact.as_str() != Some("")
}

/// Whether an argument is the same as a fact: by meaning, or as text, since models write numbers as text.
fn is_equal(argument: &Node<'_>, fact: &Node<'_>) -> bool {
    argument.means(fact) || as_text(argument).is_some_and(|argument| as_text(fact) == Some(argument))
}

/// Text, or a number as it was written.
fn as_text(node: &Node<'_>) -> Option<String> {
    match &node.value {
        Value::String(text) => Some(text.to_string()),
        Value::Number(number) => Some((*number).to_owned()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
