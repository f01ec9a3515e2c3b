//! How often functions may be called, and how many calls there may be.

use std::time::Duration;

/// A limit: GCRA with a burst of `burst` and one more each `every / allow`.
///
/// In any window `w` it lets through at most `burst + w * allow / every`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Whose requests are counted together.
    pub per: Per,
    /// How many in [`Limit::every`]; at least 1.
    pub allow: u32,
    /// In how long; at least 1 ms.
    pub every: Duration,
    /// How many at once; at least 1, `allow` unless the file says otherwise.
    pub burst: u32,
}

/// A limit, enforced or tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRule {
    /// The limit.
    pub limit: Limit,
    /// Whether it is in shadow: it counts, and refuses nothing.
    pub is_shadow: bool,
}

/// Whose requests a limit counts together: those that are equal in all of these. In none: all of the agent's.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Per {
    /// The remote party.
    pub caller: bool,
    /// The call.
    pub call: bool,
    /// The function.
    pub function: bool,
    /// The source address: an IPv4 address, or the first 64 bits of an IPv6 address.
    pub address: bool,
}

/// How many calls there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRules {
    /// How many may begin.
    pub limits: Vec<LimitRule>,
    /// How many a caller may have at once.
    pub concurrent_per_caller: Option<u32>,
    /// How many there may be at once.
    pub concurrent: Option<u32>,
    /// After how long without a request a call is over, for `concurrent` and `concurrent_per_caller`.
    pub idle: Duration,
    /// How long a call may last, as its document asks the platform to end it then.
    pub max_duration: Option<Duration>,
}

/// What a caller without a number of its own (withheld, SIP, WebRTC) is limited by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnidentifiedCallers {
    /// By the limits per call alone.
    PerCall,
    /// All of them together as if they were one caller.
    Shared,
}

// === impl Per ===

impl Per {
    /// Each caller's.
    pub const CALLER: Self = Self { caller: true, call: false, function: false, address: false };
    /// Each call's.
    pub const CALL: Self = Self { caller: false, call: true, function: false, address: false };
    /// Each address's.
    pub const ADDRESS: Self = Self { caller: false, call: false, function: false, address: true };

    /// Its parts as policies name them: `agent`, if there is none.
    pub fn names(self) -> Vec<&'static str> {
        let Self { caller, call, function, address } = self;
        let parts = [(caller, "caller"), (call, "call"), (function, "function"), (address, "address")];
        let named: Vec<_> = parts.into_iter().filter(|(is_part, _)| *is_part).map(|(_, name)| name).collect();
        if named.is_empty() { vec!["agent"] } else { named }
    }
}

// === impl CallRules ===

impl Default for CallRules {
    fn default() -> Self {
        Self {
            limits: Vec::new(),
            concurrent_per_caller: None,
            concurrent: None,
            idle: Duration::from_secs(3600),
            max_duration: None,
        }
    }
}
