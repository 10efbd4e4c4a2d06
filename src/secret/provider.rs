//! Where a value comes from, and why it could not be had.

use std::fmt;
use std::path::PathBuf;

/// Where the value of a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The content of a file, without the line end.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// What a program prints, without the line end: the program and its arguments, run without a shell.
    Command(Vec<String>),
    /// A key of the key server (CKMS).
    Ckms(KeyName),
}

/// A key of the key server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// The key group.
    pub group: String,
    /// The key's name in it.
    pub key: String,
    /// The key server's environment, such as `aws`.
    pub environment: String,
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} of group {} (environment {})", self.key, self.group, self.environment)
    }
}

impl Provider {
    /// The name of the kind, as in the setting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Env(_) => "env",
            Self::Command(_) => "command",
            Self::Ckms(_) => "ckms",
        }
    }

    /// Asking costs a process or the network, so a value is kept for a while.
    pub(super) fn is_costly(&self) -> bool {
        match self {
            Self::File(_) | Self::Env(_) => false,
            Self::Command(_) | Self::Ckms(_) => true,
        }
    }
}

/// Why a secret could not be had. The value never appears.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such name under `secrets:`.
    #[error("no secret named `{name}` is configured under `secrets:`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The file cannot be read.
    #[error("secret `{name}`: cannot read the file {}: {source}", path.display())]
    File {
        /// The secret's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The variable is not set, or is not text.
    #[error("secret `{name}`: the environment variable {variable} is not set")]
    Env {
        /// The secret's name.
        name: String,
        /// The variable.
        variable: String,
    },
    /// The command could not be run, failed, or took too long.
    #[error("secret `{name}`: the command `{program}` {what}")]
    Command {
        /// The secret's name.
        name: String,
        /// The program, without its arguments.
        program: String,
        /// What happened.
        what: String,
    },
    /// There is a value, but not one that can be used.
    #[error("secret `{name}`: the value from {provider} {what}")]
    Value {
        /// The secret's name.
        name: String,
        /// The kind of provider.
        provider: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The key server did not give it.
    #[error("secret `{name}`: {key} could not be fetched from CKMS: {what}")]
    Ckms {
        /// The secret's name.
        name: String,
        /// Which key.
        key: KeyName,
        /// Why, under which certificate, and what to look at.
        what: String,
    },
}
