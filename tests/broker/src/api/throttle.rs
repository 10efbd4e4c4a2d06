//! The throttle time of a response, for the APIs that have one.

use std::time::Duration;

use crate::wire::Response;

macro_rules! throttle {
    ($response:expr, $millis:expr, $($name:ident),*) => {
        match $response {
            $(Response::$name(response) => response.throttle_time_ms = $millis,)*
            Response::SaslHandshake(_) | Response::SaslAuthenticate(_) => {}
        }
    };
}

/// Writes the throttle time.
pub(crate) fn set(response: &mut Response, throttle: Duration) {
    let millis = i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX);
    throttle!(
        response,
        millis,
        Produce,
        Fetch,
        ListOffsets,
        Metadata,
        OffsetCommit,
        OffsetFetch,
        FindCoordinator,
        JoinGroup,
        Heartbeat,
        LeaveGroup,
        SyncGroup,
        DescribeGroups,
        ListGroups,
        ApiVersions,
        CreateTopics,
        DeleteTopics,
        DeleteRecords,
        InitProducerId,
        OffsetForLeaderEpoch,
        CreatePartitions,
        DescribeConfigs
    );
}
