//! The leader's work: fresh partition counts of every topic of the group, then an assignment for every member, foreign
//! ones with unreadable metadata included (fault G8).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::assignor::protocol::{Subscription, encode_assignment};
use crate::assignor::{AssignorKind, GroupMember, PartitionCounts, assign};
use crate::id::{BrokerId, Generation};
use crate::membership::Membership;
use crate::membership::asks::{AskKind, Pending};
use crate::membership::exchange::{DescribeTopicsAsk, JoinedMember, Output};
use crate::membership::state::{Completing, State};

impl Membership {
    pub(super) fn describe_topics(&mut self, now: Instant) {
        let State::CompletingRebalance(Completing::Describing { members, .. }) = &self.state else { return };
        if self.asks.is_pending(AskKind::DescribeTopics) {
            return;
        }
        let topics: BTreeSet<Arc<str>> = group_members(members).flat_map(|m| m.subscription.topics).collect();
        let (id, deadline) = (self.asks.name(), now + self.config.request_timeout);
        self.asks.insert(Pending {
            id,
            kind: AskKind::DescribeTopics,
            sent_at: now,
            deadline,
            coordinator: BrokerId::NONE,
            generation: self.generation,
            member_id: Arc::clone(&self.member_id),
        });
        let topics = topics.into_iter().collect();
        self.outputs.push_back(Output::DescribeTopics(DescribeTopicsAsk { id, deadline, topics }));
    }

    pub(super) fn describe_again_later(&mut self, now: Instant) {
        let pause = self.join_pause(now);
        if let State::CompletingRebalance(Completing::Describing { not_before, .. }) = &mut self.state {
            *not_before = pause;
        }
    }

    /// Assigns. Our own topics count as joined under these numbers.
    pub(super) fn on_described(&mut self, counts: &PartitionCounts) {
        let State::CompletingRebalance(Completing::Describing { members, .. }) = &self.state else { return };
        let Some(assignor) = self.assignor else { return };
        let assignments = assignments(assignor, members, counts);
        self.on_topics(counts.clone());
        self.joined_counts.clone_from(&self.counts);
        debug_assert_ne!(self.generation, Generation::NONE, "a leader is in a generation");
        self.state = State::CompletingRebalance(Completing::Syncing { assignments });
    }
}

/// The members as an assignor takes them; what cannot be read wants or owns nothing.
fn group_members(members: &[JoinedMember]) -> impl Iterator<Item = GroupMember> + '_ {
    members.iter().map(|member| GroupMember {
        member_id: Arc::clone(&member.member_id),
        instance_id: member.instance_id.clone(),
        subscription: Subscription::decode_tolerant(&member.metadata).0,
    })
}

fn assignments(assignor: AssignorKind, members: &[JoinedMember], counts: &PartitionCounts) -> Vec<(Arc<str>, Bytes)> {
    let members: Vec<GroupMember> = group_members(members).collect();
    let divided = assign(assignor, &members, counts);
    divided.into_iter().map(|(member_id, partitions)| (member_id, encode_assignment(&partitions))).collect()
}
