//! What a plain word means in the core schema of YAML 1.2 (10.3.2): `yes` and `on` are text, `010` is ten. But what starts
//! with a plus is text: it is a phone number, and as a number it would lose the plus.

/// A word without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// As JSON writes it, with all of its digits.
    Number(String),
    /// Infinity, what is no number, or more than can be counted.
    NotInJson,
    Text,
}

// === impl Scalar ===

impl Scalar {
    pub(super) fn of_plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
            "true" | "True" | "TRUE" => Scalar::Bool(true),
            "false" | "False" | "FALSE" => Scalar::Bool(false),
            ".nan" | ".NaN" | ".NAN" => Scalar::NotInJson,
            _ => of_number(text),
        }
    }
}

fn of_number(text: &str) -> Scalar {
    if let Some(digits) = text.strip_prefix("0o") {
        return of_radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return of_radix(digits, 16);
    }
    let (minus, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    if matches!(rest.trim_start_matches('+'), ".inf" | ".Inf" | ".INF") {
        return Scalar::NotInJson;
    }
    decimal(rest).map_or(Scalar::Text, |number| Scalar::Number(format!("{minus}{number}")))
}

fn of_radix(digits: &str, radix: u32) -> Scalar {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Scalar::Text;
    }
    u128::from_str_radix(digits, radix).map_or(Scalar::NotInJson, |number| Scalar::Number(number.to_string()))
}

/// `[0-9]+`, or `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, as JSON writes it.
fn decimal(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let has_digits = !whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    if !has_digits || !are_digits(whole) || !fraction.is_none_or(are_digits) {
        return None;
    }
    let significant = whole.trim_start_matches('0');
    let mut number = if significant.is_empty() { "0" } else { significant }.to_owned();
    if let Some(fraction) = fraction {
        number.push('.');
        number.push_str(if fraction.is_empty() { "0" } else { fraction });
    }
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits.is_empty() || !are_digits(digits) {
            return None;
        }
        number.push('e');
        number.push_str(exponent);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_core_schema() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(Scalar::of_plain(text), Scalar::Null, "{text}");
        }
        for (text, value) in [("true", true), ("True", true), ("FALSE", false)] {
            assert_eq!(Scalar::of_plain(text), Scalar::Bool(value), "{text}");
        }
        let texts = [
            "yes",
            "on",
            "Off",
            "nULL",
            "tRUE",
            "1.0.0",
            "1_000",
            "12:30",
            "2026-11-24",
            "0o8",
            "0xG",
            "0x",
            "0b1",
            "-",
            "+",
            ".",
            "e5",
            ".e5",
            "1e",
            "1e+",
            "-0x1",
            "+1-555",
            "+15550001111",
            "+1.5",
            "--1",
            "1,5",
            "Infinity",
            "NaN",
            "١",
        ];
        for text in texts {
            assert_eq!(Scalar::of_plain(text), Scalar::Text, "{text}");
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        let cases = [
            ("0", "0"),
            ("-0", "-0"),
            ("010", "10"),
            ("00", "0"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("0o17", "15"),
            ("0xfF", "255"),
            ("1.10", "1.10"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("01.50", "1.50"),
            ("6.85e+5", "6.85e+5"),
            ("1E3", "1e3"),
            ("1.e-3", "1.0e-3"),
        ];
        for (text, number) in cases {
            assert_eq!(Scalar::of_plain(text), Scalar::Number(number.to_owned()), "{text}");
            assert!(serde_json::from_str::<serde_json::Number>(number).is_ok(), "{number}");
        }
        let huge = format!("0x{}", "f".repeat(33));
        for text in [".inf", "-.inf", "+.INF", ".nan", ".NaN", &huge] {
            assert_eq!(Scalar::of_plain(text), Scalar::NotInJson, "{text}");
        }
    }
}
