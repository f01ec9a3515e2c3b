//! The "Production Hardening Checklist" of SignalWire's own security guide, line by line: what a gateway can tell of it.

use super::{Finding, Lint, Subject, agent, lint, process};
use crate::policy::{FunctionRules, PromptSection};

/// A line of the checklist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its heading in the guide.
    pub heading: &'static str,
    /// What the guide asks for, in its words.
    pub line: &'static str,
    /// Whether it is met.
    pub state: State,
    /// By which key, or why it can't be told.
    pub how: String,
}

/// Whether a line is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is.
    Met,
    /// It is not, or not for all agents.
    NotMet,
    /// A gateway can't tell.
    Untold,
}

/// What is known when the lines are written.
struct Known<'s, 'a> {
    subject: &'s Subject<'a>,
    findings: Vec<Finding>,
}

/// All lines, in the guide's order.
pub fn checklist(subject: &Subject<'_>) -> Vec<Item> {
    let known = Known { subject, findings: lint(subject) };
    let sections: [(&'static str, Lines); 4] = [
        ("Infrastructure", infrastructure(&known)),
        ("Application", application(&known)),
        ("Prompts", prompts(&known)),
        ("Operational", operational()),
    ];
    let item = |heading, (line, state, how)| Item { heading, line, state, how };
    sections.into_iter().flat_map(|(heading, lines)| lines.into_iter().map(move |line| item(heading, line))).collect()
}

type Lines = Vec<(&'static str, State, String)>;

fn infrastructure(known: &Known<'_, '_>) -> Lines {
    let https = known.without(
        &[Lint::PlainListener],
        "`public_url`, `listen[].tls`; where that is missing, the certificate is the TLS terminator's",
    );
    let watched = match known.findings.iter().any(|finding| finding.lint == Lint::NoDetection) {
        true => (State::NotMet, "`detect` tells what is unusual, and is missing".to_owned()),
        false => {
            untold("`detect` tells what is unusual, metrics are at `admin.address`; who looks, a gateway can't know")
        }
    };
    let strong = [Lint::WeakPassword, Lint::ReusedSecret, Lint::GeneratedPassword];
    vec![
        line("HTTPS enabled with valid certificates", https),
        line(
            "Strong Basic Auth credentials (32+ characters)",
            known.without(&strong, "`platform.users`, `upstream.password_env`"),
        ),
        line(
            "Reverse proxy configured (nginx, Caddy)",
            met("this gateway is one; `deploy/nginx` has what ends TLS in front of it"),
        ),
        line(
            "Firewall rules limit access",
            untold("the agents must not be reachable around the gateway: see `deploy/README.md`"),
        ),
        line("Monitoring and alerting configured", watched),
    ]
}

fn application(known: &Known<'_, '_>) -> Lines {
    let unmediated = known.subject.policies.iter().any(|(source, _)| {
        source
            .outline
            .leaves()
            .iter()
            .any(|leaf| leaf.path.ends_with(&["insecure_unmediated".to_owned()]) && leaf.text == "true")
    });
    let secure = match unmediated {
        true => (State::NotMet, "`functions.*.insecure_unmediated`: some never reach the gateway".to_owned()),
        false => met("each function's URL has a token for its call; `functions`"),
    };
    let audit = match process::is_temporary(&known.subject.process.audit) {
        true => (State::NotMet, "`audit.path` is in a temporary folder".to_owned()),
        false => met("`audit.path`: a record for each request, or it is refused"),
    };
    vec![
        line("All sensitive functions use `secure=True`", secure),
        line("Input validation on all function parameters", validated(known)),
        line("Rate limiting implemented", known.without(&[Lint::NoLimits], "`limits`")),
        line("Audit logging enabled", audit),
        line(
            "Error messages don't leak internal details",
            met("what agents say in errors never leaves; `say` is what callers hear"),
        ),
    ]
}

/// Whether arguments are checked against something, for each function.
fn validated(known: &Known<'_, '_>) -> (State, String) {
    let how = "what the agents publish of their parameters is enforced; `functions.*.arguments` says more";
    let is_unchecked = |rules: &FunctionRules| !rules.arguments.learned && rules.arguments.own.is_none();
    let unchecked = known.subject.policies.iter().find(|(_, agent)| {
        let named = agent.functions.names().map(|name| agent.functions.rules(name.as_str()));
        named.chain([agent.functions.default_rules()]).any(|rules| is_unchecked(rules))
    });
    match unchecked {
        None => met(how),
        Some((source, _)) => {
            (State::NotMet, format!("{}: `learned_schema: ignore`, and no `arguments`; {how}", source.file))
        }
    }
}

/// Whether functions that can do harm are confirmed, as far as policies name them.
fn confirmed(known: &Known<'_, '_>) -> (State, String) {
    let harmful = || known.subject.policies.iter().flat_map(|(_, agent)| agent::harmful(agent));
    let unconfirmed = harmful().filter(|(_, rules)| !agent::has_one_of(rules, &["confirm", "verify"]));
    let unconfirmed: Vec<String> = unconfirmed.map(|(name, _)| format!("`{name}`")).collect();
    if !unconfirmed.is_empty() {
        (State::NotMet, format!("`functions.*.confirm` or `verify` is missing: {}", unconfirmed.join(", ")))
    } else if harmful().next().is_some() {
        met("`functions.*.confirm`, `verify`, for the functions that the policies name")
    } else {
        untold("`functions.*.confirm`, `verify`: the policies name no function that seems to do harm")
    }
}

fn prompts(known: &Known<'_, '_>) -> Lines {
    let agents = || known.subject.policies.iter();
    let confirmed = confirmed(known);
    let boundaries = PromptSection::security_boundaries();
    let bounded = match agents().find(|(_, agent)| !agent.prompt.append.contains(&boundaries)) {
        None => met("`prompt.append` has `security_boundaries`; a prompt is no lock"),
        Some((source, _)) => (State::NotMet, format!("{}: `prompt.append` lacks `security_boundaries`", source.file)),
    };
    let closed = agents().all(|(_, agent)| !agent.functions.default_rules().publish);
    let disclosed = match closed {
        true => met("`functions.default`: only what a policy names is published"),
        false => {
            (State::NotMet, "`functions.default: { publish: false }` would publish only what a policy names".to_owned())
        }
    };
    vec![
        line("Security boundaries defined in prompts", bounded.clone()),
        line("Confirmation required for sensitive actions", confirmed),
        line("System prompt instructions protected", bounded),
        line("No excessive capability disclosure", disclosed),
    ]
}

fn operational() -> Lines {
    vec![
        line(
            "Credentials rotated regularly",
            untold("`platform.users` and `token_keys` take two at once, so that none is missing meanwhile"),
        ),
        line("Logs collected and monitored", untold("`audit.path`, `log`; where they go, a gateway can't know")),
        line("Incident response plan documented", untold("it is a document of yours")),
        line(
            "Regular security reviews scheduled",
            untold("`swaigate doctor` and `swaigate check --strict` are a part of one"),
        ),
        line("Dependencies kept updated", untold("the agents' are theirs")),
    ]
}

fn line(line: &'static str, (state, how): (State, String)) -> (&'static str, State, String) {
    (line, state, how)
}

fn met(how: &str) -> (State, String) {
    (State::Met, how.to_owned())
}

fn untold(how: &str) -> (State, String) {
    (State::Untold, how.to_owned())
}

// === impl State ===

impl State {
    /// Its name, for machines.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Met => "met",
            State::NotMet => "not met",
            State::Untold => "can't be told",
        }
    }
}

// === impl Known ===

impl Known<'_, '_> {
    /// Met, if nothing of this kind was found.
    fn without(&self, lints: &[Lint], how: &str) -> (State, String) {
        match self.findings.iter().find(|finding| lints.contains(&finding.lint)) {
            None => met(how),
            Some(Finding { lint, file, place, .. }) => {
                let (line, column) = (place.line, place.column);
                (State::NotMet, format!("{file}:{line}:{column}: {}; {how}", lint.as_str()))
            }
        }
    }
}
