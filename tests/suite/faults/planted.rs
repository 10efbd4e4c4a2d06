//! The planted bugs of `tests/mutations` still fit the source and name a test. `tools/planted-bugs` runs them.

use std::path::Path;

/// The text that a patch expects in one file: for each hunk the lines it keeps and takes out.
fn expected(patch: &str) -> Vec<String> {
    let hunks = patch.split("\n@@").skip(1);
    let old = |hunk: &str| {
        let lines: Vec<_> = hunk.lines().skip(1).filter_map(|line| line.strip_prefix([' ', '-'])).collect();
        lines.join("\n")
    };
    hunks.map(old).collect()
}

#[test]
fn every_planted_bug_says_what_it_is_names_its_test_and_fits_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("tests/mutations")).expect("the folder of the patches") {
        let path = entry.expect("an entry").path();
        let patch = std::fs::read_to_string(&path).expect("a patch");
        let header = |name: &str| patch.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let name = path.display();
        assert!(header("bug: ").is_some() && header("test: ").is_some(), "{name} says too little");
        let file = header("--- a/").unwrap_or_else(|| panic!("{name} changes no file"));
        let source = std::fs::read_to_string(root.join(&file)).expect("the file it changes");
        let hunks = expected(&patch);
        assert!(!hunks.is_empty(), "{name} changes nothing");
        for hunk in hunks {
            assert!(source.contains(&hunk), "{name} does not fit {file} any more:\n{hunk}");
        }
        count += 1;
    }
    assert!(count >= 12, "{count} planted bugs");
}
