//! What the JSON API answers: the same as the page, typed. Whatever may quote the outside is scrubbed by the caller.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::client::{BrokerConnection, ConnectionState, FetchState, FlightEntry, PartitionSnapshot, Snapshot};
use crate::http::{Trouble, Wanted};
use crate::ledger::{Entry, EpisodeKey, Filter, Ledger, Record, Summary};

use crate::pipeline::wall_clock_ms;

use super::page::ROWS_MAX;
use super::settlement::{Meanwhile, Settle, settlement};
use crate::guard::{Reset, Which};

use super::surface::Running;

/// Episodes of one page for programs that read them all.
const PAGE_MAX: usize = 2_000;

/// The group and its partitions.
pub(super) fn group(consumer: &Snapshot) -> Value {
    let group = &consumer.group;
    json!({
        "state": group.state,
        "generation": group.generation.map(|generation| generation.to_string()),
        "coordinator": group.coordinator.map(|broker| broker.to_string()),
        "session_left_s": group.session_left.map(|left| left.as_secs_f64()),
        "last_error": group.last_error,
        "rebalances": consumer.counters.assignments,
        "joins": group.joins,
        "last_join": group.last_join,
        "partitions": consumer.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}

fn partition(of: &PartitionSnapshot) -> Value {
    let offset = |offset: Option<crate::client::Offset>| offset.map(kafka_proto::id::Offset::get);
    json!({
        "partition": of.partition.to_string(),
        "fetching": matches!(of.state, FetchState::Fetching),
        "state": format!("{:?}", of.state),
        "position": offset(of.position),
        "delivered": offset(of.delivered),
        "committed": offset(of.committed),
        "high_watermark": offset(of.high_watermark),
        "last_stable_offset": offset(of.last_stable_offset),
        "lag_records": of.lag_records,
        "lag_s": of.lag.map(|lag| lag.as_secs_f64()),
        "buffered_bytes": of.buffered_bytes,
    })
}

/// The connections, what was counted, and the newest decisive steps, oldest first.
pub(super) fn client(consumer: &Snapshot, steps: &[FlightEntry]) -> Value {
    json!({
        "connections": consumer.connections.iter().map(connection).collect::<Vec<_>>(),
        "metadata_error": consumer.metadata_error,
        "buffered_bytes": consumer.buffered_bytes,
        "throttles": consumer.counters.throttles,
        "skipped_batches": consumer.counters.skipped_batches,
        "fenced_commits": consumer.counters.fenced_commits,
        "flight_recorder": steps.iter().map(step).collect::<Vec<_>>(),
    })
}

fn connection(of: &BrokerConnection) -> Value {
    let (to, session_left) = match &of.state {
        ConnectionState::Connected { to, session_left, .. } => (Some(to.to_string()), *session_left),
        ConnectionState::Closed | ConnectionState::BackingOff { .. } => (None, None),
    };
    json!({
        "broker": of.broker.map(|broker| broker.to_string()),
        "address": of.address.as_ref().map(ToString::to_string),
        "resolved": of.resolved.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "purpose": of.purpose.name(),
        "state": of.state.name(),
        "to": to,
        "session_left_s": session_left.map(|left| left.as_secs_f64()),
        "last_error": of.last_error,
        "failed_layer": of.failed_layer,
    })
}

fn step(of: &FlightEntry) -> Value {
    let since_epoch = of.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "number": of.number,
        "at_ms": u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        "seconds_ago": of.at.elapsed().as_secs_f64(),
        "step": of.step.name(),
        "detail": of.detail,
        "times": of.times,
        "last_seconds_ago": of.last_at.elapsed().as_secs_f64(),
    })
}

/// What was recorded of one incident, newest first.
pub(super) fn of_incident(ledger: &Ledger, incident: &str) -> Result<Vec<Summary>, Trouble> {
    let filter = Filter { incident: Some(incident.to_owned()), ..Filter::default() };
    let mut found = Vec::new();
    let visited = ledger.history(&filter, &mut |summary| {
        found.push(summary);
        if found.len() < PAGE_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    visited.map_err(not_now)?;
    found.sort_by_key(|summary| std::cmp::Reverse(summary.last_ms));
    Ok(found)
}

/// The same with every record.
pub(super) fn stories(ledger: &Ledger, incident: &str) -> Result<Vec<(Summary, Vec<Record>)>, Trouble> {
    let runtime = Handle::current();
    let whole = |summary: Summary| {
        let entries = runtime.block_on(ledger.entries(summary.key.clone())).map_err(not_now)?;
        Ok((summary, entries))
    };
    of_incident(ledger, incident)?.into_iter().take(ROWS_MAX).map(whole).collect()
}

/// A page of episodes as the ledger has them, in its order, and whether there are more.
pub(super) fn episodes(ledger: &Ledger, wanted: &Wanted) -> Result<Value, Trouble> {
    let after = wanted.after.as_deref().map(key).transpose()?;
    let filter = Filter {
        incident: wanted.incident.clone(),
        condition: wanted.condition.clone(),
        state: wanted.outcome.clone(),
        from_ms: wanted.from_ms,
        to_ms: wanted.to_ms,
        after,
    };
    let (mut found, mut more) = (Vec::new(), false);
    let visited = ledger.history(&filter, &mut |summary| {
        more = found.len() >= PAGE_MAX;
        if more {
            return ControlFlow::Break(());
        }
        found.push(summary);
        ControlFlow::Continue(())
    });
    visited.map_err(not_now)?;
    Ok(json!({"episodes": found, "more": more}))
}

/// Every record of an episode, oldest first; none where the ledger does not know it.
pub(super) fn episode(ledger: &Ledger, text: &str) -> Result<Value, Trouble> {
    let entries = Handle::current().block_on(ledger.entries(key(text)?)).map_err(not_now)?;
    serde_json::to_value(entries).map_err(not_now)
}

/// Writes down what a person says of an episode that is held.
pub(super) fn settle(running: &Running, text: &str, how: &str, who: &str, why: &str) -> Result<(), Trouble> {
    let key = key(text)?;
    let how =
        Settle::named(how).ok_or_else(|| Trouble::Wrong(format!("`{how}` is none of succeeded, failed and retry")))?;
    let runtime = Handle::current();
    let state = runtime.block_on(running.ledger.state(key.clone())).map_err(not_now)?;
    let outcome = settlement(&state, how, who, why, Meanwhile::TheService)
        .map_err(|why| Trouble::NotNow(format!("{key}: {why}")))?;
    let incident = Arc::from(key.incident.as_str());
    let record = Record { key, at_ms: wall_clock_ms(), entry: Entry::Outcome(outcome) };
    runtime.block_on(running.ledger.append(vec![record])).map_err(not_now)?;
    if how == Settle::Retry {
        // Its next snapshot takes it up, also one that matches nothing any more.
        running.left.add(incident);
    }
    Ok(())
}

/// Makes the guards forget what a person says.
pub(super) fn reset(running: &Running, what: &str, who: &str, why: &str) -> Result<(), Trouble> {
    let which = Which::named(what)
        .ok_or_else(|| Trouble::Wrong(format!("`{what}` is none of all, budgets, breakers and storm")))?;
    let reset = Reset::new(which, who, why, wall_clock_ms()).map_err(Trouble::Wrong)?;
    Handle::current().block_on(running.desk.reset(&running.ledger, &reset)).map(drop).map_err(Trouble::NotNow)
}

fn key(text: &str) -> Result<EpisodeKey, Trouble> {
    text.parse().map_err(|error: crate::ledger::EpisodeKeyError| Trouble::Wrong(error.to_string()))
}

fn not_now(error: impl std::fmt::Display) -> Trouble {
    Trouble::NotNow(error.to_string())
}
