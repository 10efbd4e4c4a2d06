//! Coordinators that go, and members that end: by their own will, or because the group says so.

use super::*;

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
