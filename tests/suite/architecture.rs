//! Who may import whom, and what is absent: the rules of ARCHITECTURE.md, held against the source text.
//!
//! Only the code above a file's own tests counts. Each rule is also tried on a planted violation, because a checker
//! that finds nothing may simply not look.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Room, and the rooms it may import. A room not named here may not exist.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("lib", EVERYTHING),
    ("main", &["cli"]),
    ("cli", &["service", "container"]),
    (
        "service",
        &[
            "config",
            "telemetry",
            "http",
            "client",
            "pipeline",
            "incident",
            "condition",
            "plan",
            "action",
            "template",
            "ledger",
            "dead_letter",
            "guard",
            "transport",
            "traces",
            "secret",
            "yaml",
            "container",
            "certificate",
            "ckms",
            "files",
        ],
    ),
    ("pipeline", &["incident", "condition", "plan", "action", "ledger", "client", "dead_letter", "guard"]),
    ("plan", &["incident", "condition", "action", "template", "ledger"]),
    ("condition", &["incident", "yaml", "guard"]),
    ("action", &["incident", "template", "transport", "secret", "yaml", "guard"]),
    ("ledger", &["incident", "action"]),
    ("transport", &["client"]),
    ("traces", &["secret", "transport"]),
    ("certificate", &["files"]),
    ("files", &[]),
    ("ckms", &["secret", "transport", "certificate"]),
    ("config", &["yaml", "secret", "guard"]),
    ("guard", &["yaml"]),
    ("dead_letter", &[]),
    ("incident", &[]),
    ("template", &["incident", "secret", "yaml"]),
    ("yaml", &[]),
    ("secret", &["client"]),
    ("telemetry", &[]),
    ("http", &[]),
    ("container", &[]),
    ("client", &[]),
];

/// `lib.rs` declares the rooms.
const EVERYTHING: &[&str] = &[];

/// One source file: its path below `src/`, and its text.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn room(&self) -> String {
        let first = self.path.iter().next().expect("a file has a name").to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// How many modules below the crate this file's module is.
    fn depth(&self) -> usize {
        let parts = self.path.components().count();
        if self.path.ends_with("mod.rs") { parts - 1 } else { parts }
    }

    /// The code without comments, text in quotes, and the tests at the foot.
    fn code(&self) -> String {
        let text = self.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let without = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        blank_quotes(&without.collect::<Vec<_>>().join("\n"))
    }

    /// The rooms that the code names.
    fn imports(&self) -> Vec<String> {
        let code = self.code();
        let to_root = "super::".repeat(self.depth());
        let mut found = Vec::new();
        for prefix in ["crate::", "kafka_consumer::", to_root.as_str()] {
            for (at, _) in code.match_indices(prefix) {
                // `super::super::x` also contains `super::x`: only a chain of the right length leads to the root.
                let before = &code[..at];
                if before.ends_with("::") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                    continue;
                }
                found.extend(heads(&code[at + prefix.len()..]));
            }
        }
        found.retain(|name| MAY_IMPORT.iter().any(|(room, _)| room == name));
        found
    }

    fn violations(&self) -> Vec<String> {
        let room = self.room();
        let place = self.path.display();
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| *known == room) else {
            return vec![format!("src/{place}: the room `{room}` is in no table; add it to ARCHITECTURE.md and here")];
        };
        let mut found: Vec<String> = self
            .imports()
            .into_iter()
            .filter(|import| *import != room && !allowed.contains(&import.as_str()))
            .map(|import| format!("src/{place}: `{room}` may not import `{import}`"))
            .collect();
        found.dedup();
        found
    }
}

/// Empties quoted text on one line; `'"'` is left alone.
fn blank_quotes(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    for line in code.lines() {
        let parts: Vec<&str> = line.split('"').collect();
        for (index, part) in parts.iter().enumerate() {
            if index % 2 == 0 {
                out.push_str(part);
            }
        }
        out.push('\n');
    }
    out
}

/// The first names of a path or of a group of paths: `a::b` gives a; `{a::{x, y}, b}` gives a and b.
fn heads(path: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut depth = 0;
    let mut names = vec![name(group.trim_start())];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    names
}

fn sources(below: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(below);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_of_tests(&path) {
                let text = std::fs::read_to_string(&path).expect("text");
                found.push(Source { path: path.strip_prefix(&root).expect("below").to_owned(), text });
            }
        }
    }
    assert!(!found.is_empty(), "{below} holds no sources");
    found
}

/// A module of unit tests in a file of its own may reach for what the code may not.
fn is_of_tests(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
        || path.parent().is_some_and(|parent| parent.ends_with("tests"))
}

#[track_caller]
fn none(violations: impl IntoIterator<Item = String>) {
    let violations: Vec<String> = violations.into_iter().collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn nobody_imports_what_his_room_may_not() {
    none(sources("src").iter().flat_map(Source::violations));
}

#[test]
fn a_planted_import_is_found_however_it_is_written() {
    let planted = [
        ("incident/parse.rs", "use crate::client::Consumer;"),
        ("incident/parse.rs", "use crate::{yaml, client::{Event, Commit}};"),
        ("incident/mod.rs", "fn f() { crate::ledger::open(); }"),
        ("incident/mod.rs", "use super::client;"),
        ("incident/parse.rs", "use super::super::client::Consumer;"),
        ("client/group/run.rs", "use crate::incident::Incident;"),
        ("main.rs", "use kafka_consumer::service;"),
        ("novelty.rs", "fn f() {}"),
    ];
    for (path, text) in planted {
        let source = Source { path: path.into(), text: text.to_owned() };
        assert!(!source.violations().is_empty(), "{path}: {text}");
    }
    let innocent = [
        ("pipeline/mod.rs", "use crate::client::Consumer;"),
        ("incident/parse.rs", "//! Not crate::client.\nuse super::path; use crate::incident::Alert;"),
        ("incident/parse.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use crate::yaml; }"),
    ];
    for (path, text) in innocent {
        none(Source { path: path.into(), text: text.to_owned() }.violations());
    }
}

#[test]
fn every_file_says_at_its_top_what_lives_there() {
    let all = ["src", "proto/src", "tests/broker/src", "tests/suite"].map(sources);
    let silent = all.iter().flatten().filter(|source| !source.text.starts_with("//! "));
    none(silent.map(|source| format!("{} does not start with //!", source.path.display())));
}

#[test]
fn nothing_is_unsafe_anywhere() {
    let word = concat!("un", "safe");
    let all = ["src", "proto/src", "tests/broker/src", "tests/suite"].map(sources);
    let found = all.iter().flatten().filter(|source| {
        let code = source.code();
        code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|token| token == word)
    });
    none(found.map(|source| format!("{} holds the word {word}", source.path.display())));
}

#[test]
fn crates_with_one_room_stay_in_it() {
    // Crate, and the prefix of the only files that may name it.
    let rooms = BTreeMap::from([
        ("rskafka::", "client/connection"),
        ("redb::", "ledger/"),
        ("minijinja::", "template"),
        ("prometheus_client::", "telemetry/"),
        ("opentelemetry", "traces/"),
        ("axum::", "http/"),
        ("x509_parser::", "certificate"),
        ("clap::", "cli/"),
    ]);
    let mut found = Vec::new();
    for source in sources("src") {
        let (path, code) = (source.path.to_string_lossy().into_owned(), source.code());
        for (name, room) in &rooms {
            if code.contains(name) && !path.starts_with(room) {
                found.push(format!("src/{path}: {name} belongs to src/{room}"));
            }
        }
    }
    none(found);
}

#[test]
fn kafka_as_arithmetic_knows_no_world() {
    let mut found = Vec::new();
    for source in sources("proto/src") {
        let code = source.code();
        for word in ["tokio", "std::net", "std::env", "std::fs", "SystemTime", "Instant::now", "getrandom", "tracing"] {
            if code.contains(word) {
                found.push(format!("proto/src/{}: {word}", source.path.display()));
            }
        }
    }
    none(found);
}
