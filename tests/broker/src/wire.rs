//! The requests the double understands and the responses it gives: one table of APIs with the version ranges offered.
//!
//! Promised: what is not in the table is not spoken. A frame that does not decode is an error of the connection, as in
//! Kafka, never a panic.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{self, ApiKey};
use kafka_protocol::protocol::{Decodable, Encodable, VersionRange};

/// Why a request could not be read, or a response not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The API is not one of the table.
    #[error("api key {0} is not spoken here")]
    UnknownApi(i16),
    /// The header or the body does not decode in the version it names.
    #[error("{api:?} v{version}: {cause}")]
    Malformed { api: ApiKey, version: i16, cause: String },
}

macro_rules! apis {
    ($($name:ident: $request:ident => $response:ident, $min:literal to $max:literal;)*) => {
        /// A request as it came in, decoded.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "each variant is the Kafka API of that name")]
        #[non_exhaustive]
        pub enum Request {
            $($name(messages::$request),)*
        }

        /// A response before it is encoded.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "each variant is the Kafka API of that name")]
        #[non_exhaustive]
        pub enum Response {
            $($name(messages::$response),)*
        }

        impl Request {
            /// Reads the body of `api` in `version`.
            pub(crate) fn decode(api: ApiKey, version: i16, body: &mut Bytes) -> Result<Self, WireError> {
                match api {
                    $(ApiKey::$name => messages::$request::decode(body, version)
                        .map(Self::$name)
                        .map_err(|cause| WireError::Malformed { api, version, cause: cause.to_string() }),)*
                    other => Err(WireError::UnknownApi(other as i16)),
                }
            }

            /// Which API this is.
            pub fn api_key(&self) -> ApiKey {
                match self {
                    $(Self::$name(_) => ApiKey::$name,)*
                }
            }
        }

        impl Response {
            /// How many bytes the body takes in `version`; 0 where it cannot be written in that version.
            pub(crate) fn size(&self, version: i16) -> usize {
                match self {
                    $(Self::$name(response) => response.compute_size(version).unwrap_or(0),)*
                }
            }

            /// Writes the body in `version`.
            pub(crate) fn encode(&self, version: i16, out: &mut BytesMut) -> Result<(), WireError> {
                let (api, written) = match self {
                    $(Self::$name(response) => (ApiKey::$name, response.encode(out, version)),)*
                };
                written.map_err(|cause| WireError::Malformed { api, version, cause: cause.to_string() })
            }
        }

        $(impl From<messages::$response> for Response {
            fn from(response: messages::$response) -> Self {
                Self::$name(response)
            }
        })*

        /// Every API spoken, with the versions offered unless a test narrows them.
        pub(crate) const OFFERED: &[(ApiKey, VersionRange)] =
            &[$((ApiKey::$name, VersionRange { min: $min, max: $max }),)*];
    };
}

// Ranges of a Kafka 4.1 broker, as far as the schemas in use know them.
apis! {
    Produce: ProduceRequest => ProduceResponse, 3 to 13;
    Fetch: FetchRequest => FetchResponse, 4 to 18;
    ListOffsets: ListOffsetsRequest => ListOffsetsResponse, 1 to 10;
    Metadata: MetadataRequest => MetadataResponse, 0 to 13;
    OffsetCommit: OffsetCommitRequest => OffsetCommitResponse, 2 to 9;
    OffsetFetch: OffsetFetchRequest => OffsetFetchResponse, 1 to 9;
    FindCoordinator: FindCoordinatorRequest => FindCoordinatorResponse, 0 to 6;
    JoinGroup: JoinGroupRequest => JoinGroupResponse, 2 to 9;
    Heartbeat: HeartbeatRequest => HeartbeatResponse, 0 to 4;
    LeaveGroup: LeaveGroupRequest => LeaveGroupResponse, 0 to 5;
    SyncGroup: SyncGroupRequest => SyncGroupResponse, 0 to 5;
    DescribeGroups: DescribeGroupsRequest => DescribeGroupsResponse, 0 to 6;
    ListGroups: ListGroupsRequest => ListGroupsResponse, 0 to 5;
    SaslHandshake: SaslHandshakeRequest => SaslHandshakeResponse, 0 to 1;
    ApiVersions: ApiVersionsRequest => ApiVersionsResponse, 0 to 4;
    CreateTopics: CreateTopicsRequest => CreateTopicsResponse, 2 to 7;
    DeleteTopics: DeleteTopicsRequest => DeleteTopicsResponse, 1 to 6;
    DeleteRecords: DeleteRecordsRequest => DeleteRecordsResponse, 0 to 2;
    InitProducerId: InitProducerIdRequest => InitProducerIdResponse, 0 to 5;
    OffsetForLeaderEpoch: OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse, 2 to 4;
    SaslAuthenticate: SaslAuthenticateRequest => SaslAuthenticateResponse, 0 to 2;
    CreatePartitions: CreatePartitionsRequest => CreatePartitionsResponse, 0 to 3;
    DescribeConfigs: DescribeConfigsRequest => DescribeConfigsResponse, 1 to 4;
}
