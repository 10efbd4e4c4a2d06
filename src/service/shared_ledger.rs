//! The ledger topic: looked for, made if that is wanted, read up to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::{
    Admin, AdminError, ClientConfig, NewTopic, Producer, ProducerConfig, Reader, StartAt, TopicPartition,
};
use crate::config::{KafkaLedger, Storage};
use crate::ledger::{Ledger, OpenError, Progress, SharedBy};
use crate::pipeline::{KafkaTail, KafkaTopic};

use super::health::{Health, State};
use super::ledger_settings::{self, Finding};
use super::life::host_name;

/// For one question about the topic, or to make it.
const ASKS_WITHIN: Duration = Duration::from_secs(15);
/// Between two lines about how far the start has come.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// Why there is no ledger.
pub(super) enum NoLedger {
    /// It may heal.
    Again(String),
    /// A person has to change something.
    Wrong(String),
    /// The topic cannot be understood.
    Fatal(OpenError),
}

/// Opens the ledger topic.
pub(super) async fn open(
    storage: &Storage,
    topic: &KafkaLedger,
    client: ClientConfig,
    health: &Health,
) -> Result<Ledger, NoLedger> {
    let again = |error: &dyn std::fmt::Display| NoLedger::Again(error.to_string());
    let partitions = there(topic, client.clone()).await?;
    let mut settings = ProducerConfig::new(client.clone());
    // Some of them fit into a lease, so that a broker that is lost costs a sign of life and not the lease.
    settings.delivery_timeout = topic.lease.checked_div(3).unwrap_or(topic.lease);
    let producer = Producer::builder().configure(|config| *config = settings).build();
    let producer = producer.map_err(|error| again(&error))?;
    let all = (0..partitions).map(|number| TopicPartition::new(topic.topic.as_str(), number));
    let reader = all
        .fold(Reader::builder().client(client), |builder, partition| builder.partition(partition, StartAt::Earliest));
    let reader = reader.build().map_err(|error| again(&error))?;
    let ends = reader.end_offsets(ASKS_WITHIN).await.map_err(|error| again(&error))?;
    let count = u32::try_from(partitions).unwrap_or(1);
    let session = format!("{}-{}-{:08x}", host_name(), std::process::id(), getrandom::u32().unwrap_or_default());
    tracing::info!(topic = topic.topic, session, "reading the ledger topic");
    let shared = SharedBy {
        session,
        lease: topic.lease,
        copy: storage.path.with_added_extension("copy"),
        topic: Arc::new(KafkaTopic::new(producer, &topic.topic, count)),
        tail: Box::new(KafkaTail::new(reader, ends)),
    };
    let mut told: Option<Instant> = None;
    let mut progress = |Progress { read, left }: Progress| {
        if left == 0 || told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            told = Some(Instant::now());
            tracing::info!(topic = topic.topic, read, left, "reading the ledger topic");
            let doing = format!("reading the ledger topic {}: {read} records read, {left} offsets left", topic.topic);
            health.enter(State::Starting { doing, trouble: None });
        }
    };
    match Ledger::share(shared, &mut progress).await {
        Ok(ledger) => Ok(ledger),
        Err(error @ (OpenError::Topic { .. } | OpenError::Panicked { .. })) => Err(NoLedger::Fatal(error)),
        Err(error) => Err(again(&error)),
    }
}

/// Sees to it that the topic is there, and how many partitions it has.
async fn there(topic: &KafkaLedger, client: ClientConfig) -> Result<i32, NoLedger> {
    let again = |error: &dyn std::fmt::Display| NoLedger::Again(error.to_string());
    let admin = Admin::new(client).map_err(|error| again(&error))?;
    let name = &topic.topic;
    let mut known = admin.describe_topic(name, ASKS_WITHIN).await.map_err(|error| again(&error))?;
    if known.is_none() {
        if !topic.create {
            return Err(again(&format_args!(
                "the ledger topic `{name}` does not exist; create it with cleanup.policy=compact, or say storage.create: true"
            )));
        }
        admin.create_topic(&wanted(topic), ASKS_WITHIN).await.map_err(|error| again(&error))?;
        known = admin.describe_topic(name, ASKS_WITHIN).await.map_err(|error| again(&error))?;
    }
    let Some(known) = known else { return Err(again(&"the ledger topic was made and is not there yet")) };
    let (has, says) = (known.partitions.len(), topic.partitions);
    if has != usize::from(says) {
        return Err(NoLedger::Wrong(format!(
            "storage.partitions: the ledger topic `{name}` has {has} partitions, not {says}; an episode belongs to one of them by \
             their number, so it must never change"
        )));
    }
    settings(&admin, name, known.replication_factor).await?;
    Ok(i32::from(says))
}

/// Sees to it that the brokers keep what is written there. It is asked again while they do not: whoever alters the topic need not start anything.
async fn settings(admin: &Admin, topic: &str, replicas: usize) -> Result<(), NoLedger> {
    let found = match admin.describe_settings(topic, &ledger_settings::NAMES, ASKS_WITHIN).await {
        Ok(settings) => ledger_settings::judge(topic, &settings, replicas),
        // Who may not look may write all the same.
        Err(error @ AdminError::Refused { .. }) => {
            tracing::warn!(
                topic, %error,
                "the settings of the ledger topic cannot be looked at (this user needs DescribeConfigs on it); its cleanup.policy has to be `compact`"
            );
            return Ok(());
        }
        Err(error) => return Err(NoLedger::Again(error.to_string())),
    };
    for finding in found {
        match finding {
            Finding::Wrong(what) => return Err(NoLedger::Again(what)),
            Finding::Risky(what) => tracing::warn!(topic, "{what}"),
        }
    }
    Ok(())
}

fn wanted(topic: &KafkaLedger) -> NewTopic {
    let replicas = topic.replication_factor;
    NewTopic::new(topic.topic.as_str())
        .partitions(topic.partitions)
        .replication_factor(replicas)
        .config("cleanup.policy", "compact")
        // One replica may be down, and what was acknowledged is on two all the same.
        .config("min.insync.replicas", if replicas > 2 { "2" } else { "1" })
}
