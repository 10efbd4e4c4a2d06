//! `replay`: records of the past decided again, by the current rules and by candidates, beside what was really done.
//!
//! Promised: nothing is begun. No executor, no `Network` and no consumer group exist here, and the ledger is only read.
//! What is counted and why is told in [`rehearsal`]; which lines of a file are understood, in [`input`]; how a topic is read, in
//! [`topic`].

mod compare;
mod input;
mod rehearsal;
mod report;
mod topic;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::Mode;
use crate::incident::Limits;
use crate::ledger::{EpisodeKey, State};
use crate::pipeline::wall_clock_ms;
use crate::service::load::{Loaded, candidate};

use self::compare::{Comparison, compare};
use self::rehearsal::{Fired, Rehearsal, Rules, Tally};
use self::report::Report;
use super::books::Books;
use super::{Answer, Form, Look, Options, Refused, Told, cannot, loaded};

/// The longest line that is read, over the limit for a record: base64 and an envelope take room.
const ENVELOPE_FACTOR: usize = 2;

/// Where the records are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the topics of the configuration.
    Topic,
    /// In a file of JSON lines; `-` for standard input.
    File(PathBuf),
}

impl From<OsString> for Source {
    /// The word `topic`, or a file.
    fn from(text: OsString) -> Self {
        if text == "topic" { Self::Topic } else { Self::File(PathBuf::from(text)) }
    }
}

/// What is to be replayed.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Where the records are.
    pub source: Source,
    /// Decided at this time or later, seconds since the epoch.
    pub from: Option<i64>,
    /// Decided before this time.
    pub to: Option<i64>,
    /// Other rules to decide by.
    pub rules: Option<PathBuf>,
    /// Whether what was done is looked up.
    pub ledger: bool,
    /// How many lines of each list of differences are told.
    pub shown: usize,
}

/// Replays. [`Told::Differs`]: the candidate decides otherwise, or the ledger says something else was done.
pub fn replay(options: &Options, asked: &Replay, form: Form, out: &mut dyn Write) -> Answer {
    let rules = loaded(options)?;
    let candidate = asked.rules.as_deref().map(|file| candidate_of(file, &rules)).transpose()?;
    let limits = Limits { bytes: rules.config.limits.max_record_bytes, ..Limits::default() };
    let shadow = rules.config.mode == Mode::Shadow;
    let current = Rules::new(rules.conditions, rules.actions, shadow);
    let now_s = wall_clock_ms().div_euclid(1000);
    let mut rehearsal = Rehearsal::new(current, candidate, limits, (asked.from, asked.to), now_s);
    let source = match &asked.source {
        Source::Topic => topic::read(&rules.config, asked.from, &mut rehearsal)?,
        Source::File(file) => of_file(file, limits.bytes, &mut rehearsal)?,
    };
    let tally = rehearsal.tally;
    let compared = if asked.ledger { compared(options, &tally) } else { Err("it was not asked for".to_owned()) };
    let (comparison, name) = match compared {
        Ok((comparison, name)) => (Ok(comparison), name),
        Err(why) => (Err(why), String::new()),
    };
    let report = Report {
        source: &source,
        tally: &tally,
        ledger: comparison.as_ref().map_err(String::as_str),
        ledger_name: &name,
        shown: asked.shown,
    };
    if form.json {
        writeln!(out, "{}", report.json())?;
    } else {
        report.text(out)?;
    }
    let differs = !tally.moved.is_empty() || comparison.is_ok_and(|comparison| comparison.differs());
    Ok(if differs { Told::Differs } else { Told::Yes })
}

fn candidate_of(file: &Path, current: &Loaded) -> Result<Rules, Refused> {
    let (conditions, actions) = candidate(file, current).map_err(Refused::Wrong)?;
    Ok(Rules::new(conditions, actions, current.config.mode == Mode::Shadow))
}

/// Every line of a file, a progress bar on a terminal.
fn of_file(path: &Path, record_bytes_max: usize, rehearsal: &mut Rehearsal) -> Result<String, Refused> {
    let unreadable = |error| cannot(format_args!("{} cannot be read: {error}", path.display()));
    let (bar, mut reader) = open(path).map_err(unreadable)?;
    let longest = record_bytes_max.saturating_mul(ENVELOPE_FACTOR);
    let (mut line, mut number) = (Vec::new(), 0_u64);
    loop {
        line.clear();
        let most = u64::try_from(longest).unwrap_or(u64::MAX);
        let read = io::Read::take(&mut reader, most).read_until(b'\n', &mut line).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        number = number.saturating_add(1);
        if read >= longest && line.last() != Some(&b'\n') {
            let why = format_args!(
                "{}: line {number} is longer than {longest} bytes (limits.max_record_bytes)",
                path.display()
            );
            return Err(cannot(why));
        }
        let item = input::item(&line, number).map_err(|why| cannot(format_args!("{}: {why}", path.display())))?;
        if let Some(item) = item {
            rehearsal.see(&item);
        }
        bar.inc(u64::try_from(read).unwrap_or(0));
    }
    bar.finish_and_clear();
    Ok(path.display().to_string())
}

fn open(path: &Path) -> io::Result<(ProgressBar, Box<dyn io::BufRead>)> {
    if path.as_os_str() == "-" {
        return Ok((progress(None), Box::new(BufReader::new(io::stdin()))));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((progress(Some(size)), Box::new(BufReader::new(file))))
}

/// On standard error, and only where that is a terminal.
fn progress(bytes: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr());
    let known = "replaying {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
    let style = ProgressStyle::with_template(if bytes.is_some() {
        known
    } else {
        "replaying {spinner} {bytes} {bytes_per_sec}"
    });
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What the ledger says of the replayed time; or why it cannot be asked.
fn compared(options: &Options, tally: &Tally) -> Result<(Comparison, String), String> {
    let books = Books::open(options).map_err(|why| why.to_string())?;
    let known = known(&books, tally).map_err(|why| why.to_string())?;
    Ok((compare(&tally.current, &known), books.name()))
}

/// The episodes of the ledger that matter here: those that would be begun, and those that were begun in that time.
fn known(books: &Books, tally: &Tally) -> Result<BTreeMap<EpisodeKey, (State, bool)>, Refused> {
    let fired: &Fired = &tally.current;
    let mut known = BTreeMap::new();
    books.each(&Look::default(), &mut |episode| {
        let begun = Some(episode.first_ms);
        let in_time = begun >= tally.first_ms && begun <= tally.last_ms && tally.first_ms.is_some();
        if in_time || fired.episodes.contains_key(&episode.key) {
            known.insert(episode.key, (episode.state, in_time));
        }
        ControlFlow::Continue(())
    })?;
    Ok(known)
}
