//! The section `storage`: where the ledger lives and how long it remembers.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Overrides;
use crate::yaml::{Mistake, Position, Reader};

const PATH: &str = "/data/automation_consumer/ledger.redb";
const TTL_DAYS: u32 = 7;
const DAY: Duration = Duration::from_hours(24);

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
    /// Its replication factor, when it is made.
    pub replication_factor: i16,
    /// How long a claim outlives its owner.
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
            wrong(reader.as_ref(), root, "a ledger topic is not supported by this version; use `backend: file`");
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
    let replication_factor = reader.integer("replication_factor").unwrap_or(3);
    let lease = reader.duration("lease").unwrap_or(Duration::from_secs(15));
    Some(KafkaLedger { topic: topic?, create, replication_factor, lease })
}
