//! The settings `occurrences`, `quiet_for` and `throttle` of a condition.

use crate::condition::over_time::memory::SeriesKey;
use crate::condition::over_time::{Kind, Lookback, OverTime};
use crate::incident::Path;
use crate::yaml::{Node, Reader, units};

/// The furthest that a test looks back.
const LONGEST: i64 = 7 * 24 * 3600;
/// The most occurrences that can be waited for.
const MOST: usize = 1000;

impl OverTime {
    /// Reads them from a condition; what they remember goes under the condition's name.
    pub(in crate::condition) fn read(condition: &Reader<'_, '_>, name: &str) -> Self {
        let series = |test: &str| SeriesKey { condition: name.to_owned(), test: test.to_owned() };
        let mut tests = Vec::new();
        if let Some(reader) = condition.child("occurrences") {
            let wanted = reader.required("at_least").and_then(|_| at_least(&reader));
            let (within, by) = (window(&reader, "within"), by(&reader));
            reader.close();
            tests.extend(wanted.zip(within).map(|(wanted, within)| Lookback {
                kind: Kind::AtLeast(wanted),
                within,
                by,
                series: series("occurrences"),
            }));
        }
        match condition.node("quiet_for") {
            None => {}
            Some(node) if node.as_map().is_some() => {
                let reader = Reader::new(node, condition.path_of("quiet_for"), condition.mistakes());
                let (within, by) = (window(&reader, "for"), by(&reader));
                reader.close();
                tests.extend(within.map(|within| Lookback {
                    kind: Kind::Quiet,
                    within,
                    by,
                    series: series("quiet_for"),
                }));
            }
            Some(_) => tests.extend(window(condition, "quiet_for").map(|within| Lookback {
                kind: Kind::Quiet,
                within,
                by: Vec::new(),
                series: series("quiet_for"),
            })),
        }
        if let Some(reader) = condition.child("throttle") {
            let (within, by) = (window(&reader, "once_within"), by(&reader));
            reader.close();
            let series = series("throttle");
            tests.extend(within.map(|within| Lookback { kind: Kind::OnceWithin, within, by, series }));
        }
        Self { tests }
    }
}

fn at_least(reader: &Reader<'_, '_>) -> Option<usize> {
    let what = format!("a whole number from 2 to {MOST}");
    reader.read("at_least", &what, |node| node.text()?.parse().ok().filter(|number| (2..=MOST).contains(number)))
}

fn window(reader: &Reader<'_, '_>, key: &str) -> Option<i64> {
    let node = reader.required(key)?;
    let seconds = node.text().and_then(units::duration).and_then(|length| i64::try_from(length.as_secs()).ok());
    match seconds {
        Some(seconds) if (1..=LONGEST).contains(&seconds) => Some(seconds),
        Some(_) | None => {
            reader.wrong(key, "expected a duration from 1s to 7d, such as 10m");
            None
        }
    }
}

/// One field or several: `tags.NAME`, `incident.PATH`, `alert.PATH`, or a known field of the incident.
fn by(reader: &Reader<'_, '_>) -> Vec<Path> {
    let Some(node) = reader.node("by") else { return Vec::new() };
    let items = node.as_list().unwrap_or(std::slice::from_ref(node));
    let read: Vec<_> = items.iter().filter_map(field).collect();
    if read.len() != items.len() || items.is_empty() {
        let what = "expected fields such as tags.host, incident.source_system, alert.host or alert.tags.host";
        reader.mistakes().add(reader.path_of("by"), node.at(), what);
    }
    read
}

fn field(node: &Node) -> Option<Path> {
    let text = node.text()?;
    if let Some(path) = text.strip_prefix("alert.") {
        return Path::alert(path).ok();
    }
    let named = text.strip_prefix("incident_").filter(|rest| rest.starts_with("tags.")).unwrap_or(text);
    match named.strip_prefix("incident.") {
        Some(path) => Path::incident(path).ok(),
        None => Path::incident(named).ok().filter(Path::is_known),
    }
}
