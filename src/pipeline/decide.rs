//! The records of one batch: parsed, decided, and all but the matched ones forgotten. No waiting, no effects.

use std::sync::Arc;

use kafka_proto::id::{LeaderEpoch, Offset};
use kafka_proto::record::Record;
use tokio::time::Instant;
use tracing::Span;

use crate::condition::{Decision, Match};
use crate::dead_letter::DeadLetter;
use crate::incident::Incident;
use crate::ledger::Note;
use crate::pipeline::feed::{Batch, Right};
use crate::pipeline::rulebook::Edition;
use crate::pipeline::run::Shared;
use crate::pipeline::trace;

/// What became of a batch.
pub(crate) struct Decided<R> {
    pub(crate) right: R,
    /// Which assignment of the partition it was read under, counted by the pipeline.
    pub(crate) assignment: u64,
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) size: usize,
    pub(crate) records: usize,
    pub(crate) arrived: Instant,
    /// The rules that all of it was decided by.
    pub(crate) rules: Arc<Edition>,
    /// In the order of their offsets.
    pub(crate) open: Vec<Open>,
    /// What conditions have to remember: on disk before any of this counts.
    pub(crate) notes: Vec<Note>,
}

/// A record that is not done yet.
pub(crate) enum Open {
    Matched(Candidate),
    /// No incident, or one that a condition must judge and cannot.
    Malformed(DeadLetter),
}

/// A record that matched, or that has to settle what was left open of its incident, copied out of its batch.
pub(crate) struct Candidate {
    pub(crate) offset: Offset,
    pub(crate) incident: Arc<str>,
    pub(crate) updated_on: Option<i64>,
    pub(crate) matched: Option<Match>,
    pub(crate) value: Vec<u8>,
    /// What happens to it, for OpenTelemetry.
    pub(crate) span: Span,
}

impl Open {
    pub(crate) fn offset(&self) -> Offset {
        match self {
            Self::Matched(candidate) => candidate.offset,
            Self::Malformed(letter) => Offset(letter.offset),
        }
    }
}

/// Decides every record of a batch.
pub(crate) fn decide<B: Batch>(batch: &B, assignment: u64, shared: &Shared) -> Decided<B::Right> {
    let rules = shared.domain.rulebook.now();
    let mut decided = Decided {
        right: batch.right().clone(),
        assignment,
        first: batch.first_offset(),
        next: batch.next_offset(),
        leader_epoch: batch.leader_epoch(),
        size: batch.size(),
        records: 0,
        arrived: Instant::now(),
        rules: Arc::clone(&rules),
        open: Vec::new(),
        notes: Vec::new(),
    };
    let now = shared.domain.now_s();
    batch.each(&mut |record| {
        decided.records += 1;
        decided.open.extend(judge(&record, batch.right(), (shared, &rules), now, &mut decided.notes));
    });
    decided
}

fn judge<R: Right>(
    record: &Record<'_>,
    right: &R,
    (shared, rules): (&Shared, &Edition),
    now: i64,
    notes: &mut Vec<Note>,
) -> Option<Open> {
    let value = record.value.unwrap_or_default();
    if is_passed_over(value, shared, rules) {
        return None;
    }
    let incident = match Incident::parse_within(value, &shared.domain.incident_limits) {
        Ok(incident) => incident,
        Err(error) => return Some(Open::Malformed(letter(record, right, &error))),
    };
    shared.cleared.seen(&incident);
    let decision = shared.lookback.decide(&rules.conditions, &incident, now, notes);
    let Decision { matched, undecided, seen: _ } = decision;
    if matched.is_none() {
        shared.newest.unmatched(&incident.id, incident.updated_on);
        if !shared.may_be_left(&incident.id) {
            return undecided.map(|error| Open::Malformed(letter(record, right, &error)));
        }
    }
    let id: Arc<str> = Arc::from(&*incident.id);
    // Also a snapshot that is stale already: what a former process began for it has to be settled before its offset is done.
    if matched.is_some() {
        shared.newest.matched(&id, incident.updated_on);
        shared.guards.matched(&rules.guards, now.saturating_mul(1000));
    }
    let span = trace::received(record, right.partition(), &id, matched.as_ref(), shared.domain.adopt);
    Some(Open::Matched(Candidate {
        offset: record.offset,
        incident: id,
        updated_on: incident.updated_on,
        matched,
        value: value.to_vec(),
        span,
    }))
}

/// Whether nothing matches a record and nobody waits for it, as far as that shows without reading it whole.
fn is_passed_over(value: &[u8], shared: &Shared, rules: &Edition) -> bool {
    // Whoever waits for the end of an alert has to see the alerts.
    if shared.cleared.is_awaited() {
        return false;
    }
    // A ledger for several replicas would have to be asked for each id, which costs more than reading the record.
    if shared.domain.passes_over_unread && !shared.domain.ledger.is_shared() {
        let unread = rules.conditions.rule_out(value).filter(|_| value.len() <= shared.domain.incident_limits.bytes);
        if unread.is_some_and(|unread| !unread.may_be_about(|id| shared.newest.knows(id) || shared.may_be_left(id))) {
            return true;
        }
    }
    let Some(head) = rules.conditions.rule_out_by_head(value, &shared.domain.incident_limits) else { return false };
    shared.newest.unmatched(&head.id, head.updated_on);
    !shared.may_be_left(&head.id)
}

fn letter<R: Right>(record: &Record<'_>, right: &R, why: &impl std::fmt::Display) -> DeadLetter {
    let partition = right.partition();
    DeadLetter {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        offset: record.offset.get(),
        timestamp_ms: record.timestamp_ms,
        reason: why.to_string(),
        key_base64: record.key.map(<[u8]>::to_vec),
        value_base64: record.value.map(<[u8]>::to_vec),
        // A header that does not parse was refused with its batch, by the client.
        headers: record.headers().flatten().map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect(),
    }
}
