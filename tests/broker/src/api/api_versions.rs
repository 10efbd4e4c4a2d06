//! ApiVersions (KIP-35, KIP-511).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use super::Call;
use crate::state::State;

/// The ranges offered.
pub(crate) fn answer(call: &Call<'_>) -> ApiVersionsResponse {
    let mut response = ApiVersionsResponse::default().with_api_keys(ranges(&call.shared.lock()));
    if call.version >= 3 {
        response.finalized_features_epoch = 1;
    }
    response
}

/// The answer to a version that is not spoken, to be written as version 0.
pub(crate) fn unsupported(state: &State) -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(ranges(state))
}

fn ranges(state: &State) -> Vec<ApiVersion> {
    let mut ranges: Vec<ApiVersion> = state
        .offered
        .iter()
        .map(|(api, range)| {
            ApiVersion::default().with_api_key(*api as i16).with_min_version(range.min).with_max_version(range.max)
        })
        .collect();
    ranges.sort_by_key(|range| range.api_key);
    ranges
}
