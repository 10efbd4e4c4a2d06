//! The guards, one case for each refusal and each wait.

use std::time::Duration;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn budget(owner: &str, target: &str, at_most: usize) -> Charge {
    let what = What::Attempts { at_most, within: MINUTE };
    Charge { owner: owner.into(), target: target.into(), what, over: Over::Hold }
}

fn facts(charges: Vec<Charge>) -> Facts {
    Facts { charges, service: "hooks:80".into(), ..Facts::default() }
}

fn stopped(facts: &Facts, rules: &Rules, books: &Books, now: i64) -> Option<(Guard, Then, String)> {
    check(facts, rules, books, now).err().map(|refusal| (refusal.guard, refusal.then, refusal.why))
}

/// What a restart reads back.
fn reread(disk: &[Note], now: i64) -> Books {
    let mut kept = std::collections::BTreeMap::new();
    for note in disk {
        match &note.value {
            Some(value) => kept.insert(note.key.as_str(), value.as_str()),
            None => kept.remove(note.key.as_str()),
        };
    }
    Books::load(kept, now).expect("its own notes")
}

#[test]
fn a_budget_admits_so_many_per_target_and_again_when_the_window_has_passed_also_after_a_restart() {
    let rules = Rules::default();
    let (one, two) = (facts(vec![budget("b", "h1", 2)]), facts(vec![budget("b", "h2", 2)]));
    let (mut books, mut disk) = (Books::default(), Vec::new());
    for at in [0, 1000] {
        assert_eq!(stopped(&one, &rules, &books, at), None);
        disk.extend(books.enter(&one, &rules, at).1);
    }
    let books = reread(&disk, 2000);
    let (guard, then, why) = stopped(&one, &rules, &books, 2000).expect("it is spent");
    assert_eq!((guard, then), (Guard::Budget, Then::Hold));
    assert_eq!(why, "b on `h1`: 2 of 2 within 60s");
    assert_eq!(stopped(&two, &rules, &books, 2000), None);
    assert_eq!(stopped(&one, &rules, &books, 60_000), None, "the first charge is a minute old");
}

#[test]
fn charges_that_no_window_reaches_are_removed_from_the_disk() {
    let rules = Rules::default();
    let one = facts(vec![budget("b", "h1", 9)]);
    let mut books = Books::default();
    books.enter(&one, &rules, 0);
    let (_, notes) = books.enter(&one, &rules, 70_000);
    assert!(notes.contains(&Note { key: "spent/0".into(), value: None }), "{notes:?}");
}

#[test]
fn a_share_of_a_fleet_counts_targets_and_not_attempts() {
    let charge = |target: &str| {
        let what = What::Fleet { at_most: 2, within: MINUTE };
        facts(vec![Charge { owner: "fleet".into(), target: target.into(), what, over: Over::Skip }])
    };
    let (rules, mut books) = (Rules::default(), Books::default());
    for target in ["a", "b", "a"] {
        assert_eq!(stopped(&charge(target), &rules, &books, 0), None);
        books.enter(&charge(target), &rules, 0);
    }
    let (guard, then, why) = stopped(&charge("c"), &rules, &books, 1).expect("a third");
    assert_eq!((guard, then), (Guard::Budget, Then::Skip));
    assert_eq!(why, "fleet: 2 of 2 targets within 60s; `c` would be another");
    assert_eq!(stopped(&charge("b"), &rules, &books, 1), None);
}

#[test]
fn concurrent_targets_wait_until_one_is_left() {
    let charge = |target: &str| {
        let what = What::Concurrent { at_most: 1 };
        facts(vec![Charge { owner: "c".into(), target: target.into(), what, over: Over::Hold }])
    };
    let (rules, mut books) = (Rules::default(), Books::default());
    let (cleared, notes) = books.enter(&charge("a"), &rules, 0);
    assert_eq!(notes, [], "what is in work ends with the process");
    let (guard, then, _) = stopped(&charge("b"), &rules, &books, 0).expect("one at a time");
    assert_eq!((guard, then), (Guard::ConcurrentTargets, Then::Wait));
    assert_eq!(stopped(&charge("a"), &rules, &books, 0), None);
    books.leave(&cleared);
    assert_eq!(stopped(&charge("b"), &rules, &books, 0), None);
}

#[test]
fn old_events_and_events_without_a_time_start_nothing() {
    let facts = |at| Facts { event_at_s: at, max_event_age: Some(MINUTE), ..Facts::default() };
    let (rules, books) = (Rules::default(), Books::default());
    assert_eq!(stopped(&facts(Some(100)), &rules, &books, 160_000), None);
    let (guard, then, why) = stopped(&facts(Some(100)), &rules, &books, 161_000).expect("old");
    assert_eq!(
        (guard, then, why.as_str()),
        (Guard::EventAge, Then::Skip, "the snapshot is 61s old, and max_event_age is 60s")
    );
    assert_eq!(stopped(&facts(None), &rules, &books, 0).map(|(guard, ..)| guard), Some(Guard::EventAge));
}

#[test]
fn the_incident_must_still_be_what_the_snapshot_says() {
    let rule = Freshness {
        service_account: Some("robot".into()),
        hold_tag: Some("hands_off".into()),
        hold_comment: Some("#hold".into()),
        timeout: MINUTE,
    };
    let rules = Rules { freshness: Some(rule), ..Rules::default() };
    let good = Snapshot { active: Some(true), assignee: Some("robot".into()), ..Snapshot::default() };
    let ask = |reading| stopped(&Facts { reading, ..Facts::default() }, &rules, &Books::default(), 0);
    assert_eq!(ask(Reading::Is(good.clone())), None);
    for (now, why) in [
        (Snapshot { active: Some(false), ..good.clone() }, "the incident is not active any more"),
        (Snapshot { active: None, ..good.clone() }, "the incident does not say whether it is active"),
        (Snapshot { snoozed: Some(true), ..good.clone() }, "the incident is snoozed"),
        (Snapshot { in_maintenance: Some(true), ..good.clone() }, "the incident is in maintenance"),
        (Snapshot { assignee: Some("ann".into()), ..good.clone() }, "the incident is assigned to ann"),
        (Snapshot { tags: vec!["hands_off".into()], ..good.clone() }, "the incident has the tag `hands_off`"),
        (Snapshot { comments: vec!["please #hold this".into()], ..good.clone() }, "a comment says `#hold`"),
    ] {
        assert_eq!(ask(Reading::Is(now)), Some((Guard::Freshness, Then::Skip, why.to_owned())));
    }
    let unread = ask(Reading::Failed("503".into())).expect("nobody knows");
    assert_eq!((unread.0, unread.1), (Guard::Freshness, Then::Hold));
}

#[test]
fn a_storm_lets_only_notifications_through_until_it_was_quiet_also_after_a_restart() {
    let rule = Storm { matches_per_minute: 3, quiet_for: MINUTE };
    let (rules, mut books) = (Rules { storm: Some(rule), ..Rules::default() }, Books::default());
    let act = Facts::default();
    let tell = Facts { notify: true, ..Facts::default() };
    for at in [0, 1, 2] {
        assert_eq!(books.matched(&rule, at), books::Change::default());
    }
    let change = books.matched(&rule, 3);
    assert_eq!(change.news.len(), 1, "it is told once: {change:?}");
    assert!(books.matched(&rule, 4).news.is_empty());
    let books = reread(&change.notes, 5);
    let (guard, then, _) = stopped(&act, &rules, &books, 5).expect("a storm");
    assert_eq!((guard, then), (Guard::Storm, Then::Skip));
    assert_eq!(stopped(&tell, &rules, &books, 5), None);
    assert_eq!(books.tripped(5).len(), 1);
    assert_eq!(stopped(&act, &rules, &books, 60_003), None);
}

#[test]
fn matches_that_are_spread_out_are_no_storm() {
    let rule = Storm { matches_per_minute: 3, quiet_for: MINUTE };
    let mut books = Books::default();
    for at in 0..100 {
        assert_eq!(books.matched(&rule, at * 20_000), books::Change::default());
    }
}

#[test]
fn a_service_that_fails_is_left_alone_and_then_tried_by_one_also_after_a_restart() {
    let rule = Breaker { failures: 2, within: MINUTE, open_for: MINUTE };
    let rules = Rules { breaker: Some(rule), ..Rules::default() };
    let (mut books, ask) = (Books::default(), facts(Vec::new()));
    let fail = |books: &mut Books, at| {
        let (mut cleared, _) = books.enter(&ask, &rules, at);
        let change = books.report(&mut cleared, false, &rules, at);
        books.leave(&cleared);
        change
    };
    assert_eq!(fail(&mut books, 0).news, Vec::<String>::new());
    let change = fail(&mut books, 1000);
    assert_eq!(change.news, ["hooks:80 failed 2 times: nothing is sent there for 60s"]);
    let mut books = reread(&change.notes, 1500);
    let (guard, then, why) = stopped(&ask, &rules, &books, 2000).expect("open");
    assert_eq!((guard, then), (Guard::Breaker, Then::Fail));
    assert_eq!(why, "hooks:80 failed 2 times within 60s; left alone for another 59s");
    assert_eq!(stopped(&ask, &rules, &books, 61_000), None);
    let (mut probe, _) = books.enter(&ask, &rules, 61_000);
    assert_eq!(stopped(&ask, &rules, &books, 61_000).map(|(_, then, _)| then), Some(Then::Wait));
    let change = books.report(&mut probe, true, &rules, 61_001);
    assert_eq!(change.notes, [Note { key: "breaker/hooks:80".into(), value: None }]);
    assert_eq!(stopped(&ask, &rules, &books, 61_002), None);
}

#[test]
fn a_probe_that_is_never_made_leaves_the_way_to_another() {
    let rule = Breaker { failures: 1, within: MINUTE, open_for: MINUTE };
    let rules = Rules { breaker: Some(rule), ..Rules::default() };
    let (mut books, ask) = (Books::default(), facts(Vec::new()));
    let (mut first, _) = books.enter(&ask, &rules, 0);
    books.report(&mut first, false, &rules, 0);
    let (probe, _) = books.enter(&ask, &rules, 60_000);
    books.leave(&probe);
    assert_eq!(stopped(&ask, &rules, &books, 60_000), None);
}

#[test]
fn guards_are_asked_in_their_order() {
    let rules = Rules { freshness: Some(Freshness::default()), ..Rules::default() };
    let engaged = Engaged { scope: switch::Scope::Action("a".into()), reason: "no".into() };
    let full = budget("b", "", 0);
    let mut facts = Facts { switch: Some(engaged), max_event_age: Some(MINUTE), ..facts(vec![full]) };
    let books = Books::default();
    let mut order = Vec::new();
    while let Some((guard, ..)) = stopped(&facts, &rules, &books, 0) {
        order.push(guard);
        match guard {
            Guard::KillSwitch => facts.switch = None,
            Guard::EventAge => facts.max_event_age = None,
            Guard::Freshness => facts.reading = Reading::Is(Snapshot { active: Some(true), ..Snapshot::default() }),
            Guard::Budget => facts.charges.clear(),
            Guard::ConcurrentTargets | Guard::Storm | Guard::Breaker | Guard::RateLimit => break,
        }
    }
    assert_eq!(order, [Guard::KillSwitch, Guard::EventAge, Guard::Freshness, Guard::Budget]);
}

#[test]
fn a_reset_forgets_what_it_is_about_here_and_on_disk_and_is_kept_itself() {
    let breaker = Breaker { failures: 1, within: MINUTE, open_for: MINUTE };
    let rules = Rules { breaker: Some(breaker), ..Rules::default() };
    let one = facts(vec![budget("b", "h1", 1)]);
    let (mut books, mut disk) = (Books::default(), Vec::new());
    let (mut cleared, notes) = books.enter(&one, &rules, 0);
    disk.extend(notes);
    disk.extend(books.report(&mut cleared, false, &rules, 0).notes);
    let stops = |books: &Books| stopped(&one, &rules, books, 1).map(|(guard, ..)| guard);
    assert_eq!(stops(&books), Some(Guard::Budget));
    let reset = |which| Reset::new(which, "ann", "the disk\nis fixed", 7).expect("who and why");
    let change = books.reset(&reset(Which::Budgets));
    assert_eq!(change.news, ["ann reset budgets: the disk is fixed; forgotten: 1 charges"]);
    disk.extend(change.notes);
    assert_eq!((stops(&books), stops(&reread(&disk, 1))), (Some(Guard::Breaker), Some(Guard::Breaker)));
    disk.extend(books.reset(&reset(Which::All)).notes);
    assert_eq!((stops(&books), stops(&reread(&disk, 1))), (None, None));
    let kept: Vec<_> = reread(&disk, 1).resets().map(|reset| (reset.which, reset.who.clone())).collect();
    assert_eq!(kept, [(Which::All, "ann".to_owned())], "of one moment the last word");
    assert!(Reset::new(Which::All, " ", "x", 1).is_err());
}
