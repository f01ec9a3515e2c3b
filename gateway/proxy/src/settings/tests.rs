use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use swaigate_core::lockout;
use tempfile::TempDir;
use tracing::Level;

use super::*;

/// A folder of its own for one test.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(TempDir::new().unwrap());
        for (name, text) in files {
            let path = folder.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn load(&self) -> Result<Settings, Vec<String>> {
        load(&self.path("gateway.yaml")).map_err(|mistakes| self.words(&mistakes))
    }

    /// Mistakes without the folder's name.
    pub(super) fn words(&self, mistakes: &[Mistake]) -> Vec<String> {
        let prefix = format!("{}/", self.0.path().display());
        mistakes.iter().map(|m| m.to_string().replace(&prefix, "")).collect()
    }
}

const KEY: &str = "0123456789abcdef0123456789abcdef\n";
pub(super) const LISTEN: &str = "listen: [{ address: \"127.0.0.1:8080\" }]\n";

/// Settings that are right, with this behind the one key that is required.
fn settings(more: &str) -> Settings {
    let folder =
        Folder::new(&[("gateway.yaml", &format!("{LISTEN}{more}")), ("key.txt", KEY), ("old.txt", &KEY.repeat(2))]);
    let mut settings = folder.load().unwrap_or_else(|mistakes| panic!("{more}: {mistakes:?}"));
    for path in [&mut settings.policies, &mut settings.state.path, &mut settings.audit.path] {
        if let Ok(below) = path.strip_prefix(folder.0.path()) {
            *path = below.to_owned();
        }
    }
    settings
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn rotation_and_syncing_have_defaults_and_words() {
    let audit = |more: &str| settings(&format!("audit: {{ {more} }}")).audit;
    let of_size = Rotate { size: 100 << 20, every: None, keep: None };
    assert_eq!((audit("").rotate, audit("rotate: {}").rotate), (None, Some(of_size)));
    assert_eq!((audit("sync: always").sync, audit("sync: never").sync), (Fsync::Always, Fsync::Never));
    assert_eq!(audit(""), Audit::at("audit/audit.jsonl".into()));
}

#[test]
fn absent_keys_have_their_defaults_which_are_those_without_a_file() {
    let mut with_file = settings("");
    assert!(with_file.file.take().unwrap().ends_with("gateway.yaml"));
    let without = for_loopback(address("127.0.0.1:8080"), address("127.0.0.1:9901"));
    assert_eq!(format!("{with_file:?}"), format!("{without:?}"));

    assert_eq!(without.public_url.origin(), "http://127.0.0.1:8080");
    assert_eq!(
        without.state,
        EmbeddedState {
            path: "state".into(),
            max_cells: 100_000,
            max_calls: 100_000,
            max_facts: 200_000,
            max_watched: 200_000,
            max_answers: 65_536,
            max_answer_bytes: 64 << 20
        }
    );
    let [delay, max_delay, forget] = [1, 900, 3600].map(Duration::from_secs);
    assert_eq!(
        without.failed_authentication,
        FailedAuthentication { rules: lockout::Rules { free: 5, delay, max_delay, forget }, max_addresses: 100_000 }
    );
    assert_eq!(without.audit, Audit::at("audit/audit.jsonl".into()));
    let [header_timeout, keepalive, timeout, drain] = [10, 75, 30, 120].map(Duration::from_secs);
    let (max, max_head) = (10_000, 32 << 10);
    assert_eq!(
        without.connections,
        Connections { max, max_per_address: max, header_timeout, keepalive, max_head, max_headers: 100 }
    );
    assert_eq!(without.bodies, Bodies { budget: 256 << 20, timeout, min_rate: 1024 });
    assert_eq!(without.log, Log { level: Level::INFO, format: LogFormat::Text });
    assert_eq!(without.shutdown, Shutdown { delay: Duration::ZERO, drain });
    assert!(without.threads >= 1);
}

#[test]
fn every_key_lands() {
    let settings = settings(
        "\
public_url: https://agents.example.com
admin: { address: \"[::1]:9000\" }
policies: agents/
trusted_proxies: [10.0.0.0/8, unix]
token_keys: [{ id: new, secret_file: key.txt }, { id: old, secret_file: old.txt }]
state: { embedded: { path: kept, max_cells: 16, max_calls: 17, max_facts: 19, max_watched: 20, max_answers: 18, max_answer_bytes: 64KiB } }
failed_authentication: { free: 0, delay: 2s, max_delay: 3s, forget: 4s, max_addresses: 19 }
audit:
  path: /var/log/audit.jsonl
  queue: 1
  on_failure: block
  sync: 20ms
  rotate: { size: 64KiB, every: 1m, keep: 3 }
  strangers: 2
  heads: 3s
  sinks: [stdout, 'syslog+udp://[::1]:514', 'syslog+tcp://logs.example.com:601', 'syslog+unix:///dev/log']
threads: 3
connections: { max: 5, max_per_address: 4, header_timeout: 1s, keepalive: 2s, max_head: 2KiB, max_headers: 9 }
bodies: { budget: 64MiB, timeout: 2s, min_rate: 2KiB }
log: { level: debug, format: json }
shutdown: { delay: 5s, drain: 10s }
hsts: { max_age: 1h, include_subdomains: true }
",
    );
    assert_eq!(settings.hsts, Hsts { max_age: Duration::from_secs(3600), include_subdomains: true });
    let seconds = Duration::from_secs;
    assert_eq!(settings.public_url.origin(), "https://agents.example.com");
    let listen: Vec<_> = settings.listen.iter().map(|one| (one.place.clone(), one.insecure_plaintext)).collect();
    assert_eq!(listen, [(Place::Tcp(address("127.0.0.1:8080")), false)]);
    assert_eq!(settings.trusted_proxies, Peers::of(&["10.0.0.0/8", "unix"]));
    assert_eq!(settings.admin.address, Some(address("[::1]:9000")));
    assert_eq!(settings.policies, Path::new("agents/"));
    let keys: Vec<_> = settings.token_keys.iter().map(|key| (key.id.as_str(), key.secret.len())).collect();
    assert_eq!(keys, [("new", 32), ("old", 65)]);
    assert_eq!(key_ring(&settings.token_keys).unwrap().newest().id(), "new");
    assert_eq!(
        settings.state,
        EmbeddedState {
            path: "kept".into(),
            max_cells: 16,
            max_calls: 17,
            max_facts: 19,
            max_watched: 20,
            max_answers: 18,
            max_answer_bytes: 64 << 10
        }
    );
    assert_eq!(
        settings.failed_authentication,
        FailedAuthentication {
            rules: lockout::Rules { free: 0, delay: seconds(2), max_delay: seconds(3), forget: seconds(4) },
            max_addresses: 19
        }
    );
    assert_eq!(
        settings.audit,
        Audit {
            path: "/var/log/audit.jsonl".into(),
            queue: 1,
            sync: Fsync::Every(Duration::from_millis(20)),
            on_failure: OnFailure::Block,
            rotate: Some(Rotate { size: 64 << 10, every: Some(seconds(60)), keep: Some(3) }),
            strangers: 2,
            heads: seconds(3),
            sinks: vec![
                SinkAt::Stdout,
                SinkAt::SyslogUdp("[::1]:514".to_owned()),
                SinkAt::SyslogTcp("logs.example.com:601".to_owned()),
                SinkAt::SyslogUnix("/dev/log".into()),
            ],
        }
    );
    assert_eq!(settings.threads, 3);
    assert_eq!(
        settings.connections,
        Connections {
            max: 5,
            max_per_address: 4,
            header_timeout: seconds(1),
            keepalive: seconds(2),
            max_head: 2048,
            max_headers: 9
        }
    );
    assert_eq!(settings.bodies, Bodies { budget: 64 << 20, timeout: seconds(2), min_rate: 2048 });
    assert_eq!(settings.log, Log { level: Level::DEBUG, format: LogFormat::Json });
    assert_eq!(settings.shutdown, Shutdown { delay: seconds(5), drain: seconds(10) });
}

/// A wait that is given alone changes those that must not be shorter.
#[test]
fn waits_after_wrong_credentials_grow_together() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let rules = settings("failed_authentication: { delay: 20m }\n").failed_authentication.rules;
    assert_eq!((rules.delay, rules.max_delay, rules.forget), (minutes(20), minutes(20), minutes(60)));
    let rules = settings("failed_authentication: { max_delay: 2h }\n").failed_authentication.rules;
    assert_eq!((rules.max_delay, rules.forget), (minutes(120), minutes(120)));
}

#[test]
fn secrets_need_not_be_there_for_whoever_only_asks_where_the_gateway_is() {
    let keys = "token_keys: [{ id: a, secret_env: SWAIGATE_TEST_UNSET }, { id: b, secret_file: none.txt }]\n";
    let folder = Folder::new(&[("gateway.yaml", &format!("{LISTEN}{keys}admin: {{ address: \"127.0.0.1:9000\" }}\n"))]);
    assert_eq!(folder.load().unwrap_err().len(), 2);
    let settings = load_without_secrets(&folder.path("gateway.yaml")).unwrap();
    assert_eq!((settings.admin.address, settings.state.path), (Some(address("127.0.0.1:9000")), folder.path("state")));
}

#[test]
fn the_operators_door_is_an_address_a_socket_or_both_and_has_tokens() {
    let (token, short) = ("x".repeat(32), "y".repeat(31));
    let load = |admin: &str| {
        let file = format!("{LISTEN}admin: {admin}\n");
        let folder = Folder::new(&[("gateway.yaml", &file), ("token", &token), ("short", &short), ("two", "a b")]);
        let unix = Some(folder.path("admin.sock"));
        folder.load().map(|settings| (settings.admin.clone(), unix)).map_err(|mistakes| mistakes[0].to_string())
    };
    let default = Some(address("127.0.0.1:9901"));
    let (admin, _) = load("{}").unwrap();
    assert_eq!((admin.address, admin.unix, admin.tokens.len()), (default, None, 0));
    let (admin, unix) = load("{ unix: admin.sock }").unwrap();
    assert_eq!((admin.address, &admin.unix), (None, &unix));
    assert_eq!(admin.places(), [Place::Unix { path: unix.unwrap(), mode: 0o600 }]);
    let (admin, unix) = load("{ unix: admin.sock, address: \"127.0.0.1:9901\" }").unwrap();
    assert_eq!((admin.address, admin.unix), (default, unix));
    let (admin, _) =
        load("{ tokens: [{ role: viewer, token_file: token }, { role: operator, token_file: token }] }").unwrap();
    let roles: Vec<_> = admin.tokens.iter().map(|token| (token.role, token.secret.len())).collect();
    assert_eq!(roles, [(Role::Viewer, 32), (Role::Operator, 32)]);
    let long = format!("{{ unix: {} }}", "x".repeat(108));
    for (admin, wrong) in [
        (long.as_str(), "the path of a Unix socket has at most 107 bytes"),
        ("{ tokens: [{ role: viewer }] }", "a token needs `token_env` or `token_file`"),
        ("{ tokens: [{ token_file: token }] }", "`role` is missing"),
        ("{ tokens: [{ role: boss, token_file: token }] }", "`role`"),
        ("{ tokens: [{ role: viewer, token: abc, token_file: token }] }", "a token is never written in this file"),
        ("{ tokens: [{ role: viewer, token_file: short }] }", "at least 32 visible ASCII characters"),
        ("{ tokens: [{ role: viewer, token_file: two }] }", "at least 32 visible ASCII characters"),
    ] {
        let said = load(admin).unwrap_err();
        assert!(said.contains(wrong), "{admin}: {said}");
    }
}

#[test]
fn listeners_that_others_can_reach_need_a_word() {
    let folder = Folder::new(&[(
        "gateway.yaml",
        "public_url: https://a\nlisten: [{ address: \"0.0.0.0:80\", insecure_plaintext: true }, { address: \"[::ffff:127.0.0.1]:81\" }]\n",
    )]);
    let listen = folder.load().unwrap().listen;
    assert_eq!(listen.iter().map(Listener::is_loopback).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_listener_says_who_may_come_in_and_who_speaks_for_others() {
    let folder = Folder::new(&[(
        "gateway.yaml",
        "public_url: https://a\nlisten: [{ unix: s, proxy_protocol: { trusted: [unix] } }, { address: \"127.0.0.1:81\", \
         allow: [\"::1\"], deny: [192.0.2.0/24] }]\n",
    )]);
    let listen = folder.load().unwrap().listen;
    assert_eq!((&listen[0].access, &listen[0].proxies), (&Access::default(), &Some(Peers::of(&["unix"]))));
    let access = Access { allow: Peers::of(&["::1"]), deny: Peers::of(&["192.0.2.0/24"]) };
    assert_eq!((&listen[1].access, &listen[1].proxies), (&access, &None));
}

#[test]
fn the_public_url_of_a_loopback_listener() {
    for (listen, origin) in [("127.0.0.2:80", "http://127.0.0.2"), ("[::1]:8080", "http://[::1]:8080")] {
        assert_eq!(for_loopback(address(listen), address("127.0.0.1:1")).public_url.origin(), origin);
    }
}

#[test]
fn each_mistake_has_its_place_and_its_words() {
    let cases = [
        ("", "1:1: the file has no keys"),
        ("threads: 1", "1:1: `listen` is missing"),
        ("listen: []", "1:9: `listen` must list an address, like `{ address: \"127.0.0.1:8080\" }`"),
        (
            "listen: [{ address: localhost:80 }]",
            "1:21: `address`: write an IP address and a port, like `127.0.0.1:8080` or `[::1]:8080`",
        ),
        (
            "listen: [{ address: '127.0.0.1:0' }]",
            "1:21: `address`: write an IP address and a port, like `127.0.0.1:8080` or `[::1]:8080`",
        ),
        (
            "listen: [{ address: '1.2.3.4:80' }]\npublic_url: https://a",
            "1:21: other machines can reach `1.2.3.4:80`, and it has no `tls`; add `tls: { certificate: FILE, private_key: FILE }`, or listen on 127.0.0.1 behind a TLS terminator, or add `insecure_plaintext: true` where the network between is yours alone",
        ),
        (
            "listen: [{ address: '1.2.3.4:80', insecure_plaintext: true }]",
            "1:1: `public_url` is missing: where does the platform reach the gateway? Like `https://agents.example.com`",
        ),
        ("listen: [{ address: '127.0.0.1:80' }, { address: '127.0.0.1:80' }]", "1:39: `127.0.0.1:80` is listed twice"),
        (
            "listen: [{ insecure_plaintext: true }]",
            "1:10: a listener needs an `address`, or the path of a socket: `unix`",
        ),
        ("listen: [{ address: '127.0.0.1:80', unix: s }]", "1:37: `unix` and `address` exclude each other; keep one"),
        (
            "listen: [{ address: '127.0.0.1:80', mode: '0600' }]",
            "1:43: `mode` is the permissions of a socket in the file system; an `address` has none",
        ),
        ("listen: [{ address: '127.0.0.1:80', proxy_protocol: {} }]", "1:53: `trusted` is missing"),
        (
            "listen: [{ address: '127.0.0.1:80', proxy_protocol: { trusted: [] } }]",
            "1:64: `trusted` must list the proxies, like `[10.0.0.0/24]`: whoever else comes in is refused",
        ),
        (
            "listen: [{ address: '127.0.0.1:80', deny: [example.com] }]",
            "1:44: an item of `deny`: write a network or an address, like `192.0.2.0/24` or `2001:db8::1`, or `unix`",
        ),
        (
            "listen: [{ unix: s, allow: ['::1'] }]\npublic_url: https://a",
            "1:28: a socket in the file system knows addresses only by `proxy_protocol`; remove `allow` and `deny`",
        ),
        (
            "listen: [{ unix: s, mode: '0060' }]\npublic_url: https://a",
            "1:27: `mode`: write permissions as `chmod` takes them, in quotes and with those of the owner, like `\"0660\"`",
        ),
        (
            "listen: [{ unix: s }]",
            "1:1: `public_url` is missing: where does the platform reach the gateway? Like `https://agents.example.com`",
        ),
        (
            "L\nadmin: { address: '0.0.0.0:9901' }",
            "3:19: `0.0.0.0:9901` can be reached from other machines; the admin address must be loopback",
        ),
        (
            "L\nadmin: { address: '127.0.0.1:8080' }",
            "3:19: `127.0.0.1:8080` is in `listen` too; give the admin address a port of its own",
        ),
        (
            "L\npublic_url: https://a/b",
            "3:13: `public_url`: an origin ends behind its host and port; remove the path, query or fragment",
        ),
        ("L\npublic_url: a.example.com", "3:13: `public_url`: write an origin like `https://agents.example.com`"),
        (
            "L\ntrusted_proxies: [10.0.0.1/8]",
            "3:19: an item of `trusted_proxies`: `10.0.0.1/8` has bits behind its prefix; write `10.0.0.0/8`",
        ),
        ("L\nbodies: { min_rate: 2GiB }", "3:21: `min_rate` is `2GiB`; it must be from 0B to 1GiB"),
        ("L\npolicies: ''", "3:11: `policies`: write a path, like `policies/`"),
        ("L\ntoken_keys: []", "3:13: `token_keys` must list a key; without it, one is made and kept with the state"),
        ("L\ntoken_keys: [{ id: a }]", "3:14: a key needs `secret_env` or `secret_file`"),
        ("L\ntoken_keys: [{ secret_file: key.txt }]", "3:14: `id` is missing"),
        (
            "L\ntoken_keys: [{ id: '', secret_file: key.txt }]",
            "3:20: `id`: the id of a key is 1 to 64 visible ASCII characters",
        ),
        (
            "L\ntoken_keys: [{ id: a, secret_file: short.txt }]",
            "3:23: `secret_file`: token key `a` has 31 bytes; at least 32 are needed",
        ),
        (
            "L\ntoken_keys: [{ id: a, secret_file: none.txt }]",
            "3:23: `secret_file`: the file `none.txt` can't be used: No such file or directory (os error 2)",
        ),
        (
            "L\ntoken_keys: [{ id: a, secret_file: . }]",
            "3:23: `secret_file`: the file `.` can't be used: it is not a file",
        ),
        (
            "L\ntoken_keys: [{ id: a, secret_env: SWAIGATE_TEST_UNSET }]",
            "3:23: `secret_env`: the environment variable `SWAIGATE_TEST_UNSET` is not set",
        ),
        (
            "L\ntoken_keys: [{ id: a, secret: x, secret_file: key.txt }]",
            "3:23: a secret is never written in this file; name where it is with `secret_env` or `secret_file`",
        ),
        (
            "L\ntoken_keys: [{ id: a, secret_file: key.txt }, { id: a, secret_file: key.txt }]",
            "3:47: token keys `a` and `a` can't be told apart; give one another id",
        ),
        ("L\nstate: { redis: {} }", "3:10: a Redis store is not in this version; use `embedded`"),
        ("L\nstate: { embedded: { max_cells: 1 } }", "3:33: `max_cells` is 1; it must be from 16 to 10000000"),
        ("L\nfailed_authentication: { free: 1001 }", "3:32: `free` is 1001; it must be from 0 to 1000"),
        (
            "L\nfailed_authentication: { delay: 10s, max_delay: 5s }",
            "3:49: `max_delay` is `5s`; it must be from 10s to 24h",
        ),
        (
            "L\nfailed_authentication: { max_delay: 2h, forget: 1h }",
            "3:49: `forget` is `1h`; it must be from 2h to 168h",
        ),
        (
            "L\nfailed_authentication: { max_addresses: 1 }",
            "3:41: `max_addresses` is 1; it must be from 16 to 10000000",
        ),
        (
            "L\naudit: { sync: 2m }",
            "3:16: `sync`: must be `always`, `never`, or the longest time that records may not be on the disk, from 10ms to 1m",
        ),
        ("L\naudit: { rotate: { every: 1s } }", "3:27: `every` is `1s`; it must be from 1m to 8784h"),
        (
            "L\naudit: { sinks: [syslog+udp://logs] }",
            "3:18: an item of `sinks`: `logs` must be a host and a port, like `logs.example.com:514`",
        ),
        (
            "L\naudit: { sinks: [kafka] }",
            "3:18: an item of `sinks`: must be `stdout`, `syslog+udp://host:514`, `syslog+tcp://host:601` or `syslog+unix:///dev/log`",
        ),
        ("L\naudit: { queue: 0 }", "3:17: `queue` is 0; it must be from 1 to 1000000"),
        ("L\nthreads: 0", "3:10: `threads` is 0; it must be from 1 to 1024"),
        ("L\nconnections: { max: 0 }", "3:21: `max` is 0; it must be from 1 to 1000000"),
        ("L\nconnections: { header_timeout: 0s }", "3:32: `header_timeout` is `0s`; it must be from 10ms to 5m"),
        ("L\nconnections: { max_headers: 300 }", "3:29: `max_headers` is 300; it must be from 8 to 256"),
        ("L\nconnections: { keepalive: 2h }", "3:27: `keepalive` is `2h`; it must be from 1s to 1h"),
        ("L\nbodies: { budget: 1KiB }", "3:19: `budget` is `1KiB`; it must be from 64KiB to 64GiB"),
        ("L\nbodies: { timeout: 30 }", "3:20: `timeout` needs a unit: `30s` for seconds, `30m` for minutes"),
        ("L\nlog: { level: trace }", "3:15: `level`: must be `error` or `warn` or `info` or `debug`, not `trace`"),
        ("L\nlog: { format: xml }", "3:16: `format`: must be `text` or `json`, not `xml`"),
        ("L\nshutdown: { drain: 2h }", "3:20: `drain` is `2h`; it must be from 0s to 1h"),
        ("L\nlogs: {}", "3:1: unknown key `logs`; did you mean `log`?"),
    ];
    let found = |text: &str| {
        let text = text.replacen('L', LISTEN, usize::from(text.starts_with('L')));
        let folder = Folder::new(&[("gateway.yaml", &text), ("key.txt", KEY), ("short.txt", &KEY[1..])]);
        folder.load().map(|_| ()).err().unwrap_or_default()
    };
    let differs = |(case, found): &((&str, &str), Vec<String>)| *found != [format!("gateway.yaml:{}", case.1)];
    let wrong: Vec<_> = cases.into_iter().map(|case| (case, found(case.0))).filter(differs).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn all_mistakes_come_at_once() {
    let text = "listen: [{ address: x }]\nadmin: { address: y }\nthreads: 0\nlog: { level: z }\nfoo: 1\n";
    let folder = Folder::new(&[("gateway.yaml", text)]);
    let mistakes = folder.load().unwrap_err();
    let places: Vec<_> = mistakes.iter().map(|m| m.split(':').skip(1).take(2).collect::<Vec<_>>().join(":")).collect();
    assert_eq!(places, ["1:21", "2:19", "3:10", "4:15", "5:1"], "{mistakes:#?}");
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let folder = Folder::new(&[("a/b", "")]);
    assert!(folder.load().unwrap_err()[0].starts_with("gateway.yaml:1:1: the file can't be read: No such file"));
    fs::write(folder.path("gateway.yaml"), b"listen: \xff").unwrap();
    assert_eq!(folder.load().unwrap_err(), ["gateway.yaml:1:1: the file is not UTF-8"]);
    fs::write(folder.path("gateway.yaml"), vec![b'#'; yaml::MAX_BYTES + 1]).unwrap();
    assert!(folder.load().unwrap_err()[0].contains("it has more than 1048576 bytes"));
}

#[test]
fn secrets_come_from_the_environment_too() {
    let secrets = FileSecrets::new(Path::new("."));
    let path = swaigate_core::policy::Secrets::env(&secrets, "PATH").unwrap();
    assert_eq!(path.expose(), std::env::var_os("PATH").unwrap().as_encoded_bytes());
    assert!(swaigate_core::policy::Secrets::env(&secrets, "SWAIGATE=UNSET").is_none());
}

#[test]
fn the_shipped_example_is_right_but_for_its_secrets() {
    let example = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/examples/gateway.yaml"));
    let mistakes = load(example).unwrap_err();
    assert!(mistakes.len() == 1 && mistakes[0].message.contains("`SWAIGATE_TOKEN_KEY` is not set"), "{mistakes:?}");
}
