//! Numbers of JSON that are what their text says, or none.

use serde_json::Number;

/// Decimals of up to so many digits survive a double (IEEE 754, 5.12.2).
const DIGITS_OF_DOUBLE: usize = 15;

/// A decimal number: its digits without zeros at either end, and the place of the point from their beginning.
#[derive(PartialEq)]
struct Decimal {
    is_negative: bool,
    digits: Vec<u8>,
    point: i64,
}

/// The number that a text of JSON stands for; `None` if neither 64 bits nor a double tell it from its neighbours.
pub(super) fn exact(text: &str) -> Option<Number> {
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(integer.into());
    }
    let double = text.parse::<f64>().ok()?;
    let number = Number::from_f64(double)?;
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits <= DIGITS_OF_DOUBLE && double.is_normal() {
        return Some(number);
    }
    (decimal(text)? == decimal(&number.to_string())?).then_some(number)
}

/// The number that a string holds, written as JSON would.
pub(super) fn exact_in_string(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let leads_with_digit = unsigned.starts_with(|c: char| c.is_ascii_digit());
    let ends_with_digit = unsigned.ends_with(|c: char| c.is_ascii_digit());
    let leading_zero = unsigned.len() > 1 && unsigned.starts_with('0') && !unsigned.starts_with("0.");
    let only_parts = unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    // `1.` and `1.e5` are numbers for Rust and not for JSON.
    let point_then_digit = unsigned.split('.').skip(1).all(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    (leads_with_digit && ends_with_digit && !leading_zero && only_parts && point_then_digit)
        .then(|| exact(text))
        .flatten()
}

fn decimal(text: &str) -> Option<Decimal> {
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let leading = all.iter().take_while(|digit| **digit == b'0').count();
    let mut digits = all.get(leading..).unwrap_or_default().to_vec();
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    if digits.is_empty() {
        return Some(Decimal { is_negative: false, digits, point: 0 });
    }
    let shift = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(leading).ok()?)?;
    Some(Decimal { is_negative, digits, point: exponent.checked_add(shift)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_their_text_says() {
        let same = [
            ("5", "5"),
            ("-5", "-5"),
            ("5.0", "5.0"),
            ("0.1", "0.1"),
            ("-0.0", "-0.0"),
            ("0e999999999", "0.0"),
            ("18446744073709551615", "18446744073709551615"),
            ("100000000000000000000", "1e+20"),
            ("1.5e3", "1500.0"),
            ("40.71277599999999", "40.71277599999999"),
            ("0.000000000000000000001", "1e-21"),
            ("5e-324", "5e-324"),
        ];
        for (text, shown) in same {
            assert_eq!(exact(text).map(|n| n.to_string()).as_deref(), Some(shown), "{text}");
        }
    }

    #[test]
    fn numbers_that_would_be_others_are_none() {
        for text in [
            "1e400",
            "-1e400",
            "1e-400",
            "18446744073709551616",
            "12345678901234567890123",
            "500.00000000000000001",
            "0.1000000000000000000001",
            "3e-324",
        ] {
            assert_eq!(exact(text), None, "{text}");
        }
    }

    #[test]
    fn strings_hold_numbers_as_json_writes_them() {
        for text in ["500", "-5", "0", "0.5", "1e3", "5.0", "1E+3"] {
            assert!(exact_in_string(text).is_some(), "{text}");
        }
        for text in
            ["", " 5", "5 ", "+5", "05", ".5", "5.", "1.e5", "0x10", "1_000", "1,000", "$5", "inf", "NaN", "٥", "-"]
        {
            assert_eq!(exact_in_string(text), None, "{text}");
        }
    }
}
