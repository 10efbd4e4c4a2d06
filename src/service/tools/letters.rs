//! `dead-letter`: what could not be parsed, and whether it could be now.
//!
//! Absent: producing back to Kafka. Accepted values are written as JSON lines, for `replay` or another producer.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::condition::Decision;
use crate::config::DeadLetter as Setting;
use crate::dead_letter::{self, DeadLetter};
use crate::incident::{Incident, Limits};
use crate::pipeline::wall_clock_ms;

use super::{Answer, Form, Options, Refused, Told, cannot, loaded, time};

/// Lists the letters of the configured file.
pub fn letters(options: &Options, form: Form, out: &mut dyn Write) -> Answer {
    let file = configured(options)?;
    for (index, letter) in of(&file)?.iter().enumerate() {
        let number = index.saturating_add(1);
        if form.json {
            writeln!(out, "{}", json!({"number": number, "letter": letter}))?;
        } else {
            let DeadLetter { topic, partition, offset, timestamp_ms, reason, .. } = letter;
            writeln!(out, "{number:5} {} {topic}/{partition}@{offset} {reason}", time(*timestamp_ms))?;
        }
    }
    Ok(Told::Yes)
}

/// Shows one letter, counted from 1 as `list` counts, with its value.
pub fn letter(options: &Options, number: usize, form: Form, out: &mut dyn Write) -> Answer {
    let file = configured(options)?;
    let letters = of(&file)?;
    let found = number.checked_sub(1).and_then(|index| letters.get(index)).ok_or_else(|| {
        cannot(format_args!("{} holds {} letters, none with number {number}", file.display(), letters.len()))
    })?;
    if form.json {
        writeln!(out, "{}", json!({"number": number, "letter": found}))?;
        return Ok(Told::Yes);
    }
    writeln!(out, "record  {}/{}@{}", found.topic, found.partition, found.offset)?;
    writeln!(out, "time    {}\nreason  {}", time(found.timestamp_ms), found.reason)?;
    for (name, bytes) in [("key", &found.key_base64), ("value", &found.value_base64)] {
        match bytes {
            // A record may hold what moves a terminal's cursor.
            Some(bytes) => writeln!(out, "{name:7} {}", String::from_utf8_lossy(bytes).escape_debug())?,
            None => writeln!(out, "{name:7} none")?,
        }
    }
    Ok(Told::Yes)
}

/// Reads the letters of some files (the configured one when none is named) anew, with the present configuration, and says what
/// would happen to each; the values that are incidents now go to `accepted`, one a line. [`Told::No`]: not all of them are.
pub fn redrive(
    options: &Options,
    files: &[PathBuf],
    accepted: Option<&Path>,
    form: Form,
    out: &mut dyn Write,
) -> Answer {
    let rules = loaded(options)?;
    let files = if files.is_empty() { vec![configured(options)?] } else { files.to_vec() };
    let failed = |path: &Path, error| cannot(format_args!("{} cannot be written: {error}", path.display()));
    let mut sink = match accepted {
        Some(path) => Some((path, File::create_new(path).map_err(|error| failed(path, error))?)),
        None => None,
    };
    let limits = Limits { bytes: rules.config.limits.max_record_bytes, ..Limits::default() };
    let now = wall_clock_ms().div_euclid(1000);
    let mut told = Told::Yes;
    for file in &files {
        for letter in of(file)? {
            let value = letter.value_base64.as_deref().unwrap_or_default();
            let place = format!("{}/{}@{}", letter.topic, letter.partition, letter.offset);
            let (verdict, detail) = match Incident::parse_within(value, &limits) {
                Ok(incident) => {
                    if let Some((path, sink)) = &mut sink {
                        sink.write_all(&one_line(value)).map_err(|error| failed(path, error))?;
                    }
                    let Decision { matched, undecided, seen: _ } = rules.conditions.decide(&incident, now);
                    match (matched, undecided) {
                        (Some(matched), _) => ("matches", matched.condition.name.clone()),
                        (None, Some(undecided)) => {
                            told = Told::No;
                            ("refused", undecided.to_string())
                        }
                        (None, None) => ("no match", format!("incident {}", incident.id)),
                    }
                }
                Err(error) => {
                    told = Told::No;
                    ("refused", error.to_string())
                }
            };
            if form.json {
                writeln!(out, "{}", json!({"record": place, "verdict": verdict, "detail": detail}))?;
            } else {
                writeln!(out, "{place} {verdict}: {detail}")?;
            }
        }
    }
    if let Some((path, sink)) = &sink {
        sink.sync_all().map_err(|error| failed(path, error))?;
    }
    Ok(told)
}

/// JSON has line ends only between tokens.
fn one_line(value: &[u8]) -> Vec<u8> {
    let space = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
    value.iter().map(space).chain([b'\n']).collect()
}

fn of(file: &Path) -> Result<Vec<DeadLetter>, Refused> {
    match dead_letter::read(file) {
        Ok((letters, _torn)) => Ok(letters),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(cannot(format_args!("there is no dead letter file {}: nothing was refused so far", file.display())))
        }
        Err(error) => Err(cannot(format_args!("{} cannot be read: {error}", file.display()))),
    }
}

fn configured(options: &Options) -> Result<PathBuf, Refused> {
    match loaded(options)?.config.dead_letter {
        Setting::File(path) => Ok(path),
        Setting::Topic(topic) => Err(cannot(format_args!(
            "dead letters go to the topic {topic}, not to a file; these tools do not touch Kafka. Read it with \
             kafka-console-consumer.sh --topic {topic} --from-beginning --property print.headers=true \
             (topic, partition, offset, timestamp_ms and reason are headers), or name files of letters to redrive"
        ))),
    }
}
