use std::{fs, os::unix::fs::PermissionsExt};

use swaigate_core::{keys::MacKey, secret::Secret};

use super::*;
use crate::settings::{
    load,
    tests::{Folder, LISTEN},
};

fn seed() -> Seed {
    Seed { process_key: MacKey::new(b"process"), generated_password: Secret::new("generated") }
}

const POLICY: &str = "upstream: { url: http://127.0.0.1:3000 }\nplatform: { users: [{ username: a, password_file: ../password.txt }] }\n";

#[test]
fn policies_are_the_yaml_files_of_the_folder_by_name() {
    let policy = |name: &str| format!("agent: {name}\nmatch: {{ path: /{name} }}\n{POLICY}");
    let folder = Folder::new(&[
        ("password.txt", "a password of some length\r\n"),
        ("p/gateway.yaml", &format!("{LISTEN}policies: .\n")),
        ("p/b.yml", &policy("b")),
        ("p/a.yaml", &policy("a")),
        ("p/.hidden.yaml", "wrong"),
        ("p/README.md", "wrong"),
        ("p/below/c.yaml", "wrong"),
        ("p/c.yaml/file", "wrong"),
    ]);
    let settings = load(&folder.path("p/gateway.yaml")).unwrap();
    let loaded = load_policies(&settings, &seed()).unwrap();
    assert_eq!(loaded.agents.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(loaded.found.notes, [] as [String; 0]);

    fs::set_permissions(folder.path("password.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    let notes = load_policies(&settings, &seed()).unwrap().found.notes;
    assert!(!notes.is_empty() && notes[0].contains("every user of this machine can read it"), "{notes:?}");
}

#[test]
fn mistakes_of_all_policies_come_at_once() {
    let folder = Folder::new(&[
        ("gateway.yaml", &format!("{LISTEN}bodies: {{ budget: 1MiB }}\n")),
        ("policies/a.yaml", "agent: a"),
        ("policies/b.yaml", "agent: b\nupstream: { url: http://b }\n"),
        (
            "policies/c.yaml",
            "agent: c\nupstream: { url: http://c, username: x, password_env: SWAIGATE_TEST_UNSET }\nlimit: []",
        ),
        (
            "policies/d.yaml",
            "agent: d\nupstream: { url: http://d }\nbodies: { callback: 1MiB, response: 1MiB }\nexpose: [{ path: /a, body: 2MiB }]",
        ),
        (
            "policies/e.yaml",
            "agent: e\nupstream: { url: http://e }\nbodies: { callback: 1MiB, response: 1MiB }\nexpose: [{ path: /a, authentication: agent, body: 256KiB, limits: [{ per: address, allow: 1, every: 1s }] }]",
        ),
    ]);
    let settings = folder.load().unwrap();
    assert_eq!(
        folder.words(&load_policies(&settings, &seed()).unwrap_err()),
        [
            "policies/a.yaml:1:1: `upstream` is missing",
            "policies/b.yaml:1:1: `bodies` allows 16777216 bytes, more than the 1048576 that gateway.yaml's `bodies.budget` has for all",
            "policies/c.yaml:2:41: `password_env`: the environment variable `SWAIGATE_TEST_UNSET` is not set",
            "policies/c.yaml:3:1: unknown key `limit`; did you mean `limits`?",
            "policies/d.yaml:1:1: an exposed path's `body` allows 2097152 bytes, more than the 1048576 that gateway.yaml's `bodies.budget` has for all",
            "policies/e.yaml:1:1: a `body` with `authentication: agent` allows 262144 bytes, more than the 131072 that gateway.yaml's `bodies.budget` has for all",
        ]
    );
}

#[test]
fn a_folder_without_policies_is_a_mistake() {
    let folder = Folder::new(&[("gateway.yaml", LISTEN), ("policies/README.md", "")]);
    let settings = folder.load().unwrap();
    let mistakes = folder.words(&load_policies(&settings, &seed()).unwrap_err());
    assert_eq!(mistakes, ["policies:1:1: no policy is here; each agent needs a file like `bank.yaml`"]);
    fs::remove_dir_all(&settings.policies).unwrap();
    assert!(
        load_policies(&settings, &seed()).unwrap_err()[0]
            .message
            .starts_with("the folder of the policies can't be read")
    );
}
