use std::{
    fs::{self, OpenOptions},
    os::unix::fs::PermissionsExt,
    sync::Mutex,
    time::Instant,
};

use swaigate_core::{
    chain::{ChainKey, Fault, Note, Verifier},
    secret::Secret,
    switches::{Origin, Scope, Switch, SwitchId, Word},
};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use super::{change::ChangeLine, *};
use crate::settings::{Fsync, Rotate};

fn entry(reason: Reason) -> Entry {
    Entry {
        event: Event::Request,
        at: Timestamp(1_700_000_000_000),
        request: RequestId([1; 12]),
        agent: Some("bank".parse().unwrap()),
        route: Route::Swaig,
        method: "POST",
        client: None,
        reason,
        status: 200,
        delivered: true,
        bytes: None,
        decided: None,
        gateway: Duration::from_micros(50),
        agent_time: None,
        facts: Facts {
            arguments: Some(r#"{"pin":"[REDACTED]"}"#.into()),
            user: Some("signalwire".into()),
            ..Facts::default()
        },
    }
}

/// A log in a folder of its own, and its chain's key in another.
struct World {
    root: TempDir,
    settings: settings::Audit,
    metrics: Arc<Metrics>,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let settings = settings::Audit::at(root.path().join("audit/audit.jsonl"));
        Self { root, settings, metrics: Arc::new(Metrics::new().unwrap()) }
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn path(&self) -> &Path {
        &self.settings.path
    }

    fn open(&self) -> (Audit, Writer) {
        open(&self.settings, &self.state(), &self.metrics).unwrap()
    }

    /// A process that records so many requests, and ends in order.
    fn run(&self, records: usize) {
        let (audit, writer) = self.open();
        (0..records).for_each(|_| audit.reserve().unwrap().record(entry(Reason::Ok)));
        writer.finish();
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.path()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn key(&self) -> ChainKey {
        let mut names = fs::read_dir(self.state()).unwrap().map(|entry| entry.unwrap().path());
        let key = names.find(|path| path.extension().is_some_and(|extension| extension == "key")).unwrap();
        ChainKey::from_text(&Secret::new(fs::read(key).unwrap())).unwrap()
    }

    /// What a verifier says of all files, and where it ends.
    fn verify(&self) -> (Vec<Fault>, Vec<Note>, Option<chain::Head>) {
        self.verify_up_to(None)
    }

    fn verify_up_to(&self, head: Option<chain::Head>) -> (Vec<Fault>, Vec<Note>, Option<chain::Head>) {
        let mut verifier = Verifier::new(&[self.key()], head);
        let (mut faults, mut notes) = (Vec::new(), Vec::new());
        for file in files(self.path()).unwrap() {
            let bytes = fs::read(file).unwrap();
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            lines.for_each(|line| verifier.line(line, &mut faults, &mut notes));
        }
        faults.extend(verifier.end());
        (faults, notes, verifier.head())
    }

    /// What the sections that there are began after.
    fn sections(&self) -> Vec<String> {
        let (faults, notes, _) = self.verify();
        assert_eq!(faults, []);
        let after = |note| match note {
            Note::Section(_, opening) => Some(opening.after),
            Note::BeginsWith(_) => None,
        };
        notes.into_iter().filter_map(after).collect()
    }
}

/// Asks until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < give_up, "it took too long: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

// === records ===

#[test]
fn a_record_is_one_line_of_json_in_a_file_for_the_owner_only() {
    let world = World::new();
    let (audit, writer) = world.open();
    audit.reserve().unwrap().record(entry(Reason::Ok));
    audit.record_refusal(entry(Reason::Limited));
    writer.finish();
    let lines = world.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[0]["event"], &lines[0]["after"], &lines[0]["seq"]),
        (&"chain".into(), &"start".into(), &1.into())
    );
    assert_eq!((&lines[1]["decision"], &lines[1]["reason"]), (&"allow".into(), &"ok".into()));
    assert_eq!((&lines[2]["decision"], &lines[2]["reason"]), (&"refuse".into(), &"limited".into()));
    assert_eq!(lines[1]["arguments"]["pin"], "[REDACTED]");
    assert_eq!(lines[1]["time"], "2023-11-14T22:13:20.000Z");
    assert_eq!(fs::metadata(world.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.metrics.audit.written.get(), 3);
}

#[test]
fn the_operators_page_explains_every_field() {
    let page = include_str!("../../../../policies/README.md");
    let (_, page) = page.split_once("# The audit log").unwrap();
    let sources = [
        (include_str!("line.rs"), "struct Line<"),
        (include_str!("inputs.rs"), "struct Line<"),
        (include_str!("strangers.rs"), "struct Summary {"),
        (include_str!("../../../core/src/chain.rs"), "struct Opening {"),
    ];
    for (source, name) in sources {
        let (_, line) = source.split_once(name).unwrap();
        let (line, _) = line.split_once("\n}").unwrap();
        let fields = line.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(": "));
        let names: Vec<_> = fields.map(|(name, _)| name.trim_start_matches("pub ")).collect();
        assert!(names.len() > 5, "{names:?}");
        for name in names.into_iter().chain(["seq", "mac"]) {
            assert!(page.contains(&format!("`{name}`")), "policies/README.md lacks `{name}`");
        }
    }
}

// === the chain ===

#[test]
fn the_chain_goes_on_from_process_to_process() {
    let world = World::new();
    (0..3).for_each(|_| world.run(5));
    assert_eq!(world.sections(), ["start", "stop", "stop"]);
    let (_, _, head) = world.verify();
    assert_eq!((head, head.unwrap().seq), (Some(kept_head(&world.state()).unwrap()), 18));
}

#[test]
fn what_is_on_the_disk_can_be_told_at_any_time() {
    let world = World::new();
    let (audit, writer) = world.open();
    audit.reserve().unwrap().record(entry(Reason::Ok));
    until("it is synced", || audit.head().is_some_and(|head| head.seq == 2 && head.on_disk));
    let head = audit.head().unwrap();
    let known: chain::Head = head.head.parse().unwrap();
    assert_eq!((kept_head(&world.state()).unwrap(), head.file.as_path()), (known, world.path()));
    writer.finish();
    assert_eq!(world.verify_up_to(Some(known)).0, []);
    let text = fs::read_to_string(heads::path_beside(world.path())).unwrap();
    assert!(text.contains(&head.head), "the last one is written beside it: {text}");
    // Somebody cuts the end off.
    let log = fs::read_to_string(world.path()).unwrap();
    fs::write(world.path(), log.split_inclusive('\n').next().unwrap()).unwrap();
    assert_eq!(world.verify_up_to(Some(known)).0, [Fault::CutTail(2, 2)]);
}

#[test]
fn a_crash_at_any_byte_loses_no_more_than_what_was_not_there() {
    let world = World::new();
    world.run(3);
    let (before, end) = (fs::read(world.path()).unwrap(), world.verify().2.unwrap());
    let (state, log) = (fs::read(world.state().join("audit.chain")).unwrap(), before.clone());
    world.run(4);
    let after = fs::read(world.path()).unwrap();
    let mut cuts: Vec<usize> = (log.len()..=after.len()).step_by(41).collect();
    cuts.extend([log.len() + 1, after.len() - 1, after.len()]);
    for cut in cuts {
        // The process was killed when the file had these bytes, and its key had not been kept since.
        fs::write(world.path(), &after[..cut]).unwrap();
        fs::write(world.state().join("audit.chain"), open_again(&state)).unwrap();
        world.run(1);
        let (faults, notes, head) = world.verify_up_to(Some(end));
        assert_eq!(faults, [], "{cut}");
        let whole = after[..cut].iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(head.unwrap().seq, whole + 2, "{cut}");
        let Some(Note::Section(seq, opening)) = notes.last() else { panic!("{notes:?}") };
        let torn = after[..cut].iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
        assert_eq!((*seq, opening.after.as_str()), (whole + 1, "crash"), "{cut}");
        assert_eq!(opening.cut_bytes, Some(torn).filter(|torn| *torn > 0), "{cut}");
    }
}

/// The state as it was before its process had ended.
fn open_again(state: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("audit.chain"), state).unwrap();
    let (mut file, mut found) = kept::ChainFile::open(folder.path()).unwrap();
    found.ending = None;
    file.write(&found, true).unwrap();
    fs::read(file.path()).unwrap()
}

#[test]
fn a_file_that_was_moved_before_a_crash_is_followed_to_its_end() {
    let world = World::new();
    world.run(3);
    let state = fs::read(world.state().join("audit.chain")).unwrap();
    world.run(4);
    // Somebody has moved the file, and the process was killed before it knew of that.
    fs::rename(world.path(), world.path().with_file_name("audit-20231114T221320Z-9.jsonl")).unwrap();
    fs::write(world.state().join("audit.chain"), open_again(&state)).unwrap();
    world.run(1);
    assert_eq!(world.sections(), ["start", "stop", "crash"]);
    assert_eq!(world.verify().2.unwrap().seq, 11);
}

#[test]
fn what_was_on_the_disk_and_is_gone_is_missed() {
    let world = World::new();
    world.run(5);
    let text = fs::read_to_string(world.path()).unwrap();
    let kept: String = text.split_inclusive('\n').take(3).collect();
    fs::write(world.path(), kept).unwrap();
    world.run(2);
    assert_eq!(world.verify().0, [Fault::Missing(4, 6)]);
}

#[test]
fn a_log_without_its_key_goes_on_in_another_chain_and_a_verifier_says_so() {
    let world = World::new();
    world.run(2);
    let key = world.key();
    fs::remove_dir_all(world.state()).unwrap();
    world.run(2);
    let other = world.key().id();
    let mut verifier = Verifier::new(&[key], None);
    let mut faults = Vec::new();
    let text = fs::read_to_string(world.path()).unwrap();
    text.lines().for_each(|line| verifier.line(line.as_bytes(), &mut faults, &mut Vec::new()));
    assert_eq!(faults, [Fault::OtherChain(other)]);
}

#[test]
fn another_process_goes_on_and_takes_in_what_comes_late() {
    let world = World::new();
    let (old, writer) = world.open();
    old.reserve().unwrap().record(entry(Reason::Ok));
    let late = Shared::default();
    old.hand_over(Box::new(late.clone())).unwrap();
    let (new, successor) = world.open();
    old.reserve().unwrap().record(entry(Reason::AgentTimeout));
    writer.finish();
    new.reserve().unwrap().record(entry(Reason::Limited));
    let text = String::from_utf8(late.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    new.take_in(text.as_bytes()).unwrap();
    for wrong in ["", "[]", "{\"a\":", "{\"a\":1}\n{\"a\":2}"] {
        assert_eq!(new.take_in(wrong.as_bytes()), Err(NoRecord), "{wrong}");
    }
    successor.finish();
    let reasons: Vec<_> = world.lines().iter().filter_map(|line| line["reason"].as_str().map(str::to_owned)).collect();
    assert_eq!(reasons, ["ok", "limited", "agent_timeout"]);
    assert_eq!(world.sections(), ["start", "handover"]);
    let sealed = fs::read(world.path()).unwrap();
    let (third, writer) = world.open();
    let line = sealed.split(|byte| *byte == b'\n').next().unwrap();
    assert_eq!(third.take_in(line), Err(NoRecord), "what is sealed is a line of a log already");
    writer.finish();
}

#[test]
fn what_another_process_does_not_want_is_taken_back() {
    let world = World::new();
    let (audit, writer) = world.open();
    for round in 0..2 {
        audit.reserve().unwrap().record(entry(Reason::Ok));
        let late = Shared::default();
        audit.hand_over(Box::new(late.clone())).unwrap();
        audit.reserve().unwrap().record(entry(Reason::AgentTimeout));
        if round == 1 {
            // The other process dies with it.
            let (other, heir) = world.open();
            other.reserve().unwrap().record(entry(Reason::Limited));
            heir.finish();
        }
        audit.take_back().unwrap();
        let text = late.0.lock().unwrap().clone();
        assert_eq!(text.split_inclusive(|byte| *byte == b'\n').count(), 1, "and nothing more is written there");
        audit.take_in(&text).unwrap();
    }
    audit.take_back().unwrap();
    writer.finish();
    let reasons: Vec<_> = world.lines().iter().filter_map(|line| line["reason"].as_str().map(str::to_owned)).collect();
    assert_eq!(reasons, ["ok", "agent_timeout", "ok", "limited", "agent_timeout"]);
    assert_eq!(world.sections(), ["start", "handover", "handover", "stop"]);
}

/// Bytes that a test can look at.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_key_in_the_file_is_not_that_of_what_was_written() {
    let mut world = World::new();
    world.settings.sync = Fsync::Always;
    let (audit, writer) = world.open();
    let state = || fs::read_to_string(world.state().join("audit.chain")).unwrap();
    let key = || state().split(' ').nth(9).unwrap().to_owned();
    let mut old = Vec::new();
    for number in 2..6 {
        audit.reserve().unwrap().record(entry(Reason::Ok));
        until("it is synced", || audit.head().is_some_and(|head| head.seq == number && head.on_disk));
        until("the old one is written over", || {
            let text = state();
            old.iter().all(|old: &String| !text.contains(old))
        });
        old.push(key());
    }
    assert_eq!(old.iter().collect::<std::collections::HashSet<_>>().len(), 4, "each was another one");
    writer.finish();
}

// === files ===

#[test]
fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
    let world = World::new();
    let moved = world.path().with_file_name("audit-20231114T221320Z-2.jsonl");
    let (audit, writer) = world.open();
    audit.record_refusal(entry(Reason::Limited));
    until("it is written", || audit.head().is_some_and(|head| head.seq == 2));
    audit.reopen();
    fs::rename(world.path(), &moved).unwrap();
    audit.reopen();
    audit.record_refusal(entry(Reason::NotFound));
    writer.finish();
    let reasons = [&moved, world.path()].map(|path| fs::read_to_string(path).unwrap());
    assert!(reasons[0].contains("limited") && reasons[1].contains("not_found"));
    assert_eq!(world.sections(), ["start", "reopen"], "the chain goes on, and one that wasn't moved stays");
}

#[test]
fn a_full_file_is_kept_under_another_name_and_the_oldest_go() {
    let mut world = World::new();
    world.settings.rotate = Some(Rotate { size: 4096, every: None, keep: Some(2) });
    let (audit, writer) = world.open();
    for _ in 0..100 {
        audit.reserve().unwrap().record(entry(Reason::Ok));
    }
    writer.finish();
    let files = files(world.path()).unwrap();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in &files[..2] {
        let length = fs::metadata(file).unwrap().len();
        assert!((4096..6000).contains(&length), "{length}");
    }
    let (faults, notes, head) = world.verify();
    assert_eq!((faults, head), (vec![], Some(kept_head(&world.state()).unwrap())));
    assert!(matches!(notes[0], Note::BeginsWith(first) if first > 40), "{notes:?}");
    let heads = fs::read_to_string(heads::path_beside(world.path())).unwrap();
    assert!(heads.lines().count() > 5, "a head for each file: {heads}");
}

#[test]
fn a_file_ends_with_its_time() {
    let mut world = World::new();
    world.run(1);
    world.settings.rotate = Some(Rotate { size: 1 << 30, every: Some(Duration::from_secs(86_400)), keep: None });
    world.run(1);
    assert_eq!(files(world.path()).unwrap().len(), 1, "it is of today");
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(86_400);
    OpenOptions::new().write(true).open(world.path()).unwrap().set_modified(yesterday).unwrap();
    world.run(1);
    assert_eq!(files(world.path()).unwrap().len(), 2);
    assert_eq!(world.verify().0, []);
}

#[test]
fn a_file_that_takes_nothing_is_tried_again_and_nothing_is_lost() {
    let mut world = World::new();
    let full = world.root.path().join("full");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    world.settings.path = full;
    let (audit, writer) = world.open();
    let slot = audit.reserve().unwrap();
    until("it fails", || world.metrics.audit.failing.get() == 1);
    assert!(world.metrics.audit.errors.get() > 0);
    slot.record(entry(Reason::Ok));
    let begun = Instant::now();
    writer.finish();
    assert!(begun.elapsed() < Duration::from_secs(30), "the process ends all the same");
}

// === the queue ===

/// The queue without its writer: nothing is taken out.
fn stuck(capacity: usize, patience: Duration) -> (Audit, Receiver<Message>) {
    let (queue, receiver) = mpsc::channel(capacity);
    let (strangers, head) = (Arc::new(Strangers::new(1000)), Arc::default());
    (Audit { queue, patience, strangers, head, metrics: Arc::new(Metrics::new().unwrap()) }, receiver)
}

#[test]
fn the_change_of_a_switch_waits_for_a_place_and_is_not_dropped() {
    let (audit, mut receiver) = stuck(2, Duration::ZERO);
    let slots: Vec<_> = std::iter::from_fn(|| audit.reserve()).collect();
    audit.record_change(Change {
        at: Timestamp(1_700_000_000_000),
        action: Action::On,
        word: Word::new("ann", "card fraud").unwrap(),
        what: Changed::Switch(Arc::new(Switch {
            id: SwitchId([1; 8]),
            scope: Scope::Agent("bank".parse().unwrap()),
            word: Word::new("ann", "card fraud").unwrap(),
            since: Timestamp(1_700_000_000_000),
            until: None,
            origin: Origin::Operator,
        })),
    });
    drop(slots);
    let Some(Message::Change(change)) = receiver.blocking_recv() else { panic!("it is not there") };
    assert_eq!(
        serde_json::to_value(ChangeLine::from(&*change)).unwrap(),
        serde_json::json!({ "time": "2023-11-14T22:13:20.000Z", "event": "switch", "action": "on",
            "switch_id": "0101010101010101", "switch": "agent bank", "who": "ann", "why": "card fraud",
            "origin": "operator", "since": "2023-11-14T22:13:20.000Z" })
    );
    assert_eq!(audit.metrics.audit.dropped.get(), 0);
}

#[test]
fn refusals_leave_a_quarter_of_the_queue_to_forwards() {
    let (audit, _receiver) = stuck(8, Duration::ZERO);
    for _ in 0..100 {
        audit.record_refusal(entry(Reason::CredentialsMissing));
    }
    assert_eq!(audit.metrics.audit.dropped.get(), 94);
    let slots: Vec<_> = std::iter::from_fn(|| audit.reserve()).collect();
    assert_eq!(slots.len(), 2, "then nothing is forwarded any more");
    assert!(!audit.has_room());
}

#[tokio::test]
async fn a_request_waits_for_a_place_where_it_may_and_not_for_ever() {
    let (denies, _receiver) = stuck(1, Duration::ZERO);
    let _taken = denies.reserve().unwrap();
    assert!(denies.place().await.is_none());
    let (blocks, _receiver) = stuck(1, Duration::from_millis(200));
    let taken = blocks.reserve().unwrap();
    let begun = Instant::now();
    assert!(blocks.place().await.is_none());
    assert!(begun.elapsed() >= Duration::from_millis(200));
    let (place, ()) = tokio::join!(blocks.place(), async { drop(taken) });
    assert!(place.is_some());
}

#[test]
fn a_flood_of_strangers_is_counted() {
    let mut world = World::new();
    world.settings.strangers = 5;
    let (audit, writer) = world.open();
    for _ in 0..10_000 {
        let client = Some("192.0.2.1".parse().unwrap());
        audit.record_refusal(Entry { client, facts: Facts::default(), ..entry(Reason::CredentialsWrong) });
    }
    audit.record_refusal(entry(Reason::Limited));
    writer.finish();
    let lines = world.lines();
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    // The minute may have ended in between.
    assert!((6..=11).contains(&count("request")) && (1..=2).contains(&count("strangers")), "{}", lines.len());
    let counted: u64 = lines.iter().filter_map(|line| line["count"].as_u64()).sum();
    assert_eq!(counted + count("request") as u64, 10_001);
    assert_eq!(world.metrics.audit.counted.get(), counted);
    assert_eq!(world.metrics.audit.dropped.get(), 0);
    assert_eq!(world.verify().0, []);
}
