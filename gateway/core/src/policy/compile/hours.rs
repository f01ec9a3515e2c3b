//! `hours`: when a function may be called.

use crate::{
    hours::Hours,
    yaml::{Field, Fields},
};

/// How many spans of the week may be listed.
const MAX_SPANS: usize = 32;

/// How many holidays.
const MAX_HOLIDAYS: usize = 400;

/// `hours`.
pub(super) fn hours(field: Field<'_>) -> Option<Hours> {
    field.mapping(opening)
}

fn opening(fields: &mut Fields<'_>) -> Option<Hours> {
    let zone = fields.take("zone").required().parse(str::parse);
    let field = fields.take("open").required();
    let (report, place) = (field.report(), field.place());
    let open = listed(field, MAX_SPANS);
    if open.as_ref().is_some_and(Vec::is_empty) {
        report.note(place, "`open` lists no time, so nothing would ever pass; list one, or remove `hours`");
    }
    let field = fields.take("holidays");
    let holidays = if field.is_given() { listed(field, MAX_HOLIDAYS) } else { Some(Vec::new()) };
    Some(Hours { zone: zone?, open: open?, holidays: holidays? })
}

/// All items, or none if one is wrong.
fn listed<T: std::str::FromStr<Err: std::fmt::Display>>(field: Field<'_>, most: usize) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = field.list(most)?.into_iter().map(|item| item.parse(str::parse)).collect();
    items.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{time::Timestamp, yaml};

    fn read(text: &str) -> Result<Hours, String> {
        yaml::read("p", &format!("hours: {text}"), |fields| hours(fields.take("hours")))
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn hours_are_read() {
        let hours = read("{ zone: America/New_York, open: [Mon-Fri 08:00-18:00, Sat 09:00-12:00], holidays: [2026-12-25, 12-26, 2026-12-24..2027-01-01] }").unwrap();
        assert_eq!((hours.open.len(), hours.holidays.len()), (2, 3));
        // Monday, 2026-07-06, 12:00 there.
        assert!(hours.is_open(Timestamp(1_783_353_600_000)));
        assert_eq!(read("{ zone: UTC, open: ['08:00-18:00'] }").unwrap().holidays, []);
    }

    #[test]
    fn all_mistakes_are_told() {
        let mistakes = read("{ zone: Berlin, open: [8-18, 9-17], holidays: [May] }").unwrap_err();
        for part in ["did you mean `Europe/Berlin`?", "`8-18`", "`9-17`", "`May`"] {
            assert!(mistakes.contains(part), "{part}: {mistakes}");
        }
        assert!(read("{ zone: UTC, open: [] }").unwrap_err().contains("lists no time"));
        let mistakes = read("{}").unwrap_err();
        assert!(mistakes.contains("`zone` is missing") && mistakes.contains("`open` is missing"), "{mistakes}");
    }
}
