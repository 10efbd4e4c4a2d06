//! `history`: what the ledger says was done.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Said;
use crate::service::Options;
use crate::service::tools::{self, Answer, Look, Settle};

pub(super) const EXAMPLE: &str = "\
Example:
  kafka_consumer history list --outcome held --from 1d --config config.yaml

Exit codes are told by each command's own --help.";

const VERIFY: &str = "\
Example:
  kafka_consumer history verify march.jsonl

Exit codes:
  0  it is whole
  1  it was changed, or cannot be read
  2  the command line is wrong";

const IMPORT: &str = "\
An alert counts as dealt with for every episode that began no later than its time_actioned; a later start is a re-fire, and acts.
What was finished there is skipped; what was begun and not finished is held for a person when it comes again. The file is taken
whole or not at all, and twice is as good as once. The service does the same at start with ACTION_HISTORY_FILE.

Example:
  kafka_consumer history import action_history.json --config config.yaml

Exit codes:
  0  imported, or was imported before
  1  the file is malformed, or the ledger is held by a running service: nothing was imported
  2  the command line or the configuration is wrong";

const HELD: &str = "\
The ledger has one holder. While the service has it, this asks the service at http.listen of the configuration; for changes with
the token in http.admin_token_file. A ledger topic (storage.backend: kafka) is always asked for through a replica.

Exit codes:
  0  done
  1  the ledger cannot be read or written, or has no such episode
  2  the command line or the configuration is wrong";

#[derive(Debug, Args)]
pub(in crate::cli) struct Filter {
    /// Of this incident
    #[arg(long, value_name = "ID")]
    incident: Option<String>,
    /// Of this condition
    #[arg(long, value_name = "NAME")]
    condition: Option<String>,
    /// Standing like this
    #[arg(long, value_parser = ["succeeded", "failed", "skipped", "held", "found", "shadow", "intended", "attempting", "started", "unknown"])]
    outcome: Option<String>,
    /// Last entry at this time or later: RFC 3339, seconds since the epoch, or how long ago (1h)
    #[arg(long, value_name = "TIME", value_parser = tools::moment)]
    from: Option<i64>,
    /// Last entry before this time
    #[arg(long, value_name = "TIME", value_parser = tools::moment)]
    to: Option<i64>,
}

impl From<Filter> for Look {
    fn from(filter: Filter) -> Self {
        let Filter { incident, condition, outcome, from, to } = filter;
        Self { incident, condition, outcome, from, to }
    }
}

/// Parts of `history`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum History {
    /// List episodes: last entry, outcome, attempts, key, reason
    #[command(after_help = format!("Example:\n  kafka_consumer history list --outcome held --config config.yaml\n\n{HELD}"))]
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        said: Said,
    },
    /// Show everything written about one episode
    #[command(after_help = format!("Example:\n  kafka_consumer history show 60f1/-/1769755513/oozie/announce\n\n{HELD}"))]
    Show {
        /// The episode, as `list` prints it
        key: String,
        #[command(flatten)]
        said: Said,
    },
    /// Write records as JSON lines on standard output, each with the SHA-256 of the line before it
    #[command(after_help = format!("Example:\n  kafka_consumer history export --from 2026-03-01T00:00:00Z > march.jsonl\n\n{HELD}"))]
    Export {
        #[command(flatten)]
        filter: Filter,
    },
    /// Take over what the predecessor did from its history file, so that a migration repeats nothing
    #[command(after_help = IMPORT)]
    Import {
        /// Its JSON: an object with what it recorded under each alert id
        file: PathBuf,
        /// The time zone its times were written in
        #[arg(long, value_name = "OFFSET", default_value = "+00:00", value_parser = tools::offset, allow_hyphen_values = true)]
        utc_offset: i32,
        #[command(flatten)]
        said: Said,
    },
    /// Check that nothing was changed in an export, nor removed from it: exit code 0, or 1 and what was
    #[command(after_help = VERIFY)]
    Verify {
        /// The export
        file: PathBuf,
    },
    /// Say what became of an episode that is held or, while no service runs, whose fate is unknown
    #[command(after_help = format!("Example:\n  kafka_consumer history settle 60f1/-/1769755513/oozie/announce --succeeded --who ann --why 'the job ran, build 7'\n\n{HELD}"))]
    Settle {
        /// The episode, as `list` prints it
        key: String,
        #[command(flatten)]
        how: How,
        /// Who says so
        #[arg(long, value_name = "NAME")]
        who: String,
        /// How it is known
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct How {
    /// It was done
    #[arg(long)]
    succeeded: bool,
    /// It was not done and shall not be
    #[arg(long)]
    failed: bool,
    /// It was not done: try it again at the next snapshot of its incident
    #[arg(long)]
    retry: bool,
}

impl History {
    pub(super) fn answer(self, options: &Options, out: &mut dyn Write) -> Answer {
        match self {
            Self::List { filter, said } => tools::list(options, &filter.into(), said.form(), out),
            Self::Show { key, said } => tools::show(options, &key, said.form(), out),
            Self::Export { filter } => tools::export(options, &filter.into(), out),
            Self::Import { file, utc_offset, said } => tools::import(options, &file, utc_offset, said.form(), out),
            Self::Verify { file } => tools::verify(&file, out),
            Self::Settle { key, how, who, why } => {
                let how = match (how.succeeded, how.retry) {
                    (true, _) => Settle::Succeeded,
                    (false, true) => Settle::Retry,
                    (false, false) => Settle::Failed,
                };
                tools::settle(options, &key, how, &who, &why, out)
            }
        }
    }
}
