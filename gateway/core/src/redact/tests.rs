use proptest::prelude::*;

use super::*;

fn all() -> Redactions {
    Redactions::new(vec![Pattern::card_number(), Pattern::ssn(), Pattern::email().unwrap(), Pattern::phone()])
}

fn only(pattern: Pattern) -> Redactions {
    Redactions::new(vec![pattern])
}

fn check(redactions: &Redactions, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let redacted = redactions.apply(text);
        assert_eq!(redacted.as_deref().unwrap_or(text), *expected, "{text}");
        assert_eq!(redacted.is_none(), text == expected, "{text}");
    }
}

#[test]
fn card_numbers_go_however_they_are_spaced() {
    check(
        &only(Pattern::card_number()),
        &[
            ("4111111111111111", "[card number]"),
            ("The card 4111 1111 1111 1111 is valid.", "The card [card number] is valid."),
            ("4111-1111-1111-1111,", "[card number],"),
            ("3782 822463 10005", "[card number]"),
            ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "[card number]"),
            ("4111 - 1111 – 1111\u{a0}1111", "[card number]"),
            ("４１１１１１１１１１１１１１１１", "[card number]"),
            ("no4111111111111111x", "no[card number]x"),
            ("12 4111111111111111 35", "12 [card number] 35"),
            ("5. 4111 1111 1111 1111. 7", "5. [card number]. 7"),
            ("4222222222222 and 5555555555554444", "[card number] and [card number]"),
        ],
    );
}

#[test]
fn other_numbers_stay() {
    for text in [
        "4111111111111112",
        "411111111111",
        "94111111111111111119",
        "00004111111111111111000",
        "order 1234567890123",
        "4111111111111\n111",
        "4111, 1111, 1111, 1111",
        "1/2/3",
        "",
    ] {
        assert_eq!(only(Pattern::card_number()).apply(text), None, "{text}");
    }
    assert_eq!(Redactions::default().apply("4111111111111111"), None);
}

#[test]
fn social_security_numbers() {
    check(
        &only(Pattern::ssn()),
        &[
            ("SSN 123-45-6789.", "SSN [social security number]."),
            ("123 45 6789", "[social security number]"),
            ("1 2 3 4 5 6 7 8 9", "[social security number]"),
            ("1-2-3, 4-5", "1-2-3, 4-5"),
            ("123456789", "123456789"),
            ("000-12-3456", "000-12-3456"),
            ("666-12-3456", "666-12-3456"),
            ("900-12-3456", "900-12-3456"),
            ("123-00-6789", "123-00-6789"),
            ("123-45-0000", "123-45-0000"),
            ("1123-45-6789", "1123-45-6789"),
            ("123-45-67890", "123-45-67890"),
        ],
    );
}

#[test]
fn phones_and_email_addresses() {
    check(
        &only(Pattern::phone()),
        &[
            ("Call +1 (555) 234-4567 now", "Call [phone number] now"),
            ("(555) 234-4567", "[phone number]"),
            ("555.234.4567 or 1-555-234-4567", "[phone number] or [phone number]"),
            ("5552344567", "[phone number]"),
            ("5 5 5 2 3 4 4 5 6 7", "[phone number]"),
            ("+49 30 1234567, +442079460000", "[phone number], [phone number]"),
            ("+49 30 1234567 +442079460000", "[phone number] [phone number]"),
            ("555-1234", "[phone number]"),
            ("room 555-12345", "room 555-12345"),
            ("1234567", "1234567"),
            ("0552344567", "0552344567"),
            ("15552344567890123", "15552344567890123"),
            ("2+2 is 4", "2+2 is 4"),
            ("2026-12-25 08:30", "2026-12-25 08:30"),
        ],
    );
    check(
        &only(Pattern::email().unwrap()),
        &[
            ("to a.b+c@mail.example.com.", "to [email address]."),
            ("jürgen@exämple.de", "[email address]"),
            ("<x@y.zz>", "<[email address]>"),
            ("a@b", "a@b"),
            ("@handle, 5 @ 3.50", "@handle, 5 @ 3.50"),
        ],
    );
}

#[test]
fn patterns_of_ones_own_have_names() {
    let account = Pattern::text("account", Regex::new("ACC-[0-9]{4}").unwrap());
    check(&only(account), &[("ACC-1234 and ACC-99999", "[account] and [account]9"), ("acc-1234", "acc-1234")]);
    let nothing = Pattern::text("nothing", Regex::new("x*").unwrap());
    check(&only(nothing), &[("abc", "abc"), ("axxb", "a[nothing]b")]);
}

#[test]
fn what_overlaps_is_one_and_the_first_names_it() {
    let of = |first: Pattern, second: Pattern| Redactions::new(vec![first, second]);
    let text = Pattern::text("card text", Regex::new("card [0-9 ]{9}").unwrap());
    check(&of(Pattern::card_number(), text.clone()), &[("my card 4111 1111 1111 1111!", "my [card number]!")]);
    check(&of(text, Pattern::card_number()), &[("my card 4111 1111 1111 1111!", "my [card text]!")]);
    check(&all(), &[("4111111111111111 a@b.cc 123-45-6789", "[card number] [email address] [social security number]")]);
}

/// Sixteen digits of which the last one checks the others, with this between them.
fn luhn(digits: &[u8], separators: &[&str]) -> (String, String) {
    let sum: u32 = digits
        .iter()
        .enumerate()
        .map(|(at, d)| {
            let doubled = u32::from(*d) * 2;
            if at % 2 == 0 { doubled / 10 + doubled % 10 } else { u32::from(*d) }
        })
        .sum();
    let check = (10 - sum % 10) % 10;
    let plain: String = digits.iter().map(ToString::to_string).chain([check.to_string()]).collect();
    let spaced =
        plain.chars().zip(separators.iter().chain([&""])).flat_map(|(c, s)| [c.to_string(), (*s).to_owned()]).collect();
    (plain, spaced)
}

proptest! {
    #[test]
    fn no_card_number_survives(
        digits in prop::collection::vec(0..10u8, 15),
        separators in prop::collection::vec(prop::sample::select(vec!["", "", "", " ", "-", ".", " - "]), 15),
        before in prop::sample::select(vec!["", "card ", "12 ", "5. ", "x", "+", "(", "7-", "1 2 3 ", "é", "123-45-6789 ", "a@b.cc "]),
        after in prop::sample::select(vec!["", " exp 12/27", " 12", ".", "x", "-7", "é", ")", ", 4111", " 555-234-4567"]),
    ) {
        let (plain, spaced) = luhn(&digits, &separators);
        for redactions in [only(Pattern::card_number()), all(), Redactions::new(vec![Pattern::phone(), Pattern::card_number()])] {
            let redacted = redactions.apply(&format!("{before}{spaced}{after}")).unwrap_or_else(|| panic!("{spaced}"));
            let left: String = redacted.chars().filter(char::is_ascii_digit).collect();
            prop_assert!(!left.contains(&plain), "{}", redacted);
            prop_assert!(!redacted.contains(&spaced), "{}", redacted);
        }
    }

    #[test]
    fn any_text_can_be_looked_through(text in "[0-9+() .@a-zé\u{ff10}\u{2013}-]{0,60}") {
        if let Some(redacted) = all().apply(&text) {
            prop_assert_ne!(&redacted, &text);
            // What is left is clean.
            prop_assert_eq!(only(Pattern::card_number()).apply(&redacted), None);
        }
    }
}
