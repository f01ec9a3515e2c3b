//! `detect`: what is unusual.

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{
    super::{
        Per,
        detect::{Action, Detector, Observed, Watch},
    },
    arguments, hours,
    rules::{self, Part},
};
use crate::{
    id::FunctionName,
    reason::Reason,
    yaml::{Field, Fields, quoted},
};

/// How many rules an agent may have: each is asked with each request that it counts.
const MAX_RULES: usize = 32;

/// `more_than`. So many times are remembered of each subject.
const MANY: RangeInclusive<u64> = 0..=10_000;

/// `every`.
const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// `for`.
const SPAN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);

const DEFAULT_SPAN: Duration = Duration::from_secs(900);

/// What can be counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Calls,
    Functions,
    FailedAuthentication,
    Refusals,
}

/// What can be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    LockCaller,
    DisableFunction,
}

pub(super) fn detectors(field: Field<'_>, is_shadow: bool) -> Vec<Arc<Detector>> {
    let mut names = HashSet::new();
    let items = field.list(MAX_RULES).unwrap_or_default();
    let read = |item: Field<'_>| {
        let (report, place) = (item.report(), item.place());
        let rule = item.mapping(|fields| detector(fields, is_shadow))?;
        let name = &rule.watch.name;
        if !names.insert(Arc::clone(name)) {
            report.note(place, format!("two rules of `detect` are named {}", quoted(name)));
        }
        Some(Arc::new(rule))
    };
    items.into_iter().filter_map(read).collect()
}

fn detector(fields: &mut Fields<'_>, is_shadow: bool) -> Option<Detector> {
    let name = fields.take("name").required().parse(name);
    let on = fields.take("on").required().choice(&[
        ("calls", On::Calls),
        ("functions", On::Functions),
        ("failed_authentication", On::FailedAuthentication),
        ("refusals", On::Refusals),
    ]);
    let function = fields.take("function");
    let function = read_with(function, on, &[On::Functions, On::Refusals]).and_then(|field| field.parse(function_name));
    let when = read_with(fields.take("when"), on, &[On::Functions]).and_then(arguments::schema);
    let reasons = read_with(fields.take("reasons"), on, &[On::Refusals]);
    let outside = fields.take("outside");
    let outside = if outside.is_given() { hours::hours(outside) } else { None };
    let per = fields.take("per");
    let per = if per.is_given() { rules::per(per, on.map_or(&rules::PARTS, parts)) } else { Some(Per::default()) };
    let more_than = fields.take("more_than").required().integer(MANY);
    let every = fields.take("every").required().duration(WINDOW);
    let action = action(fields, on, per.unwrap_or_default(), function.is_some());
    let is_shadow = rules::mode(fields) || is_shadow;
    let on = match on? {
        On::Calls => Observed::Calls,
        On::Functions => Observed::Functions { function, when },
        On::FailedAuthentication => Observed::FailedAuthentication,
        On::Refusals => Observed::Refusals { reasons: listed(fields, reasons), function },
    };
    let more_than = u32::try_from(more_than?).ok()?;
    let watch = Watch { name: name?, per: per?, more_than, every: every? };
    Some(Detector { watch, on, outside, action, is_shadow })
}

fn name(text: &str) -> Result<Arc<str>, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(plain);
    if fits { Ok(text.into()) } else { Err("the name of a rule is 1 to 64 of a-z A-Z 0-9 _ -") }
}

/// What a rule can count by: what is known of its events.
fn parts(on: On) -> &'static [(&'static str, Part)] {
    const CALLS: &[(&str, Part)] = &[("caller", Part::Caller), ("address", Part::Address), ("agent", Part::Agent)];
    const STRANGERS: &[(&str, Part)] = &[("address", Part::Address), ("agent", Part::Agent)];
    match on {
        On::Calls => CALLS,
        On::FailedAuthentication => STRANGERS,
        On::Functions | On::Refusals => &rules::PARTS,
    }
}

/// A key that is read only beside some values of `on`, if the file has it.
fn read_with<'r>(field: Field<'r>, on: Option<On>, read: &[On]) -> Option<Field<'r>> {
    if !field.is_given() {
        return None;
    }
    if on.is_some_and(|on| !read.contains(&on)) {
        let words = if read.len() > 1 { "`on: functions` or `on: refusals`" } else { word(read) };
        field.report().note(field.key_place(), format!("{} is read only with {words}; remove it", field.name()));
        return None;
    }
    Some(field)
}

fn word(read: &[On]) -> &'static str {
    if read.contains(&On::Functions) { "`on: functions`" } else { "`on: refusals`" }
}

fn function_name(text: &str) -> Result<FunctionName, String> {
    let name: FunctionName = text.parse().map_err(|error| format!("{error}"))?;
    if name.is_hook() {
        Err(format!("{} is called by the platform itself, and no rule holds for it", quoted(text)))
    } else {
        Ok(name)
    }
}

fn listed(fields: &Fields<'_>, field: Option<Field<'_>>) -> Vec<Reason> {
    let Some(field) = field else {
        fields.report().note(fields.place(), "`reasons` is missing: which refusals are counted?");
        return Vec::new();
    };
    let (report, place) = (field.report(), field.place());
    let Some(items) = field.list(Reason::ALL.len()) else { return Vec::new() };
    if items.is_empty() {
        report.note(place, "`reasons` lists none, so nothing is counted; name one or remove the rule");
    }
    items.into_iter().filter_map(|item| item.parse(reason)).collect()
}

fn reason(text: &str) -> Result<Reason, String> {
    let found = Reason::ALL.iter().find(|reason| **reason != Reason::Ok && reason.as_str() == text);
    found.copied().ok_or_else(|| format!("{} is no reason of a refusal; policies/README.md lists them", quoted(text)))
}

// === action ===

fn action(fields: &mut Fields<'_>, on: Option<On>, per: Per, names_function: bool) -> Option<Action> {
    let action = fields.take("action");
    let (report, place, is_given) = (action.report(), action.key_place(), action.is_given());
    let deed = action.choice(&[("lock_caller", Deed::LockCaller), ("disable_function", Deed::DisableFunction)]);
    let span = fields.take("for");
    if span.is_given() && !is_given {
        span.report().note(span.key_place(), "`for` is read only with `action`; add one or remove it");
    }
    let span = span.duration(SPAN).unwrap_or(DEFAULT_SPAN);
    let deed = deed?;
    if let Some(advice) = on.and_then(|on| amiss(deed, on, per, names_function)) {
        report.note(place, advice);
    }
    Some(match deed {
        Deed::LockCaller => Action::LockCaller(span),
        Deed::DisableFunction => Action::DisableFunction(span),
    })
}

/// Why an action would hit somebody who had no part in what was counted.
fn amiss(deed: Deed, on: On, per: Per, names_function: bool) -> Option<&'static str> {
    let is_of_functions = matches!(on, On::Functions | On::Refusals);
    match deed {
        Deed::LockCaller if !(per.caller || per.call) => Some(
            "`lock_caller` needs `per: caller` or `per: call`: else the last caller would be locked for what all of them did",
        ),
        Deed::DisableFunction if !(is_of_functions && (names_function || per.function)) => Some(
            "`disable_function` needs `function`, or `function` in `per`: else the last function would be disabled for what all of them were called",
        ),
        Deed::LockCaller | Deed::DisableFunction => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn read(rules: &str) -> Result<Vec<Arc<Detector>>, String> {
        yaml::read("p", &format!("detect: {rules}"), |fields| Some(detectors(fields.take("detect"), false)))
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn one(rule: &str) -> Detector {
        let mut rules = read(&format!("[{{ name: r, more_than: 2, every: 1h, {rule} }}]")).unwrap();
        Arc::into_inner(rules.remove(0)).unwrap()
    }

    fn mistakes(rule: &str) -> String {
        read(&format!("[{{ name: r, more_than: 2, every: 1h, {rule} }}]")).unwrap_err()
    }

    #[test]
    fn a_rule_says_what_is_counted_and_what_is_too_much() {
        let rule = one("on: calls");
        let every = Duration::from_secs(3600);
        assert_eq!(rule.watch, Watch { name: "r".into(), per: Per::default(), more_than: 2, every });
        assert!(matches!(rule.on, Observed::Calls) && rule.outside.is_none());
        assert_eq!((rule.action, rule.is_shadow), (None, false));
        assert_eq!(one("on: failed_authentication, per: address").watch.per, Per::ADDRESS);
        assert!(one("on: calls, outside: { zone: UTC, open: ['08:00-18:00'] }").outside.is_some());
        assert!(one("on: calls, mode: shadow").is_shadow);
    }

    #[test]
    fn functions_and_refusals_may_be_told_apart() {
        let rule = one("on: functions, per: [caller, function], function: f, when: { required: [amount] }");
        assert_eq!(rule.watch.per, Per { function: true, ..Per::CALLER });
        let Observed::Functions { function, when } = rule.on else { panic!("{:?}", rule.on) };
        assert!(function.unwrap().as_str() == "f" && when.is_some());
        let rule = one("on: refusals, reasons: [limited, token_mismatch]");
        let Observed::Refusals { reasons, function } = rule.on else { panic!("{:?}", rule.on) };
        assert_eq!((reasons, function), (vec![Reason::Limited, Reason::TokenMismatch], None));
    }

    #[test]
    fn each_of_the_guides_anomalies_is_told_from_the_others() {
        let outside = "outside: { zone: UTC, open: ['08:00-18:00'] }";
        for (rule, kind) in [
            ("on: calls", "call_volume"),
            ("on: functions", "function_rate"),
            ("on: functions, function: f", "function_rate"),
            ("on: functions, when: { required: [amount] }", "large_transaction"),
            ("on: failed_authentication", "failed_authentication"),
            ("on: refusals, reasons: [limited]", "refusals"),
            (&format!("on: functions, when: {{ required: [amount] }}, {outside}"), "after_hours"),
            (&format!("on: calls, {outside}"), "after_hours"),
        ] {
            assert_eq!(one(rule).kind(), kind, "{rule}");
        }
    }

    #[test]
    fn an_action_takes_its_time() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let action = |rule| one(rule).action;
        assert_eq!(action("on: functions, per: caller, action: lock_caller"), Some(Action::LockCaller(minutes(15))));
        assert_eq!(
            action("on: functions, function: f, action: disable_function, for: 30m"),
            Some(Action::DisableFunction(minutes(30)))
        );
        assert!(action("on: refusals, reasons: [limited], per: function, action: disable_function").is_some());
    }

    #[test]
    fn each_mistake_is_told() {
        for (rule, told) in [
            ("on: caller", "must be `calls` or `functions` or `failed_authentication` or `refusals`"),
            ("on: calls, per: call", "must be `caller` or `address` or `agent`"),
            ("on: failed_authentication, per: caller", "must be `address` or `agent`"),
            ("on: calls, function: f", "`function` is read only with `on: functions` or `on: refusals`"),
            ("on: calls, when: {}", "`when` is read only with `on: functions`"),
            ("on: functions, reasons: [limited]", "`reasons` is read only with `on: refusals`"),
            ("on: functions, function: hangup_hook", "called by the platform itself"),
            ("on: functions, when: { propertis: {} }", "did you mean"),
            ("on: refusals", "`reasons` is missing"),
            ("on: refusals, reasons: []", "lists none"),
            ("on: refusals, reasons: [ok]", "`ok` is no reason of a refusal"),
            ("on: calls, outside: { zone: Berlin, open: ['08:00-18:00'] }", "did you mean `Europe/Berlin`?"),
            ("on: calls, for: 1m", "`for` is read only with `action`"),
            ("on: calls, action: lock_caller", "`lock_caller` needs `per: caller`"),
            ("on: functions, per: caller, action: disable_function", "`disable_function` needs `function`"),
            ("on: functions, per: caller, action: lock_caller, for: 500ms", "must be from 1s to"),
            ("on: calls, action: stop", "must be `lock_caller` or `disable_function`"),
            ("on: calls, over: 3", "unknown key `over`"),
        ] {
            let mistakes = mistakes(rule);
            assert!(mistakes.contains(told), "{rule}\n{mistakes}");
        }
        let mistakes = read("[{}]").unwrap_err();
        for key in ["name", "on", "more_than", "every"] {
            assert!(mistakes.contains(&format!("`{key}` is missing")), "{mistakes}");
        }
        let twice = "{ name: r, on: calls, more_than: 1, every: 1m }";
        assert!(read(&format!("[{twice}, {twice}]")).unwrap_err().contains("two rules of `detect` are named `r`"));
        let bad = "[{ name: a b, on: calls, more_than: 10001, every: 25h }]";
        let mistakes = read(bad).unwrap_err();
        for part in ["1 to 64 of", "from 0 to 10000", "from 1s to"] {
            assert!(mistakes.contains(part), "{part}: {mistakes}");
        }
    }
}
