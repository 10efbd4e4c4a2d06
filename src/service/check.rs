//! `kafka_consumer check`: what a configuration says, or everything that is wrong with it.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::yaml::Mistake;

use super::load::{LoadError, Loaded, load};
use super::options::Options;

/// What the check found.
#[derive(Debug)]
pub struct Checked {
    file: PathBuf,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Valid { summary: String, warnings: Vec<Mistake> },
    Wrong { mistakes: Vec<Mistake>, warnings: Vec<Mistake> },
    Unreadable { why: String },
}

/// Reads the configuration as the service would, and touches nothing else: no network, no ledger, no secret.
pub fn check(options: &Options) -> Checked {
    let found = match load(options) {
        Ok(loaded) => Found::Valid { summary: summary(&loaded), warnings: loaded.warnings },
        Err(LoadError::Wrong { mistakes, warnings, .. }) => Found::Wrong { mistakes, warnings },
        Err(error @ LoadError::Unreadable { .. }) => Found::Unreadable { why: error.to_string() },
    };
    Checked { file: options.config.path().to_owned(), found }
}

impl Checked {
    /// The service would start with it.
    pub fn is_valid(&self) -> bool {
        matches!(self.found, Found::Valid { .. })
    }

    /// It is valid, but something in it has no effect, or not the one that is meant.
    pub fn has_warnings(&self) -> bool {
        match &self.found {
            Found::Valid { warnings, .. } | Found::Wrong { warnings, .. } => !warnings.is_empty(),
            Found::Unreadable { .. } => false,
        }
    }

    /// The same for programs: `{"file", "valid", "mistakes": [{"line", "column", "path", "what", "nearest"}], "warnings"}`.
    pub fn to_json(&self) -> String {
        let (mistakes, warnings, error) = match &self.found {
            Found::Valid { warnings, .. } => (as_json(&[]), as_json(warnings), Value::Null),
            Found::Wrong { mistakes, warnings } => (as_json(mistakes), as_json(warnings), Value::Null),
            Found::Unreadable { why } => (as_json(&[]), as_json(&[]), why.as_str().into()),
        };
        json!({
            "file": self.file.display().to_string(),
            "valid": self.is_valid(),
            "error": error,
            "mistakes": mistakes,
            "warnings": warnings,
        })
        .to_string()
    }
}

impl fmt::Display for Checked {
    /// One line for each mistake and warning, `file:line:column: path: what`, then one that sums up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.found {
            Found::Unreadable { why } => f.write_str(why),
            Found::Valid { summary, warnings } => {
                for warning in warnings {
                    writeln!(f, "{}", InFile(&self.file, warning, "warning: "))?;
                }
                let warned =
                    if warnings.is_empty() { String::new() } else { format!(", {}", count(warnings.len(), "warning")) };
                write!(f, "{file} is valid: {summary}{warned}")
            }
            Found::Wrong { mistakes, warnings } => {
                for warning in warnings {
                    writeln!(f, "{}", InFile(&self.file, warning, "warning: "))?;
                }
                for mistake in mistakes {
                    writeln!(f, "{}", InFile(&self.file, mistake, ""))?;
                }
                write!(f, "{file} is wrong in {}", count(mistakes.len(), "place"))
            }
        }
    }
}

/// A mistake as compilers write it.
pub(super) struct InFile<'a>(pub(super) &'a std::path::Path, pub(super) &'a Mistake, pub(super) &'a str);

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(file, mistake, kind) = self;
        write!(f, "{}:", file.display())?;
        if mistake.line > 0 {
            write!(f, "{}:{}:", mistake.line, mistake.column)?;
        }
        write!(f, " {kind}")?;
        if !mistake.path.is_empty() {
            write!(f, "{}: ", mistake.path)?;
        }
        f.write_str(&mistake.what)?;
        match &mistake.nearest {
            Some(nearest) => write!(f, " (did you mean `{nearest}`?)"),
            None => Ok(()),
        }
    }
}

fn summary(loaded: &Loaded) -> String {
    let conditions = count(loaded.conditions.len(), "condition");
    format!("{conditions}, {}", count(loaded.actions.iter().count(), "action"))
}

/// A number and its noun.
pub(super) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn as_json(mistakes: &[Mistake]) -> Value {
    let one =
        |m: &Mistake| json!({"line": m.line, "column": m.column, "path": m.path, "what": m.what, "nearest": m.nearest});
    mistakes.iter().map(one).collect()
}
