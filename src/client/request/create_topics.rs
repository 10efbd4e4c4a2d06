//! `CreateTopics`: one topic with its settings.

use std::time::Duration;

use kafka_proto::error_code::ErrorCode;
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, text, topic_name};

/// The topic that is wanted.
#[derive(Debug, Clone)]
pub(crate) struct CreateTopic {
    pub(crate) name: String,
    /// -1: the broker's default (KIP-464, version 4 on).
    pub(crate) partitions: i32,
    /// Likewise.
    pub(crate) replication_factor: i16,
    /// Names and values of its settings.
    pub(crate) configs: Vec<(String, String)>,
    /// How long the controller may take.
    pub(crate) timeout: Duration,
}

/// What the broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CreateTopicAnswer {
    pub(crate) error: ErrorCode,
    pub(crate) message: Option<String>,
}

impl Exchange for CreateTopic {
    const KEY: ApiKey = ApiKey::new(19, "CreateTopics");
    const VERSIONS: VersionRange = VersionRange::new(2, 7);
    const FIRST_FLEXIBLE: i16 = 5;
    type Body = CreateTopicsRequest;
    /// `None`: the answer does not name the topic.
    type Response = Option<CreateTopicAnswer>;

    fn body(&self, _version: i16) -> Self::Body {
        let config = |(name, value): &(String, String)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(topic_name(&self.name))
            .with_num_partitions(self.partitions)
            .with_replication_factor(self.replication_factor)
            .with_configs(self.configs.iter().map(config).collect());
        CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX))
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        answer.read_throttle()?;
        let topics = answer.array(read_topic)?;
        answer.tags()?;
        Ok(topics.into_iter().next())
    }
}

fn read_topic(r: &mut Reader) -> Result<CreateTopicAnswer, Malformed> {
    let version = r.version();
    r.name()?;
    if version >= 7 {
        r.topic_id()?;
    }
    let error = ErrorCode::from(r.i16()?);
    let message = r.nullable_string()?;
    if version >= 5 {
        r.i32()?; // partitions
        r.i16()?; // replication factor
        r.array(skip_config)?;
    }
    r.tags()?;
    Ok(CreateTopicAnswer { error, message })
}

fn skip_config(r: &mut Reader) -> Result<(), Malformed> {
    r.string()?;
    r.nullable_string()?;
    r.bool()?; // read only
    r.i8()?; // where it is set
    r.bool()?; // sensitive
    r.tags()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::CreateTopicsResponse;
    use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<CreateTopic, _>(
            |version| {
                let mut topic = CreatableTopicResult::default()
                    .with_name(topic_name("t"))
                    .with_error_code(36)
                    .with_error_message(Some(text("there")));
                if version >= 5 {
                    let config = CreatableTopicConfigs::default().with_name(text("a")).with_value(Some(text("b")));
                    topic = topic.with_num_partitions(3).with_configs(Some(vec![config]));
                }
                CreateTopicsResponse::default().with_topics(vec![topic])
            },
            |_, answer| {
                let expected =
                    CreateTopicAnswer { error: ErrorCode::TopicAlreadyExists, message: Some("there".to_owned()) };
                assert_eq!(answer, Some(expected));
            },
        );
    }

    #[test]
    fn partitions_replicas_and_settings_are_sent() {
        let request = CreateTopic {
            name: "t".to_owned(),
            partitions: 3,
            replication_factor: 2,
            configs: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
            timeout: Duration::from_secs(4),
        };
        for (_, body) in golden::requests(&request) {
            assert_eq!((body.topics[0].num_partitions, body.topics[0].replication_factor), (3, 2));
            assert_eq!(body.topics[0].configs[0].value.as_deref(), Some("compact"));
            assert!(!body.validate_only);
        }
    }
}
