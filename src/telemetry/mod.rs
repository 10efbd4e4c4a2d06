//! Logs, metrics and panics: what the process says about itself.
//!
//! | file | what |
//! |---|---|
//! | `logs` | the subscriber: spans' fields are carried into every line of theirs |
//! | `line` | one event as one line, JSON or the predecessor's form |
//! | `sink` | where lines go: standard output, and a file when one is configured |
//! | `rotate` | that file, and the older ones beside it |
//! | `scrub` | registered secret values never leave the process in a line |
//! | `metrics` | the table of metrics, and their text form |
//! | `panics` | a panic anywhere is logged and ends the process with its cause |
//!
//! Nothing of ours is imported here; others hand over plain values.

pub mod emf;
mod line;
mod logs;
pub mod metrics;
mod panics;
mod rotate;
mod scrub;
mod sink;

pub use line::Format;
pub use logs::{Level, LogSettings, LogsError, ParseLevelError, Traces, lines_lost, start};
pub use panics::Panics;
pub use rotate::Rotation;
pub use scrub::{Scrubber, scrubber};
