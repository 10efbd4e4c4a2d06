//! The page in a real browser: a headless Chromium renders it on a desk and on a phone, in light and in dark.
//!
//! The pictures stay in the target's temporary folder, under `page/`: they are there to be looked at. Where no Chromium is found the test
//! says so and passes, unless `BROWSER_TESTS=required`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{Cluster, Record};

use crate::world::port;
use crate::world::process::{Service, wait_for};
use crate::world::produce::now_ms;
use crate::world::settings::{self, Brokers};

const TOPIC: &str = "sre";
const GROUP: &str = "sre-kafka-consumer-dev-eks";
const PATIENCE: Duration = Duration::from_mins(2);

/// The browser, or `None` when there is none and need not be.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().find_map(|name| places.iter().map(|place| place.join(name)).find(|file| file.is_file()));
    #[expect(clippy::disallowed_methods, reason = "how a test run is told that a browser is not optional")]
    let required = std::env::var("BROWSER_TESTS").is_ok_and(|value| value == "required");
    let text = "the page was NOT LOOKED AT: this machine has no Chromium. On Debian: apt-get install chromium";
    assert!(found.is_some() || !required, "{text}");
    if found.is_none() {
        eprintln!("\n!!! {text}\n");
    }
    found
}

/// Runs the browser once with a profile of its own; what it says.
fn browse(browser: &Path, words: &[String], url: &str) -> String {
    let profile = tempfile::tempdir().expect("a profile");
    let mut command = Command::new("timeout");
    command.arg("90").arg(browser).args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
        "--hide-scrollbars",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).args(words).arg(url);
    let output = command.stdin(Stdio::null()).output().expect("the browser runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Width and height of a picture, from the head of its file.
fn size(png: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    (number(16), number(20))
}

fn rules(folder: &Path, good: &Target, bad: &Target) -> String {
    format!(
        "kill_switch_file: {paused}\n\
         limits: {{budget: {{at_most: 500, within: 1h}}, breaker: {{failures: 50, within: 1m, open_for: 5m}}}}\n\
         incident_conditions:\n\
         \x20 - {{name: oozie_failures, tags: {{alert_type: oozie}}, incident_actions: [announce], alert_actions: [remediate]}}\n\
         \x20 - {{name: yarn_nodes_down, tags: {{alert_type: yarn}}, incident_actions: [restart], incident_fallback_actions: [announce]}}\n\
         \x20 - {{name: hdfs_blocks_missing, tags: {{alert_type: hdfs}}, incident_actions: [fsck]}}\n\
         \x20 - {{name: spark_watched, mode: shadow, tags: {{alert_type: spark}}, incident_actions: [announce]}}\n\
         incident_actions:\n\
         \x20 - {{name: announce, type: webhook, url: \"{good}\", idempotent: true, notify: true}}\n\
         \x20 - {{name: restart, type: webhook, url: \"{bad}\", retries: {{attempts: 2, backoff: 10ms, max_backoff: 20ms}}, budget: {{at_most: 12, within: 1h}}}}\n\
         \x20 - {{name: fsck, type: webhook, url: \"{bad}\", on_unknown: hold}}\n\
         alert_actions:\n\
         \x20 - {{name: remediate, type: webhook, url: \"{good}\", budget: {{at_most: 3, within: 1h, by: host}}}}\n",
        paused = folder.join("PAUSED").display(),
        good = good.url("/{{incident.id}}"),
        bad = bad.url("/{{incident.id}}"),
    )
}

/// Forty incidents of four kinds.
fn incidents() -> Vec<Record> {
    let kinds = ["oozie", "oozie", "yarn", "oozie", "hdfs", "spark", "oozie", "other"];
    let started = now_ms() / 1000 - 600;
    let one = |(number, kind): (u64, &'static str)| {
        let spec = IncidentSpec::new(format!("690000{number:02x}c1f0a7b2d4"), kind, started);
        Record::from(spec.to_json(&mut Seed::new(number)))
    };
    (0..40).zip(kinds.into_iter().cycle()).map(one).collect()
}

#[test]
fn a_browser_shows_the_page_on_a_desk_and_on_a_phone_in_light_and_in_dark() {
    let Some(browser) = browser() else { return };
    let cluster = Cluster::builder().topic(TOPIC, 3).security(settings::double_security()).start();
    let (good, bad) = (Target::start(), Target::start());
    bad.default_reply(Reply::status(503).body("no such queue: root.sre"));
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    let config = settings::config(
        &Brokers::double(&cluster),
        folder.path(),
        GROUP,
        TOPIC,
        port,
        &rules(folder.path(), &good, &bad),
    );
    let mut service = Service::start(folder.path(), &config, port);
    service.wait_ready(PATIENCE);
    // The first three are taken and never answered, so some actions are held.
    (0..3).for_each(|_| bad.queue(Reply::disconnect()));
    let records = incidents();
    let count = records.len();
    for (number, record) in records.into_iter().enumerate() {
        cluster.produce(TOPIC, i32::try_from(number % 3).expect("small"), [record]);
    }
    let committed = || (0..3).filter_map(|partition| cluster.committed(GROUP, TOPIC, partition)).sum::<i64>();
    wait_for(|| service.last_words(), PATIENCE, || (committed() == i64::try_from(count).expect("small")).then_some(()));
    std::fs::write(folder.path().join("PAUSED.condition.yarn_nodes_down"), "restarts too much; ann looks into it\n")
        .expect("a switch");

    let url = format!("http://127.0.0.1:{port}/status.html");
    let page = browse(&browser, &["--dump-dom".to_owned()], &url);
    for said in [
        "Ready.",
        "Paused: condition yarn_nodes_down: restarts too much",
        "Incidents of the last hour",
        "<title>this minute",
        "Actions running, held and unknown",
        "history settle",
        "Recent decisions",
        "remediate",
        "sre-0",
        "limits budget",
        "<meter",
        "503",
    ] {
        assert!(page.contains(said), "{said}\n{page}");
    }
    assert!(!page.contains("<script"), "the page needs no script");
    let one = "69000002c1f0a7b2d4";
    let found = browse(&browser, &["--dump-dom".to_owned()], &format!("{url}?incident={one}"));
    for said in ["Decisions about incident", "INTENT", "alert_type equals", "attempt 1"] {
        assert!(found.to_uppercase().contains(&said.to_uppercase()), "{said}\n{found}");
    }

    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&pictures).expect("a folder");
    for (name, width, height, dark, query) in [
        ("desk-light", 1280, 2600, false, ""),
        ("desk-dark", 1280, 2600, true, ""),
        ("phone-light", 390, 5200, false, ""),
        ("phone-dark", 390, 5200, true, ""),
        ("desk-incident", 1280, 1500, false, "?incident=69000002c1f0a7b2d4"),
    ] {
        let file = pictures.join(format!("{name}.png"));
        let mut words = vec![format!("--window-size={width},{height}"), format!("--screenshot={}", file.display())];
        if dark {
            words.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        browse(&browser, &words, &format!("{url}{query}"));
        let png = std::fs::read(&file).expect("a picture");
        assert_eq!(size(&png), (width, height), "{name}");
        assert!(png.len() > 40_000, "{name} is all but empty: {} bytes", png.len());
    }
    let read = |name: &str| std::fs::read(pictures.join(format!("{name}.png"))).expect("a picture");
    assert_ne!(read("desk-light"), read("desk-dark"), "dark is another picture");
}
