//! `arguments`, `learned_schema`, `unknown_schema`, `lenient`: what is asked of a function's arguments.

use std::sync::Arc;

use super::super::ArgumentRules;
use crate::{
    schema::{Leniencies, Schema},
    yaml::Field,
};

/// `arguments`: a JSON Schema of the policy's own, or the word for none.
pub(super) fn own(field: Field<'_>) -> Option<Option<Arc<Schema>>> {
    if !field.is_mapping() {
        return field.parse(|text| match text {
            "learned" => Ok(None),
            _ => Err("write `learned`, or a JSON Schema of the arguments, like `{ properties: { amount: { maximum: 100 } } }`"),
        });
    }
    schema(field).map(Some)
}

/// A JSON Schema of arguments.
pub(super) fn schema(field: Field<'_>) -> Option<Arc<Schema>> {
    let (report, place) = (field.report(), field.place());
    let compiled = Schema::of_policy(&field.json()?);
    compiled.map(Arc::new).map_err(|message| report.note(place, message)).ok()
}

/// `lenient`: those that are named, and no others.
pub(super) fn leniencies(field: Field<'_>) -> Leniencies {
    const NAMES: [(&str, usize); 4] =
        [("numeric_strings", 0), ("integral_floats", 1), ("boolean_strings", 2), ("null_optionals", 3)];
    let items = field.list(NAMES.len()).unwrap_or_default();
    let named: Vec<usize> = items.into_iter().filter_map(|item| item.choice(&NAMES)).collect();
    let has = |number| named.contains(&number);
    Leniencies { numeric_strings: has(0), integral_floats: has(1), boolean_strings: has(2), null_optionals: has(3) }
}

/// `learned_schema` and `unknown_schema`.
pub(super) fn learned(field: Field<'_>) -> Option<bool> {
    field.choice(&[("enforce", true), ("ignore", false)])
}

pub(super) fn denies_unknown(field: Field<'_>) -> Option<bool> {
    field.choice(&[("allow", false), ("deny", true)])
}

// === impl ArgumentRules ===

impl Default for ArgumentRules {
    fn default() -> Self {
        Self { own: None, learned: true, denies_unknown: false, lenient: Leniencies::default() }
    }
}
