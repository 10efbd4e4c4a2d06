//! The probes answer within ten milliseconds, also while the service has more to do than its cores can.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::{Batch, Cluster, Record};

use crate::world::port;
use crate::world::process::{Service, binary, wait_for};
use crate::world::settings::{self, Brokers};

const PATIENCE: Duration = Duration::from_mins(1);
/// What a probe may take beyond what any program takes on this machine.
const PROBE: Duration = Duration::from_millis(10);
/// How often each is called.
const CALLS: usize = 21;

/// The least that a program takes, and one that does nothing, called in turn. The least, because what other processes of
/// the machine add is not the program's; what it does itself, it does every time.
fn least(program: impl Fn() -> Command) -> (Duration, Duration) {
    let took = |mut command: Command| {
        let begun = Instant::now();
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("it runs");
        assert!(status.success(), "{command:?}: {status}");
        begun.elapsed()
    };
    let call = |_| (took(program()), took(Command::new("true")));
    (0..CALLS).map(call).reduce(|(own, other), next| (own.min(next.0), other.min(next.1))).expect("it was called")
}

fn probe(name: &str, folder: &Path) -> Command {
    let mut command = binary();
    command.arg0(format!("/scripts/{name}")).env("RUNTIME_DIR", folder);
    command
}

/// The time that a process has spent on its cores.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("its stat");
    let after_name = stat.rsplit_once(')').expect("a name").1;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

#[test]
fn probes_answer_in_time_while_the_service_is_busy() {
    let cluster = Cluster::builder().topic("incidents", 2).security(settings::double_security()).start();
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    // Many conditions of which none matches: all of the work is the service's own.
    let mut conditions = String::new();
    for number in 0..200 {
        let test = format!("alert_conditions: {{host: {{regex: '^{number}x.*y$'}}}}");
        let _ = writeln!(conditions, "- {{name: c{number}, {test}, incident_actions: [hook]}}");
    }
    let more = format!(
        "incident_conditions:\n{conditions}incident_actions:\n- {{name: hook, type: webhook, url: 'http://127.0.0.1:1/'}}\n"
    );
    let config = settings::config(&Brokers::double(&cluster), folder.path(), "busy", "incidents", port, &more);
    let mut service = Service::start(folder.path(), &config, port);
    service.wait_ready(PATIENCE);
    let said = |name: &str| probe(name, folder.path()).output().expect("it runs").status.success();
    wait_for(|| service.last_words(), PATIENCE, || (said("app_liveness") && said("app_readiness")).then_some(()));

    let record = || Record::from(IncidentSpec::new("busy", "oozie", 1_769_755_513).to_json(&mut Seed::new(1)));
    let batch = Batch::of((0..500).map(|_| record()));
    for partition in 0..2 {
        cluster.append_many("incidents", partition, &batch, 4000);
    }
    let words = || format!("work\n{}", service.last_words());
    wait_for(words, PATIENCE, || (cpu(service.pid()) > Duration::from_secs(1)).then_some(()));

    for name in ["app_liveness", "app_readiness"] {
        let (begun, before) = (Instant::now(), cpu(service.pid()));
        let (own, any) = least(|| probe(name, folder.path()));
        let (took, worked) = (begun.elapsed(), cpu(service.pid()).saturating_sub(before));
        println!(
            "{name}: {own:?} where any program takes {any:?}; meanwhile the service worked {worked:?} of {took:?}"
        );
        // On a busy machine it gets little of a core, but it always wants one.
        assert!(worked > took / 20, "the service was busy: {worked:?} of {took:?}");
        assert!(own.saturating_sub(any) <= PROBE, "{name}: {own:?}, where any program takes {any:?}");
    }
}
