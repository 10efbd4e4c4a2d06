//! `tests/FAULTS.md` against the code: every case of the list has a row, every row a test that exists or a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How many cases each letter has.
const CASES: &[(char, usize)] = &[('G', 20), ('O', 16), ('N', 10), ('A', 5), ('L', 6)];

/// The crates of the tests, by the word that the table uses.
const CRATES: &[(&str, &str)] =
    &[("suite", "tests/suite"), ("client", "src/client"), ("proto", "proto/src"), ("proto-tests", "proto/tests")];

/// One row: the case, what must hold, and the tests or the reason.
struct Row {
    case: String,
    promise: String,
    proof: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("tests/FAULTS.md")).expect("the table");
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let is_case = |case: &str| {
        let number = case.strip_prefix(|letter: char| CASES.iter().any(|(known, _)| *known == letter));
        number.is_some_and(|number| number.parse::<usize>().is_ok())
    };
    let row = |cells: Vec<String>| match <[String; 3]>::try_from(cells) {
        Ok([case, promise, proof]) if is_case(&case) => Some(Row { case, promise, proof }),
        Ok(_) | Err(_) => None,
    };
    text.lines().filter(|line| line.starts_with('|')).map(cells).filter_map(row).collect()
}

/// The tests that a cell names: `` `suite faults::logs::o07_…` ``.
fn tests_in(proof: &str) -> Vec<(&str, &str)> {
    let quoted = proof.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|text| text.split_once(' '))
        .filter(|(place, _)| CRATES.iter().any(|(known, _)| known == place))
        .collect()
}

/// The files that could hold a module: `a/b.rs`, `a/b/mod.rs`, `a/b/tests.rs`, and `a.rs` for a test directly in `a`.
fn files_of(folder: &str, modules: &[&str]) -> Vec<PathBuf> {
    let base = modules.iter().fold(root().join(folder), |path, module| path.join(module));
    let beside = base.with_extension("rs");
    vec![beside, base.join("mod.rs"), base.join("tests.rs"), base.join("main.rs")]
}

fn exists(place: &str, path: &str) -> bool {
    let Some((_, folder)) = CRATES.iter().find(|(known, _)| *known == place) else { return false };
    let mut parts: Vec<_> = path.split("::").collect();
    let Some(name) = parts.pop() else { return false };
    let plain = format!("fn {name}(");
    files_of(folder, &parts).into_iter().filter_map(|file| std::fs::read_to_string(file).ok()).any(|text| {
        let Some(at) = text.find(&plain) else { return false };
        let (before, _) = text.split_at(at);
        let attributes: Vec<_> = before.lines().rev().take(4).collect();
        attributes.iter().any(|line| ["#[test]", "#[tokio::test"].iter().any(|test| line.trim().starts_with(test)))
    })
}

#[test]
fn every_case_of_the_list_has_a_row() {
    let wanted: BTreeSet<_> =
        CASES.iter().flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}"))).collect();
    let found: BTreeMap<_, usize> = rows().into_iter().fold(BTreeMap::new(), |mut found, row| {
        *found.entry(row.case).or_default() += 1;
        found
    });
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    assert!(found.values().all(|count| *count == 1), "{found:?}");
}

#[test]
fn every_row_names_tests_that_exist_or_says_why_there_is_none() {
    for row in rows() {
        assert!(!row.promise.is_empty(), "{} says nothing of what must hold", row.case);
        let tests = tests_in(&row.proof);
        assert!(
            !tests.is_empty() || row.proof.starts_with("Does not apply"),
            "{} has neither test nor reason",
            row.case
        );
        for (place, path) in tests {
            assert!(exists(place, path), "{}: there is no test `{place} {path}`", row.case);
        }
    }
}

#[test]
fn every_test_that_is_named_after_a_case_stands_in_its_row() {
    let rows: BTreeMap<_, _> = rows().into_iter().map(|row| (row.case, row.proof)).collect();
    let folder = root().join("tests/suite/faults");
    for entry in std::fs::read_dir(folder).expect("the folder of this file") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a source file");
        for name in text.lines().filter_map(|line| line.strip_prefix("async fn ")?.split('(').next()) {
            let Some((case, _)) = name.split_once('_') else { continue };
            let Some((letter, number)) = case.split_at_checked(1) else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            let case = format!("{}{number}", letter.to_uppercase());
            let proof = rows.get(&case).unwrap_or_else(|| panic!("{name} is of no case"));
            assert!(proof.contains(&format!("::{name}`")), "{name} is missing in the row of {case}");
        }
    }
}

#[test]
fn a_test_that_does_not_exist_is_missed() {
    assert!(exists("suite", "faults::table::a_test_that_does_not_exist_is_missed"));
    assert!(!exists("suite", "faults::table::rows"));
    assert!(!exists("suite", "faults::table::no_such_test"));
}
