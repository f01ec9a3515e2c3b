//! What is allowed in the files of a gateway, and unwise.
//!
//! A mistake keeps a file from being used; what is here doesn't. Each finding has a name that stays, the place of the key
//! that is at fault, and says what to write instead. `policies/README.md`, "Warnings", lists them.

mod agent;
mod checklist;
mod process;
mod secrets;

pub use checklist::{Item, State, checklist};
pub use process::Process;

use crate::{
    id::AgentName,
    policy::{Agent, Secrets},
    yaml::{Outline, Place},
};

/// A file, for what is said of it.
pub struct Source<'a> {
    /// Its name, as the operator knows it.
    pub file: &'a str,
    /// What stands where.
    pub outline: Outline,
    /// Where the secrets are that it names.
    pub secrets: &'a dyn Secrets,
}

/// What is looked at: `gateway.yaml` and all policies, which are without mistakes.
pub struct Subject<'a> {
    /// `gateway.yaml`.
    pub gateway: Source<'a>,
    /// What it says.
    pub process: Process,
    /// The policies, each with what it was compiled to.
    pub policies: Vec<(Source<'a>, &'a Agent)>,
}

/// Something unwise in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub lint: Lint,
    /// The file.
    pub file: String,
    /// The key that is at fault, or where it could be.
    pub place: Place,
    /// The agent, if it is about one.
    pub agent: Option<AgentName>,
    /// What is unwise, and what to write instead. It never holds a secret.
    pub message: String,
}

macro_rules! lints {
    ($($(#[$doc:meta])* $name:ident => $word:literal,)+) => {
        /// A kind of finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Lint {
            $($(#[$doc])* $name,)+
        }

        impl Lint {
            /// Every kind.
            pub const ALL: &[Lint] = &[$(Lint::$name),+];

            /// Its name, for machines. It stays what it is.
            pub fn as_str(self) -> &'static str {
                match self { $(Lint::$name => $word,)+ }
            }
        }
    };
}

lints! {
    /// A password is short, or easy to guess.
    WeakPassword => "weak_password",
    /// One secret is used for two things.
    ReusedSecret => "reused_secret",
    /// The password is made anew at each start.
    GeneratedPassword => "generated_password",
    /// A file with a secret can be read by every user of the machine.
    ReadableSecret => "readable_secret",
    /// A certificate has ended, or ends soon.
    CertificateEnds => "certificate_ends",
    /// The key of tokens is one that the gateway made.
    GeneratedTokenKey => "generated_token_key",
    /// No signature of the platform's is checked.
    NoSigningKeys => "no_signing_keys",
    /// No signature has to be there.
    OptionalSignature => "optional_signature",
    /// A key that begins with `insecure_` is `true`.
    Insecure => "insecure",
    /// The agent is asked in plain over a network.
    PlainUpstream => "plain_upstream",
    /// The platform asks in plain, or others on the network may.
    PlainListener => "plain_listener",
    /// Documents without a call are good for the first call that uses them.
    UnboundDocuments => "unbound_documents",
    /// One caller may use all of the agent.
    NoLimits => "no_limits",
    /// Nothing is said of functions that the policy doesn't name.
    NoFunctionDefault => "no_function_default",
    /// A function that does harm has no limit, no confirmation and no code.
    UnguardedFunction => "unguarded_function",
    /// A policy names no sensitive argument.
    NothingSensitive => "nothing_sensitive",
    /// Nothing is added to the agent's prompts.
    NoPromptAppend => "no_prompt_append",
    /// Nothing unusual is told.
    NoDetection => "no_detection",
    /// Rules are tried only.
    InShadow => "in_shadow",
    /// The audit log is where the system cleans up.
    AuditOnTmp => "audit_on_tmp",
}

/// Everything unwise, in the order of the files and of the places in them. What needs the file system, which is
/// [`Lint::ReadableSecret`] and [`Lint::CertificateEnds`], is not among it.
pub fn lint(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = process::lint(&subject.gateway, &subject.process);
    for (source, agent) in &subject.policies {
        findings.extend(agent::lint(source, agent));
    }
    findings.extend(secrets::lint(subject));
    let position = |file: &str| subject.sources().position(|source| source.file == file);
    findings.sort_by_key(|finding| (position(&finding.file), finding.place.line, finding.place.column, finding.lint));
    findings
}

// === impl Subject ===

impl<'a> Subject<'a> {
    /// All files, `gateway.yaml` first.
    pub fn sources(&self) -> impl Iterator<Item = &Source<'a>> {
        std::iter::once(&self.gateway).chain(self.policies.iter().map(|(source, _)| source))
    }
}

// === impl Source ===

impl Source<'_> {
    /// A finding about this key, or where it could stand.
    fn finding(&self, lint: Lint, path: &[&str], message: impl Into<String>) -> Finding {
        let place = self.outline.place(path);
        Finding { lint, file: self.file.to_owned(), place, agent: None, message: message.into() }
    }
}

#[cfg(test)]
mod tests;
