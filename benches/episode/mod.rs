//! What one action leaves behind in the ledger, for the benches that write it.

use kafka_consumer::ledger::{Attempt, Entry, EpisodeKey, Intent, Origin, Outcome, Record};

/// INTENT, ATTEMPT and OUTCOME of an action on `incident` that succeeded.
pub(crate) fn story(incident: String, at_ms: i64) -> [Record; 3] {
    let key = key(incident);
    let intent = Intent {
        action_type: "webhook".to_owned(),
        request: "POST https://hooks.example/restart".to_owned(),
        origin: Origin { topic: "sre".to_owned(), partition: 0, offset: 7, generation: 1 },
        by: "bench".to_owned(),
        because: vec!["tags.alert_type is oozie".to_owned(), "resolved is false".to_owned()],
    };
    let succeeded = Outcome::Succeeded { detail: "HTTP 200".to_owned() };
    [Entry::Intent(intent), Entry::Attempt(Attempt { number: 1 }), Entry::Outcome(succeeded)].map(|entry| Record {
        key: key.clone(),
        at_ms,
        entry,
    })
}

/// The key under which it stands.
pub(crate) fn key(incident: String) -> EpisodeKey {
    EpisodeKey {
        incident,
        alert: None,
        started: 1_769_755_513,
        condition: "oozie_failures".to_owned(),
        action: "restart".to_owned(),
    }
}
