//! What the environment says of the process itself.

use std::ffi::OsStr;

use anyhow::bail;

/// The variable that stops all agents.
const EMERGENCY_MODE: &str = "AGENT_EMERGENCY_MODE";

/// Whether the environment stops all agents.
///
/// # Errors
/// If the variable says neither yes nor no: whoever misspells it means to stop something.
pub fn emergency_mode() -> anyhow::Result<bool> {
    read(std::env::var_os(EMERGENCY_MODE).as_deref())
}

fn read(value: Option<&OsStr>) -> anyhow::Result<bool> {
    match value.map(OsStr::to_str) {
        None | Some(Some("" | "0" | "false")) => Ok(false),
        Some(Some("1" | "true")) => Ok(true),
        Some(_) => bail!(
            "the environment variable {EMERGENCY_MODE} must be `true` (or `1`), which stops all agents, or `false` (or `0`, or empty)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_yes_or_no() {
        let said = |text: &str| read(Some(OsStr::new(text)));
        assert!(said("true").unwrap() && said("1").unwrap());
        assert!(!said("false").unwrap() && !said("0").unwrap() && !said("").unwrap() && !read(None).unwrap());
        for text in ["TRUE", "yes", "on", " true", "2"] {
            assert!(said(text).unwrap_err().to_string().contains("AGENT_EMERGENCY_MODE must be"), "{text}");
        }
    }
}
