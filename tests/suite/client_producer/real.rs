//! The same on a real Apache Kafka: a compacted topic that goes by the broker's clock, as the ledger uses one.

use std::time::Duration;

use kafka_consumer::client::{
    Admin, Codec, ErrorCode, NewTopic, Offset, ProduceError, Producer, ProducerRecord, TopicCreation, TopicPartition,
};

use super::{PATIENCE, connections, values};
use crate::world::kafka;

const SLOW: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_real_broker_creates_the_topic_takes_the_records_and_tells_its_time() {
    let Some(cluster) = kafka::cluster() else { return };
    let admin = Admin::new(connections(&cluster.plaintext)).expect("valid settings");
    let topic = NewTopic::new("client-producer-ledger")
        .partitions(1)
        .replication_factor(1)
        .config("cleanup.policy", "compact")
        .config("message.timestamp.type", "LogAppendTime");
    assert_eq!(admin.create_topic(&topic, SLOW).await, Ok(TopicCreation::Created));
    assert_eq!(admin.create_topic(&topic, SLOW).await, Ok(TopicCreation::Existed));
    let refused = admin.create_topic(&NewTopic::new("bad").config("cleanup.policy", "nonsense"), SLOW).await;
    assert!(refused.expect_err("no such policy").to_string().contains("INVALID_CONFIG"));

    let partition = TopicPartition::new("client-producer-ledger", 0);
    let mut expected = Vec::new();
    for codec in Codec::ALL {
        let producer = Producer::builder().client(connections(&cluster.plaintext)).compression(codec);
        let producer = producer.delivery_timeout(SLOW).build().expect("valid settings");
        for number in 0..3 {
            let value = format!("{codec} {number}");
            let record = ProducerRecord::new(value.clone()).key(value.clone()).header("h", "v").timestamp_ms(1);
            let appended = producer.send(&partition, record).await.expect("appended");
            assert_eq!(appended.base_offset, Offset(i64::try_from(expected.len()).expect("a few")));
            assert!(appended.log_append_time_ms.is_some_and(|time| time > 1_700_000_000_000), "{appended:?}");
            expected.push(value);
        }
        // A compacted topic refuses a record without a key.
        let keyless = producer.send(&partition, ProducerRecord::new("no key")).await;
        let Err(ProduceError::Refused { code: ErrorCode::InvalidRecord, message, .. }) = keyless else {
            panic!("{keyless:?}")
        };
        assert!(message.is_some_and(|message| message.contains("key")));
        let tombstone = producer.send(&partition, ProducerRecord::tombstone("gone")).await.expect("appended");
        assert_eq!(tombstone.base_offset, Offset(i64::try_from(expected.len()).expect("a few")));
        expected.push("(null)".to_owned());
        producer.close().await;
    }
    assert_eq!(values(&cluster.plaintext, &partition).await.into_values().collect::<Vec<_>>(), expected);
    assert!(PATIENCE < SLOW);
}
