//! The tools of a person at a terminal, as processes.

use std::path::Path;

use crate::world::desk::{Desk, RECORD};

fn exists(path: &Path) -> bool {
    path.try_exists().expect("a folder")
}

#[test]
fn explain_says_why_each_condition_matches_or_not_and_what_would_be_done() {
    let (code, out, err) = Desk::new().run(&["explain", "@record.json", "--at", "2026-03-14T15:30:00Z"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let normal = out.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "false tags.team equals \"dba\": found",
        "true tags.team equals \"sre\": found",
        "matched: ours",
        "announce POST http://t/sre/…",
        "fix POST http://t/fix/…",
    ] {
        assert!(normal.contains(said), "{said}\n---\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "colour without a terminal: {out}");
}

#[test]
fn explain_tells_programs_the_same_in_json() {
    let (code, out, _) = Desk::new().run(&["explain", "@record.json", "--output", "json"]);
    let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &told["matched"]), (Some(0), &"ours".into()));
    assert_eq!(told["steps"][0]["episode"], "60f1/-/5/ours/announce");
    assert_eq!(told["conditions"][0]["evidence"]["verdict"], "false");
}

#[test]
fn explain_has_an_exit_code_for_each_end() {
    let desk = Desk::new();
    desk.write("nobody.json", r#"{"id": "x"}"#);
    desk.write("broken.json", "{");
    assert_eq!(desk.run(&["explain", "@nobody.json"]).0, Some(3));
    let (code, _, err) = desk.run(&["explain", "@broken.json"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("broken.json is not an incident: not JSON at line 1"), "{err}");
    desk.write("config.yaml", "kafka: {brokerz: [a]}");
    let (code, _, err) = desk.run(&["explain", "@record.json"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("kafka.brokerz: unknown key"), "{err}");
}

#[test]
fn pause_writes_the_reason_where_the_service_looks_and_resume_removes_it() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["pause", "--why", "maintenance"]).0, Some(0));
    assert_eq!(std::fs::read_to_string(desk.path("PAUSED")).expect("the file"), "maintenance\n");
    assert_eq!(desk.run(&["resume"]).0, Some(0));
    assert!(!exists(&desk.path("PAUSED")));
    let (code, out, _) = desk.run(&["resume"]);
    assert_eq!((code, out.as_str()), (Some(0), "was not paused\n"));
}

#[test]
fn dead_letters_are_listed_shown_and_judged_anew() {
    use base64::Engine as _;
    let desk = Desk::new();
    let letter = |offset: u32, value: &str| {
        let value = base64::engine::general_purpose::STANDARD.encode(value);
        format!(
            r#"{{"topic":"t","partition":0,"offset":{offset},"timestamp_ms":0,"reason":"too large","key_base64":null,"value_base64":"{value}"}}"#
        )
    };
    desk.write("dead_letter.jsonl", &format!("{}\n{}\n", letter(7, RECORD), letter(8, "{")));
    let (code, out, err) = desk.run(&["dead-letter", "list"]);
    assert_eq!((code, out.lines().count()), (Some(0), 2), "{out}{err}");
    assert!(out.contains("t/0@7 too large"), "{out}");
    let (_, out, _) = desk.run(&["dead-letter", "show", "1"]);
    assert!(out.contains(r#"\"id\": \"60f1\""#), "{out}");
    assert_eq!(desk.run(&["dead-letter", "show", "3"]).0, Some(1));
    let (code, out, _) = desk.run(&["dead-letter", "redrive", "--out", "@accepted.jsonl"]);
    assert_eq!(code, Some(1), "one is refused still: {out}");
    assert!(out.contains("t/0@7 matches: ours") && out.contains("t/0@8 refused: not JSON"), "{out}");
    let accepted = std::fs::read_to_string(desk.path("accepted.jsonl")).expect("the file");
    assert_eq!(accepted.lines().count(), 1, "{accepted}");
}

pub(crate) mod ledger {
    use super::Desk;
    use kafka_consumer::ledger::{Attempt, Entry, EpisodeKey, Intent, Ledger, Opened, Origin, Outcome, Record};

    const KEY: &str = "60f1/-/5/ours/announce";

    fn open(desk: &Desk) -> Ledger {
        match Ledger::open(&desk.path("ledger.redb"), "the service").expect("it opens") {
            Opened::Ledger(ledger) => ledger,
            Opened::Standby(standby) => panic!("{standby}"),
        }
    }

    /// A desk whose ledger has one held episode; the ledger still open.
    pub(crate) fn with_one_held() -> (Desk, Ledger) {
        let desk = Desk::new();
        let ledger = open(&desk);
        let key: EpisodeKey = KEY.parse().expect("a key");
        let origin = Origin { topic: "t".into(), partition: 0, offset: 9, generation: 1 };
        let intent = Intent {
            action_type: "webhook".into(),
            request: "POST http://t".into(),
            origin,
            by: "p".into(),
            because: Vec::new(),
        };
        let entries = [
            Entry::Intent(intent),
            Entry::Attempt(Attempt { number: 1 }),
            Entry::Outcome(Outcome::Held { reason: "who knows".into() }),
        ];
        let record = |entry| Record { key: key.clone(), at_ms: 1_000, entry };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(ledger.append(entries.map(record).to_vec())).expect("written");
        (desk, ledger)
    }

    /// The writer lets go of the lock a moment after the last clone is dropped.
    pub(crate) fn let_go(desk: &Desk, ledger: Ledger) {
        drop(ledger);
        let free = || {
            let opened = Ledger::open(&desk.path("ledger.redb"), "a look").expect("it opens");
            matches!(opened, Opened::Ledger(_)).then_some(())
        };
        let patience = std::time::Duration::from_secs(10);
        crate::world::process::wait_for(|| "the lock".to_owned(), patience, free);
        let free = || (desk.run(&["history", "list"]).0 == Some(0)).then_some(());
        crate::world::process::wait_for(|| "the lock, again".to_owned(), patience, free);
    }

    #[test]
    fn history_names_who_holds_the_ledger() {
        let (desk, _ledger) = with_one_held();
        let (code, _, err) = desk.run(&["history", "list"]);
        assert_eq!(code, Some(1));
        assert!(err.contains("is held by the service; it has one holder at a time"), "{err}");
    }

    #[test]
    fn history_creates_no_ledger() {
        let desk = Desk::new();
        let (code, _, err) = desk.run(&["history", "list"]);
        assert_eq!(code, Some(1));
        assert!(err.contains("there is no ledger"), "{err}");
        assert!(!super::exists(&desk.path("ledger.redb")));
    }

    #[test]
    fn what_is_held_is_settled_with_who_and_why_and_once() {
        let (desk, ledger) = with_one_held();
        let_go(&desk, ledger);
        let (_, out, _) = desk.run(&["history", "list", "--outcome", "held"]);
        assert!(out.contains(KEY) && out.contains("who knows"), "{out}");
        let words = ["history", "settle", KEY, "--succeeded", "--who", "ann", "--why", "build 7 ran"];
        let (code, out, err) = desk.run(&words);
        assert_eq!(code, Some(0), "{out}{err}");
        let (_, out, _) = desk.run(&["history", "show", KEY]);
        assert_eq!(out.lines().count(), 4, "{out}");
        assert!(out.contains("OUTCOME succeeded: settled by ann: build 7 ran"), "{out}");
        let (code, _, err) = desk.run(&words);
        assert_eq!(code, Some(1));
        assert!(err.contains("is succeeded; only what is held"), "{err}");
    }

    #[test]
    fn an_export_is_whole_until_it_is_changed() {
        let (desk, ledger) = with_one_held();
        let_go(&desk, ledger);
        let (code, out, err) = desk.run(&["history", "export"]);
        assert_eq!((code, out.lines().count()), (Some(0), 4), "{out}{err}");
        desk.write("whole.jsonl", &out);
        desk.write("changed.jsonl", &out.replace("who knows", "all well!"));
        let (code, said, _) = desk.run(&["history", "verify", "@whole.jsonl"]);
        assert!(code == Some(0) && said.contains("is whole: 3 records"), "{said}");
        let (code, said, _) = desk.run(&["history", "verify", "@changed.jsonl"]);
        assert!(code == Some(1) && said.contains("line 4 does not follow"), "{said}");
    }
}
