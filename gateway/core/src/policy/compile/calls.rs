//! `calls`: how many calls there may be.

use std::time::Duration;

use super::{
    super::{CallRules, Limit, LimitRule, Per},
    rules,
};
use crate::yaml::Fields;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn calls(fields: &mut Fields<'_>) -> CallRules {
    let default = CallRules::default();
    let per_caller = fields.take("per_caller");
    let per_caller = if per_caller.is_given() { per_caller.mapping(begun_per_caller) } else { None };
    let concurrent_per_caller = rules::count(fields.take("concurrent_per_caller"));
    let concurrent = rules::count(fields.take("concurrent"));
    let idle = fields.take("idle");
    if idle.is_given() && concurrent.or(concurrent_per_caller).is_none() {
        let advice = "`idle` is read only with `concurrent` or `concurrent_per_caller`; add one or remove it";
        idle.report().note(idle.key_place(), advice);
    }
    let idle = idle.duration(MINUTE..=24 * 60 * MINUTE).unwrap_or(default.idle);
    let max_duration = fields.take("max_duration").duration(SECOND..=24 * 60 * MINUTE);
    CallRules { limits: per_caller.into_iter().collect(), concurrent_per_caller, concurrent, idle, max_duration }
}

fn begun_per_caller(fields: &mut Fields<'_>) -> Option<LimitRule> {
    let limit = rules::quota(fields, Per::CALLER);
    let is_shadow = rules::mode(fields);
    limit.map(|limit: Limit| LimitRule { limit, is_shadow })
}
