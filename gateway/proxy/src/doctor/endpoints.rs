//! What answers beside the protocol's own endpoints (PROTOCOL.md, 1).

use swaigate_core::json::{self, Node};

use super::{Examination, Weakness, is_document};
use crate::client::{Answer, Credentials, Question};

/// A path that no agent has.
const NOWHERE: &str = "/swaigate-doctor-nowhere";

impl Examination<'_> {
    pub(super) fn endpoints(&mut self) {
        self.mcp();
        self.debug();
        self.check_for_input();
        self.listings();
        self.unknown_path();
    }

    fn mcp(&mut self) {
        let mut served = |credentials| {
            let served = self.client.serves_mcp(credentials);
            served.map_err(|error| self.report.unanswered.push(format!("/mcp: {error:#}"))).unwrap_or(false)
        };
        if !served(Credentials::Own) {
            return;
        }
        if served(Credentials::None) {
            self.found(Weakness::McpOpen, "`initialize` at /mcp was answered without a password");
        } else {
            self.found(Weakness::Mcp, "`initialize` at /mcp was answered; functions run there without their token");
        }
    }

    fn debug(&mut self) {
        let target = self.client.path("/debug");
        let mut shows = |credentials| {
            self.ask("/debug", &Question::get(&target, credentials)).is_some_and(|answer| shows_agent(&answer))
        };
        if !shows(Credentials::Own) {
            return;
        }
        if shows(Credentials::None) {
            self.found(Weakness::DebugOpen, "/debug shows the agent without a password");
        } else {
            self.found(Weakness::Debug, "/debug shows the document, past signatures and limits");
        }
    }

    /// Without a conversation's id, so that no input is taken from one.
    fn check_for_input(&mut self) {
        let target = self.client.path("/check_for_input");
        let answer = self.ask("/check_for_input", &Question::get(&target, Credentials::Own));
        let is_there = answer.is_some_and(|answer| {
            answer.status == 400 && String::from_utf8_lossy(&answer.body).contains("conversation_id")
        });
        if is_there {
            self.found(Weakness::CheckForInput, "/check_for_input asks for a conversation's id and for no token");
        }
    }

    /// What a server of several agents tells strangers.
    fn listings(&mut self) {
        for path in ["/health", "/"] {
            // An agent at the root has its document there.
            if path == "/" && self.client.path("") == "/" {
                continue;
            }
            let answer = self.ask(path, &Question::get(path, Credentials::None));
            if answer.is_some_and(|answer| lists(&answer)) {
                self.found(Weakness::RoutesListed, format!("{path} lists agents or routes without a password"));
                return;
            }
        }
    }

    fn unknown_path(&mut self) {
        let target = self.client.path(NOWHERE);
        let answer = self.ask("an unknown path", &Question::get(&target, Credentials::Own));
        if let Some(answer) = answer.filter(|answer| answer.status == 200) {
            let what = if is_document(&answer) { "a document" } else { "200" };
            self.found(Weakness::UnknownPaths, format!("a path that nobody has is answered with {what}"));
        }
    }
}

/// The document, or a list of what the agent can do: C++ (PROTOCOL.md, 1.3).
fn shows_agent(answer: &Answer) -> bool {
    let has = |root: &Node<'_>, key: &str| root.get(key).is_some();
    let shows = |root: &Node<'_>| ["sections", "tools", "skills", "functions"].iter().any(|key| has(root, key));
    answer.status == 200 && json::parse(&answer.body).is_ok_and(|root| shows(&root))
}

fn lists(answer: &Answer) -> bool {
    let some = |root: &Node<'_>, key: &str| {
        root.get(key).is_some_and(|node| !node.items().is_empty() || !node.members().is_empty())
    };
    answer.status == 200
        && json::parse(&answer.body).is_ok_and(|root| ["routes", "agents"].iter().any(|key| some(&root, key)))
}
