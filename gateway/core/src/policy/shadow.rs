//! Which rules are tried and which are enforced.

use crate::record::Rule;

/// Rules in shadow: what they would refuse is recorded, and passes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shadow(u32);

// === impl Shadow ===

impl Shadow {
    /// No rule.
    pub const NOTHING: Self = Self(0);

    /// All rules.
    pub const ALL: Self = Self(u32::MAX);

    /// These rules.
    pub fn of(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self(rules.into_iter().fold(0, |bits, rule| bits | bit(rule)))
    }

    /// These and those.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a rule is one of them.
    pub fn has(self, rule: Rule) -> bool {
        self.0 & bit(rule) != 0
    }
}

fn bit(rule: Rule) -> u32 {
    1 << (rule as u32)
}
