//! Scenarios: one member against answers given by hand. Names of faults are those of the fault list.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::assignor::protocol::{Subscription, decode_assignment, encode_assignment};

const SECOND: Duration = Duration::from_secs(1);

/// A member, its clock, and what it wanted since the last look.
struct Rig {
    machine: Membership,
    now: Instant,
    outputs: Vec<Output>,
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn tps(partitions: &[i32]) -> Vec<TopicPartition> {
    partitions.iter().map(|p| tp(*p)).collect()
}

#[expect(clippy::disallowed_methods, reason = "a clock has to start somewhere; it is moved by hand from there")]
fn start() -> Instant {
    Instant::now()
}

fn config(assignor: AssignorKind) -> MembershipConfig {
    MembershipConfig {
        assignors: vec![assignor],
        session_timeout: 10 * SECOND,
        fence_margin: SECOND,
        rebalance_timeout: 60 * SECOND,
        heartbeat_interval: SECOND,
        request_timeout: 3 * SECOND,
        ..MembershipConfig::new("g", [Arc::from("t")])
    }
}

fn joined(error: ErrorCode, generation: i32) -> Answer {
    Answer::Joined(JoinAnswer {
        error,
        generation: Generation(generation),
        protocol_name: None,
        leader: "other".into(),
        member_id: "m1".into(),
        skip_assignment: false,
        members: Vec::new(),
    })
}

impl Rig {
    fn new(config: MembershipConfig) -> Self {
        let now = start();
        let mut rig = Self { machine: Membership::new(config, now), now, outputs: Vec::new() };
        rig.collect();
        rig
    }

    fn collect(&mut self) {
        while let Some(output) = self.machine.poll() {
            self.outputs.push(output);
        }
    }

    fn give(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.collect();
    }

    /// Lets time pass, with a tick wherever one is due.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.give(Input::Tick);
        }
        self.now = end;
        self.give(Input::Tick);
    }

    /// The process does not run for so long.
    fn sleep(&mut self, duration: Duration) {
        self.now += duration;
    }

    fn take<T>(&mut self, pick: impl Fn(&Output) -> Option<T>) -> T {
        let place = self.outputs.iter().position(|o| pick(o).is_some());
        let place = place.unwrap_or_else(|| panic!("not among {:#?} in {:?}", self.outputs, self.machine.state()));
        pick(&self.outputs.remove(place)).expect("picked above")
    }

    fn wants(&self, pick: impl Fn(&Output) -> bool) -> bool {
        self.outputs.iter().any(pick)
    }

    fn find_coordinator(&mut self) {
        let id = self.take(|o| if let Output::FindCoordinator(ask) = o { Some(ask.id) } else { None });
        self.give(Input::Answered(id, Answer::Coordinator(BrokerId(1))));
    }

    fn join_ask(&mut self) -> JoinAsk {
        self.take(|o| if let Output::Join(ask) = o { Some(ask.clone()) } else { None })
    }

    fn sync_ask(&mut self) -> SyncAsk {
        self.take(|o| if let Output::Sync(ask) = o { Some(ask.clone()) } else { None })
    }

    fn heartbeat(&mut self) -> AskId {
        self.take(|o| if let Output::Heartbeat(ask) = o { Some(ask.call.id) } else { None })
    }

    fn answer_heartbeat(&mut self, error: ErrorCode) {
        let id = self.heartbeat();
        self.give(Input::Answered(id, Answer::HeartbeatAnswered(error)));
    }

    fn revocation(&mut self) -> (AskId, Vec<TopicPartition>, Instant) {
        self.take(|o| match o {
            Output::Revoke { id, partitions, deadline } => Some((*id, partitions.clone(), *deadline)),
            _ => None,
        })
    }

    fn assigned(&mut self) -> Assigned {
        self.take(|o| if let Output::Assign(assigned) = o { Some(assigned.clone()) } else { None })
    }

    fn lost(&mut self) -> (Vec<TopicPartition>, LostCause) {
        self.take(|o| match o {
            Output::Lost { partitions, cause } => Some((partitions.clone(), cause.clone())),
            _ => None,
        })
    }

    fn answer_join(&mut self, generation: i32) {
        let ask = self.join_ask();
        let Answer::Joined(mut answer) = joined(ErrorCode::None, generation) else { unreachable!() };
        answer.protocol_name = Some(ask.protocols[0].0.into());
        self.give(Input::Answered(ask.call.id, Answer::Joined(answer)));
        self.answer_heartbeat(ErrorCode::None);
    }

    fn answer_sync(&mut self, partitions: &[i32]) {
        let ask = self.sync_ask();
        let assignment = encode_assignment(&tps(partitions));
        self.give(Input::Answered(ask.call.id, Answer::Synced(SyncAnswer { error: ErrorCode::None, assignment })));
    }

    /// A member in generation 1 that has `partitions`.
    fn stable(config: MembershipConfig, partitions: &[i32]) -> Self {
        let mut rig = Self::new(config);
        rig.find_coordinator();
        rig.answer_join(1);
        rig.answer_sync(partitions);
        assert_eq!(rig.machine.state(), &State::Stable);
        assert_eq!(rig.assigned().all, tps(partitions));
        rig
    }

    fn owned(&self) -> Vec<TopicPartition> {
        self.machine.owned().iter().cloned().collect()
    }
}

#[test]
fn a_new_member_joins_in_two_steps() {
    let mut rig = Rig::new(config(AssignorKind::Range));
    rig.find_coordinator();
    let first = rig.join_ask();
    assert_eq!((&*first.identity.member_id, &*first.reason), ("", "first join"));
    rig.give(Input::Answered(first.call.id, joined(ErrorCode::MemberIdRequired, -1)));
    let second = rig.join_ask();
    assert_eq!(&*second.identity.member_id, "m1");
    assert_eq!(second.reason, "need to re-join with the given member-id");
}

#[test]
fn an_eager_member_gives_everything_up_before_it_joins() {
    let mut rig = Rig::stable(config(AssignorKind::Range), &[0, 1]);
    rig.pass(SECOND);
    rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
    let (id, partitions, _) = rig.revocation();
    assert_eq!(partitions, tps(&[0, 1]));
    assert!(!rig.wants(|o| matches!(o, Output::Join(_))));
    assert_eq!(rig.owned(), tps(&[0, 1]), "ours until it is given up");
    rig.give(Input::RevocationDone(id));
    assert!(rig.owned().is_empty());
    rig.answer_join(2);
    rig.answer_sync(&[1]);
    assert_eq!(rig.assigned().added, tps(&[1]));
}

#[test]
fn a_cooperative_member_gives_up_only_what_moves_and_joins_again() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0, 1]);
    rig.pass(SECOND);
    rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
    assert!(!rig.wants(|o| matches!(o, Output::Revoke { .. })));
    rig.answer_join(2);
    rig.answer_sync(&[0, 5]);
    assert_eq!(rig.assigned().added, tps(&[5]));
    let (id, partitions, _) = rig.revocation();
    assert_eq!(partitions, tps(&[1]));
    rig.give(Input::RevocationDone(id));
    let ask = rig.join_ask();
    assert_eq!(ask.reason, "1 revoked partitions were given up");
    let claim = Subscription::decode(&ask.protocols[0].1).unwrap();
    assert_eq!((claim.owned, claim.generation), (tps(&[0, 5]), Some(Generation(2))));
}

#[test]
fn g01_a_slow_application_loses_everything_and_joins_when_it_polls() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.give(Input::PollDeadlinePassed);
    assert_eq!(rig.lost(), (tps(&[0]), LostCause::PollDeadlinePassed));
    let leave = rig.take(|o| if let Output::Leave(ask) = o { Some(ask.clone()) } else { None });
    assert_eq!(&*leave.identity.member_id, "m1");
    rig.pass(30 * SECOND);
    assert!(!rig.wants(|o| matches!(o, Output::Join(_) | Output::Heartbeat(_))));
    rig.give(Input::Polled);
    if rig.wants(|o| matches!(o, Output::FindCoordinator(_))) {
        rig.find_coordinator();
    }
    assert_eq!(&*rig.join_ask().identity.member_id, "");
}

#[test]
fn g02_rebalance_in_progress_keeps_the_session_alive() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    for _ in 0..20 {
        rig.pass(SECOND);
        rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
    }
    assert_eq!(rig.owned(), tps(&[0]), "twenty seconds into a rebalance, twice the session timeout");
}

#[test]
fn g03_a_zombie_fences_itself_before_the_broker_does() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.pass(SECOND);
    let sent_at = rig.now;
    let id = rig.heartbeat();
    rig.pass(2 * SECOND);
    rig.give(Input::Answered(id, Answer::HeartbeatAnswered(ErrorCode::None)));
    assert_eq!(rig.machine.fenced_after(), Some(sent_at + 9 * SECOND), "from the sending, not from the answer");
    rig.pass(6 * SECOND);
    assert_eq!(rig.owned(), tps(&[0]));
    rig.pass(SECOND);
    assert_eq!(rig.lost(), (tps(&[0]), LostCause::SessionExpired));
}

#[test]
fn a05_the_first_output_after_a_pause_is_lost() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.pass(SECOND);
    let id = rig.heartbeat();
    rig.outputs.clear();
    rig.sleep(120 * SECOND);
    rig.give(Input::Answered(id, Answer::HeartbeatAnswered(ErrorCode::None)));
    assert!(matches!(&rig.outputs[0], Output::Lost { cause: LostCause::SessionExpired, .. }), "{:?}", rig.outputs);
    assert!(rig.owned().is_empty());
}

#[test]
fn an_assignment_that_lay_around_for_a_session_is_not_taken() {
    let mut rig = Rig::new(config(AssignorKind::Range));
    rig.find_coordinator();
    rig.answer_join(1);
    let sync = rig.sync_ask();
    rig.sleep(30 * SECOND);
    let assignment = encode_assignment(&tps(&[0]));
    rig.give(Input::Answered(sync.call.id, Answer::Synced(SyncAnswer { error: ErrorCode::None, assignment })));
    assert!(rig.owned().is_empty());
    assert!(!rig.wants(|o| matches!(o, Output::Assign(_))));
    rig.join_ask();
}

#[test]
fn g04_commit_errors_end_the_membership_when_stable_and_not_during_a_rebalance() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.give(Input::CommitRejected(Generation(1), ErrorCode::UnknownMemberId));
    assert_eq!(rig.lost(), (tps(&[0]), LostCause::UnknownMember));

    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.pass(SECOND);
    rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
    rig.join_ask();
    rig.give(Input::CommitRejected(Generation(1), ErrorCode::IllegalGeneration));
    assert_eq!(rig.owned(), tps(&[0]));
    assert!(!rig.wants(|o| matches!(o, Output::Join(_) | Output::Lost { .. })));

    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.give(Input::CommitRejected(Generation(0), ErrorCode::IllegalGeneration));
    assert_eq!(rig.owned(), tps(&[0]), "an older commit's word does not count");
}

#[test]
fn g07_a_revocation_is_over_at_its_deadline() {
    let mut rig = Rig::stable(config(AssignorKind::Range), &[0]);
    rig.pass(SECOND);
    rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
    let (id, _, deadline) = rig.revocation();
    assert!(deadline <= rig.now + 60 * SECOND);
    while rig.now < deadline {
        rig.pass(SECOND);
        if rig.wants(|o| matches!(o, Output::Heartbeat(_))) {
            rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
        }
    }
    assert_eq!(rig.lost(), (tps(&[0]), LostCause::RevocationTimedOut));
    rig.join_ask();
    rig.give(Input::RevocationDone(id));
    assert!(matches!(rig.machine.state(), State::PreparingRebalance(Preparing::Joining { .. }, _)));
}

#[test]
fn g08_a_leader_assigns_for_members_that_send_garbage() {
    let mut rig = Rig::new(config(AssignorKind::Range));
    rig.find_coordinator();
    let ask = rig.join_ask();
    let member = |id: &str, metadata: Bytes| JoinedMember { member_id: id.into(), instance_id: None, metadata };
    let Answer::Joined(mut answer) = joined(ErrorCode::None, 1) else { unreachable!() };
    answer.protocol_name = Some("range".into());
    answer.leader = "m1".into();
    answer.members = vec![
        member("m1", ask.protocols[0].1.clone()),
        member("foreign", Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff])),
        member("other", Subscription::to(["u".into()]).encode()),
    ];
    rig.give(Input::Answered(ask.call.id, Answer::Joined(answer)));
    let describe = rig.take(|o| if let Output::DescribeTopics(ask) = o { Some(ask.clone()) } else { None });
    assert_eq!(describe.topics, [Arc::from("t"), Arc::from("u")]);
    let counts = [(Arc::from("t"), 2), (Arc::from("u"), 1)].into_iter().collect();
    rig.give(Input::Answered(describe.id, Answer::TopicsDescribed(counts)));
    let sync = rig.sync_ask();
    let given: Vec<(&str, usize)> =
        sync.assignments.iter().map(|(id, bytes)| (&**id, decode_assignment(bytes).unwrap().len())).collect();
    assert_eq!(given, [("foreign", 0), ("m1", 2), ("other", 1)]);
}

#[test]
fn g10_a_lost_coordinator_is_found_again_and_the_assignment_stays() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.pass(SECOND);
    rig.answer_heartbeat(ErrorCode::NotCoordinator);
    rig.pass(SECOND);
    rig.find_coordinator();
    assert_eq!(rig.owned(), tps(&[0]));
    rig.answer_heartbeat(ErrorCode::None);
    assert_eq!(rig.machine.state(), &State::Stable);
}

#[test]
fn g10_a_coordinator_that_never_comes_back_is_asked_for_slowly_and_costs_the_assignment_at_the_fence() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.pass(SECOND);
    let id = rig.heartbeat();
    rig.give(Input::Answered(id, Answer::Failed(AskFailure::Disconnected("refused".into()))));
    let mut searches = 0;
    for _ in 0..300 {
        rig.pass(SECOND / 10);
        while rig.wants(|o| matches!(o, Output::FindCoordinator(_))) {
            searches += 1;
            let id = rig.take(|o| if let Output::FindCoordinator(ask) = o { Some(ask.id) } else { None });
            rig.give(Input::Answered(id, Answer::Failed(AskFailure::TimedOut)));
        }
    }
    assert_eq!(rig.lost().1, LostCause::SessionExpired);
    assert!((25..60).contains(&searches), "{searches} searches in 30 s");
    assert_eq!(rig.machine.trouble(), Some(&AskFailure::TimedOut));
}

#[test]
fn g11_a_loading_coordinator_is_asked_again_after_a_pause() {
    let mut rig = Rig::new(config(AssignorKind::Range));
    rig.find_coordinator();
    let ask = rig.join_ask();
    rig.give(Input::Answered(ask.call.id, joined(ErrorCode::CoordinatorLoadInProgress, -1)));
    assert!(!rig.wants(|o| matches!(o, Output::Join(_))));
    rig.pass(SECOND);
    rig.join_ask();
}

#[test]
fn g14_a_fenced_static_member_stops_at_once() {
    let static_member =
        MembershipConfig { group_instance_id: Some("i".into()), ..config(AssignorKind::CooperativeSticky) };
    let mut rig = Rig::stable(static_member, &[0]);
    rig.pass(SECOND);
    rig.answer_heartbeat(ErrorCode::FencedInstanceId);
    assert_eq!(rig.lost(), (tps(&[0]), LostCause::Fatal(FatalCause::FencedInstanceId)));
    assert!(rig.wants(|o| *o == Output::Fatal(FatalCause::FencedInstanceId)));
    assert_eq!(rig.machine.poll_timeout(), None);
}

#[test]
fn g16_leaving_ends_when_no_coordinator_is_there() {
    let mut rig = Rig::stable(config(AssignorKind::Range), &[0]);
    rig.give(Input::CoordinatorLost(BrokerId(1)));
    rig.give(Input::Leave { reason: "closed".into() });
    let (id, ..) = rig.revocation();
    rig.give(Input::RevocationDone(id));
    rig.pass(9 * SECOND);
    assert!(!rig.wants(|o| *o == Output::Left));
    rig.pass(SECOND);
    assert!(rig.wants(|o| *o == Output::Left));
}

#[test]
fn leaving_gives_up_first_says_goodbye_and_ends() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0, 1]);
    rig.give(Input::Leave { reason: "the consumer is being closed".into() });
    let (id, partitions, _) = rig.revocation();
    assert_eq!(partitions, tps(&[0, 1]));
    rig.give(Input::RevocationDone(id));
    let leave = rig.take(|o| if let Output::Leave(ask) = o { Some(ask.clone()) } else { None });
    assert_eq!(leave.reason, "the consumer is being closed");
    rig.give(Input::Answered(leave.call.id, Answer::LeftGroup(ErrorCode::None)));
    assert_eq!(rig.machine.state(), &State::Left);
}

#[test]
fn a_static_member_leaves_without_a_word() {
    let static_member = MembershipConfig { group_instance_id: Some("i".into()), ..config(AssignorKind::Range) };
    let mut rig = Rig::stable(static_member, &[]);
    rig.give(Input::Leave { reason: "restart".into() });
    assert!(!rig.wants(|o| matches!(o, Output::Leave(_))));
    assert!(rig.wants(|o| *o == Output::Left));
}

#[test]
fn g18_a_topic_that_metadata_does_not_mention_keeps_its_partitions() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.give(Input::TopicsChanged([(Arc::from("t"), 1)].into_iter().collect()));
    rig.give(Input::TopicsChanged(PartitionCounts::new()));
    assert_eq!(rig.machine.state(), &State::Stable);
}

#[test]
fn g20_more_partitions_make_a_member_that_does_not_lead_join_again() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.give(Input::TopicsChanged([(Arc::from("t"), 1)].into_iter().collect()));
    assert_eq!(rig.machine.state(), &State::Stable, "the first numbers are not a change");
    rig.give(Input::TopicsChanged([(Arc::from("t"), 2), (Arc::from("foreign"), 9)].into_iter().collect()));
    assert_eq!(rig.join_ask().reason, "partition counts of subscribed topics changed");
}

#[test]
fn answers_to_what_is_no_longer_asked_change_nothing() {
    let mut rig = Rig::new(config(AssignorKind::Range));
    rig.find_coordinator();
    let first = rig.join_ask();
    rig.give(Input::Answered(first.call.id, joined(ErrorCode::MemberIdRequired, -1)));
    let before = rig.machine.state().clone();
    rig.give(Input::Answered(first.call.id, joined(ErrorCode::FencedInstanceId, -1)));
    assert_eq!(rig.machine.state(), &before);
}

#[test]
fn heartbeats_go_on_while_a_join_is_held_back() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.pass(SECOND);
    rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
    rig.join_ask();
    rig.pass(SECOND);
    rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
    rig.pass(SECOND);
    rig.answer_heartbeat(ErrorCode::IllegalGeneration);
    assert_eq!(rig.owned(), tps(&[0]), "the round may have ended with us in it");
}

#[test]
fn a_rebalance_that_may_have_ended_without_us_costs_what_we_had() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.pass(SECOND);
    for _ in 0..62 {
        rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
        rig.pass(SECOND);
    }
    assert_eq!(rig.lost(), (tps(&[0]), LostCause::RebalanceExpired));
}

#[test]
fn a_leader_gives_up_its_round_when_the_group_rebalances_again() {
    let mut rig = Rig::new(config(AssignorKind::Range));
    rig.find_coordinator();
    let ask = rig.join_ask();
    let Answer::Joined(mut answer) = joined(ErrorCode::None, 1) else { unreachable!() };
    (answer.protocol_name, answer.leader) = (Some("range".into()), "m1".into());
    rig.give(Input::Answered(ask.call.id, Answer::Joined(answer)));
    rig.pass(SECOND);
    rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
    rig.join_ask();
}

#[test]
fn an_assignor_that_was_not_offered_is_fatal() {
    let mut rig = Rig::new(config(AssignorKind::Range));
    rig.find_coordinator();
    let ask = rig.join_ask();
    let Answer::Joined(mut answer) = joined(ErrorCode::None, 1) else { unreachable!() };
    answer.protocol_name = Some("roundrobin".into());
    rig.give(Input::Answered(ask.call.id, Answer::Joined(answer)));
    assert_eq!(rig.machine.state(), &State::Fatal(FatalCause::UnknownAssignor("roundrobin".into())));
}

#[test]
fn kip_814_a_leader_that_must_not_assign_syncs_with_nothing() {
    let mut rig = Rig::new(config(AssignorKind::Range));
    rig.find_coordinator();
    let ask = rig.join_ask();
    let Answer::Joined(mut answer) = joined(ErrorCode::None, 1) else { unreachable!() };
    (answer.protocol_name, answer.leader, answer.skip_assignment) = (Some("range".into()), "m1".into(), true);
    rig.give(Input::Answered(ask.call.id, Answer::Joined(answer)));
    assert!(rig.sync_ask().assignments.is_empty());
}

#[test]
fn what_was_claimed_and_lost_before_the_sync_is_let_go_in_another_round() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.pass(SECOND);
    for _ in 0..62 {
        rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
        rig.pass(SECOND);
    }
    assert_eq!(rig.lost().1, LostCause::RebalanceExpired);
    rig.answer_join(2);
    rig.answer_sync(&[]);
    let claim = Subscription::decode(&rig.join_ask().protocols[0].1).unwrap();
    assert_eq!(claim.owned, []);
}

#[test]
fn a_join_that_was_repeated_proves_nothing_of_the_session() {
    let mut rig = Rig::stable(config(AssignorKind::CooperativeSticky), &[0]);
    rig.pass(SECOND);
    let heard_of = rig.now;
    rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
    let first = rig.join_ask();
    rig.pass(5 * SECOND);
    rig.give(Input::Answered(first.call.id, Answer::Failed(AskFailure::Disconnected("reset".into()))));
    rig.pass(SECOND);
    rig.outputs.retain(|o| matches!(o, Output::FindCoordinator(_)));
    rig.find_coordinator();
    let again = rig.join_ask();
    let Answer::Joined(mut answer) = joined(ErrorCode::None, 2) else { unreachable!() };
    answer.protocol_name = Some("cooperative-sticky".into());
    rig.give(Input::Answered(again.call.id, Answer::Joined(answer)));
    assert_eq!(rig.machine.fenced_after(), Some(heard_of + 9 * SECOND), "the last heartbeat that was answered");
}
