//! What is unwise in `gateway.yaml`.

use super::{Finding, Lint, Source};

/// What `gateway.yaml` says, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Whether the platform asks by https.
    pub is_public_https: bool,
    /// The listeners without TLS that other machines can reach, by their number.
    pub open_listeners: Vec<usize>,
    /// Whether it lists keys of tokens.
    pub has_token_keys: bool,
    /// The path of the audit log.
    pub audit: String,
}

/// Folders that the system cleans up.
const TEMPORARY: [&str; 4] = ["/tmp/", "/var/tmp/", "/dev/shm/", "/run/"];

pub(super) fn lint(source: &Source<'_>, process: &Process) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |lint, path: &[&str], message: &str| findings.push(source.finding(lint, path, message));
    if !process.is_public_https {
        let message = "the platform is told to ask by http, so passwords and callers' data cross the network in plain; give a listener `tls`, or put a TLS terminator in front, and write the `https://` origin";
        note(Lint::PlainListener, &["public_url"], message);
    }
    for number in &process.open_listeners {
        let message = "other machines can reach this address in plain; give it `tls`, or listen on 127.0.0.1 behind a TLS terminator on this machine";
        note(Lint::PlainListener, &["listen", &number.to_string()], message);
    }
    if !process.has_token_keys {
        let message = "the key of tokens is one that the gateway makes and keeps with its state: whoever loses that loses all calls under way; list `token_keys`";
        note(Lint::GeneratedTokenKey, &["token_keys"], message);
    }
    if is_temporary(&process.audit) {
        let message = "the audit log is in a folder that the system cleans up; write it where logs are kept, like `/var/log/swaigate/audit.jsonl`";
        note(Lint::AuditOnTmp, &["audit", "path"], message);
    }
    findings.extend(super::agent::insecure_keys(source));
    findings
}

pub(super) fn is_temporary(path: &str) -> bool {
    TEMPORARY.iter().any(|folder| path.starts_with(folder))
}
