//! The command line: flags over environment variables over the file.
//!
//! This is the only place that reads the environment. What it finds becomes [`service::Options`]; nothing is decided here.
//! The names by which a container platform calls the binary are in `programs`, what a person calls for in `tools`.

mod programs;
mod tools;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::container::{self, Program, RuntimeDir};
use crate::service::{self, ConfigPath, LogFormat, LogLevel, Options};

const EXAMPLES: &str = "\
Examples:
  kafka_consumer --config config.yaml            run the service
  kafka_consumer check --config config.yaml      say what is wrong with a configuration, and where
  kafka_consumer explain --config config.yaml record.json
                                                 say why a record matches or not, and what would be done
  CONFIG_FILE=/app/config/config.yaml LOG_LEVEL=debug kafka_consumer

Environment (a flag wins over it, and it wins over the file):
  CONFIG_FILE          the configuration file
  DEFAULT_CONFIG_FILE  the configuration file when CONFIG_FILE is not set (default: /app/config/config.yaml)
  LOG_LEVEL            trace, debug, info, warning or error (default: info)
  LOG_FORMAT           json or text (default: text on a terminal, json elsewhere)
  CONSUMER_NAME        the name of this consumer (client.id)
  STORAGE_BACKEND      storage.backend
  ACTION_HISTORY_FILE  the predecessor's history, imported at start as by history import
  CKMS_ENV             the environment of the key server, for every secret that it holds (default: aws)
  RUNTIME_DIR          where the PID file and the heartbeat of the probes go (default: /var/run/kafka_consumer)

Called as app_start, app_liveness, app_readiness, app_prestop or app_configure it is that program of the container.
Their variables, in seconds: START_PATIENCE (300), START_LOOK_EVERY (5), PRESTOP_PATIENCE (60)

Exit codes:
  0  stopped as asked; or, for check, the configuration is valid
  1  cannot go on: the last line says why
  2  the command line or the configuration is wrong";

/// Consumes BigPanda incidents from Kafka and runs their automated remediation once, with a durable record.
#[derive(Debug, Parser)]
#[command(name = "kafka_consumer", version, after_help = EXAMPLES, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Shared {
    /// The configuration file
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// How much the logs say: trace, debug, info, warning or error
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<LogLevel>,
    /// The form of log lines: json, or text as `[PID][LEVEL][TIMESTAMP][module.function][line] - message`
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<LogFormat>,
    /// The name of this consumer (client.id)
    #[arg(long, value_name = "NAME", global = true)]
    consumer_name: Option<String>,
    /// Where the ledger is kept (storage.backend)
    #[arg(long, value_name = "BACKEND", global = true)]
    storage_backend: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (the default)
    #[command(after_help = RUN)]
    Run,
    /// Say everything that is wrong with a configuration, each with file, line and column; touches no network
    #[command(after_help = CHECK)]
    Check {
        /// How to say it
        #[arg(long, value_enum, default_value_t)]
        output: Output,
        /// A warning is as bad as a mistake
        #[arg(long)]
        strict: bool,
    },
    /// Look at everything the service needs, layer by layer, and say where it breaks; changes nothing
    #[command(after_help = DOCTOR)]
    Doctor {
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Tool(tools::Tool),
}

const RUN: &str = "\
Example:
  kafka_consumer run --config config.yaml --log-level debug

Exit codes:
  0  stopped as asked
  1  cannot go on: the last line says why
  2  the command line or the configuration is wrong";

const CHECK: &str = "\
It warns of what is valid and probably not meant: keys without effect, conditions that can never match because an earlier one takes
whatever they would, patterns whose anchors hold for a part only or that are written for another operator, actions and secrets
that nothing uses. A condition is only said to be out of reach where that is proven.

Example:
  kafka_consumer check --config config.yaml --strict

Exit codes:
  0  the configuration is valid
  2  it is not, or the command line is wrong; with --strict also when there is a warning";

const DOCTOR: &str = "\
Example:
  kafka_consumer doctor --config config.yaml

It ends within 30 s whatever hangs. Exit codes, that of the first layer in which something is wrong:
  0   nothing is wrong
  2   configuration      14  TLS at the brokers      18  group: coordinator, committed offsets
  10  certificate, key   15  API versions            19  ledger: lock, disk, fsync
  11  secrets            16  SASL                    20  targets of actions: DNS, TCP, TLS
  12  DNS                17  topics, partitions, leaders
  13  TCP";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

/// Does what the name it is called by, the command line and the environment ask.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = Program::called(arguments.first().map_or(OsStr::new(""), OsString::as_os_str));
    match program {
        Program::Liveness | Program::Readiness => return programs::probe(program, &runtime_dir(environment)),
        Program::Prestop => return programs::prestop(&runtime_dir(environment)),
        Program::Consumer | Program::Start | Program::Configure => {}
    }
    if let Err(error) = container::forbid_core_dumps() {
        // Not worth not to run: whoever set the limits may have done so for good.
        let _ = writeln!(std::io::stderr(), "kafka_consumer: core dumps cannot be forbidden: {error}");
    }
    let parsed = Cli::try_parse_from(&arguments).and_then(|cli| Ok((options(cli.shared, environment)?, cli.command)));
    let (options, command) = match parsed {
        Ok(parsed) => parsed,
        Err(answer) => return tell(&answer),
    };
    match (program, command.unwrap_or(Command::Run)) {
        (Program::Start, _) => programs::start(&options, arguments.into_iter().skip(1).collect()),
        (Program::Configure, _) => check(&options, Output::Text, false),
        (_, Command::Run) => service::run(&options).into(),
        (_, Command::Check { output, strict }) => check(&options, output, strict),
        (_, Command::Doctor { json }) => doctor(&options, json),
        (_, Command::Tool(tool)) => tools::run(tool, &options),
    }
}

fn runtime_dir(variable: impl Fn(&str) -> Option<OsString>) -> RuntimeDir {
    variable("RUNTIME_DIR").map_or_else(RuntimeDir::default, RuntimeDir::new)
}

/// An empty variable counts as absent: that is how deployments switch one off.
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn options(flags: Shared, variable: impl Fn(&str) -> Option<OsString>) -> Result<Options, clap::Error> {
    let path = |name| variable(name).map(PathBuf::from);
    Ok(Options {
        config: ConfigPath::choose(flags.config, path("CONFIG_FILE"), path("DEFAULT_CONFIG_FILE")),
        level: or_variable(flags.log_level, "LOG_LEVEL", &variable)?,
        format: or_variable(flags.log_format, "LOG_FORMAT", &variable)?,
        consumer_name: or_variable(flags.consumer_name, "CONSUMER_NAME", &variable)?,
        storage_backend: or_variable(flags.storage_backend, "STORAGE_BACKEND", &variable)?,
        action_history_file: path("ACTION_HISTORY_FILE"),
        ckms_env: or_variable(None, "CKMS_ENV", &variable)?,
        runtime_dir: runtime_dir(&variable),
    })
}

fn or_variable<T: std::str::FromStr<Err: std::fmt::Display>>(
    flag: Option<T>,
    name: &str,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<T>, clap::Error> {
    if flag.is_some() {
        return Ok(flag);
    }
    let Some(value) = variable(name) else { return Ok(None) };
    let wrong = |why: String| Cli::command().error(ErrorKind::InvalidValue, format!("the variable {name}: {why}"));
    let text = value.into_string().map_err(|_| wrong("not UTF-8".to_owned()))?;
    text.parse().map(Some).map_err(|error: T::Err| wrong(error.to_string()))
}

/// Prints what clap has to say: help and version on standard output with exit 0, errors on standard error with exit 2.
fn tell(answer: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal is gone.
    let _ = answer.print();
    if answer.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

fn check(options: &Options, output: Output, strict: bool) -> ExitCode {
    let checked = service::check(options);
    let text = match output {
        Output::Text => checked.to_string(),
        Output::Json => checked.to_json(),
    };
    let _ = writeln!(std::io::stdout(), "{text}");
    let passes = checked.is_valid() && !(strict && checked.has_warnings());
    if passes { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

fn doctor(options: &Options, json: bool) -> ExitCode {
    let (text, code) = match service::diagnose(options) {
        Ok(found) => (if json { found.to_json() } else { found.to_string() }, found.exit_code()),
        Err(why) => (why, 1),
    };
    let _ = writeln!(std::io::stdout(), "{text}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Options, clap::Error> {
        let line = std::iter::once("kafka_consumer").chain(arguments.iter().copied()).map(OsString::from);
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        options(Cli::try_parse_from(line)?.shared, find)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_wins_over_its_variable() {
        let variables = [("CONSUMER_NAME", "of-variable"), ("STORAGE_BACKEND", "kafka"), ("CONFIG_FILE", "v.yaml")];
        let options = parse(&["--consumer-name", "of-flag", "run", "--config", "f.yaml"], &variables).expect("valid");
        assert_eq!(options.consumer_name.as_deref(), Some("of-flag"));
        assert_eq!(options.storage_backend.as_deref(), Some("kafka"));
        assert_eq!(options.config.to_string(), "f.yaml (named by --config)");
    }

    #[test]
    fn a_wrong_variable_is_named_in_the_error() {
        let error = parse(&[], &[("LOG_LEVEL", "loud")]).expect_err("no such level").to_string();
        assert!(error.contains("the variable LOG_LEVEL: `loud` is not a log level"), "{error}");
    }

    #[test]
    fn a_wrong_flag_lists_what_would_be_right() {
        let error = parse(&["--log-level", "loud"], &[]).expect_err("no such level").to_string();
        assert!(error.contains("write trace, debug, info, warning or error"), "{error}");
    }
}
