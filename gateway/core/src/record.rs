//! What a decision learned about a request, for the audit record.

mod inputs;

pub use inputs::{CodeSeen, Heard, Inputs, Unseen};

use std::sync::Arc;

use crate::id::{CallerDigest, DocumentId};

/// How much of a foreign word is written down, in characters.
const MAX_NOTED: usize = 256;

/// A word of a body's as it is written down: one that is longer is cut, so that no record gets as long as a body.
pub(crate) fn noted(word: &str) -> String {
    word.chars().take(MAX_NOTED).collect()
}

/// How the person on the other end is talked to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// On the phone.
    #[default]
    Voice,
    /// In text messages.
    Messaging,
    /// In AI chat.
    Chat,
}

/// How a request was recognised as one that was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The first is under way, and this one waited for its answer.
    Joined,
    /// The first was answered, and this one got the same.
    Stored,
}

/// A rule of a policy, by the key under which it stands. Each can be tried in shadow: decided, recorded, and passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Which functions are there at all.
    Publish,
    /// Size, depth and forbidden texts of arguments.
    Input,
    /// The schemas of arguments.
    Arguments,
    /// When a function may be called.
    Hours,
    /// Who may call.
    Callers,
    /// Which function must have succeeded before.
    Requires,
    /// What a caller has to agree to.
    Confirm,
    /// The code that a caller has to know.
    Verify,
    /// Arguments that must equal a fact of the call.
    Pin,
    /// The same arguments at most once in a call.
    Once,
    /// How often.
    Limits,
    /// How many calls, and for how long.
    Calls,
    /// Whom the agent may connect or write to.
    Destinations,
    /// Which verbs it may use.
    Verbs,
    /// Which hosts its documents may make the platform ask.
    Egress,
    /// What is unusual. In shadow, alarms are raised and nothing is done.
    Detect,
}

/// A refusal by a rule that is in shadow: the request passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadowed {
    /// The rule.
    pub rule: Rule,
    /// The reason that the refusal would have had, by its name.
    pub reason: &'static str,
}

/// What was learned about a request until its end, whatever that was. A field that stayed empty was not learned.
#[derive(Debug, Default, Clone)]
pub struct Facts {
    /// The user whose credentials were sent, `call` for per-call credentials.
    pub user: Option<String>,
    /// The function that the body names.
    pub function: Option<String>,
    /// The call that the body names.
    pub call_id: Option<String>,
    /// The remote party's number.
    pub caller: Option<String>,
    /// The remote party's digest, as the token carries it.
    pub caller_digest: Option<CallerDigest>,
    /// Whether the body names another caller than the token: then only the token's counts.
    pub caller_disagrees: bool,
    /// The number on this side.
    pub called: Option<String>,
    /// The document that the request's token left in, or the one that was made for it.
    pub document: Option<DocumentId>,
    /// The document whose token a fetch carries, if it carries one.
    pub within: Option<DocumentId>,
    /// The scheme of the platform's signature, if that was checked.
    pub signature: Option<&'static str>,
    /// How the person on the other end is talked to.
    pub medium: Medium,
    /// Whether it is a request that was sent before.
    pub repeat: Option<Repeat>,
    /// The published parameters of the function, as the start of their SHA-256.
    pub schema: Option<[u8; 8]>,
    /// Whether these parameters aren't known any more, or can't be told.
    pub schema_unknown: bool,
    /// The function's arguments as JSON, sensitive values redacted.
    pub arguments: Option<String>,
    /// What the document holds that does not pass through the gateway.
    pub unmediated: Vec<Unmediated>,
    /// Whether it is the first request of a call.
    pub begins_call: bool,
    /// Whether it says that the call is over.
    pub ends_call: bool,
    /// Whether nothing was against it: then the agent was asked, unless the gateway itself failed.
    pub permitted: bool,
    /// What the policy's rules found in it.
    pub inputs: Inputs,
    /// Of what a function's answer consists: `response`, and the names of actions.
    pub result: Vec<String>,
    /// Whether a function's answer meets what other functions require, if they do.
    pub has_met: Option<bool>,
    /// How much of the answer was redacted.
    pub redacted: usize,
    /// What rules in shadow would have refused.
    pub would_refuse: Vec<Shadowed>,
    /// The scope of the emergency switch that stopped it.
    pub switch: Option<String>,
    /// Which server of the agent was asked last, if it has several.
    pub server: Option<Arc<str>>,
    /// Who was locked out.
    pub lockout: Option<String>,
    /// For the operator: what exactly was wrong. It holds no secret and no number.
    pub detail: Option<String>,
}

/// Something in a document that does not pass through the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmediated {
    /// A function's name, or the key of the URL.
    pub what: String,
    /// Why.
    pub how: Bypass,
}

/// Why something does not pass through the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    /// The platform runs it by itself.
    DataMap,
    /// Its URL is not a protected agent's.
    External,
    /// Its URL is made by the platform from a template.
    Templated,
    /// Its URL is the agent's own, in a protocol that the gateway doesn't carry: nothing is there.
    Protocol,
    /// Its URL is the agent's own, and no token is made for it where it stands: whoever asks there is refused.
    NoToken,
    /// The policy doesn't allow it, or it would be a way around the gateway: it was cut from the document.
    Cut,
    /// It has rules that the gateway can't enforce, since it doesn't pass through it, and was cut from the document.
    Unenforced,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Rule; 16] = [
        Rule::Publish,
        Rule::Input,
        Rule::Arguments,
        Rule::Hours,
        Rule::Callers,
        Rule::Requires,
        Rule::Confirm,
        Rule::Verify,
        Rule::Pin,
        Rule::Once,
        Rule::Limits,
        Rule::Calls,
        Rule::Destinations,
        Rule::Verbs,
        Rule::Egress,
        Rule::Detect,
    ];

    /// Its key in policy files, and its name in audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::Publish => "publish",
            Rule::Input => "input",
            Rule::Arguments => "arguments",
            Rule::Hours => "hours",
            Rule::Callers => "callers",
            Rule::Requires => "requires",
            Rule::Confirm => "confirm",
            Rule::Verify => "verify",
            Rule::Pin => "pin",
            Rule::Once => "once",
            Rule::Limits => "limits",
            Rule::Calls => "calls",
            Rule::Destinations => "destinations",
            Rule::Verbs => "verbs",
            Rule::Egress => "egress",
            Rule::Detect => "detect",
        }
    }

    /// Whether it is a rule for single functions.
    pub fn is_of_functions(self) -> bool {
        match self {
            Rule::Publish
            | Rule::Input
            | Rule::Arguments
            | Rule::Hours
            | Rule::Callers
            | Rule::Requires
            | Rule::Confirm
            | Rule::Verify
            | Rule::Pin
            | Rule::Once
            | Rule::Limits => true,
            Rule::Calls | Rule::Destinations | Rule::Verbs | Rule::Egress | Rule::Detect => false,
        }
    }

    /// Whether it is a rule for a whole agent.
    pub fn is_of_agents(self) -> bool {
        matches!(self, Rule::Callers | Rule::Limits) || !self.is_of_functions()
    }
}

impl Facts {
    /// Notes what a rule in shadow would have refused, and with which reason, by its name.
    pub fn shadowed(&mut self, rule: Rule, reason: &'static str) {
        self.would_refuse.push(Shadowed { rule, reason });
    }
}

impl Medium {
    /// Its name in audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Medium::Voice => "voice",
            Medium::Messaging => "messaging",
            Medium::Chat => "chat",
        }
    }
}

impl Repeat {
    /// Its name in audit records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Repeat::Joined => "joined",
            Repeat::Stored => "stored",
        }
    }
}

impl Bypass {
    /// Every way around.
    pub const ALL: [Bypass; 7] = [
        Bypass::DataMap,
        Bypass::External,
        Bypass::Templated,
        Bypass::Protocol,
        Bypass::NoToken,
        Bypass::Cut,
        Bypass::Unenforced,
    ];

    /// Its name in audit records and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Bypass::DataMap => "data_map",
            Bypass::External => "external",
            Bypass::Templated => "templated",
            Bypass::Protocol => "protocol",
            Bypass::NoToken => "no_token",
            Bypass::Cut => "cut",
            Bypass::Unenforced => "unenforced",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut() {
        assert_eq!(noted("call-1"), "call-1");
        assert_eq!(noted(&"ü".repeat(1000)), "ü".repeat(256));
    }

    #[test]
    fn the_operators_page_explains_every_way_around() {
        let page = include_str!("../../../policies/README.md");
        for how in Bypass::ALL {
            assert!(page.contains(&format!("| `{}` |", how.as_str())), "policies/README.md lacks a row for {how:?}");
        }
    }
}
