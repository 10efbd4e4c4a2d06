//! `test`: the rules held against what is written down, by the binary itself.

use std::path::Path;

use serde_json::Value;

use crate::world::desk::Desk;
use crate::world::process::binary;

const PASSES: &str = "\
tests:
  - name: ours is announced and fixed
    file: record.json
    at: 100
    expect: {condition: ours, actions: [announce, fix], alerts: [a], why: tags.team, why_not: {other: 'found \"sre\"'}}
  - name: nobody's is left alone
    record: {id: x, updatedOn: 5}
    expect: {condition: none}
";

/// Rules with a memory, beside those of the desk.
fn with_memory() -> Desk {
    let desk = Desk::new();
    let config = std::fs::read_to_string(desk.path("config.yaml")).expect("the configuration");
    let rules = "incident_conditions:\n  - {name: third, tags: {team: web}, incident_actions: [announce], \
                 occurrences: {at_least: 3, within: 10m, by: tags.team}}\n  - {name: calm, tags: {team: net}, \
                 incident_actions: [announce], quiet_for: 5m}\n  - {name: once, tags: {team: app}, incident_actions: [announce], \
                 throttle: {once_within: 10m}}\n";
    desk.write("config.yaml", &config.replace("incident_conditions:\n", rules));
    desk
}

#[test]
fn the_shipped_tests_of_the_shipped_rules_pass_and_cover_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = binary()
        .arg("--config")
        .arg(root.join("config/config.yaml"))
        .args(["test", "--output", "json"])
        .arg(root.join("config/rules.test.yaml"))
        .output()
        .expect("the binary runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&told["failed"], told["coverage"].as_array().map(Vec::len)), (&0.into(), Some(2)));
    for covered in told["coverage"].as_array().expect("a list") {
        assert!(covered["matched"].as_u64() > Some(0) && covered["passed_over"].as_u64() > Some(0), "{covered}");
        let branches = covered["branches"].as_array().expect("a list");
        assert!(branches.iter().all(|branch| branch["held"] == true && branch["failed"] == true), "{branches:?}");
    }
}

#[test]
fn what_is_as_expected_passes_and_what_was_not_tried_is_told() {
    let desk = Desk::new();
    desk.write("rules.test.yaml", PASSES);
    let (code, out, err) = desk.run(&["test", "@rules.test.yaml"]);
    assert_eq!(code, Some(0), "{out}{err}");
    for said in [
        "  ok   ours is announced and fixed\n",
        "2 tests, none failed\n",
        "coverage: 1 of 2 conditions matched, 1 of 2 tests in them seen both ways\n",
        "    never true: tags.team equals \"dba\"\n",
    ] {
        assert!(out.contains(said), "{said}\n---\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "colour without a terminal: {out}");
}

#[test]
fn what_is_not_as_expected_fails_with_the_reason_and_goes_to_junit() {
    let desk = Desk::new();
    desk.write(
        "rules.test.yaml",
        "tests:\n  - name: '<wrong> condition'\n    file: record.json\n    expect: {condition: other}\n\
         \x20 - name: wrong actions\n    file: record.json\n    expect: {condition: ours, actions: [fix], alerts: [b], why: nothing, \
         why_not: {other: tags.colour}, requests: {fix: /fix/b}}\n\
         \x20 - name: right\n    record: {id: x, updatedOn: 5}\n    expect: {condition: ~}\n",
    );
    let words = ["test", "@rules.test.yaml", "--junit", "@rules.xml"];
    let (code, out, err) = desk.run(&words);
    assert_eq!(code, Some(1), "{out}{err}");
    for said in [
        "line 4: expected `other`, found `ours`\n         `other`: tags.team equals \"dba\": found \"sre\"\n",
        "line 7: expected the actions [fix], found [announce, fix]\n",
        "line 7: expected the alerts [b], found [a]\n",
        "line 7: no reason of `ours` contains `nothing`: tags.team equals \"sre\": found \"sre\"\n",
        "line 7: no reason of `other` contains `tags.colour`: tags.team equals \"dba\": found \"sre\"\n",
        "line 7: no request of `fix` contains `/fix/b`: POST http://t/fix/",
        "3 tests, 2 failed\n",
    ] {
        assert!(out.contains(said), "{said}\n---\n{out}");
    }
    let xml = std::fs::read_to_string(desk.path("rules.xml")).expect("the XML");
    assert!(
        xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"3\" failures=\"2\">"),
        "{xml}"
    );
    assert!(xml.contains("<testcase name=\"&lt;wrong&gt; condition\"") && xml.contains("name=\"right\""), "{xml}");
    assert!(xml.contains("<failure message=\"expected `other`, found `ours`\">"), "{xml}");
    assert_eq!(xml.matches("<failure").count(), 6, "{xml}");
    let (code, out, _) = desk.run(&["test", "@rules.test.yaml", "--output", "json"]);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &told["failed"]), (Some(1), &2.into()));
    assert_eq!(told["files"][0]["tests"][0]["failures"][0]["line"], 4);
}

#[test]
fn conditions_remember_from_one_step_to_the_next_and_nothing_from_one_test_to_the_next() {
    let desk = with_memory();
    let step = |id: u32, team: &str, clock: &str, expected: &str| {
        format!("      - {{record: {{id: i{id}, tags: {{team: {team}}}}}, {clock}, expect: {{{expected}}}}}\n")
    };
    let third = "condition: third, why: 3 of 3 within 10m";
    let text = [
        "tests:\n  - name: the third counts\n    steps:\n".to_owned(),
        step(1, "web", "at: 1000", "condition: none, why_not: {third: 1 of 3}"),
        // The same incident again is no other one.
        step(1, "web", "after: 1m", "condition: none, why_not: {third: 1 of 3}"),
        step(2, "web", "after: 1m", "condition: none, why_not: {third: 2 of 3}"),
        step(3, "web", "after: 1m", third),
        "  - name: nothing was seen before\n    steps:\n".to_owned(),
        step(4, "web", "at: 1240", "condition: none, why_not: {third: 1 of 3}"),
        "  - name: silence, then once\n    steps:\n".to_owned(),
        step(5, "net", "at: 1000", "condition: calm"),
        step(6, "net", "after: 4m", "condition: none, why_not: {calm: another 4m before}"),
        step(7, "net", "after: 6m", "condition: calm"),
        step(8, "app", "after: 0s", "condition: once"),
        step(9, "app", "after: 9m", "condition: none, why_not: {once: another had its turn 9m ago}"),
        step(10, "app", "after: 2m", "condition: once"),
    ];
    desk.write("rules.test.yaml", &text.concat());
    let (code, out, err) = desk.run(&["test", "@rules.test.yaml"]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_place_before_anything_is_run() {
    let desk = Desk::new();
    desk.write(
        "rules.test.yaml",
        "test: []\ntests:\n  - name: a\n    record: {status: x}\n    expect: {condition: orus, actons: [fix]}\n\
         \x20 - name: a\n    record: {id: x}\n    at: 1h\n    expect: {condition: ours, actions: [anounce], why_not: {othr: x}}\n\
         \x20 - name: b\n    record: {id: x}\n    file: y\n    expect: {condition: none, why: x}\n\
         \x20 - name: c\n    record: {id: x}\n    after: 1m\n\
         \x20 - name: d\n    record: {id: x}\n    expect: {}\n",
    );
    let (code, out, err) = desk.run(&["test", "@rules.test.yaml"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    for said in [
        "rules.test.yaml:1:1: test: unknown key (did you mean `tests`?)",
        "rules.test.yaml:4:13: tests[0].record: this is not an incident: ",
        "rules.test.yaml:5:25: tests[0].expect.condition: there is no condition `orus` (did you mean `ours`?)",
        "rules.test.yaml:5:31: tests[0].expect.actons: unknown key (did you mean `actions`?)",
        "rules.test.yaml:8:9: tests[1].at: expected a time such as 2026-03-14T15:30:00Z, or seconds since the epoch, found `1h`",
        "tests[1].expect.actions[0]: there is no action `anounce` (did you mean `announce`?)",
        "tests[1].expect.why_not.othr: there is no condition of this name (did you mean `other`?)",
        "rules.test.yaml:12:11: tests[2].file: the record stands here already under `record`; keep one",
        "tests[3].after: there is no step before this one; write `at`",
        "tests[3].expect: is required and missing",
        "tests[4].at: is required and missing: the record itself has no time",
        "tests[4].expect.condition: is required and missing: the name of a condition, or none",
    ] {
        assert!(err.contains(said), "{said}\n---\n{err}");
    }
    assert_eq!(desk.run(&["test", "@missing.yaml"]).0, Some(1));
    assert_eq!(desk.run(&["test"]).0, Some(2));
}
