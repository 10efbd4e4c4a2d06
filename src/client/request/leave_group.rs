//! `LeaveGroup`: ends a membership at once instead of after the session timeout (KIP-345, KIP-800).

use kafka_proto::error_code::ErrorCode;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{GroupId, LeaveGroupRequest};

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, optional_text, text};

/// One member's farewell.
#[derive(Debug, Clone)]
pub(crate) struct LeaveGroup {
    pub(crate) group_id: String,
    pub(crate) member_id: String,
    /// Not sent below version 3.
    pub(crate) group_instance_id: Option<String>,
    /// Why, for the broker's log; not sent below version 5.
    pub(crate) reason: Option<String>,
}

/// The first error that the answer holds, of the group or of the member.
#[derive(Debug, Clone)]
pub(crate) struct LeaveGroupAnswer {
    pub(crate) error: ErrorCode,
}

impl Exchange for LeaveGroup {
    const KEY: ApiKey = ApiKey::new(13, "LeaveGroup");
    const VERSIONS: VersionRange = VersionRange::new(0, 5);
    const FIRST_FLEXIBLE: i16 = 4;
    type Body = LeaveGroupRequest;
    type Response = LeaveGroupAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let request = LeaveGroupRequest::default().with_group_id(GroupId(text(&self.group_id)));
        if version < 3 {
            return request.with_member_id(text(&self.member_id));
        }
        let mut member = MemberIdentity::default()
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(optional_text(self.group_instance_id.as_deref()));
        if version >= 5 {
            member = member.with_reason(optional_text(self.reason.as_deref()));
        }
        request.with_members(vec![member])
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        if answer.version() >= 1 {
            answer.read_throttle()?;
        }
        let mut error = answer.i16()?;
        if answer.version() >= 3 {
            let members = answer.array(|r| {
                r.string()?;
                r.nullable_string()?;
                let code = r.i16()?;
                r.tags()?;
                Ok(code)
            })?;
            if error == 0 {
                error = members.into_iter().find(|code| *code != 0).unwrap_or(0);
            }
        }
        answer.tags()?;
        Ok(LeaveGroupAnswer { error: ErrorCode::from(error) })
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::LeaveGroupResponse;
    use kafka_protocol::messages::leave_group_response::MemberResponse;

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<LeaveGroup, _>(
            |version| {
                let answer = LeaveGroupResponse::default();
                if version < 3 {
                    return answer.with_error_code(25);
                }
                answer.with_members(vec![MemberResponse::default().with_member_id(text("m")).with_error_code(25)])
            },
            |_, answer| assert_eq!(answer.error, ErrorCode::from(25)),
        );
    }

    #[test]
    fn the_member_moves_into_a_list_from_version_3() {
        let request = LeaveGroup {
            group_id: "g".into(),
            member_id: "m".into(),
            group_instance_id: None,
            reason: Some("closing".into()),
        };
        for (version, body) in golden::requests(&request) {
            assert_eq!(body.member_id.as_str(), if version < 3 { "m" } else { "" });
            assert_eq!(body.members.len(), usize::from(version >= 3));
        }
    }
}
