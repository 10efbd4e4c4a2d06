//! `test`: records that are written down with what the rules must make of them.
//!
//! The rules are those of the configuration, and they decide as the service does: the same conditions, the same memory, the same
//! plan. Promised: every mistake of a file is told with its place before a test is run; nothing is begun, and the clock is the
//! test's. What a file holds is read in [`file`], held against the rules in [`run`], and told in [`report`] and [`junit`].

mod file;
mod junit;
mod report;
mod run;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::condition::Coverage;
use crate::incident::Limits;
use crate::service::check::InFile;
use crate::yaml::{self, Mistakes};

use self::file::{RuleTest, Surroundings};
use self::report::{OfFile, Report, Tested};
use self::run::run;
use super::{Answer, Form, Options, Refused, Told, cannot, loaded};

/// Runs the tests of some files. [`Told::No`]: a test failed. `junit` is where the same is written for a CI system.
pub fn test(options: &Options, files: &[PathBuf], junit: Option<&Path>, form: Form, out: &mut dyn Write) -> Answer {
    let rules = loaded(options)?;
    let limits = Limits { bytes: rules.config.limits.max_record_bytes, ..Limits::default() };
    let surroundings = Surroundings { conditions: &rules.conditions, actions: &rules.actions, limits };
    let (mut read, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        match tests_of(file, &surroundings)? {
            Ok(tests) => read.push((file, tests)),
            Err(mistakes) => wrong.extend(mistakes),
        }
    }
    if !wrong.is_empty() {
        return Err(Refused::Wrong(wrong.join("\n")));
    }
    let mut coverage = Coverage::of(&rules.conditions);
    let of_file = |(file, tests): (&PathBuf, Vec<RuleTest>)| OfFile {
        file: file.clone(),
        tests: tests
            .into_iter()
            .map(|test| Tested {
                failures: run(&test, &rules.conditions, &rules.actions, &mut coverage),
                name: test.name,
                at: test.at,
            })
            .collect(),
    };
    let files = read.into_iter().map(of_file).collect();
    let report = Report { files, coverage };
    if let Some(file) = junit {
        fs::write(file, junit::document(&report))
            .map_err(|error| cannot(format_args!("{} cannot be written: {error}", file.display())))?;
    }
    if form.json {
        writeln!(out, "{}", report.json())?;
    } else {
        report.text(form.colour, out)?;
    }
    Ok(if report.failed() == 0 { Told::Yes } else { Told::No })
}

/// The tests of a file, or what is wrong with it, a line for each mistake.
fn tests_of(file: &Path, surroundings: &Surroundings<'_>) -> Result<Result<Vec<RuleTest>, Vec<String>>, Refused> {
    let text =
        fs::read_to_string(file).map_err(|error| cannot(format_args!("{} cannot be read: {error}", file.display())))?;
    let mistakes = Mistakes::default();
    let folder = file.parent().unwrap_or(Path::new(""));
    let tests = yaml::parse(&text, &mistakes).map(|root| file::read(&root, folder, surroundings, &mistakes));
    let wrong: Vec<_> = mistakes.all().iter().map(|mistake| InFile(file, mistake, "").to_string()).collect();
    Ok(if wrong.is_empty() { Ok(tests.unwrap_or_default()) } else { Err(wrong) })
}
