//! A long topic of large records goes through in bounded memory.

use std::time::{Duration, Instant};

use kafka_proto::compression::Codec;

use crate::world::kafka::cluster;
use crate::world::process::{Service, wait_for};
use crate::world::settings::{self, Brokers};
use crate::world::wire::Wire;
use crate::world::{port, produce};

const RECORDS: usize = 1_000_000;
const RECORD_BYTES: usize = 2048;
const BATCH: usize = 400;
const PARTITIONS: i32 = 4;
const RESIDENT_KIB_MAX: u64 = 64 * 1024;
/// More than the code of the static release binary that is ever resident.
const DEPLOYED_CODE_KIB: u64 = 14 * 1024;
const TOPIC: &str = "long";
const GROUP: &str = "long-group";

const RULES: &str = "
incident_conditions:
  - name: never
    tags: {alert_type: something-else}
    incident_actions: [hook]
incident_actions:
  - {name: hook, type: webhook, method: POST, url: \"http://127.0.0.1:9/\"}
";

#[test]
fn a_million_records_of_two_kib_stay_below_64_mib_resident() {
    let Some(cluster) = cluster() else { return };
    let mut wire = Wire::connect(&cluster.plaintext);
    wire.create_topic(TOPIC, PARTITIONS, &[]);
    fill(&mut wire);
    let log_ends = wire.log_ends(TOPIC, PARTITIONS);
    assert_eq!(log_ends.values().sum::<i64>(), i64::try_from(RECORDS).expect("fits"));

    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    let config = settings::config(&Brokers::real(cluster), folder.path(), GROUP, TOPIC, port, RULES);
    let begun = Instant::now();
    let mut service = Service::start(folder.path(), &config, port);
    let (mut resident_kib, mut code_kib) = (0, 0);
    let words = || format!("the committed offsets to reach {log_ends:?}\n{}", service.last_words());
    wait_for(words, Duration::from_mins(10), || {
        // In this order: the peak of everything, read later, cannot be less than a part of it that was there before.
        code_kib = service.memory_kib("RssFile:").unwrap_or_default();
        resident_kib = service.memory_kib("VmHWM:").unwrap_or_else(|| panic!("it ended:\n{}", service.last_words()));
        // An unoptimised binary has three times the code of the one that is deployed; its data counts in full.
        let counted_kib = resident_kib - code_kib + code_kib.min(DEPLOYED_CODE_KIB);
        assert!(counted_kib <= RESIDENT_KIB_MAX, "{resident_kib} KiB resident, {code_kib} KiB of it code");
        (wire.committed(GROUP, TOPIC, PARTITIONS) == log_ends).then_some(())
    });
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{RECORDS} records of {RECORD_BYTES} B in {seconds:.1} s, at most {resident_kib} KiB resident, {code_kib} KiB of it code"
    );
    assert!(service.stop(Duration::from_secs(30)).success(), "{}", service.last_words());
}

/// One encoded batch, uncompressed and in the cheapest codec, appended again and again: what is measured is the reader.
fn fill(wire: &mut Wire) {
    let records: Vec<(String, String)> = (0..BATCH).map(incident).collect();
    let batches = [Codec::None, Codec::Lz4].map(|codec| produce::batch(codec, &records));
    for n in 0..RECORDS / BATCH {
        let partition = i32::try_from(n).expect("small") % PARTITIONS;
        wire.produce(TOPIC, partition, batches[n / 4 % 2].clone());
    }
}

fn incident(n: usize) -> (String, String) {
    let now = produce::now_ms() / 1000;
    let id = format!("long-{n}");
    let mut json = format!(
        r#"{{"incident": {{"id": "{id}", "status": "critical", "active": true, "resolved": false,
            "startedOn": {now}, "changedOn": {now}, "updatedOn": {now}, "endedOn": null,
            "incidentTags": [{{"id": "alert_type", "value": "oozie"}}], "alerts": [], "description": ""#
    );
    let tail = r#""}}"#;
    let filler = "a long description of what happened; ";
    while json.len() + tail.len() < RECORD_BYTES {
        let room = RECORD_BYTES - json.len() - tail.len();
        json.push_str(&filler[..room.min(filler.len())]);
    }
    json.push_str(tail);
    (id, json)
}
