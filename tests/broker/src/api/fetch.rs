//! Fetch: sessions, long polls, leader epochs and truncation (KIP-320), `read_committed`, racks (KIP-392), leader hints
//! (KIP-951).

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};
use tokio::time::{Instant, timeout_at};

use super::fetch_session::{FetchSession, TopicRef, Wanted, WantedPartitions, wanted};
use super::{Call, text, topic_name};
use crate::log::Isolation;
use crate::state::State;
use crate::topic::Partition;

/// `fetch.max.bytes` of the broker.
const FETCH_BYTES_MAX: i32 = 55 << 20;

/// What one pass over the partitions found.
struct Round {
    data: Vec<(TopicRef, PartitionData)>,
    bytes: usize,
    /// Something that the client must hear at once: an error, a divergence, another replica.
    urgent: bool,
}

/// Where the session stands after its part of the request was read.
struct Session {
    id: i32,
    incremental: bool,
    wanted: WantedPartitions,
}

/// What a broker over its quota answers: nothing, and no session, which is not the loss of one (KIP-219).
pub(crate) fn throttled(throttle: Duration) -> FetchResponse {
    FetchResponse::default().with_throttle_time_ms(i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX))
}

/// Waits for enough bytes, for something urgent or for the end of the client's patience.
pub(crate) async fn answer(call: &Call<'_>, request: &FetchRequest) -> FetchResponse {
    let session = match open_session(call, request) {
        Ok(session) => session,
        Err(error) => return FetchResponse::default().with_error_code(error.code()),
    };
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let enough = usize::try_from(request.min_bytes).unwrap_or(0);
    let mut changes = call.shared.watch_logs();
    loop {
        changes.mark_unchanged();
        let round = read_all(call, request, &session);
        if round.bytes >= enough || round.urgent || session.wanted.is_empty() && enough == 0 {
            return respond(call, &session, round);
        }
        if timeout_at(deadline, changes.changed()).await.is_err() {
            return respond(call, &session, read_all(call, request, &session));
        }
    }
}

fn open_session(call: &Call<'_>, request: &FetchRequest) -> Result<Session, ResponseError> {
    let mut state = call.shared.lock();
    let fresh = i32::try_from(state.fresh()).unwrap_or(1);
    let node = state.nodes.get_mut(&call.node).ok_or(ResponseError::UnknownServerError)?;
    let full = |id| Session { id, incremental: false, wanted: wanted(request) };
    if call.version < 7 {
        return Ok(full(0));
    }
    match (request.session_id, request.session_epoch) {
        (closed, -1) => {
            node.sessions.remove(&closed);
            Ok(full(0))
        }
        (closed, 0) => {
            node.sessions.remove(&closed);
            let session = full(fresh);
            node.sessions.insert(fresh, FetchSession::new(&session.wanted));
            Ok(session)
        }
        (id, epoch) => {
            let session = node.sessions.get_mut(&id).ok_or(ResponseError::FetchSessionIdNotFound)?;
            if session.next_epoch != epoch {
                return Err(ResponseError::InvalidFetchSessionEpoch);
            }
            session.update(request);
            Ok(Session { id, incremental: true, wanted: session.wanted() })
        }
    }
}

fn read_all(call: &Call<'_>, request: &FetchRequest, session: &Session) -> Round {
    let state = call.shared.lock();
    let mut left = usize::try_from(request.max_bytes.min(FETCH_BYTES_MAX)).unwrap_or(0);
    let mut round = Round { data: Vec::with_capacity(session.wanted.len()), bytes: 0, urgent: false };
    for (topic, index, asked) in &session.wanted {
        let one = Reader { call, state: &state, request, left, first: round.bytes == 0 };
        let data = one.read(topic, *index, asked);
        let bytes = data.records.as_ref().map_or(0, Bytes::len);
        left = left.saturating_sub(bytes);
        round.bytes += bytes;
        round.urgent |=
            data.error_code != 0 || data.diverging_epoch.end_offset >= 0 || data.preferred_read_replica.0 >= 0;
        round.data.push((topic.clone(), data));
    }
    round
}

struct Reader<'a> {
    call: &'a Call<'a>,
    state: &'a State,
    request: &'a FetchRequest,
    left: usize,
    first: bool,
}

impl Reader<'_> {
    fn read(&self, topic: &TopicRef, index: i32, asked: &Wanted) -> PartitionData {
        let empty = PartitionData::default()
            .with_partition_index(index)
            .with_high_watermark(-1)
            .with_last_stable_offset(-1)
            .with_records(Some(Bytes::new()));
        let refused = |error: ResponseError| empty.clone().with_error_code(error.code());
        let partition = match self.find(topic, index) {
            Ok(partition) => partition,
            Err(error) => return refused(error),
        };
        if let Err(error) = self.may_read(partition, asked) {
            return self.hint(refused(error), partition);
        }
        let log = &partition.log;
        let mut data = empty
            .clone()
            .with_high_watermark(log.high_watermark())
            .with_last_stable_offset(log.last_stable())
            .with_log_start_offset(if self.call.version >= 5 { log.start() } else { -1 });
        if let Some(replica) = self.nearer_replica(partition) {
            data.preferred_read_replica = BrokerId(replica);
            return data;
        }
        match diverges(partition, asked) {
            Ok(None) => {}
            Ok(Some((epoch, end))) => {
                data.diverging_epoch = EpochEndOffset::default().with_epoch(epoch).with_end_offset(end);
                return data;
            }
            Err(error) => return refused(error),
        }
        if asked.offset < log.start() || asked.offset > log.end() {
            return refused(ResponseError::OffsetOutOfRange);
        }
        self.records(partition, asked, data)
    }

    fn records(&self, partition: &Partition, asked: &Wanted, data: PartitionData) -> PartitionData {
        let isolation = Isolation::from(self.request.isolation_level);
        let max = usize::try_from(asked.max_bytes).unwrap_or(0).min(self.left);
        let records = partition.log.read(asked.offset, isolation, max, self.first);
        let aborted = (isolation == Isolation::Committed).then(|| {
            let of_log = partition.log.aborted_in(asked.offset, records.len());
            of_log
                .iter()
                .map(|aborted| {
                    AbortedTransaction::default()
                        .with_producer_id(ProducerId(aborted.producer_id))
                        .with_first_offset(aborted.first)
                })
                .collect()
        });
        data.with_aborted_transactions(aborted).with_records(Some(records))
    }

    fn find(&self, topic: &TopicRef, index: i32) -> Result<&Partition, ResponseError> {
        let name = if self.call.version >= 13 {
            self.state.topic_name(topic.id).ok_or(ResponseError::UnknownTopicId)?
        } else {
            topic.name.as_str()
        };
        let partition = self.state.topics.get(name).and_then(|topic| topic.partition(index));
        partition.ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// From version 11 on, which carries a rack, followers serve consumers too.
    fn may_read(&self, partition: &Partition, asked: &Wanted) -> Result<(), ResponseError> {
        if self.call.version >= 11 && partition.replicas.contains(&self.call.node) && partition.leader.is_some() {
            return partition.check_epoch(asked.leader_epoch);
        }
        super::check_epoch_and_leader(partition, self.call.node, asked.leader_epoch)
    }

    fn nearer_replica(&self, partition: &Partition) -> Option<i32> {
        let rack = Some(self.request.rack_id.as_str()).filter(|rack| !rack.is_empty() && self.call.version >= 11)?;
        if partition.leader != Some(self.call.node) {
            return None;
        }
        let in_rack = |id: &i32| {
            self.state.nodes.get(id).is_some_and(|node| node.is_running() && node.rack.as_deref() == Some(rack))
        };
        if in_rack(&self.call.node) {
            return None;
        }
        partition.replicas.iter().copied().find(in_rack)
    }

    /// Names the leader where the client asked the wrong broker or under the wrong epoch.
    fn hint(&self, data: PartitionData, partition: &Partition) -> PartitionData {
        let stale = [ResponseError::NotLeaderOrFollower.code(), ResponseError::FencedLeaderEpoch.code()];
        if self.call.version < 16 || !stale.contains(&data.error_code) {
            return data;
        }
        let leader = LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(partition.leader.unwrap_or(-1)))
            .with_leader_epoch(partition.leader_epoch);
        data.with_current_leader(leader)
    }
}

/// Where the client's last epoch ended, if that is before what it wants next.
fn diverges(partition: &Partition, asked: &Wanted) -> Result<Option<(i32, i64)>, ResponseError> {
    if asked.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let end = partition.log.end_of_epoch(asked.last_fetched_epoch).ok_or(ResponseError::OffsetOutOfRange)?;
    Ok((end.0 < asked.last_fetched_epoch || end.1 < asked.offset).then_some(end))
}

fn respond(call: &Call<'_>, session: &Session, round: Round) -> FetchResponse {
    let mut state = call.shared.lock();
    let mut response = FetchResponse::default().with_session_id(session.id);
    response.node_endpoints = endpoints(&state, &round);
    let kept = state.nodes.get_mut(&call.node).and_then(|node| node.sessions.get_mut(&session.id));
    let mut data = round.data;
    if let Some(kept) = kept {
        data.retain(|(topic, data)| kept.tell(topic, data) || !session.incremental);
    }
    for (topic, data) in data {
        match response.responses.last_mut() {
            Some(last) if *last.topic == *topic.name && last.topic_id == topic.id => last.partitions.push(data),
            _ => response.responses.push(
                FetchableTopicResponse::default()
                    .with_topic(topic_name(&topic.name))
                    .with_topic_id(topic.id)
                    .with_partitions(vec![data]),
            ),
        }
    }
    response
}

/// Addresses of the leaders that are hinted at.
fn endpoints(state: &State, round: &Round) -> Vec<NodeEndpoint> {
    let mut hinted: Vec<i32> = round.data.iter().map(|(_, data)| data.current_leader.leader_id.0).collect();
    hinted.sort_unstable();
    hinted.dedup();
    hinted
        .iter()
        .filter_map(|id| state.nodes.get(id))
        .map(|node| {
            NodeEndpoint::default()
                .with_node_id(BrokerId(node.id))
                .with_host(text(node.host.clone()))
                .with_port(i32::from(node.port()))
                .with_rack(node.rack.clone().map(text))
        })
        .collect()
}
