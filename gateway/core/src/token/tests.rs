use proptest::prelude::*;

use super::*;
use crate::secret::Secret;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn ring() -> KeyRing {
    let key = |id, byte| Key::new(id, &Secret::new([byte; 32])).unwrap();
    KeyRing::new(vec![key("new", 1), key("old", 2)]).unwrap()
}

fn claims(kind: Kind) -> Claims {
    Claims {
        kind,
        document: DocumentId([3; 16]),
        call: Some(CallDigest([4; 16])),
        caller: Some(CallerDigest([5; 16])),
        issued: NOW.unix_seconds(),
        expiry: NOW.unix_seconds() + 60,
        schema: [6; 8],
        is_one_of_several: false,
    }
}

fn binding<'a>(agent: &'a AgentName) -> Binding<'a> {
    Binding { agent, function: "pay", path: "/bank/swaig/", query: Some("__token=a%3D") }
}

fn agent(name: &str) -> AgentName {
    name.parse().unwrap()
}

#[test]
fn a_token_says_what_was_minted_for_every_kind_and_every_listed_key() {
    let (ring, bank) = (ring(), agent("bank"));
    for kind in Kind::ALL {
        for key in [ring.newest(), ring.find(Key::new("old", &Secret::new([2; 32])).unwrap().tag()).unwrap()] {
            let text = mint(key, &claims(kind), &binding(&bank));
            let verified = UnverifiedToken::decode(&text).unwrap().verify(&ring, &binding(&bank), NOW).unwrap();
            assert_eq!(verified.claims(), &claims(kind));
        }
    }
}

#[test]
fn a_token_is_good_for_nothing_else() {
    let (ring, bank, shop) = (ring(), agent("bank"), agent("shop"));
    let token = UnverifiedToken::decode(&mint(ring.newest(), &claims(Kind::Tool), &binding(&bank))).unwrap();
    let own = binding(&bank);
    let others = [
        Binding { agent: &shop, ..own },
        Binding { function: "steal", ..own },
        Binding { path: "/bank/swaig", ..own },
        Binding { query: Some("__token=b"), ..own },
        Binding { query: None, ..own },
        Binding { function: "", path: "pay/bank/swaig/", ..own },
    ];
    for other in others {
        assert_eq!(token.verify(&ring, &other, NOW).unwrap_err(), TokenError::Mismatch, "{other:?}");
    }
    let strangers = KeyRing::new(vec![Key::new("theirs", &Secret::new([9; 32])).unwrap()]).unwrap();
    assert_eq!(token.verify(&strangers, &own, NOW).unwrap_err(), TokenError::UnknownKey);
    let same_id = KeyRing::new(vec![Key::new("new", &Secret::new([9; 32])).unwrap()]).unwrap();
    assert_eq!(token.verify(&same_id, &own, NOW).unwrap_err(), TokenError::Mismatch);
}

#[test]
fn it_dies_on_its_second() {
    let (ring, bank) = (ring(), agent("bank"));
    let token = UnverifiedToken::decode(&mint(ring.newest(), &claims(Kind::Tool), &binding(&bank))).unwrap();
    assert!(token.verify(&ring, &binding(&bank), Timestamp(NOW.0 + 59_999)).is_ok());
    let late = token.verify(&ring, &binding(&bank), Timestamp(NOW.0 + 60_000));
    assert_eq!(late.unwrap_err(), TokenError::Expired);
}

#[test]
fn a_missing_and_an_empty_query_are_told_apart() {
    let (ring, bank) = (ring(), agent("bank"));
    for query in [None, Some(""), Some("a=&b")] {
        let bound = Binding { query, ..binding(&bank) };
        let token = UnverifiedToken::decode(&mint(ring.newest(), &claims(Kind::Tool), &bound)).unwrap();
        let rest = query.filter(|query| !query.is_empty());
        assert_eq!(token.restore_query(rest), query);
        assert!(token.verify(&ring, &bound, NOW).is_ok());
    }
}

#[test]
fn credentials_belong_to_tokens_of_their_document_kind_and_call() {
    let (ring, bank) = (ring(), agent("bank"));
    let password = mint_password(ring.newest(), &claims(Kind::Tool), &bank);
    let credentials = verify_password(password.as_bytes(), &ring, &bank, NOW).unwrap();
    let token = |claims: Claims| UnverifiedToken::decode(&mint(ring.newest(), &claims, &binding(&bank))).unwrap();
    let own = claims(Kind::Tool);
    assert!(credentials.belong_to(&token(own)));
    assert!(!credentials.belong_to(&token(claims(Kind::Summary))));
    assert!(!credentials.belong_to(&token(Claims { document: DocumentId([8; 16]), ..own })));
    assert!(!credentials.belong_to(&token(Claims { call: Some(CallDigest([8; 16])), ..own })));
    assert!(!credentials.belong_to(&token(Claims { call: None, ..own })));

    let check = |agent: &AgentName, at| verify_password(password.as_bytes(), &ring, agent, at);
    assert_eq!(check(&agent("shop"), NOW).unwrap_err(), TokenError::Mismatch);
    assert!(!check(&bank, Timestamp(NOW.0 + 59_999)).unwrap().are_expired());
    assert!(check(&bank, Timestamp(NOW.0 + 60_000)).unwrap().are_expired());
    assert_eq!(verify_password(b"hunter2", &ring, &bank, NOW).unwrap_err(), TokenError::Malformed);
}

#[test]
fn metadata_tokens_tell_urls_apart_and_nothing_else() {
    let (ring, bank) = (ring(), agent("bank"));
    let own = binding(&bank);
    let token = |binding: &Binding<'_>| metadata_token(ring.newest(), binding);
    assert_eq!(token(&own), token(&Binding { function: "other", ..own }));
    assert_ne!(token(&own), token(&Binding { path: "/bank", ..own }));
    assert_ne!(token(&own), token(&Binding { query: None, ..own }));
    assert_eq!(token(&own).len(), 32);
}

proptest! {
    /// Any flipped bit of a token is refused, whatever it claims then.
    #[test]
    fn any_flipped_bit_is_refused(bit in 0..(SIGNED + MAC) * 8) {
        let (ring, bank) = (ring(), agent("bank"));
        let text = mint(ring.newest(), &claims(Kind::Tool), &binding(&bank));
        let mut bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let flipped = UnverifiedToken::decode(&URL_SAFE_NO_PAD.encode(bytes));
        prop_assert!(flipped.and_then(|token| token.verify(&ring, &binding(&bank), NOW)).is_err());
    }

    /// The same for a character of its text: base64url has no two spellings of one token.
    #[test]
    fn any_changed_character_is_refused(at in any::<prop::sample::Index>(), with in any::<char>()) {
        let (ring, bank) = (ring(), agent("bank"));
        let text = mint(ring.newest(), &claims(Kind::Tool), &binding(&bank));
        let mut changed: Vec<char> = text.chars().collect();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != with);
        changed[at] = with;
        let changed: String = changed.into_iter().collect();
        let token = UnverifiedToken::decode(&changed);
        prop_assert!(token.and_then(|token| token.verify(&ring, &binding(&bank), NOW)).is_err());
    }

    /// Any flipped bit of a password is refused.
    #[test]
    fn any_flipped_bit_of_a_password_is_refused(bit in 0..(PASSWORD_SIGNED + PASSWORD_MAC) * 8) {
        let (ring, bank) = (ring(), agent("bank"));
        let mut bytes = URL_SAFE_NO_PAD.decode(mint_password(ring.newest(), &claims(Kind::Tool), &bank)).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let flipped = URL_SAFE_NO_PAD.encode(bytes);
        prop_assert!(verify_password(flipped.as_bytes(), &ring, &bank, NOW).is_err());
    }

    #[test]
    fn no_text_makes_it_panic(text in ".*") {
        let _ = UnverifiedToken::decode(&text);
        let _ = verify_password(text.as_bytes(), &ring(), &agent("bank"), NOW);
    }
}
