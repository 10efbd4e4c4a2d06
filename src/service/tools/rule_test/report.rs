//! How the tests went, as text for people or one JSON object for programs.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::condition::{Branch, Coverage, Covered};
use crate::service::check::count;
use crate::yaml::Position;

use super::run::Failure;

/// Everything there is to tell.
pub(super) struct Report {
    pub(super) files: Vec<OfFile>,
    pub(super) coverage: Coverage,
}

/// The tests of one file.
pub(super) struct OfFile {
    pub(super) file: PathBuf,
    pub(super) tests: Vec<Tested>,
}

/// One test that was run.
pub(super) struct Tested {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) failures: Vec<Failure>,
}

impl OfFile {
    pub(super) fn failed(&self) -> usize {
        self.tests.iter().filter(|test| !test.failures.is_empty()).count()
    }
}

impl Report {
    pub(super) fn failed(&self) -> usize {
        self.files.iter().map(OfFile::failed).sum()
    }

    pub(super) fn tests(&self) -> usize {
        self.files.iter().map(|file| file.tests.len()).sum()
    }

    pub(super) fn text(&self, colour: bool, out: &mut dyn Write) -> io::Result<()> {
        let paint = |text: &str, code: &str| {
            if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        for OfFile { file, tests } in &self.files {
            writeln!(out, "{}", file.display())?;
            for test in tests {
                let (word, code) = if test.failures.is_empty() { ("ok  ", "32") } else { ("FAIL", "31") };
                writeln!(out, "  {} {}", paint(word, code), test.name)?;
                for Failure { at, what } in &test.failures {
                    let mut lines = what.lines();
                    writeln!(out, "       line {}: {}", at.line, lines.next().unwrap_or_default())?;
                    lines.try_for_each(|line| writeln!(out, "         {line}"))?;
                }
            }
        }
        let (tests, failed) = (self.tests(), self.failed());
        let failed = if failed == 0 { "none failed".to_owned() } else { format!("{failed} failed") };
        writeln!(out, "{}, {failed}", count(tests, "test"))?;
        self.coverage(out)
    }

    /// The conditions with what no test has shown of them.
    fn coverage(&self, out: &mut dyn Write) -> io::Result<()> {
        let list = &self.coverage.conditions;
        let matched = list.iter().filter(|covered| covered.matched > 0).count();
        let branches: usize = list.iter().map(|covered| covered.branches.len()).sum();
        let covered: usize = list.iter().map(Covered::covered).sum();
        let of = count(list.len(), "condition");
        writeln!(out, "\ncoverage: {matched} of {of} matched, {covered} of {branches} tests in them seen both ways")?;
        let width = list.iter().map(|covered| covered.name.chars().count()).max().unwrap_or(0).max(9);
        writeln!(out, "  {:width$} {:>8} {:>11} {:>9}", "condition", "matched", "passed over", "branches")?;
        for one in list {
            let branches = format!("{}/{}", one.covered(), one.branches.len());
            writeln!(out, "  {:width$} {:8} {:11} {branches:>9}", one.name, one.matched, one.passed_over)?;
            for branch in one.branches.iter().filter(|branch| !branch.is_covered()) {
                writeln!(out, "    {}: {}", lacking(branch), branch.test)?;
            }
        }
        Ok(())
    }

    pub(super) fn json(&self) -> Value {
        let failure =
            |failure: &Failure| json!({"line": failure.at.line, "column": failure.at.column, "what": failure.what});
        let test = |test: &Tested| {
            let failures: Vec<_> = test.failures.iter().map(failure).collect();
            json!({"name": test.name, "line": test.at.line, "passed": failures.is_empty(), "failures": failures})
        };
        let file = |of: &OfFile| {
            let tests: Vec<_> = of.tests.iter().map(test).collect();
            json!({"file": of.file.display().to_string(), "tests": tests})
        };
        let branch = |branch: &Branch| json!({"test": branch.test, "held": branch.held, "failed": branch.failed});
        let condition = |one: &Covered| {
            let branches: Vec<_> = one.branches.iter().map(branch).collect();
            json!({
                "condition": one.name,
                "matched": one.matched,
                "passed_over": one.passed_over,
                "branches": branches,
            })
        };
        json!({
            "tests": self.tests(),
            "failed": self.failed(),
            "files": self.files.iter().map(file).collect::<Vec<_>>(),
            "coverage": self.coverage.conditions.iter().map(condition).collect::<Vec<_>>(),
        })
    }
}

fn lacking(branch: &Branch) -> &'static str {
    match (branch.held, branch.failed) {
        (false, false) => "never asked",
        (false, true) => "never true",
        (true, _) => "always true",
    }
}
