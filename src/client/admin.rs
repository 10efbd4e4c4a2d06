//! Topics: created if absent, and described with their settings.
//!
//! Only what a program needs that keeps its own state in Kafka. Absent: deleting, altering, access control.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_proto::backoff::Backoff;
use kafka_proto::error_code::{ErrorClass, ErrorCode};
use tokio::time::Instant;

use crate::client::cluster::Cluster;
use crate::client::config::ClientConfig;
use crate::client::consumer::{BuildError, random};
use crate::client::request::create_topics::{CreateTopic, CreateTopicAnswer};
use crate::client::request::describe_configs::{DescribeConfigs, DescribeConfigsAnswer};
use crate::client::request::metadata::GetMetadata;

/// Asks the cluster about its topics, and for new ones.
///
/// ```no_run
/// use std::time::Duration;
///
/// use kafka_consumer::client::{Admin, ClientConfig, NewTopic};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let admin = Admin::new(ClientConfig::new(["broker1.example:9092"]))?;
/// let ledger = NewTopic::new("ledger")
///     .partitions(1)
///     .replication_factor(3)
///     .config("cleanup.policy", "compact")
///     .config("message.timestamp.type", "LogAppendTime");
/// let creation = admin.create_topic(&ledger, Duration::from_secs(30)).await?;
/// println!("{creation:?}");
/// # Ok(())
/// # }
/// ```
pub struct Admin {
    config: Arc<ClientConfig>,
    cluster: Cluster,
}

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    name: String,
    partitions: Option<u16>,
    replication_factor: Option<u16>,
    configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with the broker's number of partitions and replicas (KIP-464).
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: None, replication_factor: None, configs: Vec::new() }
    }

    /// Sets the number of partitions.
    #[must_use]
    pub fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Sets the number of replicas of each partition.
    #[must_use]
    pub fn replication_factor(mut self, replicas: u16) -> Self {
        self.replication_factor = Some(replicas);
        self
    }

    /// Sets one of the topic's settings, under Kafka's name.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

/// Whether a topic had to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicCreation {
    /// It is new.
    Created,
    /// It was there; its partitions and settings are as they were. When the connection broke during an earlier try of the
    /// same call, that try may have created it.
    Existed,
}

/// A topic as the brokers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// The numbers of its partitions, ascending.
    pub partitions: Vec<i32>,
    /// The smallest number of replicas that a partition has.
    pub replication_factor: usize,
}

/// Why the cluster did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Asking again would not help.
    #[error("topic `{topic}`: {}{}", code.name(), message.as_deref().map(|m| format!(": {m}")).unwrap_or_default())]
    Refused {
        /// The topic.
        topic: String,
        /// The broker's code.
        code: ErrorCode,
        /// The broker's words.
        message: Option<String>,
    },
    /// It did not succeed in time. The topic may have been created all the same.
    #[error("topic `{topic}`: not within {} ms: {last}", after.as_millis())]
    Deadline {
        /// The topic.
        topic: String,
        /// The deadline that was given.
        after: Duration,
        /// What failed last.
        last: String,
    },
}

impl Admin {
    /// Checks the settings and starts on the tokio runtime around the call. The network is not waited for.
    pub fn new(config: ClientConfig) -> Result<Self, BuildError> {
        tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let config = Arc::new(config);
        let cluster = Cluster::new(Arc::clone(&config), Vec::new()).map_err(BuildError::Settings)?;
        Ok(Self { config, cluster })
    }

    /// Creates a topic unless there is one of that name, and waits until its partitions have leaders.
    pub async fn create_topic(&self, topic: &NewTopic, deadline: Duration) -> Result<TopicCreation, AdminError> {
        let until = Instant::now() + deadline;
        self.brokers_known(&topic.name, until, deadline).await?;
        let creation = self.persist(&topic.name, until, deadline, |limit| self.try_to_create(topic, limit)).await?;
        let name: Arc<str> = Arc::from(topic.name.as_str());
        self.cluster.follow_topic(&name);
        let mut metadata = self.cluster.metadata();
        let led = metadata.wait_for(|known| {
            let partitions = known.topics.get(&name).map(|topic| &topic.partitions);
            partitions.is_some_and(|all| !all.is_empty() && all.values().all(|one| one.leader.is_some()))
        });
        match tokio::time::timeout_at(until, led).await {
            Ok(_) => Ok(creation),
            Err(_) => Err(late(&topic.name, deadline, "it has no leaders yet".to_owned())),
        }
    }

    /// Until then a request would go out on the connection to the bootstrap server, which ends with the first metadata:
    /// the topic would be created, and the answer lost.
    async fn brokers_known(&self, topic: &str, until: Instant, deadline: Duration) -> Result<(), AdminError> {
        let mut metadata = self.cluster.metadata();
        let known = metadata.wait_for(|known| !known.brokers.is_empty());
        let told = tokio::time::timeout_at(until, known).await.map(drop);
        told.map_err(|_| {
            let last = self.cluster.refresh_error().unwrap_or_else(|| "no broker has answered".to_owned());
            late(topic, deadline, last)
        })
    }

    /// A topic's partitions; `None` if there is no such topic. Never creates one.
    pub async fn describe_topic(
        &self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<TopicDescription>, AdminError> {
        let until = Instant::now() + deadline;
        self.persist(topic, until, deadline, |limit| self.try_to_describe(topic, limit)).await
    }

    /// The settings of a topic that are in force, by Kafka's names: of those that are asked for, the ones that have a value.
    pub async fn describe_settings(
        &self,
        topic: &str,
        names: &[&str],
        deadline: Duration,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        let until = Instant::now() + deadline;
        self.persist(topic, until, deadline, |limit| self.try_to_describe_settings(topic, names, limit)).await
    }

    /// Tries until it works, cannot work, or `until`, which ends the `deadline` that the caller gave.
    async fn persist<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        topic: &str,
        until: Instant,
        deadline: Duration,
        attempt: impl Fn(Duration) -> F,
    ) -> Result<T, AdminError> {
        let mut backoff = Backoff::new(self.config.retry_backoff, self.config.retry_backoff_max);
        let mut last = "there was no time".to_owned();
        while Instant::now() < until {
            let limit = self.config.request_timeout.min(until.saturating_duration_since(Instant::now()));
            match tokio::time::timeout_at(until, attempt(limit)).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(Failure::Refused(code, message))) => {
                    return Err(AdminError::Refused { topic: topic.to_owned(), code, message });
                }
                Ok(Err(Failure::Passing(error))) => last = error,
                Err(_) => break,
            }
            let pause = Instant::now() + backoff.next(random());
            tokio::time::sleep_until(pause.min(until)).await;
        }
        Err(late(topic, deadline, last))
    }

    async fn try_to_create(&self, topic: &NewTopic, limit: Duration) -> Result<TopicCreation, Failure> {
        let connection = self.cluster.controller().await.map_err(|error| Failure::Passing(error.to_string()))?;
        let request = CreateTopic {
            name: topic.name.clone(),
            partitions: topic.partitions.map_or(-1, i32::from),
            replication_factor: topic.replication_factor.map_or(-1, |count| i16::try_from(count).unwrap_or(i16::MAX)),
            configs: topic.configs.clone(),
            timeout: limit,
        };
        let answer = connection.request(request, limit).await.map_err(|error| Failure::Passing(error.to_string()))?;
        match answer {
            None => Err(Failure::Passing("the answer does not name the topic".to_owned())),
            Some(CreateTopicAnswer { error: ErrorCode::None, .. }) => Ok(TopicCreation::Created),
            Some(CreateTopicAnswer { error: ErrorCode::TopicAlreadyExists, .. }) => Ok(TopicCreation::Existed),
            Some(CreateTopicAnswer { error, message }) => {
                if error == ErrorCode::NotController {
                    self.cluster.request_refresh();
                }
                Err(failure(error, message))
            }
        }
    }

    async fn try_to_describe(&self, topic: &str, limit: Duration) -> Result<Option<TopicDescription>, Failure> {
        let connection = self.cluster.any().await.map_err(|error| Failure::Passing(error.to_string()))?;
        let request = GetMetadata { topics: Some(vec![Arc::from(topic)]) };
        let answer = connection.request(request, limit).await.map_err(|error| Failure::Passing(error.to_string()))?;
        let Some(told) = answer.topics.into_iter().next() else { return Ok(None) };
        match told.error {
            ErrorCode::None => {
                let replication_factor = told.partitions.iter().map(|one| one.replicas.len()).min().unwrap_or(0);
                let mut partitions: Vec<_> = told.partitions.into_iter().map(|one| one.partition).collect();
                partitions.sort_unstable();
                Ok(Some(TopicDescription { partitions, replication_factor }))
            }
            ErrorCode::UnknownTopicOrPartition => Ok(None),
            error => Err(failure(error, None)),
        }
    }

    async fn try_to_describe_settings(
        &self,
        topic: &str,
        names: &[&str],
        limit: Duration,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let connection = self.cluster.any().await.map_err(|error| Failure::Passing(error.to_string()))?;
        let request = settings_of(topic, names);
        let answer = connection.request(request, limit).await.map_err(|error| Failure::Passing(error.to_string()))?;
        match answer {
            None => Err(Failure::Passing("the answer does not name the topic".to_owned())),
            Some(DescribeConfigsAnswer { error: ErrorCode::None, settings, .. }) => Ok(settings),
            Some(DescribeConfigsAnswer { error, message, .. }) => Err(failure(error, message)),
        }
    }
}

/// The question for settings of a topic.
pub(crate) fn settings_of(topic: &str, names: &[&str]) -> DescribeConfigs {
    DescribeConfigs { topic: topic.to_owned(), names: names.iter().map(|name| (*name).to_owned()).collect() }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.cluster.close();
    }
}

enum Failure {
    Passing(String),
    Refused(ErrorCode, Option<String>),
}

fn failure(error: ErrorCode, message: Option<String>) -> Failure {
    match error.class() {
        ErrorClass::Authorization | ErrorClass::Fatal => Failure::Refused(error, message),
        _ => Failure::Passing(message.map_or(error.name().to_owned(), |text| format!("{}: {text}", error.name()))),
    }
}

fn late(topic: &str, after: Duration, last: String) -> AdminError {
    AdminError::Deadline { topic: topic.to_owned(), after, last }
}
