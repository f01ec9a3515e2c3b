//! What an emergency switch stops, and whom a lockout keeps out.

use super::judge::Moment;
use crate::{
    orders::{Lock, Orders},
    record::Facts,
    switches::Asked,
    verdict::Reason,
};

/// Refuses what a switch that is on now stops, and callers who are locked out, and notes which it was.
pub(super) fn check(orders: &Orders, asked: &Asked<'_>, moment: &Moment, facts: &mut Facts) -> Result<(), Reason> {
    if let Some(switch) = orders.switches.stops(asked, moment.now) {
        facts.switch = Some(switch.scope.to_string());
        return Err(Reason::Emergency);
    }
    keep_out(orders.locks.of_caller(asked.callers, moment.now), Reason::CallerLocked, facts)
}

/// Refuses whom a lockout keeps out.
pub(super) fn keep_out(lock: Option<&Lock>, reason: Reason, facts: &mut Facts) -> Result<(), Reason> {
    let Some(lock) = lock else { return Ok(()) };
    facts.lockout = Some(lock.subject.to_string());
    Err(reason)
}
