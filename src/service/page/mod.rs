//! The page, put together from what the parts know of themselves. Pure, given what was read: the ledger's part is read by [`view`].
//!
//! Everything here may quote the outside; the caller scrubs it, and the listener escapes it.

mod group;
mod guards;
mod ledger;
mod view;

use std::time::Duration;

use crate::client::Snapshot;
use crate::http::{Cell, Fact, Part, Section, Tone};

pub(super) use guards::{Switch, answer as guards_answer};
pub(super) use ledger::story;
pub(super) use view::{Cache, ROWS_MAX, View, rows};

use super::surface::Running;

/// The numbers at the top.
pub(super) fn tiles(consumer: &Snapshot, running: &Running, view: Option<&View>) -> Vec<Fact> {
    let tile = |name, value: Cell| Fact { name, value };
    let lag: Option<u64> = consumer.partitions.iter().map(|partition| partition.lag_records).sum();
    let stable = consumer.group.state == "Stable";
    let mut tiles = vec![
        tile("group", Cell::toned(&*consumer.group.state, if stable { Tone::Good } else { Tone::Bad })),
        tile("partitions", consumer.partitions.len().to_string().into()),
        tile("lag, records", lag.map_or_else(|| "unknown".into(), |lag| thousands(lag).into())),
        tile("incidents running", running.pipeline.running().to_string().into()),
        tile("incidents waiting", running.pipeline.waiting().to_string().into()),
    ];
    if let Some(view) = view {
        let of = |name: &str| view.open.iter().filter(|episode| episode.state.name() == name).count();
        let (held, unknown) = (view.held, of("unknown"));
        let tone = |count: usize, tone| if count > 0 { tone } else { Tone::Plain };
        tiles.push(tile("actions held", Cell::toned(held.to_string(), tone(held, Tone::Warn))));
        tiles.push(tile("actions unknown", Cell::toned(unknown.to_string(), tone(unknown, Tone::Bad))));
    }
    tiles
}

/// The sections in their order, for a service that runs.
pub(super) fn sections(
    consumer: &Snapshot,
    running: &Running,
    switches: &[Switch],
    ledger: Option<&View>,
    found: Option<Section>,
) -> Vec<Section> {
    let mut sections =
        vec![incidents(running), ledger::open(ledger), guards::section(running, switches), group::section(consumer)];
    match found {
        Some(section) => sections.insert(0, section),
        None => sections.insert(2, ledger::recent(ledger)),
    }
    sections.push(group::connections(consumer));
    sections.push(group::flight_recorder(&running.consumer.flight_recorder()));
    sections.push(since_the_start(running));
    sections
}

fn incidents(running: &Running) -> Section {
    let parts = vec![Part::Chart(running.tally.hour().chart()), Part::Table(running.tally.hour().table())];
    Section { id: "incidents", title: "Incidents of the last hour".to_owned(), folded: false, parts }
}

fn since_the_start(running: &Running) -> Section {
    let heading = |text: &str| Part::Heading(text.to_owned());
    let parts = vec![
        heading("Incidents"),
        Part::Table(running.tally.incident_table()),
        heading("Actions"),
        Part::Table(running.tally.action_table()),
    ];
    Section { id: "totals", title: "Since the start".to_owned(), folded: true, parts }
}

/// How an outcome or a state is meant.
pub(super) fn toned(name: &str) -> Cell {
    let tone = match name {
        "succeeded" => Tone::Good,
        "failed" | "unknown" => Tone::Bad,
        "held" | "retrying" => Tone::Warn,
        _ => Tone::Neutral,
    };
    Cell::toned(name.replace('_', " "), tone)
}

/// How long something is, for people.
pub(super) fn length(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// 1234567 as 1,234,567.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_written_for_people() {
        let cases = [(7, "7"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in cases {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(length(Duration::from_secs(90)), "90 s");
        assert_eq!(length(Duration::from_mins(61)), "61 min");
        assert_eq!(length(Duration::from_mins(150)), "2 h 30 min");
        assert_eq!(length(Duration::from_hours(72)), "3 days");
    }
}
