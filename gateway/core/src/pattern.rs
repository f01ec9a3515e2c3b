//! Patterns of addresses: who may call, and where calls may be sent.
//!
//! A number can be written in many ways, and the platform dials what it takes it for. So what is denied is denied in every
//! way that it can be read, and what is allowed must be allowed in all of them; what can't be read at all is refused
//! wherever there is a list.

mod address;
mod glob;

use std::str::FromStr;

pub use address::normal_number;
use address::{Address, Sip, host, is_separator};
use glob::Glob;

use crate::yaml::quoted;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 256;

/// The longest number that is dialled as it is, without a country code: 911, or a short code for text messages.
const MAX_SHORT: usize = 6;

/// The word for callers that can't be told from others.
const UNIDENTIFIED: &str = "unidentified";

/// A pattern of addresses. `?` stands for one character, `*` for any number of them; case never counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressPattern {
    /// `*`: every address that can be read, and callers without one.
    Any,
    /// `unidentified`: a caller without a number.
    Unidentified,
    /// `+1900*`: a number of E.164, with its plus.
    Number(Glob),
    /// `911`: a number of up to six digits, as it is.
    Short(Glob),
    /// `sip:*@example.com`: user and host. Ports and most parameters don't count.
    Sip(Glob, Glob),
    /// `/private/*`: an address of the platform's own.
    Resource(Glob),
    /// `queue:*`, `stream:wss://media.example.com/*`: a queue, or a stream, as it is written.
    Other(Glob),
}

/// Which addresses are let pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// If it lists anything, all else is refused.
    pub allow: Vec<AddressPattern>,
    /// What is refused, also if it is allowed.
    pub deny: Vec<AddressPattern>,
}

/// A text that is no pattern of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAPattern(String);

// === impl Access ===

impl Access {
    /// Whether it lists nothing, so that everything passes.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether an address passes: a number, a SIP or `tel:` URI, an address of the platform's, a queue or a stream.
    pub fn admits(&self, address: &str) -> bool {
        self.is_empty() || Address::read(address).is_some_and(|address| self.admits_read(&address))
    }

    /// Whether a caller passes, of whom the number is known or not.
    pub fn admits_caller(&self, number: Option<&str>) -> bool {
        if let Some(number) = number {
            return self.admits(number);
        }
        let names = |list: &[AddressPattern]| {
            list.iter().any(|pattern| matches!(pattern, AddressPattern::Unidentified | AddressPattern::Any))
        };
        !names(&self.deny) && (self.allow.is_empty() || names(&self.allow))
    }

    fn admits_read(&self, address: &Address) -> bool {
        let denied = self.deny.iter().any(|pattern| pattern.denies(address));
        !denied && (self.allow.is_empty() || self.allows(address))
    }

    fn allows(&self, address: &Address) -> bool {
        let any = |matches: &dyn Fn(&AddressPattern) -> bool| self.allow.iter().any(matches);
        match address {
            Address::Number(readings) => readings.iter().all(|number| any(&|pattern| pattern.is_of_number(number))),
            // Whose host it is decides what a number means there: only a SIP pattern allows it.
            Address::Sip(sip) => any(&|pattern| pattern.is_of_sip(sip)),
            Address::Resource(path) => any(&|pattern| pattern.is_of_resource(path)),
            Address::Other(text) => any(&|pattern| pattern.is_of_other(text)),
        }
    }
}

// === impl AddressPattern ===

impl AddressPattern {
    /// Reads a pattern of callers.
    ///
    /// # Errors
    /// [`NotAPattern`], with what to write.
    pub fn of_callers(text: &str) -> Result<Self, NotAPattern> {
        if text == UNIDENTIFIED { Ok(Self::Unidentified) } else { text.parse() }
    }

    fn denies(&self, address: &Address) -> bool {
        match address {
            Address::Number(readings) => readings.iter().any(|number| self.is_of_number(number)),
            Address::Sip(sip) => self.is_of_sip(sip) || self.denies_number_of(sip),
            Address::Resource(path) => self.is_of_resource(path),
            Address::Other(text) => self.is_of_other(text),
        }
    }

    /// A number that is dialled through a SIP host is dialled all the same; one that can't be read may be any.
    fn denies_number_of(&self, sip: &Sip) -> bool {
        let is_of_numbers = matches!(self, Self::Number(_) | Self::Short(_));
        is_of_numbers && (sip.hides_number || sip.numbers.iter().any(|number| self.is_of_number(number)))
    }

    fn is_of_number(&self, number: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Number(glob) => number.strip_prefix('+').is_some_and(|digits| glob.matches(digits)),
            Self::Short(glob) => !number.starts_with('+') && glob.matches(number),
            Self::Unidentified | Self::Sip(..) | Self::Resource(_) | Self::Other(_) => false,
        }
    }

    fn is_of_sip(&self, sip: &Sip) -> bool {
        match self {
            Self::Any => true,
            Self::Sip(user, host) => user.matches(&sip.user) && host.matches(&sip.host),
            Self::Unidentified | Self::Number(_) | Self::Short(_) | Self::Resource(_) | Self::Other(_) => false,
        }
    }

    fn is_of_resource(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Resource(glob) => glob.matches(path),
            Self::Unidentified | Self::Number(_) | Self::Short(_) | Self::Sip(..) | Self::Other(_) => false,
        }
    }

    fn is_of_other(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Other(glob) => glob.matches(text),
            Self::Unidentified | Self::Number(_) | Self::Short(_) | Self::Sip(..) | Self::Resource(_) => false,
        }
    }
}

impl FromStr for AddressPattern {
    type Err = NotAPattern;

    /// Reads a pattern of destinations.
    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let wrong = |advice: &str| Err(NotAPattern(format!("{}: {advice}", quoted(text))));
        let folded = text.to_ascii_lowercase();
        if text.len() > MAX_PATTERN || !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
            wrong("a pattern has up to 256 visible ASCII characters")
        } else if text == "*" {
            Ok(Self::Any)
        } else if text == UNIDENTIFIED {
            wrong("only callers can be unidentified")
        } else if let Some(number) = text.strip_prefix('+') {
            of_number(number).map_or_else(|| wrong("behind the plus are digits, `?` and `*`"), Ok)
        } else if let Some(uri) = folded.strip_prefix("sip:").or_else(|| folded.strip_prefix("sips:")) {
            of_sip(uri).map_or_else(|| wrong("write user and host, like `sip:*@example.com`, and no more"), Ok)
        } else if folded.starts_with("tel:") {
            wrong("write the number alone, like `+1900*`")
        } else if text.starts_with('/') {
            of_resource(&folded).map_or_else(|| wrong("write a path like `/private/*`, without `..` and `%`"), Ok)
        } else if address::other(&folded).is_some() {
            Ok(Self::Other(Glob::new(&folded)))
        } else if is_digits(text, MAX_SHORT) {
            Ok(Self::Short(Glob::new(text)))
        } else if is_digits(&text.replace(['*', ' ', '-', '.', '(', ')'], ""), usize::MAX) {
            wrong("write numbers with their country code, like `+1900*`")
        } else {
            wrong("write a number like `+1900*`, a SIP address like `sip:*@example.com`, or a path like `/private/*`")
        }
    }
}

fn of_number(text: &str) -> Option<AddressPattern> {
    let digits: String = text.chars().filter(|c| !is_separator(*c)).collect();
    let is_pattern = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'?' | b'*'));
    is_pattern.then(|| AddressPattern::Number(Glob::new(&digits)))
}

fn is_digits(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'?')
}

fn of_sip(uri: &str) -> Option<AddressPattern> {
    let (user, of_host) = uri.split_once('@').unwrap_or(("", uri));
    let plain = |text: &str| !text.contains([':', ';', '@', '%', ' ', '<', '>', '"', '/']);
    // A host with wildcards is one, once they are letters.
    let is_host = of_host.starts_with('[') || (plain(of_host) && host(&of_host.replace(['*', '?'], "a")).is_some());
    (plain(user) && is_host)
        .then(|| AddressPattern::Sip(Glob::new(user), Glob::new(of_host.strip_suffix('.').unwrap_or(of_host))))
}

fn of_resource(text: &str) -> Option<AddressPattern> {
    (address::resource(&text.replace(['*', '?'], "a")).is_some()).then(|| AddressPattern::Resource(Glob::new(text)))
}

#[cfg(test)]
mod tests;
