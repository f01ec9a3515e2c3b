//! What is said to a caller in place of the agent's answer.

/// What is said to a caller in place of the agent's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentences {
    /// A limit is reached.
    pub limited: String,
    /// The function isn't there, or an emergency switch is on.
    pub disabled: String,
    /// It is out of hours.
    pub closed: String,
    /// It isn't for this caller.
    pub caller: String,
    /// An argument is wrong; `{argument}` stands for its name.
    pub argument: String,
    /// Another function must have succeeded before.
    pub precondition: String,
    /// The same was done already.
    pub repeated: String,
    /// A code is missing or wrong.
    pub code: String,
    /// Too many wrong codes were given.
    pub locked: String,
    /// The caller, or all callers, have too many calls.
    pub busy: String,
    /// The agent tried what its policy doesn't allow.
    pub denied: String,
    /// The call has lasted longer than its tokens live.
    pub expired: String,
    /// The call has ended.
    pub ended: String,
    /// The agent takes longer than [`super::Timeouts::answer`].
    pub slow: String,
    /// The agent has as much to do as it may have at once.
    pub hold: String,
    /// The agent doesn't answer, or not with what the gateway can vouch for.
    pub unavailable: String,
}

// === impl Sentences ===

impl Sentences {
    /// All of them, by their keys.
    pub fn all(&self) -> [(&'static str, &str); 15] {
        [
            ("limited", &self.limited),
            ("disabled", &self.disabled),
            ("closed", &self.closed),
            ("caller", &self.caller),
            ("argument", &self.argument),
            ("precondition", &self.precondition),
            ("repeated", &self.repeated),
            ("code", &self.code),
            ("locked", &self.locked),
            ("busy", &self.busy),
            ("expired", &self.expired),
            ("ended", &self.ended),
            ("slow", &self.slow),
            ("hold", &self.hold),
            ("unavailable", &self.unavailable),
        ]
    }
}

impl Default for Sentences {
    fn default() -> Self {
        Self {
            limited: "You've made too many requests. Please wait a moment.".into(),
            disabled: "This service is temporarily unavailable.".into(),
            closed: "That isn't available at this time. Please try again during opening hours.".into(),
            caller: "I'm sorry, that isn't available for this caller.".into(),
            argument: "That didn't work: please ask the caller for {argument} again.".into(),
            precondition: "That isn't possible yet: another step has to be completed first.".into(),
            repeated: "That has already been done in this call.".into(),
            code: "Please ask the caller for their verification code, and try again with it.".into(),
            locked: "Too many wrong codes were given. Please try again later.".into(),
            busy: "All lines are busy. Please call again later.".into(),
            denied: "I'm sorry, I can't do that.".into(),
            expired: "This call has gone on for too long. Please call again.".into(),
            ended: "This call has ended. Please call again.".into(),
            slow: "That is taking longer than expected. Please ask again in a moment.".into(),
            hold: "Please hold: there is a lot to do right now. Please ask again in a moment.".into(),
            unavailable: "This service is temporarily unavailable. Please try again later.".into(),
        }
    }
}
