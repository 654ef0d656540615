//! Durations and sizes in words, as the wire and the configuration write them: `15m`, `720h`,
//! `1 MiB`.

use std::time::Duration;

/// Reads `500ms`, `15m`, `720h`, `30d`: a whole number and one unit of ms, s, m, h, d.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// Reads `64 MiB`, `16KiB`, `512 B`: a whole number and one unit of B, KiB, MiB, GiB.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit.trim_start_matches(' ') {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("15m"), Some(Duration::from_secs(900)));
        assert_eq!(duration("720h"), Some(Duration::from_secs(2_592_000)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for bad in ["", "15", "m", "-1s", "+1s", "1.5h", "1 h", "1w", "99999999999999999d", "1H"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("1 MiB"), Some(1 << 20));
        assert_eq!(size("16KiB"), Some(16 << 10));
        assert_eq!(size("0 B"), Some(0));
        for bad in
            ["", "1", "1 MB", "MiB", "-1 B", "99999999999999999999 B", "18014398509481984 KiB"]
        {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
