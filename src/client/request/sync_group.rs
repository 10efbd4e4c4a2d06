//! `SyncGroup`: the leader hands in the assignment, everyone gets its part.

use bytes::Bytes;
use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::Generation;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{GroupId, SyncGroupRequest};

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, optional_text, text};

/// Asks for this member's part; from the leader, with everyone's.
#[derive(Debug, Clone)]
pub(crate) struct SyncGroup {
    pub(crate) group_id: String,
    pub(crate) generation: Generation,
    pub(crate) member_id: String,
    /// Not sent below version 3.
    pub(crate) group_instance_id: Option<String>,
    /// Not sent below version 5, like the name of the assignor.
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol_name: Option<String>,
    /// Member id and its assignment; empty unless this member leads.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// This member's part.
#[derive(Debug, Clone)]
pub(crate) struct SyncGroupAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) assignment: Bytes,
}

impl Exchange for SyncGroup {
    const KEY: ApiKey = ApiKey::new(14, "SyncGroup");
    const VERSIONS: VersionRange = VersionRange::new(0, 5);
    const FIRST_FLEXIBLE: i16 = 4;
    type Body = SyncGroupRequest;
    type Response = SyncGroupAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let assignment = |(member, assignment): &(String, Bytes)| {
            SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(assignment.clone())
        };
        let mut request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.group_id)))
            .with_generation_id(self.generation.get())
            .with_member_id(text(&self.member_id))
            .with_assignments(self.assignments.iter().map(assignment).collect());
        if version >= 3 {
            request = request.with_group_instance_id(optional_text(self.group_instance_id.as_deref()));
        }
        if version >= 5 {
            request = request
                .with_protocol_type(optional_text(self.protocol_type.as_deref()))
                .with_protocol_name(optional_text(self.protocol_name.as_deref()));
        }
        request
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        if answer.version() >= 1 {
            answer.read_throttle()?;
        }
        let error = ErrorCode::from(answer.i16()?);
        if answer.version() >= 5 {
            // Protocol type and name, as they were asked for.
            answer.nullable_string()?;
            answer.nullable_string()?;
        }
        let assignment = answer.bytes()?;
        answer.tags()?;
        Ok(SyncGroupAnswer { error, assignment })
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::SyncGroupResponse;

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<SyncGroup, _>(
            |version| {
                let answer = SyncGroupResponse::default().with_assignment(Bytes::from_static(b"mine"));
                if version >= 5 { answer.with_protocol_name(Some(text("range"))) } else { answer }
            },
            |_, answer| assert_eq!(answer.assignment, "mine"),
        );
    }

    #[test]
    fn fields_are_sent_from_the_version_that_knows_them() {
        let request = SyncGroup {
            group_id: "g".into(),
            generation: Generation(1),
            member_id: "m".into(),
            group_instance_id: Some("i".into()),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: vec![("m".into(), Bytes::from_static(b"a"))],
        };
        for (version, body) in golden::requests(&request) {
            assert_eq!(body.group_instance_id.is_some(), version >= 3);
            assert_eq!(body.protocol_name.is_some(), version >= 5);
            assert_eq!(body.assignments.len(), 1);
        }
    }
}
