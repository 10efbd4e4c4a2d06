//! A topic, a group on it, and watchers that look at both all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafka_consumer::client::{
    AutoOffsetReset, Consumer, ConsumerBuilder, PasswordSource, SaslMechanism, SaslSettings, Security, TlsSettings,
};
use serde_json::Value;

use super::admin::Admin;
use super::member::{Member, Owned};
use super::story::Story;
use crate::world::kafka::Cluster;
use crate::world::process::wait_for;

/// No condition takes longer, a cluster that loses a node on a busy machine included.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// How often every member is asked in what it believes.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// How often the coordinator is asked what it holds.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The group is called like the topic.
pub(super) struct Scene<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) admin: Admin,
    pub(super) story: Arc<Story>,
    pub(super) partitions: i32,
    watched: Arc<Mutex<Vec<Owned>>>,
    /// Dropped, it ends the watchers.
    ends: Vec<Sender<()>>,
    watchers: Vec<JoinHandle<()>>,
}

impl<'a> Scene<'a> {
    /// Creates the topic.
    pub(super) fn new(cluster: &'a Cluster, name: &'static str, partitions: i32) -> Self {
        let admin = Admin::create(cluster, name, partitions);
        let (story, watched) = (Arc::<Story>::default(), Arc::<Mutex<Vec<Owned>>>::default());
        let (ends, ended): (Vec<_>, Vec<_>) = (0..2).map(|_| channel()).unzip();
        let mut ended = ended.into_iter();
        let mut next = || ended.next().expect("one for each watcher");
        let watchers = vec![
            look(Arc::clone(&story), Arc::clone(&watched), next()),
            ask(Arc::clone(&story), admin.clone(), next()),
        ];
        Self { cluster, admin, story, partitions, watched, ends, watchers }
    }

    /// A consumer over `SASL_SSL` with short times.
    pub(super) fn consumer(&self) -> ConsumerBuilder {
        self.consumer_of(&self.cluster.username, PasswordSource::from(self.cluster.password.as_str()))
    }

    /// The same as somebody else.
    pub(super) fn consumer_of(&self, username: &str, password: PasswordSource) -> ConsumerBuilder {
        let sasl = SaslSettings { mechanism: SaslMechanism::ScramSha512, username: username.to_owned(), password };
        Consumer::builder()
            .bootstrap_servers([self.cluster.sasl_ssl.clone()])
            .group_id(self.admin.topic)
            .topics([self.admin.topic])
            .security(Security::SaslSsl(sasl, TlsSettings::with_ca(&self.cluster.ca_file)))
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .session_timeout(Duration::from_secs(6))
            .configure(|config| {
                config.heartbeat_interval = Duration::from_millis(500);
                config.client.metadata_max_age = Duration::from_secs(5);
            })
    }

    /// The same for Kafka's own tools and those that are called like them.
    pub(super) fn properties(&self) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = std::fs::read_to_string(&self.cluster.client_properties).expect("the launcher wrote it");
        std::fs::write(file.path(), format!("{text}heartbeat.interval.ms=500\n")).expect("written");
        file
    }

    /// Enters what a verifiable consumer printed. Between the two moments it was stopped: what it believed in then counts
    /// as given up at the first one.
    pub(super) fn enter(&self, name: &str, events: &[Value], (stopped, woken): (Instant, Instant)) {
        let (instant, system) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970"));
        let at = |event: &Value| {
            let millis = Duration::from_millis(event["timestamp"].as_u64().expect("a timestamp"));
            instant.checked_sub(system.saturating_sub(millis)).expect("since the start")
        };
        let mut beliefs: BTreeMap<i32, usize> = BTreeMap::new();
        for event in events {
            let now = at(event);
            for part in event["partitions"].as_array().into_iter().flatten() {
                let number = |field: &str| part[field].as_i64().expect("a number");
                let partition = i32::try_from(number("partition")).expect("a partition");
                match event["name"].as_str() {
                    Some("partitions_assigned") => {
                        beliefs.insert(partition, self.story.begins(name, partition, now));
                    }
                    Some("partitions_revoked") => {
                        let belief = beliefs.remove(&partition).expect("assigned before");
                        self.story.believes(belief, if now >= woken { stopped } else { now });
                    }
                    Some("records_consumed") => {
                        let belief = beliefs[&partition];
                        self.story.acts(belief, number("minOffset"), number("maxOffset") + 1, now);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Starts a member and has it watched.
    pub(super) fn join(&self, name: &'static str, builder: ConsumerBuilder) -> Member {
        self.join_slow(name, builder, Duration::ZERO)
    }

    /// Starts a member that takes so long to give something up.
    pub(super) fn join_slow(&self, name: &'static str, builder: ConsumerBuilder, takes: Duration) -> Member {
        let member = Member::start(name, builder, &self.story, takes);
        self.watched.lock().expect("no holder panicked").push(Arc::clone(&member.owned));
        member
    }

    /// Waits until these members own all partitions between them, about as many each.
    pub(super) fn await_shared(&self, members: &[&Member]) {
        let all: Vec<i32> = (0..self.partitions).collect();
        let fair = usize::try_from(self.partitions).expect("few") / members.len();
        self.wait("every partition has its owner", || {
            let each: Vec<Vec<i32>> = members.iter().map(|member| member.partitions()).collect();
            let fairly = each.iter().all(|part| part.len() >= fair);
            let mut together = each.concat();
            together.sort_unstable();
            fairly && together == all
        });
    }

    /// Waits until something is so.
    pub(super) fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        wait_for(|| format!("{what}\n{:#?}", self.story.events()), PATIENCE, || is_so().then_some(()));
    }

    /// Waits until every one of these offsets was acted upon and everything in the log is committed.
    pub(super) fn await_done(&self, acknowledged: &BTreeMap<i32, BTreeSet<i64>>) {
        self.wait("everything is acted upon", || self.story.covers(acknowledged));
        self.await_committed();
    }

    /// Waits until everything in the log is committed.
    pub(super) fn await_committed(&self) {
        let ends = self.admin.log_ends(self.partitions);
        self.wait(&format!("{ends:?} is committed"), || {
            self.admin.committed(self.admin.topic, self.partitions).is_some_and(|(_, offsets)| offsets == ends)
        });
    }

    /// Deletes the topic, waits until the group's commits are gone with it, and begins another chapter of the story.
    pub(super) fn delete_topic(&self) {
        self.admin.delete();
        self.wait("the end of its commits", || {
            let committed = self.admin.committed(self.admin.topic, self.partitions);
            committed.is_some_and(|(_, offsets)| offsets.is_empty())
        });
        self.story.begin_again();
    }

    /// Ends the watchers, and holds the whole against its promises.
    pub(super) fn judge(mut self, acknowledged: &BTreeMap<i32, BTreeSet<i64>>) {
        self.ends.clear();
        for watcher in self.watchers.drain(..) {
            watcher.join().expect("a watcher did not panic");
        }
        print!("{}: ", self.admin.topic);
        self.story.judge(acknowledged);
    }
}

/// Asks every member again and again in what it believes. The clock is read first: whoever believes after it believed
/// at it.
fn look(story: Arc<Story>, watched: Arc<Mutex<Vec<Owned>>>, end: Receiver<()>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while end.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            for owned in watched.lock().expect("no holder panicked").iter() {
                let owned = owned.lock().expect("no holder panicked").clone();
                for (ownership, number) in owned {
                    let now = Instant::now();
                    if ownership.check().is_ok() {
                        story.believes(number, now);
                    }
                }
            }
        }
    })
}

fn ask(story: Arc<Story>, admin: Admin, end: Receiver<()>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while end.recv_timeout(ASK_EVERY) == Err(RecvTimeoutError::Timeout) {
            // Of more partitions than there are: those that are added later are among them.
            if let Some((node, offsets)) = admin.committed(admin.topic, 64) {
                story.stores(node, offsets);
            }
        }
    })
}
