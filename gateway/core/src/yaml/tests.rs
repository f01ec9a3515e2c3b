use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// One of each kind of key, to be read from whatever a case has.
#[derive(Debug, Default, PartialEq)]
struct Everything {
    name: Option<String>,
    kind: Option<u8>,
    on: Option<bool>,
    count: Option<u64>,
    wait: Option<Duration>,
    size: Option<usize>,
    list: Option<Vec<Option<String>>>,
    inner: Option<String>,
}

fn everything(fields: &mut Fields<'_>) -> Option<Everything> {
    Some(Everything {
        name: fields.take("name").text(),
        kind: fields.take("kind").choice(&[("old", 1), ("new", 2)]),
        on: fields.take("on").bool(),
        count: fields.take("count").integer(1..=10),
        wait: fields.take("wait").duration(Duration::from_millis(1)..=Duration::from_secs(7200)),
        size: fields.take("size").size(1..=64 << 20),
        list: fields.take("list").list(3).map(|items| items.into_iter().map(Field::text).collect()),
        inner: fields.take("inner").section(|fields| fields.take("name").text()),
    })
}

fn mistakes(text: &str) -> Vec<String> {
    match read("f.yaml", text, everything) {
        Ok(value) => panic!("{text:?} was read as {value:?}"),
        Err(mistakes) => mistakes.iter().map(|m| m.to_string()).collect(),
    }
}

#[test]
fn values_arrive() {
    let text = "name: a b\nkind: new\n\"on\": yes\ncount: 0xA\nwait: 1h30m\nsize: 256KiB\nlist: [a, 'b']\ninner: {name: \"n\"}\n";
    let expected = Everything {
        name: Some("a b".into()),
        kind: Some(2),
        on: Some(true),
        count: Some(10),
        wait: Some(Duration::from_secs(5400)),
        size: Some(256 << 10),
        list: Some(vec![Some("a".into()), Some("b".into())]),
        inner: Some("n".into()),
    };
    assert_eq!(read("f.yaml", text, everything), Ok(expected));
    assert_eq!(read("f.yaml", "{}", everything), Ok(Everything::default()));
}

#[test]
fn durations_and_sizes() {
    for (text, millis) in [("500ms", 500), ("10s", 10_000), ("1m", 60_000), ("1m50s", 110_000), ("1.5h", 5_400_000)] {
        let wait = read("f", &format!("wait: {text}"), everything).unwrap().wait;
        assert_eq!(wait, Some(Duration::from_millis(millis)), "{text}");
        if !text.contains('.') {
            assert_eq!(field::show_duration(Duration::from_millis(millis)), text);
        }
    }
    for (text, bytes) in [("1B", 1), ("1KiB", 1024), ("16MiB", 16 << 20), ("1kB", 1000), ("1.5 MiB", 3 << 19)] {
        assert_eq!(read("f", &format!("size: {text}"), everything).unwrap().size, Some(bytes), "{text}");
    }
}

#[test]
fn every_mistake_says_where_and_what_instead() {
    let cases = [
        ("nam: x", "1:1: unknown key `nam`; did you mean `name`?"),
        ("inner:\n  nane: x", "2:3: unknown key `nane`; did you mean `name`?"),
        ("color: x", "1:1: unknown key `color`; known here: name, kind, on, count, wait, size, list, inner"),
        ("name: 7", "1:7: `name` must be text; put it in quotes"),
        ("name: no", "1:7: `name` must be text; put it in quotes"),
        ("on: true\nname:", "2:1: `name` has no value; it must be text, or the key must go"),
        ("name: [x]", "1:7: `name` must be text, not a list"),
        ("kind: old\nkind: new", "2:1: `kind` is given twice"),
        ("kind: neu", "1:7: `kind`: must be `old` or `new`, not `neu`"),
        ("on: 'true'", "1:5: `on` must be true or false, not text"),
        ("count: 11", "1:8: `count` is 11; it must be from 1 to 10"),
        ("count: -1", "1:8: `count` is -1; it must be from 1 to 10"),
        ("count: 1.5", "1:8: `count` must be a whole number, not a decimal number"),
        ("count: '5'", "1:8: `count` must be a whole number, not text"),
        ("count: 170141183460469231731687303715884105728", "1:8: `count` must be a whole number, not a decimal number"),
        ("wait: 10", "1:7: `wait` needs a unit: `10s` for seconds, `10m` for minutes"),
        ("wait: '10'", "1:7: `wait` is `10`; write a duration like `500ms`, `10s`, `5m` or `1h30m`, in hours at most"),
        ("wait: 1d", "1:7: `wait` is `1d`; write a duration like `500ms`, `10s`, `5m` or `1h30m`, in hours at most"),
        ("wait: -1s", "1:7: `wait` is `-1s`; write a duration like `500ms`, `10s`, `5m` or `1h30m`, in hours at most"),
        ("wait: 3h", "1:7: `wait` is `3h`; it must be from 1ms to 2h"),
        (
            "wait: 99999999999999999999h",
            "1:7: `wait` is `99999999999999999999h`; write a duration like `500ms`, `10s`, `5m` or `1h30m`, in hours at most",
        ),
        ("size: 10", "1:7: `size` needs a unit: `10KiB`, `10MiB`, or `10B` for bytes"),
        ("size: '10'", "1:7: `size` is `10`; write a size like `256KiB` or `16MiB`"),
        ("size: 1XB", "1:7: `size` is `1XB`; write a size like `256KiB` or `16MiB`"),
        ("size: 1GiB", "1:7: `size` is `1GiB`; it must be from 1B to 64MiB"),
        ("size: 0B", "1:7: `size` is `0B`; it must be from 1B to 64MiB"),
        ("list: x", "1:7: `list` must be a list, not text"),
        ("list: [a, b, c, d]", "1:7: `list` has 4 items; at most 3 are allowed"),
        ("list:\n  - a\n  - 1", "3:5: an item of `list` must be text; put it in quotes"),
        ("inner: []", "1:8: `inner` must be a mapping of keys to values, not a list"),
        ("- a", "1:1: the file must be a mapping of keys to values, not a list"),
        ("", "1:1: the file has no keys"),
        ("# nothing\n", "1:1: the file has no keys"),
        ("name: a\n---\nname: b", "3:1: only one document may be in a file; remove the `---`"),
        ("inner:\n  <<: {name: x}", "2:3: `<<` is not read; write the keys out"),
        ("\"a\\nb\": x", "1:1: unknown key `a\\nb`; known here: name, kind, on, count, wait, size, list, inner"),
    ];
    let differs = |(text, expected): &(&str, &str)| mistakes(text) != [format!("f.yaml:{expected}")];
    let wrong: Vec<_> = cases.into_iter().filter(differs).map(|case| (case, mistakes(case.0))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_no_yaml_has_a_place_too() {
    for (text, place) in [
        ("name: [a", "f.yaml:1:"),
        ("name: a\n\tkind: b", "f.yaml:1:"),
        ("name: 'a", "f.yaml:1:"),
        ("name: *nobody", "f.yaml:1:"),
        ("name: !secret a", "f.yaml:1:"),
        ("? [a]\n: b", "f.yaml:1:"),
        ("name: a\n name: b", "f.yaml:2:"),
        ("count: .nan", "f.yaml:1:"),
    ] {
        let mistakes = mistakes(text);
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(place), "{text:?}: {mistakes:?}");
    }
}

#[test]
fn keys_that_other_parsers_take_for_one_are_twins() {
    assert!(mistakes("1: a\n'1': b")[0].contains("`1` is given twice"));
}

#[test]
fn all_mistakes_come_at_once_and_in_order() {
    let text = "nam: x\ncount: 0\ninner:\n  name: 1\n  nome: 2\nwait: 5\nlist: [1, a, 2]\n";
    let places: Vec<_> = read("f", text, everything).unwrap_err().iter().map(|m| (m.line, m.column)).collect();
    assert_eq!(places, [(1, 1), (2, 8), (4, 9), (5, 3), (6, 7), (7, 8), (7, 14)]);
}

#[test]
fn an_alias_is_the_value_it_stands_for() {
    let read = read("f", "name: &n bank\ninner: { name: *n }", everything).unwrap();
    assert_eq!(read.inner.as_deref(), Some("bank"));
    assert_eq!(
        mistakes("count: &n 99\nwait: *n")[1],
        "f.yaml:2:7: `wait` needs a unit: `99s` for seconds, `99m` for minutes"
    );
}

#[test]
fn exclusive_keys_and_refused_ones() {
    let fill = |fields: &mut Fields<'_>| {
        fields.refuse("c", "`c` is never read; write `a`");
        fields.take_one_of(["a", "b"]).map(|(key, field)| (key, field.text()))
    };
    assert_eq!(read("f", "b: x", fill), Ok(("b", Some("x".into()))));
    let mistakes: Vec<_> = read("f", "b: x\na: v\nc: z", fill).unwrap_err().iter().map(|m| m.to_string()).collect();
    assert_eq!(mistakes, ["f:1:1: `b` and `a` exclude each other; keep one", "f:3:1: `c` is never read; write `a`"]);
}

#[test]
fn keys_are_known_whether_the_file_has_them_or_not() {
    let fill = |fields: &mut Fields<'_>| {
        fields.take("a").section(|fields| fields.take("b").bool());
        fields.take_one_of(["c", "d"]);
        for item in fields.take("e").list(3).unwrap_or_default() {
            item.mapping(|fields| fields.take("f").text());
        }
        Some(())
    };
    let keys = |text| keys_of(text, fill).into_iter().collect::<Vec<_>>();
    assert_eq!(keys("{}"), ["a", "a.b", "c", "d", "e"]);
    assert_eq!(keys("e: [{}, x]\nz: 1"), ["a", "a.b", "c", "d", "e", "e[].f"]);
    assert_eq!(keys(": no yaml"), [] as [&str; 0]);
}

#[test]
fn hostile_yaml_ends_quickly_in_one_mistake() {
    let laughs: String =
        (1..30).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","))).collect();
    let cases = [
        ("alias bomb", format!("a0: &a0 [x,x,x,x,x,x,x,x,x]\n{laughs}")),
        ("one anchor, many aliases", format!("a: &a x\nb: [{}]", vec!["*a"; 500].join(","))),
        ("many anchors", (0..500).map(|i| format!("k{i}: &a{i} x\n")).collect()),
        ("alias to itself", "a: &a [*a]".to_owned()),
        ("deep flow", format!("name: {}", "[".repeat(100_000))),
        ("deep flow, closed", format!("name: {}{}", "[".repeat(1000), "]".repeat(1000))),
        ("deep mappings", format!("name: {}", "{a: ".repeat(10_000))),
        ("deep block", (0..1000).map(|i| format!("{}a:\n", " ".repeat(i))).collect()),
        ("many keys", (0..30_000).map(|i| format!("k{i}: x\n")).collect()),
        ("many items", format!("list: [{}]", "x,".repeat(100_000))),
        ("long scalar", format!("name: {}", "x".repeat(MAX_BYTES))),
        ("long key", format!("{}: x", "x".repeat(900_000))),
        ("many documents", "---\n".repeat(100_000)),
    ];
    for (name, text) in cases {
        let start = Instant::now();
        let mistakes = mistakes(&text);
        assert_eq!(mistakes.len(), 1, "{name}: {mistakes:?}");
        assert!(mistakes[0].len() < 300, "{name}: {mistakes:?}");
        assert!(start.elapsed() < Duration::from_secs(2), "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn the_depth_that_is_allowed_is_the_one_documented() {
    let nested = |depth: usize| format!("name: {}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert_eq!(mistakes(&nested(MAX_DEPTH)), ["f.yaml:1:7: `name` must be text, not a list"]);
    assert!(mistakes(&nested(MAX_DEPTH + 1))[0].contains("nested"), "{:?}", mistakes(&nested(MAX_DEPTH + 1)));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = read("f", &text, everything);
    }

    #[test]
    fn no_text_that_looks_like_yaml_makes_it_panic(
        lines in prop::collection::vec(("( {0,3})(- )?(name|kind|on|count|wait|size|list|inner|&a|\\*a)?:?", "[ \\PC]{0,12}"), 0..8)
    ) {
        let text: String = lines.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        let _ = read("f", &text, everything);
    }
}
