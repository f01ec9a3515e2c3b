//! The real program, in front of real agents, asked by a stand-in for the platform.
//!
//! Each test starts what it needs on loopback: a gateway of its own, in a folder of its own, and one of the agents that
//! all tests share. `tests/setup` installs the agents. Waiting is polling with a deadline; nothing sleeps to be right.

mod harness;

mod addresses;
mod admin;
mod broken;
mod check;
mod commands;
mod connections;
mod credentials;
mod detect;
mod documents;
mod emergency;
mod endings;
mod evidence;
mod example_policies;
mod examples;
mod framing;
mod functions;
mod headers;
mod http2;
mod https;
mod init_doctor;
mod limits;
mod lockouts;
mod monitoring;
mod records;
mod redirects;
mod refusals;
mod reloads;
mod repeats;
mod retries;
mod routes;
mod settings;
mod signatures;
mod slow;
mod state;
mod streams;
mod strict_json;
mod tls;
mod tools;
mod transfers;
mod under_load;
mod upgrades;
mod upstreams;
mod whole_call;
