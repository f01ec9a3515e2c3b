//! Where things stand in a file, for what is said of it after it was read.

use super::{
    Place,
    node::{self, Node, Value},
};

/// A file as a tree of keys, items and texts with their places.
#[derive(Debug)]
pub struct Outline(Option<Node>);

/// A text in a file, under its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The keys above it; items of lists by their number, from 0.
    pub path: Vec<String>,
    /// Where its key stands, or the text itself in a list.
    pub place: Place,
    /// The value, as text: words, numbers and `true` or `false`.
    pub text: String,
}

// === impl Outline ===

impl Outline {
    /// The outline of a text; an empty one, if it is no YAML.
    pub fn of(text: &str) -> Self {
        Self(node::parse(text).ok())
    }

    /// Where a key or an item stands: of those in the path the last that the file has.
    pub fn place(&self, path: &[&str]) -> Place {
        let mut place = Place::START;
        let mut node = self.0.as_ref();
        for step in path {
            let Some((next_place, next)) = node.and_then(|node| below(node, step)) else { break };
            (place, node) = (next_place, Some(next));
        }
        place
    }

    /// Whether the file has this.
    pub fn has(&self, path: &[&str]) -> bool {
        let root = self.0.as_ref();
        root.is_some_and(|root| path.iter().try_fold(root, |node, step| Some(below(node, step)?.1)).is_some())
    }

    /// All values that are neither mappings nor lists, in the order of the file.
    pub fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        if let Some(node) = &self.0 {
            collect(node, Place::START, &mut Vec::new(), &mut leaves);
        }
        leaves
    }
}

fn below<'n>(node: &'n Node, step: &str) -> Option<(Place, &'n Node)> {
    match &node.value {
        Value::Mapping(entries) => {
            entries.iter().find(|entry| entry.key == step).map(|entry| (entry.place, &entry.node))
        }
        Value::List(items) => items.get(step.parse::<usize>().ok()?).map(|item| (item.place, item)),
        _ => None,
    }
}

/// The depth is bounded by [`super::MAX_DEPTH`].
fn collect(node: &Node, place: Place, path: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    let text = match &node.value {
        Value::Mapping(entries) => {
            for entry in entries {
                path.push(entry.key.clone());
                collect(&entry.node, entry.place, path, leaves);
                path.pop();
            }
            return;
        }
        Value::List(items) => {
            for (number, item) in items.iter().enumerate() {
                path.push(number.to_string());
                collect(item, item.place, path, leaves);
                path.pop();
            }
            return;
        }
        Value::Null => return,
        Value::Bool(value) => value.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => text.clone(),
    };
    leaves.push(Leaf { path: path.clone(), place, text });
}
