//! How the process ends.

use std::fmt::Display;
use std::process::ExitCode;

/// The three ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Stopped as asked, everything settled: 0.
    Stopped,
    /// Cannot go on; the last line says why: 1.
    Failed,
    /// The configuration is wrong; starting again will not help: 2.
    WrongConfiguration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Stopped => Self::SUCCESS,
            Exit::Failed => Self::FAILURE,
            Exit::WrongConfiguration => Self::from(2),
        }
    }
}

/// Why the service cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Starting again may help, or an operator must look.
    #[error("{0}")]
    Fatal(String),
    /// Starting again will not help.
    #[error("{0}")]
    WrongConfiguration(String),
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Fatal(_) => Exit::Failed,
            Self::WrongConfiguration(_) => Exit::WrongConfiguration,
        }
    }
}

/// A failure that is told by its text.
pub(super) fn fatal(why: impl Display) -> Failure {
    Failure::Fatal(why.to_string())
}
