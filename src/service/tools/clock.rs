//! Moments as a person writes them, and as a person reads them.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A moment: RFC 3339, seconds since the epoch, or how long ago (`1h`, `90m`, `2 days`, `1h30m ago`).
pub fn moment(text: &str) -> Result<i64, String> {
    moment_at(text, Timestamp::now())
}

fn moment_at(text: &str, now: Timestamp) -> Result<i64, String> {
    let text = text.trim();
    let stamp = || text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    let wrong =
        || format!("`{text}` is no time; write 2026-03-14T15:30:00Z, seconds since the epoch, or how long ago: 1h, 2d");
    let ago = || now.checked_sub(length(text)?).ok().map(Timestamp::as_second);
    text.parse().ok().or_else(stamp).or_else(ago).ok_or_else(wrong)
}

/// A time zone as an offset, in seconds east of UTC: `-08:00`, `+5`.
pub fn offset(text: &str) -> Result<i32, String> {
    let wrong = || format!("`{text}` is no offset from UTC; write +00:00 or -08:00");
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let (hours, minutes): (i32, i32) = (hours.parse().map_err(|_| wrong())?, minutes.parse().map_err(|_| wrong())?);
    if !(0..=14).contains(&hours) || !(0..60).contains(&minutes) {
        return Err(wrong());
    }
    Ok(sign * (hours * 3600 + minutes * 60))
}

/// A length of time, without its sign: `1h ago` and `1h` are the same here. A day has 24 hours.
fn length(text: &str) -> Option<SignedDuration> {
    let span: Span = text.parse().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok().map(SignedDuration::abs)
}

/// Milliseconds since the epoch, for people.
pub(in crate::service) fn time(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| format!("{at:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_hours_and_minutes() {
        let wanted = [("+00:00", 0), ("-08:00", -28_800), ("5:30", 19_800), ("+1", 3_600)];
        for (text, seconds) in wanted {
            assert_eq!(offset(text), Ok(seconds), "{text}");
        }
        assert!(offset("PST").is_err() && offset("99").is_err());
    }

    #[test]
    fn a_moment_is_absolute_or_so_long_ago() {
        let now: Timestamp = "2026-03-14T15:30:00Z".parse().expect("a time");
        let at = |text| moment_at(text, now);
        assert_eq!(at("1773502200"), Ok(now.as_second()));
        assert_eq!(at("2026-03-14T15:30:00Z"), Ok(now.as_second()));
        for (text, seconds) in [("1h", 3_600), ("1h ago", 3_600), ("90m", 5_400), ("2d", 172_800), ("1 day 2h", 93_600)]
        {
            assert_eq!(at(text), Ok(now.as_second() - seconds), "{text}");
        }
        assert!(at("yesterday").is_err_and(|why| why.contains("how long ago: 1h")));
    }
}
