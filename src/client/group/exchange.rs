//! One ask of the membership machine, carried out: a request of ours to its answer.
//!
//! Every function ends by the ask's deadline at the latest and turns whatever goes wrong into an [`AskFailure`]; what
//! that means is for the machine to say. A connection that was closed on purpose between two requests is replaced once,
//! quietly.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kafka_proto::assignor::PartitionCounts;
use kafka_proto::assignor::protocol::PROTOCOL_TYPE;
use kafka_proto::error_code::{ErrorClass, ErrorCode};
use kafka_proto::id::BrokerId;
use kafka_proto::membership::{
    Answer, AskFailure, Call, DescribeTopicsAsk, FindCoordinatorAsk, HeartbeatAsk, Identity, JoinAnswer, JoinAsk,
    JoinedMember, LeaveAsk, SyncAnswer, SyncAsk,
};

use crate::client::cluster::{Cluster, CoordinatorError, Purpose};
use crate::client::connection::{Connection, RequestError};
use crate::client::request::Exchange;
use crate::client::request::heartbeat::Heartbeat;
use crate::client::request::join_group::{JoinGroup, JoinGroupAnswer};
use crate::client::request::leave_group::LeaveGroup;
use crate::client::request::metadata::{GetMetadata, TopicMetadata};
use crate::client::request::sync_group::SyncGroup;

/// The connection on which a join or sync is held back. A newer one must not wait behind it: the broker reads nothing
/// more from that socket until it has answered.
#[derive(Clone, Default)]
pub(super) struct HeldBack(Arc<Mutex<Option<Connection>>>);

impl HeldBack {
    fn put(&self, connection: Option<Connection>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// Ends whatever is held back.
    pub(super) fn close(&self) {
        if let Some(connection) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            connection.close();
        }
    }
}

/// How long a join waits for the first metadata. What answered for the coordinator answers from memory; otherwise the join goes
/// on without, over a connection of its own.
const METADATA_PATIENCE: Duration = Duration::from_millis(500);

/// Finds the coordinator and proves that it is there.
pub(super) async fn find_coordinator(cluster: &Cluster, ask: &FindCoordinatorAsk) -> Answer {
    within(ask.deadline, async { prove_coordinator(cluster, &ask.group_id).await.map(Answer::Coordinator) }).await
}

/// The proof is the connection on which the group is joined: the one on which the coordinator was found, where that is the same
/// broker. That for heartbeats is opened by the first of them.
async fn prove_coordinator(cluster: &Cluster, group_id: &str) -> Result<BrokerId, AskFailure> {
    let id = cluster.find_coordinator(group_id).await.map_err(|error| not_found(&error))?;
    // The first metadata is asked for over the connection that is to be taken over, and is needed as soon.
    cluster.heard_of_topics(METADATA_PATIENCE).await;
    if let Err(error) = cluster.connect_or_take_over(id, Purpose::Rebalance, Purpose::Control).await {
        // A broker that is gone may be named again and again (fault G10).
        cluster.distrust_coordinator();
        return Err(AskFailure::Disconnected(error.to_string()));
    }
    Ok(id)
}

fn not_found(error: &CoordinatorError) -> AskFailure {
    match error {
        CoordinatorError::Broker { code, .. } => AskFailure::Refused(*code),
        CoordinatorError::Connect(_) | CoordinatorError::Request(_) => AskFailure::Disconnected(error.to_string()),
    }
}

pub(super) async fn heartbeat(cluster: &Cluster, ask: &HeartbeatAsk) -> Answer {
    let Identity { group_id, member_id, group_instance_id } = &ask.identity;
    let request = || Heartbeat {
        group_id: group_id.to_string(),
        generation: ask.generation,
        member_id: member_id.to_string(),
        group_instance_id: group_instance_id.as_deref().map(str::to_owned),
    };
    let answer = ask_coordinator(cluster, ask.call, Purpose::Heartbeat, None, request);
    within(ask.call.deadline, async { Ok(Answer::HeartbeatAnswered(answer.await?.error)) }).await
}

pub(super) async fn leave(cluster: &Cluster, ask: &LeaveAsk) -> Answer {
    let Identity { group_id, member_id, group_instance_id } = &ask.identity;
    let request = || LeaveGroup {
        group_id: group_id.to_string(),
        member_id: member_id.to_string(),
        group_instance_id: group_instance_id.as_deref().map(str::to_owned),
        reason: Some(ask.reason.clone()),
    };
    let answer = ask_coordinator(cluster, ask.call, Purpose::Heartbeat, None, request);
    within(ask.call.deadline, async { Ok(Answer::LeftGroup(answer.await?.error)) }).await
}

pub(super) async fn join(cluster: &Cluster, ask: &JoinAsk, held_back: &HeldBack) -> Answer {
    let Identity { group_id, member_id, group_instance_id } = &ask.identity;
    let request = || JoinGroup {
        group_id: group_id.to_string(),
        session_timeout: ask.session_timeout,
        rebalance_timeout: ask.rebalance_timeout,
        member_id: member_id.to_string(),
        group_instance_id: group_instance_id.as_deref().map(str::to_owned),
        protocol_type: PROTOCOL_TYPE.to_owned(),
        protocols: ask.protocols.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect(),
        reason: Some(ask.reason.to_string()),
    };
    let answer = ask_coordinator(cluster, ask.call, Purpose::Rebalance, Some(held_back), request);
    within(ask.call.deadline, async { Ok(Answer::Joined(joined(answer.await?))) }).await
}

fn joined(answer: JoinGroupAnswer) -> JoinAnswer {
    let member = |member: crate::client::request::join_group::JoinedMember| JoinedMember {
        member_id: member.member_id.into(),
        instance_id: member.group_instance_id.map(Arc::from),
        metadata: member.metadata,
    };
    JoinAnswer {
        error: answer.error,
        generation: answer.generation,
        protocol_name: answer.protocol_name.map(Arc::from),
        leader: answer.leader.into(),
        member_id: answer.member_id.into(),
        skip_assignment: answer.skip_assignment,
        members: answer.members.into_iter().map(member).collect(),
    }
}

pub(super) async fn sync(cluster: &Cluster, ask: &SyncAsk, held_back: &HeldBack) -> Answer {
    let Identity { group_id, member_id, group_instance_id } = &ask.identity;
    let request = || SyncGroup {
        group_id: group_id.to_string(),
        generation: ask.generation,
        member_id: member_id.to_string(),
        group_instance_id: group_instance_id.as_deref().map(str::to_owned),
        protocol_type: Some(PROTOCOL_TYPE.to_owned()),
        protocol_name: Some(ask.protocol_name.to_owned()),
        assignments: ask.assignments.iter().map(|(id, bytes)| (id.to_string(), bytes.clone())).collect(),
    };
    let answer = ask_coordinator(cluster, ask.call, Purpose::Rebalance, Some(held_back), request);
    within(ask.call.deadline, async {
        let answer = answer.await?;
        Ok(Answer::Synced(SyncAnswer { error: answer.error, assignment: answer.assignment }))
    })
    .await
}

/// Fresh partition counts. A topic that cannot be described for the moment fails the whole question: an assignment
/// without it would take its partitions from everyone (fault G18). Asked of the coordinator over the connection of the join, on
/// which nothing is held back between that and the sync; of any broker while there is no coordinator.
pub(super) async fn describe_topics(
    cluster: &Cluster,
    ask: &DescribeTopicsAsk,
    coordinator: Option<BrokerId>,
    held_back: &HeldBack,
) -> Answer {
    let request = || GetMetadata { topics: Some(ask.topics.clone()) };
    let question = async {
        let answer = if let Some(coordinator) = coordinator {
            let call = Call { id: ask.id, coordinator, deadline: ask.deadline };
            ask_coordinator(cluster, call, Purpose::Rebalance, Some(held_back), request).await?
        } else {
            let connection = cluster.any().await.map_err(|error| AskFailure::Disconnected(error.to_string()))?;
            let limit = ask.deadline.saturating_duration_since(Instant::now());
            connection.request(request(), limit).await.map_err(|error| failure(&error))?
        };
        if answer.error != ErrorCode::None {
            return Err(AskFailure::Refused(answer.error));
        }
        counts(&answer.topics).map(Answer::TopicsDescribed)
    };
    within(ask.deadline, question).await
}

fn counts(topics: &[TopicMetadata]) -> Result<PartitionCounts, AskFailure> {
    let mut counts = PartitionCounts::new();
    for topic in topics {
        let partitions = match topic.error {
            ErrorCode::None => i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
            // It does not exist, or not for us: nobody's.
            ErrorCode::UnknownTopicOrPartition | ErrorCode::InvalidTopicException => 0,
            error if error.class() == ErrorClass::Authorization => 0,
            error => return Err(AskFailure::Refused(error)),
        };
        counts.insert(Arc::clone(&topic.name), partitions);
    }
    Ok(counts)
}

/// One request to the coordinator, on a living connection for `purpose`.
async fn ask_coordinator<R: Exchange>(
    cluster: &Cluster,
    call: Call,
    purpose: Purpose,
    held_back: Option<&HeldBack>,
    request: impl Fn() -> R,
) -> Result<R::Response, AskFailure> {
    match attempt(cluster, call.coordinator, purpose, held_back, request(), remaining(call)).await {
        Err(Attempt::Planned) => {
            let again = attempt(cluster, call.coordinator, purpose, held_back, request(), remaining(call)).await;
            again.map_err(Attempt::into_failure)
        }
        answered => answered.map_err(Attempt::into_failure),
    }
}

/// How an attempt failed.
enum Attempt {
    /// The connection was closed by us, as a plan, before it took the request.
    Planned,
    Failed(AskFailure),
}

impl Attempt {
    fn into_failure(self) -> AskFailure {
        match self {
            Self::Planned => AskFailure::Disconnected("closed by this client".to_owned()),
            Self::Failed(failure) => failure,
        }
    }
}

async fn attempt<R: Exchange>(
    cluster: &Cluster,
    coordinator: BrokerId,
    purpose: Purpose,
    held_back: Option<&HeldBack>,
    request: R,
    limit: Duration,
) -> Result<R::Response, Attempt> {
    let connected = cluster.connect(coordinator, purpose).await;
    let connection = connected.map_err(|error| Attempt::Failed(AskFailure::Disconnected(error.to_string())))?;
    if let Some(held_back) = held_back {
        held_back.put(Some(connection.clone()));
    }
    let answered = connection.request(request, limit).await;
    if let Some(held_back) = held_back {
        held_back.put(None);
    }
    answered.map_err(|error| if error.is_planned() { Attempt::Planned } else { Attempt::Failed(failure(&error)) })
}

fn remaining(call: Call) -> Duration {
    call.deadline.saturating_duration_since(Instant::now())
}

fn failure(error: &RequestError) -> AskFailure {
    match error {
        RequestError::Closed(cause) => AskFailure::Disconnected(cause.to_string()),
        RequestError::Unsupported { .. } | RequestError::Encode { .. } => AskFailure::Unsupported(error.to_string()),
    }
}

/// The answer, or what stands for it when it does not come in time.
async fn within(deadline: Instant, question: impl Future<Output = Result<Answer, AskFailure>>) -> Answer {
    match tokio::time::timeout_at(deadline.into(), question).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => Answer::Failed(failure),
        Err(_) => Answer::Failed(AskFailure::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use kafka_broker_double as double;
    use kafka_proto::id::LeaderEpoch;

    use super::*;
    use crate::client::config::ClientConfig;
    use crate::client::request::TopicId;
    use crate::client::request::metadata::PartitionMetadata;

    fn topic(name: &str, error: ErrorCode, partitions: i32) -> TopicMetadata {
        let partition = |partition| PartitionMetadata {
            error: ErrorCode::None,
            partition,
            leader: None,
            leader_epoch: LeaderEpoch::UNKNOWN,
            replicas: Vec::new(),
            in_sync: Vec::new(),
            offline: Vec::new(),
        };
        let partitions = (0..partitions).map(partition).collect();
        TopicMetadata { error, name: name.into(), id: TopicId::ZERO, partitions }
    }

    #[test]
    fn a_topic_that_does_not_exist_has_no_partitions_to_assign() {
        let topics = [topic("t", ErrorCode::None, 3), topic("gone", ErrorCode::UnknownTopicOrPartition, 0)];
        let expected = [(Arc::from("gone"), 0), (Arc::from("t"), 3)].into_iter().collect();
        assert_eq!(counts(&topics), Ok(expected));
    }

    #[test]
    fn g18_a_topic_in_passing_trouble_stops_the_assignment_rather_than_emptying_it() {
        let topics = [topic("t", ErrorCode::None, 3), topic("u", ErrorCode::LeaderNotAvailable, 0)];
        assert_eq!(counts(&topics), Err(AskFailure::Refused(ErrorCode::LeaderNotAvailable)));
    }

    #[tokio::test]
    async fn a_join_takes_over_the_connection_on_which_the_coordinator_was_found() {
        let double = double::Cluster::builder().topic("t", 1).start();
        // Another connection would be stuck.
        double.on(double::ApiKey::ApiVersions).after(1).silence();
        let config = ClientConfig::new(double.bootstrap().split(','));
        let cluster = Cluster::new(Arc::new(config), vec!["t".into()]).unwrap();
        let proven = tokio::time::timeout(Duration::from_secs(10), prove_coordinator(&cluster, "g")).await;
        assert_eq!(proven, Ok(Ok(BrokerId(1))));
    }
}
