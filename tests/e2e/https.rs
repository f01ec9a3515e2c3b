//! Agents that are asked by TLS: real ones, behind an nginx that speaks it.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
};

use tempfile::TempDir;

use crate::harness::{
    agent::{PASSWORD, Sdk, USER},
    free_address,
    gateway::{Folder, Gateway, Policy},
    pki::Authority,
    platform::{Call, Platform},
    process::{Process, guarded},
    until,
};

const RUN: [&str; 3] = ["run", "--config", "gateway.yaml"];

/// An agent that speaks TLS, with files of its own.
struct Front {
    address: SocketAddr,
    _folder: TempDir,
    _process: Process,
}

// === impl Front ===

impl Front {
    /// With a certificate for these names by this authority. What is added is nginx's.
    fn start(authority: &Authority, names: &str, more: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().expect("a folder can be made"), free_address());
        let here = folder.path();
        authority.issue(here, "agent", names);
        let agent = Sdk::Rust.shared().address;
        let work = here.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {work}/{name};\n"))
            .collect();
        let text = format!(
            "daemon off; master_process off; pid {work}/pid; error_log {work}/error.log;\nevents {{}}\n\
             http {{ access_log off;\n{temporary}server {{ listen {address} ssl;\n\
             ssl_certificate {work}/agent.crt; ssl_certificate_key {work}/agent.key;\n{more}\n\
             location / {{ proxy_pass http://{agent}; proxy_set_header X-Asked-As $ssl_server_name; }} }} }}\n"
        );
        fs::write(here.join("nginx.conf"), text).expect("the folder can be written");
        let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let mut nginx = guarded(program);
        nginx.arg("-e").arg(here.join("early.log")).arg("-c").arg(here.join("nginx.conf"));
        let mut process = Process::start(nginx, here);
        until("nginx listens", || {
            assert!(process.ended().is_none(), "{}", process.stderr());
            TcpStream::connect(address).ok()
        });
        Self { address, _folder: folder, _process: process }
    }

    /// A policy for it, with this about TLS.
    fn policy(&self, tls: &str) -> Policy {
        let agent = Sdk::Rust.shared().address;
        Policy::of(self.address).by_https().aliases(&format!("http://{agent}")).and_upstream(tls)
    }
}

/// A folder with the certificates of those who vouch.
fn folder(policy: &Policy, authorities: &[(&str, &Authority)]) -> Folder {
    let folder = Folder::new("", &[policy]);
    for (name, authority) in authorities {
        fs::copy(authority.certificate(), folder.path("policies").join(name)).expect("the folder can be written");
    }
    folder
}

/// How a call goes: `ok`, or why its document isn't there.
fn goes(gateway: &Gateway) -> String {
    let call = Call::new();
    let answer = gateway.platform().fetch_request("", &call).send();
    let reason = gateway.reason_of(&answer);
    if reason == "ok" {
        let document = gateway.platform().fetch(&call);
        let answer = Platform::call_function(&document, &call, "get_balance", &serde_json::json!({ "account": "7" }));
        assert_eq!(answer.response(), "Balance of 7 is $150.00");
    }
    reason
}

#[test]
fn an_agent_is_believed_by_those_whom_the_machine_trusts() {
    let authority = Authority::new();
    let front = Front::start(&authority, "IP:127.0.0.1", "");
    let known = authority.certificate().display().to_string();
    for (env, reason) in [(vec![], "agent_unreachable"), (vec![("SSL_CERT_FILE", known.as_str())], "ok")] {
        let gateway = folder(&front.policy(""), &[]).start_told(&RUN, &env);
        assert_eq!(goes(&gateway), reason);
    }
}

#[test]
fn an_agent_is_believed_by_those_whom_the_policy_names() {
    let (authority, other) = (Authority::new(), Authority::new());
    let front = Front::start(&authority, "IP:127.0.0.1", "");
    let named = Front::start(&authority, "DNS:agent.internal", "");
    let with = |front: &Front, tls: &str| {
        let folder = folder(&front.policy(tls), &[("ca.crt", &authority), ("other.crt", &other)]);
        goes(&folder.start(&RUN))
    };
    assert_eq!(with(&front, "tls: { ca: ca.crt }"), "ok");
    assert_eq!(with(&front, "tls: { ca: other.crt }"), "agent_unreachable");
    assert_eq!(with(&named, "tls: { ca: ca.crt }"), "agent_unreachable", "it is not the one at that address");
    assert_eq!(with(&named, "tls: { ca: ca.crt, server_name: agent.internal }"), "ok");
    assert_eq!(with(&front, "tls: { ca: ca.crt, server_name: agent.internal }"), "agent_unreachable");
}

#[test]
fn init_and_doctor_believe_whom_they_are_told_to() {
    let authority = Authority::new();
    let front = Front::start(&authority, "IP:127.0.0.1", "");
    let folder = folder(&front.policy(""), &[("ca.crt", &authority)]);
    fs::remove_file(folder.path("policies/bank.yaml")).expect("it was made");
    let url = format!("https://{USER}:{PASSWORD}@{}/bank", front.address);
    for command in ["init", "doctor"] {
        let ask = |more: &[&str]| folder.run_to_the_end(&[&[command, "--upstream", &url], more].concat());
        let (code, said, told) = ask(&[]);
        assert!(code != Some(0) && format!("{said}{told}").contains("UnknownIssuer"), "{command}: {said}{told}");
        let (_, said, told) = ask(&["--ca", "policies/ca.crt"]);
        let done = if command == "init" { "add `tls: { ca: … }`" } else { "credentials_in_document" };
        assert!(format!("{said}{told}").contains(done), "{command}: {said}{told}");
        let (code, _, told) = ask(&["--ca", "gateway.yaml"]);
        assert!(code != Some(0) && told.contains("it holds no certificate"), "{command}: {told}");
    }
}

#[test]
fn health_is_asked_for_by_the_same_tls() {
    let (authority, other) = (Authority::new(), Authority::new());
    let front = Front::start(&authority, "IP:127.0.0.1", "location /well { return 200 well; }");
    for (ca, result) in [("ca.crt", "ok"), ("other.crt", "failed")] {
        let policy = front
            .policy(&format!("tls: {{ ca: {ca} }}"))
            .and_upstream("health: { path: /well, every: 100ms, timeout: 100ms }");
        let folder = folder(&policy, &[("ca.crt", &authority), ("other.crt", &other)]);
        let gateway = folder.start(&RUN);
        let series = |result: &str| {
            format!("swaigate_health_checks_total{{agent=\"bank\",result=\"{result}\",server=\"{}\"}}", front.address)
        };
        until("its health is asked for", || (gateway.metric(&series(result)) > 1).then_some(()));
    }
}

#[test]
fn an_agent_may_ask_who_the_gateway_is() {
    let (authority, gateways) = (Authority::new(), Authority::new());
    let ca = gateways.certificate().display().to_string();
    let front =
        Front::start(&authority, "IP:127.0.0.1", &format!("ssl_verify_client on; ssl_client_certificate {ca};"));
    let own = "tls: { ca: ca.crt, certificate: own.crt, private_key: own.key }";
    let gateway = folder(&front.policy("tls: { ca: ca.crt }"), &[("ca.crt", &authority)]).start(&RUN);
    assert_eq!(goes(&gateway), "agent_status", "nginx answers 400 to whoever shows none");
    for (by, reason) in [(&gateways, "ok"), (&authority, "agent_status")] {
        let folder = folder(&front.policy(own), &[("ca.crt", &authority)]);
        by.issue(&folder.path("policies"), "own", "DNS:gateway");
        assert_eq!(goes(&folder.start(&RUN)), reason);
    }
}

#[test]
fn an_agent_that_nobody_vouches_for_is_asked_loudly() {
    let front = Front::start(&Authority::new(), "DNS:elsewhere", "");
    let gateway = folder(&front.policy("tls: { insecure_skip_verify: true }"), &[]).start(&RUN);
    assert_eq!(goes(&gateway), "ok");
    assert_eq!(gateway.metric("swaigate_upstream_unverified{agent=\"bank\"}"), 1);
    let warned = || gateway.process.stderr().matches("the agent's certificate is not looked at").count();
    assert_eq!(warned(), 1);
    gateway.process.signal("HUP");
    until("it is said again", || (warned() == 2).then_some(()));
    let (_, said, _) = gateway.folder.run_to_the_end(&["check"]);
    assert!(said.contains("`insecure_skip_verify` gives a protection up"), "{said}");
    gateway.folder.write_policy("bank", &front.policy("").yaml());
    gateway.wait_for_reloads("ok", 3);
    assert_eq!(goes(&gateway), "agent_unreachable", "no connection of before is used");
    assert_eq!(gateway.metric("swaigate_upstream_unverified{agent=\"bank\"}"), 0);
}

#[test]
fn a_page_may_say_itself_where_it_may_be_framed() {
    let framed = "add_header X-Frame-Options SAMEORIGIN always; add_header X-Content-Type-Options sniff always;";
    let pages = ["one", "two"].map(|name| format!("location /bank/{name} {{ {framed} return 200 page; }}\n"));
    let authority = Authority::new();
    let front = Front::start(&authority, "IP:127.0.0.1", &pages.concat());
    let expose = "expose:\n  - { path: /one, streaming: true, response_headers: [X-Frame-Options] }\n  \
                  - { path: /two, streaming: true }";
    let folder = folder(&front.policy("tls: { ca: ca.crt }").and(expose), &[("ca.crt", &authority)]);
    let gateway = folder.start(&RUN);
    for (page, framed) in [("one", "SAMEORIGIN"), ("two", "DENY")] {
        let answer = gateway.request("GET", &format!("/bank/{page}")).send();
        assert_eq!((answer.status, answer.text()), (200, "page"));
        assert_eq!(answer.header("x-frame-options"), Some(framed));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
}

#[test]
fn those_who_vouch_for_an_agent_are_read_again_when_they_change() {
    let (authority, other) = (Authority::new(), Authority::new());
    let front = Front::start(&authority, "IP:127.0.0.1", "");
    let gateway = folder(&front.policy("tls: { ca: trust/ca.crt }"), &[]);
    fs::create_dir(gateway.path("policies/trust")).expect("the folder can be written");
    let copy = |folder: &Folder, authority: &Authority| {
        let text = fs::read_to_string(authority.certificate()).expect("it was made");
        folder.write("policies/trust/ca.crt", &text);
    };
    copy(&gateway, &other);
    let gateway = gateway.start(&RUN);
    assert_eq!(goes(&gateway), "agent_unreachable");
    copy(&gateway.folder, &authority);
    gateway.wait_for_reloads("ok", 2);
    assert_eq!(goes(&gateway), "ok");
    gateway.folder.write("policies/trust/ca.crt", "nobody");
    gateway.wait_for_reloads("refused", 1);
    assert!(gateway.process.stderr().contains("the file `trust/ca.crt` can't be used"), "{}", gateway.process.stderr());
    assert_eq!(goes(&gateway), "ok");
    let keep = gateway
        .admin("/metrics")
        .text()
        .contains("swaigate_certificate_expiry_timestamp_seconds{file=\"policies/trust/ca.crt\"}");
    assert!(keep, "{}", gateway.admin("/metrics").text());
}
