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
fn two_agents_in_one_process_are_two_to_the_gateway() {
    for sdk in Sdk::PYTHON {
        let agent = sdk.start_told(free_address(), &[("AGENT_SECOND_ROUTE", "/shop")]);
        let [bank, shop] = [("bank", "/bank"), ("shop", "/shop")]
            .map(|(name, path)| Policy::of(agent.address).named(name).at(path).and("tokens: { ended_grace: 0s }"));
        let gateway = Gateway::start("", &[&bank, &shop]);
        let call = Call::new();
        let at_bank = gateway.platform().fetch(&call);
        let (url, at_shop) = follow(&at_bank, &call, "transfer");
        assert!(url.contains(&format!("@{}/shop?", gateway.listen())), "{sdk:?}: {url}");
        move_money(&at_bank, &call);
        move_money(&at_shop, &call);
        for (document, own, other) in [(&at_bank, "/bank/", "/shop/"), (&at_shop, "/shop/", "/bank/")] {
            refused_elsewhere(&gateway, document, &call, (own, other));
        }
        assert_eq!(Platform::summarize(&at_bank, &call, 100).status, 200);
        move_money(&at_shop, &call);
        let (url, back) = follow(&at_shop, &call, "transfer");
        assert!(url.contains(&format!("@{}/bank?", gateway.listen())), "{sdk:?}: {url}");
        move_money(&back, &call);

        let ran = agent.did(&call).into_iter().filter(|line| line["function"] == "transfer_funds");
        let routes: Vec<_> = ran.map(|line| line["route"].clone()).collect();
        assert_eq!(routes, ["/bank", "/shop", "/shop", "/bank"], "{sdk:?}");
    }
}

/// Calls a function that needs the SDK's own token too.
fn move_money(document: &Document, call: &Call) {
    let answer = Platform::call_function(document, call, "transfer_funds", &json!({ "to_account": "7", "amount": 5 }));
    assert_eq!(answer.response(), "Transferred $5 to account 7");
}

/// What one agent's document has for a function is nothing to another agent, even for the platform itself.
fn refused_elsewhere(gateway: &Gateway, document: &Document, call: &Call, (own, other): (&str, &str)) {
    let platform = gateway.platform();
    let request = document.function_request(call, "transfer_funds", &json!({ "to_account": "7", "amount": 5 }));
    let moved = Request { url: request.url.replacen(own, other, 1), ..request };
    assert_eq!(gateway.reason_of(&moved.send()), "credentials_wrong", "{own}");
    let moved = moved.with_user(&platform.user, &platform.password);
    assert_eq!(gateway.reason_of(&moved.send()), "token_mismatch", "{own}");
}

#[test]
fn a_transfer_is_good_for_its_own_call() {
    for (first, second) in [(Sdk::Python, Sdk::Old), (Sdk::Old, Sdk::Python)] {
        let (bank, shop) = pair(first, second);
        let gateway = before(&bank, &shop);
        let call = Call::new();
        let (url, _) = follow(&gateway.platform().fetch(&call), &call, "transfer");
        let other = Call::new();
        let foreign = Request::post(&url, other.to_string()).send();
        assert_eq!(gateway.reason_of(&foreign), "token_foreign_call", "{first:?}");
        assert_eq!(shop.did(&other), Vec::<Value>::new(), "{first:?}: the other agent heard nothing of it");
    }
}

#[test]
fn a_url_where_a_number_belongs_leads_to_nothing_and_tells_nothing() {
    for (first, second) in [(Sdk::Python, Sdk::Old), (Sdk::Old, Sdk::Python)] {
        let (bank, shop) = pair(first, second);
        let gateway = before(&bank, &shop);
        let call = Call::new();
        let document = gateway.platform().fetch(&call);
        let arguments = json!({ "how": "connect", "to": "url" });
        let answer = Platform::call_function(&document, &call, "route_call", &arguments);
        let connect = &answer.json()["action"][0]["SWML"]["sections"]["main"][0]["connect"];
        assert_eq!(*connect, json!({ "to": format!("{}/shop", gateway.origin()) }), "{first:?}");
    }
}

#[test]
fn the_tokens_of_one_agent_open_nothing_of_the_other() {
    let (bank, shop) = pair(Sdk::Python, Sdk::Old);
    let gateway = before(&bank, &shop);
    let call = Call::new();
    let at_bank = gateway.platform().fetch(&call);
    let (_, at_shop) = follow(&at_bank, &call, "transfer");
    for (document, own, other) in [(&at_bank, "/bank/", "/shop/"), (&at_shop, "/shop/", "/bank/")] {
        refused_elsewhere(&gateway, document, &call, (own, other));
    }
    assert_eq!((bank.ran(&call, "transfer_funds"), shop.ran(&call, "transfer_funds")), (0, 0));
}
