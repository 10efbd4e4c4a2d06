//! The tools of a person at a terminal: their flags, their help, their examples.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::service::Options;
use crate::service::tools::{self, Answer, Form, Look, Replay, Scope, Settle, Source, Which};

/// How a tool answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    #[default]
    Table,
    Json,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Said {
    /// A table for people, or JSON for programs (one object a line)
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Said {
    fn form(&self) -> Form {
        let colour = std::io::stdout().is_terminal() && super::environment("NO_COLOR").is_none();
        Form { json: self.output == Output::Json, colour }
    }
}

/// Commands that look, rehearse and settle; none touches a target, and only `replay --source topic` reads from Kafka.
#[derive(Debug, Subcommand)]
pub(super) enum Tool {
    /// Say for one record which condition matches and why, why the others do not, and what would be done
    #[command(after_help = "\
Example:
  kafka_consumer explain --config config.yaml --at 2026-03-14T15:30:00Z record.json

Exit codes:
  0  a condition matches
  1  the record cannot be read or is not an incident
  2  the command line or the configuration is wrong
  3  no condition matches")]
    Explain {
        /// The value of the record, JSON; - for standard input
        record: PathBuf,
        /// The clock: RFC 3339, seconds since the epoch, or how long ago (1h) (default: now)
        #[arg(long, value_name = "TIME", value_parser = tools::moment)]
        at: Option<i64>,
        #[command(flatten)]
        said: Said,
    },
    /// Hold the rules against tests: records that are written down with what must come of them
    #[command(after_help = TEST)]
    Test {
        /// Files of rule tests, YAML
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Write the result as JUnit's XML too
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        #[command(flatten)]
        said: Said,
    },
    /// Decide records of the past again, by the present rules and by others, and compare with what was done; nothing is begun
    #[command(after_help = REPLAY)]
    Replay {
        /// topic: the topics of the configuration; or a file of JSON lines: incidents, dead letters, or records as kcat -J prints
        /// them (- for standard input, ./topic for a file of that name)
        #[arg(long, value_name = "topic|FILE")]
        source: Source,
        /// Only records of this time or later: RFC 3339, seconds since the epoch, or how long ago
        #[arg(long, value_name = "TIME", value_parser = tools::moment)]
        from: Option<i64>,
        /// Only records before this time
        #[arg(long, value_name = "TIME", value_parser = tools::moment)]
        to: Option<i64>,
        /// Other rules: a configuration, or only its conditions and actions
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
        /// Do not ask the ledger what was done
        #[arg(long)]
        no_ledger: bool,
        /// How many episodes of each list of differences are told
        #[arg(long, value_name = "N", default_value_t = 20)]
        show: usize,
        #[command(flatten)]
        said: Said,
    },
    /// Look at what the ledger says was done, and settle what waits for a person
    #[command(subcommand, after_help = HISTORY)]
    History(History),
    /// Look at the records that were no incidents, and try them again
    #[command(subcommand, after_help = DEAD_LETTER)]
    DeadLetter(DeadLetter),
    /// Engage the kill switch: a running service starts nothing new until `resume`
    #[command(after_help = PAUSE)]
    Pause {
        #[command(flatten)]
        what: Paused,
        /// The reason that the service tells
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Make the guards forget what has tripped: charged budgets, open circuits, storm mode
    #[command(after_help = RESET)]
    Reset {
        #[command(flatten)]
        what: Forgotten,
        /// Who says so
        #[arg(long, value_name = "NAME")]
        who: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Release the kill switch
    #[command(after_help = RESUME)]
    Resume {
        #[command(flatten)]
        what: Paused,
    },
}

/// All of it, unless a part is named.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Forgotten {
    /// Only what was charged to budgets and fleets
    #[arg(long)]
    budgets: bool,
    /// Only open circuits
    #[arg(long)]
    breakers: bool,
    /// Only storm mode
    #[arg(long)]
    storm: bool,
}

impl From<Forgotten> for Which {
    fn from(forgotten: Forgotten) -> Self {
        match forgotten {
            Forgotten { budgets: true, .. } => Self::Budgets,
            Forgotten { breakers: true, .. } => Self::Breakers,
            Forgotten { storm: true, .. } => Self::Storm,
            Forgotten { .. } => Self::All,
        }
    }
}

/// Everything, unless a part is named.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Paused {
    /// Only this condition: its steps are skipped, others go on
    #[arg(long, value_name = "NAME")]
    condition: Option<String>,
    /// Only this action
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
}

impl From<Paused> for Scope {
    fn from(paused: Paused) -> Self {
        let condition = paused.condition.map(Scope::Condition);
        condition.or(paused.action.map(Scope::Action)).unwrap_or(Scope::All)
    }
}

const PAUSE: &str = "\
Writes kill_switch_file, or the file beside it of one condition or action; it stands over a restart.

Example:
  kafka_consumer pause --config config.yaml --why 'network maintenance until 18:00'
  kafka_consumer pause --condition oozie_failures --why 'restarts too much' --config config.yaml

Exit codes:
  0  paused
  1  the file cannot be written
  2  the command line or the configuration is wrong, or has no kill_switch_file";

const RESET: &str = "\
Who and why are kept in the ledger, and shown by /api/v1/guards and on the page. While the service has the ledger this asks it, with
the token in http.admin_token_file. What is held because of a spent budget is released by `history settle KEY --retry`.

Example:
  kafka_consumer reset --breakers --who ann --why 'the hook is repaired' --config config.yaml

Exit codes:
  0  forgotten
  1  the ledger cannot be read or written, or the service cannot be asked
  2  the command line or the configuration is wrong";

const RESUME: &str = "\
Example:
  kafka_consumer resume --config config.yaml

Exit codes:
  0  resumed, or was not paused
  1  the file cannot be removed
  2  the command line or the configuration is wrong, or has no kill_switch_file";

#[derive(Debug, Args)]
pub(super) struct Filter {
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

const TEST: &str = "\
A file holds tests: a record, the clock, and what is expected. Records of one test follow one another under `steps`, and what
conditions remember is kept between them. config/rules.test.yaml shows every key.

  tests:
    - name: a critical oozie alert is remediated
      at: 2026-03-14T15:30:00Z           # the time of the record itself when not given
      record: {id: i, active: true, ...} # or file: NAME, beside this file
      expect:
        condition: oozie_failures        # or none
        actions: [announce, remediate]   # in order, of those that are begun when all goes well
        why_not: {many_hosts_down: severity}     # a text that a reason contains

Example:
  kafka_consumer test --config config/config.yaml config/rules.test.yaml --junit rules.xml

Exit codes:
  0  every test passed
  1  a test failed, or a file cannot be read or written
  2  the command line, the configuration or a file of tests is wrong";

const REPLAY: &str = "\
Each record is decided at its own time: that of the record, else its updatedOn. An episode counts once, however often its
incident was published. Fallbacks are left out, because they depend on what fails. Conditions that look back remember the records
that are replayed and nothing before them.

A topic is read without a group, up to the ends that its partitions have at the start, so no consumer notices; the records of
different partitions come as the brokers send them.

Example:
  kafka_consumer replay --source sre.jsonl --from 2h --rules candidate.yaml --config config.yaml
  kafka_consumer replay --source topic --from 1d --to 2h --output json --config config.yaml

Exit codes:
  0  decided, and nothing differs
  1  a file or the topic cannot be read
  2  the command line, the configuration or the candidate rules are wrong
  3  decided, and something differs: the candidate decides otherwise, or something else was done";

const HISTORY: &str = "\
Example:
  kafka_consumer history list --outcome held --from 1d --config config.yaml

Exit codes are told by each command's own --help.";

const DEAD_LETTER: &str = "\
Example:
  kafka_consumer dead-letter list --config config.yaml

Exit codes are told by each command's own --help.";

const VERIFY: &str = "\
Example:
  kafka_consumer history verify march.jsonl

Exit codes:
  0  it is whole
  1  it was changed, or cannot be read
  2  the command line is wrong";

const LETTERS: &str = "\
Exit codes:
  0  done
  1  there is no such file or letter, or it cannot be read
  2  the command line or the configuration is wrong";

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

/// Parts of `history`.
#[derive(Debug, Subcommand)]
pub(super) enum History {
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
pub(super) struct How {
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

/// Parts of `dead-letter`.
#[derive(Debug, Subcommand)]
pub(super) enum DeadLetter {
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

Producing back to Kafka is not available yet: --out writes the accepted values as JSON lines.

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

/// Does what is asked, and tells why when it cannot.
pub(super) fn run(tool: Tool, options: &Options) -> ExitCode {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let answer = answer(tool, options, &mut out).and_then(|told| {
        out.flush()?;
        Ok(told)
    });
    match answer {
        Ok(told) => told.into(),
        Err(refused) => {
            // Nobody is left to tell when the terminal is gone.
            let _ = writeln!(std::io::stderr(), "kafka_consumer: {refused}");
            ExitCode::from(&refused)
        }
    }
}

fn answer(tool: Tool, options: &Options, out: &mut dyn std::io::Write) -> Answer {
    match tool {
        Tool::Explain { record, at, said } => tools::explain(options, &record, at, said.form(), out),
        Tool::Test { files, junit, said } => tools::test(options, &files, junit.as_deref(), said.form(), out),
        Tool::Replay { source, from, to, rules, no_ledger, show, said } => {
            let asked = Replay { source, from, to, rules, ledger: !no_ledger, shown: show };
            tools::replay(options, &asked, said.form(), out)
        }
        Tool::History(History::List { filter, said }) => tools::list(options, &filter.into(), said.form(), out),
        Tool::History(History::Show { key, said }) => tools::show(options, &key, said.form(), out),
        Tool::History(History::Export { filter }) => tools::export(options, &filter.into(), out),
        Tool::History(History::Import { file, utc_offset, said }) => {
            tools::import(options, &file, utc_offset, said.form(), out)
        }
        Tool::History(History::Verify { file }) => tools::verify(&file, out),
        Tool::History(History::Settle { key, how, who, why }) => {
            let how = match (how.succeeded, how.retry) {
                (true, _) => Settle::Succeeded,
                (false, true) => Settle::Retry,
                (false, false) => Settle::Failed,
            };
            tools::settle(options, &key, how, &who, &why, out)
        }
        Tool::DeadLetter(DeadLetter::List { said }) => tools::letters(options, said.form(), out),
        Tool::DeadLetter(DeadLetter::Show { number, said }) => tools::letter(options, number, said.form(), out),
        Tool::DeadLetter(DeadLetter::Redrive { files, out: accepted, said }) => {
            tools::redrive(options, &files, accepted.as_deref(), said.form(), out)
        }
        Tool::Reset { what, who, why } => tools::reset(options, what.into(), &who, &why, out),
        Tool::Pause { what, why } => tools::pause(options, &what.into(), why.as_deref(), out),
        Tool::Resume { what } => tools::resume(options, &what.into(), out),
    }
}
