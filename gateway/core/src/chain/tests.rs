use proptest::prelude::*;

use super::*;

fn key() -> ChainKey {
    ChainKey::new([7; 32])
}

/// A log of this many sections, each with this many records besides its opening; and the chain after it.
fn log(sections: u64, records: u64) -> (Vec<Vec<u8>>, Chain) {
    let mut chain = Chain::begin(&key());
    let mut lines = Vec::new();
    let mut seal = |chain: &mut Chain, record: Vec<u8>| {
        let mut line = record;
        chain.seal(&mut line);
        lines.push(line);
    };
    for section in 0..sections {
        chain.turn();
        let opening = chain.opening("2026-11-24T00:00:00.000Z".to_owned(), "stop", None);
        seal(&mut chain, serde_json::to_vec(&opening).unwrap());
        for number in 0..records {
            seal(&mut chain, format!(r#"{{"time":"t","what":"{section}.{number}"}}"#).into_bytes());
        }
    }
    (lines, chain)
}

/// Faults, each with the number of its line, counted from 1; and those at the end.
fn faults_up_to(lines: &[Vec<u8>], head: Option<Head>) -> Vec<(usize, Fault)> {
    let mut verifier = Verifier::new(&[key()], head);
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let mut faults = Vec::new();
        verifier.line(line, &mut faults, &mut Vec::new());
        found.extend(faults.into_iter().map(|fault| (number + 1, fault)));
    }
    found.extend(verifier.end().map(|fault| (lines.len(), fault)));
    found
}

fn faults(lines: &[Vec<u8>]) -> Vec<(usize, Fault)> {
    faults_up_to(lines, None)
}

fn with(line: &[u8], old: &str, new: &str) -> Vec<u8> {
    let text = std::str::from_utf8(line).unwrap();
    assert!(text.contains(old), "{old} is not in {text}");
    text.replacen(old, new, 1).into_bytes()
}

#[test]
fn a_record_keeps_its_words_and_ends_with_its_number_and_mac() {
    let (lines, _) = log(1, 1);
    let value: serde_json::Value = serde_json::from_slice(&lines[1]).unwrap();
    assert_eq!((&value["what"], &value["seq"]), (&"0.0".into(), &2.into()));
    assert_eq!(value["mac"].as_str().unwrap().len(), 64);
    let opening: serde_json::Value = serde_json::from_slice(&lines[0]).unwrap();
    assert_eq!((&opening["event"], &opening["section"]), (&"chain".into(), &1.into()));
}

#[test]
fn what_was_written_verifies_and_up_to_its_head() {
    let (lines, chain) = log(3, 4);
    assert_eq!(faults_up_to(&lines, Some(chain.head())), []);
    let mut verifier = Verifier::new(&[key()], Some(chain.head()));
    lines.iter().for_each(|line| verifier.line(line, &mut Vec::new(), &mut Vec::new()));
    assert_eq!((verifier.head(), verifier.has_seen_the_head()), (Some(chain.head()), true));
    let text = chain.head().to_string();
    assert_eq!(text.parse(), Ok(chain.head()), "{text}");
}

#[test]
fn a_changed_record_is_found_and_only_that() {
    let (lines, _) = log(2, 4);
    for (number, old, new) in [(3, "0.1", "0.7"), (2, "\"time\"", "\"tame\""), (7, "\"t\"", "\"u\"")] {
        let mut changed = lines.clone();
        changed[number - 1] = with(&lines[number - 1], old, new);
        assert_eq!(faults(&changed), [(number, Fault::Changed(number as u64))], "{old}");
    }
    let mut changed = lines.clone();
    let flipped = if lines[2][lines[2].len() - 4] == b'0' { b'1' } else { b'0' };
    let place = changed[2].len() - 4;
    changed[2][place] = flipped;
    assert_eq!(faults(&changed), [(3, Fault::Changed(3))], "its MAC alone");
    let mut changed = lines.clone();
    changed[2] = with(&lines[2], "\"seq\":3", "\"seq\":4711");
    assert_eq!(faults(&changed), [(3, Fault::Missing(3, 4710))], "its number alone");
    changed[2] = with(&lines[2], "\"seq\":3", "\"seq\":18446744073709551615");
    assert_eq!(faults(&changed)[0], (3, Fault::OutOfOrder(u64::MAX, 3)));
    let mut changed = lines;
    changed[5] = with(&changed[5], "\"stop\"", "\"slip\"");
    assert_eq!(faults(&changed), [(6, Fault::Changed(6))], "an opening");
}

#[test]
fn removed_records_are_found_wherever_they_were() {
    let (lines, chain) = log(2, 4);
    let without = |range: std::ops::Range<usize>| {
        let mut lines = lines.clone();
        lines.drain(range);
        lines
    };
    assert_eq!(faults(&without(2..3)), [(3, Fault::Missing(3, 3))]);
    assert_eq!(faults(&without(1..4)), [(2, Fault::Missing(2, 4))]);
    assert_eq!(faults(&without(3..5)), [(4, Fault::Missing(4, 5))], "the end of a section");
    assert_eq!(faults(&without(0..1)), [(1, Fault::NoBeginning)]);
    assert_eq!(faults(&without(5..6)), [(6, Fault::Missing(6, 6)), (7, Fault::NoBeginning)]);
    let cut = without(8..10);
    assert_eq!(faults(&cut), [], "without a head it can't be known");
    assert_eq!(faults_up_to(&cut, Some(chain.head())), [(8, Fault::CutTail(9, 10))]);
    assert_eq!(faults_up_to(&[], Some(chain.head())), [(0, Fault::CutTail(1, 10))]);
}

#[test]
fn records_that_are_put_in_or_moved_are_found() {
    let (lines, _) = log(2, 4);
    let mut doubled = lines.clone();
    doubled.insert(4, lines[1].clone());
    assert_eq!(faults(&doubled), [(5, Fault::OutOfOrder(2, 5))]);
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert_eq!(faults(&swapped), [(3, Fault::Missing(3, 3)), (4, Fault::OutOfOrder(3, 5))]);
    let mut foreign = lines.clone();
    foreign.insert(3, b"{\"time\":\"t\"}\n".to_vec());
    foreign.insert(0, b"\n".to_vec());
    assert_eq!(faults(&foreign), [(1, Fault::NotSealed), (5, Fault::NotSealed)]);
    let mut sections = lines;
    sections.rotate_left(5);
    let found = faults(&sections);
    assert_eq!((found.len(), &found[0]), (5, &(6, Fault::OutOfOrder(1, 11))), "{found:?}");
}

#[test]
fn another_key_verifies_nothing() {
    let (lines, chain) = log(1, 2);
    let mut verifier = Verifier::new(&[ChainKey::new([8; 32])], Some(chain.head()));
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    lines.iter().for_each(|line| verifier.line(line, &mut faults, &mut notes));
    assert_eq!((faults, notes), (vec![Fault::OtherChain(key().id())], vec![]));
    assert_eq!((verifier.end(), verifier.head()), (Some(Fault::NoSuchChain(key().id())), None));
}

#[test]
fn whoever_has_the_state_can_neither_rewrite_what_was_nor_begin_before_its_end() {
    let (lines, chain) = log(2, 4);
    // The intruder has everything that is on the machine: the log, and the state after record 10.
    let steal = |seq: u64| {
        let mut stolen = Chain::from_text(chain.to_text().expose_str().unwrap()).unwrap();
        stolen.mac = Sealed::read(&lines[6]).unwrap().mac;
        stolen.seq = seq;
        stolen
    };
    let forged = |mut stolen: Chain, record: Vec<u8>| {
        let (mut line, mut forged) = (record, lines[..7].to_vec());
        stolen.seal(&mut line);
        forged.push(line);
        faults(&forged)
    };
    let harmless = br#"{"time":"t","what":"nothing happened"}"#.to_vec();
    assert_eq!(forged(steal(7), harmless), [(8, Fault::Changed(8))], "a record in place of what was");
    let opening = |mut stolen: Chain| {
        stolen.turn();
        let opening = serde_json::to_vec(&stolen.opening("t".to_owned(), "crash", None)).unwrap();
        (stolen, opening)
    };
    let (stolen, record) = opening(steal(7));
    assert_eq!(forged(stolen, record), [(8, Fault::Changed(8))], "a crash that never was, in place of what was");
    let (stolen, record) = opening(steal(10));
    assert_eq!(forged(stolen, record), [(8, Fault::Missing(8, 10))], "a crash now, without what was");
}

#[test]
fn the_state_holds_no_key_of_what_was() {
    let mut chain = Chain::begin(&key());
    let mut keys = Vec::new();
    for _ in 0..3 {
        let state = chain.to_text();
        let words: Vec<_> = state.expose_str().unwrap().split(' ').map(str::to_owned).collect();
        assert!(keys.iter().all(|old| !state.expose_str().unwrap().contains(old)), "an old key is still there");
        keys.push(words[4].clone());
        chain.seal(&mut b"{\"a\":1}".to_vec());
    }
    let first = key().to_text();
    assert!(first.expose_str().unwrap().contains(&keys[0]), "that of the first record is the verification key");
    assert!(!format!("{chain:?} {:?}", key()).contains(&keys[0]));
}

#[test]
fn what_a_crash_has_lost_is_not_what_is_written_in_its_place() {
    let (mut lines, chain) = log(1, 2);
    let (mut before, mut after) = (chain.clone(), chain);
    let (mut lost, mut kept) = (b"{\"a\":1}".to_vec(), b"{\"a\":1}".to_vec());
    before.seal(&mut lost);
    after.turn();
    let mut opening = serde_json::to_vec(&after.opening("t".to_owned(), "crash", Some(7))).unwrap();
    after.seal(&mut opening);
    after.seal(&mut kept);
    assert!(before.head().seq == 4 && Sealed::read(&lost).unwrap().mac != Sealed::read(&opening).unwrap().mac);
    lines.extend([opening, kept]);
    assert_eq!(faults(&lines), []);
    lines.insert(3, lost);
    assert_eq!(faults(&lines)[0], (5, Fault::OutOfOrder(4, 5)), "both can't stand there");
}

#[test]
fn a_chain_goes_on_from_its_state_and_follows_what_was_written_since() {
    let (lines, end) = log(3, 4);
    for known in 0..=lines.len() {
        let mut chain = Chain::begin(&key());
        assert!(lines[..known].iter().all(|line| chain.follow(line)), "{known}");
        let mut again = Chain::from_text(chain.to_text().expose_str().unwrap()).unwrap();
        assert!(lines[known..].iter().all(|line| again.follow(line)), "{known}");
        assert_eq!(again.head(), end.head());
    }
    let mut chain = Chain::begin(&key());
    assert!(!chain.follow(&lines[1]) && !chain.follow(b"{}") && !chain.follow(&with(&lines[0], "stop", "slip")));
    assert!(chain.follow(&lines[0]), "nothing has changed by that");
}

#[test]
fn a_key_is_read_as_it_is_written_and_nothing_else_is_one() {
    assert_eq!(ChainKey::from_text(&key().to_text()).unwrap().id(), key().id());
    let text = key().to_text();
    let text = text.expose_str().unwrap();
    for wrong in ["", "swaigate-audit-key/1", &text[..text.len() - 1], &format!("{text}0"), &text.to_uppercase()] {
        assert_eq!(ChainKey::from_text(&Secret::new(wrong)).unwrap_err(), NotOfAChain::Key, "{wrong}");
    }
    assert!(Chain::from_text("1 2 3").is_err() && "1:2:3".parse::<Head>().is_err());
}

proptest! {
    #[test]
    fn no_single_changed_byte_passes(at in 0usize..4000, bit in 0u8..8) {
        let (lines, chain) = log(2, 4);
        let mut bytes = lines.concat();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let changed: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        prop_assert!(!faults_up_to(&changed, Some(chain.head())).is_empty(), "byte {at}");
    }

    #[test]
    fn any_lines_are_looked_at_without_a_panic(lines in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        faults(&lines);
    }
}
