//! Groups, offsets and coordinators.

use std::thread;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_broker_double::{ApiKey, Cluster, GroupState, ResponseError};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest, SyncGroupResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::raw::Raw;

const PATIENCE: Duration = Duration::from_secs(5);

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group() -> GroupId {
    GroupId(text("g"))
}

/// One member over a connection of its own.
struct Member {
    raw: Raw,
    id: StrBytes,
    instance_id: Option<StrBytes>,
    generation: i32,
    session_ms: i32,
}

impl Member {
    fn new(cluster: &Cluster) -> Self {
        let raw = Raw::connect(cluster.address(cluster.coordinator("g").expect("a coordinator")));
        Self { raw, id: StrBytes::default(), instance_id: None, generation: -1, session_ms: 10_000 }
    }

    fn static_one(cluster: &Cluster, instance: &str) -> Self {
        Self { instance_id: Some(text(instance)), ..Self::new(cluster) }
    }

    fn ask_to_join(&self) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str("range"))
            .with_metadata(Bytes::from_static(b"topics"));
        JoinGroupRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance_id.clone())
            .with_session_timeout_ms(self.session_ms)
            .with_rebalance_timeout_ms(2_000)
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![protocol])
    }

    /// Joins, in two steps where the coordinator wants them.
    fn join(&mut self) -> JoinGroupResponse {
        let mut answer = self.raw.ask(9, &self.ask_to_join()).expect("an answer");
        if answer.error_code == ResponseError::MemberIdRequired.code() {
            self.id = answer.member_id.clone();
            answer = self.raw.ask(9, &self.ask_to_join()).expect("an answer");
        }
        self.took(&answer);
        answer
    }

    fn start_to_join(&mut self) {
        let answer = self.raw.ask(9, &self.ask_to_join()).expect("an answer");
        self.id = answer.member_id;
        self.raw.send(9, &self.ask_to_join()).expect("sent");
    }

    fn end_to_join(&mut self) -> JoinGroupResponse {
        let answer = self.raw.receive::<JoinGroupRequest>(9).expect("an answer");
        self.took(&answer);
        answer
    }

    fn took(&mut self, answer: &JoinGroupResponse) {
        if answer.error_code == 0 {
            self.id = answer.member_id.clone();
            self.generation = answer.generation_id;
        }
    }

    fn ask_to_sync(&self, assignments: &[(&StrBytes, i32)]) -> SyncGroupRequest {
        let assignments = assignments.iter().map(|(id, partition)| {
            SyncGroupRequestAssignment::default().with_member_id((*id).clone()).with_assignment(assignment(*partition))
        });
        SyncGroupRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance_id.clone())
            .with_assignments(assignments.collect())
    }

    fn sync(&mut self, assignments: &[(&StrBytes, i32)]) -> SyncGroupResponse {
        let request = self.ask_to_sync(assignments);
        self.raw.ask(5, &request).expect("an answer")
    }

    fn heartbeat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance_id.clone());
        self.raw.ask(4, &request).expect("an answer").error_code
    }

    fn commit(&mut self, offset: i64) -> i16 {
        let partition =
            OffsetCommitRequestPartition::default().with_committed_offset(offset).with_committed_leader_epoch(3);
        let topic =
            OffsetCommitRequestTopic::default().with_name(TopicName(text("t"))).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.clone())
            .with_generation_id_or_member_epoch(self.generation)
            .with_topics(vec![topic]);
        self.raw.ask(9, &request).expect("an answer").topics[0].partitions[0].error_code
    }

    fn leave(&mut self) -> i16 {
        let member = MemberIdentity::default().with_member_id(self.id.clone());
        let request = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![member]);
        self.raw.ask(5, &request).expect("an answer").members[0].error_code
    }
}

/// An assignment of one partition of topic `t`.
fn assignment(partition: i32) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(1);
    out.put_i32(1);
    out.put_i16(1);
    out.put_slice(b"t");
    out.put_i32(1);
    out.put_i32(partition);
    out.put_i32(-1);
    out.freeze()
}

/// Blocks until something is true of the group.
fn wait(cluster: &Cluster, what: &str, is_so: impl Fn(&Cluster) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so(cluster) {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::yield_now();
    }
}

fn state_of(cluster: &Cluster) -> GroupState {
    cluster.group("g").expect("a group").state
}

/// Two members in generation 2, the first of which leads and has partition 0, the other partition 1.
fn two_members(cluster: &Cluster) -> (Member, Member) {
    let (mut first, mut second) = (Member::new(cluster), Member::new(cluster));
    assert_eq!(first.join().generation_id, 1);
    assert_eq!(first.sync(&[(&first.id.clone(), 0)]).error_code, 0);
    second.start_to_join();
    wait(cluster, "the rebalance begins", |cluster| state_of(cluster) == GroupState::PreparingRebalance);
    assert_eq!(first.heartbeat(), ResponseError::RebalanceInProgress.code());
    let answer = first.join();
    assert_eq!((answer.generation_id, answer.members.len(), &answer.leader), (2, 2, &first.id));
    assert!(second.end_to_join().members.is_empty());
    let wanted = second.ask_to_sync(&[]);
    second.raw.send(5, &wanted).expect("sent");
    let ids = (first.id.clone(), second.id.clone());
    assert_eq!(first.sync(&[(&ids.0, 0), (&ids.1, 1)]).assignment, assignment(0));
    assert_eq!(second.raw.receive::<SyncGroupRequest>(5).expect("an answer").assignment, assignment(1));
    (first, second)
}

#[test]
fn two_members_share_a_topic_and_the_one_that_stays_takes_over() {
    let cluster = Cluster::builder().brokers(3).topic("t", 2).start();
    let (mut first, mut second) = two_members(&cluster);
    let group = cluster.group("g").unwrap();
    assert_eq!((group.state, group.generation, group.protocol.as_deref()), (GroupState::Stable, 2, Some("range")));
    assert_eq!(group.members[1].assignment, [("t".to_owned(), 1)]);
    assert_eq!(second.heartbeat(), 0);
    assert_eq!(first.leave(), 0);
    assert_eq!(second.heartbeat(), ResponseError::RebalanceInProgress.code());
    assert_eq!(second.join().generation_id, 3);
    assert_eq!(first.heartbeat(), ResponseError::UnknownMemberId.code());
}

#[test]
fn a_member_that_is_silent_for_its_session_is_removed() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut member = Member::new(&cluster);
    member.session_ms = 60;
    member.join();
    member.sync(&[]);
    wait(&cluster, "the group is empty", |cluster| state_of(cluster) == GroupState::Empty);
    assert_eq!(member.heartbeat(), ResponseError::UnknownMemberId.code());
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_left_behind() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let (mut first, mut second) = two_members(&cluster);
    let mut third = Member::new(&cluster);
    third.start_to_join();
    let begun = Instant::now();
    // Heartbeats keep the session, not the seat.
    while state_of(&cluster) == GroupState::PreparingRebalance || cluster.group("g").unwrap().generation == 2 {
        first.heartbeat();
        second.heartbeat();
        assert!(begun.elapsed() < PATIENCE);
    }
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(third.end_to_join().members.len(), 1);
    assert_eq!(first.heartbeat(), ResponseError::UnknownMemberId.code());
}

#[test]
fn commits_are_taken_from_members_of_the_generation_only() {
    let cluster = Cluster::builder().topic("t", 2).start();
    let (mut first, mut second) = two_members(&cluster);
    assert_eq!(first.commit(5), 0);
    let committed = cluster.committed_offset("g", "t", 0).unwrap();
    assert_eq!((committed.offset, committed.leader_epoch), (5, 3));
    second.generation = 1;
    assert_eq!(second.commit(6), ResponseError::IllegalGeneration.code());
    second.id = text("nobody");
    assert_eq!(second.commit(6), ResponseError::UnknownMemberId.code());
    let mut stranger = Member::new(&cluster);
    assert_eq!(stranger.commit(7), ResponseError::UnknownMemberId.code());
    assert_eq!(cluster.committed("g", "t", 0), Some(5));
}

#[test]
fn committed_offsets_are_fetched_in_every_version() {
    let cluster = Cluster::builder().topic("t", 2).start();
    cluster.commit("g", "t", 0, 42, 7);
    let mut raw = Raw::connect(cluster.address(1));
    for version in 1..=7 {
        let topic =
            OffsetFetchRequestTopic::default().with_name(TopicName(text("t"))).with_partition_indexes(vec![0, 1]);
        let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
        let response = raw.ask(version, &request).unwrap();
        let offsets: Vec<_> =
            response.topics[0].partitions.iter().map(|p| (p.committed_offset, p.error_code)).collect();
        assert_eq!(offsets, [(42, 0), (-1, 0)], "version {version}");
    }
    for version in 8..=9 {
        let topic = OffsetFetchRequestTopics::default().with_name(TopicName(text("t"))).with_partition_indexes(vec![0]);
        let asked = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(true);
        let stable = raw.ask(version, &request).unwrap();
        assert_eq!(stable.groups[0].topics[0].partitions[0].committed_leader_epoch, 7);
        cluster.unstable_commit("g", "t", 0, true);
        let unstable = raw.ask(version, &request).unwrap();
        assert_eq!(unstable.groups[0].topics[0].partitions[0].error_code, ResponseError::UnstableOffsetCommit.code());
        cluster.unstable_commit("g", "t", 0, false);
    }
}

#[test]
fn a_static_member_that_returns_keeps_its_partitions_and_fences_its_former_self() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut former = Member::static_one(&cluster, "one");
    former.join();
    former.sync(&[(&former.id.clone(), 0)]);
    let mut returned = Member::static_one(&cluster, "one");
    let answer = returned.join();
    assert_eq!((answer.generation_id, answer.skip_assignment), (1, true));
    assert_eq!(returned.sync(&[]).assignment, assignment(0));
    assert_eq!(former.heartbeat(), ResponseError::FencedInstanceId.code());
    assert_eq!(returned.heartbeat(), 0);
}

#[test]
fn a_coordinator_that_moves_answers_those_who_wait_and_the_members_stay() {
    let cluster = Cluster::builder().brokers(2).topic("t", 2).start();
    cluster.move_coordinator("g", Some(1));
    let (mut first, _second) = two_members(&cluster);
    let mut third = Member::new(&cluster);
    third.start_to_join();
    wait(&cluster, "the rebalance begins", |cluster| state_of(cluster) == GroupState::PreparingRebalance);
    cluster.move_coordinator("g", Some(2));
    assert_eq!(third.end_to_join().error_code, ResponseError::NotCoordinator.code());
    assert_eq!(first.heartbeat(), ResponseError::NotCoordinator.code());
    for version in 0..=6 {
        let request = if version < 4 {
            FindCoordinatorRequest::default().with_key(text("g"))
        } else {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")])
        };
        let found = first.raw.ask(version, &request).unwrap();
        let port = if version < 4 { found.port } else { found.coordinators[0].port };
        assert_eq!(port, i32::from(cluster.address(2).port()), "version {version}");
    }
    first.raw = Raw::connect(cluster.address(2));
    assert_eq!(first.heartbeat(), ResponseError::RebalanceInProgress.code());
    assert_eq!(cluster.request_count(ApiKey::FindCoordinator), 7);
}
