//! The tools of a person at a terminal: they look, rehearse and settle. None of them touches a target.
//!
//! Each is a function from what was asked to text on `out` and a [`Told`]. Absent: the command line (see `cli`), and any way
//! to a target: nothing here can build a `Network`. Only `replay` reads from Kafka, without a group.

mod asked;
mod books;
mod clock;
mod explain;
mod history;
mod import;
mod letters;
mod pause;
mod replay;
mod reset;
mod rule_test;

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

pub(super) use clock::time;
pub use clock::{moment, offset};
pub use explain::explain;
pub(super) use history::detail;
pub use history::{Look, export, list, settle, show, verify};
pub use import::import;
pub use letters::{letter, letters, redrive};
pub use pause::{pause, resume};
pub use replay::{Replay, Source, replay};
pub use reset::reset;
pub use rule_test::test;

pub use super::settlement::Settle;
pub use crate::guard::Which;
pub use crate::guard::switch::Scope;

use super::load::{Loaded, load};
use super::options::Options;
use crate::plan::Stage;

/// How a tool answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// As JSON, for programs.
    pub json: bool,
    /// With colours, for a terminal.
    pub colour: bool,
}

/// How a tool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Done, and the answer is yes: 0.
    Yes,
    /// Done, and the answer is no (it is damaged, it failed): 1.
    No,
    /// `explain`: no condition matches; `replay`: something differs: 3.
    Differs,
}

/// Why a tool could not do as asked: what, where, what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It cannot be done here and now: 1.
    #[error("{0}")]
    Cannot(String),
    /// The configuration, or a file that is written by hand, is wrong: 2.
    #[error("{0}")]
    Wrong(String),
}

/// What every tool returns.
pub type Answer = Result<Told, Refused>;

impl From<Told> for ExitCode {
    fn from(told: Told) -> Self {
        Self::from(match told {
            Told::Yes => 0,
            Told::No => 1,
            Told::Differs => 3,
        })
    }
}

impl From<&Refused> for ExitCode {
    fn from(refused: &Refused) -> Self {
        Self::from(match refused {
            Refused::Cannot(_) => 1,
            Refused::Wrong(_) => 2,
        })
    }
}

impl From<io::Error> for Refused {
    /// Only writes to `out` come here; files are named where they are opened.
    fn from(error: io::Error) -> Self {
        Self::Cannot(format!("the answer cannot be written: {error}"))
    }
}

fn cannot(why: impl Display) -> Refused {
    Refused::Cannot(why.to_string())
}

fn loaded(options: &Options) -> Result<Loaded, Refused> {
    load(options).map_err(|error| Refused::Wrong(error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, Refused> {
    let file = |error| cannot(format_args!("{} cannot be read: {error}", path.display()));
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::stdin().lock(), &mut bytes).map_err(file)?;
        return Ok(bytes);
    }
    std::fs::read(path).map_err(file)
}

fn stage(stage: Stage) -> String {
    match stage {
        Stage::Incident => "incident".to_owned(),
        Stage::Alert(alert) => format!("alert {alert}"),
        Stage::AlertFallback(alert) => format!("alert {alert} fallback"),
        Stage::IncidentFallback => "incident fallback".to_owned(),
        Stage::Escalation => "escalation".to_owned(),
        Stage::Assign | Stage::Split | Stage::Resolve | Stage::Unassign => "flow".to_owned(),
    }
}
