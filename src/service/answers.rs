//! What the JSON API answers: the same as the page, typed. Whatever may quote the outside is scrubbed by the caller.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client::{FetchState, PartitionSnapshot, Snapshot};
use crate::ledger::{Filter, Ledger, Summary};

/// Rows of one answer.
const ROWS_MAX: usize = 100;
/// How far back "recent" reaches.
const RECENT: Duration = Duration::from_hours(1);

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
        "partitions": consumer.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}

fn partition(of: &PartitionSnapshot) -> Value {
    let offset = |offset: Option<crate::client::Offset>| offset.map(kafka_proto::id::Offset::get);
    json!({
        "partition": of.partition.to_string(),
        "fetching": matches!(of.state, FetchState::Fetching),
        "state": format!("{:?}", of.state),
        "delivered": offset(of.delivered),
        "committed": offset(of.committed),
        "high_watermark": offset(of.high_watermark),
        "lag_records": of.lag_records,
        "lag_s": of.lag.map(|lag| lag.as_secs_f64()),
        "buffered_bytes": of.buffered_bytes,
    })
}

/// Episodes that nobody has finished with, oldest first. Reads the ledger.
pub(super) fn open(ledger: &Ledger) -> Result<Value, String> {
    let mut found = Vec::new();
    for state in ["attempting", "started", "unknown", "held", "intended"] {
        let filter = Filter { state: Some(state.to_owned()), ..Filter::default() };
        collect(ledger, &filter, &mut found)?;
    }
    found.sort_by_key(|summary| summary.last_ms);
    Ok(rows(&found))
}

/// What was recorded lately, or all of one incident; newest first. Reads the ledger.
pub(super) fn decisions(ledger: &Ledger, incident: Option<&str>) -> Result<Value, String> {
    let since = incident.is_none().then(|| now_ms().saturating_sub(millis(RECENT)));
    let filter = Filter { incident: incident.map(str::to_owned), from_ms: since, ..Filter::default() };
    let mut found = Vec::new();
    collect(ledger, &filter, &mut found)?;
    found.sort_by_key(|summary| std::cmp::Reverse(summary.last_ms));
    Ok(rows(&found))
}

/// Keeps the newest: a storm in the ledger must not become one in memory.
fn collect(ledger: &Ledger, filter: &Filter, found: &mut Vec<Summary>) -> Result<(), String> {
    let visited = ledger.history(filter, &mut |summary| {
        found.push(summary);
        if found.len() >= ROWS_MAX.saturating_mul(4) {
            found.sort_by_key(|summary| std::cmp::Reverse(summary.last_ms));
            found.truncate(ROWS_MAX);
        }
        ControlFlow::Continue(())
    });
    visited.map_err(|error| error.to_string())
}

fn rows(found: &[Summary]) -> Value {
    let now = now_ms();
    let one = |summary: &Summary| {
        let (reason, attempts) = (summary.state.reason(), summary.state.attempts());
        json!({
            "episode": summary.key.to_string(),
            "incident": summary.key.incident,
            "alert": summary.key.alert,
            "condition": summary.key.condition,
            "action": summary.key.action,
            "state": summary.state.name(),
            "reason": reason,
            "attempts": attempts,
            "first_ms": summary.first_ms,
            "last_ms": summary.last_ms,
            "age_s": u64::try_from(now.saturating_sub(summary.last_ms).max(0)).unwrap_or(0) / 1000,
        })
    };
    found.iter().take(ROWS_MAX).map(one).collect()
}

fn now_ms() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
