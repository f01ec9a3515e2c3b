//! The process' own log, on standard error.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::{EnvFilter, fmt::writer::MakeWriterExt};

use crate::settings::{Log, LogFormat};

/// Starts the process' own log, on standard error. `RUST_LOG` overrides its level.
pub fn start(log: &Log) {
    let level = log.level.to_string().to_lowercase();
    // Pingora's lower levels print header values and targets, and so passwords and tokens; it calls each connection an
    // error that a client breaks off, and rustls warns of what any stranger may send.
    let core = "pingora_core";
    let quiet = format!("pingora=off,{core}=error,{core}::apps=off,pingora_proxy=off,rustls=error");
    let default = format!("{level},{quiet}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log_to = std::io::stderr.with_max_level(Level::TRACE);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(log_to)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // It fails only if the process has a log already.
    drop(started);
}
