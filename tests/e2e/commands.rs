//! The commands that need no configuration: `demo` and `run --upstream`.

use serde_json::json;

use crate::harness::{
    agent::{PASSWORD, Sdk, USER},
    gateway::{Folder, GATEWAY_USER},
    http::Request,
    platform::{Call, Platform},
    process::Process,
    until,
};

#[test]
fn the_demo_plays_its_call_and_stops_when_it_is_told_to() {
    let folder = Folder::new("", &[]);
    let mut command = folder.command(&["demo"]);
    command.env("TMPDIR", folder.root.path());
    let mut demo = Process::start(command, folder.root.path());
    let said = until("the call is played", || {
        assert_eq!(demo.ended(), None, "{}{}", demo.stdout(), demo.stderr());
        Some(demo.stdout()).filter(|said| said.contains("tail -f"))
    });
    for expected in [
        "POST /bank → 200",
        "150.00",
        r#"→ 403 {"error":"forbidden"}"#,
        r#"call 11:    → 200 {"response":"You've made too many requests. Please wait a moment."}"#,
        "curl -u 'signalwire:",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    // The curl line works as it stands.
    let line = said.lines().find(|line| line.trim().starts_with("curl -u")).expect("it tells how to try");
    let (credentials, url) = line.split_once("'").and_then(|(_, rest)| rest.split_once("' ")).expect("it is quoted");
    let (user, password) = credentials.split_once(':').expect("a user and a password");
    let answer = Request::get(url.trim()).with_user(user, password).send();
    assert!(answer.text().contains("gw_token="), "{}", answer.text());
    demo.signal("TERM");
    assert_eq!(demo.exit().code(), Some(0), "{}", demo.stderr());
}

#[test]
fn one_flag_protects_an_agent_under_the_default_policy() {
    for sdk in Sdk::ALL {
        let agent = sdk.start();
        let folder = Folder::new("", &[]);
        let (listen, admin) = (folder.listen.to_string(), folder.admin.to_string());
        let upstream = format!("http://{USER}:{PASSWORD}@{}/bank", agent.address);
        let arguments = ["run", "--upstream", &upstream, "--listen", &listen, "--admin", &admin];
        let gateway = folder.start_told(&arguments, &[("SWML_BASIC_AUTH_PASSWORD", "")]);
        let password = until("the password is shown", || {
            let said = gateway.process.stdout();
            said.lines().find(|line| line.contains("password ")).and_then(|l| l.rsplit(' ').next().map(str::to_owned))
        });
        let platform = gateway.platform().with_user(GATEWAY_USER, &password);
        let call = Call::new();
        let document = platform.fetch(&call);
        assert!(!document.text.contains(PASSWORD) && !document.text.contains(&agent.address.port().to_string()));
        let ask = || Platform::call_function(&document, &call, "get_balance", &json!({ "account": "1" })).response();
        let answered = (0..11).filter(|_| ask() == "Balance of 1 is $150.00").count();
        assert_eq!((answered, agent.ran(&call, "get_balance")), (10, 10), "{sdk:?}");
        assert!(!gateway.process.stderr().contains(PASSWORD), "{sdk:?}");
    }
}

#[test]
fn a_url_that_is_no_agents_is_an_error_without_the_password_in_it() {
    let folder = Folder::new("", &[]);
    for url in ["ftp://u:s3cret-password@127.0.0.1/", "http://u:s3cret-password@/", "u:s3cret-password"] {
        let (code, _, told) = folder.run_to_the_end(&["run", "--upstream", url]);
        assert_eq!(code, Some(1), "{url}: {told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    let (code, _, told) = folder.run_to_the_end(&["run", "--upstream", "http://127.0.0.1:1/", "--listen", "0.0.0.0:1"]);
    assert_eq!((code, told.contains("loopback")), (Some(1), true), "{told}");
}

#[test]
fn the_schemas_are_printed_as_they_are_shipped() {
    let folder = Folder::new("", &[]);
    for file in ["policy", "gateway"] {
        let shipped = format!("{}/../../policies/schema/{file}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let (code, printed, _) = folder.run_to_the_end(&["schema", file]);
        assert_eq!((code, printed), (Some(0), std::fs::read_to_string(shipped).expect("it is shipped")));
    }
}
