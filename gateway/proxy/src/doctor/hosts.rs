//! Whether a forged header decides where an agent's URLs point to, and with them its password and its tokens.

use super::{Examination, Weakness};
use crate::client::{Answer, Credentials, Question};

/// A name that is nobody's (RFC 6761, 6.4): whatever goes there goes nowhere.
const FORGED: &str = "swaigate-doctor.invalid";

/// The headers that name a host, as a stranger can send them (PROTOCOL.md, 8).
const HEADERS: [(&str, &[(&str, &str)]); 4] = [
    ("X-Forwarded-Host", &[("X-Forwarded-Host", FORGED), ("X-Forwarded-Proto", "https")]),
    ("Forwarded", &[("Forwarded", "host=swaigate-doctor.invalid;proto=https")]),
    ("X-Original-Host", &[("X-Original-Host", FORGED)]),
    ("Host", &[("Host", FORGED)]),
];

impl Examination<'_> {
    /// Each header in turn. An agent may keep the name for later documents; the first header shows whether a clean fetch
    /// takes it out again, and only then more are sent.
    pub(super) fn forged_hosts(&mut self) {
        let mut trusted = Vec::new();
        for (number, (name, headers)) in HEADERS.iter().enumerate() {
            let target = self.client.path("");
            let Ok(mut question) = Question::fetch(&target, Credentials::Own) else { return };
            question.headers = headers.to_vec();
            if self.ask("a forged header", &question).is_some_and(|answer| names_forged(&answer)) {
                trusted.push(*name);
            }
            if number == 0 && !self.is_clean() {
                self.found(
                    Weakness::HostTrusted,
                    format!("{name}, and it stays in later documents: restart the agent"),
                );
                return;
            }
        }
        if !trusted.is_empty() {
            let seen =
                format!("sent with the password, a forged host came back in the document: {}", trusted.join(", "));
            self.found(Weakness::HostTrusted, seen);
        }
        self.forged_by_a_stranger();
    }

    /// The attack itself: a stranger's request is refused, and changes documents all the same.
    fn forged_by_a_stranger(&mut self) {
        let target = self.client.path("");
        let mut forged = Question::get(&target, Credentials::None);
        forged.headers = HEADERS[0].1.to_vec();
        let Some(refused) = self.ask("a stranger's forged header", &forged) else { return };
        if self.later().is_some_and(|answer| names_forged(&answer)) {
            let seen = format!(
                "after a GET without a password and with X-Forwarded-Host, answered {}, a document for others named the \
                 forged host",
                refused.status
            );
            self.found(Weakness::HostPoisoned, seen);
        }
        let is_clean = self.is_clean() && !self.later().is_some_and(|answer| names_forged(&answer));
        if !is_clean {
            self.found(Weakness::HostPoisoned, "the forged host stays in documents: restart the agent");
        }
    }

    /// A clean fetch, as the platform makes it, which also takes a forged name out of agents that keep one.
    fn is_clean(&mut self) -> bool {
        let target = self.client.path("");
        let Ok(question) = Question::fetch(&target, Credentials::Own) else { return false };
        self.ask("a fetch after forged ones", &question).is_some_and(|answer| !names_forged(&answer))
    }

    /// A document that doesn't take the name out: Python renders one for a GET here.
    fn later(&mut self) -> Option<Answer> {
        let target = self.client.path("/swaig?call_id=swaigate");
        self.ask("a GET after forged ones", &Question::get(&target, Credentials::Own))
    }
}

fn names_forged(answer: &Answer) -> bool {
    String::from_utf8_lossy(&answer.body).contains(FORGED)
}
