//! Incremental fetch sessions (KIP-227): which partitions a session holds and what the client was last told of each.

use std::collections::BTreeMap;

use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::PartitionData;
use uuid::Uuid;

/// A topic as the request named it: by name up to version 12, by id from 13 on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicRef {
    pub(crate) name: String,
    pub(crate) id: Uuid,
}

/// One partition to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
}

impl From<&FetchPartition> for Wanted {
    fn from(asked: &FetchPartition) -> Self {
        Self {
            offset: asked.fetch_offset,
            max_bytes: asked.partition_max_bytes,
            leader_epoch: asked.current_leader_epoch,
            last_fetched_epoch: asked.last_fetched_epoch,
        }
    }
}

/// The partitions of one request, in its order.
pub(crate) type WantedPartitions = Vec<(TopicRef, i32, Wanted)>;

/// The partitions that a request names.
pub(crate) fn wanted(request: &FetchRequest) -> WantedPartitions {
    request
        .topics
        .iter()
        .flat_map(|topic| {
            let named = TopicRef { name: topic.topic.to_string(), id: topic.topic_id };
            topic.partitions.iter().map(move |asked| (named.clone(), asked.partition, Wanted::from(asked)))
        })
        .collect()
}

/// What the client was last told; a partition without news is left out of an incremental answer.
type Told = Option<(i64, i64, i64)>;

/// One session.
#[derive(Debug)]
pub(crate) struct FetchSession {
    /// Epoch that the next request must carry.
    pub(crate) next_epoch: i32,
    partitions: BTreeMap<(TopicRef, i32), (Wanted, Told)>,
}

impl FetchSession {
    /// A session over the partitions of a full request.
    pub(crate) fn new(wanted: &WantedPartitions) -> Self {
        let partitions = wanted.iter().map(|(topic, index, asked)| ((topic.clone(), *index), (*asked, None))).collect();
        Self { next_epoch: 1, partitions }
    }

    /// Adds, changes and forgets partitions as the incremental request says.
    pub(crate) fn update(&mut self, request: &FetchRequest) {
        for (topic, index, asked) in wanted(request) {
            self.partitions.entry((topic, index)).and_modify(|kept| kept.0 = asked).or_insert((asked, None));
        }
        for forgotten in &request.forgotten_topics_data {
            let named = TopicRef { name: forgotten.topic.to_string(), id: forgotten.topic_id };
            for index in &forgotten.partitions {
                self.partitions.remove(&(named.clone(), *index));
            }
        }
        // 0 begins a session, so the epoch after the last is 1.
        self.next_epoch = self.next_epoch.checked_add(1).unwrap_or(1);
    }

    /// Everything the session fetches.
    pub(crate) fn wanted(&self) -> WantedPartitions {
        self.partitions.iter().map(|((topic, index), (asked, _))| (topic.clone(), *index, *asked)).collect()
    }

    /// Whether the answer for a partition is news, which it is not a second time.
    pub(crate) fn tell(&mut self, topic: &TopicRef, data: &PartitionData) -> bool {
        let Some((_, told)) = self.partitions.get_mut(&(topic.clone(), data.partition_index)) else { return true };
        let now = Some((data.high_watermark, data.last_stable_offset, data.log_start_offset));
        let changed = *told != now;
        // After an error everything is news again.
        *told = if data.error_code == 0 { now } else { None };
        changed
            || data.error_code != 0
            || data.records.as_ref().is_some_and(|records| !records.is_empty())
            || data.diverging_epoch.end_offset >= 0
            || data.preferred_read_replica.0 >= 0
    }
}
