//! Everything that must be had before the work can begin. What may heal is tried again, and `/readyz` says why.

use std::fmt::Display;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use jiff::tz::Offset;
use kafka_proto::backoff::Backoff;

use crate::client::ClientConfig;
use crate::config::{Backend, Config, DeadLetter, KafkaLedger, Sasl};
use crate::dead_letter::DeadLetters;
use crate::ledger::{Ledger, OpenError, Standby};
use crate::pipeline::wall_clock_ms;
use crate::secret::{Secret, SecretError, Secrets};
use crate::telemetry::scrubber;

use super::exit::{Failure, fatal};
use super::health::{Health, State};
use super::kafka;
use super::life::host_name;
use super::load::Loaded;
use super::predecessor;
use super::shared_ledger::{self, NoLedger};

/// Between attempts at something that may heal by itself.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What was had.
pub(super) struct Needs {
    pub(super) secrets: Secrets,
    /// The user at the brokers; empty where nobody logs in.
    pub(super) username: String,
    /// The file, where they go to one.
    pub(super) dead_letters: Option<DeadLetters>,
    pub(super) ledger: Ledger,
}

/// What came of one attempt.
enum Attempt<T> {
    Done(T),
    /// It may heal.
    Again(String),
}

/// Fetches secrets, opens the dead letter file and the ledger, in this order: the ledger's lock is taken last, so that
/// who waits for something else does not keep others from working.
pub(super) async fn gather(loaded: &Loaded, secrets: Secrets, health: &Health, name: &str) -> Result<Needs, Failure> {
    let config = &loaded.config;
    let username = match &config.kafka.security.sasl {
        Some(sasl) => log_in_data(sasl, &secrets, health).await?,
        None => String::new(),
    };
    let dead_letters = dead_letters(config, health).await?;
    let ledger = match &config.storage.backend {
        Backend::File => ledger(config, health, name).await?,
        Backend::Kafka(topic) => {
            let client = kafka::client(&config.kafka, &secrets, &username, &host_name());
            Box::pin(shared(config, topic, &client, health)).await?
        }
    };
    if let Some(file) = &loaded.action_history_file {
        import(file, &ledger).await?;
    }
    Ok(Needs { secrets, username, dead_letters, ledger })
}

async fn log_in_data(sasl: &Sasl, secrets: &Secrets, health: &Health) -> Result<String, Failure> {
    // A password that is written out in the file is no less secret.
    if let Some(plain) = sasl.password.plain() {
        scrubber().register(plain);
    }
    let doing = "fetching the secrets of kafka.msk_auth";
    // The password itself is fetched at each login; that it can be had is found out now.
    until_done(health, doing, async || fetched(sasl.password.resolve(secrets).await)).await?;
    let username = until_done(health, doing, async || fetched(sasl.username.resolve(secrets).await)).await?;
    Ok(username.reveal().to_owned())
}

fn fetched(result: Result<Secret, SecretError>) -> Result<Attempt<Secret>, Failure> {
    match result {
        Ok(secret) => Ok(Attempt::Done(secret)),
        Err(error @ SecretError::Unknown { .. }) => Err(Failure::WrongConfiguration(error.to_string())),
        Err(error) => Ok(Attempt::Again(error.to_string())),
    }
}

async fn dead_letters(config: &Config, health: &Health) -> Result<Option<DeadLetters>, Failure> {
    let DeadLetter::File(path) = &config.dead_letter else { return Ok(None) };
    let opened = until_done(health, "opening the dead letter file", async || {
        let path = path.clone();
        Ok(match off_the_runtime(move || DeadLetters::open(&path)).await? {
            Ok(letters) => Attempt::Done(letters),
            Err(error) => Attempt::Again(error.to_string()),
        })
    });
    opened.await.map(Some)
}

async fn ledger(config: &Config, health: &Health, name: &str) -> Result<Ledger, Failure> {
    let standby = |standby: &Standby| health.enter(State::Standby { waiting: standby.to_string() });
    until_done(health, "opening the ledger", async || {
        match Ledger::open_or_wait(&config.storage.path, name, standby).await {
            Ok(ledger) => Ok(Attempt::Done(ledger)),
            // Nothing heals a damaged file but a person, and a person is told best by a process that ends.
            Err(error @ (OpenError::Damaged { .. } | OpenError::Newer { .. } | OpenError::Panicked { .. })) => {
                Err(fatal(error))
            }
            Err(error) => Ok(Attempt::Again(error.to_string())),
        }
    })
    .await
}

async fn shared(
    config: &Config,
    topic: &KafkaLedger,
    client: &ClientConfig,
    health: &Health,
) -> Result<Ledger, Failure> {
    until_done(health, "opening the ledger topic", async || {
        match shared_ledger::open(&config.storage, topic, client.clone(), health).await {
            Ok(ledger) => Ok(Attempt::Done(ledger)),
            Err(NoLedger::Again(trouble)) => Ok(Attempt::Again(trouble)),
            Err(NoLedger::Wrong(what)) => Err(Failure::WrongConfiguration(what)),
            Err(NoLedger::Fatal(error)) => Err(fatal(error)),
        }
    })
    .await
}

/// What the predecessor did, before anything is done here. What cannot be imported stops the start: it would be done again.
async fn import(file: &Path, ledger: &Ledger) -> Result<(), Failure> {
    let notes = ledger.notes().await.map_err(fatal)?;
    let wrong = |why: String| Failure::WrongConfiguration(format!("ACTION_HISTORY_FILE: {why}"));
    let bytes = match tokio::fs::read(file).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && predecessor::imported_before(&notes) => {
            tracing::info!(file = %file.display(), "the predecessor's history is gone; it was imported before");
            return Ok(());
        }
        Err(error) => {
            let hint = "without it what the predecessor did would be done again; unset the variable if there is nothing to import";
            return Err(wrong(format!("{} cannot be read: {error}; {hint}", file.display())));
        }
    };
    let import = predecessor::import(file, &bytes, Offset::UTC, &notes, wall_clock_ms());
    let import = import.map_err(|error| wrong(error.to_string()))?;
    let (alerts, added, changed) = (import.alerts, import.added, import.changed);
    ledger.append_noting(Vec::new(), import.notes).await.map_err(fatal)?;
    tracing::info!(file = %file.display(), alerts, added, changed, "the predecessor's history is imported");
    Ok(())
}

async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| fatal(format_args!("a task failed: {error}")))
}

/// Tries until it is done or hopeless, telling the health what it is at.
async fn until_done<T, F>(health: &Health, doing: impl Display, mut attempt: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<Attempt<T>, Failure>>,
{
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    health.enter(State::Starting { doing: doing.to_string(), trouble: None });
    loop {
        match attempt().await? {
            Attempt::Done(value) => return Ok(value),
            Attempt::Again(trouble) => {
                health.enter(State::Starting { doing: doing.to_string(), trouble: Some(trouble) });
                tokio::time::sleep(backoff.next(getrandom::u64().unwrap_or_default())).await;
            }
        }
    }
}
