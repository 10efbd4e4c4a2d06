//! `ApiVersions` (KIP-35, KIP-511): which versions of which APIs the broker speaks.

use std::collections::BTreeMap;

use kafka_proto::error_code::ErrorCode;
use kafka_protocol::messages::ApiVersionsRequest;

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, text};

/// The `UNSUPPORTED_VERSION` code, which an answer of any version gives in the shape of version 0.
const UNSUPPORTED_VERSION: i16 = 35;

/// Asks for the broker's versions and names this software.
#[derive(Debug)]
pub(crate) struct ApiVersions;

/// The broker's version ranges.
#[derive(Debug, Clone)]
pub(crate) struct ApiVersionsAnswer {
    pub(crate) error: ErrorCode,
    /// By API number; a range whose ends are swapped is left out.
    pub(crate) ranges: BTreeMap<i16, VersionRange>,
}

impl Exchange for ApiVersions {
    const KEY: ApiKey = ApiKey::new(18, "ApiVersions");
    const VERSIONS: VersionRange = VersionRange::new(0, 4);
    const FIRST_FLEXIBLE: i16 = 3;
    type Body = ApiVersionsRequest;
    type Response = ApiVersionsAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let request = ApiVersionsRequest::default();
        if version < 3 {
            return request;
        }
        request
            .with_client_software_name(text(SOFTWARE_NAME))
            .with_client_software_version(text(env!("CARGO_PKG_VERSION")))
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        let error = answer.i16()?;
        if error == UNSUPPORTED_VERSION {
            answer.fall_back_to_version_0();
        }
        let ranges = answer.array(|r| {
            let entry = (r.i16()?, VersionRange::new(r.i16()?, r.i16()?));
            r.tags()?;
            Ok(entry)
        })?;
        if answer.version() >= 1 {
            answer.read_throttle()?;
        }
        answer.tags()?; // feature levels: nothing here depends on them
        let ranges = ranges.into_iter().filter(|(_, range)| range.min <= range.max).collect();
        Ok(ApiVersionsAnswer { error: ErrorCode::from(error), ranges })
    }
}

/// The name under which brokers count this client (KIP-511 allows letters, digits, `-` and `.`, nothing else).
const SOFTWARE_NAME: &str = "kafka-consumer-rs";

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ApiVersionsResponse;
    use kafka_protocol::messages::api_versions_response::ApiVersion;

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<ApiVersions, _>(
            |version| {
                let api = ApiVersion::default().with_api_key(1).with_min_version(4).with_max_version(18);
                let swapped = ApiVersion::default().with_api_key(2).with_min_version(5).with_max_version(1);
                let answer = ApiVersionsResponse::default().with_api_keys(vec![api, swapped]);
                if version >= 1 { answer.with_throttle_time_ms(7) } else { answer }
            },
            |_, answer| assert_eq!(answer.ranges, BTreeMap::from([(1, VersionRange::new(4, 18))])),
        );
    }

    #[test]
    fn unsupported_version_answers_in_the_shape_of_version_0() {
        let bytes: &[u8] = &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2];
        let mut reader = Reader::new(bytes::Bytes::from_static(bytes), 4, true);
        let answer = ApiVersions::read(&mut reader).unwrap();
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(answer.error, ErrorCode::from(35));
        assert_eq!(answer.ranges[&18], VersionRange::new(0, 2));
    }
}
