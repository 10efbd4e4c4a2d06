//! The ledger as a whole: crash, standby, damage, a disk that says no.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageBackend};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::ledger::writer::Writer;

fn key(incident: &str) -> EpisodeKey {
    EpisodeKey { incident: incident.into(), alert: None, started: 5, condition: "c".into(), action: "a".into() }
}

fn record(incident: &str, at_ms: i64, entry: Entry) -> Record {
    Record { key: key(incident), at_ms, entry }
}

fn intent() -> Entry {
    let origin = Origin { topic: "sre".into(), partition: 0, offset: 7, generation: 1 };
    Entry::Intent(Intent {
        action_type: "webhook".into(),
        request: "POST http://t/".into(),
        origin,
        by: "test".into(),
        because: Vec::new(),
    })
}

fn attempt(number: u32) -> Entry {
    Entry::Attempt(Attempt { number })
}

fn succeeded() -> Entry {
    Entry::Outcome(Outcome::Succeeded { detail: "HTTP 200".into() })
}

fn held() -> Entry {
    Entry::Outcome(Outcome::Held { reason: "unsure".into() })
}

fn story(incident: &str, at_ms: i64, entries: Vec<Entry>) -> Vec<Record> {
    entries.into_iter().map(|entry| record(incident, at_ms, entry)).collect()
}

fn open(path: &Path) -> Ledger {
    match Ledger::open(path, "test").unwrap() {
        Opened::Ledger(ledger) => ledger,
        Opened::Standby(standby) => panic!("{standby}"),
    }
}

#[tokio::test]
async fn what_was_appended_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let ledger = open(&path);
    ledger.append(story("i", 1, vec![intent(), attempt(1)])).await.unwrap();
    drop(ledger);
    let ledger = open(&path);
    assert_eq!(ledger.state(key("i")).await.unwrap(), State::Attempting { attempt: 1 });
    let unfinished = ledger.unfinished().await.unwrap();
    assert_eq!(unfinished.iter().map(|episode| episode.key.clone()).collect::<Vec<_>>(), [key("i")]);
    ledger.append(vec![record("i", 2, succeeded())]).await.unwrap();
    assert_eq!(ledger.unfinished().await.unwrap(), []);
    let entries = ledger.entries(key("i")).await.unwrap();
    assert_eq!(
        entries.iter().map(|record| record.entry.to_string()).collect::<Vec<_>>(),
        ["INTENT", "ATTEMPT 1", "OUTCOME succeeded"]
    );
}

#[tokio::test]
async fn a_crash_right_after_an_append_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let ledger = open(&path);
    for number in 0..20 {
        ledger.append(story(&number.to_string(), 1, vec![intent(), attempt(1)])).await.unwrap();
        // What is in the file at this moment is what a killed process leaves.
        let copy = dir.path().join(format!("copy-{number}.redb"));
        fs::copy(&path, &copy).unwrap();
        assert_eq!(open(&copy).unfinished().await.unwrap().len(), number + 1);
    }
}

#[tokio::test]
async fn a_contradiction_is_refused_and_takes_its_whole_append_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(&dir.path().join("ledger.redb"));
    ledger.append(story("i", 1, vec![intent(), attempt(1), succeeded()])).await.unwrap();
    let mut both = story("other", 2, vec![intent()]);
    both.push(record("i", 2, attempt(2)));
    let error = ledger.append(both).await.unwrap_err();
    assert!(matches!(error, AppendError::Contradiction { .. }), "{error}");
    assert!(error.to_string().contains("ATTEMPT 2 cannot follow succeeded"), "{error}");
    assert_eq!(ledger.state(key("other")).await.unwrap(), State::Absent);
}

#[tokio::test]
async fn a_second_process_stands_by_and_takes_over_when_the_first_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let Opened::Ledger(first) = Ledger::open(&path, "pod-a, pid 7").unwrap() else { panic!("free") };
    let Opened::Standby(standby) = Ledger::open(&path, "pod-b").unwrap() else { panic!("held") };
    assert!(standby.to_string().contains("held by pod-a, pid 7"), "{standby}");
    let (told, mut tells) = mpsc::unbounded_channel();
    let at = path.clone();
    let second =
        tokio::spawn(
            async move { Ledger::open_or_wait(&at, "pod-b", |standby| told.send(standby.clone()).unwrap()).await },
        );
    assert_eq!(tells.recv().await, Some(standby));
    first.append(story("i", 1, vec![intent()])).await.unwrap();
    drop(first);
    let second = tokio::time::timeout(Duration::from_secs(20), second).await.unwrap().unwrap().unwrap();
    assert_eq!(second.state(key("i")).await.unwrap(), State::Intended { attempts: 0 });
    assert_eq!(tells.recv().await, None, "told once");
}

#[tokio::test]
async fn a_dropped_ledger_is_free_at_once_with_all_that_was_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    for number in 0..20_u32 {
        let ledger = open(&path);
        let mut handed_over = Box::pin(ledger.append(story(&number.to_string(), 1, vec![intent()])));
        // One poll gives it to the writer; nobody waits for the answer.
        let _ = futures::poll!(handed_over.as_mut());
        drop(handed_over);
        drop(ledger);
    }
    assert_eq!(open(&path).unfinished().await.unwrap().len(), 20);
}

#[tokio::test]
async fn many_appends_share_an_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(&dir.path().join("ledger.redb"));
    let appends = (0..400).map(|number| {
        let ledger = ledger.clone();
        async move { ledger.append(story(&number.to_string(), 1, vec![intent()])).await }
    });
    for result in futures::future::join_all(appends).await {
        result.unwrap();
    }
    let written = ledger.written();
    assert_eq!(written.records, 400);
    assert!(written.commits <= 40, "{written:?}");
}

#[tokio::test]
async fn retention_forgets_what_ended_long_ago_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(&dir.path().join("ledger.redb"));
    for number in 0..600 {
        ledger.append(story(&format!("old-{number}"), 100, vec![intent(), attempt(1), succeeded()])).await.unwrap();
    }
    ledger.append(story("held", 100, vec![intent(), attempt(1), held()])).await.unwrap();
    ledger.append(story("open", 100, vec![intent(), attempt(1)])).await.unwrap();
    ledger.append(story("new", 900, vec![intent(), attempt(1), succeeded()])).await.unwrap();
    let (expired, appended) = tokio::join!(
        ledger.expire(500),
        ledger.append(story("meanwhile", 900, vec![intent(), attempt(1), succeeded()]))
    );
    appended.unwrap();
    assert_eq!(expired.unwrap(), 600);
    assert_eq!(ledger.expire(500).await.unwrap(), 0);
    let mut left = BTreeSet::new();
    let mut visit = |episode: Summary| {
        left.insert(episode.key.incident);
        ControlFlow::Continue(())
    };
    ledger.history(&Filter::default(), &mut visit).unwrap();
    assert_eq!(left, ["held", "meanwhile", "new", "open"].map(str::to_owned).into());
    assert_eq!(ledger.state(key("old-1")).await.unwrap(), State::Absent);
}

#[tokio::test]
async fn history_is_filtered() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(&dir.path().join("ledger.redb"));
    ledger.append(story("i", 100, vec![intent(), attempt(1), succeeded()])).await.unwrap();
    ledger.append(story("i0", 200, vec![intent(), attempt(1), held()])).await.unwrap();
    ledger.append(story("i/x", 300, vec![intent()])).await.unwrap();
    let find = |filter: Filter| {
        let mut found = Vec::new();
        let mut visit = |episode: Summary| {
            found.push(episode.key.incident);
            ControlFlow::Continue(())
        };
        ledger.history(&filter, &mut visit).unwrap();
        found
    };
    let of = |incident: &str| Filter { incident: Some(incident.into()), ..Filter::default() };
    assert_eq!((find(of("i")), find(of("i/x")), find(of("x"))), (vec!["i".into()], vec!["i/x".into()], vec![]));
    assert_eq!(find(Filter { state: Some("held".into()), ..Filter::default() }), ["i0"]);
    assert_eq!(find(Filter { from_ms: Some(150), to_ms: Some(300), ..Filter::default() }), ["i0"]);
}

#[tokio::test]
async fn damage_stops_the_service_and_the_file_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let ledger = open(&path);
    for number in 0..50 {
        ledger.append(story(&number.to_string(), 1, vec![intent(), attempt(1), succeeded()])).await.unwrap();
    }
    drop(ledger);
    let whole = fs::read(&path).unwrap();
    let middle = whole.len() / 2;
    let mut torn = whole.clone();
    torn.truncate(middle);
    let mut zeroed = whole.clone();
    zeroed[4096..].fill(0);
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("foreign", b"{\"alert\": {\"time_actioned\": \"2026-03-14 15:30:00\"}}".to_vec()),
        ("torn", torn),
        ("zeroed", zeroed),
    ] {
        let damaged = dir.path().join(name);
        fs::write(&damaged, &bytes).unwrap();
        let error = Ledger::open(&damaged, "").unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("left as it is") && text.contains("backup"), "{text}");
        assert_eq!(fs::read(&damaged).unwrap(), bytes, "{name} was changed");
    }
}

#[test]
fn a_missing_directory_is_named() {
    let error = Ledger::open(Path::new("/nowhere/ledger.redb"), "").unwrap_err().to_string();
    assert!(error.contains("/nowhere/ledger.redb") && error.contains("mounted"), "{error}");
}

#[test]
fn every_refusal_of_the_disk_says_what_to_do() {
    let path = Path::new("/data/ledger.redb");
    for (kind, advice) in [
        (io::ErrorKind::ReadOnlyFilesystem, "read-write"),
        (io::ErrorKind::PermissionDenied, "let this user write"),
        (io::ErrorKind::StorageFull, "free space"),
        (io::ErrorKind::QuotaExceeded, "free space"),
    ] {
        let text = error::open_error(path, io::Error::from(kind)).to_string();
        assert!(text.contains("/data/ledger.redb") && text.contains(advice), "{text}");
    }
}

/// A disk that can be full.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.room()?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn open_on(path: &Path, full: &Arc<AtomicBool>) -> Ledger {
    drop(open(path));
    let Acquired::Held(lock) = FileLock::acquire(path, "test").unwrap() else { panic!("free") };
    let full = Arc::clone(full);
    let open = move |path: &Path| -> Result<Database, DatabaseError> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        let disk = Disk { file: FileBackend::new(file)?, full: Arc::clone(&full) };
        Database::builder().set_check_integrity_on_open(true).create_with_backend(disk)
    };
    let store = Arc::new(Store::open_with(path, Box::new(open)).unwrap());
    let (sender, health) = watch::channel(Health::Writable);
    let writer = Writer::start(Arc::clone(&store), lock, sender).unwrap();
    Ledger { shared: Arc::new(Shared { health, store, kept: Kept::Alone(writer) }) }
}

#[tokio::test]
async fn a_full_disk_pauses_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let full = Arc::new(AtomicBool::new(false));
    let ledger = open_on(&path, &full);
    ledger.append(story("before", 1, vec![intent()])).await.unwrap();
    full.store(true, Ordering::SeqCst);
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.append(story("during", 2, vec![intent(), attempt(1)])).await }
    });
    let mut health = ledger.health();
    let stalled = health.wait_for(|health| matches!(health, Health::Stalled { .. })).await.unwrap().clone();
    let Health::Stalled { reason } = stalled else { panic!("stalled") };
    assert!(reason.contains("ledger.redb") && reason.contains("free space"), "{reason}");
    assert!(!waiting.is_finished());
    full.store(false, Ordering::SeqCst);
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(*health.wait_for(|health| *health == Health::Writable).await.unwrap(), Health::Writable);
    assert_eq!(
        ledger.states(vec![key("before"), key("during")]).await.unwrap(),
        [State::Intended { attempts: 0 }, State::Attempting { attempt: 1 }]
    );
}
