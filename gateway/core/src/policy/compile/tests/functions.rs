//! `functions`, `calls`, `callers`, `mode` and `shadow`.

use std::sync::Arc;

use super::*;
use crate::{
    json,
    policy::{CallFact, CallRules, FunctionRules, Pin, Requirement, Shadow},
    record::Rule,
    time::Timestamp,
};

fn rules(text: &str, function: &str) -> FunctionRules {
    agent(&format!("functions: {text}")).functions.rules(function).as_ref().clone()
}

#[test]
fn without_a_word_a_function_is_there_and_keeps_to_its_schema() {
    let rules = agent("").functions.rules("anything").as_ref().clone();
    assert!(rules.publish && !rules.once && rules.arguments.learned && !rules.needs_gateway());
    assert!(rules.requires.is_empty() && rules.pin.is_empty() && rules.limits.is_empty() && rules.given.is_empty());
    assert!(!rules.allows_unmediated && !rules.arguments.denies_unknown && rules.confirm.is_none());
    assert_eq!((rules.say, rules.shadow), (Sentences::default(), Shadow::default()));
}

#[test]
fn a_function_says_what_default_does_not_and_default_what_the_agent_does_not() {
    let text = "\
say: { limited: agent, closed: agent, busy: agent }
sensitive: [of_agent]
functions:
  default: { publish: false, once: true, say: { limited: default, closed: default }, sensitive: [of_default] }
  f: { publish: true, say: { limited: own }, sensitive: [own] }
";
    let functions = agent(text).functions;
    let (own, other) = (functions.rules("f"), functions.rules("g"));
    assert_eq!((own.publish, own.once, other.publish, other.once), (true, true, false, true));
    let say = |rules: &FunctionRules| [&rules.say.limited, &rules.say.closed, &rules.say.busy].map(String::clone);
    assert_eq!(say(own), ["own", "default", "agent"]);
    assert_eq!(say(other), ["default", "default", "agent"]);
    for name in ["own", "of_default", "of_agent", "pin"] {
        assert!(own.sensitive.contains(name), "{name}");
    }
    assert!(!other.sensitive.contains("own"));
    let place = |key| own.given(key).map(|given| (given.by_default, given.place.line)).collect::<Vec<_>>();
    assert_eq!([place("once"), place("hours")], [vec![(true, 6)], vec![]], "what `explain` shows");
    for key in ["publish", "say", "sensitive"] {
        assert_eq!(place(key), [(false, 7), (true, 6)], "{key}: the nearest first");
    }
}

#[test]
fn requirements_pins_and_limits() {
    let of = "{ f: { requires: [{ function: g, success: { pointer: /a~1b/0, equals: { x: 1.5 } } }], \
              pin: { a: caller, b: global_data.x.y, c: meta_data.z }, limits: [{ per: agent, allow: 1, every: 1s }] } }";
    let found = rules(of, "f");
    let wanted =
        Requirement { function: "g".parse().unwrap(), pointer: "/a~1b/0".into(), equals: r#"{"x":1.5}"#.into() };
    let wanted = Arc::new(wanted);
    assert_eq!(found.requires, std::slice::from_ref(&wanted));
    let pin = |argument: &str, to| Pin { argument: argument.into(), to };
    assert_eq!(
        found.pin,
        [
            pin("a", CallFact::Caller),
            pin("b", CallFact::GlobalData(vec!["x".into(), "y".into()])),
            pin("c", CallFact::MetaData(vec!["z".into()])),
        ]
    );
    assert_eq!(found.limits[0].limit.per, Per::default());
    let functions = agent(&format!("functions: {of}")).functions;
    assert_eq!((functions.sought_of("g"), functions.sought_of("f")), (std::slice::from_ref(&wanted), [].as_slice()));
    let met = |answer: &str| wanted.is_met_by(&json::parse(answer.as_bytes()).unwrap());
    assert!(met(r#"{"a/b":[{"x":15e-1}]}"#));
    assert!(!met(r#"{"a/b":[{"x":1.5,"y":0}]}"#) && !met(r#"{"a/b":[]}"#) && !met("{}"));
}

#[test]
fn confirmations_hours_and_callers() {
    let found = rules(
        "{ f: { confirm: { say: 'Do {x}?', words: [go], within: 5s }, hours: { zone: UTC, open: ['Sun 00:00-24:00'] }, \
         callers: { allow: ['+1*'] } }, g: { confirm: { insecure_model_only: true } } }",
        "f",
    );
    let confirm = found.confirm.as_ref().unwrap();
    assert_eq!((confirm.within, confirm.say.arguments().collect::<Vec<_>>()), (Duration::from_secs(5), vec!["x"]));
    assert!(confirm.words.is_some() && found.needs_gateway());
    // Thursday, the first of January 1970.
    assert!(!found.hours.as_ref().unwrap().is_open(Timestamp(0)));
    assert!(found.callers.admits_caller(Some("+15551230001")) && !found.callers.admits_caller(None));
    let by_model = rules("{ f: { confirm: { insecure_model_only: true } } }", "f").confirm.unwrap();
    assert_eq!((by_model.words.is_none(), by_model.within), (true, Duration::from_secs(120)));
    let callers = agent("callers: { unidentified: shared, deny: [unidentified] }").callers;
    assert!(!callers.admits_caller(None) && callers.admits_caller(Some("+15551230001")));
}

#[test]
fn calls_have_their_bounds() {
    let calls = agent(
        "calls: { per_caller: { allow: 5, every: 1h, burst: 2, mode: shadow }, concurrent_per_caller: 2, concurrent: 3, idle: 2m }",
    )
    .calls;
    let limit = Limit { per: Per::CALLER, allow: 5, every: Duration::from_secs(3600), burst: 2 };
    assert_eq!(calls.limits, [LimitRule { limit, is_shadow: true }]);
    assert_eq!((calls.concurrent_per_caller, calls.concurrent, calls.idle.as_secs()), (Some(2), Some(3), 120));
    assert_eq!(agent("").calls, CallRules::default());
}

#[test]
fn rules_are_in_shadow_where_they_stand() {
    let all = agent("mode: shadow\nfunctions: { f: {} }");
    assert!(all.is_shadow(Rule::Limits) && all.functions.rules("f").is_shadow(Rule::Once));
    let some = agent(
        "shadow: [limits, calls]\nfunctions: { default: { shadow: [once] }, f: { shadow: [pin] }, g: { mode: shadow } }",
    );
    assert!(some.is_shadow(Rule::Calls) && !some.is_shadow(Rule::Callers));
    let shadow = |function: &str| {
        let rules = some.functions.rules(function);
        [Rule::Once, Rule::Pin, Rule::Hours, Rule::Limits].map(|rule| rules.is_shadow(rule))
    };
    assert_eq!(shadow("f"), [true, true, false, false], "the limits of the agent are the agent's");
    assert_eq!(shadow("g"), [true; 4]);
}

#[test]
fn mistakes_about_functions_have_their_place_and_their_words() {
    let cases = [
        (
            "functions: { startup_hook: {} }",
            "3:14: `startup_hook` is called by the platform itself, and no rule holds for it; remove it",
        ),
        ("functions: { 'a b': {} }", "3:14: `a b`: a function's name is 1 to 128 of a-z A-Z 0-9 _ . -"),
        ("functions: { f: { publsh: true } }", "3:19: unknown key `publsh`; did you mean `publish`?"),
        (
            "functions: { f: { requires: [{ function: f, success: { pointer: '', equals: 1 } }] } }",
            "3:14: `f` can't require itself",
        ),
        (
            "functions: { f: { requires: [{ function: g, success: { pointer: a, equals: 1 } }] } }",
            "3:65: `pointer`: write a JSON pointer into the function's answer, like `/response` or `/action/0/set_global_data/verified`",
        ),
        ("functions: { f: { requires: [{ function: g }] } }", "3:30: `success` is missing"),
        (
            "functions: { f: { pin: { a: b } } }",
            "3:29: `a`: write `caller`, `global_data.account` or `meta_data.account`",
        ),
        (
            "functions: { f: { arguments: strict } }",
            "3:30: `arguments`: write `learned`, or a JSON Schema like `{ properties: { amount: { maximum: 100 } } }`",
        ),
        (
            "functions: { f: { confirm: { say: 'Your {pin}?', words: [go] } } }",
            "3:35: `pin` is sensitive, so it is never said; leave it out",
        ),
        (
            "functions: { f: { confirm: { say: '{', words: [go] } } }",
            "3:35: `say`: write arguments as `{amount}`; braces stand for nothing else",
        ),
        ("functions: { f: { confirm: {} } }", "3:28: `words` is missing"),
        (
            "functions: { f: { confirm: { words: [go], insecure_model_only: true } } }",
            "3:30: with `insecure_model_only` nothing that the caller says is looked at; remove one of them",
        ),
        (
            "functions: { f: { shadow: [destinations] } }",
            "3:28: an item of `shadow`: must be `publish` or `input` or `arguments` or `hours` or `callers` or `requires` or `confirm` or `verify` or `pin` or `once` or `limits`, not `destinations`",
        ),
        (
            "calls: { idle: 5m }",
            "3:10: `idle` is read only with `concurrent` or `concurrent_per_caller`; add one or remove it",
        ),
        ("mode: observe", "3:7: `mode`: must be `enforce` or `shadow`, not `observe`"),
    ];
    let head = "agent: bank\nupstream: { url: http://127.0.0.1:3000 }\n";
    let found = |more: &str| compiled(&format!("{head}{more}\n")).map(|_| ()).err().unwrap_or_default();
    let wrong: Vec<_> =
        cases.into_iter().map(|case| (case, found(case.0))).filter(|(case, found)| found != &[case.1]).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
