//! DescribeConfigs, for topics: what was set, and for the few settings that matter here what Kafka does where nothing was.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::{Call, text};
use crate::state::State;

/// Kafka's number for a topic.
const TOPIC: i8 = 2;
/// Where a setting is from: given to this topic.
const DYNAMIC: i8 = 1;
/// Where a setting is from: nobody gave it.
const DEFAULT: i8 = 5;
/// What holds where nothing is set.
const DEFAULTS: [(&str, &str); 2] = [("cleanup.policy", "delete"), ("min.insync.replicas", "1")];

pub(crate) fn answer(call: &Call<'_>, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let state = call.shared.lock();
    let results = request.resources.iter().map(|asked| one(&state, asked));
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn one(state: &State, asked: &DescribeConfigsResource) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(asked.resource_type)
        .with_resource_name(asked.resource_name.clone());
    let topic = state.topics.get(asked.resource_name.as_str()).filter(|_| asked.resource_type == TOPIC);
    let Some(topic) = topic else {
        return result.with_error_code(ResponseError::UnknownTopicOrPartition.code());
    };
    let wanted =
        |name: &str| asked.configuration_keys.as_ref().is_none_or(|names| names.iter().any(|n| n.as_str() == name));
    let setting = |name: &str, value: &str, source| {
        DescribeConfigsResourceResult::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
            .with_config_source(source)
    };
    let set = topic.settings.iter().map(|(name, value)| setting(name, value, DYNAMIC));
    let defaults = DEFAULTS.iter().filter(|(name, _)| !topic.settings.contains_key(*name));
    let all = set.chain(defaults.map(|(name, value)| setting(name, value, DEFAULT)));
    result.with_configs(all.filter(|setting| wanted(setting.name.as_str())).collect())
}
