//! Disturbing topics, partitions and committed offsets.

use kafka_protocol::ResponseError;

use super::Cluster;
use crate::state::CommittedOffset;

impl Cluster {
    /// Creates a topic; one of that name is replaced, as by deletion and recreation: it has another id and no records.
    pub fn create_topic(&self, name: &str, partitions: usize) {
        let mut state = self.shared().lock();
        let replication = state.replication;
        state.create_topic(name, partitions, replication);
        drop(state);
        self.shared().logs_changed();
    }

    /// Deletes a topic with its records; committed offsets stay until they are forgotten.
    pub fn delete_topic(&self, name: &str) {
        self.shared().lock().topics.remove(name);
        self.shared().logs_changed();
    }

    /// Grows a topic to `partitions`. Panics where it does not grow.
    pub fn add_partitions(&self, name: &str, partitions: usize) {
        self.shared().lock().add_partitions(name, partitions).expect("a topic with fewer partitions");
    }

    /// Metadata answers this error in place of the topic, until told `None`.
    pub fn metadata_error(&self, name: &str, error: Option<ResponseError>) {
        if let Some(topic) = self.shared().lock().topics.get_mut(name) {
            topic.metadata_error = error;
        }
    }

    /// Gives a topic a setting, by Kafka's name; told when asked for (DescribeConfigs), and without effect here.
    pub fn topic_setting(&self, name: &str, setting: &str, value: &str) {
        if let Some(topic) = self.shared().lock().topics.get_mut(name) {
            topic.settings.insert(setting.to_owned(), value.to_owned());
        }
    }

    /// Broker times replace the producers' in what is produced over the wire (`message.timestamp.type=LogAppendTime`).
    pub fn log_append_time(&self, name: &str) {
        if let Some(topic) = self.shared().lock().topics.get_mut(name) {
            topic.log_append_time = true;
        }
    }

    /// Makes a broker the leader of a partition under the next epoch. Panics where there is no such partition.
    pub fn move_leader(&self, topic: &str, partition: i32, broker: i32) {
        self.change(topic, partition, |partition| partition.lead(broker)).expect("a partition of this cluster");
    }

    /// Leaves a partition without a leader; [`Cluster::move_leader`] gives it one again.
    pub fn lose_leader(&self, topic: &str, partition: i32) {
        self.change(topic, partition, |partition| partition.leader = None).expect("a partition of this cluster");
    }

    /// The same leader under the next epoch, as after its restart.
    pub fn bump_leader_epoch(&self, topic: &str, partition: i32) {
        let bumped = self.change(topic, partition, |partition| {
            if let Some(leader) = partition.leader {
                partition.lead(leader);
            }
        });
        bumped.expect("a partition of this cluster");
    }

    /// Loses everything from `offset` on and begins the next leader epoch there: an unclean election.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) {
        let truncated = self.change(topic, partition, |partition| {
            partition.log.truncate(offset);
            if let Some(leader) = partition.leader {
                partition.lead(leader);
            }
        });
        truncated.expect("a partition of this cluster");
    }

    /// Loses everything before `offset`, as retention and delete-records do.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        self.change(topic, partition, |partition| partition.log.delete_before(offset))
            .expect("a partition of this cluster");
    }

    /// Keeps the high watermark at an offset, as while followers lag; `None` lets it follow the log end again.
    pub fn hold_high_watermark(&self, topic: &str, partition: i32, at: Option<i64>) {
        self.change(topic, partition, |partition| partition.log.hold_high_watermark(at))
            .expect("a partition of this cluster");
    }

    /// Commits an offset for a group without asking anybody.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64, leader_epoch: i32) {
        let committed = CommittedOffset { offset, leader_epoch, metadata: String::new() };
        let mut state = self.shared().lock();
        state.committed.entry(group.to_owned()).or_default().insert((topic.to_owned(), partition), committed);
    }

    /// Forgets what a group has committed, as `offsets.retention.minutes` does.
    pub fn forget_commits(&self, group: &str) {
        self.shared().lock().committed.remove(group);
    }

    /// Makes OffsetFetch with `require_stable` answer `UNSTABLE_OFFSET_COMMIT` for a partition, or no longer.
    pub fn unstable_commit(&self, group: &str, topic: &str, partition: i32, unstable: bool) {
        let entry = (group.to_owned(), topic.to_owned(), partition);
        let mut state = self.shared().lock();
        state.unstable.retain(|kept| *kept != entry);
        if unstable {
            state.unstable.push(entry);
        }
    }
}
