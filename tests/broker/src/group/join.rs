//! JoinGroup.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

use super::{Claim, Group, GroupSettings, GroupState, Member};

/// What a member asks.
#[derive(Debug, Clone)]
pub(crate) struct JoinAsk {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) version: i16,
    /// The id the member gets, if it needs one.
    pub(crate) new_id: String,
}

/// What a member is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinAnswer {
    pub(crate) error: Option<ResponseError>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    pub(crate) skip_assignment: bool,
    /// Member id, instance id and metadata; for the leader only.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

impl JoinAnswer {
    pub(crate) fn refused(error: ResponseError, member_id: &str) -> Self {
        Self {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            member_id: member_id.to_owned(),
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}

/// An answer, or the wait for one.
#[derive(Debug)]
pub(crate) enum Joining {
    Answer(JoinAnswer),
    Parked(oneshot::Receiver<JoinAnswer>),
}

impl Group {
    /// A member wants in, or back in.
    pub(crate) fn join(&mut self, ask: &JoinAsk, settings: &GroupSettings, now: Instant) -> Joining {
        let joined = if ask.session_timeout < settings.session_timeout_min
            || ask.session_timeout > settings.session_timeout_max
        {
            Err(ResponseError::InvalidSessionTimeout)
        } else if !self.accepts(ask) {
            Err(ResponseError::InconsistentGroupProtocol)
        } else if ask.member_id.is_empty() {
            self.join_as_unknown(ask, settings, now)
        } else {
            self.join_as_known(ask, settings, now)
        };
        joined.unwrap_or_else(|error| Joining::Answer(JoinAnswer::refused(error, &ask.member_id)))
    }

    /// Whether all members would still have an assignor in common.
    fn accepts(&self, ask: &JoinAsk) -> bool {
        if self.members.is_empty() {
            return !ask.protocol_type.is_empty() && !ask.protocols.is_empty();
        }
        let others = || self.members.iter().filter(|member| member.id != ask.member_id);
        self.protocol_type.as_deref() == Some(ask.protocol_type.as_str())
            && ask.protocols.iter().any(|(name, _)| others().all(|member| member.supports(name)))
    }

    fn join_as_unknown(
        &mut self,
        ask: &JoinAsk,
        settings: &GroupSettings,
        now: Instant,
    ) -> Result<Joining, ResponseError> {
        if let Some(known) = ask.instance_id.as_ref().and_then(|instance| self.instances.get(instance)).cloned() {
            return self.replace_static(&known, ask, settings, now);
        }
        if ask.instance_id.is_none() && ask.version >= 4 {
            self.pending.insert(ask.new_id.clone(), now + ask.session_timeout);
            return Ok(Joining::Answer(JoinAnswer::refused(ResponseError::MemberIdRequired, &ask.new_id)));
        }
        Ok(self.add(ask.new_id.clone(), ask, settings, now))
    }

    fn join_as_known(
        &mut self,
        ask: &JoinAsk,
        settings: &GroupSettings,
        now: Instant,
    ) -> Result<Joining, ResponseError> {
        if ask.instance_id.is_none() && self.pending.remove(&ask.member_id).is_some() {
            return Ok(self.add(ask.member_id.clone(), ask, settings, now));
        }
        let claim = Claim { member_id: &ask.member_id, instance_id: ask.instance_id.as_deref(), generation: -1 };
        self.check_identity(&claim)?;
        let is_leader = self.leader.as_deref() == Some(ask.member_id.as_str());
        let unchanged = self.member(&ask.member_id).is_some_and(|member| member.protocols == ask.protocols);
        match self.state {
            GroupState::Empty => Err(ResponseError::UnknownMemberId),
            GroupState::CompletingRebalance if unchanged => Ok(Joining::Answer(self.current(&ask.member_id))),
            GroupState::Stable if unchanged && !is_leader => Ok(Joining::Answer(self.current(&ask.member_id))),
            _ => self.rejoin(ask, settings, now),
        }
    }

    fn add(&mut self, id: String, ask: &JoinAsk, settings: &GroupSettings, now: Instant) -> Joining {
        let mut member = Member::new(id.clone(), ask, now);
        let waiting = member.park_join();
        self.pending.remove(&id);
        if let Some(instance) = &ask.instance_id {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert(id);
        self.protocol_type = Some(ask.protocol_type.clone());
        self.members.push(member);
        self.rebalance(settings, now);
        Joining::Parked(waiting)
    }

    fn rejoin(&mut self, ask: &JoinAsk, settings: &GroupSettings, now: Instant) -> Result<Joining, ResponseError> {
        let member = self.member_mut(&ask.member_id).ok_or(ResponseError::UnknownMemberId)?;
        member.update(ask);
        let waiting = member.park_join();
        self.rebalance(settings, now);
        Ok(Joining::Parked(waiting))
    }

    /// A static member came back without its member id: it gets a new one, whoever holds the old one is fenced. A stable
    /// group stays as it is where the common assignor does not change.
    fn replace_static(
        &mut self,
        known: &str,
        ask: &JoinAsk,
        settings: &GroupSettings,
        now: Instant,
    ) -> Result<Joining, ResponseError> {
        let was_leader = self.leader.as_deref() == Some(known);
        let member = self.member_mut(known).ok_or(ResponseError::UnknownMemberId)?;
        member.answer_join(JoinAnswer::refused(ResponseError::FencedInstanceId, known));
        member.answer_sync(Err(ResponseError::FencedInstanceId));
        member.id.clone_from(&ask.new_id);
        member.update(ask);
        member.touch(now);
        if let Some(instance) = &ask.instance_id {
            self.instances.insert(instance.clone(), ask.new_id.clone());
        }
        if was_leader {
            self.leader = Some(ask.new_id.clone());
        }
        if self.state == GroupState::Stable && self.select_protocol() == self.protocol {
            let mut answer = self.current(&ask.new_id);
            answer.skip_assignment = was_leader && ask.version >= 9;
            if was_leader && ask.version < 9 {
                // An older member that is told it leads would assign; the old id makes it a follower.
                answer.members = Vec::new();
                known.clone_into(&mut answer.leader);
            }
            return Ok(Joining::Answer(answer));
        }
        let rejoining = JoinAsk { member_id: ask.new_id.clone(), ..ask.clone() };
        self.rejoin(&rejoining, settings, now)
    }

    /// The answer of the current generation for one member.
    pub(super) fn current(&self, member_id: &str) -> JoinAnswer {
        let leads = self.leader.as_deref() == Some(member_id);
        let protocol = self.protocol.clone().unwrap_or_default();
        let members = self.members.iter().filter(|_| leads);
        JoinAnswer {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.to_owned(),
            skip_assignment: false,
            members: members.map(|m| (m.id.clone(), m.instance_id.clone(), m.metadata_of(&protocol))).collect(),
        }
    }
}
