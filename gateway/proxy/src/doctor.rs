//! `swaigate doctor`: asks an agent as a stranger and as a thief of its password would, and tells which of the SDKs' known
//! weaknesses it has (PROTOCOL.md, 1, 2 and 8) and what of a gateway covers each.
//!
//! It runs no function, unless it is told one, and leaves the agent as it was: what a forged header changed is changed back
//! at once, and looked at again.

mod endpoints;
mod functions;
mod hosts;
mod report;
mod weakness;

use std::process::ExitCode;

use clap::Args;
use swaigate_core::{
    id::FunctionName,
    inventory::Inventory,
    json,
    origin::{self, HttpUrl},
};

use crate::client::{Answer, Client, Credentials, Question};
use report::Report;
use weakness::Weakness;

/// A body that no call needs, in bytes: more than a gateway takes by default.
const LARGE: usize = 2 << 20;

/// After how many questions without an answer no more are asked.
const PATIENCE: usize = 3;

/// How long the SDKs' tokens have to last: a call may take 14,400 s.
const LONGEST_CALL: u64 = 14_400;

/// What the command line says.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The agent, or a gateway before it, with the user and password that it asks for
    #[arg(long, value_name = "URL")]
    pub upstream: String,
    /// The environment variable with the signing key, if signatures are asked for
    #[arg(long, value_name = "NAME")]
    pub signing_key_env: Option<String>,
    /// Who vouches for the certificate of an https agent, in a PEM file [default: whom this machine trusts]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Leave out forged host headers, which put a name that nobody has into the documents of a Python agent until it is asked
    /// again at once; for an agent that takes calls meanwhile
    #[arg(long)]
    pub no_forged_headers: bool,
    /// Also call this function, without a token and with another call's, to see whether it runs; name a harmless one
    #[arg(long, value_name = "FUNCTION")]
    pub call: Option<FunctionName>,
}

/// An examination under way.
struct Examination<'c> {
    client: &'c Client,
    report: Report,
    /// Whether the agent's own document looks like a gateway's refusal.
    is_short: bool,
}

// === impl Doctor ===

impl Doctor {
    /// Examines the agent and prints what was found. The status is 0 for nothing, 1 for weaknesses, 2 where the agent could
    /// not be examined.
    pub fn run(&self) -> ExitCode {
        match self.examine() {
            Ok(report) => {
                if self.json {
                    println!("{}", report.json());
                } else {
                    print!("{}", report.text());
                }
                ExitCode::from(report.status())
            }
            Err(error) => {
                eprintln!("swaigate: {error:#}");
                ExitCode::from(2)
            }
        }
    }

    fn examine(&self) -> anyhow::Result<Report> {
        let client = Client::new(&self.upstream, self.signing_key_env.as_deref(), self.ca.as_deref())?;
        let document = client.document()?;
        let root = json::parse(document.as_bytes())?;
        let inventory = Inventory::of(&document, &root, client.policies());
        let place = format!("{}{}", client.origin(), client.path(""));
        let mut examination = Examination { client: &client, report: Report::new(place), is_short: only_speaks(&root) };
        examination.transport(&inventory);
        examination.password(&inventory);
        if !self.no_forged_headers {
            examination.forged_hosts();
        }
        examination.endpoints();
        examination.bodies();
        examination.tokens(&inventory);
        match &self.call {
            Some(function) => examination.call(function, &inventory)?,
            None => examination.unknown_function(&inventory),
        }
        examination.report.requests = client.asked();
        Ok(examination.report)
    }
}

// === impl Examination ===

impl Examination<'_> {
    fn found(&mut self, weakness: Weakness, seen: impl Into<String>) {
        self.report.add(weakness, seen.into());
    }

    /// The answer, or a line in the report that there was none.
    fn ask(&mut self, what: &str, question: &Question<'_>) -> Option<Answer> {
        if self.report.unanswered.len() >= PATIENCE {
            return None;
        }
        let answer = self.client.ask(question);
        answer.map_err(|error| self.report.unanswered.push(format!("{what}: {error:#}"))).ok()
    }

    /// Fetches a document as the platform does, and tells whether one came.
    fn fetch(&mut self, what: &str, credentials: Credentials) -> Option<bool> {
        let target = self.client.path("");
        let question = Question::fetch(&target, credentials).ok()?;
        self.ask(what, &question).map(|answer| self.is_its_document(&answer))
    }

    /// Whether this is a document of the agent's: a gateway refuses a fetch with one that says so and ends.
    fn is_its_document(&self, answer: &Answer) -> bool {
        is_document(answer) && (self.is_short || !json::parse(&answer.body).is_ok_and(|root| only_speaks(&root)))
    }

    fn transport(&mut self, inventory: &Inventory) {
        let origin = self.client.origin();
        let crosses = |url: &HttpUrl<'_>| !url.is_https() && !url.authority().is_loopback();
        if origin::parse(&origin).and_then(Result::ok).is_some_and(|url| crosses(&url)) {
            self.found(Weakness::PlainHttp, "the agent itself is asked over http");
        } else if let Some(origin) = inventory.plain_http.first() {
            self.found(Weakness::PlainHttp, format!("its document has URLs at {origin}"));
        }
    }

    fn password(&mut self, inventory: &Inventory) {
        let has_password = self.client.agent().upstream.credentials.is_some();
        if self.fetch("a stranger's fetch", Credentials::None) == Some(true) {
            self.found(Weakness::OpenDocument, "a fetch without a password got a document");
        } else if has_password && self.fetch("a fetch with a wrong password", Credentials::Wrong) == Some(true) {
            self.found(Weakness::AnyPassword, "a fetch with a wrong password got a document");
        }
        if inventory.shows_credentials {
            self.found(Weakness::CredentialsInDocument, "the user and password of --upstream stand in the document");
        }
        // Without a key the document itself came without a signature.
        let came_unsigned = !self.client.has_signing_key()
            || self.fetch("a fetch without a signature", Credentials::Unsigned) == Some(true);
        if came_unsigned {
            self.found(Weakness::Unsigned, "a fetch without the platform's signature got a document");
        }
    }

    fn bodies(&mut self) {
        let target = self.client.path("");
        let Ok(mut question) = Question::fetch(&target, Credentials::Own) else { return };
        let call = std::mem::take(&mut question.body);
        let rest = call.strip_prefix(b"{").unwrap_or_default();
        question.body = [b"{\"call\":{\"call_id\":\"swaigate\"},", rest].concat();
        let answer = self.ask("a body that reads in two ways", &question);
        if answer.is_some_and(|answer| self.is_its_document(&answer)) {
            self.found(
                Weakness::AmbiguousJson,
                "a fetch whose body names two calls, `call` given twice, got a document",
            );
        }
        question.body = [b"{\"padding\":\"", vec![b'x'; LARGE].as_slice(), b"\",", rest].concat();
        // To close the connection on it is to refuse it as well.
        if self.client.ask(&question).is_ok_and(|answer| self.is_its_document(&answer)) {
            self.found(Weakness::LargeBodies, format!("a fetch with a body of {} MiB got a document", LARGE >> 20));
        }
    }
}

fn is_document(answer: &Answer) -> bool {
    answer.status == 200 && json::parse(&answer.body).is_ok_and(|root| root.get("sections").is_some())
}

/// Whether a document says something and hangs up, and no more.
fn only_speaks(root: &json::Node<'_>) -> bool {
    let main =
        root.get("sections").and_then(|sections| sections.get("main")).map(json::Node::items).unwrap_or_default();
    let ends = main.last().is_some_and(|verb| verb.get("hangup").is_some());
    ends && main.iter().all(|verb| ["answer", "play", "hangup"].iter().any(|name| verb.get(name).is_some()))
}
