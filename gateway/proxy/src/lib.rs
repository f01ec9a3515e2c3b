//! The half of Swaigate that acts: it collects what [`swaigate_core::decide`] asks for, and does what that says.
//!
//! Floors, each of which sees only those below it:
//!
//! | floor | modules |
//! |---|---|
//! | 0 | [`clock`], [`random`] |
//! | 1 | [`settings`], [`state`], [`metrics`] |
//! | 2 | [`audit`], [`keys`] |
//! | 3 | [`app`] |
//! | 4 | [`reload`], [`upstream`] |
//! | 5 | [`gate`], [`edge`], [`admin`] |
//! | 6 | [`run`], [`demo`], [`cli`] |
//!
//! Pingora's types appear in `upstream`, `gate`, `edge`, `admin`, `run` and `demo` only.

pub mod admin;
pub mod app;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod demo;
pub mod edge;
pub mod gate;
pub mod keys;
pub mod metrics;
pub mod random;
pub mod reload;
pub mod run;
pub mod settings;
pub mod state;
pub mod upstream;
