//! DescribeGroups and ListGroups, for tools.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId, ListGroupsResponse};

use super::{Call, text};
use crate::group::Group;

pub(crate) fn describe(call: &Call<'_>, request: &DescribeGroupsRequest) -> DescribeGroupsResponse {
    let state = call.shared.lock();
    let groups = request.groups.iter().map(|id| {
        let answer = DescribedGroup::default().with_group_id(id.clone());
        match (state.check_coordinator(call.node, id), state.groups.get(id.as_str())) {
            (Err(error), _) => answer.with_error_code(error.code()),
            (Ok(()), Some(group)) => described(call, group, answer),
            (Ok(()), None) if call.version >= 6 => answer.with_error_code(ResponseError::GroupIdNotFound.code()),
            (Ok(()), None) => answer.with_group_state(text("Dead")),
        }
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn described(call: &Call<'_>, group: &Group, answer: DescribedGroup) -> DescribedGroup {
    let snapshot = group.snapshot();
    let members = group.members().iter().map(|member| {
        let described = DescribedGroupMember::default()
            .with_member_id(text(member.id.clone()))
            .with_client_id(text(member.client_id.clone()))
            .with_client_host(text("/127.0.0.1"))
            .with_member_assignment(member.assignment.clone());
        if call.version >= 4 {
            described.with_group_instance_id(member.instance_id.clone().map(text))
        } else {
            described
        }
    });
    answer
        .with_group_state(text(snapshot.state.name()))
        .with_protocol_type(text(group.protocol_type()))
        .with_protocol_data(text(snapshot.protocol.unwrap_or_default()))
        .with_members(members.collect())
}

pub(crate) fn list(call: &Call<'_>) -> ListGroupsResponse {
    let state = call.shared.lock();
    let here = state.groups.iter().filter(|(id, _)| state.coordinator_of(id) == Some(call.node));
    let groups = here.map(|(id, group)| {
        let listed = ListedGroup::default()
            .with_group_id(GroupId(text(id.clone())))
            .with_protocol_type(text(group.protocol_type()));
        let listed =
            if call.version >= 4 { listed.with_group_state(text(group.snapshot().state.name())) } else { listed };
        if call.version >= 5 { listed.with_group_type(text("classic")) } else { listed }
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}
