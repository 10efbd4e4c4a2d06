//! The ledger to look into: the file itself while nobody has it, else the service that has it.

use std::ops::ControlFlow;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::config::{Backend, Config};
use crate::guard::Reset;
use crate::ledger::{Entry, EpisodeKey, Filter, Ledger, Note, Opened, Record, Summary};
use crate::pipeline::{guard_books, reset_at_rest, wall_clock_ms};

use super::super::life::host_name;
use super::super::settlement::{Meanwhile, Settle, settlement};
use super::asked::Asked;
use super::{Look, Options, Refused, cannot, loaded};

/// Either way to the ledger.
pub(super) enum Books {
    /// This process holds the file.
    File(Held),
    /// The service holds it and answers.
    Service(Asked),
}

/// The ledger, held by this process.
pub(super) struct Held {
    ledger: Ledger,
    runtime: Runtime,
}

impl Books {
    /// Opens the configured ledger, or asks whoever holds it. Creates none.
    pub(super) fn open(options: &Options) -> Result<Self, Refused> {
        let config = loaded(options)?.config;
        if let Backend::Kafka(topic) = &config.storage.backend {
            return Asked::find(&config).map(Self::Service).map_err(|why| {
                cannot(format_args!(
                    "the ledger is the topic {}, which a running service answers for, and it cannot be asked ({why}): call this where \
                     a replica runs, with its configuration",
                    topic.topic
                ))
            });
        }
        match Held::open(&config)? {
            Ok(held) => Ok(Self::File(held)),
            Err(holder) => Asked::find(&config).map(Self::Service).map_err(|why| {
                cannot(format_args!(
                    "the ledger {} is held by {holder}; it has one holder at a time, and the service cannot be asked ({why}): call \
                     this where the service runs, with its configuration, or stop that process first",
                    config.storage.path.display()
                ))
            }),
        }
    }

    /// Where it is, for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(held) => format!("the ledger {}", held.ledger.path().display()),
            Self::Service(asked) => format!("the ledger, through the service at {}", asked.address()),
        }
    }

    /// Shows `visit` every episode that is wanted, by key.
    pub(super) fn each(&self, look: &Look, visit: &mut dyn FnMut(Summary) -> ControlFlow<()>) -> Result<(), Refused> {
        match self {
            Self::File(held) => held.ledger.history(&look.filter(), visit).map_err(cannot),
            Self::Service(asked) => pages(asked, look, visit),
        }
    }

    /// The records of an episode, oldest first; none when there is no such episode.
    pub(super) fn entries(&self, key: &EpisodeKey) -> Result<Vec<Record>, Refused> {
        match self {
            Self::File(held) => held.runtime.block_on(held.ledger.entries(key.clone())).map_err(cannot),
            Self::Service(asked) => read(asked.get("/api/v1/episode", &[("key", key.to_string())])?),
        }
    }

    /// Writes down what a person says of an episode.
    pub(super) fn settle(&self, key: &EpisodeKey, how: Settle, who: &str, why: &str) -> Result<(), Refused> {
        match self {
            Self::File(held) => held.settle(key, how, who, why),
            Self::Service(asked) => {
                let parameters = [
                    ("key", key.to_string()),
                    ("how", how.name().to_owned()),
                    ("who", who.to_owned()),
                    ("why", why.to_owned()),
                ];
                asked.post("/api/v1/settle", &parameters).map(drop)
            }
        }
    }

    /// Makes the guards forget; says what they forgot.
    pub(super) fn reset(&self, reset: &Reset) -> Result<String, Refused> {
        match self {
            Self::File(held) => {
                let notes = held.notes()?;
                let mut books = guard_books(&notes, reset.at).map_err(cannot)?;
                let (notes, forgotten) = reset_at_rest(&mut books, reset);
                held.note(notes).map(|()| forgotten)
            }
            Self::Service(asked) => {
                let parameters =
                    [("what", reset.which.name().to_owned()), ("who", reset.who.clone()), ("why", reset.why.clone())];
                asked.post("/api/v1/reset", &parameters)?;
                Ok(format!("{} reset {}: {}", reset.who, reset.which.name(), reset.why))
            }
        }
    }
}

impl Held {
    /// `Ok(Err)`: another process holds it, and this is how it is called.
    pub(super) fn open(config: &Config) -> Result<Result<Self, String>, Refused> {
        let path = &config.storage.path;
        if !path.exists() {
            let hint = "is this where the service keeps it (storage.path)?";
            return Err(cannot(format_args!("there is no ledger {}; {hint}", path.display())));
        }
        Self::open_or_create(config)
    }

    /// The same where there need not be one yet.
    pub(super) fn open_or_create(config: &Config) -> Result<Result<Self, String>, Refused> {
        let path = &config.storage.path;
        let holder = format!("history on {} (PID {})", host_name(), std::process::id());
        let ledger = match Ledger::open(path, &holder).map_err(cannot)? {
            Opened::Ledger(ledger) => ledger,
            Opened::Standby(standby) if standby.holder.is_empty() => return Ok(Err("another process".to_owned())),
            Opened::Standby(standby) => return Ok(Err(standby.holder)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(cannot)?;
        Ok(Ok(Self { ledger, runtime }))
    }

    /// Everything that is kept beside the records.
    pub(super) fn notes(&self) -> Result<Vec<(String, String)>, Refused> {
        self.runtime.block_on(self.ledger.notes()).map_err(cannot)
    }

    /// Writes notes, all or none.
    pub(super) fn note(&self, notes: Vec<Note>) -> Result<(), Refused> {
        self.runtime.block_on(self.ledger.append_noting(Vec::new(), notes)).map_err(cannot)
    }

    fn settle(&self, key: &EpisodeKey, how: Settle, who: &str, why: &str) -> Result<(), Refused> {
        let state = self.runtime.block_on(self.ledger.state(key.clone())).map_err(cannot)?;
        let outcome = settlement(&state, how, who, why, Meanwhile::Nobody);
        let outcome = outcome.map_err(|why| cannot(format_args!("{key}: {why}")))?;
        let record = Record { key: key.clone(), at_ms: wall_clock_ms(), entry: Entry::Outcome(outcome) };
        self.runtime.block_on(self.ledger.append(vec![record])).map_err(cannot)
    }
}

/// Page after page, each beginning after the last key of the one before.
fn pages(asked: &Asked, look: &Look, visit: &mut dyn FnMut(Summary) -> ControlFlow<()>) -> Result<(), Refused> {
    let mut after = None;
    loop {
        let filter = Filter { after: after.take(), ..look.filter() };
        let answer = asked.get("/api/v1/episodes", &parameters(&filter))?;
        let episodes: Vec<Summary> = read(answer["episodes"].clone())?;
        let last = episodes.last().map(|episode| episode.key.clone());
        for episode in episodes {
            if visit(episode).is_break() {
                return Ok(());
            }
        }
        match (answer["more"].as_bool(), last) {
            (Some(true), Some(last)) => after = Some(last),
            _ => return Ok(()),
        }
    }
}

fn parameters(filter: &Filter) -> Vec<(&'static str, String)> {
    let given = [
        ("incident", filter.incident.clone()),
        ("condition", filter.condition.clone()),
        ("outcome", filter.state.clone()),
        ("from_ms", filter.from_ms.map(|ms| ms.to_string())),
        ("to_ms", filter.to_ms.map(|ms| ms.to_string())),
        ("after", filter.after.as_ref().map(ToString::to_string)),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Refused> {
    serde_json::from_value(answer)
        .map_err(|error| cannot(format_args!("the service answers what this program does not understand: {error}")))
}
