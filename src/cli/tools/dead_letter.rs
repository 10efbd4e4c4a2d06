//! `dead-letter`: the records that were no incidents.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use super::Said;
use crate::service::Options;
use crate::service::tools::{self, Answer};

pub(super) const EXAMPLE: &str = "\
Example:
  kafka_consumer dead-letter list --config config.yaml

Exit codes are told by each command's own --help.";

const LETTERS: &str = "\
Exit codes:
  0  done
  1  there is no such file or letter, or it cannot be read
  2  the command line or the configuration is wrong";

/// Parts of `dead-letter`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DeadLetter {
    /// List them: number, time, topic/partition@offset, reason
    #[command(after_help = format!("Example:\n  kafka_consumer dead-letter list --config config.yaml\n\n{LETTERS}"))]
    List {
        #[command(flatten)]
        said: Said,
    },
    /// Show one, with its value
    #[command(after_help = format!("Example:\n  kafka_consumer dead-letter show 3 --config config.yaml\n\n{LETTERS}"))]
    Show {
        /// Its number in `list`
        number: usize,
        #[command(flatten)]
        said: Said,
    },
    /// Read them again with the present configuration and say what would happen; nothing is sent to Kafka
    #[command(after_help = "\
Example:
  kafka_consumer dead-letter redrive --out accepted.jsonl --config config.yaml

Nothing is produced back to Kafka: --out writes the accepted values as JSON lines.

Exit codes:
  0  all are incidents now
  1  some are not, or a file cannot be read
  2  the command line or the configuration is wrong")]
    Redrive {
        /// Dead letter files (default: the configured one)
        files: Vec<PathBuf>,
        /// Where accepted values go, one a line; must not exist
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        said: Said,
    },
}

impl DeadLetter {
    pub(super) fn answer(self, options: &Options, out: &mut dyn Write) -> Answer {
        match self {
            Self::List { said } => tools::letters(options, said.form(), out),
            Self::Show { number, said } => tools::letter(options, number, said.form(), out),
            Self::Redrive { files, out: accepted, said } => {
                tools::redrive(options, &files, accepted.as_deref(), said.form(), out)
            }
        }
    }
}
