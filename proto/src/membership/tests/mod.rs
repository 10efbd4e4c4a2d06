//! Scenarios: one member against answers given by hand. Names of faults are those of the fault list.

mod ending;
mod joining;
mod session;

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
        let owns_something = !self.owned().is_empty();
        self.give(Input::Answered(ask.call.id, Answer::Joined(answer)));
        if owns_something {
            self.answer_heartbeat(ErrorCode::None);
        }
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
