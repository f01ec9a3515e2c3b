//! Each key has a test that fails if the key is ignored: `tests/keys.yaml` names it. What is checked here is that the list
//! is whole, and that the tests are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use swaigate::schema::Schema;

use crate::schema;

/// Key to test, for each of the files.
type Table = BTreeMap<String, BTreeMap<String, String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn table() -> Table {
    let text = fs::read_to_string(root().join("tests/keys.yaml")).expect("the table is there");
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("tests/keys.yaml: {error}"))
}

/// Keys that say something themselves: those with keys below them are nothing without these.
fn leaves(keys: &BTreeSet<String>) -> BTreeSet<String> {
    let has_more = |key: &String| {
        let below = keys.range(format!("{key}.")..).next();
        let in_a_list = keys.range(format!("{key}[")..).next();
        [(below, '.'), (in_a_list, '[')].into_iter().any(|(next, separator)| {
            next.is_some_and(|next| next.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with(separator)))
        })
    };
    keys.iter().filter(|key| !has_more(key)).cloned().collect()
}

#[test]
fn each_key_has_its_test() {
    let table = table();
    for (name, schema) in [("policy", Schema::Policy), ("gateway", Schema::Gateway)] {
        let keys = schema::keys(schema);
        let listed: BTreeSet<String> = table[name].keys().cloned().collect();
        let missing: Vec<_> = leaves(&keys).difference(&listed).cloned().collect();
        assert!(missing.is_empty(), "{name}: no test is named for {missing:#?}");
        let unknown: Vec<_> = listed.difference(&keys).collect();
        assert!(unknown.is_empty(), "{name}: there are no such keys: {unknown:#?}");
    }
    assert_eq!(table.len(), 2);
}

#[test]
fn each_test_that_is_named_is_there() {
    let mut sources = BTreeMap::new();
    for (key, test) in table().into_values().flatten() {
        let (file, function) = test.split_once("::").map_or((test.as_str(), None), |(file, name)| (file, Some(name)));
        let is_case = file.starts_with("tests/golden/") && file.ends_with(".yaml");
        let is_source = file.ends_with(".rs") && (file.starts_with("tests/e2e/") || file.starts_with("gateway/"));
        assert!(is_case && function.is_none() || is_source && function.is_some(), "{key}: {test}");
        let text = sources.entry(file.to_owned()).or_insert_with(|| fs::read_to_string(root().join(file)).ok());
        let text = text.as_ref().unwrap_or_else(|| panic!("{key}: {file} is not there"));
        if let Some(function) = function {
            let is_there =
                text.split("#[test]").skip(1).any(|after| after.trim_start().starts_with(&format!("fn {function}(")));
            assert!(is_there, "{key}: {file} has no test `{function}`");
            let is_table = file == "gateway/core/tests/keys.rs";
            assert!(!is_table || text.contains(&format!("\"{key}\"")), "{key}: {file} has no row of that name");
        }
    }
}

#[test]
fn keys_with_more_below_them_need_no_test_of_their_own() {
    let keys = ["a", "a.b", "a_c", "d", "d[].e"].map(str::to_owned).into();
    assert_eq!(leaves(&keys), ["a.b", "a_c", "d[].e"].map(str::to_owned).into());
}
