//! Times as records have them: seconds since the epoch, and what else has been seen.

use crate::incident::Found;

/// Seconds since the epoch from a number (seconds, or what can only be milli-, micro- or nanoseconds), from such a
/// number as text, or from RFC 3339 text. Anything else is no time.
pub(super) fn seconds(value: Found<'_, '_>) -> Option<i64> {
    match value {
        Found::Int(number) => Some(scale(number)),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float cast saturates; fractions of a second do not count"
        )]
        Found::Float(number) => Some(scale(number as i64)),
        Found::Text(text) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => seconds(Found::Float(number)),
            Ok(_) => None,
            Err(_) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second),
        },
        Found::Missing | Found::Bool(_) | Found::List(_) | Found::Map(_) => None,
    }
}

/// A hundred thousand million seconds lie in the year 5138; a number beyond is of a finer unit.
fn scale(number: i64) -> i64 {
    const LARGEST_SECONDS: i64 = 100_000_000_000;
    let mut number = number;
    while number > LARGEST_SECONDS {
        number /= 1000;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Value;

    #[test]
    fn seconds_milliseconds_and_text_are_the_same_moment() {
        let expected = Some(1_769_755_513);
        for value in [
            Value::Int(1_769_755_513),
            Value::Int(1_769_755_513_123),
            Value::Int(1_769_755_513_123_456),
            Value::Int(1_769_755_513_123_456_789),
            Value::Float(1_769_755_513.9),
            Value::Text("1769755513".into()),
            Value::Text("2026-01-30T06:45:13Z".into()),
        ] {
            assert_eq!(seconds(value.found()), expected, "{value:?}");
        }
        for none in [Value::Null, Value::Bool(true), Value::Text("soon".into()), Value::List(vec![])] {
            assert_eq!(seconds(none.found()), None, "{none:?}");
        }
    }
}
