//! Conditions as they are written, against a record: one check per promise of the language.

use super::*;
use crate::yaml;

const NOW: i64 = 1_769_756_000;
const RECORD: &str = r#"{"incident": {"id": "60f1", "status": "Critical", "active": true, "resolved": false, "updatedOn": 1769755540,
    "snooze": {"snoozed": false}, "environments": ["sre", "dev"], "assignee": null, "count": 7, "ratio": 0.5,
    "deep": {"er": {"list": [4, {"name": "there"}]}}, "deepThing": "camel",
    "incidentTags": [{"id": "alert_type", "value": "oozie"}, {"id": "priority", "value": ["P2", "P3"]}, {"id": "version", "value": "1.10"},
        {"id": "place", "value": "Zürich (A+B)"}],
    "alerts": [{"id": "a1", "host": "h1.example", "startedOn": 1769755000, "updatedOn": 1769755900, "tags": [{"name": "severity", "value": "critical"}]},
               {"id": "a2", "host": "h2.example", "tags": [{"name": "severity", "value": "warning"}]},
               {"id": "a3", "tags": []}]}}"#;

fn compile(text: &str) -> (Conditions, Mistakes) {
    let mistakes = Mistakes::default();
    let node = yaml::parse(text, &mistakes).expect("yaml");
    (Conditions::compile(Some(&node), "incident_conditions", &mistakes), mistakes)
}

/// The verdict of one condition, given as the YAML of its tests, on the record.
#[track_caller]
fn verdict(tests: &str) -> Verdict {
    let (conditions, mistakes) = compile(&format!("[{{name: c, incident_actions: [a], {tests}}}]"));
    assert!(mistakes.is_empty(), "{tests}: {mistakes}");
    let incident = Incident::parse(RECORD.as_bytes()).expect("record");
    let evidence = conditions.explain(&incident, NOW).conditions[0].evidence.clone();
    let matched = conditions.decide(&incident, NOW).matched.is_some();
    assert_eq!(matched, evidence.verdict == Verdict::True, "{tests}: decision and evidence differ\n{evidence}");
    evidence.verdict
}

#[track_caller]
fn check(expected: Verdict, tests: &[&str]) {
    for test in tests {
        assert_eq!(verdict(test), expected, "{test}");
    }
}

#[test]
fn a_scalar_means_equality_a_list_means_any_of() {
    check(
        Verdict::True,
        &[
            "active: true, resolved: false",
            "tags: {alert_type: oozie}",
            "tags: {alert_type: [spark, oozie]}",
            "tags: {priority: P3}",
            "status: critical",
            "status: [CRITICAL, warning]",
            "environments: dev",
            "snooze.snoozed: false",
            "incident.count: 7",
            "incident.count: '7'",
            "incident.ratio: 0.5",
            "tags: {version: 1.10}",
        ],
    );
    check(
        Verdict::False,
        &[
            "active: false",
            "tags: {alert_type: OOZIE}",
            "tags: {priority: [P1, P4]}",
            "tags: {version: 1.1}",
            "incident.count: 8",
        ],
    );
    check(Verdict::Missing, &["tags: {nothing: x}", "incident.nothing: [a, b]", "flapping: true"]);
}

#[test]
fn operators_do_as_they_are_named() {
    check(
        Verdict::True,
        &[
            "tags: {alert_type: {regex: '^oo.ie$'}}",
            "tags: {alert_type: {regex: OOZ, ignore_case: true}}",
            "tags: {alert_type: {glob: 'oo*'}}",
            "tags: {alert_type: {contains: ozi}}",
            "tags: {alert_type: {contains: [x, ozi]}}",
            "tags: {alert_type: {starts_with: oo, ends_with: ie}}",
            "tags: {alert_type: {starts_with: OO, ignore_case: true}}",
            "tags: {alert_type: {ends_with: IE, ignore_case: true}}",
            "tags: {alert_type: {equals: Oozie, ignore_case: true}}",
            "tags: {alert_type: {not_equals: spark}}",
            "tags: {priority: {not_in: [P1, P4]}}",
            "incident.count: {gt: 6, lte: 7}",
            "incident.count: {gte: 7, lt: 7.5}",
            "tags: {alert_type: {exists: true}, nothing: {exists: false}}",
            "assignee: ~",
            "assignee: {exists: false}",
            "updated_on: {newer_than: 10m}",
            "updated_on: {older_than: 5m}",
            "max_seconds_since_updated: 460",
        ],
    );
    check(
        Verdict::False,
        &[
            "tags: {alert_type: {regex: '^zie'}}",
            "tags: {alert_type: {starts_with: oo, ends_with: x}}",
            "tags: {priority: {not_equals: P2}}",
            "incident.count: {gt: 7}",
            "assignee: {exists: true}",
            "max_seconds_since_updated: 459",
            "updated_on: {older_than: 10m}",
        ],
    );
}

#[test]
fn what_cannot_be_judged_is_missing_and_so_is_its_negation() {
    check(
        Verdict::Missing,
        &[
            "tags: {alert_type: {gt: 5}}",
            "tags: {nothing: {not_equals: x}}",
            "none: [{tags: {nothing: x}}]",
            "none: [{tags: {alert_type: {gt: 5}}}]",
            "tags: {alert_type: {newer_than: 5m}}",
            "all: [{active: true}, {flapping: false}]",
        ],
    );
    check(Verdict::False, &["all: [{active: false}, {flapping: false}]", "none: [{active: true}, {flapping: true}]"]);
    check(Verdict::True, &["any: [{active: true}, {flapping: false}]"]);
}

#[test]
fn groups_nest() {
    check(
        Verdict::True,
        &[
            "any: [{status: ok}, {all: [{active: true}, {none: [{tags: {alert_type: spark}}]}]}]",
            "none: [{status: ok}, {tags: {priority: P1}}]",
        ],
    );
    check(Verdict::False, &["any: [{status: ok}, {active: false, tags: {alert_type: oozie}}]"]);
}

#[test]
fn alerts_are_counted_by_the_quantifier() {
    check(
        Verdict::True,
        &[
            "alert_conditions: {tags: {severity: critical}}",
            "alert_conditions: {host: {ends_with: .example}, incident.count: 7, incident_tags: {alert_type: oozie}}",
            "alert_conditions: {quantifier: {at_least: 2}, tags: {severity: [critical, warning]}}",
            "alert_conditions: {quantifier: {share_at_least: 60%}, tags: {severity: [critical, warning]}}",
            "alert_conditions: {quantifier: all, id: {starts_with: a}}",
            "alert_conditions: {quantifier: none, id: b}",
            "alert_conditions: {any: [{tags: {severity: warning}}, {alert.host: x}]}",
        ],
    );
    check(
        Verdict::False,
        &[
            "alert_conditions: {id: b}",
            "alert_conditions: {quantifier: all, id: a1}",
            "alert_conditions: {quantifier: none, id: a2}",
            "alert_conditions: {quantifier: {at_least: 3}, id: [a1, a2]}",
        ],
    );
    // Two hosts pass and the third alert has none: it could have made three.
    check(Verdict::Missing, &["alert_conditions: {quantifier: {at_least: 3}, host: {contains: example}}"]);
}

#[test]
fn the_alerts_that_satisfy_the_alert_conditions_are_supported() {
    let incident = Incident::parse(RECORD.as_bytes()).expect("record");
    let supported = |tests: &str| {
        let (conditions, mistakes) = compile(&format!("[{{name: c, alert_actions: [a], {tests}}}]"));
        assert!(mistakes.is_empty(), "{mistakes}");
        conditions.decide(&incident, NOW).matched.expect("match").supported_alerts
    };
    assert_eq!(supported("alert_conditions: {tags: {severity: [warning, other]}}"), [1]);
    assert_eq!(supported("active: true"), [0, 1, 2]);
}

#[test]
fn the_first_match_wins_and_the_explanation_says_why_the_others_do_not() {
    let (conditions, mistakes) = compile(
        "- {name: spark, tags: {alert_type: spark}, incident_actions: [a]}\n\
         - {name: hadoop, active: true, tags: {alert_type: [oozie, hdfs]}, incident_actions: [a]}\n\
         - {name: everything, active: true, incident_actions: [a]}\n\
         - {name: flapping, flapping: true, incident_actions: [a]}\n",
    );
    assert!(mistakes.is_empty(), "{mistakes}");
    let incident = Incident::parse(RECORD.as_bytes()).expect("record");
    let found = conditions.decide(&incident, NOW).matched.expect("match");
    assert_eq!((found.condition.name.as_str(), found.index), ("hadoop", 1));
    let explanation = conditions.explain(&incident, NOW);
    assert_eq!(explanation.matched.as_deref(), Some("hadoop"));
    let reasons: Vec<_> = explanation.conditions.iter().map(|one| (one.shadowed, one.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (false, "tags.alert_type equals \"spark\": found \"oozie\""),
            (false, "active equals \"true\": found true"),
            (true, "active equals \"true\": found true"),
            (true, "flapping equals \"true\": found missing"),
        ]
    );
    assert!(
        explanation.to_string().contains("false   tags.alert_type equals \"spark\": found \"oozie\""),
        "{explanation}"
    );
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let (_, mistakes) = compile(
        "- name: a\n  activ: true\n  tags: {x: {regexp: y}}\n  alert_conditions: {sevrity: x, quantifier: most}\n\
         - name: a\n  tags: {y: {regex: '('}}\n  any: []\n  status: []\n  max_seconds_since_updated: soon\n\
         - incident_actions: [{a: b}]\n  mode: lve\n  max_concurrent_alerts: 0\n  snooze: {snoozed: false}\n",
    );
    let found: Vec<_> = mistakes.all().iter().map(ToString::to_string).collect();
    let expected = [
        "line 2, column 3: incident_conditions[0].activ: unknown key; a field of your own is named `incident.activ` (did you mean `active`?)",
        "line 3, column 14: incident_conditions[0].tags.x.regexp: `regexp` is no operator (did you mean `regex`?)",
        "line 4, column 22: incident_conditions[0].alert_conditions.sevrity: unknown key; a field of your own is named `alert.sevrity` (did you mean `severity`?)",
        "line 4, column 46: incident_conditions[0].alert_conditions.quantifier: expected any, all, none, {at_least: N} or {share_at_least: 50%}",
        "line 5, column 3: incident_conditions[1].name: the name `a` is taken by the condition in line 1",
        "line 6, column 21: incident_conditions[1].tags.y.regex: not a pattern: unclosed group",
        "line 7, column 8: incident_conditions[1].any: expected a list of tests, found a list",
        "line 8, column 11: incident_conditions[1].status: an empty list never matches",
        "line 9, column 30: incident_conditions[1].max_seconds_since_updated: expected a number of seconds, or a duration such as 1h",
        "line 10, column 3: incident_conditions[2].name: is required and missing",
        "line 10, column 22: incident_conditions[2].incident_actions[0]: expected the name of an action, found a map",
        "line 11, column 9: incident_conditions[2].mode: expected one of live, shadow, found `lve` (did you mean `live`?)",
        "line 12, column 26: incident_conditions[2].max_concurrent_alerts: expected a whole number of at least 1, found `0`",
        "line 13, column 12: incident_conditions[2].snooze.snoozed: `snoozed` is no operator; a field inside this one is named `snooze.snoozed`",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn actions_that_are_not_defined_are_mistakes() {
    let (conditions, mistakes) =
        compile("[{name: c, active: true, incident_actions: [anounce, hook], alert_actions: hook}]");
    conditions.check_actions(&["announce"], &["hook"], &mistakes);
    let found: Vec<_> = mistakes.all().iter().map(|mistake| mistake.what.clone()).collect();
    assert_eq!(
        found,
        ["no action named `anounce` under `incident_actions`", "`hook` is defined, but not under `incident_actions`"]
    );
    assert_eq!(mistakes.all()[0].nearest.as_deref(), Some("announce"));
}

#[test]
fn an_index_leaves_out_only_what_could_not_match() {
    let rules: String = (0..200)
        .map(|n| format!("- {{name: c{n}, incident_actions: [a], tags: {{alert_type: [t{n}, u{n}]}}}}\n"))
        .chain(["- {name: alerts, incident_actions: [a], alert_conditions: {tags: {severity: warning}}}\n".to_owned()])
        .collect();
    let (conditions, mistakes) = compile(&rules);
    assert!(mistakes.is_empty(), "{mistakes}");
    for (tag, expected) in [("\"u137\"", Some("c137")), ("[\"x\", \"t5\"]", Some("c5")), ("\"x\"", None), ("5", None)] {
        let record = format!(r#"{{"id": "i", "tags": [{{"id": "alert_type", "value": {tag}}}]}}"#);
        let incident = Incident::parse(record.as_bytes()).expect("record");
        let matched = conditions.decide(&incident, NOW).matched;
        assert_eq!(matched.map(|found| found.condition.name.clone()).as_deref(), expected, "{tag}");
    }
    let incident = Incident::parse(RECORD.as_bytes()).expect("record");
    assert_eq!(conditions.decide(&incident, NOW).matched.expect("match").index, 200);
}

/// Each operator on the tag `kind`, once as it is and once without letter case: what holds and what does not.
#[test]
fn every_operator_of_text_takes_letter_case_or_leaves_it() {
    let operators = [
        ("equals", "oozie", "spark"),
        ("in", "[spark, oozie]", "[spark, hive]"),
        ("regex", "'^oo.ie$'", "'^zie'"),
        ("regex", "oozie", "spark"),
        ("glob", "'oo*e'", "'s*'"),
        ("glob", "'{spark,oozi?}'", "'oo?'"),
        ("contains", "ozi", "ark"),
        ("starts_with", "oo", "zie"),
        ("ends_with", "ie", "oo"),
    ];
    for (operator, holds, fails) in operators {
        let test = |wanted: &str, ignore: bool| {
            format!("tags: {{alert_type: {{{operator}: {wanted}, ignore_case: {ignore}}}}}")
        };
        let upper = holds.to_uppercase();
        check(Verdict::True, &[&test(holds, false), &test(holds, true), &test(&upper, true)]);
        check(Verdict::False, &[&test(&upper, false), &test(fails, false), &test(fails, true)]);
    }
    for (operator, wanted) in [("not_equals", "OOZIE"), ("not_in", "[spark, OOZIE]")] {
        let test = |ignore: bool| format!("tags: {{alert_type: {{{operator}: {wanted}, ignore_case: {ignore}}}}}");
        check(Verdict::True, &[&test(false)]);
        check(Verdict::False, &[&test(true)]);
    }
}

#[test]
fn letter_case_beyond_ascii_is_left_too_and_special_letters_are_no_pattern_outside_regex() {
    check(
        Verdict::True,
        &[
            "tags: {place: {equals: 'zÜRICH (A+B)', ignore_case: true}}",
            "tags: {place: {contains: 'RICH (a+', ignore_case: true}}",
            "tags: {place: {starts_with: 'ZÜ', ignore_case: true}}",
            "tags: {place: {ends_with: '(a+b)', ignore_case: true}}",
            "tags: {place: {regex: '^zürich \\(a\\+b\\)$', ignore_case: true}}",
            "tags: {place: {contains: '(A+B'}}",
        ],
    );
    check(Verdict::False, &["tags: {place: {ends_with: 'A.B)', ignore_case: true}}"]);
}

#[test]
fn status_and_severity_are_words_without_letter_case_unless_asked_otherwise() {
    check(Verdict::True, &["status: cRITICAL", "status: {not_equals: ok}", "status: {contains: CRIT}"]);
    check(Verdict::False, &["status: {equals: critical, ignore_case: false}", "status: {not_equals: CRITICAL}"]);
}

#[test]
fn every_operator_but_exists_says_missing_of_what_is_not_there() {
    let operators = [
        "equals: x",
        "not_equals: x",
        "in: [x]",
        "not_in: [x]",
        "regex: x",
        "glob: x",
        "contains: x",
        "starts_with: x",
        "ends_with: x",
        "gt: 1",
        "gte: 1",
        "lt: 1",
        "lte: 1",
        "older_than: 1h",
        "newer_than: 1h",
    ];
    for operator in operators {
        check(
            Verdict::Missing,
            &[
                &format!("incident.nothing: {{{operator}}}"),
                &format!("assignee: {{{operator}}}"),
                &format!("none: [{{incident.nothing: {{{operator}}}}}]"),
                &format!("alert_conditions: {{alert.nothing: {{{operator}}}}}"),
                &format!("alert_conditions: {{quantifier: none, alert.nothing: {{{operator}}}}}"),
            ],
        );
    }
    check(
        Verdict::True,
        &["incident.nothing: {exists: false}", "alert_conditions: {quantifier: all, id: {exists: true}}"],
    );
    check(Verdict::False, &["incident.nothing: {exists: true}", "alert_conditions: {alert.nothing: {exists: true}}"]);
}

#[test]
fn any_field_of_the_record_is_named_by_its_path() {
    check(
        Verdict::True,
        &[
            "incident.snooze.snoozed: false",
            "incident.deep.er.list.1.name: there",
            "incident.deep.er.list.0: 4",
            "incident.deepThing: camel",
            "incident.deep_thing: camel",
            "incident.alerts: {gte: 3}",
            "incident.tags.version: 1.10",
            "alert_conditions: {alert.host: h1.example, alert.tags.severity: critical, incident.deep.er.list.0: {lt: 5}}",
        ],
    );
    check(Verdict::Missing, &["incident.deep.er.list.9: 4", "incident.deep.er.list.0.name: x", "incident.deep.no: 1"]);
}

#[test]
fn groups_nest_inside_alert_conditions_and_see_the_incident_too() {
    check(
        Verdict::True,
        &[
            "alert_conditions: {any: [{host: x}, {all: [{id: a2}, {none: [{incident.count: 8}, {tags: {severity: ok}}]}]}]}",
        ],
    );
    check(Verdict::False, &["alert_conditions: {none: [{id: {starts_with: a}}]}"]);
}

#[test]
fn a_share_counts_all_alerts_and_is_certain_only_when_no_unknown_one_could_turn_it() {
    let share = |percent: &str, tests: &str| {
        verdict(&format!("alert_conditions: {{quantifier: {{share_at_least: {percent}}}, {tests}}}"))
    };
    assert_eq!(share("33%", "id: a1"), Verdict::True);
    assert_eq!(share("34%", "id: a1"), Verdict::False);
    assert_eq!(share("66.6", "host: {contains: example}"), Verdict::True);
    assert_eq!(share("67%", "host: {contains: example}"), Verdict::Missing);
    assert_eq!(share("100%", "id: {starts_with: a}"), Verdict::True);
}

#[test]
fn ages_of_alerts_and_of_the_incident_are_measured_with_the_clock_that_is_given() {
    check(
        Verdict::True,
        &[
            "alert_conditions: {updated_on: {newer_than: 100s}, started_on: {older_than: 16m}}",
            "updated_on: {older_than: 459, newer_than: 460}",
        ],
    );
    check(
        Verdict::False,
        &["alert_conditions: {id: a1, updated_on: {newer_than: 99s}}", "updated_on: {older_than: 460}"],
    );
}

#[test]
fn a_missing_value_counts_as_false_unless_it_is_an_error_and_the_explanation_says_which() {
    let decide = |missing: &str| {
        let (conditions, mistakes) = compile(&format!(
            "- {{name: first, {missing} tags: {{nothing: x}}, incident_actions: [a]}}\n\
             - {{name: second, active: true, incident_actions: [a]}}\n"
        ));
        assert!(mistakes.is_empty(), "{mistakes}");
        let incident = Incident::parse(RECORD.as_bytes()).expect("record");
        let text = conditions.explain(&incident, NOW).to_string();
        (conditions.decide(&incident, NOW), text)
    };
    for missing in ["", "missing: false,"] {
        let (Decision { matched, undecided, seen: _ }, text) = decide(missing);
        assert_eq!((matched.map(|found| found.index), undecided), (Some(1), None));
        assert!(text.contains("first (missing: counts as false)\n"), "{text}");
    }
    let (Decision { matched, undecided, seen: _ }, text) = decide("missing: error,");
    assert!(matched.is_none());
    assert_eq!(
        undecided.expect("nobody knows").to_string(),
        "condition `first` cannot be judged, which is an error by its setting `missing`: \
         tags.nothing equals \"x\": found missing"
    );
    assert!(text.contains("first (missing: an error, so nothing is done)\n"), "{text}");
    assert!(text.ends_with("matched: none, for `first` cannot be judged\n"), "{text}");
}

#[test]
fn where_a_missing_value_is_an_error_a_test_that_fails_still_decides() {
    let (conditions, _) = compile(
        "- {name: first, missing: error, active: false, tags: {nothing: x}, incident_actions: [a]}\n\
         - {name: second, active: true, incident_actions: [a]}\n",
    );
    let incident = Incident::parse(RECORD.as_bytes()).expect("record");
    assert_eq!(conditions.decide(&incident, NOW).matched.map(|found| found.index), Some(1));
}

#[test]
fn the_reasons_name_every_test_that_decided_and_of_a_negation_the_one_that_made_it() {
    let reasons = |tests: &str| {
        let (conditions, mistakes) = compile(&format!("[{{name: c, incident_actions: [a], {tests}}}]"));
        assert!(mistakes.is_empty(), "{mistakes}");
        let incident = Incident::parse(RECORD.as_bytes()).expect("record");
        let evidence = conditions.explain(&incident, NOW).conditions[0].evidence.clone();
        assert_eq!(evidence.reasons().first(), Some(&evidence.reason()), "{tests}");
        evidence.reasons()
    };
    assert_eq!(
        reasons("active: false, resolved: false, incident.count: 8"),
        ["active equals \"false\": found true", "count equals \"8\": found 7"]
    );
    assert_eq!(reasons("none: [{resolved: true}, {active: true}]"), ["none of: active equals \"true\": found true"]);
    assert_eq!(
        reasons("alert_conditions: {quantifier: none, id: [a1, a3]}"),
        [
            "no alert: alert a1: id in [\"a1\", \"a3\"]: found \"a1\"",
            "no alert: alert a3: id in [\"a1\", \"a3\"]: found \"a3\"",
        ]
    );
    assert_eq!(
        reasons("incident.nothing: 5, occurrences: {at_least: 2, within: 1m}"),
        ["nothing equals \"5\": found missing"]
    );
}
