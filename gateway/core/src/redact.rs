//! What is taken out of an agent's answers before a model reads them, and says it: numbers of cards and the like, each
//! replaced by a mark that can be spoken.

mod digits;

use std::ops::Range;

use regex::Regex;

/// The mark of email addresses, as they are written. Those that are spelled are not found.
const EMAIL: &str = r"[\p{L}\p{N}._%+'-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}";

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Redactions {
    /// In the order of the policy: where two overlap, the mark of the first one stands for both.
    patterns: Vec<Pattern>,
}

/// Something that is looked for.
#[derive(Debug, Clone)]
pub struct Pattern(Kind);

#[derive(Debug, Clone)]
enum Kind {
    CardNumber,
    Ssn,
    Phone,
    Email(Regex),
    Text { mark: String, regex: Regex },
}

/// A place in a text, and what it is replaced by.
struct Found<'p> {
    place: Range<usize>,
    rank: usize,
    mark: &'p str,
}

// === impl Pattern ===

impl Pattern {
    /// Card numbers: 13 to 19 digits whose check digit is right (ISO/IEC 7812-1, annex B), with or without spaces, dashes
    /// and dots.
    pub fn card_number() -> Self {
        Self(Kind::CardNumber)
    }

    /// Social security numbers of the United States, with spaces, dashes or dots, or digit by digit.
    pub fn ssn() -> Self {
        Self(Kind::Ssn)
    }

    /// Telephone numbers: with a plus, or in the forms of North America.
    pub fn phone() -> Self {
        Self(Kind::Phone)
    }

    /// Email addresses.
    ///
    /// # Errors
    /// Never; it is a pattern like others.
    pub fn email() -> Result<Self, regex::Error> {
        Regex::new(EMAIL).map(|regex| Self(Kind::Email(regex)))
    }

    /// Whatever matches. `name` is what the model can say in its place.
    pub fn text(name: &str, regex: Regex) -> Self {
        Self(Kind::Text { mark: format!("[{name}]"), regex })
    }

    fn mark(&self) -> &str {
        match &self.0 {
            Kind::CardNumber => "[card number]",
            Kind::Ssn => "[social security number]",
            Kind::Phone => "[phone number]",
            Kind::Email(_) => "[email address]",
            Kind::Text { mark, .. } => mark,
        }
    }

    fn places(&self, text: &str, runs: &[digits::Run]) -> Vec<Range<usize>> {
        let of_digits = |places: fn(&digits::Run) -> Vec<Range<usize>>| runs.iter().flat_map(places).collect();
        match &self.0 {
            Kind::CardNumber => of_digits(digits::card_numbers),
            Kind::Ssn => of_digits(digits::ssns),
            Kind::Phone => of_digits(digits::phones),
            // Most texts have none, and looking for the sign costs next to nothing.
            Kind::Email(regex) if text.contains('@') => matches(regex, text),
            Kind::Email(_) => Vec::new(),
            Kind::Text { regex, .. } => matches(regex, text),
        }
    }
}

fn matches(regex: &Regex, text: &str) -> Vec<Range<usize>> {
    regex.find_iter(text).map(|found| found.range()).filter(|range| !range.is_empty()).collect()
}

// === impl Redactions ===

impl Redactions {
    /// Looks for these.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self { patterns }
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The text with marks in place of what was found; `None` if nothing was.
    pub fn apply(&self, text: &str) -> Option<String> {
        self.redact(text).map(|(text, _)| text)
    }

    /// The same, and how many marks there are.
    pub fn redact(&self, text: &str) -> Option<(String, usize)> {
        if self.is_empty() {
            return None;
        }
        let found = self.found(text);
        if found.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for Found { place, mark, .. } in &found {
            out.push_str(text.get(from..place.start).unwrap_or_default());
            out.push_str(mark);
            from = place.end;
        }
        out.push_str(text.get(from..).unwrap_or_default());
        Some((out, found.len()))
    }

    /// All places, none of which overlap: those that did are one.
    fn found(&self, text: &str) -> Vec<Found<'_>> {
        let runs = digits::runs(text);
        let of_pattern = |(rank, pattern): (usize, &'_ Pattern)| -> Vec<(Range<usize>, usize)> {
            pattern.places(text, &runs).into_iter().map(|place| (place, rank)).collect()
        };
        let mut places: Vec<_> = self.patterns.iter().enumerate().flat_map(of_pattern).collect();
        places.sort_by_key(|(place, rank)| (place.start, *rank));
        let mut found: Vec<Found<'_>> = Vec::new();
        for (place, rank) in places {
            let mark = self.patterns.get(rank).map(Pattern::mark).unwrap_or_default();
            match found.last_mut().filter(|last| place.start < last.place.end) {
                Some(last) => {
                    last.place.end = last.place.end.max(place.end);
                    if rank < last.rank {
                        (last.rank, last.mark) = (rank, mark);
                    }
                }
                None => found.push(Found { place, rank, mark }),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
