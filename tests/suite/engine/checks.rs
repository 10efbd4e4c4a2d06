//! Checks: what they ask, what ends the flow, and what becomes of it when they cannot be made.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_consumer::ledger::Terminal;
use serde_json::json;

use crate::engine::world::{Running, World, incident, one, reason};
use crate::world::target::{Reply, Target};

const KEY: &str = "a/-/5/oozie/look";
const FIX: &str = "a/a-a/5/oozie/fix";

/// A check before what it protects, and what follows when it cannot be made.
fn rules(check: &str) -> String {
    format!(
        r#"
bigpanda: TARGET
incident_conditions:
  - {{name: oozie, active: true, incident_actions: [look], alert_actions: [fix], incident_fallback_actions: [tell]}}
incident_actions:
  - {{name: look, {check}, timeout: 300ms, retries: {{attempts: 3, backoff: 10ms, max_backoff: 20ms}}}}
  - {{name: tell, type: webhook, url: "TARGET/tell"}}
alert_actions:
  - {{name: fix, type: webhook, url: "TARGET/fix"}}
"#
    )
}

fn did(target: &Target, path: &str) -> usize {
    target.calls_of(&format!("POST /{path}")).len()
}

async fn ended(running: &Running) -> (Option<Terminal>, String) {
    let state = running.state(KEY).await;
    (state.terminal(), reason(&state).to_owned())
}

const OTHERS: &str = r#"type: scan_big_panda, query: 'alert_type = "{{alert_type}}"', within: 1h, folder: active"#;
const SEARCH: &str = "GET /resources/v2.0/environments/5f0c/incidents";

/// A BigPanda whose search answers with these incidents.
fn searched(items: serde_json::Value) -> Target {
    Target::serving(move |call| {
        if call.line() == SEARCH { Reply::json(200, json!({ "items": items })) } else { Reply::new(204, "") }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn other_incidents_that_match_end_the_flow_and_the_next_snapshot_does_not_act_either() {
    let target = searched(json!([{"id": "a"}, {"id": "b"}]));
    let running = one(&World::new(&rules(OTHERS), &target)).await;
    let found = "1 other incidents of BigPanda match: b".to_owned();
    assert_eq!(ended(&running).await, (Some(Terminal::Found), found));
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "OUTCOME found"]);
    assert_eq!(running.state(FIX).await.terminal(), Some(Terminal::Skipped));
    let right = running.assign(1);
    running.read(&right, 0, &[incident("a", "oozie", 5, 11)]);
    running.committed(1, 1).await;
    assert_eq!((did(&target, "fix"), did(&target, "tell")), (0, 0));
    let calls = target.calls_of(SEARCH);
    assert_eq!(calls.len(), 1, "what was found stays found for this episode");
    let query = "query=alert_type+%3D+%22oozie%22&from=";
    assert!(calls[0].path.contains(query), "{}", calls[0].path);
    assert!(calls[0].path.ends_with("&folder=active&page=1&page_size=50"), "{}", calls[0].path);
    assert_eq!(calls[0].header("authorization"), Some("Bearer key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_incident_alone_is_no_finding() {
    let target = searched(json!([{"id": "a"}]));
    let running = one(&World::new(&rules(OTHERS), &target)).await;
    let none = "0 other incidents of BigPanda match, fewer than 1".to_owned();
    assert_eq!(ended(&running).await, (Some(Terminal::Succeeded), none));
    assert_eq!((did(&target, "fix"), did(&target, "tell")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_goes_on_to_the_last_page() {
    let target = Target::serving(|call| {
        if call.line() != SEARCH {
            return Reply::new(204, "");
        }
        let first = call.path.contains("&page=1&");
        let items: Vec<_> = (0..if first { 50 } else { 1 }).map(|_| json!({"id": "a"})).collect();
        let items = if first { items } else { vec![json!({"id": "b"})] };
        Reply::json(200, json!({ "items": items }))
    });
    let running = one(&World::new(&rules(OTHERS), &target)).await;
    assert_eq!(ended(&running).await.0, Some(Terminal::Found));
    assert_eq!(target.calls_of(SEARCH).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_cannot_be_made_fails_and_nothing_is_remediated() {
    let cases = [
        (Reply::json(400, json!({"status": 400, "errors": ["bad query"]})), 1, "bad query"),
        (Reply::json(503, json!({})).with("Retry-After", "0"), 3, "HTTP 503"),
        (Reply::json(200, json!({"things": []})), 3, "holds no `items`"),
        (Reply::new(200, "<html>"), 3, "not JSON"),
    ];
    for (reply, attempts, why) in cases {
        let target =
            Target::serving(move |call| if call.line() == SEARCH { reply.clone() } else { Reply::new(204, "") });
        let running = one(&World::new(&rules(OTHERS), &target)).await;
        let (how, reason) = ended(&running).await;
        assert_eq!(how, Some(Terminal::Failed), "{reason}");
        assert!(reason.contains(why), "{reason}");
        assert_eq!(target.calls_of(SEARCH).len(), attempts, "{reason}");
        assert_eq!((did(&target, "fix"), did(&target, "tell")), (0, 1), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_without_an_answer_is_made_again_and_never_held() {
    let count = AtomicUsize::new(0);
    let target = Target::serving(move |call| {
        if call.line() != SEARCH {
            return Reply::new(204, "");
        }
        let nothing = Reply::json(200, json!({"items": []}));
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => nothing.after(Duration::from_millis(900)),
            1 => nothing.torn(),
            _ => nothing,
        }
    });
    let running = one(&World::new(&rules(OTHERS), &target)).await;
    let story =
        ["INTENT", "ATTEMPT 1", "OUTCOME retrying", "ATTEMPT 2", "OUTCOME retrying", "ATTEMPT 3", "OUTCOME succeeded"];
    assert_eq!(running.story(KEY).await, story);
    assert_eq!(did(&target, "fix"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_alerts_than_allowed_end_the_flow() {
    let target = Target::start();
    let running = one(&World::new(&rules("type: check_alert_volume, max_alerts: 0"), &target)).await;
    let found = "1 active alerts, more than 0".to_owned();
    assert_eq!(ended(&running).await, (Some(Terminal::Found), found));
    assert_eq!(target.calls().len(), 0, "its own alerts are in the record");
    let target = Target::start();
    one(&World::new(&rules("type: check_alert_volume, max_alerts: 1"), &target)).await;
    assert_eq!((did(&target, "fix"), did(&target, "tell")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_counted_across_the_incidents_of_a_query() {
    let check = r#"type: check_alert_volume, max_alerts: 2, query: 'status = "active"'"#;
    let one_of =
        |id: &str| json!({"id": id, "alerts": [{"id": "1", "status": "critical"}, {"id": "2", "status": "ok"}]});
    for (items, how) in [
        (json!([one_of("a"), one_of("b")]), Terminal::Succeeded),
        (json!([one_of("a"), one_of("b"), one_of("c")]), Terminal::Found),
        (json!([{"id": "without"}]), Terminal::Failed),
    ] {
        let target = searched(items);
        let running = one(&World::new(&rules(check), &target)).await;
        assert_eq!(ended(&running).await.0, Some(how));
        assert!(target.calls_of(SEARCH)[0].path.contains("expand=alerts"));
    }
}

const OUTAGE: &str = r#"type: check_outage, url: "TARGET/outages/{{alert_type}}", headers: {Authorization: "Bearer $secret:outages"},
    pointer: /active, reason_pointer: /active/0/title"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_known_outage_ends_the_flow_with_its_name() {
    for (active, how, why) in [
        (json!([{"title": "DNS is down"}]), Terminal::Found, "an outage is known: DNS is down"),
        (json!([]), Terminal::Succeeded, "no outage is known"),
    ] {
        let target = Target::serving(move |_| Reply::json(200, json!({ "active": active })));
        let world = World::new(&rules(OUTAGE), &target);
        world.secret("outages", "hunter22");
        let running = one(&world).await;
        assert_eq!(ended(&running).await, (Some(how), why.to_owned()));
        let asked = target.calls_of("GET /outages/oozie");
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].header("authorization"), Some("Bearer hunter22"));
        assert_eq!(did(&target, "fix"), usize::from(how == Terminal::Succeeded));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_cannot_be_looked_for_stops_remediation_and_no_secret_is_shown() {
    for (reply, attempts) in [
        (Reply::json(200, json!({"error": "no such key hunter22"})), 3),
        (Reply::json(401, json!({"error": "no such key hunter22"})), 1),
    ] {
        let target =
            Target::serving(move |call| if call.method == "GET" { reply.clone() } else { Reply::new(204, "") });
        let world = World::new(&rules(OUTAGE), &target);
        world.secret("outages", "hunter22");
        let running = one(&world).await;
        let (how, why) = ended(&running).await;
        assert_eq!(how, Some(Terminal::Failed));
        assert!(!why.contains("hunter22"), "{why}");
        assert_eq!(target.calls_of("GET /outages/oozie").len(), attempts);
        assert_eq!((did(&target, "fix"), did(&target, "tell")), (0, 1));
    }
}

const CHANGES: &str = r"type: check_service_now_changes, instance_url: TARGET, username: kc, auth_secret: now,
    query: 'state=-1^cmdb_ci.name={{alert_type}}'";
const CHANGES_ASKED: &str = "GET /api/now/table/change_request";

/// A world in which the secret `now` is known.
fn knowing(check: &str, target: &Target) -> World {
    let world = World::new(&rules(check), target);
    world.secret("now", "hunter22");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_way_ends_the_flow_with_its_number() {
    for (result, how, why) in [
        (
            json!([{"sys_id": "1", "number": "CHG0030001", "short_description": "patch"}]),
            Terminal::Found,
            "1 records of change_request match: CHG0030001 (patch)",
        ),
        (json!([]), Terminal::Succeeded, "0 records of change_request match, fewer than 1"),
    ] {
        let target = Target::serving(move |_| Reply::json(200, json!({ "result": result })));
        let running = one(&knowing(CHANGES, &target)).await;
        assert_eq!(ended(&running).await, (Some(how), why.to_owned()));
        let asked = target.calls_of(CHANGES_ASKED);
        assert_eq!(asked.len(), 1);
        let query =
            "?sysparm_query=state%3D-1%5Ecmdb_ci.name%3Doozie&sysparm_fields=sys_id%2Cnumber%2Cshort_description&";
        assert!(asked[0].path.contains(query), "{}", asked[0].path);
        // kc:hunter22
        assert_eq!(asked[0].header("authorization"), Some("Basic a2M6aHVudGVyMjI="));
        assert_eq!(did(&target, "fix"), usize::from(how == Terminal::Succeeded));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_looked_for_among_incidents_with_a_token() {
    let check = "type: scan_service_now_ops, instance_url: TARGET, auth_secret: now, query: active=true, at_least: 2";
    let target = Target::serving(|_| Reply::json(200, json!({"result": [{"number": "INC1"}, {"number": "INC2"}]})));
    let running = one(&knowing(check, &target)).await;
    assert_eq!(ended(&running).await, (Some(Terminal::Found), "2 records of incident match: INC1, INC2".to_owned()));
    assert_eq!(target.calls_of("GET /api/now/table/incident")[0].header("authorization"), Some("Bearer hunter22"));
}

const ALERTS: &str = r#"type: scan_rootly_alerts, api_url: TARGET, auth_secret: now, within: 1h,
    filters: {status: triggered, labels: "type:{{alert_type}}"}"#;
const ALERTS_ASKED: &str = "GET /v1/alerts";

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_rootly_that_match_end_the_flow() {
    for (data, how, why) in [
        (
            json!([{"id": "9d1", "type": "alerts", "attributes": {"short_id": "A7", "summary": "disk full"}}]),
            Terminal::Found,
            "1 alerts of Rootly match: A7 (disk full)",
        ),
        (json!([]), Terminal::Succeeded, "0 alerts of Rootly match, fewer than 1"),
    ] {
        let target = Target::serving(move |_| Reply::json(200, json!({ "data": data })));
        let running = one(&knowing(ALERTS, &target)).await;
        assert_eq!(ended(&running).await, (Some(how), why.to_owned()));
        let asked = target.calls_of(ALERTS_ASKED);
        assert_eq!(asked.len(), 1);
        let query = "?filter%5Bstatus%5D=triggered&filter%5Blabels%5D=type%3Aoozie&filter%5Bstarted_at%5D%5Bgte%5D=";
        assert!(asked[0].path.contains(query), "{}", asked[0].path);
        assert_eq!(asked[0].header("authorization"), Some("Bearer hunter22"));
        assert_eq!(asked[0].header("accept"), Some("application/vnd.api+json"));
        assert_eq!(did(&target, "fix"), usize::from(how == Terminal::Succeeded));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_alerts_that_cannot_be_read_stop_remediation() {
    let replies = [
        (Reply::json(401, json!({"error": {"message": "hunter22 is no user"}})), 1),
        (Reply::json(429, json!({})).with("Retry-After", "0"), 3),
        (Reply::json(200, json!({"status": "failure"})), 3),
        (Reply::json(200, json!({})).after(Duration::from_millis(500)), 3),
    ];
    for (check, line) in [(CHANGES, CHANGES_ASKED), (ALERTS, ALERTS_ASKED)] {
        for (reply, attempts) in replies.clone() {
            let target =
                Target::serving(move |call| if call.method == "GET" { reply.clone() } else { Reply::new(204, "") });
            let running = one(&knowing(check, &target)).await;
            let (how, why) = ended(&running).await;
            assert_eq!(how, Some(Terminal::Failed), "{why}");
            assert!(!why.contains("hunter22"), "{why}");
            assert_eq!(target.calls_of(line).len(), attempts, "{why}");
            assert_eq!((did(&target, "fix"), did(&target, "tell")), (0, 1), "{why}");
        }
    }
}
