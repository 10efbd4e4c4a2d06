//! `--help` of every command: an example, and the exit codes where there are any beside 0, 1 and 2.

use crate::world::process::binary;

/// Exit code, standard output, standard error.
fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let output = binary().args(words).output().expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = list.take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    names.filter(|name| name != "help").collect()
}

/// Every command with those below it, and its help.
fn all(path: &[String], found: &mut Vec<(String, String)>) {
    let mut words: Vec<&str> = path.iter().map(String::as_str).collect();
    words.push("--help");
    let (code, help, err) = run(&words);
    assert_eq!(code, Some(0), "{words:?}: {err}");
    for name in commands(&help) {
        all(&[path, &[name]].concat(), found);
    }
    found.push((path.join(" "), help));
}

#[test]
fn every_command_shows_an_example_that_names_it() {
    let mut found = Vec::new();
    all(&[], &mut found);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    for wanted in [
        "",
        "run",
        "check",
        "doctor",
        "explain",
        "replay",
        "test",
        "history import",
        "history settle",
        "dead-letter list",
        "pause",
    ] {
        assert!(names.contains(&wanted), "{wanted} in {names:?}");
    }
    for (name, help) in &found {
        assert!(help.contains("Example"), "`{name} --help` has no example:\n{help}");
        let example =
            if name.is_empty() { "kafka_consumer --config".to_owned() } else { format!("kafka_consumer {name}") };
        assert!(help.contains(&example), "`{name} --help` has no line `{example} ...`:\n{help}");
        assert!(help.contains("Exit codes"), "`{name} --help` says nothing of exit codes:\n{help}");
        assert!(!help.contains('\u{1b}'), "colour without a terminal: {help}");
    }
}

#[test]
fn a_command_that_does_not_exist_names_the_nearest_and_exits_with_2() {
    let (code, _, err) = run(&["replya"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("replay"), "{err}");
    let (code, out, _) = run(&["--version"]);
    assert!(code == Some(0) && out.starts_with("kafka_consumer "), "{out}");
}
