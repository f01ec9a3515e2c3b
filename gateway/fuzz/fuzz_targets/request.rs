//! A function call with a good token: the first byte chooses what it was minted for, the rest is the body. What is let
//! through names the function and the call of its token, as a second parser reads them.
#![no_main]

#[path = "../../core/tests/support/world.rs"]
mod world;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use swaigate_core::{route::Method, token::Kind};
use world::{CALL, Request, Wanted, World};

static WORLD: LazyLock<World> = LazyLock::new(World::bank);

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, body)) = bytes.split_first() else { return };
    let kind = Kind::ALL[usize::from(choice) % Kind::ALL.len()];
    let function = if matches!(kind, Kind::Tool | Kind::Hook) { "f" } else { "" };
    let token = Wanted::new(kind, function, "bank", "/bank/swaig").token();
    let request = Request::of_platform(Method::Post, &format!("/bank/swaig?gw_token={token}"), body);
    let Ok(passed) = WORLD.ask(&request) else { return };
    if matches!(kind, Kind::Tool | Kind::Hook) {
        let body = passed.permit.forward().edited.as_deref().map_or(body, str::as_bytes);
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(body["function"], "f");
        let call = if body["call_id"].is_string() { &body["call_id"] } else { &body["channel_data"]["call_id"] };
        assert!(*call == CALL || body["conversation_id"] == CALL);
    }
});
