//! The dashboard, as far as it can be tried without Grafana: its queries.

use serde_json::Value;

use super::prometheus::{Prometheus, shipped};

/// What Grafana puts in place of the dashboard's variables.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "10s"), ("$job", ".+"), ("$instance", ".+"), ("$agent", ".+")];

/// A query of a panel.
pub(super) struct Query {
    panel: String,
    expression: String,
    /// How its series are called.
    legend: String,
}

fn dashboard() -> Value {
    serde_json::from_str(&shipped("grafana/dashboard.json")).expect("it is JSON")
}

/// All queries of all panels.
pub(super) fn queries() -> Vec<Query> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("a list");
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().expect("each panel has a title").to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{title}");
        let text = |target: &Value, key: &str| target[key].as_str().expect("it is text").to_owned();
        let query = move |target: &Value| Query {
            panel: title.clone(),
            expression: filled(&text(target, "expr")),
            legend: text(target, "legendFormat"),
        };
        targets.iter().map(query).collect::<Vec<_>>()
    };
    panels.iter().flat_map(of_panel).collect()
}

fn filled(expression: &str) -> String {
    let filled = VARIABLES.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!filled.contains('$'), "{filled}");
    filled
}

/// What is wrong with it: a query that shows nothing of what has happened within so many seconds, or names a label that
/// its series don't have.
pub(super) fn mistakes(prometheus: &Prometheus, seconds: u64) -> Vec<String> {
    let mut mistakes = Vec::new();
    for Query { panel, expression, legend } in queries() {
        let series = prometheus.query_range(&expression, seconds);
        if series.is_empty() {
            mistakes.push(format!("{panel}: shows nothing: {expression}"));
        }
        for label in names_in(&legend) {
            if series.iter().any(|one| one["metric"][label].is_null()) {
                mistakes.push(format!("{panel}: not all series have the label {label}: {expression}"));
            }
        }
    }
    for (query, label) in variables() {
        if prometheus.query(&format!("count by ({label}) ({query})")).iter().all(|one| one["metric"][&label].is_null())
        {
            mistakes.push(format!("a variable has no values: {query}, {label}"));
        }
    }
    mistakes
}

/// `{{agent}} {{kind}}`: agent, kind.
fn names_in(legend: &str) -> impl Iterator<Item = &str> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next())
}

/// What the variables are made of: series and one of their labels.
fn variables() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let list = dashboard["templating"]["list"].as_array().expect("a list");
    let queries = list.iter().filter_map(|variable| variable["query"]["query"].as_str());
    let parts = queries.map(|query| {
        let inner = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')'));
        let (series, label) = inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values(series, label)");
        (filled(series), label.to_owned())
    });
    parts.collect()
}

// === impl Query ===

impl Query {
    pub(super) fn expression(&self) -> &str {
        &self.expression
    }
}

/// Panels lie side by side, none over another, and each has a number of its own.
pub(super) fn overlaps() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("a list");
    let place = |panel: &Value| ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a number"));
    let mut found = Vec::new();
    for (index, one) in panels.iter().enumerate() {
        let [x, y, w, h] = place(one);
        if x + w > 24 {
            found.push(format!("{} is too wide", one["title"]));
        }
        for other in &panels[index + 1..] {
            let [left, top, width, height] = place(other);
            let is_apart = x + w <= left || left + width <= x || y + h <= top || top + height <= y;
            if !is_apart || one["id"] == other["id"] {
                found.push(format!("{} and {}", one["title"], other["title"]));
            }
        }
    }
    found
}
