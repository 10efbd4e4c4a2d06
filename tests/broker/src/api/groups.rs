//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup: between the wire and the group machine.

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Call, code, text};
use crate::group::{Claim, Group, JoinAnswer, JoinAsk, Joining, SyncAnswer, SyncAsk, Syncing};

fn opt(id: Option<&StrBytes>) -> Option<String> {
    id.map(ToString::to_string)
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(crate) async fn join(call: &Call<'_>, request: JoinGroupRequest) -> JoinGroupResponse {
    let joining = start_join(call, &request);
    call.shared.group_deadlines.notify_one();
    let answer = match joining {
        Joining::Answer(answer) => answer,
        Joining::Parked(waiting) => {
            waiting.await.unwrap_or_else(|_| JoinAnswer::refused(ResponseError::NotCoordinator, &request.member_id))
        }
    };
    call.shared.group_deadlines.notify_one();
    write_join(call, answer)
}

fn start_join(call: &Call<'_>, request: &JoinGroupRequest) -> Joining {
    let mut state = call.shared.lock();
    let unique = state.fresh();
    let base = opt(request.group_instance_id.as_ref()).unwrap_or_else(|| call.client_id.clone());
    let ask = JoinAsk {
        member_id: request.member_id.to_string(),
        instance_id: opt(request.group_instance_id.as_ref()),
        client_id: call.client_id.clone(),
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(request.rebalance_timeout_ms),
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.iter().map(|own| (own.name.to_string(), own.metadata.clone())).collect(),
        version: call.version,
        new_id: format!("{base}-{unique:08x}-0000-4000-8000-d0b1e0000000"),
    };
    if let Err(error) = state.check_coordinator(call.node, &request.group_id) {
        return Joining::Answer(JoinAnswer::refused(error, &request.member_id));
    }
    let settings = state.group_settings;
    let group = request.group_id.as_str();
    if !ask.member_id.is_empty() && !state.groups.contains_key(group) {
        return Joining::Answer(JoinAnswer::refused(ResponseError::UnknownMemberId, &request.member_id));
    }
    state.groups.entry(group.to_owned()).or_insert_with(Group::new).join(&ask, &settings, Instant::now())
}

fn write_join(call: &Call<'_>, answer: JoinAnswer) -> JoinGroupResponse {
    let members = answer.members.into_iter().map(|(id, instance, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(text(id)).with_metadata(metadata);
        if call.version >= 5 { member.with_group_instance_id(instance.map(text)) } else { member }
    });
    let protocol = answer.protocol.map(text);
    let mut response = JoinGroupResponse::default()
        .with_error_code(code(answer.error))
        .with_generation_id(answer.generation)
        .with_leader(text(answer.leader))
        .with_member_id(text(answer.member_id))
        .with_members(members.collect())
        // Null only from version 7 on.
        .with_protocol_name(if call.version >= 7 { protocol } else { Some(protocol.unwrap_or_default()) });
    if call.version >= 7 {
        response.protocol_type = answer.protocol_type.map(text);
    }
    if call.version >= 9 {
        response.skip_assignment = answer.skip_assignment;
    }
    response
}

pub(crate) async fn sync(call: &Call<'_>, request: SyncGroupRequest) -> SyncGroupResponse {
    let syncing = start_sync(call, &request);
    call.shared.group_deadlines.notify_one();
    let answer = match syncing {
        Syncing::Answer(answer) => answer,
        Syncing::Parked(waiting) => waiting.await.unwrap_or(Err(ResponseError::NotCoordinator)),
    };
    write_sync(call, answer)
}

fn start_sync(call: &Call<'_>, request: &SyncGroupRequest) -> Syncing {
    let mut state = call.shared.lock();
    if let Err(error) = state.check_coordinator(call.node, &request.group_id) {
        return Syncing::Answer(Err(error));
    }
    let Some(group) = state.groups.get_mut(request.group_id.as_str()) else {
        return Syncing::Answer(Err(ResponseError::UnknownMemberId));
    };
    let ask = SyncAsk {
        protocol_type: opt(request.protocol_type.as_ref()),
        protocol: opt(request.protocol_name.as_ref()),
        assignments: request
            .assignments
            .iter()
            .map(|own| (own.member_id.to_string(), own.assignment.clone()))
            .collect(),
    };
    let claim = Claim {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_ref().map(kafka_protocol::protocol::StrBytes::as_str),
        generation: request.generation_id,
    };
    group.sync(&claim, &ask, Instant::now())
}

fn write_sync(call: &Call<'_>, answer: SyncAnswer) -> SyncGroupResponse {
    match answer {
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
        Ok((assignment, protocol_type, protocol)) => {
            let response = SyncGroupResponse::default().with_assignment(assignment);
            if call.version < 5 {
                return response;
            }
            response.with_protocol_type(protocol_type.map(text)).with_protocol_name(protocol.map(text))
        }
    }
}

pub(crate) fn heartbeat(call: &Call<'_>, request: &HeartbeatRequest) -> HeartbeatResponse {
    let mut state = call.shared.lock();
    let claim = Claim {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_ref().map(kafka_protocol::protocol::StrBytes::as_str),
        generation: request.generation_id,
    };
    let beaten = state.check_coordinator(call.node, &request.group_id).and_then(|()| {
        let group = state.groups.get_mut(request.group_id.as_str()).ok_or(ResponseError::UnknownMemberId)?;
        group.heartbeat(&claim, Instant::now())
    });
    HeartbeatResponse::default().with_error_code(code(beaten.err()))
}

pub(crate) fn leave(call: &Call<'_>, request: &LeaveGroupRequest) -> LeaveGroupResponse {
    let response = leave_all(call, request);
    call.shared.group_deadlines.notify_one();
    response
}

fn leave_all(call: &Call<'_>, request: &LeaveGroupRequest) -> LeaveGroupResponse {
    let mut state = call.shared.lock();
    if let Err(error) = state.check_coordinator(call.node, &request.group_id) {
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let settings = state.group_settings;
    let mut group = state.groups.get_mut(request.group_id.as_str());
    let mut leave = |member_id: &str, instance_id: Option<&str>| match group.as_mut() {
        None => Err(ResponseError::UnknownMemberId),
        Some(group) => group.leave(member_id, instance_id, &settings, Instant::now()),
    };
    if call.version < 3 {
        return LeaveGroupResponse::default().with_error_code(code(leave(&request.member_id, None).err()));
    }
    let members = request.members.iter().map(|member| {
        let left =
            leave(&member.member_id, member.group_instance_id.as_ref().map(kafka_protocol::protocol::StrBytes::as_str));
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(code(left.err()))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
