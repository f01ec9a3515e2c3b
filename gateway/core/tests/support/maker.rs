//! Random documents of a JSON Schema, with URLs of all sorts wherever a text may stand.

use proptest::{
    prelude::{Rng, RngExt},
    test_runner::{RngAlgorithm, TestRng},
};
use serde_json::{Map, Value, json};

/// How deep documents get: beyond it, only what the schema requires is made, and a little further on nothing.
const DEEP: usize = 18;
const DEEPEST: usize = 30;

/// The origins under which the agent of world `bank` knows itself, some with its credentials in them as SDKs write them.
const ORIGINS: [&str; 8] = [
    "http://127.0.0.1:3000",
    "http://bank-user:s3cr3t%2Fp@ss@127.0.0.1:3000",
    "http://bank-user:s3cr3t%2Fp%40ss@localhost:3000",
    "HTTP://LocalHost:3000",
    "http://0.0.0.0:3000",
    "https://old-name.example.com",
    "https://signalwire:of-before@agents.example.com",
    "https://agents.example.com",
];

const PATHS: [&str; 7] = [
    "/bank/swaig/?__token=abc%3D%3D&lang=",
    "/bank/swaig",
    "/bank/post_prompt/",
    "/bank/debug_events",
    "/bank/x?a=1&b=%2F&a=2",
    "/files/hold.wav",
    "/bank",
];

const OTHERS: [&str; 8] = [
    "https://elsewhere.example.net/hook?x=http",
    "http://127.0.0.1:4000/bank/swaig",
    "${vars.base}/bank/swaig",
    "https://%{host}/swaig",
    "say:Hello there",
    "silence:2",
    "sip:someone@example.net",
    "wss://media.example.net/stream",
];

/// Keys that name a place of a URL.
const PLACES: [&str; 14] = [
    "url", "dest", "transfer", "webhook", "_file", "confirm", "callback", "media", "play", "uri", "ringback",
    "document", "music", "bridge",
];

/// Makes documents.
pub(crate) struct Maker<'s> {
    schema: &'s Value,
    random: TestRng,
}

impl<'s> Maker<'s> {
    pub(crate) fn new(schema: &'s Value, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self { schema, random: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes) }
    }

    /// A document.
    pub(crate) fn document(&mut self) -> Value {
        self.value(self.schema, "", 0)
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.random.random_ratio(1, count)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = self.random.random_range(0..from.len());
        &from[place]
    }

    fn value(&mut self, schema: &Value, key: &str, depth: usize) -> Value {
        if depth > DEEPEST {
            return Value::Null;
        }
        if let Some(name) = schema["$ref"].as_str() {
            let definition = self.schema.pointer(name.trim_start_matches('#')).expect("a definition");
            let made = self.value(definition, key, depth + 1);
            return self.in_a_string_now_and_then(key, made);
        }
        if !schema["const"].is_null() {
            return schema["const"].clone();
        }
        if let Some(values) = schema["enum"].as_array() {
            return self.pick(values).clone();
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(schemas) = schema[choice].as_array() {
                // What is deep takes the plainest way out.
                let chosen = if depth > DEEP { &schemas[schemas.len() - 1] } else { self.choice(schemas) };
                let made = self.value(chosen, key, depth + 1);
                return self.in_a_string_now_and_then(key, made);
            }
        }
        match schema["type"].as_str() {
            Some("object") => self.object(schema, depth),
            Some("array") => self.array(schema, key, depth),
            Some("string") => self.text(key),
            Some("integer") => json!(self.random.random_range(0..10_000)),
            Some("number") => json!(f64::from(self.random.random_range(0..10_000_u32)) / 8.0),
            Some("boolean") => json!(self.one_in(2)),
            Some("null") => Value::Null,
            _ => self.anything(key, depth),
        }
    }

    /// Of the verbs, those with functions come as often as all others.
    fn choice<'a>(&mut self, schemas: &'a [Value]) -> &'a Value {
        const WITH_FUNCTIONS: [&str; 3] = ["#/$defs/AI", "#/$defs/AmazonBedrock", "#/$defs/AiSidecar"];
        let has_functions =
            |schema: &&Value| schema["$ref"].as_str().is_some_and(|name| WITH_FUNCTIONS.contains(&name));
        let some: Vec<&'a Value> = schemas.iter().filter(has_functions).collect();
        if some.is_empty() || self.one_in(2) {
            return self.pick(schemas);
        }
        let place = self.random.random_range(0..some.len());
        some[place]
    }

    /// A document in an action may be a string of JSON.
    fn in_a_string_now_and_then(&mut self, key: &str, made: Value) -> Value {
        if key == "SWML" && made.is_object() && self.one_in(3) { Value::String(made.to_string()) } else { made }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut members = Map::new();
        for (key, of_key) in schema["properties"].as_object().into_iter().flatten() {
            let is_likely = depth <= DEEP && self.random.random_ratio(if is_place(key) { 3 } else { 2 }, 5);
            if required.contains(&key.as_str()) || is_likely {
                members.insert(key.clone(), self.value(of_key, key, depth + 1));
            }
        }
        if schema["properties"].is_null() || schema["additionalProperties"].is_object() {
            for number in 0..self.random.random_range(1..3) {
                let key = if number == 0 { "main".to_owned() } else { format!("key_{number}") };
                let more = &schema["additionalProperties"];
                let made =
                    if more.is_object() { self.value(more, &key, depth + 1) } else { self.anything(&key, depth + 1) };
                members.insert(key, made);
            }
        }
        if schema["properties"].get("web_hook_url").is_some() && self.one_in(3) {
            members.insert("web_hook_auth_user".into(), json!("bank-user"));
            members.insert("web_hook_auth_password".into(), json!("s3cr3t/p@ss"));
            // Where nobody lives at the gateway, the agent's credentials would have no business.
            let path = self.pick(&PATHS);
            members.insert("web_hook_url".into(), json!(format!("{}{path}", ORIGINS[0])));
        }
        Value::Object(members)
    }

    fn array(&mut self, schema: &Value, key: &str, depth: usize) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        let most = if depth > DEEP { least } else { least + 4 };
        let count = self.random.random_range(least..=most);
        (0..count).map(|_| self.value(&schema["items"], key, depth + 1)).collect()
    }

    fn text(&mut self, key: &str) -> Value {
        match self.random.random_range(0..20) {
            0..12 if is_place(key) => self.own(),
            12..18 if is_place(key) => json!(self.pick(&OTHERS)),
            0 => self.own(),
            1 => {
                let url = self.own();
                let url = url.as_str().unwrap_or_default();
                json!(format!("Look at {url}, then say \"yes\" or {url} again."))
            }
            2 => json!(self.pick(&OTHERS)),
            3 => json!("Grüße – 𝄞 \\ / \u{7f} <b>"),
            _ => json!(format!("word_{}", self.random.next_u32() % 100)),
        }
    }

    fn own(&mut self) -> Value {
        json!(format!("{}{}", self.pick(&ORIGINS), self.pick(&PATHS)))
    }

    fn anything(&mut self, key: &str, depth: usize) -> Value {
        match self.random.random_range(0..6) {
            0 if depth < DEEP => json!({ "url": self.text("url"), key: self.anything("note", depth + 1) }),
            1 if depth < DEEP => json!([self.text(key), self.anything("note", depth + 1)]),
            2 => json!(self.random.random_range(-5..5)),
            3 => Value::Null,
            _ => self.text(key),
        }
    }
}

fn is_place(key: &str) -> bool {
    PLACES.iter().any(|place| key.contains(place))
}
