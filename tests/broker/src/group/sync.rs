//! SyncGroup.

use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

use super::{Claim, Group, GroupState};

/// What a member asks; the leader brings the assignments.
#[derive(Debug, Clone)]
pub(crate) struct SyncAsk {
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// The member's assignment with protocol type and protocol.
pub(crate) type SyncAnswer = Result<(Bytes, Option<String>, Option<String>), ResponseError>;

/// An answer, or the wait for one.
#[derive(Debug)]
pub(crate) enum Syncing {
    Answer(SyncAnswer),
    Parked(oneshot::Receiver<SyncAnswer>),
}

impl Group {
    /// A member wants its assignment.
    pub(crate) fn sync(&mut self, claim: &Claim<'_>, ask: &SyncAsk, now: Instant) -> Syncing {
        self.try_sync(claim, ask, now).unwrap_or_else(|error| Syncing::Answer(Err(error)))
    }

    fn try_sync(&mut self, claim: &Claim<'_>, ask: &SyncAsk, now: Instant) -> Result<Syncing, ResponseError> {
        self.check_identity(claim)?;
        self.check_generation(claim)?;
        let differs = |said: &Option<String>, known: &Option<String>| said.is_some() && said != known;
        if differs(&ask.protocol_type, &self.protocol_type) || differs(&ask.protocol, &self.protocol) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::Empty => Err(ResponseError::UnknownMemberId),
            GroupState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            GroupState::CompletingRebalance => {
                let member = self.member_mut(claim.member_id).ok_or(ResponseError::UnknownMemberId)?;
                member.synced = true;
                let waiting = member.park_sync();
                if self.leader.as_deref() == Some(claim.member_id) {
                    self.assign(&ask.assignments, now);
                }
                Ok(Syncing::Parked(waiting))
            }
            GroupState::Stable => {
                let answer = self.assigned(claim.member_id);
                if let Some(member) = self.member_mut(claim.member_id) {
                    member.synced = true;
                    member.touch(now);
                }
                Ok(Syncing::Answer(answer))
            }
        }
    }

    fn assigned(&self, id: &str) -> SyncAnswer {
        let member = self.member(id).ok_or(ResponseError::UnknownMemberId)?;
        Ok((member.assignment.clone(), self.protocol_type.clone(), self.protocol.clone()))
    }

    /// The leader has decided: everybody gets what is theirs, those left out an empty assignment.
    fn assign(&mut self, assignments: &[(String, Bytes)], now: Instant) {
        for member in &mut self.members {
            let own = assignments.iter().find(|(id, _)| *id == member.id);
            member.assignment = own.map(|(_, assignment)| assignment.clone()).unwrap_or_default();
        }
        self.state = GroupState::Stable;
        let ids: Vec<String> = self.members.iter().map(|member| member.id.clone()).collect();
        for id in ids {
            let answer = self.assigned(&id);
            if let Some(member) = self.member_mut(&id) {
                member.answer_sync(answer);
                member.touch(now);
            }
        }
    }
}
