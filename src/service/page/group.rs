//! The group, its partitions and the connections behind them.

use std::time::Duration;

use crate::client::{BrokerConnection, ConnectionState, FetchState, FlightEntry, Offset, PartitionSnapshot, Snapshot};
use crate::http::{Cell, Fact, Part, Row, Section, Table, Tone};

use super::{length, thousands};

pub(super) fn section(consumer: &Snapshot) -> Section {
    let table = Table {
        caption: None,
        columns: &["Partition", "Fetching", "Delivered", "Committed", "End", "Lag, records", "Lag, time", "Leader"],
        numbers: &["Delivered", "Committed", "End", "Lag, records", "Lag, time", "Leader"],
        rows: consumer.partitions.iter().map(partition).collect(),
        empty: "no partition is assigned",
    };
    let parts = vec![Part::Facts(facts(consumer)), Part::Heading("Partitions".to_owned()), Part::Table(table)];
    Section { id: "group", title: "Group and partitions".to_owned(), folded: false, parts }
}

fn facts(consumer: &Snapshot) -> Vec<Fact> {
    let group = &consumer.group;
    let tone = if group.state == "Stable" { Tone::Good } else { Tone::Bad };
    let fact = |name, value: String| Fact { name, value: value.into() };
    let mut facts = vec![Fact { name: "State", value: Cell::toned(&*group.state, tone) }];
    facts.extend(group.generation.map(|generation| fact("Generation", generation.to_string())));
    facts.extend(group.coordinator.map(|broker| fact("Coordinator", format!("broker {broker}"))));
    facts.extend(group.member_id.clone().map(|member| fact("Member", member)));
    facts.extend(
        group.session_left.map(|left| fact("Session", format!("holds for {} without another heartbeat", length(left)))),
    );
    let joined = group.last_join.as_ref().map(|why| format!("; the last join: {why}")).unwrap_or_default();
    facts.push(fact("Rebalances", format!("{}{joined}", consumer.counters.assignments)));
    facts.extend(
        group.last_error.clone().map(|error| Fact { name: "Last error", value: Cell::toned(error, Tone::Plain) }),
    );
    facts.extend(consumer.metadata_error.clone().map(|error| fact("Metadata", error)));
    facts
}

fn partition(of: &PartitionSnapshot) -> Row {
    let number = |offset: Option<Offset>| offset.map_or_else(|| "–".to_owned(), |offset| offset.get().to_string());
    let lag = of.lag_records.map_or_else(|| "–".to_owned(), thousands);
    vec![
        of.partition.to_string().into(),
        fetching(&of.state),
        number(of.delivered).into(),
        number(of.committed).into(),
        number(of.high_watermark).into(),
        lag.into(),
        of.lag.map_or_else(|| "–".to_owned(), length).into(),
        of.leader.map_or_else(|| "–".to_owned(), |leader| leader.to_string()).into(),
    ]
}

fn fetching(state: &FetchState) -> Cell {
    let wait = |text: &str| Cell::toned(text, Tone::Neutral);
    match state {
        FetchState::Fetching => Cell::toned("yes", Tone::Good),
        FetchState::Paused => wait("paused"),
        FetchState::QueueFull => wait("enough is fetched"),
        FetchState::AwaitingCommittedOffset => wait("asks for the committed offset"),
        FetchState::Resetting => wait("asks for a new position"),
        FetchState::CheckingRange => wait("out of range; asks for the bounds"),
        FetchState::Validating => wait("the leader changed; compares logs"),
        FetchState::AwaitingLeader => Cell::toned("there is no leader", Tone::Warn),
        FetchState::BackingOff { error, retry_in } => {
            Cell::from(format!("no: {error}; again in {}", length(*retry_in)))
        }
        FetchState::Parked(cause) => Cell::from(format!("no, given up: {cause:?}")),
    }
}

pub(super) fn connections(consumer: &Snapshot) -> Section {
    let table = Table {
        caption: None,
        columns: &["Broker", "For", "State", "Address", "Last error"],
        numbers: &[],
        rows: consumer.connections.iter().map(connection).collect(),
        empty: "none yet",
    };
    Section { id: "connections", title: "Connections".to_owned(), folded: true, parts: vec![Part::Table(table)] }
}

fn connection(of: &BrokerConnection) -> Row {
    vec![
        of.broker.map_or_else(|| "bootstrap".to_owned(), |broker| broker.to_string()).into(),
        of.purpose.name().into(),
        state(&of.state),
        of.address.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string).into(),
        of.last_error.clone().unwrap_or_default().into(),
    ]
}

/// As many of the newest steps as a person reads; all of them are in `/api/v1/client`.
const STEPS_SHOWN: usize = 60;

pub(super) fn flight_recorder(steps: &[FlightEntry]) -> Section {
    let table = Table {
        caption: None,
        columns: &["Ago", "Step", "About", "Times"],
        numbers: &["Times"],
        rows: steps.iter().rev().take(STEPS_SHOWN).map(step).collect(),
        empty: "none yet",
    };
    let parts = vec![Part::Table(table)];
    Section { id: "flight", title: "Last steps of the protocol".to_owned(), folded: true, parts }
}

fn step(of: &FlightEntry) -> Row {
    vec![
        length(of.last_at.elapsed()).into(),
        of.step.name().replace('_', " ").into(),
        of.detail.to_string().into(),
        of.times.to_string().into(),
    ]
}

fn state(state: &ConnectionState) -> Cell {
    let since = |age: &Duration| format!("connected for {}", length(*age));
    match state {
        ConnectionState::Connected { age, .. } => Cell::toned(since(age), Tone::Good),
        ConnectionState::Closed => Cell::toned("closed", Tone::Neutral),
        ConnectionState::BackingOff { retry_in } => {
            Cell::toned(format!("failed; again in {}", length(*retry_in)), Tone::Bad)
        }
    }
}
