//! Verification by what the topic says: later snapshots of the incident.

use std::time::{Duration, Instant};

use kafka_consumer::ledger::Terminal;

use crate::engine::world::{World, incident, reason, until};
use crate::world::target::{Reply, Target};

/// BigPanda cannot be asked, and nobody looks again before the time is over.
const RULES: &str = r#"
incident_conditions:
  - {name: oozie, active: true, tags: {alert_type: oozie}, alert_actions: [fix]}
alert_actions:
  - {name: fix, type: webhook, url: "TARGET/fix", verify: {within: 15s, every: 14s, expect: resolved, escalate: page}}
  - {name: page, type: webhook, url: "TARGET/page"}
"#;
const KEY: &str = "a/a-a/5/oozie/verify:fix";

fn cleared(kind: &str, updated: i64) -> String {
    incident("a", kind, 5, updated).replace(r#""active": true"#, r#""active": false"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_snapshot_says_that_it_is_over_also_one_that_comes_before_anybody_looks() {
    // What nothing matches is read all the same while somebody waits for it.
    for (early, kind) in [(false, "oozie"), (true, "oozie"), (true, "another")] {
        let wait = if early { Duration::from_millis(400) } else { Duration::ZERO };
        let target = Target::serving(move |_| Reply::new(200, "ok").after(wait));
        let world = World { passes_over_unread: true, ..World::new(RULES, &target) };
        let running = world.start().await;
        let right = running.assign(0);
        running.read(&right, 0, &[incident("a", "oozie", 5, 10)]);
        let began = Instant::now();
        until("it acts", || target.calls().len() == 1).await;
        if !early {
            let deadline = Instant::now() + Duration::from_secs(10);
            while running.story(KEY).await.len() < 3 {
                assert!(Instant::now() < deadline, "nobody looks");
            }
        }
        // An older one may tell of an earlier end.
        running.read(&right, 1, &[cleared(kind, 9), cleared(kind, 20)]);
        running.committed(0, 3).await;
        let state = running.state(KEY).await;
        assert_eq!(reason(&state), "a later snapshot says that it is over");
        assert_eq!(state.terminal(), Some(Terminal::Succeeded));
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(target.calls_of("POST /page").len(), 0);
    }
}
