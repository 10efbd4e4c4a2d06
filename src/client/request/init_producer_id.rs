//! `InitProducerId`: an id for an idempotent producer (KIP-98). Any broker gives one; there are no transactions here.

use kafka_proto::error_code::ErrorCode;
use kafka_protocol::messages::InitProducerIdRequest;

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange};

/// The longest transaction that the id would be used for. There is none, and the broker demands a positive number.
const TRANSACTION_TIMEOUT_MS: i32 = i32::MAX;

/// Asks for a fresh id.
#[derive(Debug, Clone)]
pub(crate) struct InitProducerId;

/// The id, and the epoch to begin with.
#[derive(Debug, Clone)]
pub(crate) struct InitProducerIdAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
}

impl Exchange for InitProducerId {
    const KEY: ApiKey = ApiKey::new(22, "InitProducerId");
    const VERSIONS: VersionRange = VersionRange::new(0, 5);
    const FIRST_FLEXIBLE: i16 = 2;
    type Body = InitProducerIdRequest;
    type Response = InitProducerIdAnswer;

    fn body(&self, _version: i16) -> Self::Body {
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(TRANSACTION_TIMEOUT_MS)
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        answer.read_throttle()?;
        let error = ErrorCode::from(answer.i16()?);
        let (producer_id, producer_epoch) = (answer.i64()?, answer.i16()?);
        answer.tags()?;
        Ok(InitProducerIdAnswer { error, producer_id, producer_epoch })
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{InitProducerIdResponse, ProducerId};

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<InitProducerId, _>(
            |_| {
                InitProducerIdResponse::default()
                    .with_error_code(14)
                    .with_producer_id(ProducerId(4711))
                    .with_producer_epoch(3)
            },
            |_, answer| {
                assert_eq!(answer.error, ErrorCode::CoordinatorLoadInProgress);
                assert_eq!((answer.producer_id, answer.producer_epoch), (4711, 3));
            },
        );
    }

    #[test]
    fn no_transaction_and_no_former_id_is_named() {
        for (_, body) in golden::requests(&InitProducerId) {
            assert_eq!(body.transactional_id, None);
            assert_eq!((body.producer_id.0, body.producer_epoch), (-1, -1));
        }
    }
}
