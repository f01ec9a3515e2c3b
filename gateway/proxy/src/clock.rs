//! The one place that reads the clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use swaigate_core::time::Timestamp;

/// The time, by the system's clock. A clock before 1970 reads as 1970.
pub fn now() -> Timestamp {
    now_exactly().0
}

/// The time, and by how much it is past that.
pub fn now_exactly() -> (Timestamp, Duration) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    (now, Duration::from_nanos(u64::from(since.subsec_nanos() % 1_000_000)))
}

/// The time as RFC 3339 in UTC with milliseconds, as audit records have it.
pub fn rfc3339(at: Timestamp) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map(|at| format!("{at:.3}")).unwrap_or_default()
}

/// Reads what [`rfc3339`] writes.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(Timestamp(1_700_000_000_007)), "2023-11-14T22:13:20.007Z");
        assert_eq!(rfc3339(Timestamp(1_700_000_000_000)), "2023-11-14T22:13:20.000Z");
        assert_eq!(parse_rfc3339("2023-11-14T22:13:20.007Z"), Some(Timestamp(1_700_000_000_007)));
        assert_eq!(parse_rfc3339("yesterday"), None);
    }
}
