//! A real Apache Kafka, `SASL_SSL` and SCRAM-SHA-512.
//!
//! The cluster comes from `tests/kafka/`; where no JDK or Maven is found, these tests say so loudly and pass, unless
//! `KAFKA_TESTS=required`.

mod admin;
mod brokers;
mod compaction;
mod crash;
mod credentials;
mod cut_off;
mod member;
mod members;
mod memory;
mod producer;
mod replicas;
mod scene;
mod story;
mod topics;

use std::collections::BTreeMap;

use crate::world::kafka::cluster;
use crate::world::produce;
use crate::world::wire::Wire;

#[test]
fn what_the_tests_produce_is_what_the_broker_counts() {
    let Some(cluster) = cluster() else { return };
    let mut wire = Wire::connect(&cluster.plaintext);
    wire.create_topic("counted", 2, &[]);
    let records: Vec<(String, String)> = (0..50).map(|n| (format!("k{n}"), format!("value {n}"))).collect();
    produce::spread(&mut wire, "counted", 2, 10, &records);
    assert_eq!(wire.log_ends("counted", 2), BTreeMap::from([(0, 30), (1, 20)]));
}
