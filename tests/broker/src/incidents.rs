//! Realistic BigPanda incidents, made from a seed: the same seed gives the same bytes.
//!
//! Tests, benches and the demo need streams with the properties that hurt: full snapshots repeated many times, re-fires of
//! the same incident with a new start, both spellings of the keys, alerts as a list or as one object, unknown fields.
//! Nothing here parses; what comes out is text as a customer's template would write it.

use std::fmt::Write as _;

/// A seeded sequence of numbers (splitmix64); good enough for test data and nothing else.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// Starts the sequence that belongs to `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 where `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number().checked_rem(limit).unwrap_or(0)
    }

    /// One of the texts of a list that is not empty.
    pub fn one_of(&mut self, texts: &[&'static str]) -> &'static str {
        let index = usize::try_from(self.below(texts.len() as u64)).unwrap_or(0);
        texts.get(index).copied().unwrap_or("")
    }
}

/// How the keys of a record are spelled (both occur in production).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `incidentTags`, `startedOn`, wrapped in `incident`.
    Camel,
    /// `incident_tags`, `start`, bare.
    Snake,
}

/// One incident to be written as a record.
#[derive(Debug, Clone)]
pub struct IncidentSpec {
    /// `id` of the incident; the Kafka key as well.
    pub id: String,
    /// The incident tag `alert_type`, on which conditions commonly match.
    pub alert_type: &'static str,
    /// `startedOn` in seconds since the epoch; a re-fire has a later one.
    pub started_on: i64,
    /// `updatedOn` in seconds since the epoch; the newest snapshot wins.
    pub updated_on: i64,
    /// How many alerts it holds.
    pub alerts: usize,
    /// Whether it is resolved (and so not active).
    pub resolved: bool,
    /// How the keys are spelled.
    pub spelling: Spelling,
    /// The record is padded with a description until it is at least this long, in bytes.
    pub size_min: usize,
}

impl IncidentSpec {
    /// An active incident with two alerts in camelCase.
    pub fn new(id: impl Into<String>, alert_type: &'static str, started_on: i64) -> Self {
        Self {
            id: id.into(),
            alert_type,
            started_on,
            updated_on: started_on.saturating_add(27),
            alerts: 2,
            resolved: false,
            spelling: Spelling::Camel,
            size_min: 0,
        }
    }

    /// The record's value: one JSON document.
    pub fn to_json(&self, seed: &mut Seed) -> Vec<u8> {
        let mut text = String::with_capacity(self.size_min.max(1024));
        match self.spelling {
            Spelling::Camel => self.camel(&mut text, seed),
            Spelling::Snake => self.snake(&mut text, seed),
        }
        text.into_bytes()
    }

    fn status(&self) -> &'static str {
        if self.resolved { "ok" } else { "critical" }
    }

    fn ended(&self) -> String {
        if self.resolved { self.updated_on.to_string() } else { "null".to_owned() }
    }

    fn camel(&self, text: &mut String, seed: &mut Seed) {
        let Self { id, started_on, updated_on, resolved, alert_type, .. } = self;
        let (status, active, ended) = (self.status(), !resolved, self.ended());
        let _ = write!(
            text,
            r#"{{"incident":{{"id":"{id}","status":"{status}","severity":"critical","active":{active},"flapping":false,"resolved":{resolved},"startedOn":{started_on},"changedOn":{updated_on},"updatedOn":{updated_on},"endedOn":{ended},"snooze":{{"snoozed":false,"end_time":null}},"environments":["sre"],"assignee":null,"incidentTags":[{{"id":"alert_type","value":"{alert_type}"}},{{"id":"priority","value":["P{}"]}}],"alerts":["#,
            seed.below(4)
        );
        for alert in 0..self.alerts {
            let _ = write!(
                text,
                r#"{}{{"id":"{id}-a{alert}","status":"{status}","active":{active},"startedOn":{started_on},"updatedOn":{updated_on},"endedOn":{ended},"source_system":"nagios.prod","host":"{host}","description":"{words}","tags":[{{"name":"host","value":"{host}"}},{{"name":"severity","value":"critical"}},{{"name":"coordinator_id","value":"{coordinator:07}-C"}}]}}"#,
                if alert == 0 { "" } else { "," },
                host = host(seed),
                words = words(seed, 12),
                coordinator = seed.below(10_000_000),
            );
        }
        let _ = write!(text, r#"],"customer_field":"{}"}}}}"#, self.padding(text.len(), seed));
    }

    fn snake(&self, text: &mut String, seed: &mut Seed) {
        let Self { id, started_on, updated_on, resolved, alert_type, .. } = self;
        let (status, active, ended) = (self.status().to_uppercase(), !resolved, self.ended());
        let _ = write!(
            text,
            r#"{{"id":"{id}","status":"{status}","active":{active},"resolved":{resolved},"start":{started_on},"changed_at":{updated_on},"updated_at":{updated_on},"end":{ended},"maintenance":false,"incident_tags":[{{"tag_id":"alert_type","tag_value":"{alert_type}"}}],"alerts":["#
        );
        for alert in 0..self.alerts {
            let _ = write!(
                text,
                r#"{}{{"alert_id":"{id}-a{alert}","status":"{status}","active":{active},"start":{started_on},"last_event_at":{updated_on},"primary_property":"host","secondary_property":"check","host":"{host}","description":"{words}","tags":[{{"tag_id":"host","tag_value":"{host}"}},{{"tag_id":"severity","tag_value":"critical"}}]}}"#,
                if alert == 0 { "" } else { "," },
                host = host(seed),
                words = words(seed, 12),
            );
        }
        let _ = write!(text, r#"],"customer_field":"{}"}}"#, self.padding(text.len(), seed));
    }

    /// Words until the record has its least size; what closes the document is counted in.
    fn padding(&self, written: usize, seed: &mut Seed) -> String {
        let mut padding = String::new();
        while written + padding.len() + 24 < self.size_min {
            padding.push_str(&words(seed, 8));
            padding.push(' ');
        }
        padding
    }
}

/// Values that are no incidents, each broken in its own way; all belong into the dead letters.
pub fn malformed() -> Vec<&'static [u8]> {
    vec![
        b"",
        b"not json at all",
        br#"{"incident": {"id": "60f1", "status": "#,
        br#"{"incident": {"status": "critical", "alerts": []}}"#,
        br"[1, 2, 3]",
        b"{\"incident\": {\"id\": \"\xff\xfe\"}}",
    ]
}

fn host(seed: &mut Seed) -> String {
    format!(
        "{}{:03}.{}.example",
        seed.one_of(&["web", "db", "kafka", "oozie", "hdfs"]),
        seed.below(400),
        seed.one_of(&["gq1", "bf1", "ne1"])
    )
}

fn words(seed: &mut Seed, count: usize) -> String {
    const WORDS: &[&str] = &[
        "disk",
        "usage",
        "above",
        "threshold",
        "on",
        "volume",
        "latency",
        "of",
        "checkout",
        "job",
        "failed",
        "after",
        "retries",
        "replica",
        "lag",
        "in",
        "region",
        "heartbeat",
        "missing",
        "since",
        "process",
        "restarted",
    ];
    (0..count).map(|_| seed.one_of(WORDS)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_writes_the_same_bytes() {
        let spec = IncidentSpec::new("60f1", "oozie", 1_769_755_513);
        assert_eq!(spec.to_json(&mut Seed::new(7)), spec.to_json(&mut Seed::new(7)));
        assert_ne!(spec.to_json(&mut Seed::new(7)), spec.to_json(&mut Seed::new(8)));
    }

    #[test]
    fn a_record_reaches_its_least_size_in_both_spellings() {
        for spelling in [Spelling::Camel, Spelling::Snake] {
            let spec = IncidentSpec { spelling, size_min: 2048, ..IncidentSpec::new("60f1", "oozie", 1_769_755_513) };
            let size = spec.to_json(&mut Seed::new(1)).len();
            assert!((2000..2300).contains(&size), "{spelling:?}: {size}");
        }
    }
}
