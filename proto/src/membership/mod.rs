//! The life of a member of a consumer group: Kafka's classic group protocol (join, sync, heartbeat, leave; KIP-345,
//! 394, 429, 800, 814) as one machine without clock, socket or randomness.
//!
//! Use: give [`Membership::handle`] what happened and when; take every [`Output`] from [`Membership::poll`] and do it;
//! give [`Input::Tick`] when [`Membership::poll_timeout`] is reached. Promised: a partition is ours only between an
//! [`Output::Assign`] that names it and the [`Input::RevocationDone`], [`Output::Lost`] or [`Membership::fenced_after`]
//! that ends it, whichever is first; on any input after that moment the first output is `Lost`; answers may be late,
//! repeated or missing; every wait ends. Absent: KIP-848, whose machine would have the same inputs and outputs.
//!
//! Where things are: [`State`] and its steps in `state`, the values in `exchange`, requests under way in `asks`, what
//! proves that we are alive in `liveness`, error codes in `verdict`, joining in `joining`, the leader's work in
//! `leading`, the coordinator in `coordinator`, heartbeats in `heartbeat`, leaving in `leaving`, all deadlines in `deadlines`.

mod asks;
mod config;
mod coordinator;
mod deadlines;
mod exchange;
mod heartbeat;
mod joining;
mod leading;
mod leaving;
mod liveness;
mod state;
mod verdict;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::assignor::{AssignorKind, PartitionCounts, RebalanceProtocol};
use crate::backoff::Backoff;
use crate::error_code::ErrorCode;
use crate::id::{BrokerId, Generation, TopicPartition};
use crate::membership::asks::{AskKind, Asks, Pending};
use crate::membership::liveness::Liveness;
use crate::membership::verdict::Verdict;

pub use crate::membership::config::MembershipConfig;
pub use crate::membership::exchange::{
    Answer, AskFailure, AskId, Assigned, Call, DescribeTopicsAsk, FatalCause, FindCoordinatorAsk, HeartbeatAsk,
    Identity, Input, JoinAnswer, JoinAsk, JoinedMember, LeaveAsk, LostCause, Output, SyncAnswer, SyncAsk,
};
pub use crate::membership::state::{Completing, Leaving, Preparing, RebalanceReason, Revocation, State, Wake};

/// What is known of the group's coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinator {
    /// To be found, not before that moment.
    Unknown {
        /// The end of the back-off.
        retry_at: Instant,
    },
    /// Being looked for.
    Finding,
    /// Found and connected.
    Known(BrokerId),
}

/// One member of one group.
#[derive(Debug)]
pub struct Membership {
    config: MembershipConfig,
    state: State,
    coordinator: Coordinator,
    coordinator_backoff: Backoff,
    join_backoff: Backoff,
    entropy: u64,
    member_id: Arc<str>,
    generation: Generation,
    /// The generation whose assignment we have.
    synced: Generation,
    /// When that assignment arrived.
    synced_at: Option<Instant>,
    /// What the group chose at the last join.
    assignor: Option<AssignorKind>,
    owned: BTreeSet<TopicPartition>,
    /// What the last join said that we own.
    claimed: BTreeSet<TopicPartition>,
    /// The last assignment and its generation, which "sticky" tells the leader.
    previous: (Vec<TopicPartition>, Generation),
    liveness: Liveness,
    next_heartbeat: Instant,
    asks: Asks,
    /// The newest partition counts of the subscribed topics, and those we joined under. A topic that does not exist has none,
    /// one that was not heard of yet is absent.
    counts: PartitionCounts,
    joined_counts: PartitionCounts,
    trouble: Option<AskFailure>,
    outputs: VecDeque<Output>,
}

impl Membership {
    /// A member that will look for its coordinator and join at once.
    pub fn new(config: MembershipConfig, now: Instant) -> Self {
        let mut machine = Self {
            state: State::Unjoined(Wake::At(now), RebalanceReason::FirstJoin),
            coordinator: Coordinator::Unknown { retry_at: now },
            coordinator_backoff: Backoff::new(config.retry_backoff, config.retry_backoff_max),
            join_backoff: Backoff::new(config.retry_backoff, config.retry_backoff_max),
            entropy: config.seed,
            member_id: Arc::from(""),
            generation: Generation::NONE,
            synced: Generation::NONE,
            synced_at: None,
            assignor: None,
            owned: BTreeSet::new(),
            claimed: BTreeSet::new(),
            previous: (Vec::new(), Generation::NONE),
            liveness: Liveness::new(config.session_timeout, config.rebalance_timeout, config.fence_margin),
            next_heartbeat: now,
            asks: Asks::default(),
            counts: PartitionCounts::new(),
            joined_counts: PartitionCounts::new(),
            trouble: None,
            outputs: VecDeque::new(),
            config,
        };
        machine.advance(now);
        machine
    }

    /// Takes in what happened at `now`, which never goes back. What passed its deadline is dealt with first.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if self.state.is_over() {
            return;
        }
        self.fence(now);
        while let Some(pending) = self.asks.take_expired(now) {
            self.on_failed(now, &pending, AskFailure::TimedOut);
        }
        self.dispatch(now, input);
        self.advance(now);
    }

    /// The next thing to do; to be called until it gives `None` after every [`Self::handle`].
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Where we are.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What is known of the coordinator.
    pub fn coordinator(&self) -> Coordinator {
        self.coordinator
    }

    /// What last went wrong with the coordinator; `None` once an assignment or a heartbeat came through again.
    pub fn trouble(&self) -> Option<&AskFailure> {
        self.trouble.as_ref()
    }

    /// Our member id, empty before the coordinator gave one.
    pub fn member_id(&self) -> &Arc<str> {
        &self.member_id
    }

    /// The generation that we joined last, [`Generation::NONE`] outside of any.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// What is ours, revocations under way included. Meaningful before [`Self::fenced_after`] only.
    pub fn owned(&self) -> &BTreeSet<TopicPartition> {
        &self.owned
    }

    /// The moment from which we must believe ourselves expired, unless an answer moves it; `None` while nothing is ours.
    pub fn fenced_after(&self) -> Option<Instant> {
        if self.owned.is_empty() { None } else { self.liveness.fence().map(|(at, _)| at) }
    }

    fn dispatch(&mut self, now: Instant, input: Input) {
        match input {
            Input::Tick => {}
            Input::Answered(id, answer) => {
                if let Some(pending) = self.asks.take(id) {
                    self.on_answer(now, &pending, answer);
                }
            }
            Input::CoordinatorLost(broker) => self.coordinator_lost(now, broker),
            Input::TopicsChanged(counts) => self.on_topics(counts),
            Input::RevocationDone(id) => self.on_revocation_done(now, id),
            Input::CommitRejected(generation, error) => self.on_commit_rejected(now, generation, error),
            Input::PollDeadlinePassed => self.on_poll_deadline(now),
            Input::Polled => self.on_polled(now),
            Input::Leave { reason } => self.on_leave(now, reason),
        }
    }

    fn on_answer(&mut self, now: Instant, pending: &Pending, answer: Answer) {
        match (pending.kind, answer) {
            (AskKind::FindCoordinator, Answer::Coordinator(broker)) => self.coordinator_found(now, broker),
            (AskKind::Join, Answer::Joined(answer)) => self.on_joined(now, pending, answer),
            (AskKind::Sync, Answer::Synced(answer)) => self.on_synced(now, pending, &answer),
            (AskKind::DescribeTopics, Answer::TopicsDescribed(counts)) => self.on_described(&counts),
            (AskKind::Heartbeat, Answer::HeartbeatAnswered(error)) => self.on_heartbeat(now, pending, error),
            (AskKind::Leave, Answer::LeftGroup(error)) => self.on_left(now, pending, error),
            (_, Answer::Failed(failure)) => self.on_failed(now, pending, failure),
            (kind, answer) => {
                let text = format!("{answer:?} is no answer to {kind:?}");
                self.on_failed(now, pending, AskFailure::Disconnected(text));
            }
        }
    }

    fn on_failed(&mut self, now: Instant, pending: &Pending, failure: AskFailure) {
        self.trouble = Some(failure.clone());
        let final_cause = match failure {
            AskFailure::Unsupported(what) => Some(FatalCause::Unsupported(what)),
            AskFailure::Refused(error) => match Verdict::of(error) {
                Verdict::Fatal(cause) => Some(cause),
                _ => None,
            },
            AskFailure::TimedOut | AskFailure::Disconnected(_) => None,
        };
        if let Some(cause) = final_cause
            && pending.kind != AskKind::DescribeTopics
        {
            return self.fatal(cause);
        }
        match pending.kind {
            AskKind::FindCoordinator => {
                self.coordinator = Coordinator::Unknown { retry_at: self.coordinator_pause(now) }
            }
            AskKind::Join | AskKind::Sync => {
                self.coordinator_lost(now, pending.coordinator);
                self.join_again_later(now, RebalanceReason::NoAnswer);
            }
            AskKind::Heartbeat => self.coordinator_lost(now, pending.coordinator),
            AskKind::DescribeTopics => self.describe_again_later(now),
            AskKind::Leave => {
                self.coordinator_lost(now, pending.coordinator);
                self.leave_again_later(now);
            }
        }
    }

    /// Gives up the partitions, and if need be the membership, whose proof has run out.
    fn fence(&mut self, now: Instant) {
        if self.owned.is_empty() {
            return;
        }
        let Some((at, cause)) = self.liveness.fence() else { return };
        if now < at {
            return;
        }
        if cause == LostCause::RebalanceExpired && self.is_rebalancing() {
            // The round may still come to its end with us in it; only what we had is in doubt.
            self.lose(cause);
            return self.stop_revoking(now);
        }
        if let Coordinator::Known(_) = self.coordinator {
            self.coordinator = Coordinator::Unknown { retry_at: now };
        }
        self.drop_membership(now, cause, Wake::At(now), RebalanceReason::Expired);
    }

    fn is_rebalancing(&self) -> bool {
        matches!(self.state, State::PreparingRebalance(..) | State::CompletingRebalance(_))
    }

    /// Nothing is left to give up: on to the join.
    fn stop_revoking(&mut self, now: Instant) {
        if let State::PreparingRebalance(preparing @ Preparing::Revoking(_), _) = &mut self.state {
            *preparing = Preparing::Joining { not_before: now };
        }
    }

    /// Everything that is ours is lost.
    fn lose(&mut self, cause: LostCause) {
        let partitions: Vec<TopicPartition> = std::mem::take(&mut self.owned).into_iter().collect();
        if !partitions.is_empty() {
            self.outputs.push_back(Output::Lost { partitions, cause });
        }
    }

    /// Out of the generation, by whatever it was lost; the member id stays.
    fn drop_membership(&mut self, now: Instant, cause: LostCause, wake: Wake, reason: RebalanceReason) {
        self.lose(cause);
        self.asks.cancel_membership();
        self.liveness.reset();
        self.generation = Generation::NONE;
        self.synced = Generation::NONE;
        self.synced_at = None;
        self.state = match std::mem::replace(&mut self.state, State::Left) {
            State::Leaving(Leaving::Revoking { reason, deadline, .. }) => {
                State::Leaving(Leaving::Sending { reason, deadline, not_before: now })
            }
            leaving @ State::Leaving(Leaving::Sending { .. }) => leaving,
            over @ (State::Left | State::Fatal(_)) => over,
            State::Unjoined(..) | State::PreparingRebalance(..) | State::CompletingRebalance(_) | State::Stable => {
                State::Unjoined(wake, reason)
            }
        };
    }

    fn forget_member_id(&mut self) {
        self.member_id = Arc::from("");
    }

    fn fatal(&mut self, cause: FatalCause) {
        self.lose(LostCause::Fatal(cause.clone()));
        self.asks = Asks::default();
        self.state = State::Fatal(cause.clone());
        self.outputs.push_back(Output::Fatal(cause));
    }

    fn join_pause(&mut self, now: Instant) -> Instant {
        let random = self.random();
        now + self.join_backoff.next(random)
    }

    /// The next number of a `SplitMix64` sequence.
    fn random(&mut self) -> u64 {
        self.entropy = self.entropy.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.entropy;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Takes every step that is due, until nothing is.
    fn advance(&mut self, now: Instant) {
        while self.step(now) {}
        self.look_for_coordinator(now);
        self.beat(now);
    }

    /// One step of the state that is due by itself. True when the state has changed.
    fn step(&mut self, now: Instant) -> bool {
        match &self.state {
            State::Unjoined(Wake::At(at), reason) if now >= *at => {
                let preparing = Preparing::Joining { not_before: now };
                self.state = State::PreparingRebalance(preparing, reason.clone());
                true
            }
            State::PreparingRebalance(Preparing::Revoking(revocation), _) if now >= revocation.deadline => {
                self.revocation_expired();
                true
            }
            State::PreparingRebalance(Preparing::Joining { not_before }, _) if now >= *not_before => {
                self.send_join(now);
                false
            }
            State::CompletingRebalance(completing) => {
                match completing {
                    Completing::Describing { not_before, .. } if now >= *not_before => self.describe_topics(now),
                    Completing::Describing { .. } => {}
                    Completing::Syncing { .. } => self.send_sync(now),
                }
                false
            }
            State::Stable if self.topics_changed() => {
                self.prepare(now, RebalanceReason::TopicsChanged);
                true
            }
            State::Leaving(_) => self.step_out(now),
            State::Unjoined(..) | State::PreparingRebalance(..) | State::Stable | State::Left | State::Fatal(_) => {
                false
            }
        }
    }

    fn identity(&self) -> Identity {
        Identity {
            group_id: Arc::clone(&self.config.group_id),
            member_id: Arc::clone(&self.member_id),
            group_instance_id: self.config.group_instance_id.clone(),
        }
    }

    fn rebalance_protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::of(&self.config.assignors)
    }

    /// Keeps the last known count of topics that are absent (fault G18) and of those we do not subscribe to nothing. What is
    /// heard of a topic for the first time is no change: a join does not wait for the metadata.
    fn on_topics(&mut self, counts: PartitionCounts) {
        for (topic, count) in counts.into_iter().filter(|(topic, _)| self.config.topics.contains(topic)) {
            self.joined_counts.entry(Arc::clone(&topic)).or_insert(count);
            self.counts.insert(topic, count);
        }
    }

    /// Members that do not lead rejoin too: the leader may not have noticed (fault G20).
    fn topics_changed(&self) -> bool {
        self.counts != self.joined_counts
    }

    fn on_commit_rejected(&mut self, now: Instant, generation: Generation, error: ErrorCode) {
        let verdict = Verdict::of(error);
        if verdict == Verdict::Fatal(FatalCause::FencedInstanceId) {
            return self.fatal(FatalCause::FencedInstanceId);
        }
        // During a rebalance the generation moves under our commits: that is no reason to join once more (fault G4).
        if self.state != State::Stable || generation != self.generation {
            return;
        }
        match verdict {
            Verdict::MemberUnknown => self.member_unknown(now),
            Verdict::GenerationStale => self.generation_stale(now),
            Verdict::GroupRebalancing => self.prepare(now, RebalanceReason::GroupRebalancing),
            Verdict::CoordinatorMoved => {
                if let Coordinator::Known(broker) = self.coordinator {
                    self.coordinator_lost(now, broker);
                }
            }
            Verdict::Fatal(cause) => self.fatal(cause),
            Verdict::Accepted | Verdict::Later | Verdict::MemberIdRequired => {}
        }
    }

    /// The coordinator does not know our member id: everything of it is gone (fault G4: at once, not as a zombie).
    fn member_unknown(&mut self, now: Instant) {
        let wake = Wake::At(self.join_pause(now));
        self.drop_membership(now, LostCause::UnknownMember, wake, RebalanceReason::MembershipLost);
        self.forget_member_id();
    }

    /// The group went on without us; the id may still be good.
    fn generation_stale(&mut self, now: Instant) {
        let wake = Wake::At(self.join_pause(now));
        self.drop_membership(now, LostCause::IllegalGeneration, wake, RebalanceReason::MembershipLost);
    }
}
