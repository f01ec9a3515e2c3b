//! Opening hours: spans of the week by a wall clock somewhere, but for holidays.
//!
//! What counts is what the clock on the wall says (the IANA time zone database, within the binary): a time that a change of
//! the clocks leaves out never comes, and one that it brings twice is open both times.

use std::str::FromStr;

use jiff::{
    civil::{Date, DateTime, Time, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::{
    time::Timestamp,
    yaml::{nearest, quoted},
};

/// When something is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Whose wall clock it is.
    pub zone: Zone,
    /// When it is open, in a week without holidays.
    pub open: Vec<Span>,
    /// When it isn't, whatever `open` says.
    pub holidays: Vec<Holiday>,
}

/// A time zone of the IANA database, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A span of time that comes on some days of the week: `Mon-Fri 08:00-18:00`.
///
/// One that ends at or before its beginning ends on the next day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The days on which it begins, from Monday.
    days: [bool; 7],
    /// Minutes since midnight, below 1440.
    from: u16,
    /// Minutes since midnight, up to 1440; the minute itself is outside.
    to: u16,
}

/// A day or several on which nothing is open, nor in the night that begins on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holiday {
    /// `2026-12-24..2027-01-01`: these dates and those between; a single date is both.
    Once(Date, Date),
    /// `12-24..01-01`: these days of each year and those between, as month and day.
    EachYear((i8, i8), (i8, i8)),
}

/// Words that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotHours(String);

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const MINUTES_OF_DAY: u16 = 24 * 60;

// === impl Hours ===

impl Hours {
    /// Whether it is open then. Before the year 1970 and after 9999, nothing is.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let instant = i64::try_from(at.0).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        instant.is_some_and(|instant| self.is_open_at(self.zone.0.to_datetime(instant)))
    }

    fn is_open_at(&self, wall: DateTime) -> bool {
        let today = wall.date();
        let Ok(yesterday) = today.yesterday() else { return false };
        if self.is_holiday(today) {
            return false;
        }
        let minute = minute_of(wall.time());
        let tonight_counts = !self.is_holiday(yesterday);
        self.open.iter().any(|span| {
            span.holds(today.weekday(), minute) || (tonight_counts && span.holds_after(yesterday.weekday(), minute))
        })
    }

    fn is_holiday(&self, date: Date) -> bool {
        self.holidays.iter().any(|holiday| holiday.holds(date))
    }
}

fn minute_of(time: Time) -> u16 {
    let whole = u16::try_from(time.hour()).unwrap_or_default() * 60;
    whole + u16::try_from(time.minute()).unwrap_or_default()
}

// === impl Zone ===

impl FromStr for Zone {
    type Err = NotHours;

    /// Looks a name up, like `America/New_York`.
    fn from_str(text: &str) -> Result<Self, NotHours> {
        let database = TimeZoneDatabase::bundled();
        if let Ok(zone) = database.get(text) {
            return Ok(Self(zone));
        }
        let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
        let city = |name: &&String| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text));
        let names_only: Vec<&str> = names.iter().map(String::as_str).collect();
        let meant = names.iter().find(city).map(String::as_str).or_else(|| nearest(text, &names_only));
        let advice = match meant {
            Some(name) => format!("did you mean `{name}`?"),
            None => "write a name of the IANA time zone database, like `America/New_York`".to_owned(),
        };
        Err(NotHours(format!("{} is no time zone; {advice}", quoted(text))))
    }
}

// === impl Span ===

impl Span {
    /// Whether it is on at this minute of a day on which it may begin.
    fn holds(&self, day: Weekday, minute: u16) -> bool {
        let end = if self.is_over_midnight() { MINUTES_OF_DAY } else { self.to };
        self.begins_on(day) && (self.from..end).contains(&minute)
    }

    /// Whether it goes on at this minute of the day after one on which it may begin.
    fn holds_after(&self, day: Weekday, minute: u16) -> bool {
        self.begins_on(day) && self.is_over_midnight() && minute < self.to
    }

    fn is_over_midnight(&self) -> bool {
        self.to <= self.from
    }

    fn begins_on(&self, day: Weekday) -> bool {
        let at = usize::try_from(day.to_monday_zero_offset()).unwrap_or_default();
        self.days.get(at).copied().unwrap_or_default()
    }
}

impl FromStr for Span {
    type Err = NotHours;

    /// Reads `Mon-Fri 08:00-18:00`, `Sat,Sun 10:00-24:00`, or `08:00-18:00` for every day.
    fn from_str(text: &str) -> Result<Self, NotHours> {
        let mistake = || {
            NotHours(format!(
                "{}: write days and times like `Mon-Fri 08:00-18:00`, or times for every day",
                quoted(text)
            ))
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, times) = match words.as_slice() {
            [times] => ([true; 7], *times),
            [days, times] => (days_of(days).ok_or_else(mistake)?, *times),
            _ => return Err(mistake()),
        };
        let (from, to) = times.split_once('-').ok_or_else(mistake)?;
        let (from, to) = (minutes(from).ok_or_else(mistake)?, minutes(to).ok_or_else(mistake)?);
        if from == MINUTES_OF_DAY {
            return Err(NotHours(format!("{} begins at 24:00; write 00:00, and the next day", quoted(text))));
        }
        if from == to {
            return Err(NotHours(format!(
                "{} is no time, or all of it; write 00:00-24:00 for a whole day",
                quoted(text)
            )));
        }
        Ok(Self { days, from, to })
    }
}

/// `Mon`, `Mon-Fri`, `Sat-Mon`, `Mon,Wed,Fri`.
fn days_of(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // From Saturday to Monday, the week begins anew in between.
        let length = (last + 7 - first) % 7;
        for at in (0..=length).map(|step| (first + step) % 7) {
            if let Some(day) = days.get_mut(at) {
                *day = true;
            }
        }
    }
    Some(days)
}

fn day(text: &str) -> Option<usize> {
    DAYS.iter().position(|day| day.eq_ignore_ascii_case(text))
}

/// `8:00` or `08:00`, up to `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (digits(hour, 1..=2)?, digits(minute, 2..=2)?);
    let minutes = u16::from(hour) * 60 + u16::from(minute);
    (minute < 60 && minutes <= MINUTES_OF_DAY).then_some(minutes)
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<u8> {
    (length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

// === impl Holiday ===

impl Holiday {
    fn holds(&self, date: Date) -> bool {
        match self {
            Holiday::Once(first, last) => (*first..=*last).contains(&date),
            Holiday::EachYear(first, last) => {
                let day = (date.month(), date.day());
                // From Christmas to Epiphany, the year begins anew in between.
                if first <= last { (*first..=*last).contains(&day) } else { day >= *first || day <= *last }
            }
        }
    }
}

impl FromStr for Holiday {
    type Err = NotHours;

    /// Reads `2026-12-25`, `12-25` for each year's, or two of one kind with `..` between.
    fn from_str(text: &str) -> Result<Self, NotHours> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let of_year = |text: &str| {
            let (month, day) = text.split_once('-')?;
            let written = digits(month, 2..=2).is_some() && digits(day, 2..=2).is_some();
            // The 29th of February is a day, in a leap year.
            let date: Date = format!("2024-{text}").parse().ok().filter(|_| written)?;
            Some((date.month(), date.day()))
        };
        let date = |text: &str| -> Option<Date> { text.parse().ok().filter(|_| text.len() == "2026-12-25".len()) };
        match (of_year(first), of_year(last), date(first), date(last)) {
            (Some(first), Some(last), _, _) => Ok(Holiday::EachYear(first, last)),
            (_, _, Some(first), Some(last)) if first <= last => Ok(Holiday::Once(first, last)),
            (_, _, Some(_), Some(_)) => Err(NotHours(format!("{} ends before it begins", quoted(text)))),
            _ => Err(NotHours(format!(
                "{}: write a date like `2026-12-25`, `12-25` for each year, or two of one kind with `..` between",
                quoted(text)
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(zone: &str, open: &[&str], holidays: &[&str]) -> Hours {
        Hours {
            zone: zone.parse().unwrap(),
            open: open.iter().map(|text| text.parse().unwrap()).collect(),
            holidays: holidays.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    /// Whether it is open at an instant, written with its offset.
    fn is_open(hours: &Hours, at: &str) -> bool {
        let instant: jiff::Timestamp = at.parse().unwrap();
        hours.is_open(Timestamp(u64::try_from(instant.as_millisecond()).unwrap()))
    }

    fn open_at<'a>(hours: &Hours, times: &[&'a str]) -> Vec<&'a str> {
        times.iter().copied().filter(|at| is_open(hours, at)).collect()
    }

    #[test]
    fn spans_begin_at_their_first_minute_and_end_before_their_last() {
        let office = hours("America/New_York", &["Mon-Fri 08:00-18:00", "sat 9:00-12:00"], &[]);
        // 2026-07-06 is a Monday.
        let times = [
            "2026-07-06T07:59:59-04:00",
            "2026-07-06T08:00:00-04:00",
            "2026-07-06T17:59:59.999-04:00",
            "2026-07-06T18:00:00-04:00",
            "2026-07-10T12:00:00Z",
            "2026-07-11T08:59:00-04:00",
            "2026-07-11T09:00:00-04:00",
            "2026-07-12T10:00:00-04:00",
        ];
        assert_eq!(open_at(&office, &times), [times[1], times[2], times[4], times[6]]);
    }

    #[test]
    fn days_wrap_around_and_are_listed() {
        let weekend = hours("UTC", &["Sat-Mon 10:00-11:00"], &[]);
        let days = |hours: &Hours, time: &str| -> String {
            (6..=12).map(|day| if is_open(hours, &format!("2026-07-{day:02}T{time}Z")) { 'x' } else { '.' }).collect()
        };
        assert_eq!(days(&weekend, "10:30"), "x....xx");
        assert_eq!(days(&hours("UTC", &["Mon,Wed-Fri,Sun 10:00-11:00"], &[]), "10:30"), "x.xxx.x");
        assert_eq!(days(&hours("UTC", &["10:00-11:00"], &[]), "10:30"), "xxxxxxx");
        assert_eq!(days(&hours("UTC", &["Sun-Sun 00:00-24:00"], &[]), "23:59"), "......x");
        assert_eq!(days(&hours("UTC", &["Tue-Mon 00:00-24:00"], &[]), "00:00"), "xxxxxxx");
    }

    #[test]
    fn nights_belong_to_the_day_they_begin_on() {
        let bar = hours("Europe/Berlin", &["Fri 22:00-02:00"], &[]);
        let times = [
            "2026-07-10T21:59:00+02:00",
            "2026-07-10T22:00:00+02:00",
            "2026-07-11T01:59:00+02:00",
            "2026-07-11T02:00:00+02:00",
            "2026-07-11T22:30:00+02:00",
            "2026-07-10T01:00:00+02:00",
        ];
        assert_eq!(open_at(&bar, &times), [times[1], times[2]]);
        let until_midnight = hours("UTC", &["Fri 22:00-00:00", "Sun 22:00-24:00"], &[]);
        let times = ["2026-07-10T23:59:59Z", "2026-07-11T00:00:00Z", "2026-07-12T23:59:59Z", "2026-07-13T00:00:00Z"];
        assert_eq!(open_at(&until_midnight, &times), [times[0], times[2]]);
    }

    #[test]
    fn an_hour_that_comes_twice_is_open_twice() {
        // 2026-11-01 01:30 in New York: first at -04:00, then at -05:00.
        let night = hours("America/New_York", &["Sun 01:00-02:00"], &[]);
        let times = ["2026-11-01T04:59:00Z", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z"];
        assert_eq!(open_at(&night, &times), [times[1], times[2]]);
    }

    #[test]
    fn an_hour_that_never_comes_is_never_open() {
        // 2026-03-08 in New York: after 01:59:59 comes 03:00.
        let night = hours("America/New_York", &["Sun 02:00-03:00"], &[]);
        let around = ["2026-03-08T06:59:59Z", "2026-03-08T07:00:00Z", "2026-03-08T07:30:00Z"];
        assert!(open_at(&night, &around).is_empty());
        let longer = hours("America/New_York", &["Sat 22:00-02:30"], &[]);
        assert_eq!(open_at(&longer, &around), [around[0]]);
        let office = hours("America/New_York", &["08:00-18:00"], &[]);
        // The same wall clock, an hour earlier in UTC than the week before.
        let times = ["2026-03-01T12:30:00Z", "2026-03-01T13:00:00Z", "2026-03-08T12:00:00Z", "2026-03-08T11:59:00Z"];
        assert_eq!(open_at(&office, &times), [times[1], times[2]]);
    }

    #[test]
    fn the_offset_of_half_an_hour_counts() {
        let office = hours("Asia/Kolkata", &["09:00-17:00"], &[]);
        let times = ["2026-07-06T03:29:00Z", "2026-07-06T03:30:00Z"];
        assert_eq!(open_at(&office, &times), [times[1]]);
    }

    #[test]
    fn nothing_is_open_on_holidays_nor_in_the_nights_that_begin_on_them() {
        let shop = hours("UTC", &["00:00-24:00", "22:00-02:00"], &["2026-12-24..2027-01-01", "07-04", "02-29"]);
        let times = [
            "2026-12-23T23:59:00Z",
            "2026-12-24T00:00:00Z",
            "2026-12-31T12:00:00Z",
            "2027-01-01T23:00:00Z",
            "2027-01-02T12:00:00Z",
            "2027-12-25T12:00:00Z",
            "2027-07-04T12:00:00Z",
            "2028-02-29T12:00:00Z",
            "2027-03-01T12:00:00Z",
        ];
        assert_eq!(open_at(&shop, &times), [times[0], times[4], times[5], times[8]]);
        let nights = hours("UTC", &["22:00-02:00"], &["12-25"]);
        let times = [
            "2026-12-24T23:00:00Z",
            "2026-12-25T01:00:00Z",
            "2026-12-25T23:00:00Z",
            "2026-12-26T01:00:00Z",
            "2026-12-26T23:00:00Z",
        ];
        assert_eq!(open_at(&nights, &times), [times[0], times[4]]);
        let turn = hours("UTC", &["00:00-24:00"], &["12-24..01-06"]);
        let times = ["2026-12-23T12:00:00Z", "2026-12-24T12:00:00Z", "2027-01-06T12:00:00Z", "2027-01-07T12:00:00Z"];
        assert_eq!(open_at(&turn, &times), [times[0], times[3]]);
    }

    #[test]
    fn the_ends_of_time_are_closed() {
        let always = hours("UTC", &["00:00-24:00"], &[]);
        assert!(always.is_open(Timestamp(86_400_000)));
        assert!(!always.is_open(Timestamp(u64::MAX)));
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let zone = |text: &str| text.parse::<Zone>().unwrap_err().to_string();
        assert_eq!(zone("America/NewYork"), "`America/NewYork` is no time zone; did you mean `America/New_York`?");
        assert_eq!(zone("berlin"), "`berlin` is no time zone; did you mean `Europe/Berlin`?");
        assert!(zone("../../etc/localtime").contains("write a name of the IANA"));
        assert!("".parse::<Zone>().is_err());
        for bad in [
            "",
            "Mon",
            "Mon-Fri",
            "Mon-Fri 8-18",
            "Mon-Fri 08:00",
            "Mon - Fri 08:00-18:00",
            "Monday 08:00-18:00",
            "Mon- 08:00-18:00",
            "08:00-24:01",
            "08:60-09:00",
            "8am-6pm",
            "24:00-02:00",
            "08:00-08:00",
            "-1:00-08:00",
            "Mon-Fri 08:00-18:00 UTC",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "12-32",
            "2-3",
            "2026-02-29",
            "26-12-24",
            "2026-12-25..12-26",
            "2027-01-01..2026-12-24",
            "12-25..",
            "Christmas",
            "2026-12-25T00:00",
        ] {
            assert!(bad.parse::<Holiday>().is_err(), "{bad}");
        }
    }
}
