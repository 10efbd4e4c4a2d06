//! The calendar of a condition: days and hours in a time zone, less maintenance windows.
//!
//! Promised: pure, the clock is an argument; the zones are those of the binary, so that a container without
//! `/usr/share/zoneinfo` answers as every other machine does. A window that crosses midnight belongs to the day on which
//! it begins. Absent: holidays; they are maintenance windows with a date.

use std::fmt;
use std::sync::{Arc, LazyLock};

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ZonedDateTime};

use crate::condition::verdict::Verdict;
use crate::yaml::{Mistakes, Node, Reader};

/// The zones that are compiled in.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];
const MINUTES_A_DAY: i16 = 24 * 60;

/// When a condition may match.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    zone: TimeZone,
    zone_name: Arc<str>,
    open: Weekly,
    maintenance: Vec<Maintenance>,
}

/// Days and hours that come again every week.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Weekly {
    written: String,
    /// From Monday.
    days: [bool; 7],
    /// Minutes of the day, each from one to (not including) the other; the end may lie on the next day.
    hours: Vec<(i16, i16)>,
}

/// When nothing matches.
#[derive(Clone, Debug)]
struct Maintenance {
    when: When,
    why: Option<String>,
}

#[derive(Clone, Debug)]
enum When {
    Weekly(Weekly),
    /// Seconds since the epoch, and how it was written.
    Once {
        from: i64,
        to: i64,
        written: String,
    },
}

impl Schedule {
    pub(super) fn read(node: &Node, path: &str, mistakes: &Mistakes) -> Option<Self> {
        let before = mistakes.len();
        let reader = Reader::new(node, path, mistakes);
        let (zone, zone_name) = zone(&reader)?;
        let open = Weekly::read(&reader);
        let windows = reader.list("maintenance").unwrap_or_default();
        let maintenance = windows.iter().filter_map(|(path, node)| Maintenance::read(node, path, &zone, mistakes));
        let maintenance: Vec<_> = maintenance.collect();
        reader.close();
        (mistakes.len() == before).then_some(Self { zone, zone_name, open: open?, maintenance })
    }

    /// Never missing: there is always a time.
    pub(super) fn judge(&self, now: i64) -> Verdict {
        let Some(local) = self.local(now) else { return Verdict::Missing };
        Verdict::from_bool(self.open.holds(&local) && self.in_maintenance(&local, now).is_none())
    }

    /// The time that was judged, and the window that forbids it.
    pub(super) fn found(&self, now: i64) -> String {
        let Some(local) = self.local(now) else { return "no time".to_owned() };
        let time = local.strftime("%a %Y-%m-%d %H:%M %Z");
        match self.in_maintenance(&local, now) {
            Some(Maintenance { why: Some(why), .. }) => format!("{time}, in maintenance: {why}"),
            Some(Maintenance { why: None, .. }) => format!("{time}, in maintenance"),
            None => time.to_string(),
        }
    }

    fn local(&self, now: i64) -> Option<ZonedDateTime> {
        Some(Timestamp::from_second(now).ok()?.to_zoned_datetime(self.zone.clone()))
    }

    fn in_maintenance(&self, local: &ZonedDateTime, now: i64) -> Option<&Maintenance> {
        self.maintenance.iter().find(|window| match &window.when {
            When::Weekly(weekly) => weekly.holds(local),
            When::Once { from, to, .. } => (*from..*to).contains(&now),
        })
    }
}

fn zone(reader: &Reader<'_, '_>) -> Option<(TimeZone, Arc<str>)> {
    let name = reader.string("time_zone").unwrap_or_else(|| "UTC".to_owned());
    if let Ok(zone) = ZONES.get(&name) {
        return Some((zone, Arc::from(name)));
    }
    let known: Vec<String> = ZONES.available().map(|name| name.to_string()).collect();
    let nearest = crate::yaml::nearest(&name, known.iter().map(String::as_str));
    let nearest = nearest.map_or_else(String::new, |nearest| format!(" (did you mean `{nearest}`?)"));
    reader.wrong("time_zone", format!("`{name}` is no time zone; write one such as Europe/Berlin or UTC{nearest}"));
    None
}

impl Weekly {
    fn read(reader: &Reader<'_, '_>) -> Option<Self> {
        let days = match reader.strings("days") {
            None => Some([true; 7]),
            Some(words) => days(&words).or_else(|| {
                reader.wrong("days", "expected days such as mon, or a range such as mon-fri");
                None
            }),
        };
        let hours = match reader.strings("hours") {
            None => Some(vec![(0, MINUTES_A_DAY)]),
            Some(spans) => spans.iter().map(|span| hours(span)).collect::<Option<Vec<_>>>().or_else(|| {
                reader.wrong(
                    "hours",
                    "expected hours such as \"08:00-18:00\", in quotes; 22:00-06:00 ends on the next day",
                );
                None
            }),
        };
        let written =
            [reader.strings("days"), reader.strings("hours")].into_iter().flatten().map(|list| list.join(", "));
        let written = written.collect::<Vec<_>>().join(" ");
        Some(Self { written, days: days?, hours: hours? })
    }

    fn holds(&self, local: &ZonedDateTime) -> bool {
        let time = local.time();
        let minute = i16::from(time.hour()) * 60 + i16::from(time.minute());
        let today = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or(0);
        let begins = |day: usize| self.days.get(day).copied().unwrap_or(false);
        self.hours.iter().any(|(from, to)| {
            let overnight = to <= from;
            let since = begins(today) && minute >= *from && (overnight || minute < *to);
            since || (overnight && begins((today + 6) % 7) && minute < *to)
        })
    }
}

impl Maintenance {
    fn read(node: &Node, path: &str, zone: &TimeZone, mistakes: &Mistakes) -> Option<Self> {
        let reader = Reader::new(node, path, mistakes);
        let why = reader.string("why");
        let (from, to) = (reader.string("from"), reader.string("to"));
        let when = match (from, to) {
            (Some(from), Some(to)) => {
                let read = |key: &str, text: &str| {
                    moment(text, zone).or_else(|| {
                        reader.wrong(
                            key,
                            format!("`{text}` is no time; write 2026-12-24T18:00, in the schedule's time zone"),
                        );
                        None
                    })
                };
                let (begin, end) = (read("from", &from), read("to", &to));
                let (begin, end) = (begin?, end?);
                if begin >= end {
                    reader.wrong("to", "the window ends before it begins");
                }
                Some(When::Once { from: begin, to: end, written: format!("{from} to {to}") })
            }
            (None, None) if reader.node("days").is_some() || reader.node("hours").is_some() => {
                Weekly::read(&reader).map(When::Weekly)
            }
            _ => {
                mistakes.add(
                    path,
                    node.at(),
                    "expected `from` and `to`, or `days` and `hours` that come again every week",
                );
                None
            }
        };
        reader.close();
        Some(Self { when: when?, why })
    }
}

/// A range goes on over Sunday: `sat-mon` is three days.
fn days(words: &[String]) -> Option<[bool; 7]> {
    let number = |word: &str| DAYS.iter().position(|(name, _)| word.to_ascii_lowercase().starts_with(name));
    let mut found = [false; 7];
    for word in words.iter().flat_map(|word| word.split(',')).map(str::trim) {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (mut day, last) = (number(first.trim())?, number(last.trim())?);
        loop {
            *found.get_mut(day)? = true;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    found.contains(&true).then_some(found)
}

fn hours(span: &str) -> Option<(i16, i16)> {
    let (from, to) = span.split_once('-')?;
    let (from, to) = (minute(from.trim())?, minute(to.trim())?);
    (from != to && from != MINUTES_A_DAY).then_some((from, to))
}

fn minute(text: &str) -> Option<i16> {
    if text == "24:00" {
        return Some(MINUTES_A_DAY);
    }
    let time: Time = text.parse().ok()?;
    (time.second() == 0).then(|| i16::from(time.hour()) * 60 + i16::from(time.minute()))
}

fn moment(text: &str, zone: &TimeZone) -> Option<i64> {
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Some(exact.as_second());
    }
    let local: DateTime = text.parse().ok()?;
    Some(zone.to_timestamp(local).ok()?.as_second())
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.open.written.is_empty() { "at any time" } else { self.open.written.as_str() };
        write!(f, "{open} in {}", self.zone_name)?;
        for (index, window) in self.maintenance.iter().enumerate() {
            f.write_str(if index == 0 { ", but not " } else { ", " })?;
            match &window.when {
                When::Weekly(weekly) => f.write_str(&weekly.written)?,
                When::Once { written, .. } => f.write_str(written)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn schedule(text: &str) -> Schedule {
        let mistakes = Mistakes::default();
        let node = parse(text, &mistakes).expect("yaml");
        let schedule = Schedule::read(&node, "schedule", &mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        schedule.expect("no mistakes")
    }

    #[track_caller]
    fn check(text: &str, times: &[(&str, bool)]) {
        let schedule = schedule(text);
        for (time, open) in times {
            let now = time.parse::<Timestamp>().expect("a time").as_second();
            assert_eq!(schedule.judge(now), Verdict::from_bool(*open), "{text} at {time}: {}", schedule.found(now));
        }
    }

    #[test]
    fn days_and_hours_are_those_of_the_zone_in_summer_and_winter() {
        check(
            "{time_zone: Europe/Berlin, days: mon-fri, hours: '08:00-18:00'}",
            &[
                ("2026-01-14T06:59:59Z", false),
                ("2026-01-14T07:00:00Z", true),
                ("2026-07-15T06:00:00Z", true),
                ("2026-07-15T15:59:59Z", true),
                ("2026-07-15T16:00:00Z", false),
                ("2026-07-18T10:00:00Z", false),
            ],
        );
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        check(
            "{days: [fri, sun], hours: '22:00-06:00'}",
            &[
                ("2026-03-13T21:59:00Z", false),
                ("2026-03-13T22:00:00Z", true),
                ("2026-03-14T05:59:00Z", true),
                ("2026-03-14T06:00:00Z", false),
                ("2026-03-14T23:00:00Z", false),
                ("2026-03-16T05:00:00Z", true),
            ],
        );
        check(
            "{days: sat-mon, hours: '00:00-24:00'}",
            &[("2026-03-16T23:59:00Z", true), ("2026-03-17T00:00:00Z", false)],
        );
    }

    #[test]
    fn maintenance_windows_close_it_once_or_every_week() {
        let text = "{time_zone: America/New_York, maintenance: [{from: 2026-12-24T18:00, to: 2026-12-27T00:00, why: holidays}, \
                    {days: sun, hours: '02:00-04:00'}]}";
        check(
            text,
            &[
                ("2026-12-24T22:59:59Z", true),
                ("2026-12-24T23:00:00Z", false),
                ("2026-12-27T05:00:00Z", true),
                ("2026-12-20T07:30:00Z", false),
                ("2026-12-20T09:00:00Z", true),
            ],
        );
        let schedule = schedule(text);
        let now = "2026-12-25T12:00:00Z".parse::<Timestamp>().expect("a time").as_second();
        assert_eq!(schedule.found(now), "Fri 2026-12-25 07:00 EST, in maintenance: holidays");
        assert_eq!(
            schedule.to_string(),
            "at any time in America/New_York, but not 2026-12-24T18:00 to 2026-12-27T00:00, sun 02:00-04:00"
        );
    }

    #[test]
    fn the_hour_that_a_change_of_clocks_leaves_out_and_the_one_it_repeats_are_judged_by_the_local_time() {
        // 02:00 to 03:00 does not exist on this day, and exists twice on the other.
        check(
            "{time_zone: Europe/Berlin, hours: '02:00-03:00'}",
            &[
                ("2026-03-29T00:59:59Z", false),
                ("2026-03-29T01:00:00Z", false),
                ("2026-10-25T00:30:00Z", true),
                ("2026-10-25T01:30:00Z", true),
            ],
        );
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, what) in [
            (
                "{time_zone: Europe/Berln}",
                "schedule.time_zone: `Europe/Berln` is no time zone; write one such as Europe/Berlin or UTC (did you mean `Europe/Berlin`?)",
            ),
            ("{days: mo-fr}", "schedule.days: expected days such as mon, or a range such as mon-fri"),
            (
                "{hours: 8-18}",
                "schedule.hours: expected hours such as \"08:00-18:00\", in quotes; 22:00-06:00 ends on the next day",
            ),
            (
                "{maintenance: [{from: 2026-01-02T00:00, to: 2026-01-01T00:00}]}",
                "schedule.maintenance[0].to: the window ends before it begins",
            ),
            (
                "{maintenance: [{from: tomorrow, to: 2026-01-01T00:00}]}",
                "schedule.maintenance[0].from: `tomorrow` is no time; write 2026-12-24T18:00, in the schedule's time zone",
            ),
            (
                "{maintenance: [{why: x}]}",
                "schedule.maintenance[0]: expected `from` and `to`, or `days` and `hours` that come again every week",
            ),
            ("{zone: UTC}", "schedule.zone: unknown key"),
        ] {
            let mistakes = Mistakes::default();
            let node = parse(text, &mistakes).expect("yaml");
            assert!(Schedule::read(&node, "schedule", &mistakes).is_none(), "{text}");
            let found = mistakes.all().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert!(found.contains(what), "{text}: {found}");
        }
    }
}
