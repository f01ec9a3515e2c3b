//! No text is a token or a password that nobody minted, and none makes the decoder panic.
#![no_main]

#[path = "../../core/tests/support/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use swaigate_core::{
    id::AgentName,
    token::{self, Binding, UnverifiedToken},
};

fuzz_target!(|text: &str| {
    let ring = world::ring();
    let agent: AgentName = "bank".parse().expect("a name");
    assert!(token::verify_password(text.as_bytes(), &ring, &agent, world::NOW).is_err());
    if let Ok(token) = UnverifiedToken::decode(text) {
        let binding = Binding { agent: &agent, function: "f", path: "/bank/swaig", query: None };
        assert!(token.verify(&ring, &binding, world::NOW).is_err());
    }
});
