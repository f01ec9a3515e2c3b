//! What an emergency switch stops.

use super::judge::Moment;
use crate::{
    record::Facts,
    switches::{Asked, Switches},
    verdict::Reason,
};

/// Refuses what a switch that is on now stops, and notes which it was.
pub(super) fn check(switches: &Switches, asked: &Asked<'_>, moment: &Moment, facts: &mut Facts) -> Result<(), Reason> {
    let Some(switch) = switches.stops(asked, moment.now) else { return Ok(()) };
    facts.switch = Some(switch.scope.to_string());
    Err(Reason::Emergency)
}
