//! What the strict parser accepts, serde_json accepts too; and an edit leaves JSON behind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use swaigate_core::json::{self, Edits, Node, Value};

fuzz_target!(|bytes: &[u8]| {
    let Ok(root) = json::parse(bytes) else { return };
    let text = std::str::from_utf8(bytes).expect("accepted, so UTF-8");
    if !has_huge_number(&root) {
        serde_json::from_str::<serde_json::Value>(text).expect("accepted, so JSON");
    }
    let mut edits = Edits::default();
    edits.insert_member(&root, "added by the gateway", "1");
    edits.remove_members(&root, |key| key.len() % 2 == 1 && key != "added by the gateway");
    if root.members().iter().any(|member| member.key.len() % 2 == 0) {
        let edited = edits.apply(text).expect("no two edits touch one place");
        json::parse(edited.as_bytes()).expect("still JSON");
    }
});

/// serde_json refuses numbers beyond a double's range, which are JSON.
fn has_huge_number(node: &Node<'_>) -> bool {
    match &node.value {
        Value::Number(number) => number.parse::<f64>().is_ok_and(f64::is_infinite),
        Value::Array(items) => items.iter().any(has_huge_number),
        Value::Object(members) => members.iter().any(|member| has_huge_number(&member.node)),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}
