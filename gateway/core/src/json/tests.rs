use proptest::prelude::*;

use super::*;

#[test]
fn what_two_parsers_could_read_two_ways_is_refused() {
    let cases: &[(&[u8], &str)] = &[
        (br#"{"a":1,"a":2}"#, "twice"),
        (br#"{"x":{"a":1,"\u0061":2}}"#, "twice"),
        (br#"[{"function":"a","function":"b"}]"#, "twice"),
        (b"{\"a\":\"\xff\"}", "UTF-8"),
        (b"\xef\xbb\xbf{}", "expected value"),
        (br#"{"a":1} {"b":2}"#, "trailing"),
        (br#"{"a":1,}"#, "trailing comma"),
        (br#"{"a":NaN}"#, "expected value"),
        (br#"{"a":Infinity}"#, "expected value"),
        (br#"{"a":01}"#, "invalid number"),
        (br#"{"a":.5}"#, "expected value"),
        (br#"{"a":"\ud800"}"#, "escape"),
        (b"{\"a\":\"\n\"}", "control character"),
        (br#"{'a':1}"#, "key"),
        (b"", "EOF"),
    ];
    for (text, expected) in cases {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{:?}: {error}", String::from_utf8_lossy(text));
    }
}

#[test]
fn many_members_with_a_duplicate_are_refused_too() {
    let mut keys: Vec<String> = (0..40).map(|i| format!("\"k{i}\":0")).collect();
    assert!(parse(format!("{{{}}}", keys.join(",")).as_bytes()).is_ok());
    keys.push("\"k7\":1".into());
    assert!(matches!(parse(format!("{{{}}}", keys.join(",")).as_bytes()), Err(JsonError::DuplicateKey { .. })));
}

#[test]
fn depth_is_bounded_where_it_says() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(nested(MAX_DEPTH + 1).as_bytes()).is_ok());
    assert_eq!(parse(nested(MAX_DEPTH + 2).as_bytes()), Err(JsonError::TooDeep));
    assert_eq!(parse(nested(100_000).as_bytes()), Err(JsonError::TooDeep));
}

#[test]
fn values_mean_the_same_however_they_are_written() {
    let same = [("1", "1.0"), ("100", "1e2"), ("-0", "0"), (r#""é""#, r#""\u00e9""#)];
    let same_objects = [(r#"{"a":1,"b":[2]}"#, r#"{ "b":[2.0], "a":1 }"#)];
    for (a, b) in same.iter().chain(&same_objects) {
        assert!(parse(a.as_bytes()).unwrap().means(&parse(b.as_bytes()).unwrap()), "{a} {b}");
    }
    let different = [
        ("1", "2"),
        ("1", "\"1\""),
        ("12345678901234567890", "12345678901234567891"),
        ("12345678901234567890123456789012345678901", "12345678901234567890123456789012345678902"),
        ("1e999", "1e998"),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
        ("[1,2]", "[2,1]"),
    ];
    for (a, b) in different {
        assert!(!parse(a.as_bytes()).unwrap().means(&parse(b.as_bytes()).unwrap()), "{a} {b}");
    }
}

#[test]
fn members_are_removed_with_their_commas() {
    let cases = [
        (r#"{"a":1}"#, "a", "{}"),
        (r#"{"a":1, "b":2}"#, "a", r#"{"b":2}"#),
        (r#"{"a":1, "b":2 , "c":3}"#, "b", r#"{"a":1 , "c":3}"#),
        (r#"{"a":1, "b":2}"#, "b", r#"{"a":1}"#),
        (r#"{"a":1, "b":2, "c":3}"#, "ab", r#"{"c":3}"#),
        (r#"{"a":1, "b":2, "c":3}"#, "bc", r#"{"a":1}"#),
        (r#"{"a":1, "b":2, "c":3}"#, "ac", r#"{"b":2}"#),
        (r#"{"a":1, "b":2}"#, "ab", "{}"),
    ];
    for (text, remove, expected) in cases {
        let mut edits = Edits::default();
        edits.remove_members(&parse(text.as_bytes()).unwrap(), |key| remove.contains(key));
        assert_eq!(edits.apply(text).unwrap(), expected, "{text} without {remove}");
    }
}

#[test]
fn edits_of_one_place_are_refused() {
    let mut edits = Edits::default();
    edits.replace(1..3, "x");
    edits.replace(2..4, "y");
    assert_eq!(edits.apply("abcdef"), Err(Overlap));
}

#[test]
fn canonical_text_is_the_same_for_the_same_value() {
    let text = |text: &str| String::from_utf8(parse(text.as_bytes()).unwrap().canonical()).unwrap();
    assert_eq!(text(r#"{ "b" : [1, {}, []], "a" : "\u00e9" }"#), r#"{"a":"é","b":[1,{},[]]}"#);
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|f| serde_json::Number::from_f64(f).map_or(serde_json::Value::Null, Into::into)),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::btree_map(".*", inner, 0..16)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn to_serde(node: &Node<'_>) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => serde_json::from_str(n).unwrap(),
        Value::String(s) => s.as_ref().into(),
        Value::Array(items) => items.iter().map(to_serde).collect(),
        Value::Object(members) => {
            serde_json::Value::Object(members.iter().map(|m| (m.key.to_string(), to_serde(&m.node))).collect())
        }
    }
}

proptest! {
    /// What is valid is read as a second, independent parser reads it.
    #[test]
    fn reads_what_serde_json_reads(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        // Not compared with `value`: serde_json reads some floats as their neighbours.
        let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(to_serde(&parse(text.as_bytes()).unwrap()), expected);
    }

    /// What is accepted is JSON for a second parser too, and nothing makes this one panic.
    #[test]
    fn accepts_nothing_that_serde_json_refuses(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if parse(&bytes).is_ok() {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
        }
    }

    /// The same, for texts that are nearly JSON.
    #[test]
    fn accepts_nothing_that_serde_json_refuses_after_a_mutation(
        value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        // serde_json refuses numbers beyond a double's range, which are JSON.
        if let Ok(node) = parse(&bytes) {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok() || has_huge_number(&node));
        }
    }

    /// A value's place in the text holds that value.
    #[test]
    fn spans_hold_their_values(value in any_json()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        check_spans(&text, &parse(text.as_bytes()).unwrap());
    }
}

fn has_huge_number(node: &Node<'_>) -> bool {
    match &node.value {
        Value::Number(n) => n.parse::<f64>().is_ok_and(f64::is_infinite),
        Value::Array(items) => items.iter().any(has_huge_number),
        Value::Object(members) => members.iter().any(|m| has_huge_number(&m.node)),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn check_spans(text: &str, node: &Node<'_>) {
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text[node.span.clone()]).unwrap(), to_serde(node));
    node.items().iter().for_each(|item| check_spans(text, item));
    for member in node.members() {
        let key: String =
            serde_json::Deserializer::from_str(&text[member.start..]).into_iter().next().unwrap().unwrap();
        assert_eq!(key, member.key);
        check_spans(text, &member.node);
    }
}
