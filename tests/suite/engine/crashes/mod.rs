//! The crash test: the process is killed at every step of the ledger, the network and the source by turns, and whatever is left is
//! taken over by the next, which may be killed as well.
//!
//! Here the process is an engine in this one, dropped at a step, with a disk that loses what was not durable; in `kills.rs` it
//! is a real one that gets SIGKILL. Nothing in the product knows of this: the disk, the target and the source say when.

mod disk;
mod fate;
mod kills;
mod outside;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use kafka_broker_double::incidents::Seed;
use kafka_consumer::ledger::{EpisodeKey, Ledger, Opened, Terminal};

use crate::engine::crashes::disk::Disk;
use crate::engine::crashes::fate::{Deaths, Fate, Step, When};
use crate::engine::crashes::outside::Outside;
use crate::engine::source::{Remote, Witness};
use crate::engine::world::{World, incident};

const RULES: &str = r#"
bigpanda: TARGET
incident_conditions:
  - {name: oozie, active: true, tags: {alert_type: oozie}, incident_actions: [note, retried], alert_actions: [event, pod, play, once]}
incident_actions:
  - {name: note, type: comment_on_incident, comment: "seen {{incident.id}}", retries: &retries {attempts: 5, backoff: 5ms, max_backoff: 10ms}}
  - {name: retried, type: webhook, url: "TARGET/hook/", headers: &headers {X-Episode: "{{episode.key}}", X-Attempt: "{{attempt}}"},
     on_unknown: retry, retries: *retries}
alert_actions:
  - {name: event, type: screwdriver, api_url: TARGET, pipeline_id: 1, job_name: fix, auth_secret: token, polling_interval: 5ms,
     retries: *retries}
  - {name: pod, type: k8s_job, api_url: TARGET, namespace: sre, auth_secret: token, polling_interval: 5ms, retries: *retries,
     spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}}
  - {name: play, type: awx, api_url: "TARGET/api/v2", job_template_id: 42, auth_secret: token, polling_interval: 5ms,
     extra_vars: {of: "{{incident.id}}"}, retries: *retries}
  - {name: once, type: webhook, url: "TARGET/hook/", headers: *headers, on_unknown: hold, retries: *retries}
"#;

const INCIDENTS: [&str; 2] = ["a", "b"];
/// Trials that run at the same time: most of the time each waits.
const AT_ONCE: usize = 40;
/// Beside one trial for each step at which a first process can die: trials of three deaths each.
const TRIALS_OF_THREE: usize = 100;
const PATIENCE: Duration = Duration::from_secs(100);

/// What a world has been through.
#[derive(Debug)]
struct Trial {
    /// At which steps its processes died.
    deaths: Vec<Step>,
    /// Steps of the last one.
    steps: usize,
    faults: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_is_killed_nothing_is_lost_and_nothing_done_twice() {
    let seed = u64::try_from(kafka_consumer::pipeline::wall_clock_ms()).expect("after 1970");
    let undisturbed = trial(Vec::new(), seed).await;
    assert_eq!(undisturbed.faults, Vec::<String>::new());
    let steps = undisturbed.steps;
    let mut random = Seed::new(seed);
    let mut number = || When::Number(1 + usize::try_from(random.below(steps as u64)).expect("small"));
    let mut all: Vec<Vec<When>> = (1..=steps).map(|step| vec![When::Number(step)]).collect();
    all.extend((0..TRIALS_OF_THREE).map(|_| vec![number(), number(), number()]));
    // Commits are few, and where they come among the steps differs from run to run.
    all.extend([Step::Committing, Step::Committed].into_iter().cycle().take(20).map(|step| vec![When::First(step)]));
    let count = all.len();
    let trials = all.into_iter().enumerate().map(|(n, kills)| trial(kills, seed.wrapping_add(n as u64)));
    let trials: Vec<Trial> = stream::iter(trials).buffer_unordered(AT_ONCE).collect().await;

    let (mut deaths, mut faults) = (Deaths::default(), Vec::new());
    for trial in trials {
        trial.deaths.iter().for_each(|step| deaths.add(*step));
        faults.extend(trial.faults);
    }
    println!("seed {seed}: {count} trials of {steps} steps, deaths {:?}", deaths.0);
    assert!(faults.is_empty(), "seed {seed}: {} faults\n{}", faults.len(), faults.join("\n"));
    for step in Step::ALL {
        assert!(deaths.0.contains_key(&step), "nobody died at {step:?}: {:?}", deaths.0);
    }
}

/// Lets a world go through these deaths, each at the step of that number in the life of its process, and then to its end.
async fn trial(kills: Vec<When>, seed: u64) -> Trial {
    let outside = Outside::default();
    let mut world = World::new(RULES, &outside.to(&Arc::new(Fate::new(None))));
    world.secret("token", "hunter22");
    let (mut left, mut committed, mut deaths) = (None, 0, Vec::new());
    let mut random = Seed::new(seed);
    let mut lives = kills.iter().copied().map(Some).chain([None]).enumerate();
    loop {
        let (life, dies_at) = lives.next().expect("the last process lives");
        let fate = Arc::new(Fate::new(dies_at));
        let target = outside.to(&fate);
        world.rules = RULES.replace("TARGET", &target.url());
        let life = Life { number: life, fate: Arc::clone(&fate), disk: Disk::new(&fate), left, committed };
        let faults = match life.live(&world, &outside).await {
            Ok(End::Lived(faults)) => Some(faults),
            Ok(End::Died { committed: so_far }) => {
                committed = so_far;
                None
            }
            Err(fault) => Some(vec![fault]),
        };
        if let Some(faults) = faults {
            let label = |fault| format!("kills {kills:?}, seed {seed}, died at {deaths:?}: {fault}");
            let faults = faults.into_iter().map(label).collect();
            return Trial { deaths, steps: fate.steps(), faults };
        }
        deaths.extend(fate.died_at());
        left = life.disk.left(&mut random).or(life.left);
    }
}

/// One process.
struct Life {
    number: usize,
    fate: Arc<Fate>,
    disk: Disk,
    /// What is on the disk when it begins.
    left: Option<Vec<u8>>,
    /// What is committed by then.
    committed: i64,
}

enum End {
    /// With what is wrong with the world then.
    Lived(Vec<String>),
    Died {
        committed: i64,
    },
}

impl Life {
    async fn live(&self, world: &World, outside: &Outside) -> Result<End, String> {
        let path = world.path(&format!("ledger-{}.redb", self.number));
        if let Some(left) = &self.left {
            std::fs::write(&path, left).expect("written");
        }
        let opener = self.disk.opener();
        let opened = tokio::task::spawn_blocking(move || Ledger::open_through(&path, "test", opener)).await;
        let ledger = match opened.expect("no panic") {
            Ok(Opened::Ledger(ledger)) => ledger,
            Ok(Opened::Standby(standby)) => return Err(standby.to_string()),
            Err(_) if self.fate.is_dead() => return Ok(End::Died { committed: self.committed }),
            Err(error) => return Err(format!("the ledger does not open after a crash: {error}")),
        };
        let fate = Arc::clone(&self.fate);
        let witness: Witness =
            Arc::new(move |stored| fate.reach(if stored { Step::Committed } else { Step::Committing }));
        let running = world.start_on(ledger, Remote::witnessed(witness));
        let right = running.assign(0);
        let records: Vec<_> = INCIDENTS.iter().map(|id| incident(id, "oozie", 5, 10)).collect();
        let from = usize::try_from(self.committed).expect("small");
        if let Some(rest) = records.get(from..).filter(|rest| !rest.is_empty()) {
            running.read(&right, self.committed, rest);
        }
        let end = i64::try_from(records.len()).expect("small");
        let committed = || running.committed_so_far(0).unwrap_or(self.committed);
        let deadline = Instant::now() + PATIENCE;
        while !self.fate.is_dead() && committed() < end && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ended = if self.fate.is_dead() {
            Ok(End::Died { committed: committed() })
        } else if committed() < end {
            Err(format!("it hangs at offset {}: {:?}", committed(), running.ledger.unfinished().await))
        } else {
            Ok(End::Lived(judge(&running.ledger, outside, &INCIDENTS.map(str::to_owned)).await))
        };
        let ledger = running.ledger.clone();
        running.kill().await;
        // It waits for its thread, which may wait for the dead disk.
        std::thread::spawn(move || drop(ledger));
        ended
    }
}

/// What is wrong with a world that has come to its end.
async fn judge(ledger: &Ledger, outside: &Outside, incidents: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    let open = ledger.unfinished().await.expect("reads");
    if !open.is_empty() {
        faults.push(format!("unfinished: {open:?}"));
    }
    for id in incidents {
        for action in ["note", "retried", "event", "pod", "play", "once"] {
            let alert = if matches!(action, "note" | "retried") { "-".to_owned() } else { format!("{id}-a") };
            let episode = format!("{id}/{alert}/5/oozie/{action}");
            let key: EpisodeKey = episode.parse().expect("a key");
            let state = ledger.state(key.clone()).await.expect("reads");
            let entries = ledger.entries(key).await.expect("reads");
            let story: Vec<String> = entries.iter().map(|record| record.entry.to_string()).collect();
            let done = outside.done().times(action, id, &episode);
            let doubts = story.iter().filter(|entry| *entry == "OUTCOME unknown").count();
            let right = match (action, state.terminal()) {
                // Once and for a repeat that is in doubt, as `on_unknown: retry` says.
                ("retried", Some(Terminal::Succeeded)) => (1..=1 + doubts).contains(&done),
                // A person has to look whether it was done.
                ("once", Some(Terminal::Held)) => done <= 1 && doubts == 1,
                (_, Some(Terminal::Succeeded)) => done == 1,
                _ => false,
            };
            if !right {
                faults.push(format!("{episode} was done {done} times and is {state:?}: {story:?}"));
            }
        }
    }
    faults
}
