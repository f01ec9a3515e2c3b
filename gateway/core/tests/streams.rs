//! What passes of the heads of requests and answers that are streamed, in the world `chat` of the golden cases.

#[path = "support/world.rs"]
mod world;

use std::{fs, path::Path};

use swaigate_core::{
    decide::{AgentHead, Permit, release_head},
    record::Facts,
    route::Method,
    token::Kind,
    verdict::Reason,
};
use world::{Request, Wanted, World};

fn chat() -> World {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/worlds/chat.yaml");
    World::new(serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()).unwrap()
}

/// The permission for a file, for a path that is the agent's to protect, and for one that is the gateway's.
fn permits(world: &World) -> [Permit; 3] {
    let file = format!("/bank/files/a?gw_token={}", Wanted::new(Kind::Asset, "", "bank", "/bank/files/a").token());
    let asked = [(Method::Get, file.as_str()), (Method::Post, "/bank/chat/"), (Method::Post, "/bank/chat/admin")];
    asked.map(|(method, target)| {
        let permit = world.ask(&Request::of_platform(method, target, "")).unwrap().permit;
        assert!(permit.is_streamed(), "{target}");
        permit
    })
}

fn head(status: u16, headers: &[(&str, &str)]) -> AgentHead {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    AgentHead { status, headers: headers.collect() }
}

fn released(world: &World, permit: &Permit, head: &AgentHead) -> Result<Vec<String>, Reason> {
    let released = release_head(permit, &world.policies, head, &mut Facts::default());
    released.map(|headers| headers.iter().map(|(name, _)| name.clone()).collect()).map_err(|denial| denial.reason)
}

#[test]
fn of_a_clients_head_passes_what_the_route_needs_and_what_the_policy_names() {
    let world = chat();
    let [file, open, own] = permits(&world);
    let named = |permit: &Permit| permit.request_headers().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(named(&file), ["range", "if-range", "if-none-match", "if-modified-since"]);
    let open = named(&open);
    assert!(open.contains(&"authorization".to_owned()) && open.contains(&"x-chat-handle".to_owned()), "{open:?}");
    assert_eq!(named(&own), [] as [&str; 0]);
}

#[test]
fn of_an_agents_head_no_cookie_passes_and_no_place() {
    let world = chat();
    let all = head(
        200,
        &[
            ("content-type", "text/plain"),
            ("content-length", "3"),
            ("content-length", "3"),
            ("connection", "x-chat-handle"),
            ("set-cookie", "a=b"),
            ("location", "/elsewhere"),
            ("server", "agent/1"),
            ("x-chat-handle", "h"),
            ("etag", "e"),
            ("vary", "Origin"),
            ("access-control-allow-origin", "*"),
        ],
    );
    let [file, open, own] = permits(&world);
    assert_eq!(released(&world, &file, &all).unwrap(), ["content-type", "content-length", "etag"]);
    let page = ["content-type", "x-chat-handle", "vary", "access-control-allow-origin"];
    assert_eq!(released(&world, &open, &all).unwrap(), page);
    assert_eq!(released(&world, &own, &all).unwrap(), ["content-type", "vary"]);
}

#[test]
fn no_length_leaves_beside_a_coding() {
    let world = chat();
    let [file, ..] = permits(&world);
    let coded = head(200, &[("content-length", "3"), ("transfer-encoding", "chunked"), ("etag", "e")]);
    assert_eq!(released(&world, &file, &coded).unwrap(), ["etag"]);
}

#[test]
fn heads_that_the_gateway_cannot_vouch_for_are_refused() {
    let world = chat();
    let [file, open, own] = permits(&world);
    let gzip = head(200, &[("content-encoding", "gzip")]);
    let leaking = head(200, &[("content-type", "text/s3cr3t/p@ss")]);
    for permit in [&file, &open, &own] {
        assert_eq!(released(&world, permit, &gzip), Err(Reason::AgentEncoded));
        assert_eq!(released(&world, permit, &leaking), Err(Reason::CredentialInDocument));
    }
    let refused = head(401, &[("www-authenticate", "Bearer")]);
    assert_eq!(released(&world, &open, &refused).unwrap(), ["www-authenticate"]);
    assert_eq!(released(&world, &own, &refused), Err(Reason::AgentUnauthorized), "it is the gateway that it refuses");
    assert_eq!(released(&world, &file, &refused), Err(Reason::AgentUnauthorized));
    for (status, passes) in [(206, true), (304, true), (416, true), (302, false), (500, false)] {
        assert_eq!(released(&world, &file, &head(status, &[])).is_ok(), passes, "{status}");
    }
}
