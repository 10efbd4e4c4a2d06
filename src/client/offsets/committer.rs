//! Sends commits, one after the other.
//!
//! Promised: what is sent is owned at that moment, under the assignment it was read with (fault G5), and never below what
//! this assignment has committed; one commit is finished before the next begins, so none overtakes another (fault G16);
//! errors that pass are tried again until the commit's deadline (faults G11, G17); a refusal that says the member is not
//! one any more goes to the membership, which rejoins at once, but while a rebalance is under way a generation that is over
//! only means to wait for the next one (fault G4).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_proto::backoff::Backoff;
use kafka_proto::error_code::{ErrorClass, ErrorCode};
use kafka_proto::id::{Generation, TopicPartition};
use tokio::sync::{mpsc, watch};

use crate::client::consumer::Board;
use crate::client::flight::{FlightRecorder, FlightStep, Named};
use crate::client::group::GroupStatus;
use crate::client::offsets::commit::{
    Commit, CommitError, CommitJob, CommitOffset, CommitReport, CommittedOffset, DropCause, DroppedOffset,
    RejectedOffset,
};
use crate::client::offsets::coordinator::Coordinator;
use crate::client::request::offset_commit::{OffsetCommit, OffsetCommitAnswer, OffsetToCommit};

/// As whom to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) member_id: Arc<str>,
    pub(crate) generation: Generation,
}

/// The task that commits.
pub(crate) struct Committer {
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) group_instance_id: Option<String>,
    /// The current membership.
    pub(crate) member: watch::Receiver<Option<Member>>,
    /// Where the membership stands, which may be ahead of the assignment that `member` comes from.
    pub(crate) group: watch::Receiver<GroupStatus>,
    /// Where refusals that concern the membership go.
    pub(crate) rejections: mpsc::UnboundedSender<(Generation, ErrorCode)>,
    pub(crate) board: Arc<Board>,
    pub(crate) flight: Arc<FlightRecorder>,
    pub(crate) request_timeout: Duration,
    pub(crate) backoff: Backoff,
}

/// What is left of a commit, and what became of the rest.
struct Progress {
    todo: Vec<(TopicPartition, CommitOffset)>,
    report: CommitReport,
    last: String,
}

impl Committer {
    /// Works until all senders are gone.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<CommitJob>) {
        while let Some(job) = jobs.recv().await {
            let outcome = self.commit(job.offsets, job.deadline).await;
            // Whoever asked may have stopped waiting; the commit counts all the same.
            let _ = job.answer.send(outcome);
        }
    }

    async fn commit(&mut self, offsets: Commit, deadline: Instant) -> Result<CommitReport, CommitError> {
        let last = "not sent yet".to_owned();
        let mut progress = Progress { todo: offsets.into_entries().collect(), report: CommitReport::default(), last };
        self.backoff.reset();
        loop {
            self.drop_what_may_not_be_sent(&mut progress);
            if progress.todo.is_empty() {
                return Ok(progress.report);
            }
            self.attempt(&mut progress, deadline).await?;
            if progress.todo.is_empty() {
                return Ok(progress.report);
            }
            let pause = self.backoff.next(crate::client::consumer::random());
            if Instant::now() + pause >= deadline {
                return Err(CommitError::Deadline { last: progress.last });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Judged again before every attempt: a partition may go while a commit is being retried.
    fn drop_what_may_not_be_sent(&self, progress: &mut Progress) {
        let todo = std::mem::take(&mut progress.todo);
        for (partition, entry) in todo {
            let behind = entry.ownership.committed().filter(|committed| *committed > entry.next);
            let cause = match (entry.ownership.check_commit(), behind) {
                (Err(not_owned), _) => DropCause::NotOwned(not_owned),
                (Ok(()), Some(committed)) => DropCause::Behind { committed },
                (Ok(()), None) => {
                    progress.todo.push((partition, entry));
                    continue;
                }
            };
            self.board.count(|counters| counters.dropped_offsets = counters.dropped_offsets.saturating_add(1));
            progress.report.dropped.push(DroppedOffset { partition, offset: entry.next, cause });
        }
    }

    async fn attempt(&mut self, progress: &mut Progress, deadline: Instant) -> Result<(), CommitError> {
        let Some(member) = self.member.borrow().clone() else {
            "there is no membership".clone_into(&mut progress.last);
            return Ok(());
        };
        let limit = self.request_timeout.min(deadline.saturating_duration_since(Instant::now()));
        let request = OffsetCommit {
            group_id: self.coordinator.group_id().to_owned(),
            generation: member.generation,
            member_id: member.member_id.to_string(),
            group_instance_id: self.group_instance_id.clone(),
            offsets: progress.todo.iter().map(to_commit).collect(),
        };
        match self.coordinator.request(request, limit).await {
            Ok(answer) => self.take(progress, &answer, &member),
            Err(error) => {
                self.flight.record(FlightStep::CommitRefused, format_args!("no answer: {error}"));
                progress.last = error;
                Ok(())
            }
        }
    }

    fn take(
        &mut self,
        progress: &mut Progress,
        answer: &OffsetCommitAnswer,
        member: &Member,
    ) -> Result<(), CommitError> {
        self.note_refusals(answer, member);
        let mut refused = None;
        for (partition, entry) in std::mem::take(&mut progress.todo) {
            let found = answer.partitions.iter().find(|(name, _)| *name == partition).map(|(_, error)| *error);
            match found.map(|error| (error, verdict(error))) {
                Some((_, Verdict::Stored)) => self.stored(progress, partition, &entry),
                Some((error, Verdict::Rejected)) => {
                    progress.report.rejected.push(RejectedOffset {
                        partition,
                        offset: entry.next,
                        error: error.name(),
                    });
                }
                Some((error, Verdict::Again)) => {
                    self.coordinator.heed(error);
                    error.name().clone_into(&mut progress.last);
                    progress.todo.push((partition, entry));
                }
                Some((error, Verdict::Fenced | Verdict::Refused)) => {
                    refused = Some(error);
                    progress.todo.push((partition, entry));
                }
                None => {
                    "the coordinator left a partition out of its answer".clone_into(&mut progress.last);
                    progress.todo.push((partition, entry));
                }
            }
        }
        refused.map_or(Ok(()), |error| self.refused(progress, error, member))
    }

    /// One step for each error in the answer.
    fn note_refusals(&self, answer: &OffsetCommitAnswer, member: &Member) {
        let mut refused: BTreeMap<i16, Vec<TopicPartition>> = BTreeMap::new();
        for (name, error) in answer.partitions.iter().filter(|(_, error)| *error != ErrorCode::None) {
            refused.entry(error.code()).or_default().push(name.clone());
        }
        for (code, partitions) in refused {
            let (error, generation) = (ErrorCode::from(code), member.generation);
            let detail = format_args!("{error} in generation {generation}: {}", Named(&partitions));
            self.flight.record(FlightStep::CommitRefused, detail);
        }
    }

    /// Whether the membership is past the generation that was refused, or on its way to the next.
    fn moves_on(&self, error: ErrorCode, refused: &Member) -> bool {
        let group = self.group.borrow();
        let is_past = group.generation.is_some_and(|now| now > refused.generation);
        is_past || (error == ErrorCode::IllegalGeneration && group.is_rebalancing())
    }

    fn stored(&self, progress: &mut Progress, partition: TopicPartition, entry: &CommitOffset) {
        entry.ownership.has_committed(entry.next);
        self.board.note(&partition, |notes| notes.committed = Some(entry.next));
        self.board.count(|counters| counters.committed_offsets = counters.committed_offsets.saturating_add(1));
        progress.report.committed.push(CommittedOffset { partition, offset: entry.next });
    }

    /// The whole group request was refused. In a cooperative rebalance the partition is still ours, and the commit only
    /// early or late: it is sent again under the generation that comes. What is lost meanwhile is dropped before that.
    fn refused(&self, progress: &mut Progress, error: ErrorCode, member: &Member) -> Result<(), CommitError> {
        match verdict(error) {
            Verdict::Fenced if self.moves_on(error, member) => {
                error.name().clone_into(&mut progress.last);
                Ok(())
            }
            Verdict::Fenced => {
                self.board.count(|counters| counters.fenced_commits = counters.fenced_commits.saturating_add(1));
                // The engine may be gone already; then nobody needs to know.
                let _ = self.rejections.send((member.generation, error));
                Err(CommitError::Fenced { error: error.name() })
            }
            Verdict::Stored | Verdict::Again | Verdict::Rejected | Verdict::Refused => {
                Err(CommitError::Refused { error: error.name() })
            }
        }
    }
}

fn to_commit((partition, entry): &(TopicPartition, CommitOffset)) -> OffsetToCommit {
    OffsetToCommit {
        partition: partition.clone(),
        offset: entry.next,
        leader_epoch: entry.leader_epoch,
        metadata: None,
    }
}

/// What an error in the answer to a commit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Stored,
    /// Passes by itself.
    Again,
    /// This offset will not be taken; others may.
    Rejected,
    /// The member or its generation is over.
    Fenced,
    /// No commit of this member will be taken.
    Refused,
}

fn verdict(error: ErrorCode) -> Verdict {
    match error {
        ErrorCode::None => Verdict::Stored,
        // The group waits for the leader's assignment; the partition is ours until it says otherwise.
        ErrorCode::RebalanceInProgress => Verdict::Again,
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::OffsetMetadataTooLarge
        | ErrorCode::InvalidCommitOffsetSize => Verdict::Rejected,
        other => match other.class() {
            ErrorClass::None => Verdict::Stored,
            ErrorClass::Retriable | ErrorClass::RefreshMetadata | ErrorClass::RefreshCoordinator => Verdict::Again,
            ErrorClass::Rejoin | ErrorClass::Fenced => Verdict::Fenced,
            ErrorClass::OffsetReset | ErrorClass::Authentication | ErrorClass::Authorization | ErrorClass::Fatal => {
                Verdict::Refused
            }
        },
    }
}
