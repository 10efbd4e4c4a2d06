//! The subscriber: events to lines, with the fields of the spans around them.
//!
//! `kafka_consumer` and `kafka_proto` speak at the configured level, everybody else's code only from warnings up, unless
//! the level is `trace`.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::line::{Format, Line};
use super::rotate::{Rotating, Rotation};
use super::sink::Sink;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(LevelFilter);

impl Default for Level {
    fn default() -> Self {
        Self(LevelFilter::INFO)
    }
}

/// A name that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a log level; write trace, debug, info, warning or error")]
pub struct ParseLevelError(String);

impl std::str::FromStr for Level {
    type Err = ParseLevelError;

    /// The predecessor's names are accepted in any letter case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text.to_ascii_lowercase().as_str() {
            "trace" => LevelFilter::TRACE,
            "debug" => LevelFilter::DEBUG,
            "info" => LevelFilter::INFO,
            "warn" | "warning" => LevelFilter::WARN,
            "error" | "critical" => LevelFilter::ERROR,
            _ => return Err(ParseLevelError(text.to_owned())),
        }))
    }
}

/// What the logs look like and where they go.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// How much is said.
    pub level: Level,
    /// The form of a line.
    pub format: Format,
    /// A file that receives every line in addition to standard output, and how much of it is kept.
    pub file: Option<(PathBuf, Rotation)>,
}

/// Why logging could not start as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// A subscriber was installed before, so this one has no effect.
    #[error("logging was started twice")]
    AlreadyStarted,
}

/// The part of the subscriber that takes spans for OpenTelemetry.
pub type Traces = Box<dyn Layer<Registry> + Send + Sync>;

static SINK: OnceLock<Sink> = OnceLock::new();

/// Starts logging for the process. A log file that cannot be opened is a warning, and opened later if it can be: standard
/// output carries every line. `traces` takes the spans that are no part of logs.
pub fn start(settings: &LogSettings, traces: Option<Traces>) -> Result<(), LogsError> {
    let mut file = settings.file.clone().map(|(path, rotation)| Rotating::new(path, rotation));
    let trouble = file.as_mut().and_then(|file| file.open().err());
    let new = Sink::new(Box::new(std::io::stdout()), file, super::scrubber());
    SINK.set(new).map_err(|_| LogsError::AlreadyStarted)?;
    let sink = SINK.get().ok_or(LogsError::AlreadyStarted)?;
    let lines = Lines { format: settings.format, pid: std::process::id(), write: move |line: &str| sink.write(line) };
    tracing_subscriber::registry()
        .with(traces)
        .with(lines.with_filter(targets(settings.level)))
        .try_init()
        .map_err(|_| LogsError::AlreadyStarted)?;
    if let (Some(error), Some((path, _))) = (trouble, &settings.file) {
        let path = path.display();
        tracing::warn!("the log file {path} cannot be opened ({error}); lines go to standard output only until it can");
    }
    Ok(())
}

/// How many lines could not be written in full since the start.
pub fn lines_lost() -> u64 {
    SINK.get().map_or(0, Sink::lost)
}

fn targets(level: Level) -> Targets {
    let others = if level.0 == LevelFilter::TRACE { LevelFilter::TRACE } else { level.0.min(LevelFilter::WARN) };
    let ours = Targets::new().with_default(others).with_target("kafka_consumer", level.0);
    // The spans of this target are for OpenTelemetry: their fields say again what the lines say.
    ours.with_target("kafka_proto", level.0).with_target("traces", LevelFilter::OFF)
}

/// Turns events into lines.
struct Lines<W> {
    format: Format,
    pid: u32,
    write: W,
}

/// The fields of a span, kept beside it.
struct SpanFields(Map<String, Value>);

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(SpanFields(fields.rest));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(SpanFields(known)) = span.extensions_mut().get_mut() {
            known.extend(fields.rest);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut function = None;
        let mut all = Map::new();
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            function = Some(span.name());
            if let Some(SpanFields(known)) = span.extensions().get() {
                all.extend(known.clone());
            }
        }
        let mut own = Fields::default();
        event.record(&mut own);
        all.extend(own.rest);
        let meta = event.metadata();
        let line = Line {
            pid: self.pid,
            level: meta.level().as_str(),
            timestamp: format!("{:.3}", jiff::Timestamp::now()),
            target: meta.target().to_owned(),
            function,
            number: meta.line(),
            message: own.message,
            fields: all,
        };
        (self.write)(&line.render(self.format));
    }
}

/// Collects an event's message and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.rest.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        self.put(field, text.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn lines_of(level: &str, body: impl FnOnce()) -> Vec<Value> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        let write = move |line: &str| keep.lock().expect("lock").push(serde_json::from_str(line).expect("JSON"));
        let layer = Lines { format: Format::Json, pid: 1, write };
        let level: Level = level.parse().expect("a level");
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(targets(level)));
        tracing::subscriber::with_default(subscriber, body);
        let seen = seen.lock().expect("lock");
        seen.clone()
    }

    #[test]
    fn a_line_carries_the_fields_of_the_spans_around_it() {
        let lines = lines_of("info", || {
            let outer = tracing::info_span!("record", partition = 3).entered();
            let inner = tracing::info_span!("decide", incident = "60f1", condition = tracing::field::Empty).entered();
            inner.record("condition", "oozie");
            tracing::info!(offset = 17, "matched");
            drop((inner, outer));
            tracing::info!("after");
        });
        assert_eq!(lines.len(), 2);
        let (inside, after) = (&lines[0], &lines[1]);
        assert_eq!(inside["message"], "matched");
        assert_eq!(inside["span"], "decide");
        assert_eq!((&inside["partition"], &inside["offset"]), (&3.into(), &17.into()));
        assert_eq!((&inside["incident"], &inside["condition"]), (&"60f1".into(), &"oozie".into()));
        assert!(after.get("incident").is_none());
    }

    #[test]
    fn other_peoples_code_speaks_only_from_warnings_up() {
        let lines = lines_of("debug", || {
            tracing::info!(target: "hickory_resolver", "chatter");
            tracing::warn!(target: "hickory_resolver", "trouble");
            tracing::debug!("ours");
        });
        let said: Vec<&Value> = lines.iter().map(|line| &line["message"]).collect();
        assert_eq!(said, ["trouble", "ours"]);
    }

    #[test]
    fn an_unknown_level_is_an_error_that_lists_the_known_ones() {
        let error = "loud".parse::<Level>().expect_err("no such level");
        assert_eq!(error.to_string(), "`loud` is not a log level; write trace, debug, info, warning or error");
        assert_eq!("WARNING".parse::<Level>(), "warn".parse());
    }
}
