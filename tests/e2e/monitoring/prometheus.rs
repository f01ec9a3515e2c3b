//! A real Prometheus with the shipped rules, and a real Alertmanager with the shipped routes, in a hurry.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::harness::{
    free_address,
    http::Request,
    process::{Process, guarded},
    tests_path, until,
};

/// Windows and waits of minutes become seconds; no expression or threshold changes otherwise. Each window has several
/// scrapes, one a second.
const HASTE: [(&str, &str); 6] = [
    ("[5m]", "[10s]"),
    ("[10m]", "[10s]"),
    ("[15m]", "[20s]"),
    ("[1h]", "[5s]"),
    ("offset 1w", "offset 8s"),
    ("_interval: 15s", "_interval: 1s"),
];

/// What the webhook has to be told.
const TOKEN: &str = "of-the-webhook";

pub(super) struct Prometheus {
    folder: TempDir,
    address: SocketAddr,
    process: Process,
}

pub(super) struct Alertmanager {
    pub(super) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    _folder: TempDir,
    process: Process,
}

/// What came to the webhook.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) path: String,
    pub(super) is_authorized: bool,
    pub(super) body: Value,
}

/// A file below `deploy/`.
pub(super) fn shipped(path: &str) -> String {
    let path = tests_path("../deploy").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A program of Debian's, as `tests/setup` unpacks it, or one that is installed.
fn program(name: &str) -> Command {
    let unpacked = tests_path(".cache/debian/usr/bin").join(name);
    guarded(if unpacked.is_file() { unpacked } else { PathBuf::from(name) })
}

/// Alertmanager's own templates, which the unpacked one looks for where it is started.
fn copy_templates(folder: &Path) {
    let templates = fs::read_dir(tests_path(".cache/debian/usr/share/prometheus/alertmanager"));
    for template in templates.into_iter().flatten().flatten() {
        fs::copy(template.path(), folder.join(template.file_name())).expect("it can be written");
    }
}

fn hastened(text: &str) -> String {
    let text = HASTE.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    for long in ["m]", "h]", "d]", "offset 1d"] {
        assert!(!text.contains(long), "a window that is not in HASTE");
    }
    let hasten = |line: &str| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(hasten).collect()
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` isn't there any more");
    text.replace(from, to)
}

fn wait_for(process: &mut Process, address: SocketAddr) {
    until("a program of Prometheus' is ready", || {
        if let Some(status) = process.ended() {
            panic!("it ended with {status}; does tests/setup have to run?\n{}", process.stderr());
        }
        let answer = Request::get(&format!("http://{address}/-/ready")).try_send();
        answer.is_ok_and(|answer| answer.status == 200).then_some(())
    });
}

// === impl Prometheus ===

impl Prometheus {
    /// Without anything to scrape, telling this Alertmanager.
    pub(super) fn start(alertmanager: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let settings = hastened(&shipped("prometheus/prometheus.yml"));
        let settings = replaced(&settings, "127.0.0.1:9093", &alertmanager.to_string());
        let targets = "static_configs:\n      - targets: [\"127.0.0.1:9901\"]";
        let settings = replaced(&settings, targets, "file_sd_configs: [{ files: [targets.json] }]");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("it can be written");
        write("prometheus.yml", &settings);
        for rules in ["alerts.yml", "recording.yml"] {
            write(rules, &hastened(&shipped(&format!("prometheus/{rules}"))));
        }
        let address = free_address();
        let mut command = program("prometheus");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]);
        command.arg(format!("--web.listen-address={address}")).current_dir(folder.path());
        let process = Process::start(command, folder.path());
        let mut prometheus = Self { folder, address, process };
        wait_for(&mut prometheus.process, address);
        prometheus
    }

    /// From now on it scrapes these admin addresses, each under a name.
    pub(super) fn scrape(&self, targets: &[(&str, SocketAddr)]) {
        let target =
            |(name, address): &(&str, SocketAddr)| json!({ "targets": [address], "labels": { "instance": name } });
        let targets: Vec<_> = targets.iter().map(target).collect();
        let (new, path) = (self.folder.path().join("new"), self.folder.path().join("targets.json"));
        fs::write(&new, json!(targets).to_string()).expect("it can be written");
        fs::rename(new, path).expect("it can be written");
    }

    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = Url::parse_with_params(&format!("http://{}/api/v1/{path}", self.address), parameters);
        let answer = Request::get(url.expect("it is a URL").as_str()).send().json();
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        answer["data"].clone()
    }

    /// The series that an expression has now.
    pub(super) fn query(&self, expression: &str) -> Vec<Value> {
        self.ask("query", &[("query", expression)])["result"].as_array().expect("series").clone()
    }

    /// The series that it had within so many seconds, those that were no number all the time left out.
    pub(super) fn query_range(&self, expression: &str, seconds: u64) -> Vec<Value> {
        let end = swaigate_now();
        let range = [("start", (end - seconds).to_string()), ("end", end.to_string()), ("step", "1".to_owned())];
        let mut parameters: Vec<_> = range.iter().map(|(name, value)| (*name, value.as_str())).collect();
        parameters.push(("query", expression));
        let series = self.ask("query_range", &parameters)["result"].as_array().expect("series").clone();
        let is_number = |point: &Value| point[1] != "NaN";
        series.into_iter().filter(|one| one["values"].as_array().is_some_and(|all| all.iter().any(is_number))).collect()
    }

    /// The names of all alerts that have fired since the start.
    pub(super) fn fired(&self) -> BTreeSet<String> {
        self.alerts(r#"max_over_time(ALERTS{alertstate="firing"}[10m])"#)
    }

    /// The names of those that fire now.
    pub(super) fn firing(&self) -> BTreeSet<String> {
        self.alerts(r#"ALERTS{alertstate="firing"}"#)
    }

    fn alerts(&self, expression: &str) -> BTreeSet<String> {
        let name = |alert: &Value| alert["metric"]["alertname"].as_str().expect("it has a name").to_owned();
        self.query(expression).iter().map(name).collect()
    }

    /// Those that fire now, with their annotations.
    pub(super) fn told(&self) -> Vec<Value> {
        let alerts = self.ask("alerts", &[])["alerts"].as_array().expect("a list").clone();
        alerts.into_iter().filter(|alert| alert["state"] == "firing").collect()
    }

    /// The names of all metrics and recorded series.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let names = self.ask("label/__name__/values", &[]);
        names.as_array().expect("a list").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- Prometheus' log ---\n{}", self.process.stderr());
        }
    }
}

/// The time in whole seconds, in which Prometheus has scraped already.
fn swaigate_now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().expect("it is later").as_secs()
}

// === impl Alertmanager ===

impl Alertmanager {
    /// With a webhook that keeps what it is told.
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (webhook, received) = webhook();
        let settings = replaced(&shipped("alertmanager/alertmanager.yml"), "127.0.0.1:9095", &webhook.to_string());
        let settings = replaced(&settings, "/etc/alertmanager/webhook-token", "webhook-token");
        let settings = replaced(&settings, "group_wait: 30s", "group_wait: 1s");
        let settings = replaced(&settings, "group_interval: 5m", "group_interval: 1s");
        let settings = replaced(&settings, "group_interval: 1m", "group_interval: 1s");
        fs::write(folder.path().join("alertmanager.yml"), settings).expect("it can be written");
        fs::write(folder.path().join("webhook-token"), TOKEN).expect("it can be written");
        copy_templates(folder.path());
        let address = free_address();
        let mut command = program("prometheus-alertmanager");
        command.args(["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]);
        command.arg(format!("--web.listen-address={address}")).current_dir(folder.path());
        let process = Process::start(command, folder.path());
        let mut alertmanager = Self { address, received, _folder: folder, process };
        wait_for(&mut alertmanager.process, address);
        alertmanager
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("nobody panicked with it").clone()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- Alertmanager's log ---\n{}", self.process.stderr());
        }
    }
}

// === the webhook ===

fn webhook() -> (SocketAddr, Arc<Mutex<Vec<Received>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let received = Arc::<Mutex<Vec<Received>>>::default();
    let kept = Arc::clone(&received);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Some(one) = take(stream) {
                kept.lock().expect("nobody panicked with it").push(one);
            }
        }
    });
    (address, received)
}

/// One request to a connection: its sender is told to close it.
fn take(mut stream: TcpStream) -> Option<Received> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let value = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let expected: usize = value("content-length")?.parse().ok()?;
        if body.len() < expected {
            continue;
        }
        let received = Received {
            path: head.split(' ').nth(1)?.to_owned(),
            is_authorized: value("authorization") == Some(&format!("Bearer {TOKEN}")),
            body: serde_json::from_str(body).ok()?,
        };
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()?;
        return Some(received);
    }
}
