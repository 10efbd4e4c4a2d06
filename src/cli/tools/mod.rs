//! The tools of a person at a terminal: their flags, their help, their examples.

mod dead_letter;
mod history;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::service::Options;
use crate::service::tools::{self, Answer, Form, Replay, Scope, Source, Which};

use dead_letter::DeadLetter;
use history::History;

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
    #[command(subcommand, after_help = history::EXAMPLE)]
    History(History),
    /// Look at the records that were no incidents, and try them again
    #[command(subcommand, after_help = dead_letter::EXAMPLE)]
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
        Tool::History(history) => history.answer(options, out),
        Tool::DeadLetter(dead_letter) => dead_letter.answer(options, out),
        Tool::Reset { what, who, why } => tools::reset(options, what.into(), &who, &why, out),
        Tool::Pause { what, why } => tools::pause(options, &what.into(), why.as_deref(), out),
        Tool::Resume { what } => tools::resume(options, &what.into(), out),
    }
}
