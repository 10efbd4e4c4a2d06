//! The life of the service: start, run, drain.

mod answers;
mod beating;
mod check;
mod cloudwatch;
mod doctor;
mod exit;
mod gather;
mod health;
mod heart;
mod hour;
mod kafka;
mod keys;
mod ledger_settings;
mod life;
mod load;
mod observe;
mod options;
mod page;
mod predecessor;
mod reload;
mod settlement;
mod shared_ledger;
mod stop;
mod surface;
mod tally;
pub mod tools;
mod traces;
mod unused;
mod work;

pub use check::{Checked, check};
pub use doctor::{Diagnosis, diagnose};
pub use exit::Exit;
pub use life::run;
pub use load::files_to_wait_for;
pub use options::{CONFIG_PATH, Chosen, ConfigPath, Options};

/// The settings of logs, as the command line names them.
pub use crate::telemetry::{Format as LogFormat, Level as LogLevel};
