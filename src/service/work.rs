//! Consumer and pipeline, from built to drained.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::action::{BigPanda, BigPandaSettings, Network};
use crate::client::{Consumer, Producer, Resolver, TlsSettings};
use crate::config::{self, Config, DeadLetter, Mode};
use crate::container::Pulse;
use crate::pipeline::{
    self, Domain, Drained, Edition, Executor, KafkaSource, LetterTopic, Letters, Observer, PipelineError, Rulebook,
    wall_clock_ms,
};
use crate::telemetry::scrubber;
use crate::traces;
use crate::transport::{HttpClient, HttpSettings};

use super::beating::Beating;
use super::cloudwatch::{Both, CloudWatch};
use super::exit::{Failure, fatal};
use super::gather::Needs;
use super::health::{Health, State};
use super::kafka;
use super::life::host_name;
use super::load::{Loaded, guards};
use super::stop::{DRAIN_DEADLINE, Stop, Why};
use super::surface::Running;
use super::tally::Tally;

/// Of the drain, for what runs; the rest is for the last commit and for leaving the group.
const FINISH_WITHIN: Duration = Duration::from_secs(45);
/// Of the drain, for leaving the group.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// For one question to a name server on the way to an action's target.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);

/// Built, not yet begun.
pub(super) struct Work {
    source: Beating<KafkaSource>,
    domain: Arc<Domain>,
    tally: Arc<Tally>,
    /// Writes the metrics for `CloudWatch` as long as the work lives.
    _metrics: Option<AbortOnDropHandle<()>>,
}

/// How the work came to its end.
enum End {
    /// By itself: it cannot go on.
    Broken(PipelineError),
    /// As asked.
    Drained(Drained),
    /// A second signal cut the drain short.
    CutShort(Why),
    /// The drain took longer than it may.
    Late,
}

impl Work {
    /// Connects nothing yet: the consumer does so by itself, again and again.
    pub(super) fn build(loaded: Loaded, needs: Needs, name: String, pulse: Pulse) -> Result<Self, Failure> {
        let Loaded { config, conditions, actions, .. } = loaded;
        let settings = kafka::consumer(&config.kafka, &needs.secrets, &needs.username, &host_name());
        let consumer = Consumer::builder().configure(|config| *config = settings).build();
        let consumer = consumer.map_err(|error| Failure::WrongConfiguration(format!("kafka: {error}")))?;
        let dead_letters = letters(&config, &needs)?;
        let tally = Arc::new(Tally::default());
        let cloudwatch = config.cloudwatch.metrics_enabled.then(|| {
            let consumer = config.kafka.client_id.clone().unwrap_or_else(host_name);
            Arc::new(CloudWatch::new(&config.cloudwatch.namespace, &consumer))
        });
        let observer: Arc<dyn Observer> = match &cloudwatch {
            Some(cloudwatch) => Arc::new(Both(Arc::clone(&tally), Arc::clone(cloudwatch))),
            None => tally.clone(),
        };
        let domain = Domain {
            rulebook: Arc::new(Rulebook::new(Edition { conditions, definitions: actions, guards: guards(&config) })),
            ledger: needs.ledger,
            executor: executor(&config, &needs.secrets)?,
            dead_letters,
            kill_switch_file: config.kill_switch_file.clone(),
            limits: limits(&config),
            incident_limits: crate::incident::Limits {
                bytes: config.limits.max_record_bytes,
                ..crate::incident::Limits::default()
            },
            passes_over_unread: config.limits.pass_over_unread,
            observer,
            status: Arc::new(pipeline::Status::default()),
            left: pipeline::Left::default(),
            desk: pipeline::Desk::default(),
            adopt: traces::adopt,
            name,
            now_ms: wall_clock_ms,
        };
        let source = Beating { source: KafkaSource(consumer), pulse };
        let metrics = cloudwatch.as_ref().map(CloudWatch::start);
        Ok(Self { source, domain: Arc::new(domain), tally, _metrics: metrics })
    }

    /// Where the rules in force are replaced.
    pub(super) fn rulebook(&self) -> Arc<Rulebook> {
        Arc::clone(&self.domain.rulebook)
    }

    /// What others may look at while it runs.
    pub(super) fn shown(&self) -> Running {
        Running {
            consumer: self.source.source.0.handle(),
            ledger_health: self.domain.ledger.health(),
            ledger: self.domain.ledger.clone(),
            pipeline: Arc::clone(&self.domain.status),
            left: self.domain.left.clone(),
            desk: self.domain.desk.clone(),
            tally: Arc::clone(&self.tally),
            view: super::page::Cache::default(),
        }
    }

    /// Runs until asked to stop, drains, leaves the group.
    pub(super) async fn run(mut self, health: &Health, stop: &mut Stop) -> Result<(), Failure> {
        let (end, why) = self.until_the_end(health, stop).await;
        let outcome = outcome(end, why);
        // Also when broken: whoever takes over should not have to wait for the session to end.
        if let Err(error) = self.source.source.0.close(LEAVE_WITHIN).await {
            tracing::warn!(%error, "the group was not left cleanly");
        }
        outcome
    }

    async fn until_the_end(&mut self, health: &Health, stop: &mut Stop) -> (End, Option<Why>) {
        let asked = CancellationToken::new();
        let work = pipeline::run(&mut self.source, Arc::clone(&self.domain), asked.clone());
        tokio::pin!(work);
        let why = tokio::select! {
            ended = &mut work => return (ended.map_or_else(End::Broken, End::Drained), None),
            why = stop.asked() => why,
        };
        let deadline = Instant::now() + DRAIN_DEADLINE.saturating_sub(LEAVE_WITHIN);
        health.enter(State::Draining { why: why.to_string(), until: deadline });
        asked.cancel();
        let end = tokio::select! {
            ended = &mut work => ended.map_or_else(End::Broken, End::Drained),
            again = stop.insisted() => End::CutShort(again),
            () = tokio::time::sleep_until(deadline.into()) => End::Late,
        };
        (end, Some(why))
    }
}

fn outcome(end: End, why: Option<Why>) -> Result<(), Failure> {
    match (end, why) {
        (End::Broken(error), _) => Err(fatal(error)),
        (_, Some(why @ Why::Panic(_))) => Err(fatal(why)),
        (End::CutShort(again), _) => Err(fatal(format_args!(
            "{again} again while draining: ended at once; what was running is unknown to the ledger and will be settled at the next start"
        ))),
        (End::Late, _) => {
            tracing::warn!(
                "the drain took too long; what was running is unknown to the ledger and will be settled at the next start"
            );
            Ok(())
        }
        (End::Drained(Drained { cut_off, committed }), _) => {
            tracing::info!(cut_off, committed, "drained");
            Ok(())
        }
    }
}

fn letters(config: &Config, needs: &Needs) -> Result<Option<Letters>, Failure> {
    let DeadLetter::Topic(topic) = &config.dead_letter else {
        return Ok(needs.dead_letters.clone().map(Letters::File));
    };
    let settings = kafka::letters(config, &needs.secrets, &needs.username, &host_name());
    let producer = Producer::builder().configure(|config| *config = settings).build();
    let producer = producer.map_err(|error| Failure::WrongConfiguration(format!("dead_letter.topic: {error}")))?;
    Ok(Some(Letters::Topic(LetterTopic::new(producer, topic))))
}

fn limits(config: &Config) -> pipeline::Limits {
    pipeline::Limits {
        max_concurrent_incidents: config.limits.max_concurrent_incidents,
        max_concurrent_actions: config.limits.max_concurrent_actions,
        ledger_ttl: config.storage.ttl,
        drain: FINISH_WITHIN,
        ..pipeline::Limits::default()
    }
}

/// In shadow mode there is no way out: nothing that could touch the network is made.
fn executor(config: &Config, secrets: &crate::secret::Secrets) -> Result<Executor, Failure> {
    if config.mode == Mode::Shadow {
        return Ok(Executor::Shadow);
    }
    let tls = TlsSettings { ca_location: config.tls_ca_file.clone(), ..TlsSettings::default() };
    let settings = HttpSettings { stamp: traces::stamp, ..HttpSettings::default() };
    let http = HttpClient::new(Resolver::system(DNS_TIMEOUT), tls, settings)
        .map_err(|error| Failure::WrongConfiguration(format!("tls.ca_file: {error}")))?;
    let bigpanda = config.bigpanda.as_ref().map(bigpanda).transpose()?;
    let network = Network::new(http, secrets.clone(), bigpanda);
    // What targets quote is recorded: also what they have from elsewhere, and in the form that they give it.
    Ok(Executor::Live(network.scrubbing_by(|text| scrubber().scrub(text).into_owned())))
}

fn bigpanda(settings: &config::BigPanda) -> Result<BigPanda, Failure> {
    let base_url = reqwest::Url::parse(&settings.base_url);
    let wrong = |error| Failure::WrongConfiguration(format!("bigpanda.base_url: `{}`: {error}", settings.base_url));
    Ok(BigPanda::new(BigPandaSettings {
        base_url: base_url.map_err(wrong)?,
        environment_id: settings.environment_id.clone(),
        api_key: settings.api_key.clone(),
        service_account_id: settings.service_account_id.clone(),
    }))
}
