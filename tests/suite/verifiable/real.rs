//! Group faults on a real Kafka, over `SASL_SSL`: the checks that Apache's system tests make of their consumers.

use rustix::process::Signal;

use super::story::{Member, judge};
use super::{PATIENCE, Subject};
use crate::world::kafka::{Cluster, cluster};
use crate::world::process::wait_for;
use crate::world::produce;
use crate::world::wire::Wire;

const PARTITIONS: i32 = 6;

struct Group<'a> {
    cluster: &'a Cluster,
    wire: Wire,
    name: &'static str,
    config: tempfile::NamedTempFile,
    produced: usize,
}

impl<'a> Group<'a> {
    /// A topic and a group of one name.
    fn new(cluster: &'a Cluster, name: &'static str) -> Self {
        let mut wire = Wire::connect(&cluster.plaintext);
        wire.create_topic(name, PARTITIONS, &[]);
        let config = tempfile::NamedTempFile::new().expect("a file");
        let text = format!(
            "security.protocol=SASL_SSL\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
             sasl.mechanism=SCRAM-SHA-512\nheartbeat.interval.ms=500\n\
             sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n \
             username=\"{}\" password=\"{}\";\n",
            cluster.ca_file.display(),
            cluster.username,
            cluster.password
        );
        std::fs::write(config.path(), text).expect("written");
        Self { cluster, wire, name, config, produced: 0 }
    }

    fn start(&self, more: &[&str]) -> Subject {
        let config = self.config.path().to_str().expect("a path");
        let flags = ["--bootstrap-server", &self.cluster.sasl_ssl, "--topic", self.name, "--group-id", self.name];
        let rest = ["--session-timeout", "6000", "--command-config", config];
        Subject::start(flags.iter().chain(&rest).chain(more))
    }

    /// More records, in batches of 5 over all partitions.
    fn produce(&mut self) {
        let records: Vec<_> =
            (self.produced..self.produced + 120).map(|n| (format!("k{n}"), format!("v{n}"))).collect();
        produce::spread(&mut self.wire, self.name, PARTITIONS, 5, &records);
        self.produced += records.len();
    }

    /// Until everything that was produced is committed.
    fn wait_committed(&mut self, witnesses: &[&Subject]) {
        let ends = self.wire.log_ends(self.name, PARTITIONS);
        let words = || witnesses.iter().map(|subject| subject.words()).collect::<Vec<_>>().join("\n---\n");
        let (wire, name) = (&mut self.wire, self.name);
        wait_for(words, PATIENCE, || (wire.committed(name, name, PARTITIONS) == ends).then_some(()));
    }

    fn judge(&mut self, members: &[Member]) {
        judge(members, &self.wire.log_ends(self.name, PARTITIONS));
    }
}

fn shared(members: &[&Subject]) {
    let each = usize::try_from(PARTITIONS).expect("small") / members.len();
    for member in members {
        member.wait(&format!("{each} partitions"), |member| member.owned().len() == each);
    }
}

fn now_ms() -> u64 {
    produce::now_ms().unsigned_abs()
}

#[test]
fn members_that_come_go_die_and_freeze_lose_nothing_and_share_nothing() {
    let Some(cluster) = cluster() else { return };
    let mut group = Group::new(cluster, "bounced");
    group.produce();
    let mut first = group.start(&[]);
    let mut second = group.start(&["--assignment-strategy", "org.apache.kafka.clients.consumer.RangeAssignor"]);
    shared(&[&first, &second]);
    group.produce();
    group.wait_committed(&[&first, &second]);

    // Bounce: the other takes everything at once.
    second.stop();
    shared(&[&first]);
    group.produce();
    let mut third = group.start(&[]);
    shared(&[&first, &third]);

    // Kill: within the session nobody takes over.
    group.produce();
    third.signal(Signal::KILL);
    let killed_at = now_ms();
    third.wait_end(PATIENCE);
    let fourth = group.start(&[]);
    shared(&[&first, &fourth]);
    group.wait_committed(&[&first, &fourth]);

    // Freeze for longer than the session; what was owned is gone when it wakes up.
    fourth.signal(Signal::STOP);
    let stopped_at = now_ms();
    group.produce();
    shared(&[&first]);
    group.wait_committed(&[&first]);
    fourth.signal(Signal::CONT);
    shared(&[&first, &fourth]);
    group.produce();
    group.wait_committed(&[&first, &fourth]);

    let mut fourth = fourth;
    fourth.stop();
    first.stop();
    let before = Member::of("fourth until it froze", &fourth).until(stopped_at);
    let after = Member::of("fourth after it woke up", &fourth).since(stopped_at);
    group.judge(&[
        Member::of("first", &first),
        Member::of("second", &second),
        Member::of("third", &third).until(killed_at),
        before,
        after,
    ]);
}

#[test]
fn a_static_member_that_comes_back_within_its_session_moves_nothing() {
    let Some(cluster) = cluster() else { return };
    let mut group = Group::new(cluster, "static-bounce");
    let mut stays = group.start(&["--group-instance-id", "one", "--session-timeout", "30000"]);
    let mut bounced = group.start(&["--group-instance-id", "two", "--session-timeout", "30000"]);
    shared(&[&stays, &bounced]);
    let had = bounced.owned();
    let rebalances = stays.named("partitions_assigned").len();
    group.produce();
    group.wait_committed(&[&stays, &bounced]);

    bounced.stop();
    let mut again = group.start(&["--group-instance-id", "two", "--session-timeout", "30000"]);
    again.wait("what it had before", |again| again.owned().len() == had.len());
    group.produce();
    group.wait_committed(&[&stays, &again]);
    assert_eq!(again.owned(), had);
    assert_eq!(stays.named("partitions_assigned").len(), rebalances, "{}", stays.words());
    again.stop();
    stays.stop();
    group.judge(&[Member::of("stays", &stays), Member::of("bounced", &bounced), Member::of("again", &again)]);
}

#[test]
fn the_earlier_of_two_with_one_instance_id_is_fenced_and_ends() {
    let Some(cluster) = cluster() else { return };
    let mut group = Group::new(cluster, "fenced");
    let mut earlier = group.start(&["--group-instance-id", "same"]);
    shared(&[&earlier]);
    let mut later = group.start(&["--group-instance-id", "same"]);
    let status = earlier.wait_end(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", earlier.words());
    assert_eq!(earlier.events().pop().expect("an event")["name"], "shutdown_complete");
    assert!(earlier.stderr().contains("same group.instance.id"), "{}", earlier.stderr());
    shared(&[&later]);
    group.produce();
    group.wait_committed(&[&later]);
    later.stop();
}
