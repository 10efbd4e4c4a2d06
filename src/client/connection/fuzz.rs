//! What arrives from the network, for the fuzz targets in `fuzz/`. Compiled for them alone (`cfg(fuzzing)`).

use bytes::Bytes;

use crate::client::connection::read_answer;
use crate::client::connection::wire::Answered;
use crate::client::request::Exchange;
use crate::client::request::api_versions::ApiVersions;
use crate::client::request::create_topics::CreateTopic;
use crate::client::request::fetch::Fetch;
use crate::client::request::find_coordinator::FindCoordinator;
use crate::client::request::heartbeat::Heartbeat;
use crate::client::request::init_producer_id::InitProducerId;
use crate::client::request::join_group::JoinGroup;
use crate::client::request::leave_group::LeaveGroup;
use crate::client::request::list_offsets::ListOffsets;
use crate::client::request::metadata::GetMetadata;
use crate::client::request::offset_commit::OffsetCommit;
use crate::client::request::offset_fetch::OffsetFetch;
use crate::client::request::offset_for_leader_epoch::OffsetForLeaderEpoch;
use crate::client::request::produce::Produce;
use crate::client::request::sasl_authenticate::SaslAuthenticate;
use crate::client::request::sasl_handshake::SaslHandshake;
use crate::client::request::sync_group::SyncGroup;

/// Reads `bytes`, which follow a correlation id, as an answer in each version of the API with that number.
pub fn read_as_answer(api: i16, bytes: &[u8]) {
    every_version::<ApiVersions>(api, bytes);
    every_version::<CreateTopic>(api, bytes);
    every_version::<Fetch>(api, bytes);
    every_version::<FindCoordinator>(api, bytes);
    every_version::<Heartbeat>(api, bytes);
    every_version::<InitProducerId>(api, bytes);
    every_version::<JoinGroup>(api, bytes);
    every_version::<LeaveGroup>(api, bytes);
    every_version::<ListOffsets>(api, bytes);
    every_version::<GetMetadata>(api, bytes);
    every_version::<OffsetCommit>(api, bytes);
    every_version::<OffsetFetch>(api, bytes);
    every_version::<OffsetForLeaderEpoch>(api, bytes);
    every_version::<Produce>(api, bytes);
    every_version::<SaslAuthenticate>(api, bytes);
    every_version::<SaslHandshake>(api, bytes);
    every_version::<SyncGroup>(api, bytes);
}

fn every_version<E: Exchange>(api: i16, bytes: &[u8]) {
    if E::KEY.code != api {
        return;
    }
    for version in E::VERSIONS.min..=E::VERSIONS.max {
        // An error is as good as an answer; what must not happen is a panic, or memory by the word of a length.
        let _ = read_answer::<E>(Answered { version, bytes: Bytes::copy_from_slice(bytes) });
    }
}
