//! Listeners that speak TLS.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    agent::Sdk,
    gateway::{Folder, Gateway, Policy},
    http::Request,
    pki::{Asking, Authority, certificate},
    platform::{Call, Document, Platform},
    tests_path, until,
};

const RUN: [&str; 3] = ["run", "--config", "gateway.yaml"];
const LOCAL: &str = "IP:127.0.0.1,DNS:localhost";
const ONE: &str = "certificate: one.crt, private_key: one.key";

fn policy() -> Policy {
    Policy::of(Sdk::Rust.shared().address)
}

/// A folder with these certificates, and a listener with this TLS. What is added is YAML.
fn folder(authority: &Authority, names: &[(&str, &str)], tls: &str, more: &str) -> Folder {
    let folder = Folder::new("", &[&policy()]);
    names.iter().for_each(|(name, names)| authority.issue(folder.root.path(), name, names));
    listen(&folder, tls, more);
    folder
}

fn listen(folder: &Folder, tls: &str, more: &str) {
    let Folder { listen, admin, .. } = folder;
    let text =
        format!("listen: [{{ address: \"{listen}\", tls: {{ {tls} }} }}]\nadmin: {{ address: \"{admin}\" }}\n{more}\n");
    folder.write("gateway.yaml", &text);
}

fn platform(gateway: &Gateway) -> Platform {
    Platform::at(format!("https://{}/bank", gateway.listen()))
}

// === what clients see ===

#[test]
fn a_call_by_https_is_a_call() {
    let authority = Authority::new();
    let gateway = folder(&authority, &[("one", LOCAL)], ONE, "").start(&RUN);
    let (client, call) = (authority.client(None), Call::new());
    let answer = platform(&gateway).fetch_request("", &call).send_with(&client);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document = Document::new(answer.text());
    let url = document.function_url("get_balance");
    assert!(
        url.starts_with("https://") && url.contains(&gateway.listen().to_string()),
        "the platform asks by https: {url}"
    );
    let answer =
        document.function_request(&call, "get_balance", &json!({ "account": "1234567890" })).send_with(&client);
    assert!(answer.response().contains("Balance"), "{}", answer.text());
    assert_eq!(gateway.record_of(&answer)["client"], "127.0.0.1");

    let plain = Request::get(&format!("http://{}/bank", gateway.listen())).try_send();
    assert!(plain.is_err(), "nothing is said in plain: {plain:?}");
}

#[test]
fn http_2_is_spoken_to_those_who_know_it() {
    let authority = Authority::new();
    let gateway = folder(&authority, &[("one", LOCAL)], ONE, "").start(&RUN);
    let version = |arguments: &[&str]| {
        let body = Call::new().to_string();
        let url = format!("https://{}/bank", gateway.listen());
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_version} %{response_code}", "--cacert"]);
        curl.arg(authority.certificate()).args(arguments).args(["-d", &body, "-H", "Content-Type: application/json"]);
        let user = "signalwire:known-to-the-platform";
        let done = curl.args(["-u", user, &url]).output().expect("curl is installed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("it is text")
    };
    assert_eq!(version(&["--http2"]), "2 200");
    assert_eq!(version(&["--http1.1"]), "1.1 200");
    assert_eq!(version(&["--no-alpn"]), "1.1 200");
}

#[test]
fn browsers_are_told_what_an_answer_is_not_for() {
    const HSTS: &str = "strict-transport-security";
    let authority = Authority::new();
    let hsts = "hsts: { max_age: 1h, include_subdomains: true }";
    let gateway = folder(&authority, &[("one", LOCAL)], ONE, hsts).start(&RUN);
    let client = authority.client(None);
    let answers = [
        platform(&gateway).fetch_request("", &Call::new()).send_with(&client),
        Request::get(&format!("https://{}/bank", gateway.listen())).send_with(&client),
        Request::get(&format!("https://{}/nowhere", gateway.listen())).send_with(&client),
    ];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 401, 404]);
    for answer in &answers {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header(HSTS), Some("max-age=3600; includeSubDomains"));
    }
    // In plain it means nothing, unless something in front speaks TLS.
    let plain = |settings: &str| {
        let gateway = Gateway::start(settings, &[&policy()]);
        gateway.request("GET", "/nowhere").send().header(HSTS).map(str::to_owned)
    };
    assert_eq!(plain(""), None);
    assert_eq!(plain("public_url: https://a.example.com").as_deref(), Some("max-age=31536000"));
}

#[test]
fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let authority = Authority::new();
    let names = [("one", LOCAL), ("a", "DNS:a.example.com"), ("all", "DNS:*.example.com,DNS:b.example.org")];
    let listed = names.map(|(name, _)| format!("{{ certificate: {name}.crt, private_key: {name}.key }}")).join(", ");
    let gateway = folder(&authority, &names, &format!("certificates: [{listed}]"), "").start(&RUN);
    let shown = |name: Option<&str>| authority.greet(gateway.listen(), Asking { name, ..Asking::default() });
    for (name, file) in [
        (Some("a.example.com"), "a"),
        (Some("b.example.com"), "all"),
        (Some("b.example.org"), "all"),
        (Some("localhost"), "one"),
        (None, "one"),
    ] {
        let greeting = shown(name).unwrap_or_else(|error| panic!("{name:?}: {error}"));
        assert!(greeting.certificate == certificate(gateway.folder.root.path(), file), "{name:?}: not {file}");
        assert_eq!((greeting.protocol.as_deref(), greeting.is_13), (Some("http/1.1"), true));
    }
    let error = shown(Some("elsewhere.example.net")).expect_err("it is shown the first, which hasn't that name");
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[test]
fn an_old_version_is_spoken_only_where_it_may_be() {
    let authority = Authority::new();
    for (tls, is_spoken) in [(ONE.to_owned(), true), (format!("{ONE}, min_version: \"1.3\""), false)] {
        let gateway = folder(&authority, &[("one", LOCAL)], &tls, "").start(&RUN);
        let old = authority.greet(gateway.listen(), Asking { is_old: true, ..Asking::default() });
        assert_eq!(old.is_ok(), is_spoken, "{tls}: {old:?}");
        assert!(old.is_ok_and(|greeting| !greeting.is_13) || !is_spoken);
        assert!(authority.greet(gateway.listen(), Asking::default()).is_ok_and(|greeting| greeting.is_13));
    }
}

#[test]
fn clients_come_in_by_their_certificates() {
    let (servers, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let there = tempfile::tempdir().expect("a folder can be made");
    clients.issue(there.path(), "known", "DNS:platform");
    others.issue(there.path(), "unknown", "DNS:platform");
    let [known, unknown] = ["known", "unknown"].map(|name| there.path().join(name));
    for (word, without) in [("required", false), ("optional", true)] {
        let tls = format!("{ONE}, client_ca: clients.crt, client_certificates: {word}");
        let folder = folder(&servers, &[("one", LOCAL)], &tls, "");
        fs::copy(clients.certificate(), folder.path("clients.crt")).expect("the folder can be written");
        let gateway = folder.start(&RUN);
        let is_in = |own: Option<&Path>| servers.greet(gateway.listen(), Asking { own, ..Asking::default() }).is_ok();
        assert!(is_in(Some(&known)), "{word}");
        assert!(!is_in(Some(&unknown)), "{word}: whoever shows one shows a good one");
        assert_eq!(is_in(None), without, "{word}");
        let answer = platform(&gateway).fetch_request("", &Call::new()).send_with(&servers.client(Some(&known)));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

// === files ===

#[test]
fn a_file_that_cannot_be_used_is_refused_at_the_start() {
    let authority = Authority::new();
    let folder = folder(&authority, &[("one", LOCAL), ("two", LOCAL)], ONE, "");
    fs::write(folder.path("text.crt"), "This is no certificate.").expect("the folder can be written");
    for (tls, words) in [
        (
            "certificate: none.crt, private_key: one.key",
            "gateway.yaml:1:47: `certificate`: the file `none.crt` can't be used: No such file",
        ),
        (
            "certificate: text.crt, private_key: one.key",
            "gateway.yaml:1:47: `certificate`: the file `text.crt` can't be used: it holds no certificate",
        ),
        (
            "certificate: one.crt, private_key: two.key",
            "gateway.yaml:1:69: `private_key`: the file `two.key` can't be used: its key is not that of the certificate",
        ),
        (
            "certificate: one.crt, private_key: one.crt",
            "gateway.yaml:1:69: `private_key`: the file `one.crt` can't be used: it holds no private key",
        ),
        (
            "certificate: one.crt, private_key: one.key, client_ca: text.crt",
            "`client_ca`: the file `text.crt` can't be used",
        ),
    ] {
        listen(&folder, tls, "");
        let (code, _, told) = folder.run_to_the_end(&RUN);
        assert!(code == Some(1) && told.contains(words), "{tls}: {told}");
        let (code, _, told) = folder.run_to_the_end(&["check"]);
        assert!(code == Some(1) && told.contains("can't be used"), "{tls}: {told}");
    }
}

#[test]
fn a_certificate_that_has_ended_is_shown_and_told_of() {
    let authority = Authority::new();
    let folder = folder(&authority, &[("other", LOCAL)], ONE, "");
    authority.issue_for(folder.root.path(), "one", LOCAL, "-1");
    let gateway = folder.start(&RUN);
    let error = authority.greet(gateway.listen(), Asking::default()).expect_err("it has ended");
    assert!(error.to_string().contains("xpired"), "{error}");
    assert!(gateway.process.stderr().contains("one.crt was good until"), "{}", gateway.process.stderr());
    let (code, said, _) = gateway.folder.run_to_the_end(&["check", "--strict"]);
    let is_told = |line: &str| {
        line.starts_with("gateway.yaml:1:47: warning: a certificate in `one.crt` was good until")
            && line.ends_with("[certificate_ends]")
    };
    assert!(code == Some(1) && said.lines().any(is_told), "{said}");
}

#[test]
fn a_bad_file_changes_nothing_and_a_good_one_does() {
    let authority = Authority::new();
    let folder = folder(&authority, &[("one", LOCAL), ("two", LOCAL)], ONE, "");
    let gateway = folder.start(&RUN);
    let here = gateway.folder.root.path();
    let shown = || authority.greet(gateway.listen(), Asking::default()).expect("there is an answer").certificate;
    let (one, two) = (certificate(here, "one"), certificate(here, "two"));
    let read = |name: &str| fs::read_to_string(here.join(name)).expect("it was made");
    let ends = || gateway.metric_of("swaigate_certificate_expiry_timestamp_seconds{file=\"one.crt\"}");
    let (first_end, key) = (ends(), read("one.key"));
    assert!(first_end > 1_700_000_000.0, "{first_end}");

    gateway.folder.write("one.crt", "This is no certificate.");
    gateway.wait_for_reloads("refused", 1);
    assert!(shown() == one);
    assert!(gateway.process.stderr().contains("it holds no certificate"), "{}", gateway.process.stderr());
    gateway.folder.write("one.crt", &read("two.crt"));
    gateway.wait_for_reloads("refused", 2);
    assert!(shown() == one, "as long as the key is another one's");
    assert_eq!(ends(), first_end);
    gateway.folder.write("one.key", &read("two.key"));
    until("the other certificate is shown", || (shown() == two).then_some(()));

    fs::remove_file(gateway.folder.path("one.key")).expect("it is there");
    gateway.wait_for_reloads("refused", 3);
    assert!(shown() == two);
    gateway.folder.write("one.key", &key);
    gateway.process.signal("HUP");
    gateway.wait_for_reloads("refused", 4);
    authority.issue_for(here, "one", LOCAL, "9");
    until("the new one is shown", || (shown() == certificate(here, "one")).then_some(()));
    until("its end is told", || (ends() > first_end + 86_400.0).then_some(()));
}

#[test]
fn a_mistake_in_a_policy_holds_back_no_renewed_certificate() {
    let authority = Authority::new();
    let folder = folder(&authority, &[("one", LOCAL), ("two", LOCAL)], ONE, "");
    let gateway = folder.start(&RUN);
    let here = gateway.folder.root.path();
    let shown = || authority.greet(gateway.listen(), Asking::default()).expect("there is an answer").certificate;
    let ends = || gateway.metric_of("swaigate_certificate_expiry_timestamp_seconds{file=\"one.crt\"}");
    let first_end = ends();
    gateway.folder.write_policy("bank", "agent: [");
    gateway.wait_for_reloads("refused", 1);
    authority.issue_for(here, "one", LOCAL, "9");
    until("the new one is shown", || (shown() == certificate(here, "one")).then_some(()));
    until("its end is told", || (ends() > first_end + 86_400.0).then_some(()));
    let answer = platform(&gateway).fetch_request("", &Call::new()).send_with(&authority.client(None));
    assert_eq!(answer.status, 200, "the policy of before is in force: {}", answer.text());

    // Other settings are not in force as long as the policy isn't, and nor is what they name.
    let refused = gateway.reloads("refused");
    listen(&gateway.folder, "certificate: two.crt, private_key: two.key", "");
    gateway.wait_for_reloads("refused", refused + 1);
    assert!(shown() == certificate(here, "one"));
    gateway.folder.write_policy("bank", &policy().yaml());
    until("the other is shown", || (shown() == certificate(here, "two")).then_some(()));
}

#[test]
fn whom_a_listener_lets_in_can_be_changed() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let folder = folder(&servers, &[("one", LOCAL)], ONE, "");
    fs::copy(clients.certificate(), folder.path("clients.crt")).expect("the folder can be written");
    let gateway = folder.start(&RUN);
    assert!(servers.greet(gateway.listen(), Asking::default()).is_ok());
    listen(&gateway.folder, &format!("{ONE}, client_ca: clients.crt"), "");
    until("nobody comes in without a certificate", || {
        servers.greet(gateway.listen(), Asking::default()).is_err().then_some(())
    });
    assert!(!gateway.process.stderr().contains("needs a restart"), "{}", gateway.process.stderr());
}

/// How long requests are sent while certificates are swapped: `SWAIGATE_TEST_SECONDS`.
fn seconds() -> u64 {
    std::env::var("SWAIGATE_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// As Kubernetes changes mounted secrets: the files are links through a link, which is swapped.
#[test]
fn certificates_are_swapped_and_no_request_is_lost() {
    let authority = Authority::new();
    let folder = folder(&authority, &[], "certificate: certs/tls.crt, private_key: certs/tls.key", "");
    let certs = folder.path("certs");
    let swap = |version: usize| {
        let there = certs.join(format!("..{version}"));
        fs::create_dir_all(&there).expect("the folder can be written");
        authority.issue(&there, "tls", LOCAL);
        std::os::unix::fs::symlink(format!("..{version}"), certs.join("..new")).expect("the folder can be written");
        fs::rename(certs.join("..new"), certs.join("..data")).expect("the folder can be written");
        certificate(&there, "tls")
    };
    swap(0);
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), certs.join(name)).expect("the folder can be written");
    }
    let gateway = folder.start(&RUN);
    let (is_over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask = |fresh: bool| {
        let kept = authority.client(None);
        while !is_over.load(Ordering::Relaxed) {
            let client = if fresh { authority.client(None) } else { kept.clone() };
            let answer = platform(&gateway).fetch_request("", &Call::new()).try_send_with(&client);
            let answer = answer.unwrap_or_else(|error| panic!("a request is lost: {error}"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            sent.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut swaps = 0;
    thread::scope(|scope| {
        let askers = [false, true].map(|fresh| scope.spawn(move || ask(fresh)));
        let until_then = Instant::now() + Duration::from_secs(seconds());
        while Instant::now() < until_then {
            swaps += 1;
            let new = swap(swaps);
            until("the new certificate is shown", || {
                let shown = authority.greet(gateway.listen(), Asking::default());
                (shown.expect("a handshake is lost").certificate == new).then_some(())
            });
        }
        is_over.store(true, Ordering::Relaxed);
        askers.into_iter().for_each(|asker| asker.join().expect("no request is lost"));
    });
    let sent = sent.into_inner();
    eprintln!("{swaps} swaps, {sent} requests");
    assert!(swaps >= 2 && sent > 10, "{swaps} swaps, {sent} requests");
}

// === the SDK's variables ===

#[test]
fn what_an_agent_of_the_sdk_was_told_the_gateway_knows() {
    let authority = Authority::new();
    let folder = Folder::new("", &[&policy().platform("")]);
    authority.issue(folder.root.path(), "one", LOCAL);
    let domain = format!("https://agents.example.com:{}", folder.listen.port());
    let gateway = folder.start_told(
        &RUN,
        &[
            ("SWML_SSL_ENABLED", "true"),
            ("SWML_SSL_CERT_PATH", "one.crt"),
            ("SWML_SSL_KEY_PATH", "one.key"),
            ("SWML_DOMAIN", "agents.example.com"),
            ("SWML_BASIC_AUTH_USER", "someone"),
            ("SWML_BASIC_AUTH_PASSWORD", "a-password-of-the-environment"),
        ],
    );
    let fetch = |user: &str, password: &str| {
        let platform = platform(&gateway).with_user(user, password);
        platform.fetch_request("", &Call::new()).send_with(&authority.client(None))
    };
    let answer = fetch("someone", "a-password-of-the-environment");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let url = Document::new(answer.text()).function_url("get_balance");
    assert!(url.replace(&url[8..url.find('@').expect("it has credentials") + 1], "").starts_with(&domain), "{url}");
    assert_eq!(fetch("signalwire", "a-password-of-the-environment").status, 401);
    for name in ["SWML_SSL_ENABLED", "SWML_SSL_CERT_PATH", "SWML_DOMAIN", "SWML_BASIC_AUTH_PASSWORD"] {
        let told = gateway.process.stderr();
        assert!(told.contains(&format!("{name} of the environment is used")), "{name}: {told}");
    }
    assert!(!gateway.process.stderr().contains("a-password-of-the-environment"), "but not what it says");
    assert!(!gateway.process.stdout().contains("No user is configured"), "{}", gateway.process.stdout());
}

#[test]
fn the_sdks_variables_hold_without_files_too() {
    let authority = Authority::new();
    let folder = Folder::new("", &[]);
    authority.issue(folder.root.path(), "one", LOCAL);
    let (listen, admin) = (folder.listen.to_string(), folder.admin.to_string());
    let upstream = Sdk::Rust.shared().url();
    let gateway = folder.start_told(
        &["run", "--upstream", &upstream, "--listen", &listen, "--admin", &admin],
        &[
            ("SWML_SSL_ENABLED", "1"),
            ("SWML_SSL_CERT_PATH", "one.crt"),
            ("SWML_SSL_KEY_PATH", "one.key"),
            ("SWML_PROXY_URL_BASE", "https://agents.example.com"),
            ("SWML_BASIC_AUTH_USER", ""),
            ("SWML_BASIC_AUTH_PASSWORD", "a-password-of-the-environment"),
        ],
    );
    let platform = platform(&gateway).with_user("signalwire", "a-password-of-the-environment");
    let answer = platform.fetch_request("", &Call::new()).send_with(&authority.client(None));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let url = Document::new(answer.text()).function_url("get_balance");
    assert!(url.contains("@agents.example.com/bank"), "{url}");
}

#[test]
fn a_weak_password_of_the_environment_is_refused() {
    let folder = Folder::new("", &[&policy().platform("")]);
    let mut command = folder.command(&RUN);
    command.env("SWML_BASIC_AUTH_PASSWORD", "short");
    let mut process = crate::harness::process::Process::start(command, folder.root.path());
    assert_eq!(process.exit().code(), Some(1));
    let words = "`SWML_BASIC_AUTH_PASSWORD`: the password has 5 bytes; at least 16 are needed";
    assert!(process.stderr().contains(words), "{}", process.stderr());
}

// === what a scanner finds ===

/// What sslyze looks for.
const SCANS: [&str; 17] = [
    "certinfo",
    "sslv2",
    "sslv3",
    "tlsv1",
    "tlsv1_1",
    "tlsv1_2",
    "tlsv1_3",
    "elliptic_curves",
    "compression",
    "early_data",
    "ems",
    "fallback",
    "heartbleed",
    "openssl_ccs",
    "reneg",
    "resum",
    "robot",
];

/// sslyze 6, which `tests/setup` installs, against the defaults.
#[test]
fn a_scanner_finds_nothing_weak() {
    let authority = Authority::new();
    let gateway = folder(&authority, &[("one", LOCAL)], ONE, "").start(&RUN);
    let report = gateway.folder.path("report.json");
    let mut scan = Command::new(tests_path(".cache/venv/tls/bin/python"));
    // Mozilla's advice for servers that others than the newest browsers ask.
    scan.args(["-m", "sslyze", "--mozilla_config", "intermediate", "--certinfo_ca_file"]).arg(authority.certificate());
    scan.args(SCANS.map(|name| format!("--{name}"))).arg("--json_out").arg(&report).arg(gateway.listen().to_string());
    let done = scan.output().expect("tests/setup has installed it");
    let text = fs::read_to_string(&report).unwrap_or_default();
    let report: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&done.stderr)));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let scanned = &report["server_scan_results"][0];
    assert_eq!(scanned["scan_status"], "COMPLETED", "{scanned}");
    let result = |name: &str| {
        let attempt = &scanned["scan_result"][name];
        assert_eq!(attempt["status"], "COMPLETED", "{name}: {attempt}");
        &attempt["result"]
    };
    for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert_eq!(result(&format!("{old}_cipher_suites"))["accepted_cipher_suites"], json!([]), "{old}");
    }
    let mut ciphers = Vec::new();
    for new in ["tls_1_2", "tls_1_3"] {
        let name = format!("{new}_cipher_suites");
        let accepted = result(&name)["accepted_cipher_suites"].as_array().expect("a list");
        assert!(!accepted.is_empty(), "{new}");
        ciphers.extend(accepted.iter().map(|suite| suite["cipher_suite"]["name"].as_str().expect("a name").to_owned()));
    }
    let is_strong = |name: &String| {
        let has_secrecy = name.starts_with("TLS_ECDHE_") || !name.contains("_WITH_");
        has_secrecy && (name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_"))
    };
    assert!(ciphers.iter().all(is_strong), "{ciphers:?}");
    let curves = result("elliptic_curves")["supported_curves"].as_array().expect("a list");
    let curves: Vec<_> = curves.iter().map(|curve| curve["name"].as_str().expect("a name")).collect();
    assert!(
        !curves.is_empty() && curves.iter().all(|name| ["X25519", "secp256r1", "secp384r1"].contains(name)),
        "{curves:?}"
    );
    for (name, pointer, wanted) in [
        ("heartbleed", "/is_vulnerable_to_heartbleed", json!(false)),
        ("openssl_ccs_injection", "/is_vulnerable_to_ccs_injection", json!(false)),
        ("tls_compression", "/supports_compression", json!(false)),
        ("tls_1_3_early_data", "/supports_early_data", json!(false)),
        ("tls_fallback_scsv", "/supports_fallback_scsv", json!(true)),
        ("session_renegotiation", "/is_vulnerable_to_client_renegotiation_dos", json!(false)),
        ("tls_extended_master_secret", "/supports_ems_extension", json!(true)),
    ] {
        assert_eq!(result(name).pointer(pointer), Some(&wanted), "{name}: {}", result(name));
    }
    let robot = result("robot")["robot_result"].as_str().expect("a word");
    assert!(robot.starts_with("NOT_VULNERABLE"), "{robot}");
}
