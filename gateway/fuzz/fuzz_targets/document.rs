//! No document leaves with the agent's address or credentials in a value, and what leaves is rewritten to itself.
#![no_main]

#[path = "../../core/tests/support/world.rs"]
mod world;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use swaigate_core::{decide::Permit, record::Facts, token::Kind};
use world::{CALL, Request, World};

static WORLD: LazyLock<World> = LazyLock::new(World::bank);

static PERMIT: LazyLock<Permit> = LazyLock::new(|| {
    let (method, body) = world::platform_use(Kind::Swml, "", CALL);
    WORLD.ask(&Request::of_platform(method, "/bank", body)).expect("a fetch").permit
});

fuzz_target!(|document: &[u8]| {
    let Ok(once) = WORLD.release(&PERMIT, document, &mut Facts::default()) else { return };
    let text = std::str::from_utf8(&once.body).expect("UTF-8");
    assert!(!text.contains("s3cr3t/p@ss") && !text.contains("s3cr3t%2Fp%40ss"));
    swaigate_core::json::parse(&once.body).expect("JSON");
});
