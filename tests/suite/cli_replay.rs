//! `replay`: records of the past, decided again by the binary itself.

mod topic;

use serde_json::Value;

use crate::world::desk::Desk;

const HOT: &str = r#"{"id": "60f1", "active": true, "startedOn": 1769755513, "updatedOn": 1769755540, "incident_tags": [{"id": "team", "value": "sre"}], "alerts": [{"id": "a", "startedOn": 1769755513}]}"#;

/// Two snapshots of one incident, one of another team, and something that is no incident.
fn records() -> String {
    let later = HOT.replace("1769755540", "1769755600");
    let dba = HOT.replace("60f1", "60f2").replace("\"sre\"", "\"dba\"");
    format!("{HOT}\n{later}\n{dba}\nnothing\n")
}

#[test]
fn replay_counts_what_would_fire_by_rule_and_names_what_is_malformed() {
    let desk = Desk::new();
    desk.write("records.jsonl", &records());
    let (code, out, err) = desk.run(&["replay", "--source", "@records.jsonl", "--no-ledger", "--output", "json"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    let of = |number: usize| &told["would_fire"]["conditions"][number];
    assert_eq!((&of(0)["condition"], &of(0)["records"], &of(0)["episodes"]), (&"other".into(), &1.into(), &1.into()));
    assert_eq!((&of(1)["condition"], &of(1)["records"], &of(1)["episodes"]), (&"ours".into(), &2.into(), &2.into()));
    assert_eq!((&told["malformed"], &told["malformed_examples"][0]["place"]), (&1.into(), &"line 4".into()));
    let (_, out, err) = desk.run(&["replay", "--source", "@records.jsonl", "--no-ledger"]);
    assert!(out.contains("4 records, 3 decided, 1 malformed") && out.contains("not compared with the ledger"), "{out}");
    assert!(err.is_empty() && !out.contains('\u{1b}'), "a bar or colour without a terminal: {err}{out}");
}

#[test]
fn replay_tells_what_a_candidate_decides_otherwise_and_why() {
    let desk = Desk::new();
    desk.write("records.jsonl", &records());
    desk.write(
        "candidate.yaml",
        "incident_conditions:\n  - {name: ours, tags: {team: sre, tier: gold}, incident_actions: [announce]}\n",
    );
    let words = ["replay", "--source", "@records.jsonl", "--no-ledger", "--rules", "@candidate.yaml"];
    let (code, out, err) = desk.run(&words);
    assert_eq!(code, Some(3), "{out}{err}");
    for said in [
        "the candidate decides 3 records otherwise",
        "ours -> (none): 2",
        "other -> (none): 1",
        "60f1 (line 1): tags.tier equals \"gold\": found missing",
        "episodes of only the current rules: 3",
    ] {
        assert!(out.contains(said), "{said}\n---\n{out}");
    }
    desk.write(
        "candidate.yaml",
        "incident_conditions:\n  - {name: ours, tags: {team: sre}, incident_actions: [anounce]}\n",
    );
    let (code, _, err) = desk.run(&words);
    assert_eq!(code, Some(2));
    assert!(err.contains("candidate.yaml") && err.contains("did you mean `announce`"), "{err}");
    desk.write("candidate.yaml", "incident_condition: []\n");
    assert!(desk.run(&words).2.contains("this file holds no rules"));
}

#[test]
fn replay_compares_with_what_the_ledger_says_was_done() {
    let (desk, ledger) = crate::cli_tools::ledger::with_one_held();
    desk.write("records.jsonl", &records());
    let words = ["replay", "--source", "@records.jsonl", "--output", "json"];
    let (code, out, _) = desk.run(&words);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(code, Some(0), "held by another, so not compared: {out}");
    assert!(told["ledger"]["not_compared"].as_str().is_some_and(|why| why.contains("held by the service")), "{told}");
    crate::cli_tools::ledger::let_go(&desk, ledger);
    let (code, out, err) = desk.run(&words);
    assert_eq!(code, Some(3), "{out}{err}");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["ledger"]["not_done"]["count"], 3, "{told}");
    let (_, out, _) = desk.run(&["replay", "--source", "@records.jsonl", "--show", "1"]);
    assert!(out.contains("would be begun, but not in the ledger: 3") && out.contains("and 2 more; --show 3"), "{out}");
}

#[test]
fn replay_refuses_what_is_not_a_file_of_records() {
    let desk = Desk::new();
    desk.write("export.jsonl", "{\"previous\":\"00\",\"record\":{\"key\":\"i/-/5/c/a\"}}\n");
    let (code, _, err) = desk.run(&["replay", "--source", "@export.jsonl"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("line 1 belongs to an export of the ledger"), "{err}");
    let (code, _, err) = desk.run(&["replay", "--source", "@absent.jsonl"]);
    assert!(code == Some(1) && err.contains("absent.jsonl cannot be read"), "{err}");
    assert_eq!(desk.run(&["replay", "--source", "@export.jsonl", "--from", "yesterday"]).0, Some(2));
}
