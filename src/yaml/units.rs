//! Units as people write them: `30s`, `10m`, `1h`, `64MiB`.

use std::time::Duration;

/// A length of time: `250ms`, `30s`, `10m`, `1h`, `7d`, or a plain number of seconds.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = number(digits.trim_end())?;
    let seconds = match text.get(digits.len()..)? {
        "ms" => number / 1000.0,
        "" | "s" | "sec" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// A length of time in ISO 8601, as Kafka's `by_duration:PT15M` has it: days, hours, minutes and seconds.
pub fn iso_duration(text: &str) -> Option<Duration> {
    let signed: jiff::SignedDuration = text.parse().ok()?;
    if text.starts_with('P') { Duration::try_from(signed).ok() } else { None }
}

/// A number of bytes: `1048576`, `512KiB`, `64MiB`, `1GiB` (also `kb`, `MB`, ... in powers of 1000).
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    digits.trim_end().parse::<u64>().ok()?.checked_mul(unit)
}

/// A decimal number without sign or exponent.
fn number(digits: &str) -> Option<f64> {
    let decimal = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    if decimal { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_units_and_as_plain_seconds() {
        for (text, expected) in [
            ("250ms", Duration::from_millis(250)),
            ("30s", Duration::from_secs(30)),
            ("10m", Duration::from_mins(10)),
            ("1h", Duration::from_hours(1)),
            ("7d", Duration::from_hours(168)),
            ("45", Duration::from_secs(45)),
            ("0.5", Duration::from_millis(500)),
            ("1.5h", Duration::from_mins(90)),
        ] {
            assert_eq!(duration(text), Some(expected), "{text}");
        }
        for wrong in ["", "s", "-5s", "5 parsecs", "1e9", "5w", "NaN", "99999999999999999999999d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn iso_durations_are_those_of_kafka() {
        assert_eq!(iso_duration("PT15M"), Some(Duration::from_mins(15)));
        assert_eq!(iso_duration("PT1H30M"), Some(Duration::from_mins(90)));
        assert_eq!(iso_duration("15m"), None);
        assert_eq!(iso_duration("-PT15M"), None);
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!(bytes("1048576"), Some(1 << 20));
        assert_eq!(bytes("64MiB"), Some(64 << 20));
        assert_eq!(bytes("5mb"), Some(5_000_000));
        assert_eq!(bytes("many"), None);
        assert_eq!(bytes("-1"), None);
    }
}
