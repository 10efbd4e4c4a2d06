//! `FindCoordinator`: which broker looks after a group (single form to version 3, batches from 4, KIP-699).

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::BrokerId;
use kafka_protocol::messages::FindCoordinatorRequest;

use crate::client::request::{ApiKey, Endpoint, Exchange, Malformed, Reader, VersionRange, text};

/// Asks for the coordinator of one group.
#[derive(Debug, Clone)]
pub(crate) struct FindCoordinator {
    pub(crate) group_id: String,
}

/// The coordinator, if there is no error.
#[derive(Debug, Clone)]
pub(crate) struct FindCoordinatorAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) message: Option<String>,
    /// Meaningless beside an error; its id is -1 then.
    pub(crate) coordinator: Endpoint,
}

impl Exchange for FindCoordinator {
    const KEY: ApiKey = ApiKey::new(10, "FindCoordinator");
    const VERSIONS: VersionRange = VersionRange::new(0, 6);
    const FIRST_FLEXIBLE: i16 = 3;
    type Body = FindCoordinatorRequest;
    type Response = FindCoordinatorAnswer;

    fn body(&self, version: i16) -> Self::Body {
        // The key type stays 0, a group.
        if version < 4 {
            return FindCoordinatorRequest::default().with_key(text(&self.group_id));
        }
        FindCoordinatorRequest::default().with_coordinator_keys(vec![text(&self.group_id)])
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        let version = answer.version();
        if version >= 1 {
            answer.read_throttle()?;
        }
        let found = if version < 4 { read_single(answer)? } else { read_batch(answer)? };
        answer.tags()?;
        Ok(found)
    }
}

fn read_single(r: &mut Reader) -> Result<FindCoordinatorAnswer, Malformed> {
    let error = ErrorCode::from(r.i16()?);
    let message = if r.version() >= 1 { r.nullable_string()? } else { None };
    let id = BrokerId(r.i32()?);
    Ok(FindCoordinatorAnswer { error, message, coordinator: r.endpoint(id)? })
}

/// One key was asked for, so one entry is the answer; none at all is not an answer.
fn read_batch(r: &mut Reader) -> Result<FindCoordinatorAnswer, Malformed> {
    let found = r.array(|r| {
        r.string()?;
        let id = BrokerId(r.i32()?);
        let coordinator = r.endpoint(id)?;
        let error = ErrorCode::from(r.i16()?);
        let message = r.nullable_string()?;
        r.tags()?;
        Ok(FindCoordinatorAnswer { error, message, coordinator })
    })?;
    found.into_iter().next().ok_or(Malformed::Null)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::find_coordinator_response::Coordinator;
    use kafka_protocol::messages::{BrokerId as WireBrokerId, FindCoordinatorResponse};

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<FindCoordinator, _>(
            |version| {
                let answer = FindCoordinatorResponse::default();
                if version < 4 {
                    return answer.with_node_id(WireBrokerId(2)).with_host(text("b2")).with_port(9092);
                }
                let found = Coordinator::default()
                    .with_key(text("g"))
                    .with_node_id(WireBrokerId(2))
                    .with_host(text("b2"))
                    .with_port(9092);
                answer.with_coordinators(vec![found])
            },
            |_, answer| {
                let expected = Endpoint { id: BrokerId(2), host: "b2".into(), port: 9092, rack: None };
                assert_eq!(answer.coordinator, expected);
            },
        );
    }

    #[test]
    fn an_absent_coordinator_is_not_a_malformed_answer() {
        let answer =
            FindCoordinatorResponse::default().with_error_code(15).with_node_id(WireBrokerId(-1)).with_port(-1);
        let mut bytes = bytes::BytesMut::new();
        kafka_protocol::protocol::Encodable::encode(&answer, &mut bytes, 2).unwrap();
        let read = FindCoordinator::read(&mut Reader::new(bytes.freeze(), 2, false)).unwrap();
        assert_eq!(read.error, ErrorCode::from(15));
    }

    #[test]
    fn the_key_moves_into_a_list_from_version_4() {
        for (version, body) in golden::requests(&FindCoordinator { group_id: "g".into() }) {
            assert_eq!(body.key.as_str(), if version < 4 { "g" } else { "" });
            assert_eq!(body.coordinator_keys.len(), usize::from(version >= 4));
        }
    }
}
