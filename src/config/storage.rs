//! The section `storage`: where the ledger lives and how long it remembers.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Overrides;
use crate::yaml::{Mistake, Position, Reader};

const PATH: &str = "/data/automation_consumer/ledger.redb";
const TTL_DAYS: u32 = 7;
const DAY: Duration = Duration::from_hours(24);
const LEASE: Duration = Duration::from_secs(15);
/// Shorter, and a broker that is slow once is as good as dead; longer, and nobody goes on with what a dead replica has left.
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_mins(5);

/// The ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// What holds it.
    pub backend: Backend,
    /// The file: the ledger itself, or the local index of a ledger topic.
    pub path: PathBuf,
    /// How long finished entries are kept.
    pub ttl: Duration,
}

/// What holds the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// One file, one replica.
    File,
    /// A topic, many replicas.
    Kafka(KafkaLedger),
}

/// A ledger topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaLedger {
    /// The topic.
    pub topic: String,
    /// Make the topic when it is not there.
    pub create: bool,
    /// How many partitions it has. An episode belongs to one of them by their number, so it never changes.
    pub partitions: u16,
    /// Its replication factor, when it is made.
    pub replication_factor: u16,
    /// How long another replica waits for a sign of life before it takes over.
    pub lease: Duration,
}

#[derive(Clone, Copy)]
enum Word {
    File,
    Kafka,
    DynamoDb,
}

const BACKENDS: [(&str, Word); 3] = [("file", Word::File), ("kafka", Word::Kafka), ("dynamodb", Word::DynamoDb)];

/// Reads the section; the variable wins over the key.
pub(super) fn read(root: &Reader<'_, '_>, overrides: &Overrides) -> Storage {
    let mut storage = Storage { backend: Backend::File, path: PATH.into(), ttl: DAY.saturating_mul(TTL_DAYS) };
    let reader = root.child("storage");
    let written = reader.as_ref().and_then(|reader| reader.choice("backend", &BACKENDS));
    let word = overrides.storage_backend.as_deref().and_then(|given| from_variable(given, root)).or(written);
    let ledger = reader.as_ref().and_then(|reader| {
        storage.path = reader.string("path").map_or(storage.path.clone(), PathBuf::from);
        let days: Option<u32> = reader.read("ttl_days", "a number of days, at least 1", |node| {
            node.text()?.parse().ok().filter(|days| (1..=3650).contains(days))
        });
        storage.ttl = DAY.saturating_mul(days.unwrap_or(TTL_DAYS));
        topic(reader)
    });
    match word.unwrap_or(Word::File) {
        Word::File => {}
        Word::Kafka => {
            if ledger.is_none() {
                wrong(reader.as_ref(), root, "`backend: kafka` needs `topic`, the ledger topic");
            }
            storage.backend = ledger.map_or(Backend::File, Backend::Kafka);
        }
        Word::DynamoDb => {
            let what = "dynamodb is not supported; a ledger shared by several replicas is `backend: kafka`, one replica needs `backend: file`";
            wrong(reader.as_ref(), root, what);
        }
    }
    if let Some(reader) = reader {
        reader.close();
    }
    storage
}

fn from_variable(given: &str, root: &Reader<'_, '_>) -> Option<Word> {
    let found = BACKENDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(given)).map(|(_, word)| *word);
    if found.is_none() {
        let what = format!("expected one of file, kafka, dynamodb, found `{given}`");
        let names = BACKENDS.iter().map(|(word, _)| *word);
        root.mistakes()
            .push(Mistake::at("STORAGE_BACKEND (environment)", Position::default(), what).suggest(given, names));
    }
    found
}

fn wrong(reader: Option<&Reader<'_, '_>>, root: &Reader<'_, '_>, what: &str) {
    match reader {
        Some(reader) => reader.wrong("backend", what),
        None => root.wrong("storage", what),
    }
}

fn topic(reader: &Reader<'_, '_>) -> Option<KafkaLedger> {
    let (topic, create) = (reader.string("topic"), reader.boolean("create").unwrap_or(false));
    let number = |name, what, range: std::ops::RangeInclusive<u16>| {
        reader.read(name, what, |node| node.text()?.parse().ok().filter(|number| range.contains(number)))
    };
    let partitions = number("partitions", "a number of partitions, 1 to 64", 1..=64).unwrap_or(1);
    let replication_factor = number("replication_factor", "a number of replicas, 1 to 9", 1..=9).unwrap_or(3);
    let lease = reader.duration("lease").unwrap_or(LEASE);
    if !LEASES.contains(&lease) {
        reader.wrong("lease", "expected a duration from 2s to 5m");
    }
    Some(KafkaLedger { topic: topic?, create, partitions, replication_factor, lease })
}
