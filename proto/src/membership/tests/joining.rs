//! Joining: both steps, eager and cooperative rebalances, and what the leader owes the others.

use super::*;

#[test]
fn a_new_member_joins_in_two_steps() {
    let mut rig = Rig::new(config(AssignorKind::Range));
    rig.find_coordinator();
    let first = rig.join_ask();
    assert_eq!((&*first.identity.member_id, first.reason.to_string().as_str()), ("", "first join"));
    rig.give(Input::Answered(first.call.id, joined(ErrorCode::MemberIdRequired, -1)));
    let second = rig.join_ask();
    assert_eq!(&*second.identity.member_id, "m1");
    assert_eq!(second.reason.to_string(), "need to re-join with the given member-id");
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
    assert_eq!(ask.reason.to_string(), "1 revoked partitions were given up");
    let claim = Subscription::decode(&ask.protocols[0].1).unwrap();
    assert_eq!((claim.owned, claim.generation), (tps(&[0, 5]), Some(Generation(2))));
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
    assert_eq!(rig.join_ask().reason.to_string(), "partition counts of subscribed topics changed");
}

#[test]
fn g20_a_topic_that_is_heard_of_after_the_join_is_no_change_and_one_that_comes_to_be_is() {
    let counts = |partitions| Input::TopicsChanged([(Arc::from("t"), partitions)].into_iter().collect());
    let stable_after = |before_the_join| {
        let mut rig = Rig::new(config(AssignorKind::CooperativeSticky));
        rig.give(before_the_join);
        rig.find_coordinator();
        rig.answer_join(1);
        rig.answer_sync(&[0]);
        rig.give(counts(4));
        rig.machine.state() == &State::Stable
    };
    // A coordinator that is found makes metadata, in which nothing is said of topics.
    assert!(stable_after(Input::TopicsChanged(PartitionCounts::new())));
    assert!(stable_after(counts(4)));
    assert!(!stable_after(counts(0)), "it did not exist");
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
fn rounds_that_fail_at_the_sync_again_and_again_slow_down() {
    let mut rig = Rig::new(config(AssignorKind::Range));
    rig.find_coordinator();
    let begun = rig.now;
    let joins = |rig: &Rig| rig.wants(|o| matches!(o, Output::Join(_)));
    for generation in 1..=10 {
        assert!(generation > 2 || joins(&rig), "a group that goes on rebalancing once is joined at once");
        while !joins(&rig) {
            rig.pass(SECOND / 100);
        }
        rig.answer_join(generation);
        let id = rig.sync_ask().call.id;
        let refused = SyncAnswer { error: ErrorCode::RebalanceInProgress, assignment: Bytes::new() };
        rig.give(Input::Answered(id, Answer::Synced(refused)));
    }
    assert!(rig.now - begun > 4 * SECOND, "ten rounds in {:?}", rig.now - begun);
}

/// Counts the joins of ten seconds against a coordinator that answers each heartbeat with `REBALANCE_IN_PROGRESS`: after
/// the assignment, as a slow machine reads it, or while the leader still describes the topics.
fn joins_of_ten_seconds(as_leader: bool) -> usize {
    let mut rig = Rig::new(config(AssignorKind::CooperativeSticky));
    rig.find_coordinator();
    let (end, mut joins) = (rig.now + 10 * SECOND, 0);
    while rig.now < end {
        rig.pass(SECOND / 1000);
        let joining = |o: &Output| if let Output::Join(ask) = o { Some(ask.clone()) } else { None };
        if rig.wants(|o| joining(o).is_some()) {
            let ask = rig.join_ask();
            joins += 1;
            let Answer::Joined(mut answer) = joined(ErrorCode::None, i32::try_from(joins).unwrap()) else {
                unreachable!()
            };
            answer.protocol_name = Some(ask.protocols[0].0.into());
            answer.leader = if as_leader { answer.member_id.clone() } else { "another".into() };
            rig.give(Input::Answered(ask.call.id, Answer::Joined(answer)));
        }
        if !as_leader && rig.wants(|o| matches!(o, Output::Sync(_))) {
            rig.answer_sync(&[0]);
        }
        if rig.wants(|o| matches!(o, Output::Heartbeat(_))) {
            rig.answer_heartbeat(ErrorCode::RebalanceInProgress);
        }
    }
    joins
}

#[test]
fn a_coordinator_that_always_speaks_of_a_rebalance_is_not_joined_without_pause() {
    for as_leader in [false, true] {
        let joins = joins_of_ten_seconds(as_leader);
        assert!((2..40).contains(&joins), "{joins} joins in ten seconds, leader: {as_leader}");
    }
}
