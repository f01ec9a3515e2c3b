//! Addresses, in every way in which they can be read.

use std::borrow::Cow;

/// The longest address that is read, in bytes.
const MAX_ADDRESS: usize = 512;

/// An address that could be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A number, as each of those that it may be dialled as: `+` and digits, or up to six digits.
    Number(Vec<String>),
    /// A SIP URI.
    Sip(Sip),
    /// An address of the platform's own, in lower case.
    Resource(String),
    /// A queue or a stream, with its scheme, in lower case.
    Other(String),
}

/// Whom a SIP URI names (RFC 3261, 19.1), in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sip {
    /// Without escapes, parameters and password; empty, if there is none.
    pub(super) user: String,
    /// Without a port.
    pub(super) host: String,
    /// What the user may be dialled as, if it is a number.
    pub(super) numbers: Vec<String>,
    /// Whether the user is a number of which nobody can say what it is dialled as.
    pub(super) hides_number: bool,
}

/// What people write between the digits of a number.
pub(super) fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '-' | '.' | '(' | ')')
}

/// A number without separators: an optional `+`, and 3 to 15 digits (E.164).
pub fn normal_number(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|c| !is_separator(*c)).collect();
    let digits = plain.strip_prefix('+').unwrap_or(&plain);
    let is_number = (3..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(plain)
}

/// What a number may be dialled as; `None` if that can't be said.
fn readings(text: &str) -> Option<Vec<String>> {
    // A prefix for international calls comes on top of the fifteen digits.
    let plain: String = text.chars().filter(|c| !is_separator(*c)).collect();
    let dialled_abroad = ["011", "00"].iter().find_map(|prefix| plain.strip_prefix(prefix));
    if let Some(digits) = dialled_abroad {
        return global(digits).map(|number| vec![number]);
    }
    let plain = normal_number(&plain)?;
    if let Some(digits) = plain.strip_prefix('+') {
        return global(digits).map(|number| vec![number]);
    }
    if plain.len() <= super::MAX_SHORT {
        return Some(vec![plain]);
    }
    let mut numbers = vec![global(&plain)?];
    // Ten digits may be a number of North America without its country code.
    if plain.len() == 10 && !plain.starts_with('1') {
        numbers.push(format!("+1{plain}"));
    }
    Some(numbers)
}

/// A number with its country code. None begins with zero, and no area code of North America with zero or one.
fn global(digits: &str) -> Option<String> {
    let is_code = !digits.starts_with('0') && !digits.starts_with("10") && !digits.starts_with("11");
    let is_number = (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    (is_code && is_number).then(|| format!("+{digits}"))
}

/// A host in lower case, without a dot at its end; `None` if it isn't plain.
pub(super) fn host(text: &str) -> Option<String> {
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_plain = match in_brackets {
        Some(address) => address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    let has_labels = in_brackets.is_some() || host.split('.').all(|label| !label.is_empty());
    (!host.is_empty() && is_plain && has_labels).then_some(host)
}

/// A path that is read in one way, in lower case.
pub(super) fn resource(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'+' | b'@' | b'~');
    let is_path = text.len() > 1 && text.starts_with('/') && text.bytes().all(plain);
    let has_steps = text.split('/').skip(1).all(|step| !matches!(step, "" | "." | ".."));
    (is_path && has_steps).then(|| text.to_ascii_lowercase())
}

/// What the platform connects a call to besides (PROTOCOL.md, 3.6): a queue, or a stream of its sound.
const OTHERS: [&str; 4] = ["queue", "stream", "ws", "wss"];

/// A scheme and what stands behind it, in lower case: `queue:sales`. None of it may separate several addresses.
pub(super) fn other(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let is_known = OTHERS.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b',' | b';' | b'|' | b'"' | b'<' | b'>' | b'\\');
    (is_known && !rest.is_empty() && rest.bytes().all(plain)).then(|| text.to_ascii_lowercase())
}

// === impl Address ===

impl Address {
    /// Reads an address, as an agent writes it into a document or the platform into a call.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ');
        if text.len() > MAX_ADDRESS {
            return None;
        }
        let after = |scheme: &str| {
            let (head, rest) = text.split_at_checked(scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then_some(rest)
        };
        if let Some(uri) = after("sips:").or_else(|| after("sip:")) {
            return Sip::read(uri).map(Address::Sip);
        }
        if let Some(number) = after("tel:") {
            let (number, parameters) = number.split_once(';').unwrap_or((number, ""));
            // What a context makes of a number, nobody has to know here (RFC 3966, 5.1.5).
            let is_whole = !parameters.to_ascii_lowercase().contains("phone-context");
            return is_whole.then(|| readings(number)).flatten().map(Address::Number);
        }
        match text.starts_with('/') {
            true => resource(text).map(Address::Resource),
            false => readings(text).map(Address::Number).or_else(|| other(text).map(Address::Other)),
        }
    }
}

// === impl Sip ===

impl Sip {
    /// Reads what stands behind `sip:`.
    fn read(uri: &str) -> Option<Self> {
        // Headers of a URI become headers of the request: a route among them leads elsewhere.
        let (address, parameters) = match uri.split_once('@') {
            Some((_, rest)) if rest.contains(['@', '?']) => return None,
            Some((user, rest)) => {
                let (host, parameters) = rest.split_once(';').unwrap_or((rest, ""));
                ((user, host), parameters)
            }
            None if uri.contains('?') => return None,
            None => {
                let (host, parameters) = uri.split_once(';').unwrap_or((uri, ""));
                (("", host), parameters)
            }
        };
        let leads_elsewhere = |parameter: &str| {
            let name = parameter.split('=').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case("maddr") || name.contains('%')
        };
        if parameters.split(';').any(leads_elsewhere) {
            return None;
        }
        let (user, of_host) = address;
        let user = user_of(user)?;
        let host = host(without_port(of_host)?)?;
        let is_dialled = user.bytes().any(|b| b.is_ascii_digit())
            && user.chars().all(|c| c.is_ascii_digit() || is_separator(c) || matches!(c, '+' | '*' | '#'));
        let numbers = is_dialled.then(|| readings(&user)).flatten();
        let hides_number = is_dialled && numbers.is_none();
        Some(Self { user, host, numbers: numbers.unwrap_or_default(), hides_number })
    }
}

/// The user without parameters and password. What is escaped must not be what would have had a meaning.
fn user_of(text: &str) -> Option<String> {
    let name = text.split([';', ':']).next().unwrap_or_default();
    let decoded = unescaped(name)?;
    let is_plain =
        decoded.bytes().all(|b| b.is_ascii_graphic()) && !decoded.contains(['@', ':', ';', '?', '<', '>', '%']);
    (is_plain && !name.contains('/')).then(|| decoded.to_ascii_lowercase())
}

fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn without_port(host: &str) -> Option<&str> {
    let ends =
        if host.starts_with('[') { host.find(']').map(|at| at + 1)? } else { host.find(':').unwrap_or(host.len()) };
    let (host, port) = host.split_at_checked(ends)?;
    let is_port = port.strip_prefix(':').is_none_or(|port| port.parse::<u16>().is_ok());
    (is_port && (port.is_empty() || port.starts_with(':'))).then_some(host)
}
