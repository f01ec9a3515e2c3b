//! What rules found in a request that can't be told from the rest of its record: with it they can be asked again.

/// What the rules that were asked found. What wasn't asked isn't there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Of arguments that are not written down whole: what rules found in them.
    pub unseen: Vec<Unseen>,
    /// Whether the arguments fit the schema that the agent published.
    pub published_fits: Option<bool>,
    /// What was forgiven then, if it wasn't all that there is.
    pub lenient: Option<String>,
    /// Whether the arguments, for `once`, mean something else by that schema than without it.
    pub meant_otherwise: bool,
    /// For each pin, as `argument=fact`, whether it held.
    pub pins: Vec<(String, bool)>,
    /// What code was given.
    pub code: Option<CodeSeen>,
    /// What was heard of the caller's agreement.
    pub heard: Option<Heard>,
    /// For each requirement that other functions have, as `pointer=value`, whether the answer met it.
    pub met: Vec<(String, bool)>,
}

/// What a rule found in arguments that are not written down whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unseen {
    /// The key of the rule: `input`, `arguments`, or `when` of `verify`.
    pub key: &'static str,
    /// A digest of what the policy says there.
    pub rule: [u8; 4],
    /// Whether they fit.
    pub fits: bool,
}

/// A code that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeSeen {
    /// None.
    Missing,
    /// One that is none.
    Wrong,
    /// The right one. A time-based one may be that of so many steps after now.
    Right {
        /// From -1 to 1.
        step: i8,
    },
}

/// What was heard of a caller's agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// How many turns the caller has had; `None` if the platform didn't tell.
    pub turns: Option<u32>,
    /// Which of them agreed, counted from 0, if the last that decides does.
    pub agreed_at: Option<u32>,
    /// Which words were listened for: a digest of them.
    pub words: [u8; 4],
}

// === impl CodeSeen ===

impl CodeSeen {
    /// Its name in audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            CodeSeen::Missing => "missing",
            CodeSeen::Wrong => "wrong",
            CodeSeen::Right { step: ..0 } => "right_before",
            CodeSeen::Right { step: 0 } => "right",
            CodeSeen::Right { step: 1.. } => "right_after",
        }
    }
}
