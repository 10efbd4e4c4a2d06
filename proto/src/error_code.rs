//! Every error code of the Kafka protocol, its name, and what a consumer has to do about it: one table.
//!
//! Codes and names are those of Apache Kafka 4.3 (`org.apache.kafka.common.protocol.Errors`). The class says in which
//! direction the remedy lies; what exactly is done belongs to the machine that was in some state when the code
//! arrived. Codes that only producers, administrators or brokers can get are `Fatal` where nothing better fits.

use std::fmt;

/// What a consumer has to do about an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// No error.
    None,
    /// Ask the same broker again after a back-off.
    Retriable,
    /// Our view of the cluster is old: refresh the metadata, then ask whoever is in charge now.
    RefreshMetadata,
    /// The coordinator has moved or is not there: find it again.
    RefreshCoordinator,
    /// The group went on without us or is about to: join again.
    Rejoin,
    /// Somebody else holds our identity: stop at once and do not come back by ourselves.
    Fenced,
    /// The position is not in the log: decide by the reset policy.
    OffsetReset,
    /// We are not who we say we are. May heal (a rotated secret): try again with a long back-off, and say so.
    Authentication,
    /// We may not do this. May heal when somebody grants it: try again with a long back-off, and say so.
    Authorization,
    /// Asking again cannot help; a person has to change something.
    Fatal,
}

macro_rules! error_codes {
    ($($code:literal $variant:ident $name:literal $class:ident;)+) => {
        /// An error code as a broker sends it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = concat!("Code ", $code, ".")] $variant,)+
            /// A code that Kafka 4.3 does not know.
            Unknown(i16),
        }

        impl From<i16> for ErrorCode {
            fn from(code: i16) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }
        }

        impl ErrorCode {
            /// Every code with a name, ascending.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The number on the wire.
            pub const fn code(self) -> i16 {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Unknown(code) => code,
                }
            }

            /// Kafka's name for the code.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Unknown(_) => "UNKNOWN_ERROR_CODE",
                }
            }

            /// What a consumer has to do about it. A code we do not know is treated as `UNKNOWN_SERVER_ERROR` is.
            pub const fn class(self) -> ErrorClass {
                match self {
                    $(Self::$variant => ErrorClass::$class,)+
                    Self::Unknown(_) => ErrorClass::Retriable,
                }
            }
        }
    };
}

error_codes! {
    -1 UnknownServerError "UNKNOWN_SERVER_ERROR" Retriable;
    0 None "NONE" None;
    1 OffsetOutOfRange "OFFSET_OUT_OF_RANGE" OffsetReset;
    2 CorruptMessage "CORRUPT_MESSAGE" Retriable;
    3 UnknownTopicOrPartition "UNKNOWN_TOPIC_OR_PARTITION" RefreshMetadata;
    4 InvalidFetchSize "INVALID_FETCH_SIZE" Fatal;
    5 LeaderNotAvailable "LEADER_NOT_AVAILABLE" RefreshMetadata;
    6 NotLeaderOrFollower "NOT_LEADER_OR_FOLLOWER" RefreshMetadata;
    7 RequestTimedOut "REQUEST_TIMED_OUT" Retriable;
    8 BrokerNotAvailable "BROKER_NOT_AVAILABLE" RefreshMetadata;
    9 ReplicaNotAvailable "REPLICA_NOT_AVAILABLE" RefreshMetadata;
    10 MessageTooLarge "MESSAGE_TOO_LARGE" Fatal;
    11 StaleControllerEpoch "STALE_CONTROLLER_EPOCH" Fatal;
    12 OffsetMetadataTooLarge "OFFSET_METADATA_TOO_LARGE" Fatal;
    13 NetworkException "NETWORK_EXCEPTION" RefreshMetadata;
    14 CoordinatorLoadInProgress "COORDINATOR_LOAD_IN_PROGRESS" Retriable;
    15 CoordinatorNotAvailable "COORDINATOR_NOT_AVAILABLE" RefreshCoordinator;
    16 NotCoordinator "NOT_COORDINATOR" RefreshCoordinator;
    17 InvalidTopicException "INVALID_TOPIC_EXCEPTION" Fatal;
    18 RecordListTooLarge "RECORD_LIST_TOO_LARGE" Fatal;
    19 NotEnoughReplicas "NOT_ENOUGH_REPLICAS" Retriable;
    20 NotEnoughReplicasAfterAppend "NOT_ENOUGH_REPLICAS_AFTER_APPEND" Retriable;
    21 InvalidRequiredAcks "INVALID_REQUIRED_ACKS" Fatal;
    22 IllegalGeneration "ILLEGAL_GENERATION" Rejoin;
    23 InconsistentGroupProtocol "INCONSISTENT_GROUP_PROTOCOL" Fatal;
    24 InvalidGroupId "INVALID_GROUP_ID" Fatal;
    25 UnknownMemberId "UNKNOWN_MEMBER_ID" Rejoin;
    26 InvalidSessionTimeout "INVALID_SESSION_TIMEOUT" Fatal;
    27 RebalanceInProgress "REBALANCE_IN_PROGRESS" Rejoin;
    28 InvalidCommitOffsetSize "INVALID_COMMIT_OFFSET_SIZE" Fatal;
    29 TopicAuthorizationFailed "TOPIC_AUTHORIZATION_FAILED" Authorization;
    30 GroupAuthorizationFailed "GROUP_AUTHORIZATION_FAILED" Authorization;
    31 ClusterAuthorizationFailed "CLUSTER_AUTHORIZATION_FAILED" Authorization;
    32 InvalidTimestamp "INVALID_TIMESTAMP" Fatal;
    33 UnsupportedSaslMechanism "UNSUPPORTED_SASL_MECHANISM" Authentication;
    34 IllegalSaslState "ILLEGAL_SASL_STATE" Authentication;
    35 UnsupportedVersion "UNSUPPORTED_VERSION" Fatal;
    36 TopicAlreadyExists "TOPIC_ALREADY_EXISTS" Fatal;
    37 InvalidPartitions "INVALID_PARTITIONS" Fatal;
    38 InvalidReplicationFactor "INVALID_REPLICATION_FACTOR" Fatal;
    39 InvalidReplicaAssignment "INVALID_REPLICA_ASSIGNMENT" Fatal;
    40 InvalidConfig "INVALID_CONFIG" Fatal;
    41 NotController "NOT_CONTROLLER" RefreshMetadata;
    42 InvalidRequest "INVALID_REQUEST" Fatal;
    43 UnsupportedForMessageFormat "UNSUPPORTED_FOR_MESSAGE_FORMAT" Fatal;
    44 PolicyViolation "POLICY_VIOLATION" Fatal;
    45 OutOfOrderSequenceNumber "OUT_OF_ORDER_SEQUENCE_NUMBER" Fatal;
    46 DuplicateSequenceNumber "DUPLICATE_SEQUENCE_NUMBER" Fatal;
    47 InvalidProducerEpoch "INVALID_PRODUCER_EPOCH" Fenced;
    48 InvalidTxnState "INVALID_TXN_STATE" Fatal;
    49 InvalidProducerIdMapping "INVALID_PRODUCER_ID_MAPPING" Fatal;
    50 InvalidTransactionTimeout "INVALID_TRANSACTION_TIMEOUT" Fatal;
    51 ConcurrentTransactions "CONCURRENT_TRANSACTIONS" Retriable;
    52 TransactionCoordinatorFenced "TRANSACTION_COORDINATOR_FENCED" Fenced;
    53 TransactionalIdAuthorizationFailed "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" Authorization;
    54 SecurityDisabled "SECURITY_DISABLED" Fatal;
    55 OperationNotAttempted "OPERATION_NOT_ATTEMPTED" Fatal;
    56 KafkaStorageError "KAFKA_STORAGE_ERROR" RefreshMetadata;
    57 LogDirNotFound "LOG_DIR_NOT_FOUND" Fatal;
    58 SaslAuthenticationFailed "SASL_AUTHENTICATION_FAILED" Authentication;
    59 UnknownProducerId "UNKNOWN_PRODUCER_ID" Fatal;
    60 ReassignmentInProgress "REASSIGNMENT_IN_PROGRESS" Fatal;
    61 DelegationTokenAuthDisabled "DELEGATION_TOKEN_AUTH_DISABLED" Fatal;
    62 DelegationTokenNotFound "DELEGATION_TOKEN_NOT_FOUND" Fatal;
    63 DelegationTokenOwnerMismatch "DELEGATION_TOKEN_OWNER_MISMATCH" Fatal;
    64 DelegationTokenRequestNotAllowed "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" Fatal;
    65 DelegationTokenAuthorizationFailed "DELEGATION_TOKEN_AUTHORIZATION_FAILED" Authorization;
    66 DelegationTokenExpired "DELEGATION_TOKEN_EXPIRED" Authentication;
    67 InvalidPrincipalType "INVALID_PRINCIPAL_TYPE" Fatal;
    68 NonEmptyGroup "NON_EMPTY_GROUP" Fatal;
    69 GroupIdNotFound "GROUP_ID_NOT_FOUND" Fatal;
    70 FetchSessionIdNotFound "FETCH_SESSION_ID_NOT_FOUND" Retriable;
    71 InvalidFetchSessionEpoch "INVALID_FETCH_SESSION_EPOCH" Retriable;
    72 ListenerNotFound "LISTENER_NOT_FOUND" RefreshMetadata;
    73 TopicDeletionDisabled "TOPIC_DELETION_DISABLED" Fatal;
    74 FencedLeaderEpoch "FENCED_LEADER_EPOCH" RefreshMetadata;
    75 UnknownLeaderEpoch "UNKNOWN_LEADER_EPOCH" RefreshMetadata;
    76 UnsupportedCompressionType "UNSUPPORTED_COMPRESSION_TYPE" Fatal;
    77 StaleBrokerEpoch "STALE_BROKER_EPOCH" Fatal;
    78 OffsetNotAvailable "OFFSET_NOT_AVAILABLE" Retriable;
    79 MemberIdRequired "MEMBER_ID_REQUIRED" Rejoin;
    80 PreferredLeaderNotAvailable "PREFERRED_LEADER_NOT_AVAILABLE" RefreshMetadata;
    81 GroupMaxSizeReached "GROUP_MAX_SIZE_REACHED" Fatal;
    82 FencedInstanceId "FENCED_INSTANCE_ID" Fenced;
    83 EligibleLeadersNotAvailable "ELIGIBLE_LEADERS_NOT_AVAILABLE" RefreshMetadata;
    84 ElectionNotNeeded "ELECTION_NOT_NEEDED" Fatal;
    85 NoReassignmentInProgress "NO_REASSIGNMENT_IN_PROGRESS" Fatal;
    86 GroupSubscribedToTopic "GROUP_SUBSCRIBED_TO_TOPIC" Fatal;
    87 InvalidRecord "INVALID_RECORD" Fatal;
    88 UnstableOffsetCommit "UNSTABLE_OFFSET_COMMIT" Retriable;
    89 ThrottlingQuotaExceeded "THROTTLING_QUOTA_EXCEEDED" Retriable;
    90 ProducerFenced "PRODUCER_FENCED" Fenced;
    91 ResourceNotFound "RESOURCE_NOT_FOUND" Fatal;
    92 DuplicateResource "DUPLICATE_RESOURCE" Fatal;
    93 UnacceptableCredential "UNACCEPTABLE_CREDENTIAL" Authentication;
    94 InconsistentVoterSet "INCONSISTENT_VOTER_SET" Fatal;
    95 InvalidUpdateVersion "INVALID_UPDATE_VERSION" Fatal;
    96 FeatureUpdateFailed "FEATURE_UPDATE_FAILED" Fatal;
    97 PrincipalDeserializationFailure "PRINCIPAL_DESERIALIZATION_FAILURE" Fatal;
    98 SnapshotNotFound "SNAPSHOT_NOT_FOUND" Fatal;
    99 PositionOutOfRange "POSITION_OUT_OF_RANGE" Fatal;
    100 UnknownTopicId "UNKNOWN_TOPIC_ID" RefreshMetadata;
    101 DuplicateBrokerRegistration "DUPLICATE_BROKER_REGISTRATION" Fatal;
    102 BrokerIdNotRegistered "BROKER_ID_NOT_REGISTERED" Fatal;
    103 InconsistentTopicId "INCONSISTENT_TOPIC_ID" RefreshMetadata;
    104 InconsistentClusterId "INCONSISTENT_CLUSTER_ID" Fatal;
    105 TransactionalIdNotFound "TRANSACTIONAL_ID_NOT_FOUND" Fatal;
    106 FetchSessionTopicIdError "FETCH_SESSION_TOPIC_ID_ERROR" Retriable;
    107 IneligibleReplica "INELIGIBLE_REPLICA" Fatal;
    108 NewLeaderElected "NEW_LEADER_ELECTED" Fatal;
    109 OffsetMovedToTieredStorage "OFFSET_MOVED_TO_TIERED_STORAGE" Fatal;
    110 FencedMemberEpoch "FENCED_MEMBER_EPOCH" Rejoin;
    111 UnreleasedInstanceId "UNRELEASED_INSTANCE_ID" Rejoin;
    112 UnsupportedAssignor "UNSUPPORTED_ASSIGNOR" Fatal;
    113 StaleMemberEpoch "STALE_MEMBER_EPOCH" Retriable;
    114 MismatchedEndpointType "MISMATCHED_ENDPOINT_TYPE" Fatal;
    115 UnsupportedEndpointType "UNSUPPORTED_ENDPOINT_TYPE" Fatal;
    116 UnknownControllerId "UNKNOWN_CONTROLLER_ID" Fatal;
    117 UnknownSubscriptionId "UNKNOWN_SUBSCRIPTION_ID" Fatal;
    118 TelemetryTooLarge "TELEMETRY_TOO_LARGE" Fatal;
    119 InvalidRegistration "INVALID_REGISTRATION" Fatal;
    120 TransactionAbortable "TRANSACTION_ABORTABLE" Fatal;
    121 InvalidRecordState "INVALID_RECORD_STATE" Fatal;
    122 ShareSessionNotFound "SHARE_SESSION_NOT_FOUND" Retriable;
    123 InvalidShareSessionEpoch "INVALID_SHARE_SESSION_EPOCH" Retriable;
    124 FencedStateEpoch "FENCED_STATE_EPOCH" Fatal;
    125 InvalidVoterKey "INVALID_VOTER_KEY" Fatal;
    126 DuplicateVoter "DUPLICATE_VOTER" Fatal;
    127 VoterNotFound "VOTER_NOT_FOUND" Fatal;
    128 InvalidRegularExpression "INVALID_REGULAR_EXPRESSION" Fatal;
    129 RebootstrapRequired "REBOOTSTRAP_REQUIRED" RefreshMetadata;
    130 StreamsInvalidTopology "STREAMS_INVALID_TOPOLOGY" Fatal;
    131 StreamsInvalidTopologyEpoch "STREAMS_INVALID_TOPOLOGY_EPOCH" Fatal;
    132 StreamsTopologyFenced "STREAMS_TOPOLOGY_FENCED" Fatal;
    133 ShareSessionLimitReached "SHARE_SESSION_LIMIT_REACHED" Retriable;
}

impl ErrorCode {
    /// `Err` with the code unless it is [`None`](Self::None).
    pub const fn check(self) -> Result<(), Self> {
        match self {
            Self::None => Ok(()),
            error => Err(error),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_gap_and_every_code_survives_the_way_to_its_name_and_back() {
        let codes: Vec<i16> = ErrorCode::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(codes, (-1..=133).collect::<Vec<i16>>());
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from(error.code()), *error);
        }
    }

    #[test]
    fn an_unknown_code_keeps_its_number_and_may_be_tried_again() {
        let error = ErrorCode::from(999);
        assert_eq!((error, error.class()), (ErrorCode::Unknown(999), ErrorClass::Retriable));
        assert_eq!(error.to_string(), "UNKNOWN_ERROR_CODE (999)");
    }

    #[test]
    fn only_zero_is_no_error() {
        assert_eq!(ErrorCode::from(0).check(), Ok(()));
        for error in ErrorCode::ALL.iter().filter(|error| error.code() != 0) {
            assert_eq!(error.check(), Err(*error));
            assert_ne!(error.class(), ErrorClass::None);
        }
    }

    #[test]
    fn classes_follow_what_the_consumer_must_do() {
        let class = |code: i16| ErrorCode::from(code).class();
        assert_eq!([3, 6, 74, 75].map(class), [ErrorClass::RefreshMetadata; 4]);
        assert_eq!([15, 16].map(class), [ErrorClass::RefreshCoordinator; 2]);
        assert_eq!([22, 25, 27, 79].map(class), [ErrorClass::Rejoin; 4]);
        assert_eq!([14, 78, 88].map(class), [ErrorClass::Retriable; 3]);
        assert_eq!(class(1), ErrorClass::OffsetReset);
        assert_eq!(class(82), ErrorClass::Fenced);
        assert_eq!(class(58), ErrorClass::Authentication);
        assert_eq!([29, 30].map(class), [ErrorClass::Authorization; 2]);
    }
}
