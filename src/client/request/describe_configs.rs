//! `DescribeConfigs`: some settings of one topic, as they are in force.

use std::collections::BTreeMap;

use kafka_proto::error_code::ErrorCode;
use kafka_protocol::messages::DescribeConfigsRequest;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, text};

/// Kafka's number for a topic among the things that have settings.
const TOPIC: i8 = 2;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct DescribeConfigs {
    pub(crate) topic: String,
    /// The names of the settings.
    pub(crate) names: Vec<String>,
}

/// What the broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribeConfigsAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) message: Option<String>,
    /// Values by name; a setting without a value, or with one that is not shown, is left out.
    pub(crate) settings: BTreeMap<String, String>,
}

impl Exchange for DescribeConfigs {
    const KEY: ApiKey = ApiKey::new(32, "DescribeConfigs");
    const VERSIONS: VersionRange = VersionRange::new(1, 4);
    const FIRST_FLEXIBLE: i16 = 4;
    type Body = DescribeConfigsRequest;
    /// `None`: the answer does not name the topic.
    type Response = Option<DescribeConfigsAnswer>;

    fn body(&self, _version: i16) -> Self::Body {
        let topic = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(&self.topic))
            .with_configuration_keys(Some(self.names.iter().map(|name| text(name)).collect()));
        DescribeConfigsRequest::default().with_resources(vec![topic])
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        answer.read_throttle()?;
        let results = answer.array(read_result)?;
        answer.tags()?;
        Ok(results.into_iter().next())
    }
}

fn read_result(r: &mut Reader) -> Result<DescribeConfigsAnswer, Malformed> {
    let error = ErrorCode::from(r.i16()?);
    let message = r.nullable_string()?;
    r.i8()?; // what has the settings: a topic
    r.string()?; // its name
    let settings = r.array(read_setting)?.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    r.tags()?;
    Ok(DescribeConfigsAnswer { error, message, settings })
}

fn read_setting(r: &mut Reader) -> Result<(String, Option<String>), Malformed> {
    let version = r.version();
    let name = r.string()?;
    let value = r.nullable_string()?;
    r.bool()?; // read only
    r.i8()?; // where it is set
    r.bool()?; // sensitive
    r.array(skip_synonym)?;
    if version >= 3 {
        r.i8()?; // type
        r.nullable_string()?; // documentation
    }
    r.tags()?;
    Ok((name, value))
}

fn skip_synonym(r: &mut Reader) -> Result<(), Malformed> {
    r.string()?;
    r.nullable_string()?;
    r.i8()?; // where it is set
    r.tags()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::DescribeConfigsResponse;
    use kafka_protocol::messages::describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    };

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<DescribeConfigs, _>(
            |version| {
                let synonym = DescribeConfigsSynonym::default()
                    .with_name(text("log.cleanup.policy"))
                    .with_value(Some(text("delete")))
                    .with_source(5);
                let mut setting = DescribeConfigsResourceResult::default()
                    .with_name(text("cleanup.policy"))
                    .with_value(Some(text("compact")))
                    .with_config_source(1)
                    .with_synonyms(vec![synonym]);
                if version >= 3 {
                    setting = setting.with_config_type(7).with_documentation(Some(text("what becomes of old records")));
                }
                let hidden = DescribeConfigsResourceResult::default().with_name(text("secret")).with_value(None);
                let topic = DescribeConfigsResult::default()
                    .with_error_code(29)
                    .with_error_message(Some(text("no")))
                    .with_resource_type(TOPIC)
                    .with_resource_name(text("t"))
                    .with_configs(vec![setting, hidden]);
                DescribeConfigsResponse::default().with_results(vec![topic])
            },
            |_, answer| {
                let settings = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
                let (error, message) = (ErrorCode::TopicAuthorizationFailed, Some("no".to_owned()));
                assert_eq!(answer, Some(DescribeConfigsAnswer { error, message, settings }));
            },
        );
    }

    #[test]
    fn the_topic_and_the_names_are_sent() {
        let request = DescribeConfigs { topic: "t".to_owned(), names: vec!["cleanup.policy".to_owned()] };
        for (_, body) in golden::requests(&request) {
            assert_eq!((body.resources[0].resource_type, body.resources[0].resource_name.as_str()), (2, "t"));
            let names = body.resources[0].configuration_keys.as_ref().map(|names| names[0].to_string());
            assert_eq!(names.as_deref(), Some("cleanup.policy"));
        }
    }
}
