//! Points in time, always handed in by the caller.

use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// A wait in whole seconds, as `Retry-After` tells it: rather too long than too short.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl Timestamp {
    /// Whole seconds since the epoch, as tokens carry them; saturates in the year 2106.
    pub fn unix_seconds(self) -> u32 {
        u32::try_from(self.0 / 1000).unwrap_or(u32::MAX)
    }

    /// The second that lies `span` after this one, rounded down; saturates in the year 2106.
    pub fn unix_seconds_after(self, span: Duration) -> u32 {
        let span = u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
        self.unix_seconds().saturating_add(span)
    }
}
