//! `swaigate schema`: the JSON Schemas of both files, for editors.

use clap::ValueEnum;

/// A file that has a schema. `tests/keys` keeps them in step with what the loaders read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Schema {
    /// An agent's policy
    Policy,
    /// gateway.yaml
    Gateway,
}

// === impl Schema ===

impl Schema {
    /// JSON Schema, draft 2020-12.
    pub fn text(self) -> &'static str {
        match self {
            Self::Policy => include_str!("../../../policies/schema/policy.schema.json"),
            Self::Gateway => include_str!("../../../policies/schema/gateway.schema.json"),
        }
    }
}
