//! `Heartbeat`: a member of a classic group says that it is alive.

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::Generation;
use kafka_protocol::messages::{GroupId, HeartbeatRequest};

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, optional_text, text};

/// One sign of life.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    pub(crate) group_id: String,
    pub(crate) generation: Generation,
    pub(crate) member_id: String,
    /// Not sent below version 3 (KIP-345).
    pub(crate) group_instance_id: Option<String>,
}

/// What the coordinator says to it.
#[derive(Debug, Clone)]
pub(crate) struct HeartbeatAnswer {
    pub(crate) error: ErrorCode,
}

impl Exchange for Heartbeat {
    const KEY: ApiKey = ApiKey::new(12, "Heartbeat");
    const VERSIONS: VersionRange = VersionRange::new(0, 4);
    const FIRST_FLEXIBLE: i16 = 4;
    type Body = HeartbeatRequest;
    type Response = HeartbeatAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.group_id)))
            .with_generation_id(self.generation.get())
            .with_member_id(text(&self.member_id));
        if version < 3 {
            return request;
        }
        request.with_group_instance_id(optional_text(self.group_instance_id.as_deref()))
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        if answer.version() >= 1 {
            answer.read_throttle()?;
        }
        let error = ErrorCode::from(answer.i16()?);
        answer.tags()?;
        Ok(HeartbeatAnswer { error })
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::HeartbeatResponse;

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<Heartbeat, _>(
            |_| HeartbeatResponse::default().with_error_code(27),
            |_, answer| assert_eq!(answer.error, ErrorCode::from(27)),
        );
    }

    #[test]
    fn the_instance_id_is_sent_from_version_3() {
        let request = Heartbeat {
            group_id: "g".into(),
            generation: Generation(4),
            member_id: "m".into(),
            group_instance_id: Some("i".into()),
        };
        for (version, body) in golden::requests(&request) {
            assert_eq!(body.generation_id, 4);
            assert_eq!(body.group_instance_id.is_some(), version >= 3);
        }
    }
}
