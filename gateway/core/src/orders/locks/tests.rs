use super::*;
use crate::{keys::Key, secret::Secret};

const NOW: Timestamp = Timestamp(1_000_000);

fn key(id: &str) -> Key {
    Key::new(id, &Secret::new(id.repeat(32))).unwrap()
}

fn ring(ids: &[&str]) -> KeyRing {
    KeyRing::new(ids.iter().map(|id| key(id)).collect()).unwrap()
}

fn lock(id: u64, subject: Subject) -> Lock {
    let word = Word::new("ann", "fraud").unwrap();
    Lock { id: LockId(id.to_be_bytes()), subject, word, since: NOW, until: None }
}

fn network(text: &str) -> Subject {
    Subject::address(text).unwrap()
}

fn locks(subjects: impl IntoIterator<Item = Subject>) -> Locks {
    let locks = (1..).zip(subjects).map(|(id, subject)| lock(id, subject));
    Locks::new(locks, &ring(&["a", "b"])).unwrap()
}

fn keeps_out(locks: &Locks, address: &str) -> Option<String> {
    locks.of_address(Some(address.parse().unwrap()), NOW).map(|lock| lock.subject.to_string())
}

#[test]
fn an_address_is_locked_out_by_its_network_and_no_other_is() {
    let texts = ["192.0.2.7", "198.51.100.0/24", "198.51.0.0/16", "2001:db8::/64", "2001:db8:1::1"];
    let locks = locks(texts.map(network));
    for (address, by) in [
        ("192.0.2.7", Some("address 192.0.2.7")),
        ("::ffff:192.0.2.7", Some("address 192.0.2.7")),
        ("192.0.2.8", None),
        ("198.51.100.200", Some("address 198.51.0.0/16")),
        ("198.52.0.1", None),
        ("2001:db8::ffff", Some("address 2001:db8::/64")),
        ("2001:db8:0:1::1", None),
        ("2001:db8:1::1", Some("address 2001:db8:1::1")),
        ("2001:db8:1::2", None),
    ] {
        assert_eq!(keeps_out(&locks, address).as_deref(), by, "{address}");
    }
    assert_eq!(locks.of_address(None, NOW), None);
    assert_eq!(Locks::default().of_address(Some(IpAddr::from([192, 0, 2, 7])), NOW), None);
}

#[test]
fn callers_are_locked_out_under_every_key_and_spelling_and_users_by_name() {
    let locks = locks([Subject::caller("1 (555) 123-0001").unwrap(), Subject::user("signalwire").unwrap()]);
    let callers = |id: &str, number: &str| [None, Some(key(id).caller(number))];
    for (id, number, is_out) in [
        ("a", "+15551230001", true),
        ("b", "15551230001", true),
        ("c", "+15551230001", false),
        ("a", "+15551230002", false),
    ] {
        assert_eq!(locks.of_caller(&callers(id, number), NOW).is_some(), is_out, "{id} {number}");
    }
    let newer = locks.under(&ring(&["c"]));
    assert!(newer.of_caller(&callers("c", "+15551230001"), NOW).is_some());
    assert!(newer.of_caller(&callers("a", "+15551230001"), NOW).is_none());
    assert!(locks.of_user("signalwire", NOW).is_some() && locks.of_user("Signalwire", NOW).is_none());
}

#[test]
fn a_lockout_ends_when_its_time_is_over_or_somebody_ends_it() {
    let keys = ring(&["a"]);
    let until = Timestamp(NOW.0 + 1);
    let mut locks = Locks::new([Lock { until: Some(until), ..lock(1, network("192.0.2.7")) }], &keys).unwrap();
    let client = Some(IpAddr::from([192, 0, 2, 7]));
    assert!(locks.of_address(client, NOW).is_some() && locks.of_address(client, until).is_none());
    locks.put(lock(2, network("192.0.2.0/24")), &keys).unwrap();
    assert!(locks.of_address(client, until).is_some());
    locks.put(lock(3, Subject::caller("+15551230001").unwrap()), &keys).unwrap();
    for id in 1..=3_u64 {
        assert!(locks.remove(LockId(id.to_be_bytes()), &keys).is_some());
    }
    assert!(locks.is_empty() && locks.places.is_empty() && locks.lengths.iter().all(BTreeSet::is_empty));
}

#[test]
fn there_are_no_more_than_the_bound_and_one_may_still_be_replaced() {
    let keys = ring(&["a"]);
    let most = u32::try_from(MAX_LOCKS).unwrap();
    let of = |id: u32| lock(id.into(), Subject::Address(IpAddr::from(id.to_be_bytes()).into()));
    let mut locks = Locks::new((0..most).map(of), &keys).unwrap();
    assert_eq!(locks.put(of(most), &keys), Err(Full));
    assert_eq!(locks.put(of(1), &keys), Ok(()));
    assert_eq!(locks.iter().count(), MAX_LOCKS);
}

#[test]
fn mistakes_lock_nobody_out() {
    for (text, told) in [("192.0.2.7", "192.0.2.7"), ("192.0.2.7/32", "192.0.2.7"), ("10.0.0.0/8", "10.0.0.0/8")] {
        assert_eq!(network(text).name(), told);
    }
    for (text, wrong) in [
        ("", "must be an IP address"),
        ("example.com", "must be an IP address"),
        ("192.0.2.7/33", "must be an IP address"),
        ("::ffff:192.0.2.0/120", "must be an IP address"),
        ("192.0.2.7/24", "192.0.2.7/24 has bits behind its prefix; the network is 192.0.2.0/24"),
        ("0.0.0.0/0", "a network as wide as 0.0.0.0/0"),
        ("::/0", "a network as wide as ::/0"),
        ("10.0.0.0/7", "a network as wide as"),
    ] {
        let said = Subject::address(text).unwrap_err().to_string();
        assert!(said.contains(wrong), "{text}: {said}");
    }
    for text in ["anonymous", "sip:a@b", "12"] {
        assert_eq!(Subject::caller(text), Err(NoSubject::Number), "{text}");
    }
    for text in ["", "a\nb", "a:b", &"x".repeat(257)] {
        assert_eq!(Subject::user(text), Err(NoSubject::User), "{text}");
    }
    assert_eq!(Subject::user("call"), Err(NoSubject::OfCalls));
}

#[test]
fn ids_are_written_and_read() {
    let id = LockId([0, 1, 2, 3, 4, 5, 6, 0xff]);
    assert_eq!("00010203040506ff".parse(), Ok(id));
    assert_eq!((id.to_string().as_str(), "00010203040506FF".parse::<LockId>()), ("00010203040506ff", Err(NoLockId)));
}
