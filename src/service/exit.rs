//! How the process ends.

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
