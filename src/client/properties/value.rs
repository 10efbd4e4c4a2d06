//! Values of settings as text: numbers, times, lists.
//!
//! Promised: an error is the sentence that follows the setting's name. Absent: what a value is good for.

use std::time::Duration;

use kafka_proto::assignor::AssignorKind;

use crate::client::consumer::AutoOffsetReset;
use crate::client::request::IsolationLevel;

pub(super) fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number"))
}

/// A number of bytes or records, not below 0.
pub(super) fn count(text: &str) -> Result<usize, String> {
    usize::try_from(number(text)?).map_err(|_| format!("`{text}` is below 0"))
}

/// Milliseconds, not below 0.
pub(super) fn millis(text: &str) -> Result<Duration, String> {
    let millis = u64::try_from(number(text)?).map_err(|_| format!("`{text}` is below 0"))?;
    Ok(Duration::from_millis(millis))
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// The parts between commas, without blanks and empty ones.
pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

pub(super) fn isolation_level(text: &str) -> Result<IsolationLevel, String> {
    match text.to_ascii_lowercase().as_str() {
        "read_committed" => Ok(IsolationLevel::ReadCommitted),
        "read_uncommitted" => Ok(IsolationLevel::ReadUncommitted),
        _ => Err(format!("`{text}` is neither read_committed nor read_uncommitted")),
    }
}

/// Java's words, and librdkafka's for the same.
pub(super) fn offset_reset(text: &str) -> Result<AutoOffsetReset, String> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "latest" | "largest" | "end" => return Ok(AutoOffsetReset::Latest),
        "earliest" | "smallest" | "beginning" => return Ok(AutoOffsetReset::Earliest),
        "none" | "error" => return Ok(AutoOffsetReset::None),
        _ => {}
    }
    let age = lower.strip_prefix("by_duration:").and_then(iso_duration).map(AutoOffsetReset::ByDuration);
    age.ok_or_else(|| format!("`{text}` is none of latest, earliest, none and by_duration:PT15M"))
}

/// A duration of ISO 8601 in days, hours, minutes and seconds, not below zero.
fn iso_duration(text: &str) -> Option<Duration> {
    let text = text.to_ascii_uppercase();
    let text = text.strip_prefix('P')?;
    let (days, time) = text.split_once('T').map_or((text, None), |(days, time)| (days, Some(time)));
    if time == Some("") || (days.is_empty() && time.is_none()) {
        return None;
    }
    let days = part(days, &[('D', 86_400.0)])?;
    let time = part(time.unwrap_or_default(), &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])?;
    Duration::try_from_secs_f64(days + time).ok()
}

/// Seconds in numbers with these units, each at most once and in this order.
fn part(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut seconds = 0.0;
    for (unit, factor) in units {
        if let Some((amount, rest)) = text.split_once(*unit) {
            let plain = !amount.is_empty() && amount.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            seconds += plain.then(|| amount.parse::<f64>().ok())?? * factor;
            text = rest;
        }
    }
    text.is_empty().then_some(seconds)
}

/// Assignors by Kafka's names or the names of the Java classes; those that are not known come second.
pub(super) fn assignors(text: &str) -> (Vec<AssignorKind>, Vec<String>) {
    let mut known: Vec<AssignorKind> = Vec::new();
    let mut unknown = Vec::new();
    for name in list(text) {
        let kind = match name.rsplit('.').next() {
            Some("RangeAssignor") => Some(AssignorKind::Range),
            Some("StickyAssignor") => Some(AssignorKind::Sticky),
            Some("CooperativeStickyAssignor") => Some(AssignorKind::CooperativeSticky),
            _ => AssignorKind::from_name(&name),
        };
        match kind {
            Some(kind) if known.contains(&kind) => {}
            Some(kind) => known.push(kind),
            None => unknown.push(name),
        }
    }
    (known, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_read_as_java_reads_it() {
        let secs = |text: &str| iso_duration(text).map(|age| age.as_secs_f64());
        assert_eq!(secs("PT15M"), Some(900.0));
        assert_eq!(secs("p1dt2h3m4.5s"), Some(93_784.5));
        assert_eq!(secs("P2D"), Some(172_800.0));
        for wrong in ["", "P", "PT", "15M", "PT-5M", "PT5", "PTM", "P1W", "PT1S1M", "PTinfS"] {
            assert_eq!(secs(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn assignors_have_short_names_and_class_names() {
        let (known, unknown) = assignors(
            "org.apache.kafka.clients.consumer.CooperativeStickyAssignor, range,class.RangeAssignor,roundrobin",
        );
        assert_eq!(known, [AssignorKind::CooperativeSticky, AssignorKind::Range]);
        assert_eq!(unknown, ["roundrobin"]);
    }
}
