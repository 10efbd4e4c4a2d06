//! Puts a consumer together and sets its tasks going: the engine, the committer, the group's thread.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use kafka_proto::backoff::Backoff;
use kafka_proto::compression::Decompressor;
use kafka_proto::id::TopicPartition;
use kafka_proto::membership::MembershipConfig;
use tokio::sync::{mpsc, watch};

use crate::client::cluster::Cluster;
use crate::client::consumer::engine::{Engine, InGroup, Inbox};
use crate::client::consumer::poll_clock::PollClock;
use crate::client::consumer::{Board, BuildError, Consumer, ConsumerConfig, FatalError, Shared, random};
use crate::client::group::{Group, GroupStatus};
use crate::client::offsets::{CommitJob, Committer, Coordinator, Member};
use crate::client::ownership::SessionFence;
use crate::client::queue::{Limits, Queues};
use crate::client::reader::StartAt;

/// Commits that may wait behind the one that is being sent; further callers wait for their turn.
const COMMITS_WAITING_MAX: usize = 64;

impl Consumer {
    /// A member of the group that the settings name.
    pub(super) fn new(config: ConsumerConfig) -> Result<Self, BuildError> {
        config.validate().map_err(BuildError::Settings)?;
        let start = |config: &ConsumerConfig, cluster: &Cluster, fence: &Arc<SessionFence>| {
            Group::spawn(membership_config(config), cluster.clone(), Arc::clone(fence))
        };
        Self::start(Arc::new(config), BTreeMap::new(), start).map(|(consumer, _)| consumer)
    }

    /// No member of anything: reads `starts`, each from where it says.
    pub(crate) fn without_group(
        config: Arc<ConsumerConfig>,
        starts: BTreeMap<TopicPartition, StartAt>,
    ) -> Result<(Self, Cluster), BuildError> {
        let mut mistakes = config.validate().err().unwrap_or_default();
        mistakes.retain(|mistake| mistake.setting != "group.id");
        if !mistakes.is_empty() {
            return Err(BuildError::Settings(mistakes));
        }
        let partitions = starts.keys().cloned().collect();
        Self::start(config, starts, |_, _, fence| Group::fixed(partitions, fence))
    }

    fn start(
        config: Arc<ConsumerConfig>,
        starts: BTreeMap<TopicPartition, StartAt>,
        start_group: impl FnOnce(&ConsumerConfig, &Cluster, &Arc<SessionFence>) -> Group,
    ) -> Result<(Self, Cluster), BuildError> {
        tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let topics = config.topic_names();
        let cluster = Cluster::new(Arc::new(config.client.clone()), topics).map_err(BuildError::Settings)?;
        let fence = Arc::new(SessionFence::new());
        let (commits, jobs) = mpsc::channel(COMMITS_WAITING_MAX);
        let (commands, orders) = mpsc::unbounded_channel();
        let (rejections, rejected) = mpsc::unbounded_channel();
        let (member, membership) = watch::channel(None);
        let group = start_group(&config, &cluster, &fence);
        let group_id = Arc::from(config.group_id.as_str());
        let coordinator = Arc::new(Coordinator::new(cluster.clone(), group_id, group.status()));
        let shared = Arc::new(shared(&config, commits, cluster.clone(), fence, group.status()));
        let committer = committer(&config, Arc::clone(&coordinator), membership, rejections, &shared);
        let membership = InGroup { group, coordinator, member };
        let inbox = Inbox { commands: orders, rejections: rejected };
        let engine = Engine::new(Arc::clone(&shared), Arc::clone(&config), membership, inbox, starts);
        tokio::spawn(supervise(engine, committer, jobs, Arc::clone(&shared)));
        let decompressor = Decompressor::new(config.decompressed_batch_max_bytes);
        Ok((Self { shared, config, commands, decompressor, held: None }, cluster))
    }
}

/// Runs the tasks until the engine ends. A panic in one of them ends the consumer with a reason, not in silence.
async fn supervise(engine: Engine, committer: Committer, jobs: mpsc::Receiver<CommitJob>, shared: Arc<Shared>) {
    let mut committing = tokio::spawn(committer.run(jobs));
    let mut running = tokio::spawn(engine.run());
    let ended = tokio::select! {
        ended = &mut running => ended,
        ended = &mut committing => ended,
    };
    if ended.is_err() {
        shared.fail(FatalError::Defect);
    }
    running.abort();
    committing.abort();
    shared.fail(FatalError::Closed);
    shared.cluster.close();
}

fn shared(
    config: &ConsumerConfig,
    commits: mpsc::Sender<CommitJob>,
    cluster: Cluster,
    fence: Arc<SessionFence>,
    group: watch::Receiver<GroupStatus>,
) -> Shared {
    let limits =
        Limits { partition_bytes: config.queued_max_bytes_per_partition, total_bytes: config.queued_max_bytes };
    Shared {
        queues: Queues::new(limits),
        board: Arc::new(Board::default()),
        poll: PollClock::new(Instant::now()),
        commits,
        commit_timeout: config.default_api_timeout,
        cluster,
        fence,
        group,
        fatal: OnceLock::new(),
    }
}

fn committer(
    config: &ConsumerConfig,
    coordinator: Arc<Coordinator>,
    member: watch::Receiver<Option<Member>>,
    rejections: mpsc::UnboundedSender<(kafka_proto::id::Generation, kafka_proto::error_code::ErrorCode)>,
    shared: &Shared,
) -> Committer {
    Committer {
        coordinator,
        group_instance_id: config.group_instance_id.clone(),
        member,
        group: shared.group.clone(),
        rejections,
        board: Arc::clone(&shared.board),
        flight: Arc::clone(shared.cluster.flight()),
        request_timeout: config.client.request_timeout,
        backoff: Backoff::new(config.client.retry_backoff, config.client.retry_backoff_max),
    }
}

fn membership_config(config: &ConsumerConfig) -> MembershipConfig {
    let client = &config.client;
    MembershipConfig {
        group_instance_id: config.group_instance_id.as_deref().map(Arc::from),
        client_rack: config.client_rack.as_deref().map(Arc::from),
        session_timeout: config.session_timeout,
        rebalance_timeout: config.max_poll_interval,
        heartbeat_interval: config.heartbeat_interval,
        fence_margin: config.fence_margin(),
        request_timeout: client.request_timeout,
        retry_backoff: client.retry_backoff,
        retry_backoff_max: client.retry_backoff_max,
        assignors: config.partition_assignment_strategy.clone(),
        seed: random(),
        ..MembershipConfig::new(config.group_id.as_str(), config.topic_names())
    }
}
