//! What happens: incidents as BigPanda would publish them, and what must come of them.

use kafka_broker_double::incidents::{IncidentSpec, Seed, Spelling, malformed};

/// Partitions of the topic.
pub(crate) const PARTITIONS: usize = 4;
/// Time passes between chapters: first snapshots, repeats, re-fires, ends. A snapshot that comes while an earlier one of
/// the same incident still waits replaces it, so without the pauses the counts would depend on the machine.
pub(crate) const CHAPTERS: usize = 4;
/// Incidents in the story, before repeats and re-fires.
const INCIDENTS: usize = 240;
/// Requests for this incident fail at the target this often before they work.
pub(crate) const FLAKY_FAILURES: usize = 2;

/// One record to publish.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) chapter: usize,
    pub(crate) partition: usize,
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
}

/// The whole story.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) records: Vec<Published>,
    /// The incident whose announcement fails [`FLAKY_FAILURES`] times.
    pub(crate) flaky: String,
    pub(crate) expected: Expected,
}

/// What must come of it, counted while it is told.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// Snapshots of incidents that match nothing.
    pub(crate) unmatched: usize,
    /// First snapshots of an episode that matches.
    pub(crate) episodes: usize,
    /// Snapshots of an episode that was dealt with before.
    pub(crate) repeats: usize,
    /// Records that are no incidents.
    pub(crate) malformed: usize,
    /// Actions that must succeed, each once.
    pub(crate) actions: usize,
}

impl Story {
    /// The same story each time, only the clock differs: conditions look at the age of an update.
    pub(crate) fn tell(now_unix_s: i64) -> Self {
        let mut story = Self::default();
        let mut seed = Seed::new(2026);
        for number in 0..INCIDENTS {
            story.incident(number, now_unix_s - 900, &mut seed);
        }
        for (number, value) in malformed().into_iter().enumerate() {
            story.expected.malformed += 1;
            story.records.push(Published {
                chapter: 0,
                partition: number % PARTITIONS,
                key: format!("broken-{number}"),
                value: value.to_vec(),
            });
        }
        story
    }

    fn incident(&mut self, number: usize, started_on: i64, seed: &mut Seed) {
        let alert_type = ["oozie", "disk", "network", "latency", "login", "batch"][number % 6];
        let spelling = if number.is_multiple_of(5) { Spelling::Snake } else { Spelling::Camel };
        let mut spec =
            IncidentSpec { spelling, ..IncidentSpec::new(format!("60f1{number:04}"), alert_type, started_on) };
        // Per alert for oozie jobs, once per incident for disks: as the demo's conditions have it.
        let actions = match alert_type {
            "oozie" => spec.alerts,
            "disk" => 1,
            _ => 0,
        };
        if actions == 0 {
            self.expected.unmatched += 1;
            return self.publish(0, number, &spec, seed);
        }
        if self.flaky.is_empty() && alert_type == "disk" {
            self.flaky.clone_from(&spec.id);
        }
        self.episode(0, number, &spec, actions, seed);
        if number.is_multiple_of(3) {
            // A full snapshot again, a little later: nothing new to do.
            for _ in 0..2 {
                spec.updated_on += 30;
                self.expected.repeats += 1;
                self.publish(1, number, &spec, seed);
            }
        }
        if number.is_multiple_of(24) {
            // It ended and fires again: a new start is a new episode, so it is acted upon again.
            (spec.started_on, spec.updated_on) = (started_on + 600, started_on + 660);
            self.episode(2, number, &spec, actions, seed);
        }
        if number.is_multiple_of(30) {
            (spec.resolved, spec.updated_on) = (true, spec.updated_on + 10);
            self.expected.unmatched += 1;
            self.publish(3, number, &spec, seed);
        }
    }

    fn episode(&mut self, chapter: usize, number: usize, spec: &IncidentSpec, actions: usize, seed: &mut Seed) {
        self.expected.episodes += 1;
        self.expected.actions += actions;
        self.publish(chapter, number, spec, seed);
    }

    fn publish(&mut self, chapter: usize, number: usize, spec: &IncidentSpec, seed: &mut Seed) {
        let value = spec.to_json(seed);
        self.records.push(Published { chapter, partition: number % PARTITIONS, key: spec.id.clone(), value });
    }
}
