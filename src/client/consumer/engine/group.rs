//! Assignments: what the group gives and takes.
//!
//! Promised: an assigned partition is a new [`Ownership`], also when it comes back; a revocation ends the right to act
//! before the application hears of it, and the rebalance waits for the application only until the deadline (fault G7); a
//! loss drops everything that was read (faults G1, G3).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use kafka_proto::id::TopicPartition;
use kafka_proto::membership::{AskId, Assigned, FatalCause, LostCause};

use crate::client::cluster::{Metadata, Purpose};
use crate::client::consumer::FatalError;
use crate::client::consumer::engine::{Engine, Flow, Outcome, leader_in};
use crate::client::event::{Event, Revocation};
use crate::client::fetcher::{Origin, Partition};
use crate::client::flight::{FlightStep, Named};
use crate::client::group::GroupEvent;
use crate::client::offsets::Member;
use crate::client::ownership::{Ownership, SessionTerm, Standing};

/// Partitions that are being given back.
pub(super) struct PendingRevocation {
    id: AskId,
    ownerships: Vec<Ownership>,
}

impl Engine {
    pub(super) fn group_says(&mut self, event: Option<GroupEvent>) -> Flow {
        match event {
            Some(GroupEvent::Assign { assigned, term }) => self.assigned(&assigned, &term),
            Some(GroupEvent::Revoke { id, partitions, deadline }) => self.revoke(id, &partitions, deadline),
            Some(GroupEvent::Lost { partitions, cause }) => self.lost(partitions, cause),
            Some(GroupEvent::Left) => return self.left(),
            Some(GroupEvent::Fatal(cause)) => return self.refused_for_good(cause),
            None => {
                self.shared.fail(FatalError::Defect);
                return Flow::Stop;
            }
        }
        Flow::On
    }

    fn assigned(&mut self, assigned: &Assigned, term: &SessionTerm) {
        let member = Member { member_id: Arc::clone(&assigned.member_id), generation: assigned.generation };
        self.membership.member.send_replace(Some(member));
        self.shared.board.count(|counters| counters.assignments = counters.assignments.saturating_add(1));
        let metadata = Arc::clone(&self.metadata.borrow());
        self.learn_baseline(&metadata);
        let mut ownerships = Vec::with_capacity(assigned.added.len());
        for name in &assigned.added {
            let ownership = self.own(name.clone(), assigned, term);
            if let Some(partition) = self.partitions.get_mut(name) {
                partition.leader_is(leader_in(&metadata, name));
            }
            self.note(name);
            ownerships.push(ownership);
        }
        self.want_leaders();
        self.warm_leaders(&assigned.added);
        let (added, all) = (Named(&assigned.added), assigned.all.len());
        let detail = format_args!("generation {}: {added} (all: {all})", assigned.generation);
        self.flight().record(FlightStep::Assigned, detail);
        tracing::info!(generation = %assigned.generation, added = assigned.added.len(), all = assigned.all.len(), "partitions assigned");
        if self.closing.is_none() {
            self.shared.queues.push_event(Event::Assigned { partitions: ownerships });
        }
    }

    /// Opens connections to the leaders of new partitions while their offsets are looked up.
    fn warm_leaders(&mut self, names: &[TopicPartition]) {
        let partitions = names.iter().filter_map(|name| self.partitions.get(name));
        let leaders: BTreeSet<_> = partitions.filter_map(|partition| Some(partition.leader?.id)).collect();
        for id in leaders {
            let cluster = self.cluster.clone();
            self.tasks.spawn(async move {
                cluster.warm(id, Purpose::Fetch).await;
                Outcome::Warmed
            });
        }
    }

    fn own(&mut self, name: TopicPartition, assigned: &Assigned, term: &SessionTerm) -> Ownership {
        if let Some(before) = self.partitions.remove(&name) {
            self.close_partition(&before, Standing::Revoked);
        }
        self.assignments = self.assignments.saturating_add(1);
        let ownership = Ownership::new(name.clone(), assigned.generation, self.assignments, term.clone());
        let partition = Partition::new(ownership.clone(), self.origin(&name), &self.policies);
        self.shared.queues.open(ownership.clone());
        self.shared.board.open(&name);
        self.partitions.insert(name, partition);
        ownership
    }

    fn origin(&self, name: &TopicPartition) -> Origin {
        if let Some(start) = self.starts.get(name) {
            return Origin::Requested(*start);
        }
        match self.baseline.get(&name.topic) {
            Some(count) if name.partition >= *count => Origin::New,
            _ => Origin::Known,
        }
    }

    /// How many partitions each topic had when the first assignment came, or as soon after it as the topic was heard of: what lies
    /// beyond appeared later (fault G19). A topic that does not exist has none; one that was not heard of yet is no new one.
    pub(super) fn learn_baseline(&mut self, metadata: &Metadata) {
        for (name, topic) in &metadata.topics {
            self.baseline.entry(Arc::clone(name)).or_insert(topic.partition_count());
        }
    }

    /// Ends the assignments of `names` and gives them back.
    fn end(&mut self, names: &[TopicPartition], standing: Standing) -> Vec<Ownership> {
        let mut ended = Vec::with_capacity(names.len());
        for name in names {
            if let Some(partition) = self.partitions.remove(name) {
                self.close_partition(&partition, standing);
                ended.push(partition.ownership);
            }
        }
        ended
    }

    fn revoke(&mut self, id: AskId, names: &[TopicPartition], deadline: Instant) {
        tracing::info!(partitions = names.len(), "partitions are being revoked");
        self.flight().record(FlightStep::Revoking, Named(names));
        let ownerships = self.end(names, Standing::Revoking);
        if self.closing.is_some() || ownerships.is_empty() {
            // Nobody is left to ask.
            return self.revoked(&PendingRevocation { id, ownerships });
        }
        let deadline = deadline.min(Instant::now() + self.config.revocation_timeout);
        let (revocation, done) = Revocation::new(ownerships.clone(), deadline, self.handle());
        self.shared.queues.push_event(Event::Revoking(revocation));
        self.tasks.spawn(async move {
            // Either is the end: the application has finished, or its time is up.
            let _ = tokio::time::timeout_at(deadline.into(), done).await;
            Outcome::Revoked(PendingRevocation { id, ownerships })
        });
    }

    /// The application has finished with a revocation, or its time is up.
    pub(super) fn revoked(&mut self, revocation: &PendingRevocation) {
        for ownership in &revocation.ownerships {
            ownership.become_at_least(Standing::Revoked);
        }
        let names: Vec<_> = revocation.ownerships.iter().map(|ownership| ownership.partition().clone()).collect();
        self.flight().record(FlightStep::Revoked, Named(&names));
        self.membership.group.revocation_done(revocation.id);
    }

    fn lost(&mut self, partitions: Vec<TopicPartition>, cause: LostCause) {
        tracing::warn!(partitions = partitions.len(), %cause, "partitions lost");
        self.flight().record(FlightStep::Lost, format_args!("{}: {cause}", Named(&partitions)));
        match cause {
            LostCause::SessionExpired | LostCause::RebalanceExpired => self.flight().dump(&cause),
            LostCause::RevocationTimedOut
            | LostCause::PollDeadlinePassed
            | LostCause::UnknownMember
            | LostCause::IllegalGeneration
            // Follows at once, and tells more.
            | LostCause::Fatal(_) => {}
        }
        self.end(&partitions, Standing::Lost);
        if self.closing.is_none() {
            self.shared.queues.push_event(Event::Lost { partitions, cause });
        }
    }

    fn left(&mut self) -> Flow {
        match self.closing.take() {
            Some(answer) => {
                // Whoever closed may have stopped waiting.
                let _ = answer.send(());
            }
            None => self.shared.fail(FatalError::Closed),
        }
        Flow::Stop
    }

    fn refused_for_good(&mut self, cause: FatalCause) -> Flow {
        tracing::error!(%cause, "the group refuses this member for good");
        self.let_everything_go(Standing::Lost);
        self.shared.fail(FatalError::Group(cause));
        Flow::Stop
    }
}
