//! What each name means: from pairs of text to the typed configuration.
//!
//! Promised: one place for every name. Names of Java's client and of librdkafka lie side by side where they mean the
//! same. What this client does in another way is adjusted to the nearest it can do, with a warning.

use std::time::Duration;

use super::security::SecurityParts;
use super::value;
use super::{AppliedProperties, Entry, Properties, PropertiesError, PropertyNote};
use crate::client::config::ClientConfig;
use crate::client::consumer::ConsumerConfig;

/// What became of one setting.
pub(super) enum Effect {
    /// It is as asked for.
    Taken,
    /// It is not, or not quite; the sentence says so.
    Warned(String),
}

/// `None`: not one of these names. An error is the sentence after the name.
pub(super) type Outcome = Option<Result<Effect, String>>;

pub(super) fn apply(
    properties: &Properties,
    config: &mut ConsumerConfig,
) -> Result<AppliedProperties, PropertiesError> {
    let mut applied = AppliedProperties::default();
    let mut security = SecurityParts::default();
    let mut mistakes = Vec::new();
    for entry in &properties.entries {
        let (key, text) = (entry.key.as_str(), entry.value.trim());
        let outcome = security
            .take(entry)
            .or_else(|| connection(key, text, &mut config.client))
            .or_else(|| group(key, text, config))
            .or_else(|| fetching(key, text, config))
            .or_else(|| application(key, text, &mut applied))
            .or_else(|| elsewhere(key, text));
        match outcome {
            Some(Ok(Effect::Taken)) => {}
            Some(Ok(Effect::Warned(text))) => applied.warnings.push(note(entry, text)),
            Some(Err(text)) => mistakes.push(note(entry, text)),
            None => applied.warnings.push(note(entry, "is not known here and has no effect".to_owned())),
        }
    }
    match security.resolve() {
        Ok((Some(resolved), notes)) => {
            config.client.security = resolved;
            applied.warnings.extend(notes);
        }
        Ok((None, notes)) => applied.warnings.extend(notes),
        Err(note) => mistakes.push(note),
    }
    if !mistakes.is_empty() {
        return Err(PropertiesError(mistakes));
    }
    fit_together(properties, config, &mut applied.warnings);
    Ok(applied)
}

pub(super) fn note(entry: &Entry, text: String) -> PropertyNote {
    PropertyNote { line: entry.line, key: entry.key.clone(), text }
}

/// Puts a value where it belongs.
fn put<T>(slot: &mut T, value: Result<T, String>) -> Result<Effect, String> {
    *slot = value?;
    Ok(Effect::Taken)
}

#[expect(clippy::unnecessary_wraps, reason = "the arms of the table below all have this type")]
fn warned(text: impl Into<String>) -> Result<Effect, String> {
    Ok(Effect::Warned(text.into()))
}

fn connection(key: &str, text: &str, client: &mut ClientConfig) -> Outcome {
    Some(match key {
        "bootstrap.servers" | "metadata.broker.list" => put(&mut client.bootstrap_servers, Ok(value::list(text))),
        "client.id" => put(&mut client.client_id, Ok(text.to_owned())),
        "request.timeout.ms" | "socket.timeout.ms" => put(&mut client.request_timeout, value::millis(text)),
        "socket.connection.setup.timeout.ms" => put(&mut client.socket_connection_setup_timeout, value::millis(text)),
        "reconnect.backoff.ms" => put(&mut client.reconnect_backoff, value::millis(text)),
        "reconnect.backoff.max.ms" => put(&mut client.reconnect_backoff_max, value::millis(text)),
        "retry.backoff.ms" => put(&mut client.retry_backoff, value::millis(text)),
        "retry.backoff.max.ms" => put(&mut client.retry_backoff_max, value::millis(text)),
        "metadata.max.age.ms" | "topic.metadata.refresh.interval.ms" => {
            forever(&mut client.metadata_max_age, text, "metadata is refreshed all the same")
        }
        "connections.max.idle.ms" if text == "0" => warned("idle connections are closed all the same"),
        "connections.max.idle.ms" => {
            forever(&mut client.connections_max_idle, text, "idle connections are closed all the same")
        }
        "metadata.recovery.rebootstrap.trigger.ms" => {
            put(&mut client.metadata_recovery_rebootstrap_trigger, value::millis(text))
        }
        "receive.message.max.bytes" => put(&mut client.receive_message_max_bytes, value::count(text)),
        "broker.address.family" if text == "v6" => Err("`v6` is not possible; brokers are reached by IPv4 only".into()),
        "broker.address.family" if text == "v4" => Ok(Effect::Taken),
        "broker.address.family" => warned("brokers are reached by IPv4 only"),
        _ => return None,
    })
}

/// A time for which -1 means never, which this client does not do.
fn forever(slot: &mut Duration, text: &str, instead: &str) -> Result<Effect, String> {
    if text == "-1" { warned(instead) } else { put(slot, value::millis(text)) }
}

fn group(key: &str, text: &str, config: &mut ConsumerConfig) -> Outcome {
    Some(match key {
        "group.id" => put(&mut config.group_id, Ok(text.to_owned())),
        "group.instance.id" => put(&mut config.group_instance_id, Ok(Some(text.to_owned()))),
        "session.timeout.ms" => put(&mut config.session_timeout, value::millis(text)),
        "heartbeat.interval.ms" => put(&mut config.heartbeat_interval, value::millis(text)),
        "max.poll.interval.ms" => put(&mut config.max_poll_interval, value::millis(text)),
        "default.api.timeout.ms" => put(&mut config.default_api_timeout, value::millis(text)),
        "partition.assignment.strategy" => {
            let (known, unknown) = value::assignors(text);
            if known.is_empty() {
                return Some(Err(format!("`{text}` names none of range, sticky and cooperative-sticky")));
            }
            config.partition_assignment_strategy = known;
            match unknown.as_slice() {
                [] => Ok(Effect::Taken),
                some => warned(format!("{} cannot be offered to the group", some.join(", "))),
            }
        }
        "group.protocol" if text.eq_ignore_ascii_case("classic") => Ok(Effect::Taken),
        "group.protocol" => Err(format!("`{text}` is not possible; the group protocol is classic")),
        "group.remote.assignor" => warned("has no effect with the classic group protocol"),
        _ => return None,
    })
}

fn fetching(key: &str, text: &str, config: &mut ConsumerConfig) -> Outcome {
    Some(match key {
        "auto.offset.reset" => put(&mut config.auto_offset_reset, value::offset_reset(text)),
        "isolation.level" => put(&mut config.isolation_level, value::isolation_level(text)),
        "client.rack" => put(&mut config.client_rack, Ok(Some(text.to_owned()).filter(|rack| !rack.is_empty()))),
        "fetch.min.bytes" => put(&mut config.fetch_min_bytes, value::count(text)),
        "fetch.max.bytes" => put(&mut config.fetch_max_bytes, value::count(text)),
        name if FETCH_MAX_WAIT.contains(&name) => put(&mut config.fetch_max_wait, value::millis(text)),
        "max.partition.fetch.bytes" | "fetch.message.max.bytes" => {
            put(&mut config.max_partition_fetch_bytes, value::count(text))
        }
        "queued.max.messages.kbytes" => {
            put(&mut config.queued_max_bytes, value::count(text).map(|kib| kib.saturating_mul(1024)))
        }
        "queued.max.bytes" => put(&mut config.queued_max_bytes, value::count(text)),
        "queued.max.bytes.per.partition" => put(&mut config.queued_max_bytes_per_partition, value::count(text)),
        _ => return None,
    })
}

fn application(key: &str, text: &str, applied: &mut AppliedProperties) -> Outcome {
    Some(match key {
        "enable.auto.commit" => put(&mut applied.enable_auto_commit, value::boolean(text).map(Some)),
        "auto.commit.interval.ms" => put(&mut applied.auto_commit_interval, value::millis(text).map(Some)),
        "max.poll.records" => match value::count(text) {
            Ok(0) => Err("is 0".to_owned()),
            records => put(&mut applied.max_poll_records, records.map(Some)),
        },
        _ => return None,
    })
}

/// Names that Kafka knows and that change nothing here. A value that asks for what happens anyway is no warning.
fn elsewhere(key: &str, text: &str) -> Outcome {
    let unless = |anyway: &[&str], instead: &str| {
        if anyway.iter().any(|known| known.eq_ignore_ascii_case(text)) { Ok(Effect::Taken) } else { warned(instead) }
    };
    Some(match key {
        "check.crcs" => unless(&["true"], "checksums are always checked"),
        "allow.auto.create.topics" => unless(&["false"], "topics are never created"),
        "client.dns.lookup" => unless(&["use_all_dns_ips"], "every address of a name is tried"),
        "exclude.internal.topics" => unless(&["true", "false"], "has no effect with topics given by name"),
        "enable.auto.offset.store" => unless(&["true"], "what was reported is what is committed"),
        "enable.partition.eof" => unless(&["false"], "the end of a partition is not reported"),
        "socket.keepalive.enable" => unless(&["true"], "keep-alive is always on"),
        "socket.nagle.disable" => unless(&["true"], "Nagle's algorithm is always off"),
        "api.version.request" => unless(&["true"], "brokers are always asked for their versions"),
        "metadata.recovery.strategy" => unless(&["rebootstrap"], "the client always starts again from its bootstrap"),
        "receive.buffer.bytes" | "socket.receive.buffer.bytes" | "send.buffer.bytes" | "socket.send.buffer.bytes" => {
            unless(&["-1", "0"], "has no effect; the kernel sizes the buffer")
        }
        "socket.connection.setup.timeout.max.ms" => warned("has no effect; the setup timeout does not grow"),
        "key.deserializer" | "value.deserializer" => warned("has no effect; keys and values are bytes"),
        "interceptor.classes" | "metric.reporters" | "config.providers" | "security.providers" => {
            unless(&[""], "has no effect; Java classes cannot be loaded")
        }
        "ssl.protocol" | "ssl.enabled.protocols" | "ssl.cipher.suites" | "ssl.curves.list" | "ssl.sigalgs.list" => {
            warned("has no effect; TLS 1.3 and 1.2 are offered with sound cipher suites")
        }
        _ => return None,
    })
}

/// What one setting demands of another. Kafka takes these combinations, so they are met halfway.
fn fit_together(properties: &Properties, config: &mut ConsumerConfig, warnings: &mut Vec<PropertyNote>) {
    let mut adjust = |key: &str, text: String| {
        let line = properties.entries.iter().find(|entry| entry.key == key).and_then(|entry| entry.line);
        warnings.push(PropertyNote { line, key: key.to_owned(), text });
    };
    let is_said = properties.entries.iter().any(|entry| FETCH_MAX_WAIT.contains(&entry.key.as_str()));
    if is_said {
        config.fetch_idle_wait = None;
    } else if config.fetch_max_wait == ConsumerConfig::FETCH_MAX_WAIT {
        config.fetch_idle_wait.get_or_insert(FETCH_IDLE_WAIT);
    }
    let longest = config.session_timeout / 3;
    if config.heartbeat_interval > longest {
        config.heartbeat_interval = longest;
        adjust("heartbeat.interval.ms", format!("is lowered to {} ms, a third of the session", longest.as_millis()));
    }
    let client = &mut config.client;
    let pairs = [
        ("reconnect.backoff", &mut client.reconnect_backoff, &mut client.reconnect_backoff_max),
        ("retry.backoff", &mut client.retry_backoff, &mut client.retry_backoff_max),
    ];
    for (name, base, max) in pairs {
        if base.is_zero() {
            *base = Duration::from_millis(1);
            adjust(&format!("{name}.ms"), "is raised to 1 ms".to_owned());
        }
        if *max < *base {
            *max = *base;
            adjust(&format!("{name}.max.ms"), format!("is raised to the {} ms it starts from", base.as_millis()));
        }
    }
    let framed = config.fetch_max_bytes.saturating_add(FRAME_BYTES).min(LARGEST_FRAME);
    client.receive_message_max_bytes = client.receive_message_max_bytes.max(framed);
    if config.fetch_max_bytes > client.receive_message_max_bytes {
        config.fetch_max_bytes = client.receive_message_max_bytes;
        adjust("fetch.max.bytes", format!("is lowered to {framed}, the largest response there can be"));
    }
}

/// The names of the longest wait of a fetch. What is set under one of them is never exceeded.
const FETCH_MAX_WAIT: [&str; 2] = ["fetch.max.wait.ms", "fetch.wait.max.ms"];
/// How long fetches may wait where nobody set that and nothing comes.
const FETCH_IDLE_WAIT: Duration = Duration::from_secs(5);
/// What surrounds the records of one fetch.
const FRAME_BYTES: usize = 1024 * 1024;
/// The most that the length field of a response can say.
const LARGEST_FRAME: usize = 0x7fff_ffff;
