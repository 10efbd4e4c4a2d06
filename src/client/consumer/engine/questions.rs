//! Questions about offsets, on behalf of the partitions that cannot be fetched yet.
//!
//! All partitions with the same question to the same broker ask together. An answer counts only for a partition that is
//! still the same assignment and in the stage that asked.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kafka_proto::error_code::{ErrorClass, ErrorCode};
use kafka_proto::id::{BrokerId, TopicPartition};

use crate::client::cluster::Purpose;
use crate::client::consumer::engine::{Engine, Outcome};
use crate::client::consumer::random;
use crate::client::fetcher::{Broker, Effect, Partition, Position, Stage, Work};
use crate::client::flight::{FlightStep, Named};
use crate::client::offsets::{EndQuestion, Found, OffsetQuestion, ask_committed, ask_epoch_ends, ask_offsets};
use crate::client::ownership::Ownership;
use crate::client::request::IsolationLevel;

/// To whom a question goes, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// To the coordinator: what is committed?
    Committed,
    /// To a leader: where to start?
    Start(BrokerId),
    /// To a leader: where does the log begin or end?
    Range(BrokerId),
    /// To a leader: where does an epoch end?
    Epoch(BrokerId),
}

impl Question {
    fn leader(self) -> Option<BrokerId> {
        match self {
            Self::Committed => None,
            Self::Start(leader) | Self::Range(leader) | Self::Epoch(leader) => Some(leader),
        }
    }

    /// What a partition has to ask, if anything.
    fn of(partition: &Partition) -> Option<Self> {
        let leader = partition.leader.map(|leader| leader.id);
        match &partition.stage {
            Stage::AwaitingCommitted => Some(Self::Committed),
            Stage::Resetting { .. } => leader.map(Self::Start),
            Stage::CheckingRange { .. } => leader.map(Self::Range),
            Stage::Validating(_) => leader.map(Self::Epoch),
            Stage::Fetching(_) | Stage::Parked { .. } => None,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed => f.write_str("OffsetFetch"),
            Self::Start(leader) | Self::Range(leader) => write!(f, "ListOffsets at broker {leader}"),
            Self::Epoch(leader) => write!(f, "OffsetForLeaderEpoch at broker {leader}"),
        }
    }
}

/// The partitions that asked, each with its assignment and the stage it was in.
pub(super) type Askers = BTreeMap<TopicPartition, (Ownership, Stage)>;

/// A question that came back.
pub(super) struct Answered {
    question: Question,
    askers: Askers,
    found: Result<Found, String>,
}

impl Engine {
    /// Sends every question that is due.
    pub(super) fn ask_what_is_due(&mut self, now: Instant) {
        let mut due: BTreeMap<Question, Askers> = BTreeMap::new();
        for (name, partition) in &self.partitions {
            if let Some(question) = Question::of(partition).filter(|_| partition.is_due(now)) {
                let asker = (partition.ownership.clone(), partition.stage.clone());
                due.entry(question).or_default().insert(name.clone(), asker);
            }
        }
        for (question, askers) in due {
            if question.leader().is_none_or(|leader| self.may_ask(leader, now)) {
                self.ask(question, askers);
            }
        }
    }

    fn may_ask(&mut self, leader: BrokerId, now: Instant) -> bool {
        self.broker(leader).questions_from.is_none_or(|from| from <= now)
    }

    pub(super) fn broker(&mut self, id: BrokerId) -> &mut Broker {
        let new = || Broker::new(self.policies.retry.clone(), self.config.fetch_wait());
        self.brokers.entry(id).or_insert_with(new)
    }

    fn ask(&mut self, question: Question, askers: Askers) {
        let cluster = self.cluster.clone();
        let limit = self.config.client.request_timeout;
        let (coordinator, isolation) = (self.membership.coordinator.clone(), self.config.isolation_level);
        let over = question.leader().map_or(Purpose::Coordinator, |leader| self.broker(leader).asked_over());
        let names: Vec<_> = askers.keys().cloned().collect();
        let offsets: Vec<_> = names.iter().filter_map(|name| self.offset_question(name)).collect();
        let epochs: Vec<_> = names.iter().filter_map(|name| self.epoch_question(name)).collect();
        for name in &names {
            if let Some(partition) = self.partitions.get_mut(name) {
                partition.work = Work::InFlight;
            }
        }
        self.tasks.spawn(async move {
            let found = match question {
                Question::Committed => ask_committed(&coordinator, names, limit).await,
                Question::Start(leader) => ask_offsets(&cluster, (leader, over), offsets, isolation, limit).await,
                // The end that matters here is that of the log, not that of what may be read yet.
                Question::Range(leader) => {
                    ask_offsets(&cluster, (leader, over), offsets, IsolationLevel::ReadUncommitted, limit).await
                }
                Question::Epoch(leader) => ask_epoch_ends(&cluster, (leader, over), epochs, limit).await,
            };
            Outcome::Answered(Answered { question, askers, found })
        });
    }

    fn offset_question(&self, name: &TopicPartition) -> Option<OffsetQuestion> {
        let partition = self.partitions.get(name)?;
        Some((name.clone(), partition.leader?.epoch, partition.wants_offset()?))
    }

    fn epoch_question(&self, name: &TopicPartition) -> Option<EndQuestion> {
        let partition = self.partitions.get(name)?;
        match &partition.stage {
            Stage::Validating(at) => Some((name.clone(), partition.leader?.epoch, at.leader_epoch)),
            _ => None,
        }
    }

    /// A question came back.
    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered { question, askers, found } = answered;
        let now = Instant::now();
        match found {
            Ok(mut found) => {
                self.note_refusals(question, &found);
                for (name, (ownership, stage)) in askers {
                    let answer = found.remove(&name);
                    self.answer_one(question, &name, &ownership, &stage, answer, now);
                }
            }
            Err(error) => self.nobody_answered(question, askers, &error, now),
        }
    }

    fn nobody_answered(&mut self, question: Question, askers: Askers, error: &str, now: Instant) {
        tracing::debug!(?question, error, "a question about offsets failed");
        self.flight().record(FlightStep::Refused, format_args!("{question}: {error}"));
        if let Some(leader) = question.leader() {
            self.broker(leader).slow_questions(now);
            self.cluster.request_refresh();
        }
        // One pause for all of them, so that they ask together again.
        let random = random();
        for (name, (ownership, stage)) in askers {
            if let Some(partition) = self.asker(&ownership, &stage) {
                partition.failed(error.to_owned(), now, random);
            }
            self.note(&name);
        }
    }

    /// One step for each error in the answer.
    fn note_refusals(&self, question: Question, found: &Found) {
        let mut refused: BTreeMap<i16, Vec<TopicPartition>> = BTreeMap::new();
        for (name, answer) in found {
            if let Err(error) = answer {
                refused.entry(error.code()).or_default().push(name.clone());
            }
        }
        for (code, partitions) in refused {
            let detail = format_args!("{question}: {}: {}", ErrorCode::from(code), Named(&partitions));
            self.flight().record(FlightStep::Refused, detail);
        }
    }

    /// The partition, if it is still where it was when it asked.
    fn asker(&mut self, ownership: &Ownership, stage: &Stage) -> Option<&mut Partition> {
        self.partition_of(ownership).filter(|partition| partition.stage == *stage)
    }

    fn answer_one(
        &mut self,
        question: Question,
        name: &TopicPartition,
        ownership: &Ownership,
        stage: &Stage,
        answer: Option<Result<Option<Position>, ErrorCode>>,
        now: Instant,
    ) {
        let (reset, now_ms) = (self.policies.reset, unix_ms());
        let Some(partition) = self.asker(ownership, stage) else { return };
        let effects = match answer {
            Some(Ok(found)) => match question {
                Question::Committed => {
                    if let Some(at) = found {
                        ownership.has_committed(at.offset);
                    }
                    partition.committed(found, reset, now_ms);
                    Vec::new()
                }
                Question::Start(_) | Question::Range(_) if found.is_none() && !partition.asks_for_a_time() => {
                    // A log without a start or an end is no answer; asking again at once would be a storm.
                    partition.failed("the leader named no offset".to_owned(), now, random());
                    Vec::new()
                }
                Question::Start(_) | Question::Range(_) => partition.listed(found, reset, now_ms),
                Question::Epoch(_) => partition.validated(found),
            },
            Some(Err(error)) => refused(partition, error, now),
            None => {
                partition.failed("the broker left the partition out of its answer".to_owned(), now, random());
                Vec::new()
            }
        };
        if let (Question::Committed, Some(Ok(Some(at)))) = (question, answer) {
            self.shared.board.note(name, |notes| notes.committed = Some(at.offset));
        }
        if let (Some(Err(_)), Some(leader)) = (answer, question.leader()) {
            self.broker(leader).slow_questions(now);
        }
        self.apply(name, effects);
    }
}

/// The broker answered with an error: nothing moves, it is asked again.
fn refused(partition: &mut Partition, error: ErrorCode, now: Instant) -> Vec<Effect> {
    partition.failed(error.name().to_owned(), now, random());
    if error.class() == ErrorClass::RefreshMetadata { vec![Effect::RefreshMetadata] } else { Vec::new() }
}

/// The wall clock, for resets by age.
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
