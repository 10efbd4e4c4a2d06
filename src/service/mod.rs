//! The life of the service: start, run, drain.

mod exit;
mod options;
mod stop;

pub use exit::Exit;
pub use options::{CONFIG_PATH, Chosen, ConfigPath, Options};
