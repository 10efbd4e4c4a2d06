//! The kill switches as files: one for everything, and beside it one per condition and per action.
//!
//! A file is atomic, needs no running process, survives a restart, and is looked at right before every attempt. Its text
//! is the reason. `PAUSED` stops all; `PAUSED.condition.NAME` and `PAUSED.action.NAME` stop one rule.

use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What a kill switch stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// One condition, by its name.
    Condition(String),
    /// One action, by its name.
    Action(String),
}

impl Scope {
    /// The file of this switch, given the one that stops everything. What a file name should not hold is written as `%` and
    /// two hexadecimal digits.
    pub fn file(&self, all: &Path) -> PathBuf {
        let (kind, name) = match self {
            Self::All => return all.to_path_buf(),
            Self::Condition(name) => ("condition", name),
            Self::Action(name) => ("action", name),
        };
        let mut file = all.as_os_str().to_owned();
        file.push(format!(".{kind}.{}", escaped(name)));
        PathBuf::from(file)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Condition(name) => write!(f, "condition `{name}`"),
            Self::Action(name) => write!(f, "action `{name}`"),
        }
    }
}

/// A switch that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engaged {
    /// What it stops.
    pub scope: Scope,
    /// What its file says.
    pub reason: String,
}

impl fmt::Display for Engaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is paused: {}", self.scope, self.reason)
    }
}

fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_has_a_file_of_its_own_and_no_name_leaves_the_directory() {
        let all = Path::new("/data/PAUSED");
        assert_eq!(Scope::All.file(all), all);
        assert_eq!(Scope::Condition("oozie_1".into()).file(all), Path::new("/data/PAUSED.condition.oozie_1"));
        assert_eq!(Scope::Action("../a b".into()).file(all), Path::new("/data/PAUSED.action.%2e%2e%2fa%20b"));
    }
}
