//! Everything around the service: broker, webhook target, a folder, and the configuration that names them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{Batch, Cluster, Record, Security};
use kafka_consumer::service::{ConfigPath, Options};
use kafka_proto::compression::Codec;

use crate::story::{FLAKY_FAILURES, PARTITIONS, Story};

pub(crate) const TOPIC: &str = "sre";
pub(crate) const GROUP: &str = "demo";
const PAGE_PORT: u16 = 4080;

/// What the service meets.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) target: Target,
    folder: tempfile::TempDir,
    listen: SocketAddr,
}

impl World {
    /// Starts broker and target and writes the configuration.
    pub(crate) fn build(story: &Story, stay: bool) -> anyhow::Result<Self> {
        let security = Security::sasl_ssl("sre", "correct horse battery staple");
        let cluster = Cluster::builder().topic(TOPIC, PARTITIONS).security(security).start();
        let target = Target::start();
        for _ in 0..FLAKY_FAILURES {
            target.queue_at(&format!("/announce/{}", story.flaky), Reply::status(503));
        }
        let port = if stay { PAGE_PORT } else { free_port()? };
        let folder = tempfile::tempdir().context("no folder for temporary files")?;
        let world = Self { cluster, target, folder, listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) };
        std::fs::write(world.config_file(), world.configuration()).context("the configuration cannot be written")?;
        std::fs::write(world.path("password"), "correct horse battery staple")?;
        Ok(world)
    }

    /// One chapter, in batches of up to 16 records, with every codec in turn, each partition in the order of the story.
    pub(crate) fn publish(&self, story: &Story, chapter: usize) {
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        for partition in 0..PARTITIONS {
            let records: Vec<_> = story
                .records
                .iter()
                .filter(|record| (record.chapter, record.partition) == (chapter, partition))
                .collect();
            for (number, chunk) in records.chunks(16).enumerate() {
                let batch =
                    Batch::of(chunk.iter().map(|record| Record::new(record.value.clone()).key(record.key.clone())));
                let codec = codecs[number % codecs.len()];
                self.cluster.append(TOPIC, i32::try_from(partition).unwrap_or(0), &batch.codec(codec));
            }
        }
    }

    fn configuration(&self) -> String {
        include_str!("config.yaml")
            .replace("BROKERS", &self.cluster.bootstrap())
            .replace("CA_FILE", &self.cluster.ca_file().display().to_string())
            .replace("FOLDER", &self.folder.path().display().to_string())
            .replace("TARGET", self.target.url("").trim_end_matches('/'))
            .replace("LISTEN", &self.listen.to_string())
    }

    /// Where the configuration stands.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.path("config.yaml")
    }

    /// The ledger file.
    pub(crate) fn ledger_file(&self) -> PathBuf {
        self.path("ledger.redb")
    }

    /// The dead letter file.
    pub(crate) fn dead_letter_file(&self) -> PathBuf {
        self.path("dead_letter.jsonl")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the page is.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// As the command line would make them.
    pub(crate) fn options(&self) -> Options {
        Options {
            config: ConfigPath::choose(Some(self.config_file()), None, None),
            level: None,
            format: None,
            consumer_name: None,
            storage_backend: None,
            action_history_file: None,
            ckms_env: None,
            runtime_dir: kafka_consumer::container::RuntimeDir::new(self.folder.path()),
        }
    }

    fn partitions() -> impl Iterator<Item = i32> {
        (0..PARTITIONS).filter_map(|partition| i32::try_from(partition).ok())
    }

    /// Committed offset and end of the log of each partition.
    pub(crate) fn offsets(&self) -> Vec<(i32, Option<i64>, i64)> {
        Self::partitions()
            .map(|p| (p, self.cluster.committed(GROUP, TOPIC, p), self.cluster.log_end(TOPIC, p)))
            .collect()
    }

    /// Records below the committed offsets.
    pub(crate) fn committed_in_all(&self) -> u64 {
        self.offsets().iter().filter_map(|(_, committed, _)| u64::try_from(committed.unwrap_or(0)).ok()).sum()
    }

    /// Records published.
    pub(crate) fn records_in_all(&self) -> u64 {
        self.offsets().iter().filter_map(|(_, _, end)| u64::try_from(*end).ok()).sum()
    }

    /// What `/metrics` says.
    pub(crate) fn metrics(&self) -> anyhow::Result<String> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.listen).context("the page does not answer")?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.listen)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// SIGTERM to this process: the service in it listens as it would in a container.
    pub(crate) fn ask_to_stop() -> anyhow::Result<()> {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)?;
        Ok(())
    }

    /// Between two looks at the committed offsets.
    #[expect(clippy::disallowed_methods, reason = "the main thread of the demo has nothing to do but look again")]
    pub(crate) fn breathe() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?.local_addr()?.port())
}
