use std::{fs, os::unix::fs::PermissionsExt};

use swaigate_core::orders::Subject;

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn switch(id: u8) -> Switch {
    Switch {
        id: SwitchId([id; 8]),
        scope: Scope::Agent("bank".parse().unwrap()),
        word: Word::new("ann", "card fraud").unwrap(),
        since: NOW,
        until: Some(Timestamp(NOW.0 + 900_000)),
        origin: Origin::Operator,
    }
}

fn lock(id: u8) -> Lock {
    let subject = Subject::address("192.0.2.0/24").unwrap();
    Lock { id: LockId([id; 8]), subject, word: Word::new("bob", "scans").unwrap(), since: NOW, until: None }
}

fn open(folder: &Path) -> anyhow::Result<Kept> {
    Kept::open(folder, NOW)
}

/// Whether everything is stopped since a damaged file was found, and what was read of it.
fn recovered(kept: &Kept) -> Option<Ordered> {
    let recovered = kept.recovered()?;
    let mut ordered = kept.ordered().unwrap();
    let stops = |switch: &Switch| switch.origin == Origin::Recovery && switch.scope == Scope::All;
    assert_eq!(ordered.switches.iter().filter(|switch| stops(switch)).count(), 1);
    ordered.switches.retain(|switch| !stops(switch));
    assert!(recovered.aside.exists());
    Some(ordered)
}

#[test]
fn what_is_put_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let kept = open(&state).unwrap();
    assert!(kept.ordered().unwrap().is_empty());
    kept.put_switch(&switch(1)).unwrap();
    kept.put_switch(&switch(2)).unwrap();
    kept.put_switch(&Switch { until: None, ..switch(2) }).unwrap();
    kept.remove_switch(SwitchId([1; 8])).unwrap();
    kept.put_lock(&lock(1)).unwrap();
    kept.put_lock(&lock(2)).unwrap();
    kept.remove_lock(LockId([1; 8])).unwrap();
    drop(kept);
    let kept = open(&state).unwrap();
    let ordered = Ordered { switches: vec![Switch { until: None, ..switch(2) }], locks: vec![lock(2)] };
    assert!(kept.recovered().is_none());
    assert_eq!(kept.ordered().unwrap(), ordered);
    let mode = |name: &str| fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("swaigate.redb"), mode(".")), (0o600, 0o700));
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn only_one_process_has_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path()).unwrap();
    let error = format!("{:#}", open(folder.path()).unwrap_err());
    assert!(error.contains("another process has it open") && error.contains("stop it"), "{error}");
}

#[test]
fn a_damaged_file_reads_as_it_was_or_is_set_aside_and_everything_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("swaigate.redb");
    let kept = open(folder.path()).unwrap();
    let orders = Ordered { switches: vec![switch(1)], locks: vec![lock(1)] };
    kept.put_all(&orders, None).unwrap();
    drop(kept);
    let whole = fs::read(&path).unwrap();
    let flipped = |at: usize| {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        damaged
    };
    let pages = (0..whole.len()).step_by(32 * 4096);
    let places = (0..512).step_by(11).chain((4096..4400).step_by(61)).chain(pages);
    let cut = [0, 1, 4096, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec());
    let others = [b"no database".to_vec(), vec![b'x'; 8192]];
    let mut set_aside = 0;
    for damaged in places.map(flipped).chain(cut).chain(others) {
        fs::write(&path, &damaged).unwrap();
        let kept = open(folder.path()).unwrap();
        match recovered(&kept) {
            None => assert_eq!(kept.ordered().unwrap(), orders),
            Some(read) => {
                set_aside += 1;
                assert!(read.is_empty() || read == orders, "only what can be read stays");
                let aside = &kept.recovered().unwrap().aside;
                assert_eq!(fs::metadata(aside).unwrap().len(), damaged.len() as u64);
                fs::remove_file(aside).unwrap();
                drop(kept);
                let again = open(folder.path()).unwrap();
                assert!(again.recovered().is_none() && again.ordered().unwrap().switches.len() > read.switches.len());
            }
        }
    }
    assert!(set_aside > 10, "{set_aside}");
}

#[test]
fn rows_that_can_be_read_stay_in_force_beside_one_that_cannot() {
    let folder = tempfile::tempdir().unwrap();
    for (table, id, json) in [
        (SWITCHES, "0909090909090909", "no JSON"),
        (SWITCHES, "0909090909090909", &serde_json::to_string(&Written::of(&switch(8))).unwrap()),
        (LOCKS, "0909090909090909", "{}"),
    ] {
        let _ = fs::remove_file(folder.path().join("swaigate.redb"));
        let kept = open(folder.path()).unwrap();
        kept.put_all(&Ordered { switches: vec![switch(1)], locks: vec![lock(1)] }, None).unwrap();
        kept.change(|change| Ok(change.open_table(table)?.insert(id, json).map(drop)?)).unwrap();
        drop(kept);
        let kept = open(folder.path()).unwrap();
        assert_eq!(recovered(&kept).unwrap(), Ordered { switches: vec![switch(1)], locks: vec![lock(1)] });
        let counts = kept.recovered().map(|recovered| (recovered.switches, recovered.locks));
        assert_eq!(counts, Some((1, 1)));
        fs::remove_file(&kept.recovered().unwrap().aside).unwrap();
    }
}

#[test]
fn a_disk_that_damages_file_after_file_is_no_reason_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    for time in 0..8 {
        fs::write(folder.path().join("swaigate.redb"), "no database").unwrap();
        let kept = Kept::open(folder.path(), Timestamp(NOW.0 + time)).unwrap();
        assert!(kept.recovered().is_some());
    }
    fs::write(folder.path().join("swaigate.redb"), "no database").unwrap();
    let error = format!("{:#}", open(folder.path()).unwrap_err());
    assert!(error.contains("look at the disk"), "{error}");
    assert_eq!(fs::read(folder.path().join("swaigate.redb")).unwrap(), b"no database", "it stays as it was");
}

#[test]
fn a_file_of_the_form_before_is_taken_and_one_of_a_later_form_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let kept = open(folder.path()).unwrap();
    kept.put_switch(&switch(1)).unwrap();
    let form =
        |kept: &Kept, form: u64| kept.change(|change| Ok(change.open_table(ABOUT)?.insert("form", form).map(drop)?));
    form(&kept, 1).unwrap();
    kept.change(|change| {
        change.delete_table(LOCKS)?;
        change.delete_table(IMPORTS)?;
        Ok(())
    })
    .unwrap();
    drop(kept);
    let kept = open(folder.path()).unwrap();
    assert_eq!(kept.ordered().unwrap(), Ordered { switches: vec![switch(1)], locks: vec![] });
    kept.put_lock(&lock(1)).unwrap();
    form(&kept, file::FORM + 1).unwrap();
    drop(kept);
    let error = format!("{:#}", open(folder.path()).unwrap_err());
    assert!(error.contains("a newer version of this program wrote it"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "it isn't set aside");
}

#[test]
fn what_was_brought_back_is_noted_until_it_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let kept = open(folder.path()).unwrap();
    let ids = |id: u8| vec![SwitchId([id; 8]).to_string()];
    let note = Import { at: 7, who: "ann".into(), why: "new machine".into(), switches: ids(1), lockouts: ids(1) };
    kept.put_all(&Ordered { switches: vec![switch(1)], locks: vec![lock(1)] }, Some(&note)).unwrap();
    drop(kept);
    let kept = open(folder.path()).unwrap();
    assert_eq!(kept.imports().unwrap(), [note]);
    kept.forget_imports().unwrap();
    assert_eq!(kept.imports().unwrap(), []);
    assert_eq!(kept.ordered().unwrap().switches, [switch(1)]);
}
