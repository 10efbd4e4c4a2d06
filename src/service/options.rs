//! What the command line and the environment ask for, before any file is read.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::container::RuntimeDir;
use crate::telemetry::{Format, Level};

/// Where the configuration is looked for when nobody says otherwise.
pub const CONFIG_PATH: &str = "/app/config/config.yaml";

/// A configuration file and how it came to be the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigPath {
    path: PathBuf,
    chosen: Chosen,
}

/// What chose the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// `--config`.
    Flag,
    /// `CONFIG_FILE`.
    Variable,
    /// `DEFAULT_CONFIG_FILE`.
    DefaultVariable,
    /// None of them.
    BuiltIn,
}

impl ConfigPath {
    /// Flag over `CONFIG_FILE` over `DEFAULT_CONFIG_FILE` over [`CONFIG_PATH`].
    pub fn choose(flag: Option<PathBuf>, variable: Option<PathBuf>, default_variable: Option<PathBuf>) -> Self {
        let with = |chosen| move |path| Self { path, chosen };
        flag.map(with(Chosen::Flag))
            .or_else(|| variable.map(with(Chosen::Variable)))
            .or_else(|| default_variable.map(with(Chosen::DefaultVariable)))
            .unwrap_or_else(|| Self { path: PathBuf::from(CONFIG_PATH), chosen: Chosen::BuiltIn })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for ConfigPath {
    /// The path and why it was this one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.chosen {
            Chosen::Flag => "named by --config",
            Chosen::Variable => "named by the variable CONFIG_FILE",
            Chosen::DefaultVariable => "named by the variable DEFAULT_CONFIG_FILE",
            Chosen::BuiltIn => {
                "the built-in default, as neither --config nor CONFIG_FILE nor DEFAULT_CONFIG_FILE is given"
            }
        };
        write!(f, "{} ({how})", self.path.display())
    }
}

/// What was asked for. A value here wins over the file's.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration file.
    pub config: ConfigPath,
    /// How much the logs say.
    pub level: Option<Level>,
    /// The form of log lines; by default text on a terminal and JSON elsewhere.
    pub format: Option<Format>,
    /// The name of this consumer: its `client.id`, and what the page is titled.
    pub consumer_name: Option<String>,
    /// `storage.backend`.
    pub storage_backend: Option<String>,
    /// The predecessor's history, to be imported before the work begins.
    pub action_history_file: Option<PathBuf>,
    /// The environment of the key server, for every key (`CKMS_ENV`).
    pub ckms_env: Option<String>,
    /// Where the PID file and the heartbeat go, for the probes.
    pub runtime_dir: RuntimeDir,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(flag: Option<&str>, variable: Option<&str>, default_variable: Option<&str>) -> String {
        let path = |text: Option<&str>| text.map(PathBuf::from);
        ConfigPath::choose(path(flag), path(variable), path(default_variable)).to_string()
    }

    #[test]
    fn the_flag_wins_over_the_variables_and_these_over_the_default() {
        assert_eq!(choose(Some("a"), Some("b"), Some("c")), "a (named by --config)");
        assert_eq!(choose(None, Some("b"), Some("c")), "b (named by the variable CONFIG_FILE)");
        assert_eq!(choose(None, None, Some("c")), "c (named by the variable DEFAULT_CONFIG_FILE)");
        assert!(choose(None, None, None).starts_with("/app/config/config.yaml (the built-in default"));
    }
}
