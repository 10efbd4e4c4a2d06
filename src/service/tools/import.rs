//! `history import`: what the predecessor did, so that a migration repeats nothing.

use std::io::Write;
use std::path::Path;

use jiff::tz::Offset;
use serde_json::json;

use crate::config::Backend;
use crate::pipeline::wall_clock_ms;

use super::super::predecessor;
use super::books::Held;
use super::{Answer, Form, Options, Told, cannot, loaded, read};

/// Imports the predecessor's history into the configured ledger, which is made where there is none yet. `offset_s`: the time zone
/// in which the file was written, seconds east of UTC.
pub fn import(options: &Options, file: &Path, offset_s: i32, form: Form, out: &mut dyn Write) -> Answer {
    let bytes = read(file)?;
    let config = loaded(options)?.config;
    let offset = Offset::from_seconds(offset_s).map_err(cannot)?;
    if let Backend::Kafka(topic) = &config.storage.backend {
        return Err(cannot(format_args!(
            "the ledger is the topic {}: restart a replica with ACTION_HISTORY_FILE={}",
            topic.topic,
            file.display()
        )));
    }
    // Before a ledger is made.
    predecessor::import(file, &bytes, offset, &[], wall_clock_ms()).map_err(cannot)?;
    let books = Held::open_or_create(&config)?.map_err(|holder| {
        cannot(format_args!(
            "the ledger {} is held by {holder}, and what the predecessor did has to be known before the work begins: restart the \
             service with ACTION_HISTORY_FILE={}, or stop it first",
            config.storage.path.display(),
            file.display()
        ))
    })?;
    let import = predecessor::import(file, &bytes, offset, &books.notes()?, wall_clock_ms()).map_err(cannot)?;
    let (alerts, finished, added, changed) = (import.alerts, import.finished, import.added, import.changed);
    books.note(import.notes)?;
    let known = alerts.saturating_sub(added).saturating_sub(changed);
    let unfinished = alerts.saturating_sub(finished);
    if form.json {
        let told = json!({
            "alerts": alerts, "finished": finished, "unfinished": unfinished, "added": added, "changed": changed, "known": known,
        });
        writeln!(out, "{told}")?;
    } else {
        writeln!(out, "{alerts} alerts: {added} added, {changed} with a later time, {known} known already")?;
        writeln!(out, "{finished} were finished: their episodes up to that time are skipped as done")?;
        writeln!(out, "{unfinished} were begun and not finished: should they come again, they are held for a person")?;
    }
    Ok(Told::Yes)
}
