//! Who runs the gateway is told what goes wrong: a real Prometheus scrapes it, every alert fires when its cause is there, and
//! every panel of the dashboard shows something.

mod dashboard;
mod prometheus;
mod world;

use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use self::{
    prometheus::{Alertmanager, Prometheus, shipped},
    world::World,
};
use crate::harness::{tests_path, until};

/// How long it may take to cause them all; on a quiet machine a quarter of it.
const DEADLINE: Duration = Duration::from_secs(120);

/// Causes are made to happen so often at most: less than a scrape passes, and machines are not flooded.
const ROUND: Duration = Duration::from_millis(500);

/// The alerts: name and rule.
fn alerts() -> Vec<(String, Value)> {
    let rules: Value = serde_yaml::from_str(&shipped("prometheus/alerts.yml")).expect("it is YAML");
    let groups = rules["groups"].as_array().expect("a list").iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("a list").clone());
    rules.map(|rule| (rule["alert"].as_str().expect("each is an alert").to_owned(), rule)).collect()
}

/// Every metric and recorded series that an expression names.
fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(move |c| !is_part(c));
    words.filter(|word| word.contains("swaigate_") || word.starts_with("process_"))
}

fn expressions() -> Vec<String> {
    let recorded: Value = serde_yaml::from_str(&shipped("prometheus/recording.yml")).expect("it is YAML");
    let recorded = recorded["groups"][0]["rules"].as_array().expect("a list").clone();
    let rules = alerts().into_iter().map(|(_, rule)| rule).chain(recorded);
    let rules = rules.map(|rule| rule["expr"].as_str().expect("each has one").to_owned());
    rules.chain(dashboard::queries().iter().map(|query| query.expression().to_owned())).collect()
}

#[test]
fn each_alert_fires_when_it_is_caused_and_each_panel_shows_something() {
    let alertmanager = Alertmanager::start();
    let prometheus = Prometheus::start(alertmanager.address);
    until("it is told that nothing is watched", || prometheus.fired().contains("SwaigateMissing").then_some(()));
    let world = World::start();
    prometheus.scrape(&world.targets());
    let started = Instant::now();
    world.ordinary();
    let (watched, all) = ("count(count_over_time(up{job=\"swaigate\"}[10s]) >= 4)", world.targets().len().to_string());
    until("all are watched", || (prometheus.query(watched).first()?["value"][1] == all).then_some(()));
    let told = prometheus.fired();
    assert_eq!(told, BTreeSet::from(["SwaigateMissing".to_owned()]), "all is well yet");
    until("that is over", || prometheus.firing().is_empty().then_some(()));

    cause_all(&prometheus, &world);
    check_names(&prometheus);
    check_texts(&prometheus);
    let mistakes = dashboard::mistakes(&prometheus, started.elapsed().as_secs() + 1);
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));

    check_webhook(&alertmanager, "/on-call", "SwaigateDown", "firing");
    check_webhook(&alertmanager, "/office", "SwaigateReloadRefused", "firing");
    world.mend();
    check_webhook(&alertmanager, "/office", "SwaigateReloadRefused", "resolved");
    until("the switch is off", || (!prometheus.firing().contains("SwaigateSwitchOn")).then_some(()));
}

/// Until each was told. What has been told is not caused again.
fn cause_all(prometheus: &Prometheus, world: &World) {
    let mut causes = world.causes();
    let caused = causes.iter().flat_map(|cause| cause.alerts).copied().chain(["SwaigateMissing"]);
    let (caused, known) = (caused.map(str::to_owned).collect(), alerts());
    let known: BTreeSet<String> = known.into_iter().map(|(name, _)| name).collect();
    assert_eq!(known.symmetric_difference(&caused).collect::<Vec<_>>(), [] as [&String; 0], "each has a cause");
    let give_up = Instant::now() + DEADLINE;
    loop {
        let told = prometheus.fired();
        let missing: Vec<_> = known.difference(&told).collect();
        if missing.is_empty() {
            return;
        }
        assert!(Instant::now() < give_up, "nobody was told: {missing:?}");
        for cause in causes.iter_mut().filter(|cause| cause.alerts.iter().any(|name| !told.contains(*name))) {
            (cause.act)(&told);
        }
        world.ordinary();
        sleep(ROUND);
    }
}

/// What is asked for is there.
fn check_names(prometheus: &Prometheus) {
    let known = prometheus.names();
    let expressions = expressions();
    let asked: BTreeSet<&str> = expressions.iter().flat_map(|expression| metrics_in(expression)).collect();
    let unknown: Vec<_> = asked.into_iter().filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "no such metric: {unknown:?}");
}

/// What the alerts say is whole.
fn check_texts(prometheus: &Prometheus) {
    let told = prometheus.told();
    assert!(told.len() > 10, "{told:?}");
    for alert in told {
        for key in ["summary", "description", "runbook"] {
            let text = alert["annotations"][key].as_str().unwrap_or_else(|| panic!("no {key}: {alert}"));
            assert!(!text.is_empty() && !text.contains("<no value>") && !text.contains("<error"), "{alert}");
        }
    }
}

fn check_webhook(alertmanager: &Alertmanager, path: &str, name: &str, status: &str) {
    until("the webhook is told", || {
        let received = alertmanager.received();
        assert!(received.iter().all(|one| one.is_authorized));
        let is_it = |alert: &Value| alert["labels"]["alertname"] == name && alert["status"] == status;
        let mut of_path = received.iter().filter(|one| one.path == path);
        of_path.any(|one| one.body["alerts"].as_array().is_some_and(|all| all.iter().any(is_it))).then_some(())
    });
}

#[test]
fn each_alert_is_explained_and_held_to_its_threshold() {
    let page = shipped("prometheus/README.md");
    let tests = ["monitoring/alerts.yml", "monitoring/alerts_over_days.yml"]
        .map(|path| std::fs::read_to_string(tests_path(path)).expect("it is there"))
        .concat();
    for (name, rule) in alerts() {
        assert!(page.contains(&format!("| `{name}` |")), "deploy/prometheus/README.md lacks {name}");
        assert!(
            tests.contains(&format!("alertname=\"{name}\", alertstate=\"firing\"")),
            "tests/monitoring lacks {name}"
        );
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{name}: {severity:?}");
        let runbook = format!("deploy/OPERATING.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook"], runbook.as_str(), "{name}");
    }
}

#[test]
fn panels_have_places_of_their_own() {
    assert_eq!(dashboard::overlaps(), [] as [String; 0]);
}
