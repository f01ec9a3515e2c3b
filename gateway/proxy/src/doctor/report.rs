//! What was found, as a page and as JSON.

use serde_json::{Value, json};

use super::weakness::{Severity, Weakness};

/// What was found.
#[derive(Debug)]
pub(super) struct Report {
    place: String,
    findings: Vec<(Weakness, String)>,
    /// What got no answer, with the cause.
    pub(super) unanswered: Vec<String>,
    /// How many requests were made.
    pub(super) requests: u32,
    /// The function that was called, if one was.
    pub(super) called: Option<String>,
}

// === impl Report ===

impl Report {
    /// On what is here; the place holds no password.
    pub(super) fn new(place: String) -> Self {
        Self { place, findings: Vec::new(), unanswered: Vec::new(), requests: 0, called: None }
    }

    pub(super) fn add(&mut self, weakness: Weakness, seen: String) {
        self.findings.push((weakness, seen));
        self.findings.sort_by_key(|(weakness, _)| *weakness);
    }

    fn weaknesses(&self) -> usize {
        self.findings.iter().filter(|(weakness, _)| weakness.severity() != Severity::Note).count()
    }

    /// The exit status. Nothing found where something went unasked is not nothing.
    pub(super) fn status(&self) -> u8 {
        match (self.weaknesses(), self.unanswered.len()) {
            (0, 0) => 0,
            (0, _) => 2,
            (_, _) => 1,
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.place);
        for (weakness, seen) in &self.findings {
            let (severity, id, covered) = (weakness.severity().as_str(), weakness.id(), weakness.covered_by());
            text.push_str(&format!("{severity:<9} {id}\n"));
            text.push_str(&wrapped("seen:", seen));
            text.push_str(&wrapped("in Swaigate:", covered));
            text.push('\n');
        }
        for line in &self.unanswered {
            text.push_str(&format!("no answer to {line}\n"));
        }
        let notes = self.findings.len() - self.weaknesses();
        let ran = match &self.called {
            Some(function) => format!("calls of `{function}` were tried"),
            None => "no function was called".to_owned(),
        };
        text.push_str(&format!(
            "{}, {}; {} requests, {ran}.\n",
            counted(self.weaknesses(), "weakness", "weaknesses"),
            counted(notes, "note", "notes"),
            self.requests
        ));
        text
    }

    pub(super) fn json(&self) -> Value {
        let findings = self.findings.iter().map(|(weakness, seen)| {
            json!({ "id": weakness.id(), "severity": weakness.severity().as_str(), "seen": seen,
                "covered_by": weakness.covered_by() })
        });
        json!({ "upstream": self.place, "weaknesses": self.weaknesses(), "findings": findings.collect::<Vec<_>>(),
            "unanswered": self.unanswered, "requests": self.requests, "called": self.called })
    }
}

/// A paragraph of the page.
fn wrapped(label: &str, text: &str) -> String {
    const WIDTH: usize = 100;
    const INDENT: &str = "          ";
    let mut lines = format!("{INDENT}{label}");
    let mut width = lines.len();
    for word in text.split(' ') {
        if width + word.len() >= WIDTH {
            lines.push_str(&format!("\n{INDENT} "));
            width = INDENT.len() + 1;
        }
        lines.push(' ');
        lines.push_str(word);
        width += word.len() + 1;
    }
    lines.push('\n');
    lines
}

fn counted(count: usize, one: &str, many: &str) -> String {
    match count {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_weaknesses_from_notes_and_from_what_went_unasked() {
        let mut report = Report::new("http://h/".to_owned());
        report.add(Weakness::Unsigned, "x".to_owned());
        assert_eq!(
            (report.status(), report.text().lines().last()),
            (0, Some("no weakness, 1 note; 0 requests, no function was called."))
        );
        report.unanswered.push("x: y".to_owned());
        assert_eq!(report.status(), 2);
        report.add(Weakness::Mcp, "y".to_owned());
        assert_eq!(report.status(), 1);
        assert_eq!(report.json()["findings"][0]["id"], "mcp", "the worst comes first");
        assert_eq!(report.json()["weaknesses"], 1);
    }
}
