//! The half of Swaigate that acts: it collects what [`swaigate_core::decide`] asks for, and does what that says.
//!
//! Floors, each of which sees only those below it:
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 0 | [`clock`], [`random`] | the only readers of either |
//! | 1 | [`settings`], [`state`] | what the operator says, and what is remembered |
//! | 2 | [`explanation`], [`keys`], [`log`], [`metrics`], [`tls`] | what is made of them |
//! | 3 | [`audit`] | what is written down |
//! | 4 | [`app`] | what all requests share |
//! | 5 | [`connection`], [`reload`], [`upstream`] | the ways of clients, and to files and agents |
//! | 6 | [`admin`], [`gate`] | requests |
//! | 7 | [`edge`] | connections |
//! | 8 | [`run`] | the process |
//! | 9 | [`client`], [`operator`], [`rehearsal`], [`start`] | a stranger's way to an agent, an operator's to a gateway, calls that are played, and `run` |
//! | 10 | [`archive`], [`auditor`], [`check`], [`demo`], [`doctor`], [`emergency`], [`explain`], [`init`], [`lockout`], [`password`], [`replay`], [`schema`], [`signature`], [`status`], [`trial`] | the other commands |
//! | 11 | [`cli`] | the command line |
//!
//! Pingora's types appear in `connection`, `upstream`, `gate`, `edge`, `admin`, `run` and `demo` only.
//! `gateway/core/tests/wall.rs` reads the table and this sentence, and fails where they aren't true.

pub mod admin;
pub mod app;
pub mod archive;
pub mod audit;
pub mod auditor;
pub mod check;
pub mod cli;
pub mod client;
pub mod clock;
pub mod connection;
pub mod demo;
pub mod doctor;
pub mod edge;
pub mod emergency;
pub mod explain;
pub mod explanation;
pub mod gate;
pub mod init;
pub mod keys;
pub mod lockout;
pub mod log;
pub mod metrics;
pub mod operator;
pub mod password;
pub mod random;
pub mod rehearsal;
pub mod reload;
pub mod replay;
pub mod run;
pub mod schema;
pub mod settings;
pub mod signature;
pub mod start;
pub mod state;
pub mod status;
pub mod tls;
pub mod trial;
pub mod upstream;
