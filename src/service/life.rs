//! The life of the process: configuration, logs, listener, ledger, then the work until something ends it.

use std::fmt::Display;
use std::future::Future;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;

use crate::config::{self, Config};
use crate::container::Pulse;
use crate::http::{Fact, Server, Surface};
use crate::telemetry::{self, Format, Level, LogSettings, Rotation, scrubber};
use crate::traces::Spans;

use super::check::InFile;
use super::exit::{Exit, Failure, fatal};
use super::gather::gather;
use super::health::{Health, State};
use super::heart;
use super::keys::{Keys, keys};
use super::load::{Loaded, load};
use super::options::Options;
use super::reload::{HangUps, Reloader, Reloads};
use super::stop::{Stop, Why};
use super::surface::{Access, Face};
use super::traces;
use super::work::Work;

/// How often the poll loop's mark is made while there is no poll loop yet.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How long tasks that do not listen may hold up the end.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(1);

/// Runs the service until it is asked to stop or cannot go on.
pub fn run(options: &Options) -> Exit {
    let loaded = match load(options) {
        Ok(loaded) => loaded,
        Err(error) => {
            say(&error);
            return Exit::WrongConfiguration;
        }
    };
    let (layer, spans) = traces::spans(&loaded.config).unzip();
    if let Err(error) = telemetry::start(&log_settings(options, &loaded.config.log), layer) {
        say(&error);
        return Exit::Failed;
    }
    for warning in &loaded.warnings {
        tracing::warn!("configuration: {}", InFile(options.config.path(), warning, ""));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("worker").build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format_args!("the runtime cannot start: {error}"));
            return Exit::Failed;
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), configuration = %options.config, "starting");
    let exit = runtime.block_on(live(loaded, spans, options.clone()));
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    exit
}

/// The last line for somebody who reads standard error.
fn say(what: &dyn Display) {
    eprintln!("kafka_consumer: {}", scrubber().scrub(&what.to_string()));
}

fn log_settings(options: &Options, log: &config::Log) -> LogSettings {
    let of_file = log.level.as_deref().and_then(|level| level.parse::<Level>().ok());
    let form = |format: config::LogFormat| match format {
        config::LogFormat::Json => Format::Json,
        config::LogFormat::Text => Format::Text,
    };
    let natural = if std::io::stdout().is_terminal() { Format::Text } else { Format::Json };
    LogSettings {
        level: options.level.or(of_file).unwrap_or_default(),
        format: options.format.or(log.format.map(form)).unwrap_or(natural),
        file: log.file.clone().map(|file| (file, rotation(log))),
    }
}

fn rotation(log: &config::Log) -> Rotation {
    let Rotation { bytes_max, keep } = Rotation::default();
    Rotation { bytes_max: log.file_bytes_max.unwrap_or(bytes_max), keep: log.files_kept.unwrap_or(keep) }
}

async fn live(loaded: Loaded, spans: Option<Spans>, options: Options) -> Exit {
    let health = Health::new();
    let signals = HangUps::listen().and_then(|hang_ups| Ok((hang_ups, Stop::listen()?)));
    let ended = match signals {
        Ok((hang_ups, stop)) => under_way(loaded, spans, &health, (stop, hang_ups), options).await,
        Err(error) => Err(Failure::Fatal(format!("signals cannot be listened for: {error}"))),
    };
    match ended {
        Ok(()) => Exit::Stopped,
        Err(failure) => {
            let exit = failure.exit();
            let why = failure.to_string();
            health.enter(State::Failed { why: why.clone() });
            say(&why);
            exit
        }
    }
}

/// The listener and the heartbeat live as long as this does.
async fn under_way(
    loaded: Loaded,
    spans: Option<Spans>,
    health: &Health,
    (mut stop, hang_ups): (Stop, HangUps),
    options: Options,
) -> Result<(), Failure> {
    let pulse = Pulse::new();
    let listener = Server::bind(loaded.config.http.listen).await.map_err(fatal)?;
    let name = this_process();
    let title = format!("kafka_consumer {} on {name}", env!("CARGO_PKG_VERSION"));
    let (facts, access, reloads) = (facts(&loaded.config), access(&loaded.config), Reloads::default());
    let face = Arc::new(Face::new(health.clone(), pulse.clone(), title, facts, access, reloads.clone()));
    let shown: Arc<dyn Surface> = face.clone();
    let _serving = AbortOnDropHandle::new(tokio::spawn(listener.serve(shown)));
    let _heart = AbortOnDropHandle::new(tokio::spawn(heart::beat(
        options.runtime_dir.clone(),
        Arc::clone(&face),
        pulse.clone(),
    )));

    let Keys { secrets, shown, watch } = keys(&loaded.config).await.map_err(Failure::WrongConfiguration)?;
    let _watching = watch.map(|watch| AbortOnDropHandle::new(tokio::spawn(watch.run())));
    if let Some(shown) = shown {
        face.show_certificate(shown);
    }
    let delivering = match spans {
        Some(spans) => {
            face.show_traces(spans.counts());
            traces::deliver(spans, &loaded.config, &secrets)?
        }
        None => None,
    };
    let gathering = gather(&loaded, secrets, health, &name);
    let needs = tokio::select! {
        needs = while_beating(&pulse, gathering) => needs?,
        why = stop.asked() => return not_begun(health, why),
    };
    let work = Work::build(loaded.clone(), needs, name, pulse)?;
    let mut reloader = Reloader::new(options, loaded, work.rulebook(), reloads);
    reloader.catch_up().await;
    let _reloading = AbortOnDropHandle::new(tokio::spawn(reloader.run(hang_ups)));
    face.attach(work.shown());
    health.enter(State::Running);
    let ended = work.run(health, &mut stop).await;
    if let Some(exporter) = delivering {
        tokio::select! {
            () = exporter.finish(traces::FLUSH_WITHIN) => {}
            _ = stop.asked() => {}
        }
    }
    ended
}

/// Asked to stop before anything began: nothing to finish.
fn not_begun(health: &Health, why: Why) -> Result<(), Failure> {
    health.enter(State::Draining { why: why.to_string(), until: Instant::now() });
    match why {
        Why::Signal(_) => Ok(()),
        Why::Panic(_) => Err(fatal(why)),
    }
}

/// What is awaited here is a retry loop of ours: that it is polled is all there is to prove.
async fn while_beating<T>(pulse: &Pulse, work: impl Future<Output = T>) -> T {
    let mut ticks = tokio::time::interval(BEAT_EVERY);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => pulse.beat(),
        }
    }
}

/// Who may ask the listener, and who may change what.
fn access(config: &Config) -> Access {
    let http = &config.http;
    Access {
        hosts: http.hosts.iter().cloned().chain([host_name()]).collect(),
        token_file: http.admin_token_file.clone(),
        kill_switch_file: config.kill_switch_file.clone(),
    }
}

/// What the page says about the configuration.
fn facts(config: &Config) -> Vec<Fact> {
    let kafka = &config.kafka;
    vec![
        Fact { name: "Mode", value: format!("{:?}", config.mode).to_lowercase().into() },
        Fact { name: "Brokers", value: kafka.brokers.join(", ").into() },
        Fact { name: "Topics", value: kafka.topics.join(", ").into() },
        Fact { name: "Group id", value: kafka.group_id.clone().into() },
    ]
}

/// This process, as the ledger and other processes see it.
fn this_process() -> String {
    let host = host_name();
    format!("{host} (PID {})", std::process::id())
}

/// The machine's name; in a container, the pod's.
pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
