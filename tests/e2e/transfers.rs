//! A call goes from one protected agent to another and back: neither's credentials leave, and neither's tokens open the
//! other.

use serde_json::{Value, json};

use crate::harness::{
    agent::{Agent, PASSWORD, Sdk, USER},
    free_address,
    gateway::{Gateway, OTHER_PASSWORD, Policy},
    http::Request,
    platform::{Call, Document, Platform},
};

/// Two agents, each of which sends calls to the other, at its own URL and with its own credentials in it.
fn pair(bank: Sdk, shop: Sdk) -> (Agent, Agent) {
    let (at_bank, at_shop) = (free_address(), free_address());
    let to_shop = format!("http://{USER}:{OTHER_PASSWORD}@{at_shop}/shop");
    let to_bank = format!("http://{USER}:{PASSWORD}@{at_bank}/bank");
    let of_shop =
        [("AGENT_ROUTE", "/shop"), ("AGENT_TRANSFER", to_bank.as_str()), ("SWML_BASIC_AUTH_PASSWORD", OTHER_PASSWORD)];
    (bank.start_told(at_bank, &[("AGENT_TRANSFER", &to_shop)]), shop.start_told(at_shop, &of_shop))
}

fn before(bank: &Agent, shop: &Agent) -> Gateway {
    let strict = "tokens: { ended_grace: 0s }";
    let of_shop = Policy::of(shop.address).named("shop").at("/shop").with_other_password();
    Gateway::start("", &[&Policy::of(bank.address).and(strict), &of_shop.and(strict)])
}

/// Where an answer sends the call.
fn destination(answer: &Value) -> String {
    let swml = match &answer["action"][0]["SWML"] {
        Value::String(text) => serde_json::from_str(text).expect("SWML in a string is JSON"),
        swml => swml.clone(),
    };
    let main = swml["sections"]["main"].as_array().cloned().unwrap_or_else(|| panic!("no SWML: {answer}"));
    let dest = main.iter().find_map(|verb| verb["transfer"]["dest"].as_str().or(verb["execute"]["dest"].as_str()));
    dest.unwrap_or_else(|| panic!("it is sent nowhere: {answer}")).to_owned()
}

/// Sends the call on from a document, as the platform does, with the credentials in the URL.
fn follow(document: &Document, call: &Call, how: &str) -> (String, Document) {
    let answer = Platform::call_function(document, call, "route_call", &json!({ "how": how }));
    let text = answer.text();
    for secret in [PASSWORD, OTHER_PASSWORD, USER] {
        assert!(!text.contains(secret), "{secret} leaves in {text}");
    }
    let url = destination(&answer.json());
    let fetched = Request::post(&url, call.to_string()).send();
    assert_eq!(fetched.status, 200, "{}", fetched.text());
    (url, Document::new(fetched.text()))
}

fn balance(document: &Document, call: &Call) -> String {
    Platform::call_function(document, call, "get_balance", &json!({ "account": "1" })).response()
}

#[test]
fn a_call_is_sent_from_one_agent_to_another_and_back() {
    for (first, second) in [(Sdk::Python, Sdk::Old), (Sdk::Old, Sdk::Python)] {
        let (bank, shop) = pair(first, second);
        let gateway = before(&bank, &shop);
        for how in ["transfer", "execute", "text"] {
            let call = Call::new();
            let at_bank = gateway.platform().fetch(&call);
            let (url, at_shop) = follow(&at_bank, &call, how);
            assert!(url.contains(&format!("@{}/shop?", gateway.listen())), "{first:?} {how}: {url}");
            // The first agent's part is over, and its summary comes; the call goes on.
            assert_eq!(Platform::summarize(&at_bank, &call, 100).status, 200);
            assert!(balance(&at_shop, &call).contains("150"), "{first:?} {how}");
            assert_eq!((bank.ran(&call, "get_balance"), shop.ran(&call, "get_balance")), (0, 1), "{first:?} {how}");
            assert_eq!(balance(&at_bank, &call), "This call has ended. Please call again.", "{first:?} {how}");

            let (url, back) = follow(&at_shop, &call, how);
            assert!(url.contains(&format!("@{}/bank?", gateway.listen())), "{first:?} {how}: {url}");
            assert_eq!(Platform::summarize(&at_shop, &call, 100).status, 200);
            assert!(balance(&back, &call).contains("150"), "{first:?} {how}: it is back");

            assert_eq!(Platform::summarize(&back, &call, 100).status, 200);
            for (document, function) in [(&back, "get_balance"), (&at_shop, "slow_tool")] {
                let late = Platform::call_function(document, &call, function, &json!({ "account": "2" }));
                assert_eq!(gateway.reason_of(&late), "call_ended", "{first:?} {how}");
            }
            let again = Request::post(&url, call.to_string()).send();
            assert_eq!(gateway.reason_of(&again), "call_ended", "{first:?} {how}: it has ended everywhere");
        }
    }
}

#[test]
fn the_tokens_of_one_agent_open_nothing_of_the_other() {
    let (bank, shop) = pair(Sdk::Python, Sdk::Old);
    let gateway = before(&bank, &shop);
    let call = Call::new();
    let at_bank = gateway.platform().fetch(&call);
    let (_, at_shop) = follow(&at_bank, &call, "transfer");
    let platform = gateway.platform();
    for (document, own, other) in [(&at_bank, "/bank/", "/shop/"), (&at_shop, "/shop/", "/bank/")] {
        let request = document.function_request(&call, "get_balance", &json!({ "account": "1" }));
        let moved = Request { url: request.url.replace(own, other), ..request };
        assert_eq!(gateway.reason_of(&moved.send()), "credentials_wrong", "{own}");
        let moved = moved.with_user(&platform.user, &platform.password);
        assert_eq!(gateway.reason_of(&moved.send()), "token_mismatch", "{own}");
    }
    assert_eq!((bank.ran(&call, "get_balance"), shop.ran(&call, "get_balance")), (0, 0));
}
