//! Cases from `tests/golden/init`: a document as an agent writes it, and the policy file that `swaigate init` makes of it.
//! Each file is compiled as it stands, with the variables that it names.

#[path = "support/world.rs"]
mod world;

use std::{collections::HashMap, fs, path::Path};

use serde::Deserialize;
use swaigate_core::{
    inventory::{AGENT_PASSWORD, AGENT_USER, Draft, Inventory, PLATFORM_PASSWORD},
    json,
    policy::{self, Policies},
    secret::Secret,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    /// The agent's URL, as `--upstream` gives it.
    #[serde(default = "bank")]
    upstream: String,
    #[serde(default)]
    serves_mcp: bool,
    /// What the agent says.
    document: String,
    /// The file that is written.
    file: String,
}

fn bank() -> String {
    "http://bank-user:s3cr3t%2Fp%40ss@127.0.0.1:3000/bank".to_owned()
}

#[test]
fn drafts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/init");
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the cases") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("UTF-8");
        let case: Case = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
        if let Err(failure) = check(&case) {
            failures.push(format!("{}: {}\n{failure}", path.display(), case.about));
        }
    }
    assert!(count > 4, "there are {count} cases");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn check(case: &Case) -> Result<(), String> {
    let agent = policy::compile_for_upstream(&case.upstream, &world::seed()).map_err(|error| format!("{error:?}"))?;
    let public = "https://agents.example.com".parse().map_err(|error| format!("{error}"))?;
    let policies = Policies::new(public, vec![agent], world::ring()).map_err(|mistakes| mistakes.join("\n"))?;
    let agent = &policies.agents()[0];
    let root = json::parse(case.document.as_bytes()).map_err(|error| error.to_string())?;
    let inventory = Inventory::of(&case.document, &root, &policies);
    let name = "bank".parse().map_err(|error| format!("{error}"))?;
    let draft = Draft { name: &name, agent, inventory: &inventory, serves_mcp: case.serves_mcp };
    let file = draft.file();
    if file != case.file {
        return Err(format!("expected:\n{}\nthere is:\n{file}", case.file));
    }
    is_a_policy(&file, agent)
}

/// The file means what the URL said, and none of the agent's words is more than a comment.
fn is_a_policy(file: &str, of_url: &policy::Agent) -> Result<(), String> {
    let credentials = of_url.upstream.credentials.as_ref();
    let user = credentials.map_or("", |credentials| &credentials.username);
    let password = credentials.map_or("", |credentials| credentials.password.expose_str().unwrap_or_default());
    let environment: HashMap<String, Secret> =
        [(AGENT_USER, user), (AGENT_PASSWORD, password), (PLATFORM_PASSWORD, world::PLATFORM_PASSWORD)]
            .map(|(name, value)| (name.to_owned(), Secret::new(value)))
            .into();
    let written = policy::compile("bank.yaml", file, &environment, &world::seed())
        .map_err(|mistakes| format!("{mistakes:#?}"))?;
    let place = |agent: &policy::Agent| {
        let policy::Upstream { https, host, port, path, credentials, .. } = &agent.upstream;
        let header = credentials.as_ref().map(|credentials| credentials.header.expose().to_vec());
        (agent.path.clone(), *https, host.clone(), *port, path.clone(), header)
    };
    if place(&written) != place(of_url) {
        return Err(format!("the file says {:?}, the URL {:?}", place(&written), place(of_url)));
    }
    let unsafe_line = file.lines().find(|line| line.chars().any(|c| c.is_control() || "\u{2028}\u{202e}".contains(c)));
    if let Some(line) = unsafe_line {
        return Err(format!("a terminal must not see {line:?}"));
    }
    let secrets = file.contains(password) && !password.is_empty();
    if secrets { Err("the agent's password is in the file".to_owned()) } else { Ok(()) }
}
