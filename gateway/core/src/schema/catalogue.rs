//! The schemas that agents published, by their digests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{MAX_LEARNED, Schema};

/// Schemas by the first eight bytes of the SHA-256 of their canonical JSON, as tokens carry them (`token::Claims`).
///
/// It is bounded: when it is full, the one goes that was not asked for longest. A schema that went is learned again with
/// the next document that holds it; until then nothing is known of it.
#[derive(Debug)]
pub struct Catalogue {
    most: usize,
    most_bytes: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_digest: HashMap<[u8; 8], Entry>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    /// The size of what was learned; the compiled form has some ten times as much.
    bytes: usize,
    used: u64,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// As it was published; compiled when it is first asked for.
    Text(Arc<[u8]>),
    Compiled(Arc<Schema>),
    /// It can't be compiled.
    Unknown,
}

impl Catalogue {
    /// An empty catalogue of at most so many schemas, whose texts have at most so many bytes together.
    pub fn new(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, entries: Mutex::default() }
    }

    /// Remembers what an agent published. `text` makes its canonical JSON, of which `digest` is made. Of one that is known
    /// already, only that it is in use is noted; larger ones than [`MAX_LEARNED`] take no room.
    pub fn learn(&self, digest: [u8; 8], text: impl FnOnce() -> Vec<u8>) {
        let mut entries = self.entries();
        if digest == [0; 8] || entries.touch(digest).is_some() {
            return;
        }
        let text = text();
        let too_large = text.len() > MAX_LEARNED;
        let bytes = if too_large { 0 } else { text.len() };
        if self.most == 0 || bytes > self.most_bytes {
            return;
        }
        while entries.by_digest.len() >= self.most || entries.bytes + bytes > self.most_bytes {
            entries.forget_longest_unused();
        }
        let state = if too_large { State::Unknown } else { State::Text(text.into()) };
        entries.insert(digest, bytes, state);
    }

    /// The schema of this digest; `None` if it isn't known, or can't be compiled. The first to ask compiles it.
    pub fn find(&self, digest: [u8; 8]) -> Option<Arc<Schema>> {
        let found = self.entries().touch(digest).cloned();
        match found? {
            State::Compiled(schema) => Some(schema),
            State::Unknown => None,
            State::Text(text) => {
                // Others may compile it meanwhile; it comes to the same.
                let schema = serde_json::from_slice(&text).ok().and_then(|value| Schema::learned(&value).ok());
                let schema = schema.map(Arc::new);
                self.entries().compiled(digest, schema.clone());
                schema
            }
        }
    }

    /// How many schemas are known.
    pub fn len(&self) -> usize {
        self.entries().by_digest.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // No entry is ever half written.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// An entry's state, and that it was asked for now.
    fn touch(&mut self, digest: [u8; 8]) -> Option<&State> {
        let entry = self.by_digest.get_mut(&digest)?;
        self.clock += 1;
        entry.used = self.clock;
        Some(&entry.state)
    }

    fn insert(&mut self, digest: [u8; 8], bytes: usize, state: State) {
        self.clock += 1;
        self.bytes += bytes;
        self.by_digest.insert(digest, Entry { bytes, used: self.clock, state });
    }

    fn compiled(&mut self, digest: [u8; 8], schema: Option<Arc<Schema>>) {
        if let Some(entry) = self.by_digest.get_mut(&digest) {
            entry.state = schema.map_or(State::Unknown, State::Compiled);
        }
    }

    fn forget_longest_unused(&mut self) {
        let longest = self.by_digest.iter().min_by_key(|(_, entry)| entry.used).map(|(digest, _)| *digest);
        if let Some(entry) = longest.and_then(|digest| self.by_digest.remove(&digest)) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }
}
