//! From the first join of a rebalance to the next generation.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use super::{Group, GroupSettings, GroupState};

impl Group {
    /// Begins a rebalance unless one is on, and ends it at once where nobody is missing.
    pub(super) fn rebalance(&mut self, settings: &GroupSettings, now: Instant) {
        match self.state {
            GroupState::PreparingRebalance => {}
            GroupState::Empty => {
                self.holds_first_join = !settings.initial_rebalance_delay.is_zero();
                let longest = self.rebalance_timeout();
                let delay = if self.holds_first_join { settings.initial_rebalance_delay } else { longest };
                self.join_deadline = Some(now + delay);
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                for member in &mut self.members {
                    member.answer_sync(Err(ResponseError::RebalanceInProgress));
                }
                self.join_deadline = Some(now + self.rebalance_timeout());
            }
        }
        self.sync_deadline = None;
        self.state = GroupState::PreparingRebalance;
        self.complete_join_if_all_joined(now);
    }

    /// The longest patience among the members.
    fn rebalance_timeout(&self) -> Duration {
        self.members.iter().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Ends the joining where every member has joined and no id is out.
    pub(super) fn complete_join_if_all_joined(&mut self, now: Instant) {
        let all_joined = self.members.iter().all(super::Member::has_joined) && self.pending.is_empty();
        if self.state == GroupState::PreparingRebalance && all_joined && !self.holds_first_join {
            self.complete_join(now);
        }
    }

    /// Ends the joining: those who did not come are out, static ones excepted; the others are the next generation.
    pub(super) fn complete_join(&mut self, now: Instant) {
        self.holds_first_join = false;
        self.members.retain(|member| member.has_joined() || member.instance_id.is_some());
        if self.members.is_empty() {
            self.become_empty();
            return;
        }
        let Some(first_joined) = self.members.iter().find(|member| member.has_joined()).map(|member| member.id.clone())
        else {
            self.join_deadline = Some(now + self.rebalance_timeout());
            return;
        };
        let leader_is_here = |id: &String| self.member(id).is_some_and(super::Member::has_joined);
        if !self.leader.as_ref().is_some_and(leader_is_here) {
            self.leader = Some(first_joined);
        }
        self.join_deadline = None;
        self.generation += 1;
        self.protocol = self.select_protocol();
        self.state = GroupState::CompletingRebalance;
        self.sync_deadline = Some(now + self.rebalance_timeout());
        let ids: Vec<String> = self.members.iter().map(|member| member.id.clone()).collect();
        for id in ids {
            let answer = self.current(&id);
            if let Some(member) = self.member_mut(&id) {
                member.synced = false;
                member.answer_join(answer);
                member.touch(now);
            }
        }
    }

    /// Nobody is left; the generation counts on.
    pub(super) fn become_empty(&mut self) {
        self.generation += 1;
        self.state = GroupState::Empty;
        self.protocol = None;
        self.leader = None;
        self.join_deadline = None;
        self.sync_deadline = None;
        self.holds_first_join = false;
    }

    /// The assignor that all support and most prefer.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let common = |name: &&String| self.members.iter().all(|member| member.supports(name));
        let mut votes: HashMap<&String, usize> = HashMap::new();
        for member in &self.members {
            if let Some(choice) = member.protocols.iter().map(|(name, _)| name).find(common) {
                *votes.entry(choice).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(name, count)| (*count, std::cmp::Reverse(*name))).map(|(name, _)| name.clone())
    }
}
