//! Quantities of Kubernetes, such as `50m` and `64Mi`.

use std::fmt;

/// An amount that the API server will take as it is written.
#[derive(Clone, Debug)]
pub struct Quantity {
    text: String,
    /// In units of 1e-9, which is as fine as the API server counts.
    nanos: i128,
}

/// What follows the number, and how many nanos one of it has.
const SUFFIXES: [(&str, i128); 16] = [
    ("Ki", NANOS << 10),
    ("Mi", NANOS << 20),
    ("Gi", NANOS << 30),
    ("Ti", NANOS << 40),
    ("Pi", NANOS << 50),
    ("Ei", NANOS << 60),
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("k", NANOS * 1_000),
    ("M", NANOS * 1_000_000),
    ("G", NANOS * 1_000_000_000),
    ("T", NANOS * 1_000_000_000_000),
    ("P", NANOS * 1_000_000_000_000_000),
    ("E", NANOS * 1_000_000_000_000_000_000),
    ("", NANOS),
];
const NANOS: i128 = 1_000_000_000;
/// The API server counts bytes in 64 bits.
const MOST: i128 = NANOS * (i64::MAX as i128);
/// What is allowed, for mistakes.
pub const FORM: &str = "a number with a suffix of Kubernetes, such as 50m, 0.5, 64Mi or 1Gi";

impl Quantity {
    /// Reads an amount that is not negative.
    pub fn parse(text: &str) -> Option<Self> {
        let nanos = exponential(text).or_else(|| suffixed(text))?;
        (nanos <= MOST).then(|| Self { text: text.to_owned(), nanos })
    }

    /// Whether there is nothing in it.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is more than another.
    pub fn exceeds(&self, other: &Self) -> bool {
        self.nanos > other.nanos
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn suffixed(text: &str) -> Option<i128> {
    SUFFIXES.iter().find_map(|(suffix, unit)| scaled(text.strip_suffix(suffix)?, *unit))
}

/// `1e3` and `5E-1`; a bare `E` is a suffix.
fn exponential(text: &str) -> Option<i128> {
    let (number, exponent) = text.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    if exponent < 0 {
        scaled(number, NANOS / power)
    } else {
        scaled(number, NANOS.checked_mul(power)?)
    }
}

/// A decimal number times a unit, rounded up as the API server does.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let all: i128 = format!("{whole}{fraction}").parse().ok()?;
    let parts = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let product = all.checked_mul(unit)?;
    Some(product / parts + i128::from(product % parts != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Option<i128> {
        Quantity::parse(text).map(|it| it.nanos)
    }

    #[test]
    fn amounts_are_read_as_the_api_server_reads_them() {
        for (text, expected) in [
            ("50m", 50_000_000),
            ("0.5", 500_000_000),
            ("1", NANOS),
            (".5", 500_000_000),
            ("64Mi", NANOS * 64 * 1024 * 1024),
            ("1e3", NANOS * 1000),
            ("5E-1", NANOS / 2),
            ("2E", NANOS * 2_000_000_000_000_000_000),
            ("3k", NANOS * 3000),
            ("0", 0),
            ("0.1n", 1),
        ] {
            assert_eq!(nanos(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in [
            "", "Mi", ".", "-1", "+1", "1 Mi", "64MB", "64mi", "1.2.3", "1e", "e3", "9e99", "99E",
            "½", "1e-", "0x10",
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_compared_by_what_they_are() {
        let parsed = |text| Quantity::parse(text).unwrap();
        assert!(parsed("1Gi").exceeds(&parsed("1G")));
        assert!(!parsed("1000m").exceeds(&parsed("1")));
        assert!(parsed("0m").is_zero() && !parsed("1n").is_zero());
    }
}
