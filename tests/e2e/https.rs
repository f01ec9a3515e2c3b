//! Agents that are asked by TLS.

use std::{net::TcpStream, path::Path, process::Command};

use crate::harness::{
    free_address,
    gateway::{Folder, Policy},
    platform::Call,
    process::{Process, guarded},
    until,
};

/// A certificate for 127.0.0.1, signed by nobody else, and its key.
fn certificate(folder: &Path) {
    let arguments = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=agent -keyout key.pem -out cert.pem \
                     -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    let made = Command::new("openssl").args(arguments.split_whitespace()).current_dir(folder).output();
    assert!(made.expect("openssl is installed").status.success());
}

#[test]
fn an_agent_is_believed_by_its_certificate_alone() {
    let (there, address) = (tempfile::tempdir().expect("a folder can be made"), free_address());
    certificate(there.path());
    let mut server = guarded("openssl");
    let arguments = format!("s_server -quiet -www -accept {address} -cert cert.pem -key key.pem");
    server.args(arguments.split_whitespace()).current_dir(there.path());
    let _server = Process::start(server, there.path());
    until("the agent listens", || TcpStream::connect(address).ok());
    let known = there.path().join("cert.pem");
    for (env, reason) in [(None, "agent_unreachable"), (Some(("SSL_CERT_FILE", known)), "answer_slow")] {
        let env: Vec<_> = env.iter().map(|(name, path)| (*name, path.to_str().expect("a path in ASCII"))).collect();
        let folder = Folder::new("", &[&Policy::of(address).by_https().timeouts("{ answer: 1s }")]);
        let gateway = folder.start_told(&["run", "--config", "gateway.yaml"], &env);
        let answer = gateway.platform().fetch_request("", &Call::new()).send();
        assert_eq!(gateway.reason_of(&answer), reason, "it has nothing to say, to whoever takes its certificate");
    }
}
