//! The half of Swaigate that decides.
//!
//! Bytes, a compiled policy, the time and what the state store answered go in; a verdict comes out. Nothing here
//! waits, opens a socket or a file, reads the environment, the clock or a random number generator: all of these are
//! arguments. A test of this crate (`tests/wall.rs`) fails when a dependency could do any of it.
//!
//! Floors, each of which sees only those below it:
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 0 | [`id`], [`json`], [`keys`], [`origin`], [`secret`], [`time`] | nouns |
//! | 1 | [`basic`], [`call`], [`sanitize`], [`swml`], [`token`], [`yaml`] | one mechanism each |
//! | 2 | [`policy`], [`route`], [`verdict`], [`record`] | what is allowed, and the words for what happened |
//! | 3 | [`decide`] | the decision |
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod id;
pub mod json;
pub mod keys;
pub mod origin;
pub mod secret;
pub mod time;

pub mod basic;
pub mod call;
pub mod sanitize;
pub mod swml;
pub mod token;
pub mod yaml;

pub mod policy;
pub mod record;
pub mod route;
pub mod verdict;

pub mod decide;
