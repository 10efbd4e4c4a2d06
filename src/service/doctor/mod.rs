//! `kafka_consumer doctor`: looks at everything the service needs, layer by layer, and says where it breaks and what to do.
//!
//! Promised: nothing is changed (no group is joined, no action is sent, the ledger is not opened), no secret is shown,
//! and it ends within [`DEADLINE`] whatever hangs. Absent: repair.

mod brokers;
mod ledger;
mod local;
mod report;
mod targets;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::scrubber;

use super::check::{check, count};
use super::load::{Loaded, load};
use super::options::Options;

pub use report::Diagnosis;
use report::{Finding, Layer, Outcome};

/// In all, with room for the end of the process.
const DEADLINE: Duration = Duration::from_secs(28);

/// Looks at everything; `Err` says why there was no way to look.
pub fn diagnose(options: &Options) -> Result<Diagnosis, String> {
    let notes = Notes::default();
    let begun = Instant::now();
    let Ok(loaded) = load(options) else {
        let what = check(options).to_string();
        let advice = "the lines say what and where; the path and how it was chosen stand in them";
        notes.bad(Layer::Configuration, &options.config, what, advice, begun);
        return Ok(notes.into_diagnosis());
    };
    let warnings = loaded.warnings.len();
    let what = match warnings {
        0 => "valid".to_owned(),
        warnings => format!("valid, with {}: `check` tells them", count(warnings, "warning")),
    };
    notes.good(Layer::Configuration, &options.config, what, begun);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("the runtime cannot start: {error}"))?;
    runtime.block_on(within_the_deadline(&loaded, &notes));
    // What hangs in a system call is left behind; the end of the process ends it.
    runtime.shutdown_background();
    Ok(notes.into_diagnosis())
}

async fn within_the_deadline(loaded: &Loaded, notes: &Notes) {
    let begun = Instant::now();
    let all = async {
        notes.at(Layer::Certificate);
        local::certificate(&loaded.config, notes).await;
        notes.at(Layer::Secrets);
        let secrets = local::secrets(&loaded.config, notes).await;
        notes.at(Layer::Names);
        brokers::look(&loaded.config, secrets.as_ref(), notes).await;
        notes.at(Layer::Ledger);
        ledger::look(&loaded.config, notes).await;
        notes.at(Layer::Targets);
        targets::look(&loaded.config, notes).await;
    };
    if tokio::time::timeout(DEADLINE, all).await.is_err() {
        let what = format!("not finished within {} s; what comes after was not looked at", DEADLINE.as_secs());
        notes.bad(
            notes.now_at(),
            &"the whole",
            what,
            "this layer hangs: look at the network path or the mount behind it",
            begun,
        );
    }
}

/// Findings as they are made, so that a look that hangs does not take the others with it.
#[derive(Default)]
struct Notes(Mutex<(Vec<Finding>, Option<Layer>)>);

impl Notes {
    fn at(&self, layer: Layer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(layer);
    }

    fn now_at(&self) -> Layer {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.unwrap_or(Layer::Configuration)
    }

    fn add(&self, layer: Layer, subject: &dyn std::fmt::Display, outcome: Outcome, begun: Instant) {
        let clean = |text: String| scrubber().scrub(&text).into_owned();
        let outcome = match outcome {
            Outcome::Good(what) => Outcome::Good(clean(what)),
            Outcome::Notable(what) => Outcome::Notable(clean(what)),
            Outcome::Bad { what, advice } => Outcome::Bad { what: clean(what), advice },
        };
        let finding = Finding { layer, subject: clean(subject.to_string()), outcome, took: begun.elapsed() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.push(finding);
    }

    fn good(&self, layer: Layer, subject: &dyn std::fmt::Display, what: String, begun: Instant) {
        self.add(layer, subject, Outcome::Good(what), begun);
    }

    fn notable(&self, layer: Layer, subject: &dyn std::fmt::Display, what: String, begun: Instant) {
        self.add(layer, subject, Outcome::Notable(what), begun);
    }

    fn bad(&self, layer: Layer, subject: &dyn std::fmt::Display, what: String, advice: &'static str, begun: Instant) {
        self.add(layer, subject, Outcome::Bad { what, advice }, begun);
    }

    fn into_diagnosis(self) -> Diagnosis {
        let (mut findings, _) = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        findings.sort_by_key(|finding| finding.layer);
        Diagnosis { findings }
    }
}

/// How long a certificate has left, in words; `None` when it is over.
fn validity(certificate: &crate::certificate::Certificate, now_s: i64) -> Option<String> {
    let left = certificate.seconds_left(now_s);
    match left {
        ..=0 => None,
        1..=172_800 => Some(format!("{} h left", left / 3600)),
        _ => Some(format!("{} days left", left / 86_400)),
    }
}

fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
