//! Rate limits of services, and services that ask to be left alone.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_consumer::ledger::Terminal;

use crate::engine::world::{RULES, World, incident, until};
use crate::world::target::{Reply, Target};

/// When requests arrived.
#[derive(Clone, Default)]
struct Arrivals(Arc<Mutex<Vec<Instant>>>);

impl Arrivals {
    /// A target that answers with `status`, and with `Retry-After` to the first so many requests.
    fn target(&self, refused: usize, status: u16) -> Target {
        let arrivals = self.clone();
        Target::serving(move |_| {
            let mut arrivals = arrivals.0.lock().expect("no panic while holding it");
            arrivals.push(Instant::now());
            let refused = arrivals.len() <= refused;
            if refused { Reply::new(status, "later").with("Retry-After", "1") } else { Reply::new(200, "ok") }
        })
    }

    fn between(&self) -> Vec<Duration> {
        let arrivals = self.0.lock().expect("no panic while holding it");
        arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

fn incidents(kind: &str, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| incident(name, kind, 5, 10)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_come_at_the_rate_of_their_service_and_whoever_waits_holds_no_slot() {
    let (slow, quick) = (Arrivals::default(), Target::start());
    let limited = slow.target(0, 200);
    let host = limited.url().replace("http://", "");
    let rules = format!(
        r#"
incident_conditions:
  - {{name: slow, active: true, tags: {{alert_type: slow}}, incident_actions: [slow]}}
  - {{name: quick, active: true, tags: {{alert_type: quick}}, incident_actions: [quick]}}
incident_actions:
  - {{name: slow, type: webhook, url: "{}/"}}
  - {{name: quick, type: webhook, url: "TARGET/"}}
limits: {{rate_limit: {{"{host}": {{at_most: 2, within: 1s}}}}}}
"#,
        limited.url()
    );
    let mut world = World::new(&rules, &quick);
    (world.limits.max_concurrent_actions, world.limits.max_concurrent_incidents) = (1, 1);
    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 0, &incidents("slow", &["a", "b", "c", "d"]));
    running.read(&right, 4, &incidents("quick", &["e", "f", "g"]));
    until("those for another service are through", || quick.calls().len() == 3).await;
    assert!(limited.calls().len() < 3, "they waited for nobody");
    running.committed(0, 7).await;
    let between = slow.between();
    assert_eq!(between.len(), 3, "each once");
    assert!(between.iter().all(|gap| *gap > Duration::from_millis(450)), "{between:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_for_it_is_left_alone_by_everybody_and_the_reason_says_so() {
    for status in [429, 503] {
        let arrivals = Arrivals::default();
        let target = arrivals.target(1, status);
        let world = World::new(RULES, &target);
        let running = world.start().await;
        let right = running.assign(0);
        running.read(&right, 0, &incidents("oozie", &["a"]));
        until("the first is refused", || target.calls().len() == 1).await;
        let key = "a/-/5/oozie/announce";
        until("it is written down", || !running.status.tripped().is_empty()).await;
        let tripped = running.status.tripped();
        assert!(tripped[0].contains("asked to be left alone for another"), "{tripped:?}");
        running.read(&right, 1, &incidents("oozie", &["b"]));
        running.committed(0, 2).await;
        // The back-off is of 20 ms at most.
        assert!(arrivals.between()[0] > Duration::from_millis(900), "{status}: {:?}", arrivals.between());
        assert_eq!(target.calls().len(), 3, "{status}");
        let entries = running.ledger.entries(key.parse().expect("a key")).await.expect("reads");
        let why = entries.iter().map(|record| format!("{:?}", record.entry)).find(|entry| entry.contains("Retrying"));
        let why = why.expect("it was repeated");
        assert!(
            why.contains(&format!("HTTP {status}: later; 127.0.0.1:")) && why.contains("left alone for 1s"),
            "{why}"
        );
        assert_eq!(running.state(key).await.terminal(), Some(Terminal::Succeeded));
    }
}
