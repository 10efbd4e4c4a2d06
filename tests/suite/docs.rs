//! What the documentation shows: every YAML example loads, and does with the records below it what it says.

use std::fmt::Write as _;
use std::path::Path;

use crate::world::process::binary;

/// What an example needs and does not show.
const KAFKA: &str = "kafka: {brokers: [\"a:9092\"], topics: [t], consumer_group_id: g}\n";
const INCIDENT_ACTIONS: &str = "incident_actions: [{name: announce, type: webhook, url: 'http://t/'}]\n";
const ALERT_ACTIONS: &str = "alert_actions: [{name: restart, type: webhook, url: 'http://t/'}]\n";

fn page(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The text of every block of YAML with the line it begins in.
fn examples(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(page.lines()) {
        match (line, &mut open) {
            ("```yaml", None) => open = Some((number, String::new())),
            ("```", Some(_)) => found.extend(open.take()),
            (line, Some((_, text))) => writeln!(text, "{line}").expect("memory"),
            (_, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

fn run(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = binary().current_dir(folder).args(["--config", "config.yaml"]).args(words).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// Loads each example of a page, and holds it against the records that stand with it.
fn check(name: &str, least: usize) {
    let examples = examples(&page(name));
    assert!(examples.len() >= least, "{name} has {} examples", examples.len());
    for (line, example) in examples {
        let (config, tests) = example.split_once("tests:\n").unwrap_or((&example, ""));
        let mut whole = KAFKA.to_owned() + config;
        if !config.contains("incident_conditions:") {
            whole.push_str("incident_conditions: []\n");
        }
        for (key, default) in [("incident_actions:", INCIDENT_ACTIONS), ("alert_actions:", ALERT_ACTIONS)] {
            if !config.lines().any(|line| line.starts_with(key)) {
                whole.push_str(default);
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).expect("a file");
        write("config.yaml", &whole);
        let (code, said) = run(folder.path(), &["check"]);
        assert_eq!(code, Some(0), "{name}:{line}: {said}\n{whole}");
        assert!(!said.contains("can never match") && !said.contains("regex:"), "{name}:{line}: {said}");
        if !tests.is_empty() {
            write("rules.test.yaml", &format!("tests:\n{tests}"));
            let (code, said) = run(folder.path(), &["test", "rules.test.yaml"]);
            assert_eq!(code, Some(0), "{name}:{line}: {said}");
        }
    }
}

#[test]
fn every_example_of_the_condition_language_loads_and_does_what_it_says() {
    check("docs/conditions.md", 14);
}

#[test]
fn every_example_of_the_model_loads() {
    check("docs/model.md", 5);
}

#[test]
fn the_example_of_traces_loads() {
    check("docs/traces.md", 1);
}

#[test]
fn the_example_of_the_readme_loads() {
    check("README.md", 1);
}

#[test]
fn every_operator_and_every_test_that_looks_back_has_an_example() {
    let page = page("docs/conditions.md");
    let examples: String = examples(&page).into_iter().map(|(_, text)| text).collect();
    for word in [
        "equals",
        "not_in",
        "in [",
        "regex",
        "glob",
        "contains",
        "starts_with",
        "ends_with",
        "ignore_case",
        "gt",
        "lte",
        "exists",
        "older_than",
        "newer_than",
        "all:",
        "any:",
        "none:",
        "at_least",
        "share_at_least",
        "quantifier: none",
        "occurrences",
        "quiet_for",
        "throttle",
        "schedule",
        "maintenance",
        "missing: error",
    ] {
        assert!(examples.contains(word), "no example of {word}");
    }
}
