//! The wall around the crate that decides: no dependency and no line of it does I/O, reads the clock or makes randomness.
//! And the floors of both crates: a module sees only those below its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Crates that must not be linked, by the start of their names, and why.
const DENIED: &[(&str, &[&str])] = &[
    ("an async runtime", &["tokio", "async-std", "smol", "async-io", "mio", "polling", "futures-executor", "pingora"]),
    ("sockets", &["socket2", "hyper", "h2", "reqwest", "ureq", "rustls", "native-tls", "openssl", "hickory"]),
    (
        "files and the system",
        &["notify", "memmap", "tempfile", "walkdir", "libc", "nix", "rustix", "windows-sys", "redb"],
    ),
    ("randomness", &["getrandom", "rand", "fastrand", "uuid", "ahash"]),
    ("the clock", &["chrono", "quanta", "web-time", "coarsetime", "time"]),
    ("threads and logs", &["rayon", "crossbeam", "tracing", "log", "env_logger"]),
];

/// A library whose own dependencies are not looked at, and why none of them is the core's: `jsonschema` seeds its hash tables
/// (`ahash`, `getrandom`), by which nothing is decided. What of it could fetch a schema is a feature that stays off.
const PRUNED: &str = "jsonschema";

/// Features of it with which it reads files or asks servers.
const FETCHING: [&str; 5] = ["default", "resolve-", "reqwest", "tls-", "tokio"];

/// What the standard library has of all that, and the ways of other crates to the clock.
const DENIED_WORDS: &[&str] = &[
    "std::fs",
    "std::env::",
    "std::process",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "SystemTime",
    "Instant::now",
    "::now()",
    "TimeZone::system",
    "RandomState::new",
    "std::io::stdin",
    "println!",
    "OnceLock",
    "LazyLock",
    "thread_local!",
    "static mut",
];

#[test]
fn no_dependency_does_io() {
    let tree = tree(&["-e", "normal", "--prune", PRUNED]);
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"jiter") && names.contains(&"hmac"), "this is not the tree of this crate: {tree}");
    let why = |name: &str| {
        let matches = |denied: &&str| {
            name == *denied || name.strip_prefix(denied).is_some_and(|rest| rest.starts_with(['-', '_']))
        };
        DENIED.iter().find(|(_, crates)| crates.iter().any(matches)).map(|(why, _)| *why)
    };
    let broken: Vec<_> = names.iter().filter_map(|name| Some((*name, why(name)?))).collect();
    assert!(broken.is_empty(), "swaigate-core must not depend on {broken:?}");
}

#[test]
fn schemas_are_not_fetched() {
    let tree = tree(&["--workspace", "-e", "features", "--all-features", "-f", "{p} [{f}]", "-i", PRUNED]);
    let features = tree.lines().next().and_then(|line| line.split_once('[')).expect("the library and its features").1;
    let fetching = FETCHING.iter().find(|fetching| features.contains(**fetching));
    assert_eq!(fetching, None, "{tree}");
}

#[test]
fn no_line_does_io() {
    for (path, text) in sources(&core()) {
        for (number, line) in code(&text).lines().enumerate() {
            let found = DENIED_WORDS.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "{}:{}: {}: {line}", path.display(), number + 1, found.unwrap_or(&""));
        }
    }
}

#[test]
fn modules_see_only_the_floors_below() {
    for folder in [core(), proxy()] {
        let floors = floors(&folder);
        for (path, text) in sources(&folder) {
            let Some(own) = module_of(&folder, &path) else { continue };
            let floor = floors.get(own.as_str()).unwrap_or_else(|| panic!("`{own}` is on no floor of lib.rs"));
            for used in used_modules(&code(&text), &floors) {
                let below = floors[used.as_str()] < *floor;
                assert!(
                    own == used || below,
                    "{}: `{own}` is on floor {floor} and must not see `{used}`",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_module_is_on_a_floor() {
    for folder in [core(), proxy()] {
        let lib = lib(&folder);
        let declared: Vec<&str> =
            lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
        let floors = floors(&folder);
        assert_eq!(declared.len(), floors.len(), "{declared:?} and {floors:?}");
        assert!(declared.iter().all(|module| floors.contains_key(*module)), "{declared:?} and {floors:?}");
    }
}

#[test]
fn pingora_is_where_lib_rs_says() {
    let lib = lib(&proxy());
    let sentence = lib.lines().find_map(|line| line.strip_prefix("//! Pingora's types appear in "));
    let allowed: Vec<&str> = sentence.expect("the sentence").split('`').skip(1).step_by(2).collect();
    for (path, text) in sources(&proxy()) {
        let Some(module) = module_of(&proxy(), &path) else { continue };
        let code = code(&text);
        let uses =
            ["pingora::", "pingora_core::", "pingora_http::", "pingora_proxy::"].iter().any(|c| code.contains(c));
        assert!(!uses || allowed.contains(&module.as_str()), "{}: Pingora is not for `{module}`", path.display());
    }
}

// === the sources ===

/// What `cargo tree` says of this crate.
fn tree(arguments: &[&str]) -> String {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let common =
        ["tree", "-p", "swaigate-core", "--prefix", "none", "--locked", "--offline", "--manifest-path", manifest];
    let output = Command::new(env!("CARGO")).args(common).args(arguments).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn core() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn proxy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/src")
}

fn lib(folder: &Path) -> String {
    fs::read_to_string(folder.join("lib.rs")).expect("lib.rs")
}

/// All files but those of tests.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_tests = path.file_stem().is_some_and(|name| name == "tests");
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests {
                let text = fs::read_to_string(&path).expect("UTF-8");
                files.push((path, text));
            }
        }
    }
    assert!(files.len() > 20, "these are not the sources");
    files
}

/// The code without comments and without the tests at the end of the file.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The top-level module that a file belongs to.
fn module_of(folder: &Path, path: &Path) -> Option<String> {
    let inside = path.strip_prefix(folder).ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(module, "lib" | "main")).then(|| module.to_owned())
}

/// The table in lib.rs: module, floor.
fn floors(folder: &Path) -> BTreeMap<String, u32> {
    let lib = lib(folder);
    let mut floors = BTreeMap::new();
    for row in lib.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let mut cells = row.split(" | ");
        let Some(Ok(floor)) = cells.next().map(str::parse::<u32>) else { continue };
        let names = cells.next().unwrap_or_default().split(", ");
        floors.extend(names.map(|name| (name.trim_matches(['[', ']', '`']).to_owned(), floor)));
    }
    assert!(floors.len() > 10, "no table of floors in lib.rs");
    floors
}

/// The modules of this crate that a file names, as `crate::name` or within `use crate::{…}`.
fn used_modules(code: &str, floors: &BTreeMap<String, u32>) -> Vec<String> {
    let mut used = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => top_level(list),
            None => vec![rest],
        };
        let word = |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
        used.extend(names.into_iter().filter_map(word).filter(|name| floors.contains_key(name)));
    }
    used
}

/// The items of a list in braces, without what is in the braces within it.
fn top_level(list: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(list[start..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

#[test]
fn the_test_of_floors_sees_what_is_used() {
    let floors = floors(&core());
    let used =
        used_modules("use crate::{\n    id::{A, B},\n    token::Kind,\n};\nfn f() { crate::route::find() }", &floors);
    assert_eq!(used, ["id", "token", "route"]);
}
