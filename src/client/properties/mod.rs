//! Settings under the names that Kafka's Java clients and librdkafka give them, from a properties file.
//!
//! ```
//! use kafka_consumer::client::{Consumer, Properties};
//!
//! let properties = Properties::parse("bootstrap.servers=b1.example:9092\ngroup.id=g\nsession.timeout.ms=10000\n")?;
//! let (builder, found) = Consumer::builder().topics(["t"]).properties(&properties)?;
//! for warning in found.warnings {
//!     eprintln!("{warning}");
//! }
//! # let _ = builder;
//! # Ok::<(), kafka_consumer::client::PropertiesError>(())
//! ```
//!
//! Promised: a setting either takes effect, or is named in a warning or an error; of two that mean the same the later one
//! counts; nothing printed holds a password. What a setting leaves open keeps the value it had, so defaults are this
//! client's, `isolation.level=read_committed` among them. Where `fetch.max.wait.ms` is left open, fetches wait 500 ms as with Kafka,
//! and up to 5 s at a broker from which nothing came for a while; where it is set it is never exceeded.
//! Absent: key stores in JKS or PKCS#12, GSSAPI and OAUTHBEARER, IPv6: asking for these is an error.

mod jaas;
mod security;
mod settings;
mod syntax;
mod value;

use std::fmt;
use std::time::Duration;

use crate::client::consumer::ConsumerConfig;

/// The pairs of a properties file, in their order, each key once.
#[derive(Clone, Default)]
pub struct Properties {
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    line: Option<usize>,
    key: String,
    value: String,
}

/// What was found out about one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PropertyNote {
    /// The line of the file, from 1; `None` for a setting that came by [`Properties::set`].
    pub line: Option<usize>,
    /// The name as it was written.
    pub key: String,
    /// What is the matter with it.
    pub text: String,
}

impl fmt::Display for PropertyNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}", self.key, self.text)
    }
}

/// Settings that cannot be what was meant: all of them at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct PropertiesError(pub Vec<PropertyNote>);

/// What the settings say beyond the configuration of the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppliedProperties {
    /// Settings that have no effect, or another one than they ask for.
    pub warnings: Vec<PropertyNote>,
    /// `enable.auto.commit`. The client never commits by itself: this is for the application to do.
    pub enable_auto_commit: Option<bool>,
    /// `auto.commit.interval.ms`, for the application likewise.
    pub auto_commit_interval: Option<Duration>,
    /// `max.poll.records`, for the application: the client hands out whole batches.
    pub max_poll_records: Option<usize>,
}

impl Properties {
    /// Reads the text of a properties file, as `java.util.Properties` would.
    pub fn parse(text: &str) -> Result<Self, PropertiesError> {
        let note = |bad: syntax::BadEscape| PropertyNote {
            line: Some(bad.line),
            key: "\\u".to_owned(),
            text: "is not followed by four hexadecimal digits".to_owned(),
        };
        let pairs = syntax::pairs(text).map_err(|bad| PropertiesError(bad.into_iter().map(note).collect()))?;
        let mut properties = Self::default();
        for pair in pairs {
            properties.put(Entry { line: Some(pair.line), key: pair.key, value: pair.value });
        }
        Ok(properties)
    }

    /// Sets one more, over what was said before under any of its names.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.put(Entry { line: None, key: key.into(), value: value.into() });
    }

    /// The value as written, if there is one under exactly this name.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }

    fn put(&mut self, entry: Entry) {
        self.entries.retain(|known| known.key != entry.key);
        self.entries.push(entry);
    }

    /// Changes `config` to what the settings say. `config` is to be thrown away after an error.
    pub fn apply(&self, config: &mut ConsumerConfig) -> Result<AppliedProperties, PropertiesError> {
        settings::apply(self, config)
    }
}

/// Keys alone: a value may be a password.
impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| &entry.key)).finish()
    }
}

#[cfg(test)]
mod tests;
