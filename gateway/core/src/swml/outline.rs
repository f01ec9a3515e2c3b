//! What an agent's words do: verbs, AIs, places that calls and messages are sent to, lists of functions' names.
//!
//! Where [`Survey`](super::Survey) goes by keys alone, verbs are known by where they stand as well: `answer` and `set` are
//! words that data has too.

use super::{
    At,
    walk::{Context, holds_names, is_data},
};
use crate::{
    json::{Node, Value},
    verb,
};

/// What a document or an answer does.
#[derive(Debug, Default)]
pub struct Outline<'d> {
    /// Verbs, also of actions.
    pub verbs: Vec<Verb<'d>>,
    /// AIs.
    pub ais: Vec<Ai<'d>>,
    /// Prompts that take the place of an AI's own: the values of `context_switch`.
    pub switches: Vec<&'d Node<'d>>,
    /// Places to which calls or messages are sent.
    pub destinations: Vec<Destination<'d>>,
    /// Lists of functions' names.
    pub names: Vec<Names<'d>>,
}

/// A verb.
#[derive(Debug)]
pub struct Verb<'d> {
    /// Its name.
    pub name: &'static str,
    /// Its member of an object, or, for a word alone, its item of a list.
    pub at: At<'d>,
    /// What it is given; of a word alone, the word.
    pub value: &'d Node<'d>,
    /// Whether it is a word alone.
    pub is_word: bool,
}

/// An AI.
#[derive(Debug)]
pub struct Ai<'d> {
    /// What it is given.
    pub node: &'d Node<'d>,
    /// Whether it is Amazon's.
    pub is_bedrock: bool,
}

/// A place to which a call or a message is sent.
#[derive(Debug)]
pub struct Destination<'d> {
    /// The text, or what stands in its place.
    pub node: &'d Node<'d>,
    /// Its key.
    pub key: &'d str,
}

/// Functions' names: a list of them, one alone, or a list of what has them.
#[derive(Debug)]
pub struct Names<'d> {
    /// The value.
    pub node: &'d Node<'d>,
    /// Its own place.
    pub at: At<'d>,
    /// What for.
    pub of: NamesOf,
}

/// What functions are named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamesOf {
    /// Those that a step of a conversation, or a question, allows.
    Step,
    /// Those that are asked of another server.
    Include,
    /// The platform's own.
    Native,
    /// Those that are switched on or off.
    Toggle,
}

/// Looks through a document or an answer.
pub fn outline<'d>(root: &'d Node<'d>) -> Outline<'d> {
    let mut outline = Outline::default();
    outline.walk(root, Context::ROOT);
    outline
}

/// Whether the values of this key, in the object under `outer`, are verbs: lists of them, or one.
fn holds_verbs(key: &str, outer: &str) -> bool {
    matches!(outer, "sections" | "case")
        || matches!(
            key,
            "" | "SWML" | "action" | "then" | "else" | "default" | "on_return" | "confirm" | "transfer_after_bridge"
        )
}

/// Whether a call or a message is sent to what stands under this key.
fn is_destination(key: &str) -> bool {
    matches!(
        key,
        "to" | "to_number" | "to_uri" | "dest" | "execute" | "transfer" | "connect" | "sip_refer" | "send_sms"
    )
}

// === impl Outline ===

impl<'d> Outline<'d> {
    fn walk(&mut self, node: &'d Node<'d>, context: Context<'d>) {
        match &node.value {
            Value::Object(_) => self.object(node, context),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(place, item)| self.walk(item, context.of_item(node, place)));
            }
            Value::String(text) => {
                let is_item = context.at.around.is_some_and(|around| !around.is_object());
                if let Some(name) = verb::known(text).filter(|_| is_item && holds_verbs(context.key, context.outer)) {
                    self.verbs.push(Verb { name, at: context.at, value: node, is_word: true });
                } else if is_destination(context.key) && !matches!(text.as_ref(), "true" | "false") {
                    self.destinations.push(Destination { node, key: context.key });
                }
            }
            Value::Number(_) if is_destination(context.key) => {
                self.destinations.push(Destination { node, key: context.key });
            }
            Value::Number(_) | Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&mut self, node: &'d Node<'d>, context: Context<'d>) {
        let is_item = context.at.around.is_some_and(|around| !around.is_object());
        let holds_verbs = is_item || holds_verbs(context.key, context.outer);
        if context.key == "to" {
            self.destinations.push(Destination { node, key: context.key });
        }
        for (place, member) in node.members().iter().enumerate() {
            let (key, value) = (member.key.as_ref(), &member.node);
            let within = context.of_member(node, place, key, context.key);
            if let Some(name) = verb::known(key).filter(|name| holds_verbs && !is_flag(name, value)) {
                self.verbs.push(Verb { name, at: within.at, value, is_word: false });
            }
            match key {
                "ai" | "amazon_bedrock" if value.is_object() => {
                    self.ais.push(Ai { node: value, is_bedrock: key == "amazon_bedrock" });
                }
                "context_switch" => self.switches.push(value),
                "functions" if !value.items().iter().any(Node::is_object) => {
                    let of = if context.key == "includes" { NamesOf::Include } else { NamesOf::Step };
                    self.names.push(Names { node: value, at: within.at, of });
                    continue;
                }
                "native_functions" => self.names.push(Names { node: value, at: within.at, of: NamesOf::Native }),
                "toggle_functions" => self.names.push(Names { node: value, at: within.at, of: NamesOf::Toggle }),
                _ => {}
            }
            if !is_data(key, context.key) || holds_names(context.key) {
                self.walk(value, within);
            }
        }
    }
}

/// Beside SWML in an action, `transfer` says whether the AI ends (PROTOCOL.md, 3.4).
fn is_flag(name: &str, value: &Node<'_>) -> bool {
    name == "transfer" && (matches!(value.value, Value::Bool(_)) || matches!(value.as_str(), Some("true" | "false")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn verbs(document: &str) -> Vec<&'static str> {
        let root = json::parse(document.as_bytes()).unwrap();
        outline(&root).verbs.iter().map(|verb| verb.name).collect()
    }

    #[test]
    fn verbs_are_found_wherever_they_stand() {
        for (document, expected) in [
            (r#"{"sections":{"main":["hangup",{"tap":{}}],"other":[{"stream":{}}]}}"#, vec!["hangup", "tap", "stream"]),
            (r#"{"sections":{"main":{"tap":{}}}}"#, vec!["tap"]),
            (r#"{"sections":{"main":[{"answer":{},"tap":{}}]}}"#, vec!["answer", "tap"]),
            (r#"[{"cond":[{"when":"x","then":["tap"],"else":[{"pay":{}}]}]}]"#, vec!["cond", "tap", "pay"]),
            (r#"[{"switch":{"case":{"a":["tap"]},"default":["pay"]}}]"#, vec!["switch", "tap", "pay"]),
            (
                r#"[{"connect":{"confirm":["tap"],"result":{"case":{"x":[{"pay":{}}]}}}}]"#,
                vec!["connect", "tap", "pay"],
            ),
            (r#"[{"execute":{"dest":"x","on_return":["tap"]}}]"#, vec!["execute", "tap"]),
            (r#"{"action":[{"SWML":{"sections":{"main":[{"tap":{}}]}},"transfer":"true"}]}"#, vec!["tap"]),
            (r#"{"action":[{"transfer":"+1"},{"hangup":true}]}"#, vec!["transfer", "hangup"]),
            (r#"{"action":{"hangup":true}}"#, vec!["hangup"]),
            (r#"{"data_map":{"output":{"action":[{"SWML":{"sections":{"main":[{"pay":{}}]}}}]}}}"#, vec!["pay"]),
            (r#"{"sections":{"body":["tap"],"set":[{"pay":{}}]}}"#, vec!["tap", "pay"]),
            (r#"[{"switch":{"case":{"meta":["tap"]}}}]"#, vec!["switch", "tap"]),
        ] {
            assert_eq!(verbs(document), expected, "{document}");
        }
    }

    #[test]
    fn words_of_data_are_no_verbs() {
        for document in [
            r#"[{"ai":{"global_data":{"faq":[{"question":"q","answer":"a"}]},"hints":["record"]}}]"#,
            r#"{"contexts":{"default":{"steps":[{"functions":["transfer"],"valid_steps":["tap"]}]}}}"#,
            r#"[{"play":{"urls":["say:tap"]}}]"#,
            r#"{"data_map":{"webhooks":[{"params":{"steps":[{"tap":1}]}}]}}"#,
        ] {
            let others = verbs(document).into_iter().filter(|verb| !matches!(*verb, "ai" | "play"));
            assert_eq!(others.count(), 0, "{document}");
        }
    }

    #[test]
    fn destinations_are_found_in_every_form() {
        let destinations = |document: &str| -> Vec<(String, String)> {
            let root = json::parse(document.as_bytes()).unwrap();
            let found = outline(&root).destinations;
            found.iter().map(|d| (d.key.to_owned(), document[d.node.span.clone()].to_owned())).collect()
        };
        for (document, key, expected) in [
            (r#"[{"connect":{"to":"a"}}]"#, "to", "\"a\""),
            (r#"[{"connect":{"serial":[{"to":"a"}]}}]"#, "to", "\"a\""),
            (r#"[{"connect":{"parallel":[{"to":"a"}]}}]"#, "to", "\"a\""),
            (r#"[{"connect":{"serial_parallel":[[{"to":"a"}]]}}]"#, "to", "\"a\""),
            (r#"[{"connect":{"to":15551230000}}]"#, "to", "15551230000"),
            (r#"[{"connect":{"to":["a"]}}]"#, "to", "\"a\""),
            (r#"[{"connect":"a"}]"#, "connect", "\"a\""),
            (r#"{"sections":{"headers":[{"connect":{"to":"a"}}]}}"#, "to", "\"a\""),
            (r#"[{"send_sms":{"to_number":"a","from_number":"b"}}]"#, "to_number", "\"a\""),
            (r#"[{"sip_refer":{"to_uri":"a"}}]"#, "to_uri", "\"a\""),
            (r#"[{"transfer":{"dest":"a"}}]"#, "dest", "\"a\""),
            (r#"[{"execute_rpc":{"params":{"devices":{"params":{"to_number":"a"}}}}}]"#, "to_number", "\"a\""),
            (r#"{"action":[{"transfer":"a"}]}"#, "transfer", "\"a\""),
            (
                r#"{"action":[{"SWML":{},"transfer":"true"},{"transfer":{"dest":"a","summarize":true}}]}"#,
                "dest",
                "\"a\"",
            ),
        ] {
            assert_eq!(destinations(document), [(key.to_owned(), expected.to_owned())], "{document}");
        }
    }
}
