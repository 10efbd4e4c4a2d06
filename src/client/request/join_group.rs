//! `JoinGroup`: enters a classic group and waits for the others (KIP-394 two-step join, KIP-345, KIP-800).

use std::time::Duration;

use bytes::Bytes;
use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::Generation;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::{GroupId, JoinGroupRequest};

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, optional_text, text};

/// The wish to be a member. The broker answers when the round is complete, up to `rebalance_timeout` later.
#[derive(Debug, Clone)]
pub(crate) struct JoinGroup {
    pub(crate) group_id: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    /// Empty before the coordinator has given one.
    pub(crate) member_id: String,
    /// Not sent below version 5.
    pub(crate) group_instance_id: Option<String>,
    /// Kafka's `consumer`, unless another kind of group.
    pub(crate) protocol_type: String,
    /// Assignor names with the member's metadata for each, most wanted first.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// Why, for the broker's log; not sent below version 8.
    pub(crate) reason: Option<String>,
}

/// The round's outcome.
#[derive(Debug, Clone)]
pub(crate) struct JoinGroupAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) generation: Generation,
    pub(crate) protocol_name: Option<String>,
    pub(crate) leader: String,
    /// The leader keeps the assignment as it was (KIP-814); a static member that came back.
    pub(crate) skip_assignment: bool,
    pub(crate) member_id: String,
    /// Empty unless this member leads.
    pub(crate) members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) member_id: String,
    pub(crate) group_instance_id: Option<String>,
    pub(crate) metadata: Bytes,
}

impl Exchange for JoinGroup {
    const KEY: ApiKey = ApiKey::new(11, "JoinGroup");
    const VERSIONS: VersionRange = VersionRange::new(2, 9);
    const FIRST_FLEXIBLE: i16 = 6;
    type Body = JoinGroupRequest;
    type Response = JoinGroupAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let protocol = |(name, metadata): &(String, Bytes)| {
            JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(metadata.clone())
        };
        let mut request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(&self.group_id)))
            .with_session_timeout_ms(millis(self.session_timeout))
            .with_rebalance_timeout_ms(millis(self.rebalance_timeout))
            .with_member_id(text(&self.member_id))
            .with_protocol_type(text(&self.protocol_type))
            .with_protocols(self.protocols.iter().map(protocol).collect());
        if version >= 5 {
            request = request.with_group_instance_id(optional_text(self.group_instance_id.as_deref()));
        }
        if version >= 8 {
            request = request.with_reason(optional_text(self.reason.as_deref()));
        }
        request
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        let version = answer.version();
        answer.read_throttle()?;
        let error = ErrorCode::from(answer.i16()?);
        let generation = Generation(answer.i32()?);
        if version >= 7 {
            answer.nullable_string()?; // the protocol type, as it was asked for
        }
        let protocol_name = answer.nullable_string()?;
        let leader = answer.string()?;
        let skip_assignment = version >= 9 && answer.bool()?;
        let member_id = answer.string()?;
        let members = answer.array(|r| {
            let member_id = r.string()?;
            let group_instance_id = if version >= 5 { r.nullable_string()? } else { None };
            let metadata = r.bytes()?;
            r.tags()?;
            Ok(JoinedMember { member_id, group_instance_id, metadata })
        })?;
        answer.tags()?;
        Ok(JoinGroupAnswer { error, generation, protocol_name, leader, skip_assignment, member_id, members })
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::JoinGroupResponse;
    use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<JoinGroup, _>(
            |version| {
                let mut member = JoinGroupResponseMember::default()
                    .with_member_id(text("m"))
                    .with_metadata(Bytes::from_static(b"meta"));
                if version >= 5 {
                    member = member.with_group_instance_id(Some(text("i")));
                }
                let mut answer = JoinGroupResponse::default()
                    .with_generation_id(3)
                    .with_protocol_name(Some(text("range")))
                    .with_leader(text("m"))
                    .with_member_id(text("m"))
                    .with_members(vec![member]);
                if version >= 7 {
                    answer = answer.with_protocol_type(Some(text("consumer")));
                }
                if version >= 9 {
                    answer = answer.with_skip_assignment(true);
                }
                answer
            },
            |version, answer| {
                assert_eq!(answer.generation, Generation(3));
                assert_eq!(answer.protocol_name.as_deref(), Some("range"));
                assert_eq!(answer.skip_assignment, version >= 9);
                let instance = (version >= 5).then(|| "i".to_owned());
                let metadata = Bytes::from_static(b"meta");
                let member = JoinedMember { member_id: "m".into(), group_instance_id: instance, metadata };
                assert_eq!(answer.members, vec![member]);
            },
        );
    }

    #[test]
    fn fields_are_sent_from_the_version_that_knows_them() {
        let request = JoinGroup {
            group_id: "g".into(),
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_mins(5),
            member_id: String::new(),
            group_instance_id: Some("i".into()),
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"x"))],
            reason: Some("first join".into()),
        };
        for (version, body) in golden::requests(&request) {
            assert_eq!((body.session_timeout_ms, body.rebalance_timeout_ms), (45_000, 300_000));
            assert_eq!(body.group_instance_id.is_some(), version >= 5);
            assert_eq!(body.reason.is_some(), version >= 8);
        }
    }
}
