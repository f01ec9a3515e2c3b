//! Numbers within text, however they are spaced.

use std::ops::Range;

/// How many characters may stand between two digits of one number.
const MAX_BETWEEN: usize = 3;

/// Digits of one number or several: groups of digits with little between them.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Where a plus stands right before the first digit.
    plus: Option<usize>,
    /// Where a parenthesis opens before the first digit.
    bracket: Option<usize>,
    groups: Vec<Group>,
}

/// Digits with nothing between them.
#[derive(Debug)]
struct Group {
    place: Range<usize>,
    digits: Vec<u8>,
    /// What is between this group and the one before has a plus in it, so that a number begins here.
    plus: Option<usize>,
}

/// All runs of a text.
pub(super) fn runs(text: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut run = Run::default();
    // What stands before the next digit since the last one: how much, and whether it could be within a number.
    let (mut between, mut plus, mut bracket) = (0, None, None);
    for (at, c) in text.char_indices() {
        if let Some(digit) = digit_of(c) {
            let end = at + c.len_utf8();
            match run.groups.last_mut().filter(|_| between == 0) {
                Some(group) => {
                    group.digits.push(digit);
                    group.place.end = end;
                }
                None => {
                    if run.groups.is_empty() {
                        (run.plus, run.bracket) = (plus, bracket);
                    }
                    run.groups.push(Group { place: at..end, digits: vec![digit], plus });
                }
            }
            (between, plus, bracket) = (0, None, None);
            continue;
        }
        between += 1;
        match c {
            '+' => plus = Some(at),
            '(' => bracket = Some(at),
            _ => {}
        }
        if (!is_between(c) && c != '+') || between > MAX_BETWEEN {
            // A plus stands right before its number, perhaps with a parenthesis.
            if !is_between(c) && c != '+' {
                (plus, bracket) = (None, None);
            }
            if !run.groups.is_empty() {
                runs.push(std::mem::take(&mut run));
            }
        }
    }
    runs.extend((!run.groups.is_empty()).then_some(run));
    runs
}

/// Digits as people and models write them.
fn digit_of(c: char) -> Option<u8> {
    const ZEROS: [char; 5] = ['0', '\u{660}', '\u{6f0}', '\u{966}', '\u{ff10}'];
    let value = |zero: char| u32::from(c).checked_sub(u32::from(zero)).filter(|value| *value < 10);
    ZEROS.into_iter().find_map(value).and_then(|value| u8::try_from(value).ok())
}

/// What may stand between the digits of one number.
fn is_between(c: char) -> bool {
    matches!(c, ' ' | '-' | '.' | '(' | ')' | '\u{a0}' | '\u{2009}' | '\u{200b}' | '\u{202f}' | '\u{2010}'..='\u{2014}')
}

/// Groups next to each other, with 13 to 19 digits together and a check digit that is right. Groups are not taken apart: a
/// longer number without spaces is none of a card.
pub(super) fn card_numbers(run: &Run) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    for from in 0..run.groups.len() {
        let mut digits: Vec<u8> = Vec::with_capacity(19);
        for group in run.groups.get(from..).unwrap_or_default() {
            if digits.len() + group.digits.len() > 19 {
                break;
            }
            digits.extend(&group.digits);
            if digits.len() >= 13 && is_luhn(&digits) {
                places.extend(run.groups.get(from).map(|first| first.place.start..group.place.end));
            }
        }
    }
    places
}

/// Whether the last digit checks the others (ISO/IEC 7812-1, annex B).
fn is_luhn(digits: &[u8]) -> bool {
    let weighed = digits.iter().rev().enumerate().map(|(at, digit)| match (at % 2, *digit) {
        (0, digit) => u32::from(digit),
        (_, digit) => u32::from(digit) * 2 - if digit > 4 { 9 } else { 0 },
    });
    weighed.sum::<u32>() % 10 == 0
}

/// `123-45-6789`, or nine digits one by one.
pub(super) fn ssns(run: &Run) -> Vec<Range<usize>> {
    let is_ssn = |digits: &[u8]| {
        let (area, rest) = digits.split_at_checked(3).unwrap_or_default();
        let (group, serial) = rest.split_at_checked(2).unwrap_or_default();
        area.first() != Some(&9)
            && area != [6, 6, 6]
            && [area, group, serial].iter().all(|part| part.iter().any(|d| *d > 0))
    };
    run.find(&[&[3, 2, 4], &[1; 9]], is_ssn)
}

/// With a plus, 7 to 15 digits; else ten digits of North America, with or without a 1, or seven written as `555-1234`.
pub(super) fn phones(run: &Run) -> Vec<Range<usize>> {
    let is_national = |digits: &[u8]| {
        let digits = if digits.len() == 11 { digits.strip_prefix(&[1]).unwrap_or_default() } else { digits };
        let begins_well = |at: usize| digits.get(at).is_some_and(|digit| *digit > 1);
        digits.len() == 10 && begins_well(0) && begins_well(3)
    };
    let forms: [&[usize]; 9] =
        [&[3, 3, 4], &[1, 3, 3, 4], &[10], &[11], &[3, 7], &[1, 10], &[6, 4], &[1; 10], &[1; 11]];
    let mut places = run.find(&forms, is_national);
    let sizes: Vec<usize> = run.groups.iter().map(|group| group.digits.len()).collect();
    if sizes == [3, 4] {
        places.extend(run.place_of(0, 1));
    }
    places.extend((0..run.groups.len()).filter_map(|from| run.international(from)));
    places
}

// === impl Run ===

impl Run {
    /// Groups next to each other that have one of these sizes, and digits as they should be.
    fn find(&self, forms: &[&[usize]], is_it: impl Fn(&[u8]) -> bool) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        for form in forms {
            for (from, groups) in self.groups.windows(form.len()).enumerate() {
                let fits = groups.iter().zip(*form).all(|(group, size)| group.digits.len() == *size);
                let digits: Vec<u8> = groups.iter().flat_map(|group| group.digits.iter().copied()).collect();
                if fits && is_it(&digits) {
                    places.extend(self.place_of(from, from + form.len() - 1));
                }
            }
        }
        places
    }

    /// From one group to another, with the plus and the parenthesis before.
    fn place_of(&self, from: usize, to: usize) -> Option<Range<usize>> {
        let (first, last) = (self.groups.get(from)?, self.groups.get(to)?);
        let before = [first.plus, self.bracket.filter(|_| from == 0)].into_iter().flatten().min();
        Some(before.unwrap_or(first.place.start)..last.place.end)
    }

    /// The number that begins with a plus at this group: as many groups as a number can have.
    fn international(&self, from: usize) -> Option<Range<usize>> {
        self.groups.get(from)?.plus?;
        let (mut count, mut to) = (0, None);
        for (at, group) in self.groups.iter().enumerate().skip(from) {
            let next_begins = at > from && group.plus.is_some();
            if next_begins || count + group.digits.len() > 15 {
                break;
            }
            count += group.digits.len();
            to = Some(at);
        }
        to.filter(|_| count >= 7).and_then(|to| self.place_of(from, to))
    }
}
