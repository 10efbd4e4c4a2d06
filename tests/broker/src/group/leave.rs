//! LeaveGroup, and the removal of members by the coordinator.

use std::time::Instant;

use kafka_protocol::ResponseError;

use super::{Claim, Group, GroupSettings, GroupState, JoinAnswer};

impl Group {
    /// A member goes. A static member may be named by its instance id alone.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        settings: &GroupSettings,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if self.pending.remove(member_id).is_some() {
            self.complete_join_if_all_joined(now);
            return Ok(());
        }
        let member_id = match instance_id {
            Some(instance) if member_id.is_empty() => {
                self.instances.get(instance).cloned().ok_or(ResponseError::UnknownMemberId)?
            }
            _ => member_id.to_owned(),
        };
        self.check_identity(&Claim { member_id: &member_id, instance_id, generation: -1 })?;
        self.remove(&member_id, settings, now);
        Ok(())
    }

    /// Takes a member out and rebalances the others.
    pub(super) fn remove(&mut self, id: &str, settings: &GroupSettings, now: Instant) {
        let Some(at) = self.members.iter().position(|member| member.id == id) else { return };
        let mut gone = self.members.remove(at);
        gone.answer_join(JoinAnswer::refused(ResponseError::UnknownMemberId, id));
        gone.answer_sync(Err(ResponseError::UnknownMemberId));
        self.instances.retain(|_, member_id| member_id != id);
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.first().map(|member| member.id.clone());
        }
        match self.state {
            GroupState::Empty => {}
            GroupState::PreparingRebalance => self.complete_join_if_all_joined(now),
            GroupState::CompletingRebalance | GroupState::Stable => self.rebalance(settings, now),
        }
    }
}
