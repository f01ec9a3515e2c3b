//! Tokens and credentials that are not good for exactly this: refused, against real agents, and the agent sees nothing.

use serde_json::{Value, json};

use crate::harness::{
    agent::{Agent, Sdk},
    gateway::{GATEWAY_PASSWORD, GATEWAY_USER, Gateway, Policy},
    http::{Answer, Request, without_userinfo},
    platform::{Call, Document, Platform, function_call},
    tap::Tap,
    until,
};

/// A call whose document was fetched.
struct World {
    agent: &'static Agent,
    tap: Tap,
    gateway: Gateway,
    call: Call,
    document: Document,
}

fn world(sdk: Sdk) -> World {
    let agent = sdk.shared();
    let tap = agent.tap();
    let bank = Policy::through(&tap, agent);
    // A second agent, with the same program behind it.
    let other = Policy::through(&tap, agent).named("other").at("/other").with_upstream_path("/bank");
    let gateway = Gateway::start("", &[&bank, &other]);
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    World { agent, tap, gateway, call, document }
}

impl World {
    /// A function call as it should be.
    fn proper(&self) -> Request {
        self.document.function_request(&self.call, "get_balance", &json!({ "account": "1" }))
    }

    fn with_body(&self, change: impl FnOnce(&mut Value)) -> Request {
        let mut body = function_call(&self.call, "get_balance", &json!({ "account": "1" }));
        change(&mut body);
        Request { body: body.to_string().into_bytes(), ..self.proper() }
    }

    fn with_url(&self, change: impl FnOnce(&str) -> String) -> Request {
        let proper = self.proper();
        Request { url: change(&proper.url), ..proper }
    }

    /// Sends what must be refused.
    fn refused(&self, what: &str, request: &Request) -> Answer {
        self.tap.stays_silent(what, || request.send())
    }

    fn check(&self, what: &str, request: &Request, status: u16, reason: &str) {
        let answer = self.refused(what, request);
        assert_eq!((answer.status, self.gateway.reason_of(&answer).as_str()), (status, reason), "{what}");
        let words = answer.json();
        assert_eq!(
            words.as_object().map(|words| words.keys().cloned().collect::<Vec<_>>()),
            Some(vec!["error".into()])
        );
    }

    fn works(&self) {
        let answer = self.proper().send();
        assert_eq!(answer.response(), "Balance of 1 is $150.00");
        assert_eq!(self.agent.ran(&self.call, "get_balance"), 1, "nothing of what was refused ran");
    }
}

/// The token in a URL: what is before, itself, what is behind.
fn around_token(url: &str) -> (&str, &str, &str) {
    let start = url.find("gw_token=").expect("it has a token") + "gw_token=".len();
    let end = url[start..].find('&').map_or(url.len(), |at| start + at);
    (&url[..start], &url[start..end], &url[end..])
}

fn with_token(url: &str, change: impl FnOnce(&str) -> String) -> String {
    let (before, token, behind) = around_token(url);
    format!("{before}{}{behind}", change(token))
}

/// The same with another character at this place.
fn flipped(token: &str, at: usize) -> String {
    let other = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

fn without_token(url: &str) -> String {
    let (before, _, behind) = around_token(url);
    format!("{}{}", before.trim_end_matches("gw_token=").trim_end_matches(['?', '&']), behind)
}

#[test]
fn a_token_is_good_for_its_agent_function_call_path_and_query_alone() {
    for sdk in Sdk::ALL {
        let world = world(sdk);
        let transfer = without_userinfo(&world.document.function_url("transfer_funds")).0;
        let summary = without_userinfo(&world.document.summary_url()).0;
        let swaig = sdk.swaig_path();
        let other_slash = if swaig.ends_with('/') { "/bank/swaig" } else { "/bank/swaig/" };
        let other_agent = swaig.replace("/bank/", "/other/");
        let as_platform = |request: Request| request.with_user(GATEWAY_USER, GATEWAY_PASSWORD);
        let cases: Vec<(&str, Request, &str)> = vec![
            ("another function", world.with_body(|body| body["function"] = json!("transfer_funds")), "token_mismatch"),
            ("another function's URL", world.with_url(|_| transfer.clone()), "token_mismatch"),
            (
                "another call",
                world.with_body(|body| body["call_id"] = json!("call-of-someone-else")),
                "token_foreign_call",
            ),
            (
                "no call",
                world.with_body(|body| drop(body.as_object_mut().map(|b| b.remove("call_id")))),
                "token_foreign_call",
            ),
            ("another path", world.with_url(|url| url.replacen(swaig, other_slash, 1)), "token_mismatch"),
            ("a longer query", world.with_url(|url| format!("{url}&lang=en")), "token_mismatch"),
            (
                "another agent",
                as_platform(world.with_url(|url| url.replacen(swaig, &other_agent, 1))),
                "token_mismatch",
            ),
            ("no token", as_platform(world.with_url(without_token)), "token_missing"),
            (
                "an empty token",
                as_platform(world.with_url(|url| with_token(url, |_| String::new()))),
                "token_malformed",
            ),
            ("no base64", as_platform(world.with_url(|url| with_token(url, |_| "%20!".into()))), "token_malformed"),
            (
                "half a token",
                as_platform(world.with_url(|url| with_token(url, |t| t[..t.len() / 2].into()))),
                "token_malformed",
            ),
            (
                "two tokens",
                as_platform(world.with_url(|url| format!("{url}&gw_token={}", around_token(url).1))),
                "token_malformed",
            ),
            (
                "a summary's token",
                as_platform(world.with_url(|url| with_token(url, |_| around_token(&summary).1.to_owned()))),
                "token_mismatch",
            ),
        ];
        for (what, request, reason) in cases {
            world.check(&format!("{sdk:?}: {what}"), &request, 403, reason);
        }
        world.works();
    }
}

#[test]
fn a_token_with_any_character_changed_is_refused() {
    for sdk in Sdk::ALL {
        let world = world(sdk);
        let request = world.proper().with_user(GATEWAY_USER, GATEWAY_PASSWORD);
        let length = around_token(&request.url).1.len();
        let before = world.tap.bytes().len();
        for at in 0..length {
            let url = with_token(&request.url, |token| flipped(token, at));
            let answer = Request { url, ..request.clone() }.send();
            // A changed kind asks for another route, which may not exist or not be asked so.
            assert!(matches!(answer.status, 403..=405), "{sdk:?} {at}: {}", answer.text());
        }
        assert_eq!(world.tap.bytes().len(), before, "{sdk:?}");
        world.works();
    }
}

#[test]
fn the_agents_own_token_is_a_part_of_the_query_that_ours_covers() {
    for sdk in Sdk::PYTHON {
        let world = world(sdk);
        let arguments = json!({ "to_account": "1", "amount": 1 });
        let proper = world.document.function_request(&world.call, "transfer_funds", &arguments);
        assert!(proper.url.contains("__token="), "{}", proper.url);
        for url in [proper.url.replacen("__token=", "__token=x", 1), proper.url.replacen("__token=", "token=", 1)] {
            world.check(&url.clone(), &Request { url, ..proper.clone() }, 403, "token_mismatch");
        }
        assert_eq!(proper.send().response(), "Transferred $1 to account 1", "{sdk:?}");
    }
}

#[test]
fn summaries_and_debug_events_need_their_token_too() {
    for sdk in Sdk::ALL {
        let world = world(sdk);
        let mut urls = vec![world.document.summary_url()];
        if sdk != Sdk::Rust {
            urls.push(world.document.debug_url());
        }
        for url in urls {
            let body = json!({ "call_id": world.call.id, "call_info": { "call_id": world.call.id } });
            let foreign = json!({ "call_id": "other", "call_info": { "call_id": "other" } });
            let bare = without_token(&without_userinfo(&url).0);
            let without = Request::post(&bare, body.to_string()).with_user(GATEWAY_USER, GATEWAY_PASSWORD);
            world.check("no token", &without, 403, "token_missing");
            world.check("another call", &Request::post(&url, foreign.to_string()), 403, "token_foreign_call");
            assert_eq!(Request::post(&url, body.to_string()).send().status, 200, "{sdk:?}");
        }
    }
}

#[test]
fn an_expired_token_is_told_to_the_caller_and_not_asked_again() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let tokens = "tokens: { lifetime: 1s, grace: 0s }\nsay: { expired: \"Please call again.\" }";
        let gateway = Policy::through(&tap, agent).and(tokens).start();
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        let request = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
        let expired = until("the token expires", || {
            Some(request.send()).filter(|answer| answer.response() == "Please call again.")
        });
        assert_eq!(gateway.reason_of(&expired), "token_expired", "{sdk:?}");
        let ran = agent.ran(&call, "get_balance");
        tap.stays_silent("an expired token", || {
            assert_eq!(request.send().response(), "Please call again.");
            // Whoever asks with the gateway's own password hears the same.
            assert_eq!(
                request.clone().with_user(GATEWAY_USER, GATEWAY_PASSWORD).send().response(),
                "Please call again."
            );
            let answer = Platform::summarize(&document, &call, 10);
            assert_eq!((answer.status, gateway.reason_of(&answer).as_str()), (403, "token_expired"));
        });
        assert_eq!(agent.ran(&call, "get_balance"), ran);
    }
}

#[test]
fn summaries_are_accepted_for_a_while_after_functions_are_not() {
    let agent = Sdk::Python.shared();
    let gateway = Policy::of(agent.address).and("tokens: { lifetime: 1s, grace: 10m }").start();
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    until("the function's token expires", || {
        let answer = Platform::call_function(&document, &call, "get_balance", &json!({ "account": "1" }));
        (answer.response() == "This call has gone on for too long. Please call again.").then_some(())
    });
    assert_eq!(Platform::summarize(&document, &call, 10).status, 200);
    Platform::call_function(&document, &call, "hangup_hook", &json!({})).response();
    assert_eq!(agent.ran(&call, "hangup_hook"), 1);
}

#[test]
fn a_retired_key_ends_what_it_signed_and_a_listed_one_does_not() {
    let old = "token_keys: [{ id: old, secret_env: OTHER_TOKEN_KEY }]";
    let both = "token_keys: [{ id: new, secret_env: TOKEN_KEY }, { id: old, secret_env: OTHER_TOKEN_KEY }]";
    let new = "token_keys: [{ id: new, secret_env: TOKEN_KEY }]";
    let agent = Sdk::Rust.shared();
    let tap = agent.tap();
    let gateway = Gateway::start(old, &[&Policy::through(&tap, agent)]);
    let call = Call::new();
    let document = gateway.platform().fetch(&call);
    let request = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
    let reload = |settings: &str| {
        let before = gateway.reloads("ok");
        gateway.folder.write_settings(settings);
        gateway.wait_for_reloads("ok", before + 1);
    };
    reload(both);
    assert_eq!(request.send().status, 200, "a call under way goes on while keys change");
    reload(new);
    tap.stays_silent("a retired key", || {
        let refused = request.clone().with_user(GATEWAY_USER, GATEWAY_PASSWORD).send();
        assert_eq!((refused.status, gateway.reason_of(&refused).as_str()), (403, "token_key_unknown"));
        let refused = request.send();
        assert_eq!((refused.status, gateway.reason_of(&refused).as_str()), (401, "credentials_wrong"));
    });
}

#[test]
fn a_document_without_a_call_is_worth_nothing_where_the_policy_says_so() {
    for sdk in Sdk::ALL {
        let agent = sdk.shared();
        let tap = agent.tap();
        let gateway = Policy::through(&tap, agent).and("tokens: { unbound: deny }").start();
        let document = gateway.platform().fetch_by_get("");
        let request = document.function_request(&Call::new(), "get_balance", &json!({ "account": "1" }));
        let refused = tap.stays_silent("an unbound document", || request.send());
        assert_eq!((refused.status, gateway.reason_of(&refused).as_str()), (403, "token_unbound"), "{sdk:?}");
    }
}

#[test]
fn wrong_missing_and_foreign_credentials_are_refused() {
    for sdk in Sdk::ALL {
        let world = world(sdk);
        let fetch = world.gateway.platform().fetch_request("", &world.call);
        let bearer = |request: Request| request.anonymous().header("Authorization", "Bearer abc");
        let garbage = |request: Request| request.anonymous().header("Authorization", "Basic !!!");
        for request in [fetch.clone(), world.proper()] {
            world.check("none", &request.clone().anonymous(), 401, "credentials_missing");
            for (what, wrong) in [
                ("wrong password", request.clone().with_user(GATEWAY_USER, "not-the-password-at-all")),
                ("wrong user", request.clone().with_user("nobody", GATEWAY_PASSWORD)),
                ("no password", request.clone().with_user(GATEWAY_USER, "")),
                ("a made up per-call password", request.clone().with_user("call", GATEWAY_PASSWORD)),
                ("another scheme", bearer(request.clone())),
                ("no base64", garbage(request.clone())),
            ] {
                world.check(what, &wrong, 401, "credentials_wrong");
                let challenge = wrong.send().header("www-authenticate").map(str::to_owned);
                assert_eq!(challenge.as_deref(), Some("Basic realm=\"swaigate\", charset=\"UTF-8\""), "{what}");
            }
        }
        foreign_call_credentials(&world);
        world.works();
    }
}

/// The credentials in a URL are good for URLs of that document and kind, and for nothing else.
fn foreign_call_credentials(world: &World) {
    let of = |url: &str| without_userinfo(url).1.expect("minted URLs have credentials");
    let (user, tool) = of(&world.document.function_url("get_balance"));
    let summary = of(&world.document.summary_url()).1;
    let other_document = world.gateway.platform().fetch(&world.call);
    let other = of(&other_document.function_url("get_balance")).1;
    let proper = world.proper();
    for (what, password) in [("another kind", &summary), ("another document", &other)] {
        world.check(what, &proper.clone().with_user(&user, password), 403, "credentials_foreign");
    }
    let fetch = world.gateway.platform().fetch_request("", &world.call).with_user(&user, &tool);
    world.check("a new document with them", &fetch, 403, "credentials_foreign");
    let elsewhere = Request { url: fetch.url.replace("/bank", "/other"), ..fetch };
    world.check("another agent with them", &elsewhere, 401, "credentials_wrong");
}
