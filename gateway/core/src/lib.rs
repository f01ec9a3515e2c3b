//! The half of Swaigate that decides.
//!
//! Bytes, a compiled policy, the time and what the state store answered go in; a verdict comes out. Nothing here
//! waits, opens a socket or a file, reads the environment, the clock or a random number generator: all of these are
//! arguments. A test of this crate (`tests/wall.rs`) fails when a dependency could do any of it.
//!
//! Floors, each of which sees only those below it (`tests/wall.rs` reads this table):
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 0 | [`id`], [`json`], [`origin`], [`reason`], [`secret`], [`time`], [`verb`] | nouns |
//! | 1 | [`argon2id`], [`chain`], [`keys`], [`lockout`], [`record`], [`sanitize`], [`yaml`] | what is done with one of them |
//! | 2 | [`basic`], [`signature`], [`token`] | proofs |
//! | 2 | [`code`], [`hours`], [`input`], [`pattern`], [`redact`], [`schema`], [`turns`] | what the rules of functions are made of |
//! | 3 | [`call`], [`policy`], [`swml`] | what is said, and what is allowed |
//! | 4 | [`inventory`], [`switches`], [`verdict`] | what an agent's document holds, what is turned off, and the words for what happened |
//! | 4 | [`lint`] | what is allowed in the files, and unwise |
//! | 5 | [`orders`], [`route`] | what people have ordered, and what is asked for |
//! | 6 | [`decide`] | the decision |
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod id;
pub mod json;
pub mod origin;
pub mod reason;
pub mod secret;
pub mod time;
pub mod verb;

pub mod argon2id;
pub mod chain;
pub mod keys;
pub mod lockout;
pub mod record;
pub mod sanitize;
pub mod yaml;

pub mod basic;
pub mod signature;
pub mod token;

pub mod code;
pub mod hours;
pub mod input;
pub mod pattern;
pub mod redact;
pub mod schema;
pub mod turns;

pub mod call;
pub mod policy;
pub mod swml;

pub mod inventory;
pub mod lint;
pub mod switches;
pub mod verdict;

pub mod orders;
pub mod route;

pub mod decide;
