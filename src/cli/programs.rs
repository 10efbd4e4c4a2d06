//! The programs of the container, chosen by the name the binary is called by. Each is a line of text and an exit code.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use crate::container::{self, Program, RuntimeDir, StartError, StartPlan, Stopped, Verdict};
use crate::service::{self, Options};

/// How long certificate and key are waited for, unless `START_PATIENCE` says otherwise.
const CERTIFICATE_PATIENCE: Duration = Duration::from_mins(5);
/// How often they are looked for, unless `START_LOOK_EVERY` says otherwise.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the service may take to drain, unless `PRESTOP_PATIENCE` says otherwise; the pod's grace period is twice that.
const DRAIN_PATIENCE: Duration = Duration::from_mins(1);

/// `app_liveness` and `app_readiness`: no configuration, no network, no waiting.
pub(super) fn probe(program: Program, dir: &RuntimeDir) -> ExitCode {
    let verdict = if program == Program::Readiness { container::readiness(dir) } else { container::liveness(dir) };
    match verdict {
        Verdict::Pass(line) => say(&line, ExitCode::SUCCESS),
        Verdict::Fail(line) => say(&line, ExitCode::FAILURE),
    }
}

/// `app_prestop`.
pub(super) fn prestop(dir: &RuntimeDir) -> ExitCode {
    let patience = seconds("PRESTOP_PATIENCE", DRAIN_PATIENCE);
    match container::stop(dir, patience) {
        Stopped::Ended { after } => {
            say(&format!("kafka_consumer process ended after {} s.", after.as_secs()), ExitCode::SUCCESS)
        }
        Stopped::NotRunning { why } => say(&format!("Nothing to stop: {why}."), ExitCode::SUCCESS),
        Stopped::StillRunning { pid } => {
            let seconds = patience.as_secs();
            say(&format!("kafka_consumer process (PID: {pid}) still runs after {seconds} s."), ExitCode::FAILURE)
        }
    }
}

/// `app_start`: checks, waits for what must be there, runs the service as a child and ends as it does.
pub(super) fn start(options: &Options, arguments: Vec<OsString>) -> ExitCode {
    let wait_for = match service::files_to_wait_for(options) {
        Ok(files) => files,
        Err(checked) => return say(&checked.to_string(), ExitCode::from(2)),
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return say(&format!("app_start: its own path is unknown: {error}"), ExitCode::FAILURE),
    };
    let plan = StartPlan {
        wait_for,
        patience: seconds("START_PATIENCE", CERTIFICATE_PATIENCE),
        look_every: seconds("START_LOOK_EVERY", LOOK_EVERY),
        program,
        arguments: [OsString::from("run")].into_iter().chain(arguments).collect(),
        runtime: options.runtime_dir.clone(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return say(&format!("app_start: the runtime cannot start: {error}"), ExitCode::FAILURE),
    };
    let told = |line: &str| {
        say(&format!("app_start: {line}"), ExitCode::SUCCESS);
    };
    match runtime.block_on(container::start(&plan, told)) {
        Ok(code) => ExitCode::from(code),
        // The platform wished it, before anything ran: that is a good end.
        Err(error @ StartError::Asked) => say(&format!("app_start: {error}"), ExitCode::SUCCESS),
        Err(error) => say(&format!("app_start: {error}"), ExitCode::FAILURE),
    }
}

/// A variable in seconds. Nonsense counts as absent: neither a start nor a stop may fail for it.
fn seconds(variable: &str, otherwise: Duration) -> Duration {
    let given = super::environment(variable).and_then(|value| value.to_str()?.parse().ok());
    given.map_or(otherwise, Duration::from_secs)
}

fn say(line: &str, code: ExitCode) -> ExitCode {
    // Nobody is left to tell when standard output is gone.
    let _ = writeln!(std::io::stdout(), "{line}");
    code
}
