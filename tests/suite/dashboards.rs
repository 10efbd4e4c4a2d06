//! What is deployed beside the program speaks of metrics and labels that the program has, and the documentation has them too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kafka_consumer::telemetry::metrics::{Kind, TABLE};
use regex::Regex;
use serde_json::Value;

fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy_target").join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every name that Prometheus would have, with the labels it may be asked for.
fn known() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut known = BTreeMap::new();
    for metric in TABLE {
        let labels: BTreeSet<&str> = metric.labels.iter().copied().collect();
        if metric.kind == Kind::Histogram {
            for suffix in ["_bucket", "_sum", "_count"] {
                known.insert(format!("{}{suffix}", metric.name), labels.iter().copied().chain(["le"]).collect());
            }
        } else {
            known.insert(metric.name.to_owned(), labels);
        }
    }
    known
}

/// Labels that a scrape adds.
const OF_THE_SCRAPE: [&str; 5] = ["instance", "job", "pod", "namespace", "le"];

/// What is wrong with an expression.
fn wrong(expression: &str) -> Vec<String> {
    let known = known();
    let (name, selected) = (
        Regex::new(r"kafka_consumer_\w+").expect("valid"),
        Regex::new(r"(\w+)\s*(?:=~|!=|!~|=)\s*\x22").expect("valid"),
    );
    let grouped = Regex::new(r"\b(?:by|on|without)\s*\(([^)]*)\)").expect("valid");
    let mut wrong = Vec::new();
    let mut labels: BTreeSet<&str> = OF_THE_SCRAPE.into();
    let mut any = false;
    for found in name.find_iter(expression) {
        any = true;
        match known.get(found.as_str()) {
            Some(own) => labels.extend(own),
            None => wrong.push(format!("there is no metric {}", found.as_str())),
        }
        // The selector belongs to this metric alone.
        let after = &expression[found.end()..];
        if let Some(selector) = after.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            let own = known.get(found.as_str()).cloned().unwrap_or_default();
            for label in selected.captures_iter(selector.0).map(|label| label.get(1).expect("a name").as_str()) {
                if !own.contains(label) && !OF_THE_SCRAPE.contains(&label) {
                    wrong.push(format!("{} has no label {label}", found.as_str()));
                }
            }
        }
    }
    for list in grouped.captures_iter(expression).map(|list| list.get(1).expect("a list").as_str()) {
        let strangers = list.split(',').map(str::trim).filter(|label| !label.is_empty() && !labels.contains(label));
        wrong.extend(strangers.map(|label| format!("none of the metrics has a label {label}")));
    }
    if !any {
        wrong.push("it speaks of no metric".to_owned());
    }
    wrong
}

/// Every `expr` anywhere below.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn a_metric_or_a_label_that_does_not_exist_is_found() {
    assert_eq!(wrong("kafka_consumer_ready == 0"), [""; 0]);
    assert_eq!(wrong("rate(kafka_consumer_redy[5m])"), ["there is no metric kafka_consumer_redy"]);
    assert_eq!(wrong("kafka_consumer_ready{topic=\"t\"}"), ["kafka_consumer_ready has no label topic"]);
    assert_eq!(
        wrong("sum by (topik) (kafka_consumer_partition_lag_records)"),
        ["none of the metrics has a label topik"]
    );
    assert_eq!(wrong("kafka_consumer_incident_duration_seconds > 1").len(), 1, "a histogram has no value of its own");
}

#[test]
fn the_dashboard_speaks_of_metrics_that_exist() {
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboard.json")).expect("JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 30, "{}", found.len());
    for expression in &found {
        assert_eq!(wrong(expression), [""; 0], "{expression}");
    }
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<i64> = panels.iter().filter_map(|panel| panel["id"].as_i64()).collect();
    assert_eq!(ids.len(), panels.len(), "every panel has an id of its own");
    for panel in panels {
        let place = &panel["gridPos"];
        let end = place["x"].as_i64().zip(place["w"].as_i64()).map(|(x, w)| x + w);
        assert!(end.is_some_and(|end| end <= 24), "{}: it does not fit the grid", panel["title"]);
    }
}

#[test]
fn the_alert_rules_are_rules_of_prometheus_and_speak_of_metrics_that_exist() {
    let rules: Value = serde_yaml::from_str(&read("prometheus/rules.yaml")).expect("YAML");
    let duration = Regex::new(r"^\d+(s|m|h|d)$").expect("valid");
    let mut names = BTreeSet::new();
    for group in rules["groups"].as_array().expect("groups") {
        assert!(group["name"].is_string(), "{group}");
        for rule in group["rules"].as_array().expect("rules") {
            let fields: Vec<&str> = rule.as_object().expect("a map").keys().map(String::as_str).collect();
            let allowed = ["alert", "expr", "for", "labels", "annotations"];
            assert!(fields.iter().all(|field| allowed.contains(field)), "{fields:?}");
            let name = rule["alert"].as_str().expect("a name");
            assert!(names.insert(name.to_owned()), "{name} stands there twice");
            assert_eq!(wrong(rule["expr"].as_str().expect("an expression")), [""; 0], "{name}");
            assert!(rule.get("for").is_none_or(|text| duration.is_match(text.as_str().expect("text"))), "{name}");
            let severity = rule["labels"]["severity"].as_str().expect("a severity");
            assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
            for note in ["summary", "description"] {
                assert!(
                    rule["annotations"][note].as_str().is_some_and(|text| !text.is_empty()),
                    "{name} has no {note}"
                );
            }
        }
    }
    assert!(names.len() >= 10, "{names:?}");
}

#[test]
fn every_metric_is_documented_and_told_in_the_dashboard_or_by_a_rule_when_it_speaks_of_trouble() {
    let documented = read("metrics.md");
    let shown = read("grafana/dashboard.json") + &read("prometheus/rules.yaml");
    for metric in TABLE {
        assert!(documented.contains(&format!("`{}`", metric.name)), "{}", metric.name);
    }
    for trouble in
        ["ready", "halted", "ledger_writable", "guards_tripped", "malformed_records_total", "log_lines_lost_total"]
    {
        assert!(shown.contains(&format!("kafka_consumer_{trouble}")), "{trouble}");
    }
}
