//! The audit log as evidence: what is written can't be changed unnoticed, whatever becomes of the gateway or the disk.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::harness::{
    PATIENCE,
    agent::Sdk,
    gateway::{Folder, Gateway, Policy},
    http::Request,
    platform::Call,
    until,
};

const RUN: [&str; 3] = ["run", "--config", "gateway.yaml"];

/// What callers hear while nothing can be recorded.
const UNAVAILABLE: &str = "This service is temporarily unavailable. Please try again later.";

fn policy() -> Policy {
    Policy::of(Sdk::Rust.shared().address)
}

fn start(settings: &str) -> Gateway {
    Gateway::start(settings, &[&policy()])
}

/// How many rounds a test has that takes longer the more it has.
fn rounds() -> usize {
    std::env::var("SWAIGATE_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

/// The verification key that the first start has made.
fn key(folder: &Folder) -> PathBuf {
    let names = fs::read_dir(folder.path("state")).expect("the state is kept");
    let mut paths = names.map(|entry| entry.expect("it can be read").path());
    let is_one = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("audit-"));
    paths.find(is_one).expect("there is a key")
}

/// What `swaigate audit verify` says, and its exit code.
fn verify(folder: &Folder, more: &[&str]) -> (i32, String) {
    let key = key(folder).display().to_string();
    let arguments = [&["audit", "verify", "--key", key.as_str()], more].concat();
    let (code, told, errors) = folder.run_to_the_end(&arguments);
    (code.expect("it isn't killed"), told + &errors)
}

/// Checks that it finds nothing.
pub(crate) fn verifies(folder: &Folder, more: &[&str]) -> String {
    let (code, told) = verify(folder, more);
    assert_eq!(code, 0, "{told}");
    told
}

/// The head that is known to be on the disk.
fn head(folder: &Folder) -> String {
    let (code, told, errors) = folder.run_to_the_end(&["audit", "head", "--config", "gateway.yaml"]);
    assert_eq!(code, Some(0), "{errors}");
    told.trim().to_owned()
}

fn number(head: &str) -> u64 {
    head.split(':').nth(1).and_then(|number| number.parse().ok()).expect("a head has a number")
}

fn fetch(gateway: &Gateway, times: usize) {
    (0..times).for_each(|_| drop(gateway.platform().fetch(&Call::new())));
}

fn log(folder: &Folder) -> String {
    fs::read_to_string(folder.path("audit/audit.jsonl")).expect("there is a log")
}

/// The last whole record in the file; 0 without one, as while it is rotated.
fn last(folder: &Folder) -> u64 {
    let log = fs::read_to_string(folder.path("audit/audit.jsonl")).unwrap_or_default();
    let line = log.split_inclusive('\n').rfind(|line| line.ends_with('\n'));
    let number = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_u64();
    line.map_or(0, |line| number(line).expect("a number"))
}

// === the chain ===

#[test]
fn what_is_done_to_a_log_is_found_and_where() {
    let gateway = start("");
    fetch(&gateway, 5);
    let gateway = gateway.restart();
    fetch(&gateway, 3);
    until("all is on the disk", || (number(&head(&gateway.folder)) == 10).then_some(()));
    let told = verifies(&gateway.folder, &["--config", "gateway.yaml"]);
    assert!(told.contains("10 records, each as it was written") && told.contains("after a stop"), "{told}");

    let folder = &gateway.folder;
    let (known, text) = (head(folder), log(folder));
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let tried = |lines: &[&str], more: &[&str]| {
        fs::write(folder.path("tried.jsonl"), lines.concat()).expect("the folder can be written");
        let (code, told) = verify(folder, &[&["tried.jsonl"], more].concat());
        assert_eq!(code, 1, "{told}");
        told
    };
    let with = |change: &dyn Fn(&mut Vec<&str>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        tried(&lines, &[])
    };
    let changed = lines[3].replace("\"status\":200", "\"status\":404");
    for (told, expected) in [
        (
            tried(&[&lines[..3], &[changed.as_str()], &lines[4..]].concat(), &[]),
            "tried.jsonl:4: record 4 is not as it was",
        ),
        (with(&|lines| _ = lines.remove(3)), "tried.jsonl:4: record 4 is missing before this line"),
        (with(&|lines| lines.swap(3, 4)), "tried.jsonl:5: record 4 stands where record 6 should"),
        (with(&|lines| lines.insert(8, lines[1])), "tried.jsonl:9: record 2 stands where record 9 should"),
        (with(&|lines| lines.insert(8, "{\"event\":\"request\"}\n")), "tried.jsonl:9: this is no record of the log"),
        (tried(&lines[1..], &[]), "tried.jsonl:1: the beginning of this section"),
        (tried(&lines[..8], &["--expected-head", &known]), "records 9 to 10 are missing at the end"),
        (tried(&lines[..8], &["--config", "gateway.yaml"]), "records 9 to 10 are missing at the end"),
    ] {
        assert!(told.contains(expected), "{expected} is not in\n{told}");
    }
    assert_eq!(verify(folder, &["nowhere.jsonl"]).0, 2, "what can't be read can't be verified");
}

#[test]
fn a_key_that_was_made_before_is_nowhere_on_the_machine() {
    let folder = Folder::new("", &[&policy()]);
    let init = ["audit", "init", "--config", "gateway.yaml"];
    let (code, key, _) = folder.run_to_the_end(&init);
    assert_eq!(code, Some(0));
    fs::write(folder.path("elsewhere"), &key).expect("the folder can be written");
    assert_eq!(folder.run_to_the_end(&init).0, Some(1), "it is made once");
    let gateway = folder.start(&RUN);
    fetch(&gateway, 2);
    let gateway = gateway.restart();
    let names = fs::read_dir(gateway.folder.path("state")).expect("the state is kept");
    // There is a socket too.
    for path in names.map(|entry| entry.expect("it can be read").path()).filter(|path| path.is_file()) {
        let bytes = fs::read(&path).expect("it can be read");
        let digits = key.trim().rsplit(' ').next().expect("a key").as_bytes().to_vec();
        assert!(!bytes.windows(64).any(|window| window == digits), "the key is in {}", path.display());
    }
    assert!(!gateway.process.stderr().contains("verification key"), "{}", gateway.process.stderr());
    let arguments = ["audit", "verify", "--key", "elsewhere", "--config", "gateway.yaml"];
    let (code, told, _) = gateway.folder.run_to_the_end(&arguments);
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn a_log_whose_key_was_lost_goes_on_in_another_chain() {
    let mut gateway = start("audit: { rotate: { size: 64KiB } }");
    fetch(&gateway, 150);
    gateway.process.signal("TERM");
    gateway.process.exit();
    let first = gateway.folder.path("first");
    fs::rename(key(&gateway.folder), &first).expect("the folder can be written");
    fs::write(gateway.folder.path("state/audit.chain"), "damaged").expect("the folder can be written");
    let gateway = gateway.follow();
    let log = gateway.process.stderr();
    assert!(log.contains("the key of the audit log is damaged: it was set aside"), "{log}");
    fetch(&gateway, 150);
    until("it is rotated again", || {
        let names = fs::read_dir(gateway.folder.path("audit")).expect("it is there").flatten();
        (names.filter(|entry| entry.file_name().to_string_lossy().starts_with("audit-")).count() >= 2).then_some(())
    });
    let (code, told) = verify(&gateway.folder, &["--config", "gateway.yaml"]);
    assert!(code == 1 && told.contains("another chain goes on here"), "{told}");
    let first = first.display().to_string();
    let told = verifies(&gateway.folder, &["--config", "gateway.yaml", "--key", &first]);
    assert!(told.contains("each as it was written"), "{told}");
}

#[test]
fn a_gateway_that_is_killed_under_load_loses_nothing_that_was_on_the_disk() {
    let mut gateway = start("audit: { sync: 50ms }");
    for _ in 0..rounds() {
        let (is_over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let known = thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let sent = gateway.platform().fetch_request("", &Call::new()).try_send();
                        done.fetch_add(usize::from(sent.is_ok()), Ordering::Relaxed);
                    }
                });
            }
            until("there is a load", || (done.load(Ordering::Relaxed) > 50).then_some(()));
            gateway.process.signal("KILL");
            is_over.store(true, Ordering::Relaxed);
            until("the gateway is gone", || {
                let stat = fs::read_to_string(format!("/proc/{}/stat", gateway.process.id())).unwrap_or_default();
                (stat.is_empty() || stat.contains(") Z ")).then(|| head(&gateway.folder))
            })
        });
        gateway = gateway.follow();
        let told = verifies(&gateway.folder, &["--expected-head", &known, "audit/audit.jsonl"]);
        assert!(told.contains("after a crash: what wasn't on the disk by then is lost"), "{told}");
        assert!(number(&known) > 1, "{known}");
    }
}

// === files ===

#[test]
fn a_log_that_is_rotated_under_load_is_one_chain() {
    let gateway = start("audit: { rotate: { size: 64KiB, keep: 2 } }");
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| fetch(&gateway, 120)))));
    let files = || {
        let names = fs::read_dir(gateway.folder.path("audit")).expect("it is there");
        let names = names.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".jsonl")).collect();
        names.sort();
        names
    };
    until("all is written", || (last(&gateway.folder) >= 481).then_some(()));
    let names = files();
    assert_eq!((names.len(), names[2].as_str()), (3, "audit.jsonl"), "{names:?}");
    let told = verifies(&gateway.folder, &["--config", "gateway.yaml"]);
    assert!(told.contains("after a rotation") && told.contains("the log begins with record"), "{told}");
    let (code, told) = verify(&gateway.folder, &["--config", "gateway.yaml", "--from", "1"]);
    assert!(code == 1 && told.contains("what was written before is missing"), "{told}");
    let size = fs::metadata(gateway.folder.path("audit").join(&names[0])).expect("it is there").len();
    assert!((64 << 10..80 << 10).contains(&size), "{size}");
}

#[test]
fn a_file_ends_with_its_time() {
    let mut gateway = start("audit: { rotate: { every: 24h } }");
    fetch(&gateway, 1);
    gateway.process.signal("TERM");
    gateway.process.exit();
    let file = fs::File::options().write(true).open(gateway.folder.path("audit/audit.jsonl")).expect("it is there");
    file.set_modified(SystemTime::now() - Duration::from_secs(86_400)).expect("it is ours");
    let gateway = gateway.follow();
    fetch(&gateway, 1);
    let told = verifies(&gateway.folder, &["--config", "gateway.yaml"]);
    assert!(told.contains("after a rotation"), "{told}");
    let names = fs::read_dir(gateway.folder.path("audit")).expect("it is there");
    let old = names
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("audit-")));
    assert_eq!(old.count(), 1);
}

#[test]
fn a_log_that_logrotate_has_moved_away_goes_on_in_a_new_file() {
    let gateway = start("");
    fetch(&gateway, 2);
    until("it is written", || (last(&gateway.folder) == 3).then_some(()));
    let moved = gateway.folder.path("audit/audit.jsonl.1");
    fs::rename(gateway.folder.path("audit/audit.jsonl"), &moved).expect("the folder can be written");
    gateway.process.signal("HUP");
    until("there is a new file", || gateway.folder.path("audit/audit.jsonl").exists().then_some(()));
    fetch(&gateway, 2);
    until("it is written", || (last(&gateway.folder) == 6).then_some(()));
    let told = verifies(&gateway.folder, &["audit/audit.jsonl", "audit/audit.jsonl.1", "--from", "1"]);
    assert!(told.contains("after a reopen") && told.contains("6 records"), "{told}");
}

#[test]
fn records_are_on_the_disk_when_the_settings_say() {
    let recorded = |settings: &str| {
        let gateway = start(settings);
        fetch(&gateway, 1);
        until("it is in the file", || (last(&gateway.folder) == 2).then_some(()));
        gateway
    };
    let prompt = recorded("audit: { sync: always }");
    until("it is on the disk", || (number(&head(&prompt.folder)) == 2).then_some(()));
    let late = recorded("audit: { sync: 1m }");
    let written = fs::metadata(late.folder.path("audit/audit.jsonl")).and_then(|about| about.modified());
    let written = written.expect("it has a time");
    until("the default would have been over", || {
        written.elapsed().is_ok_and(|age| age > Duration::from_millis(2500)).then_some(())
    });
    assert_eq!(number(&head(&late.folder)), 0, "nothing is known to be on the disk");
}

#[test]
fn heads_are_told_when_the_settings_say() {
    let gateway = start("audit: { heads: 1s }");
    fetch(&gateway, 2);
    let heads = gateway.folder.path("audit/audit.jsonl.heads");
    let told = until("a head is told", || fs::read_to_string(&heads).ok().filter(|text| text.contains("\"seq\":3")));
    let line: Value = serde_json::from_str(told.lines().last().expect("a line")).expect("JSON");
    let head = line["head"].as_str().expect("a head").to_owned();
    assert!(gateway.process.stderr().contains(&head), "it is in the log too");
    verifies(&gateway.folder, &["--expected-head", &head, "audit/audit.jsonl"]);
}

// === floods, full disks, other places ===

#[test]
fn a_flood_of_strangers_adds_few_lines() {
    let gateway = start("audit: { strangers: 5 }");
    let url = format!("{}/bank", gateway.origin());
    let ask = |times: usize| {
        let client = crate::harness::http::client();
        for _ in 0..times {
            assert_eq!(Request::post(&url, "{}").send_with(&client).status, 401);
        }
    };
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| ask(2500)))));
    // A client has its answer before the request is counted.
    let counted = until("all are counted", || {
        let counted = gateway.metric("swaigate_audit_strangers_total");
        let recorded = gateway.audit().iter().filter(|record| record["event"] == "request").count();
        (counted + recorded as u64 == 10_000).then_some(counted)
    });
    let mut gateway = gateway;
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit().code(), Some(0));
    let records = gateway.audit();
    let of = |event: &str| records.iter().filter(|record| record["event"] == event).collect::<Vec<_>>();
    // A minute or two may have ended meanwhile.
    assert!((5..=15).contains(&of("request").len()), "{}", of("request").len());
    let told: u64 = of("strangers").iter().filter_map(|record| record["reasons"]["credentials_missing"].as_u64()).sum();
    assert_eq!((told, told + of("request").len() as u64), (counted, 10_000));
    assert!(of("strangers").iter().all(|record| record["client"] == "127.0.0.1"), "{records:?}");
    assert!(records.len() <= 20, "{}", records.len());
    verifies(&gateway.folder, &["--config", "gateway.yaml"]);
}

#[test]
fn while_the_log_is_stuck_requests_wait_or_are_refused_as_the_settings_say() {
    let refused = |on_failure: &str| {
        let settings = format!("audit: {{ path: pipe, queue: 4, on_failure: {on_failure} }}");
        let folder = Folder::new(&settings, &[&policy()]);
        let pipe = folder.path("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("it can be started").success());
        // Somebody opens it and reads nothing, until the gateway says that it isn't ready.
        let reader = thread::spawn(move || fs::File::open(pipe));
        let gateway = folder.start(&RUN);
        let mut reader = reader.join().expect("it doesn't panic").expect("it can be read");
        let gateway = &gateway;
        thread::scope(|scope| {
            let heard = || gateway.platform().fetch_request("", &Call::new()).send().last_words();
            let calls = scope.spawn(move || (0..300).filter(|_| heard().as_deref() == Some(UNAVAILABLE)).count());
            let mut times = 0;
            until("there is no place left", || {
                times = if gateway.admin("/readyz").status == 503 { times + 1 } else { 0 };
                (times == 20).then_some(())
            });
            // It ends when the gateway does.
            thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
            calls.join().expect("it doesn't panic")
        })
    };
    assert_eq!(refused("block"), 0, "each has waited");
    assert!(refused("deny") > 0);
}

#[test]
fn a_full_disk_is_told_and_stops_calls_and_nothing_is_missing_when_there_is_room_again() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("a small disk can't be mounted here, so this is not tested");
        return;
    };
    let log = disk.0.path().join("audit/audit.jsonl");
    let gateway = start(&format!("audit: {{ path: {}, queue: 16 }}", log.display()));
    let filler = disk.0.path().join("filler");
    let mut file = fs::File::create(&filler).expect("there is room");
    while file.write_all(&[0; 1024]).is_ok() {}
    let heard = || gateway.platform().fetch_request("", &Call::new()).send().last_words();
    until("calls are refused", || (heard().as_deref() == Some(UNAVAILABLE)).then_some(()));
    assert_eq!((gateway.admin("/readyz").status, gateway.metric("swaigate_audit_failing")), (503, 1));
    assert!(gateway.metric("swaigate_audit_errors_total") > 0);
    assert!(gateway.process.stderr().contains("the audit log can't be written"), "{}", gateway.process.stderr());
    drop(file);
    fs::remove_file(&filler).expect("it is there");
    until("there is room again", || (gateway.metric("swaigate_audit_failing") == 0).then_some(()));
    until("it is ready again", || (gateway.admin("/readyz").status == 200).then_some(()));
    fetch(&gateway, 1);
    let told = verifies(&gateway.folder, &["--config", "gateway.yaml"]);
    assert!(told.contains("each as it was written"), "{told}");
}

/// A file system of 256 KiB, until it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Nothing, where that needs rights that this process doesn't have.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let arguments = ["-t", "tmpfs", "-o", "size=256k,mode=0700", "none"];
        let mounted = Command::new("mount").args(arguments).arg(folder.path()).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn copies_go_where_the_settings_say() {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    udp.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
    let sockets = tempfile::tempdir().expect("a folder can be made");
    let unix = sockets.path().join("log");
    let local = UnixDatagram::bind(&unix).expect("the folder can be written");
    local.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
    let places = [
        "stdout".to_owned(),
        format!("\"syslog+udp://{}\"", udp.local_addr().expect("it is bound")),
        format!("\"syslog+tcp://{}\"", tcp.local_addr().expect("it is bound")),
        format!("\"syslog+unix://{}\"", unix.display()),
    ];
    let gateway = start(&format!("audit: {{ sinks: [{}] }}", places.join(", ")));
    fetch(&gateway, 1);
    until("it is recorded", || (last(&gateway.folder) == 2).then_some(()));
    let record = log(&gateway.folder).lines().nth(1).expect("a record").to_owned();

    let mut buffer = vec![0; 1 << 16];
    let mut has_it = |receive: &dyn Fn(&mut [u8]) -> std::io::Result<usize>| {
        until("a copy comes", || {
            let length = receive(&mut buffer).expect("something comes");
            let text = String::from_utf8_lossy(&buffer[..length]);
            (text.contains(" swaigate ") && text.ends_with(&record)).then_some(())
        });
    };
    has_it(&|buffer| udp.recv(buffer));
    has_it(&|buffer| local.recv(buffer));
    let (mut stream, _) = tcp.accept().expect("somebody connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("it isn't zero");
    let mut text = Vec::new();
    until("a copy comes", || {
        let length = stream.read(&mut buffer).expect("something comes");
        text.extend_from_slice(&buffer[..length]);
        String::from_utf8_lossy(&text).contains(&record).then_some(())
    });
    until("a copy is printed", || gateway.process.stdout().contains(&record).then_some(()));
}

#[test]
fn no_request_waits_for_a_place_that_takes_no_copies() {
    let nobody = Path::new("/nowhere/at/all");
    let gateway = start(&format!("audit: {{ sinks: [\"syslog+unix://{}\"] }}", nobody.display()));
    fetch(&gateway, 5);
    until("it is counted", || (gateway.metric("swaigate_audit_copies_lost_total{sink=\"syslog\"}") >= 6).then_some(()));
    verifies(&gateway.folder, &["audit/audit.jsonl"]);
}
