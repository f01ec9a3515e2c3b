//! Strict JSON that remembers where everything stood.
//!
//! The gateway checks what another parser will read, so nothing may be read two ways: a document with a key twice in one
//! object, with more depth than [`MAX_DEPTH`], with bytes that are not UTF-8 or with anything behind its end is refused
//! (PROTOCOL.md, 4.6). Each value keeps its place in the text: what is changed is changed there, by [`Edits`], and all
//! other bytes stay as they were, so numbers, key order, escapes and unknown keys keep their meaning.
//!
//! The lexing is `jiter`'s.

use std::{borrow::Cow, collections::HashSet, ops::Range};

use jiter::{Jiter, JiterError, Peek};

/// How deep arrays and objects may be nested.
pub const MAX_DEPTH: usize = 64;

/// A JSON value and the place where it stood in its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Node<'t> {
    /// Byte offsets in the text, quotes and brackets included.
    pub span: Range<usize>,
    /// What it is.
    pub value: Value<'t>,
}

/// What a JSON value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'t> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number, as it was written.
    Number(&'t str),
    /// A string, unescaped.
    String(Cow<'t, str>),
    /// An array.
    Array(Vec<Node<'t>>),
    /// An object, in the order it was written; no key occurs twice.
    Object(Vec<Member<'t>>),
}

/// One key and value of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Member<'t> {
    /// The key, unescaped.
    pub key: Cow<'t, str>,
    /// Where the key's opening quote stood.
    pub start: usize,
    /// The value.
    pub node: Node<'t>,
}

/// Why a text is not JSON that the gateway vouches for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// It is not JSON.
    #[error("{what} at byte {at}")]
    Malformed {
        /// What the lexer says.
        what: String,
        /// Where.
        at: usize,
    },
    /// One object has a key twice: two parsers may see two values.
    #[error("a key occurs twice in one object, at byte {at}")]
    DuplicateKey {
        /// Where the second one stands.
        at: usize,
    },
    /// It is nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// Changes to a text, by place. What they do not touch stays as it is, byte for byte.
#[derive(Debug, Default)]
pub struct Edits {
    edits: Vec<(Range<usize>, String)>,
}

/// Two edits of one text touch the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("two edits touch the same place")]
pub struct Overlap;

/// Reads a whole text as one JSON value.
///
/// # Errors
/// [`JsonError`], for anything that another parser could read otherwise.
pub fn parse(bytes: &[u8]) -> Result<Node<'_>, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let mut reader = Reader { text, lexer: Jiter::new(bytes) };
    let peek = reader.lexer.peek().map_err(malformed)?;
    let node = reader.value(peek, 0)?;
    reader.lexer.finish().map_err(malformed)?;
    Ok(node)
}

/// A string as JSON writes it, with its quotes.
pub fn quote(text: &str) -> String {
    // Serialising a str can't fail: there is no map key to refuse and no writer to break.
    serde_json::to_string(text).unwrap_or_default()
}

fn write_quoted(text: &str, out: &mut Vec<u8>) {
    // Writing a str to memory can't fail either.
    let _ = serde_json::to_writer(out, text);
}

// === impl Node ===

impl<'t> Node<'t> {
    /// The value under a key, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Node<'t>> {
        self.member(key).map(|member| &member.node)
    }

    /// The member under a key, if this is an object that has it.
    pub fn member(&self, key: &str) -> Option<&Member<'t>> {
        self.members().iter().find(|member| member.key == key)
    }

    /// The members, if this is an object; else none.
    pub fn members(&self) -> &[Member<'t>] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The items, if this is an array; else none.
    pub fn items(&self) -> &[Node<'t>] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The string under a key.
    pub fn str_at(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// What a JSON pointer (RFC 6901) names within this value.
    pub fn at_pointer(&self, pointer: &str) -> Option<&Node<'t>> {
        if pointer.is_empty() {
            return Some(self);
        }
        let steps = pointer.strip_prefix('/')?.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
        steps.into_iter().try_fold(self, |node, step| match &node.value {
            Value::Array(items) => {
                // No leading zeros, and no `-`, which names what isn't there yet.
                let is_index = step == "0" || (!step.starts_with('0') && step.bytes().all(|b| b.is_ascii_digit()));
                items.get(step.parse::<usize>().ok().filter(|_| is_index)?)
            }
            _ => node.get(&step),
        })
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        matches!(self.value, Value::Object(_))
    }

    /// The value as UTF-8 with the keys of each object in order and no white space: equal for values that another parser
    /// wrote out again, as long as it left the numbers alone.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_canonical(&mut out);
        out
    }

    /// The places in the text of an array's items, or of an object's members with their keys.
    pub fn part_spans(&self) -> Vec<Range<usize>> {
        match &self.value {
            Value::Array(items) => items.iter().map(|item| item.span.clone()).collect(),
            Value::Object(members) => members.iter().map(|member| member.start..member.node.span.end).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    }

    fn write_canonical(&self, out: &mut Vec<u8>) {
        match &self.value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Number(number) => out.extend_from_slice(number.as_bytes()),
            Value::String(text) => write_quoted(text, out),
            Value::Array(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write_canonical(out);
                }
                out.push(b']');
            }
            Value::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_by(|a, b| a.key.cmp(&b.key));
                out.push(b'{');
                for (i, member) in sorted.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    write_quoted(&member.key, out);
                    out.push(b':');
                    member.node.write_canonical(out);
                }
                out.push(b'}');
            }
        }
    }

    /// Whether two values mean the same: objects regardless of order, numbers regardless of how they are written.
    pub fn means(&self, other: &Node<'_>) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => same_number(a, b),
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.means(b)),
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|m| other.get(&m.key).is_some_and(|node| m.node.means(node)))
            }
            (
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
                _,
            ) => false,
        }
    }
}

// === impl Edits ===

impl Edits {
    /// Puts a text in place of what stands at `span`.
    pub fn replace(&mut self, span: Range<usize>, with: impl Into<String>) {
        self.edits.push((span, with.into()));
    }

    /// Adds a member at the front of an object. `value` is JSON. Of an object that may be empty, all at once:
    /// [`Edits::insert_members`].
    pub fn insert_member(&mut self, object: &Node<'_>, key: &str, value: &str) {
        self.insert_members(object, &[(key, value)]);
    }

    /// Adds members at the front of an object. Their values are JSON.
    pub fn insert_members(&mut self, object: &Node<'_>, members: &[(&str, &str)]) {
        let mut added: Vec<_> = members.iter().map(|(key, value)| format!("{}:{value}", quote(key))).collect();
        if !object.members().is_empty() {
            added.push(String::new());
        }
        let at = object.span.start + 1;
        self.edits.push((at..at, added.join(",")));
    }

    /// Adds an item at an array's front. It is JSON. `is_alone`: nothing else is left of the array.
    pub fn insert_first(&mut self, array: &Node<'_>, item: &str, is_alone: bool) {
        let comma = if array.items().is_empty() || is_alone { "" } else { "," };
        let at = array.span.start + 1;
        self.edits.push((at..at, format!("{item}{comma}")));
    }

    /// Adds items at an array's end. They are JSON.
    pub fn insert_last(&mut self, array: &Node<'_>, items: &[String]) {
        let comma = if array.items().is_empty() { "" } else { "," };
        let at = array.span.end - 1;
        self.edits.push((at..at, format!("{comma}{}", items.join(","))));
    }

    /// Adds text at a string's end.
    pub fn append_text(&mut self, string: &Node<'_>, text: &str) {
        let quoted = quote(text);
        let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
        let at = string.span.end - 1;
        self.edits.push((at..at, inner.to_owned()));
    }

    /// Takes those members out of an object for which `remove` says so, with the commas that go with them.
    pub fn remove_members(&mut self, object: &Node<'_>, remove: impl Fn(&str) -> bool) {
        let members = object.members();
        let spans = object.part_spans();
        self.remove_listed(&spans, |i| members.get(i).is_some_and(|member| remove(&member.key)));
    }

    /// Takes items out of an array, or members out of an object, with the commas that go with them. `places` are theirs,
    /// in ascending order.
    pub fn remove_places(&mut self, around: &Node<'_>, places: &[usize]) {
        let spans = around.part_spans();
        self.remove_listed(&spans, |i| places.binary_search(&i).is_ok());
    }

    /// Forgets all edits that touch one of these spans, which are in ascending order and apart.
    pub fn forget_within(&mut self, spans: &[Range<usize>]) {
        self.edits.retain(|(span, _)| {
            let next = spans.partition_point(|gone| gone.end <= span.start);
            spans.get(next).is_none_or(|gone| span.end <= gone.start)
        });
    }

    /// `spans` are those of all that is listed between two brackets.
    fn remove_listed(&mut self, spans: &[Range<usize>], remove: impl Fn(usize) -> bool) {
        let mut kept_before = false;
        for (i, listed) in spans.iter().enumerate() {
            if !remove(i) {
                kept_before = true;
                continue;
            }
            // Behind one that is kept, the comma before goes; at the front, all up to the next one goes.
            let previous = i.checked_sub(1).and_then(|p| spans.get(p));
            let span = match (kept_before, previous, spans.get(i + 1)) {
                (true, Some(previous), _) => previous.end..listed.end,
                (_, _, Some(next)) => listed.start..next.start,
                (_, _, None) => listed.clone(),
            };
            self.edits.push((span, String::new()));
        }
    }

    /// Gives a member of an object another key.
    pub fn rename(&mut self, text: &str, member: &Member<'_>, key: &str) {
        let written = text.get(member.start..member.node.span.start).unwrap_or_default();
        // Between a key and its value there is nothing but white space and one colon.
        let length = written.trim_end().trim_end_matches(':').trim_end().len();
        self.edits.push((member.start..member.start + length, quote(key)));
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The text with all edits made. One that is asked for twice is made once.
    ///
    /// # Errors
    /// [`Overlap`] if two touch the same place: what they would make is nobody's intent.
    pub fn apply(self, text: &str) -> Result<String, Overlap> {
        self.apply_within(text, 0..text.len())
    }

    /// The part of the text at `span`, with all edits made. They lie within it.
    ///
    /// # Errors
    /// [`Overlap`] if two touch the same place, or one touches another part.
    pub fn apply_within(mut self, text: &str, span: Range<usize>) -> Result<String, Overlap> {
        self.edits.sort_by_key(|(span, _)| (span.start, span.end));
        self.edits.dedup();
        let added: usize = self.edits.iter().map(|(_, with)| with.len()).sum();
        let mut out = String::with_capacity(span.len() + added);
        let mut done = span.start;
        for (place, with) in &self.edits {
            out.push_str(text.get(done..place.start).ok_or(Overlap)?);
            out.push_str(with);
            done = place.end;
        }
        out.push_str(text.get(done..span.end).ok_or(Overlap)?);
        Ok(out)
    }
}

// === reading ===

struct Reader<'t> {
    text: &'t str,
    lexer: Jiter<'t>,
}

impl<'t> Reader<'t> {
    fn value(&mut self, peek: Peek, depth: usize) -> Result<Node<'t>, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        let start = self.lexer.current_index();
        let value = match peek {
            Peek::Null => {
                self.lexer.known_null().map_err(malformed)?;
                Value::Null
            }
            Peek::True | Peek::False => Value::Bool(self.lexer.known_bool(peek).map_err(malformed)?),
            Peek::String => {
                let text = self.lexer.known_str().map_err(malformed)?.len();
                Value::String(self.string(start, text)?)
            }
            Peek::Array => Value::Array(self.array(depth)?),
            Peek::Object => Value::Object(self.object(depth)?),
            number => {
                self.lexer.known_number_bytes(number).map_err(malformed)?;
                Value::Number(self.slice(start, self.lexer.current_index()))
            }
        };
        Ok(Node { span: start..self.lexer.current_index(), value })
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Node<'t>>, JsonError> {
        let mut items = Vec::new();
        let mut next = self.lexer.known_array().map_err(malformed)?;
        while let Some(peek) = next {
            items.push(self.value(peek, depth + 1)?);
            next = self.lexer.array_step().map_err(malformed)?;
        }
        Ok(items)
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Member<'t>>, JsonError> {
        // A body of the platform's has some thirty members, what lies within has few.
        let mut members: Vec<Member<'t>> = Vec::with_capacity(if depth == 0 { 32 } else { 4 });
        let mut searched_from = self.lexer.current_index() + 1;
        let mut next = self.lexer.known_object().map_err(malformed)?.map(str::len);
        while let Some(decoded_len) = next {
            let start = self.key_start(searched_from);
            let key = self.string(start, decoded_len)?;
            let peek = self.lexer.peek().map_err(malformed)?;
            let node = self.value(peek, depth + 1)?;
            members.push(Member { key, start, node });
            searched_from = self.lexer.current_index();
            next = self.lexer.next_key().map_err(malformed)?.map(str::len);
        }
        refuse_duplicates(&members)?;
        Ok(members)
    }

    /// Where the next key's opening quote stands: only white space and a comma may come before it.
    fn key_start(&self, from: usize) -> usize {
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        from + rest.iter().position(|&b| b == b'"').unwrap_or_default()
    }

    /// The string whose opening quote is at `start`. `decoded_len` tells whether it holds escapes: each makes the
    /// written form longer than what it stands for.
    fn string(&self, start: usize, decoded_len: usize) -> Result<Cow<'t, str>, JsonError> {
        let plain = self.slice(start + 1, start + 1 + decoded_len);
        let closes = self.text.as_bytes().get(start + 1 + decoded_len) == Some(&b'"');
        if closes && plain.len() == decoded_len && !plain.contains('\\') {
            return Ok(Cow::Borrowed(plain));
        }
        let bytes = self.text.as_bytes().get(start..).unwrap_or_default();
        Jiter::new(bytes).next_str().map(|text| Cow::Owned(text.to_owned())).map_err(malformed)
    }

    fn slice(&self, start: usize, end: usize) -> &'t str {
        self.text.get(start..end).unwrap_or_default()
    }
}

fn malformed(error: JiterError) -> JsonError {
    JsonError::Malformed { what: error.error_type.to_string(), at: error.index }
}

fn refuse_duplicates(members: &[Member<'_>]) -> Result<(), JsonError> {
    /// Up to this many members, comparing each with each is cheaper than a set.
    const FEW: usize = 12;
    let twin = if members.len() <= FEW {
        let known = |i: usize, key: &str| members.iter().take(i).any(|other| other.key == key);
        members.iter().enumerate().find(|(i, member)| known(*i, &member.key)).map(|(_, member)| member)
    } else {
        let mut seen = HashSet::with_capacity(members.len());
        members.iter().find(|member| !seen.insert(member.key.as_ref()))
    };
    twin.map_or(Ok(()), |member| Err(JsonError::DuplicateKey { at: member.start }))
}

fn same_number(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (a.parse::<i128>(), b.parse::<i128>()) {
        (Ok(a), Ok(b)) => a == b,
        // Both sides were printed from one value by the platform, so equal doubles are the same number. Integers that a
        // double can't hold are not compared as doubles.
        (Err(_), _) | (_, Err(_)) => match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a.is_finite() && a.abs() < 9_007_199_254_740_992.0 && a == b,
            (Err(_), _) | (_, Err(_)) => false,
        },
    }
}

#[cfg(test)]
mod tests;
