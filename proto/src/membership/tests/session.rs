//! Sessions: heartbeats, fences, pauses of the process, and revocations that take their time.

use super::*;

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
fn a_member_without_partitions_is_heard_of_when_its_turn_comes_also_while_its_sync_is_held_back() {
    let mut rig = Rig::new(config(AssignorKind::CooperativeSticky));
    rig.find_coordinator();
    rig.answer_join(1);
    let beats = |rig: &Rig| rig.wants(|o| matches!(o, Output::Heartbeat(_)));
    assert!(!beats(&rig), "it has nothing to act on before its sync");
    rig.pass(SECOND);
    assert!(beats(&rig));
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
