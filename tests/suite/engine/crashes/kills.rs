//! The same with real processes and SIGKILL: at steps of the network, when the target says so, and at writes of the ledger,
//! when its file changes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kafka_broker_double::incidents::Seed;
use kafka_broker_double::{Cluster, Record};
use kafka_consumer::ledger::{Ledger, Opened};
use rustix::process::{Pid, Signal, kill_process};

use crate::engine::crashes::fate::{Deaths, Fate, Step, When};
use crate::engine::crashes::outside::Outside;
use crate::engine::crashes::{RULES, judge};
use crate::engine::world::incident;
use crate::world::port;
use crate::world::process::{Service, wait_for};
use crate::world::settings::{self, Brokers};

const TOPIC: &str = "incidents";
const GROUP: &str = "kills";
const INCIDENTS: usize = 80;
const KILLS: usize = 30;
/// A process dies at one of its first so many steps of the network, or changes of the ledger's file.
const STEPS: u64 = 40;
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn some_dozen_real_kills_lose_nothing_and_double_nothing() {
    let seed = u64::try_from(kafka_consumer::pipeline::wall_clock_ms()).expect("after 1970");
    let mut random = Seed::new(seed);
    println!("seed {seed}");
    let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
    let ids: Vec<String> = (0..INCIDENTS).map(|number| format!("i{number}")).collect();
    cluster.produce(TOPIC, 0, ids.iter().map(|id| Record::from(incident(id, "oozie", 5, 10).into_bytes())));
    let end = i64::try_from(INCIDENTS).expect("small");
    let folder = tempfile::tempdir().expect("a folder");
    let (outside, mut deaths) = (Outside::default(), Deaths::default());
    for life in 0..KILLS {
        let number = 1 + usize::try_from(random.below(STEPS)).expect("small");
        let of_ledger = life % 2 == 1;
        let fate = Arc::new(Fate::new((!of_ledger).then_some(When::Number(number))));
        let target = outside.to(&fate);
        let mut service = start(&cluster, folder.path(), &target.url());
        let pid = Pid::from_raw(i32::try_from(service.pid()).expect("a pid")).expect("not 0");
        fate.when_it_dies(move || kill_process(pid, Signal::KILL).expect("killed"));
        if of_ledger {
            let (fate, ledger) = (Arc::clone(&fate), folder.path().join("ledger.redb"));
            std::thread::spawn(move || at_a_change(&ledger, number, &fate));
        }
        let words = || format!("its death, {} steps so far\n{}", fate.steps(), service.last_words());
        let finished = || cluster.committed(GROUP, TOPIC, 0) == Some(end);
        wait_for(words, PATIENCE, || (fate.is_dead() || finished()).then_some(()));
        fate.died_at().into_iter().for_each(|step| deaths.add(step));
        if finished() {
            break;
        }
        service.kill();
    }
    let fate = Arc::new(Fate::new(None));
    let mut service = start(&cluster, folder.path(), &outside.to(&fate).url());
    let words = || format!("the end\n{}", service.last_words());
    wait_for(words, 2 * PATIENCE, || (cluster.committed(GROUP, TOPIC, 0) == Some(end)).then_some(()));
    let status = service.stop(PATIENCE);
    assert!(status.success(), "{status}\n{}", service.last_words());

    let Opened::Ledger(ledger) = Ledger::open(&folder.path().join("ledger.redb"), "the test").expect("opens") else {
        panic!("somebody still holds the ledger");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let faults = runtime.block_on(judge(&ledger, &outside, &ids));
    let killed: usize = deaths.0.values().sum();
    println!("{killed} kills: {:?}", deaths.0);
    assert!(faults.is_empty(), "seed {seed}: {}\n{}", faults.join("\n"), service.last_words());
    assert!(killed >= 24, "too little was left to do: {:?}", deaths.0);
}

/// Kills when the file has changed so many times.
fn at_a_change(file: &Path, number: usize, fate: &Fate) {
    let changed = || file.metadata().and_then(|of| of.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let (mut last, mut left) = (changed(), number);
    while !fate.is_dead() {
        let now = changed();
        if now != last {
            (last, left) = (now, left - 1);
        }
        if left == 0 {
            return fate.die(Step::Syncing);
        }
        std::thread::park_timeout(Duration::from_micros(100));
    }
}

fn start(cluster: &Cluster, folder: &Path, target: &str) -> Service {
    let port = port::free();
    let token = folder.join("token");
    std::fs::write(&token, "hunter22").expect("a secret file");
    let rules = RULES.replace(
        "bigpanda: TARGET",
        "bigpanda: {base_url: TARGET, environment_id: 5f0c, api_key: $secret:token, flow: {assign: false, split: false, resolve: false}}",
    );
    let config =
        settings::config(&Brokers::double(cluster), folder, GROUP, TOPIC, port, &rules.replace("TARGET", target));
    let config = config
        .replace("secrets:\n", &format!("secrets:\n  - {{name: token, file: {}}}\n", token.display()))
        // The group need not wait until the session of the dead is over.
        .replace("session.timeout.ms: 6000", "session.timeout.ms: 3000\n  group.instance.id: pod-0");
    Service::start(folder, &config, port)
}
