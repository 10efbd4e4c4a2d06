//! Taking over a changed configuration while the service runs: its rules, whole or not at all.
//!
//! Conditions, actions and the guards under `limits` are taken over; everything else belongs to a process and is named as
//! needing a restart. The new rules are compiled in the surroundings of the running service: a rule that needs a secret or
//! a `bigpanda` which only the new file has is a mistake until then. On any mistake the rules in force stay.

mod content;
mod difference;
mod told;

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::files::Looks;
use crate::pipeline::Rulebook;

use super::check::InFile;
use super::load::{LoadError, Loaded, anew, load_text, read};
use super::options::Options;

use content::Seen;
use difference::Difference;
use told::How;
pub(super) use told::Reloads;

/// The signal that asks for a reload: from when this is made it does not end the process.
pub(super) struct HangUps(Signal);

impl HangUps {
    pub(super) fn listen() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }
}

/// The configuration in use, and where its rules are in force.
pub(super) struct Reloader {
    options: Options,
    /// What the process was started with; its rules are those that were taken over last.
    running: Loaded,
    started: crate::yaml::Node,
    rulebook: Arc<Rulebook>,
    reloads: Reloads,
}

impl Reloader {
    pub(super) fn new(options: Options, running: Loaded, rulebook: Arc<Rulebook>, reloads: Reloads) -> Self {
        let started = running.document.clone();
        Self { options, running, started, rulebook, reloads }
    }

    /// Takes over what has changed since the file was read for the start: a standby may have waited for days. To be called
    /// before anything is decided.
    pub(super) async fn catch_up(&mut self) {
        let Some(text) = self.looks().now().await else { return };
        // What cannot be read just now is for the watch, which knows a swap from a lasting trouble.
        if text.as_ref().is_ok_and(|text| *text != self.running.text) {
            self.read_again(text, "the configuration file has changed since the start");
        }
    }

    fn looks(&self) -> Looks<Result<String, LoadError>> {
        let of = self.options.config.clone();
        Looks::new(move || read(&of))
    }

    /// Takes over what changes until dropped.
    pub(super) async fn run(mut self, mut hang_ups: HangUps) {
        let looks = self.looks();
        let mut seen = Seen::new(&self.running.text);
        loop {
            let asked = tokio::select! {
                Some(()) = hang_ups.0.recv() => true,
                found = looks.after(seen.next_look()) => match found {
                    Some(found) if seen.take(found.as_deref().ok()) => false,
                    _ => continue,
                },
            };
            let Some(text) = looks.now().await else { continue };
            seen.acted_on(text.as_deref().ok());
            self.read_again(text, if asked { "SIGHUP received" } else { "the configuration file has changed" });
        }
    }

    fn read_again(&mut self, text: Result<String, LoadError>, because: &str) {
        tracing::info!(configuration = %self.options.config, "{because}: it is read again");
        if let Ok(text) = &text {
            self.running.text.clone_from(text);
        }
        let how = match text.and_then(|text| load_text(&self.options, text)) {
            Ok(new) => self.take_over(new),
            Err(error) => How::Refused(one_line(&error)),
        };
        tell(&how);
        self.reloads.tell(jiff::Timestamp::now(), how);
    }

    fn take_over(&mut self, new: Loaded) -> How {
        for warning in &new.warnings {
            tracing::warn!("configuration: {}", InFile(self.options.config.path(), warning, ""));
        }
        let edition = match anew(&new, &self.running, self.options.config.path()) {
            Ok(edition) => edition,
            Err(error) => return How::Refused(one_line(&error)),
        };
        let difference = Difference::between(&self.running.document, &self.started, &new.document);
        if !difference.is_empty() {
            self.rulebook.replace(edition);
        }
        self.running.document = new.document;
        How::TakenOver(Box::new(difference))
    }
}

fn tell(how: &How) {
    match how {
        How::TakenOver(difference) => {
            for change in difference.lines() {
                tracing::info!("rules: {change}");
            }
            tracing::info!("the configuration was taken over: {difference}");
            if !difference.needs_restart().is_empty() {
                let settings = difference.needs_restart().join(", ");
                tracing::warn!(settings, "settings have changed that only a restart takes over");
            }
        }
        How::Refused(why) => {
            tracing::error!(why, "the configuration was refused; the rules in force stay");
        }
    }
}

/// All its mistakes.
fn one_line(error: &LoadError) -> String {
    error.to_string().lines().collect::<Vec<_>>().join("; ")
}
