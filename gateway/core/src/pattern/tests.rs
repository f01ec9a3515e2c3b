use proptest::prelude::*;

use super::*;

fn list(patterns: &[&str]) -> Vec<AddressPattern> {
    patterns.iter().map(|text| AddressPattern::of_callers(text).unwrap_or_else(|error| panic!("{error}"))).collect()
}

fn access(allow: &[&str], deny: &[&str]) -> Access {
    Access { allow: list(allow), deny: list(deny) }
}

#[test]
fn nothing_listed_lets_all_pass() {
    for address in ["+15551234567", "911", "sip:a@b", "", "whatever\0", "/private/x"] {
        assert!(access(&[], &[]).admits(address), "{address}");
    }
    assert!(access(&[], &[]).admits_caller(None));
}

#[test]
fn other_addresses_are_as_they_are_written() {
    let some = access(&["queue:*", "stream:wss://media.example.com/*"], &["queue:internal"]);
    for good in ["queue:sales", "QUEUE:Sales", "stream:wss://media.example.com/x"] {
        assert!(some.admits(good), "{good}");
    }
    for bad in [
        "queue:internal",
        "queue:",
        "queue:a,+19005551234",
        "queue:a b",
        "stream:wss://media.example.com.evil.org/x",
        "wss://media.example.com/x",
        "sales",
        "https://media.example.com/x",
    ] {
        assert!(!some.admits(bad), "{bad}");
    }
    assert!(access(&["*"], &[]).admits("queue:sales") && !access(&["+1*"], &[]).admits("queue:sales"));
    assert!(!access(&[], &["+1900*"]).admits("queue:a,+19005551234"));
}

#[test]
fn what_is_allowed_passes_and_nothing_else() {
    let some = access(&["+1555*", "+4930123456?", "911", "sip:*@pbx.example.com", "/private/*"], &["+15559*"]);
    for good in [
        "+15551234567",
        "+1 (555) 123-4567",
        "15551234567",
        "001 555 123 4567",
        "011-1-555-123-4567",
        "tel:+1-555-123-4567",
        "TEL:+15551234567;ext=5",
        "+49301234567",
        "911",
        "sip:alice@pbx.example.com",
        "SIPS:Alice@PBX.Example.Com.:5061;transport=tls",
        "sip:pbx.example.com",
        "/private/Support",
    ] {
        assert!(some.admits(good), "{good}");
    }
    for bad in [
        "+15559234567",
        "+15561234567",
        "+4930123456",
        "+493012345678",
        "91",
        "9111",
        "+911",
        "sip:alice@example.com",
        "sip:alice@pbx.example.com.evil.org",
        "sip:+15551234567@evil.org",
        "/public/support",
        "/private/../public/x",
        "/private//x",
        "/private",
        "alice",
        "",
        "+",
        // Of Brazil, or of North America.
        "5551234567",
    ] {
        assert!(!some.admits(bad), "{bad}");
    }
}

#[test]
fn what_is_denied_is_denied_however_it_is_written() {
    let premium = access(&[], &["+1900*", "+88*"]);
    for bad in [
        "+19005551234",
        "+1 (900) 555-1234",
        "19005551234",
        "1-900-555-1234",
        "9005551234",
        "900.555.1234",
        "0019005551234",
        "01119005551234",
        "011 1 900 555 1234",
        " +19005551234 ",
        "tel:+19005551234",
        "tel:1-900-555-1234;ext=1",
        "sip:+19005551234@carrier.example.com",
        "sip:19005551234@carrier.example.com;user=phone",
        "sip:9005551234@carrier.example.com",
        "sip:%2B1%39005551234@carrier.example.com",
        "sip:%2b1-900-555-1234:secret@carrier.example.com:5060",
        "sip:+19005551234;npdi@carrier.example.com",
        "sip:01119005551234@carrier.example.com",
        "+8821612345678",
        "8821612345678",
        "008821612345678",
    ] {
        assert!(!premium.admits(bad), "{bad}");
    }
    for good in
        ["+15551234567", "5551234567", "911", "sip:alice@example.com", "sip:1001@pbx", "sip:+15551234567@carrier"]
    {
        assert!(premium.admits(good), "{good}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_where_anything_is_listed() {
    for rules in [access(&[], &["+1900*"]), access(&["*"], &[])] {
        for bad in [
            "+1900555１２３４",
            "*6719005551234",
            "+19005551234,,1",
            "+19005551234#1",
            "+15551234567;x=1",
            "tel:9005551234;phone-context=+1",
            "+019005551234",
            "+0019005551234",
            "+119005551234",
            "119005551234",
            "0900555123",
            "00",
            "sip:",
            "sip:@",
            "sip:a@b@c",
            "sip:a@b?Route=%3Csip:evil.org%3E",
            "sip:a@b;maddr=evil.org",
            "sip:a@b;MADDR = evil.org",
            "sip:a@b;%6daddr=evil.org",
            "sip:a%40evil.org@b",
            "sip:a%3Bb@c",
            "sip:a%0D%0Ax@b",
            "sip:a%25%32%35@b",
            "sip:a%@b",
            "sip:a%+1@b",
            "sip:a@b%2ecom",
            "sip:a@b..c",
            "sip:a@b:port",
            "sip:a@b, sip:c@d",
            "<sip:a@b>",
            "\"A\" <sip:a@b>",
            "https://example.com",
            "client:alice",
            "/private/%2e%2e/x",
            "/private/x?y",
            "\u{200b}+15551234567",
            "+15551234567\n",
        ] {
            assert!(!rules.admits(bad), "{bad:?}");
        }
        assert!(!rules.admits(&format!("sip:{}@b", "a".repeat(600))));
    }
    // A number that nobody can read, through a host that can.
    assert!(!access(&["sip:*@carrier.example.com"], &["+1900*"]).admits("sip:0900555123@carrier.example.com"));
    assert!(!access(&["sip:*@carrier.example.com"], &["+1900*"]).admits("sip:*6719005551234@carrier.example.com"));
    assert!(access(&["sip:*@carrier.example.com"], &[]).admits("sip:0900555123@carrier.example.com"));
}

#[test]
fn unidentified_callers_have_a_word() {
    for (allow, deny, passes) in [
        (&["+1*"][..], &[][..], false),
        (&["+1*", "unidentified"], &[], true),
        (&["*"], &[], true),
        (&["+*"], &[], false),
        (&[], &["+1900*"], true),
        (&[], &["unidentified"], false),
        (&["unidentified"], &["*"], false),
    ] {
        assert_eq!(access(allow, deny).admits_caller(None), passes, "{allow:?} {deny:?}");
    }
    let number = access(&["+1*"], &[]);
    assert!(number.admits_caller(Some("+15551234567")) && !number.admits_caller(Some("+445551234567")));
}

#[test]
fn mistakes_in_patterns_say_what_to_write() {
    let message = |text: &str| text.parse::<AddressPattern>().unwrap_err().to_string();
    assert_eq!(message("1900*"), "`1900*`: write numbers with their country code, like `+1900*`");
    assert_eq!(message("15551234567"), "`15551234567`: write numbers with their country code, like `+1900*`");
    assert_eq!(message("tel:+1*"), "`tel:+1*`: write the number alone, like `+1900*`");
    assert_eq!(message("unidentified"), "`unidentified`: only callers can be unidentified");
    for bad in [
        "",
        "+",
        "+1x",
        "+1٥",
        "alice",
        "sip:",
        "sip:a@",
        "sip:a@b:5060",
        "sip:a@b;x=1",
        "sip:a%20@b",
        "/",
        "/a/../b",
        "/a b",
        "https://x",
        "+1\n",
    ] {
        assert!(bad.parse::<AddressPattern>().is_err(), "{bad}");
    }
    for good in
        ["*", "+*", "+1 (900) *", "911", "9??", "sip:*@*", "sip:alice@[2001:db8::1]", "sips:*@*.example.com.", "/*"]
    {
        assert!(good.parse::<AddressPattern>().is_ok(), "{good}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}", sip in "sip:[a-z0-9%@:;?=.\\[\\]+-]{0,30}") {
        let all = access(&["*"], &["+1900*"]);
        all.admits(&text);
        all.admits(&sip);
    }

    #[test]
    fn separators_never_help(place in 0..11usize, separator in "[ .()-]{1,3}", prefix in prop_oneof![Just("+"), Just(""), Just("00"), Just("011"), Just("tel:+"), Just("sip:+")]) {
        let mut digits = "19005551234".to_owned();
        digits.insert_str(place, &separator);
        let host = if prefix.starts_with("sip") { "@h" } else { "" };
        let text = format!("{prefix}{digits}{host}");
        prop_assert!(!access(&[], &["+1900*"]).admits(&text), "{}", text);
    }
}
