//! The five programs by their names: what they print, and how they end.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use kafka_broker_double::Cluster;
use kafka_consumer::container::{Heartbeat, Identity, Pulse, Readiness};

use crate::world::port;
use crate::world::process::{binary, wait_for};
use crate::world::settings::{self, Brokers};

const PATIENCE: Duration = Duration::from_secs(45);

/// The binary under another name.
fn program(name: &str, folder: &Path) -> Command {
    let mut command = binary();
    command.arg0(format!("/scripts/{name}")).env("RUNTIME_DIR", folder).env("CONFIG_FILE", folder.join("config.yaml"));
    command
}

fn ran(name: &str, folder: &Path) -> (Option<i32>, String) {
    told(program(name, folder).output().expect("it runs"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is called on what a command has just given")]
fn told(output: Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// A process that lives until it is dropped.
struct Stranger(Child);

impl Stranger {
    fn start(program: &str, argument: &str) -> Self {
        Self(Command::new(program).arg(argument).stdin(Stdio::null()).spawn().expect("a process"))
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a pid")
    }

    /// As the service would describe itself.
    fn identity(&self) -> Identity {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("its stat");
        let after_name = stat.rsplit_once(')').expect("a name").1;
        let started = after_name.split_whitespace().nth(19).expect("field 22").parse().expect("ticks");
        let executable = std::fs::read_link(format!("/proc/{}/exe", self.pid())).expect("its program");
        Identity { pid: self.pid(), started_ticks: started, executable }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn say(folder: &Path, beat: &Heartbeat) {
    std::fs::write(folder.join("consumer.pid"), format!("{}\n", beat.process.pid)).expect("a PID file");
    beat.write(&folder.join("heartbeat.json")).expect("a heartbeat");
}

#[test]
fn the_probes_say_the_platforms_sentences_and_tell_every_way_of_being_dead_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, line) = ran("app_liveness", folder.path());
    assert!(code == Some(1) && line.starts_with("no PID file: "), "{line}");

    let process = Stranger::start("sleep", "600");
    let pid = process.pid();
    // Between fork and exec it still has the name of this test.
    wait_for(|| "exec".to_owned(), PATIENCE, || process.identity().executable.ends_with("sleep").then_some(()));
    let alive = Heartbeat::now(process.identity(), &Pulse::new(), Readiness::Ready);
    say(folder.path(), &alive);
    let running = format!("kafka_consumer process (PID: {pid}) is running.");
    assert_eq!(ran("app_liveness", folder.path()), (Some(0), running.clone()));
    let ready = format!("kafka_consumer process (PID: {pid}) is running and ready.");
    assert_eq!(ran("app_readiness", folder.path()), (Some(0), ready));

    let reasons = vec!["kafka: connecting".to_owned()];
    say(folder.path(), &Heartbeat { readiness: Readiness::NotReady { reasons }, ..alive.clone() });
    // Whatever is wrong outside, the process lives.
    assert_eq!(ran("app_liveness", folder.path()), (Some(0), running));
    let (code, line) = ran("app_readiness", folder.path());
    assert!(code == Some(1) && line.ends_with("is running but not ready: kafka: connecting"), "{line}");

    say(folder.path(), &Heartbeat { polled_ms: alive.written_ms.saturating_sub(31_000), ..alive.clone() });
    let (code, line) = ran("app_liveness", folder.path());
    assert!(code == Some(1) && line.contains("the poll loop went round 31 s ago"), "{line}");

    let earlier = Identity { started_ticks: alive.process.started_ticks - 1, ..alive.process.clone() };
    say(folder.path(), &Heartbeat { process: earlier, ..alive });
    let (code, line) = ran("app_liveness", folder.path());
    assert!(code == Some(1) && line.contains("is another process by now"), "{line}");
    // And it is not asked to stop.
    let (code, line) = ran("app_prestop", folder.path());
    assert!(code == Some(0) && line.starts_with("Nothing to stop: "), "{line}");
}

#[test]
fn a_zombie_does_not_live() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Stranger::start("sleep", "0");
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).expect("its stat");
    wait_for(|| "a zombie".to_owned(), PATIENCE, || stat().contains(") Z ").then_some(()));
    let identity = Identity { pid: process.pid(), started_ticks: 1, executable: "/bin/sleep".into() };
    say(folder.path(), &Heartbeat::now(identity, &Pulse::new(), Readiness::Ready));
    let (code, line) = ran("app_liveness", folder.path());
    assert!(code == Some(1) && line.ends_with("has ended and is a zombie"), "{line}");
}

#[test]
fn a_wrong_configuration_ends_the_start_at_once_with_every_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, text) = ran("app_start", folder.path());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("config.yaml (named by the variable CONFIG_FILE): "), "{text}");
    std::fs::write(folder.path().join("config.yaml"), "kafka: {brokerz: 1}\nmode: lve\n").expect("written");
    let (code, text) = ran("app_start", folder.path());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("did you mean `brokers`?") && text.contains("did you mean `live`?"), "{text}");
    let (code, text) = ran("app_configure", folder.path());
    assert!(code == Some(2) && text.contains("is wrong in "), "{text}");
}

#[test]
fn a_certificate_that_does_not_come_is_named_with_the_usual_cause() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let config = format!(
        "kafka: {{brokers: [b:1], consumer_group_id: g, topics: [t]}}\nathenz: {{certificate: {}, key: {}}}\n\
         secrets: [{{name: a, ckms_key_group: g, ckms_key_name: k}}]\n",
        at("cert.pem"),
        at("key.pem")
    );
    std::fs::write(folder.path().join("config.yaml"), config).expect("written");
    std::fs::write(folder.path().join("key.pem"), "a key").expect("written");
    let mut command = program("app_start", folder.path());
    let (code, text) = told(command.env("START_PATIENCE", "1").env("START_LOOK_EVERY", "1").output().expect("it runs"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("waiting for {} (0 of 1 s)", at("cert.pem"))), "{text}");
    assert!(text.contains(&format!("waited 1 s for {}: not there. Is the", at("cert.pem"))), "{text}");
    assert!(!text.contains("key.pem"), "{text}");
}

#[test]
fn the_start_supervises_the_service_and_ends_as_it_did() {
    let cluster = Cluster::builder().topic("t", 1).security(settings::double_security()).start();
    let folder = tempfile::tempdir().expect("a folder");
    let config = settings::config(&Brokers::double(&cluster), folder.path(), "g", "t", port::free(), "");
    std::fs::write(folder.path().join("config.yaml"), config).expect("written");
    let start = || program("app_start", folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let ready = || (ran("app_readiness", folder.path()).0 == Some(0)).then_some(());
    let last = || format!("readiness: {:?}", ran("app_readiness", folder.path()));

    let mut first = start().expect("started");
    wait_for(last, PATIENCE, ready);
    let pid = std::fs::read_to_string(folder.path().join("consumer.pid")).expect("a PID");
    assert_ne!(pid.trim(), first.id().to_string(), "the service is a child");
    let service = rustix::process::Pid::from_raw(pid.trim().parse().expect("a number")).expect("a PID");
    rustix::process::kill_process(service, rustix::process::Signal::KILL).expect("killed");
    assert_eq!(first.wait().expect("its end").code(), Some(137));
    let (code, line) = ran("app_liveness", folder.path());
    assert!(code == Some(1) && line.ends_with("is not running"), "{line}");

    let mut second = start().expect("started");
    wait_for(last, PATIENCE, ready);
    let (code, line) = ran("app_prestop", folder.path());
    assert!(code == Some(0) && line.starts_with("kafka_consumer process ended after "), "{line}");
    assert_eq!(second.wait().expect("its end").code(), Some(0));
}
