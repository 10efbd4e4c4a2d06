//! What goes wrong by itself: processes that die, freeze and leave, a coordinator that moves, topics that grow.

use kafka_proto::id::BrokerId;
use kafka_proto::membership::Input;

use super::message::Event;
use super::{CALM, STORM, World};

impl World {
    pub(super) fn produce(&mut self) {
        for log in &mut self.log {
            let more = self.rng.range(0, 4);
            (0..more).for_each(|_| log.push(false));
        }
        if self.now < self.start + STORM + CALM / 4 {
            let delay = self.millis(100, 1_000);
            self.at(delay, Event::Produce);
        }
    }

    pub(super) fn chaos(&mut self) {
        if !self.stormy() {
            return;
        }
        let slot = usize::try_from(self.rng.range(0, self.processes.len() as u64)).expect("a small number");
        match self.rng.range(0, 7) {
            0 => {
                self.processes[slot] = None;
                let delay = self.millis(10, 10_000);
                self.at(delay, Event::Start { slot });
            }
            1 | 2 => {
                let pause = self.millis(500, 15_000);
                if let Some(process) = self.processes[slot].as_mut() {
                    process.paused_until = self.now + pause;
                }
            }
            3 => self.move_coordinator(),
            4 => self.give_if_running(slot, Input::Leave { reason: "bounce".into() }),
            5 => {
                self.give_if_running(slot, Input::PollDeadlinePassed);
                let delay = self.millis(10, 5_000);
                if let Some(incarnation) = self.processes[slot].as_ref().map(|p| p.incarnation) {
                    self.at(delay, Event::Polled { slot, incarnation });
                }
            }
            _ => self.add_partition(),
        }
        let delay = self.millis(500, 8_000);
        self.at(delay, Event::Chaos);
    }

    pub(super) fn give_if_running(&mut self, slot: usize, input: Input) {
        let now = self.now;
        if self.processes[slot].as_ref().is_some_and(|p| now >= p.paused_until) {
            self.give(slot, input);
        }
    }

    pub(super) fn move_coordinator(&mut self) {
        self.coordinator_at = BrokerId(3 - self.coordinator_at.get());
        self.loading_until = self.now + self.millis(0, 3_000);
        let replies = self.coordinator.moved(self.now);
        self.send_replies(replies);
    }

    pub(super) fn add_partition(&mut self) {
        if self.log.len() >= 10 {
            return;
        }
        self.log.push(Vec::new());
        let count = i32::try_from(self.log.len()).expect("a small number");
        for slot in 0..self.processes.len() {
            let delay = self.millis(10, 5_000);
            if let Some(incarnation) = self.processes[slot].as_ref().map(|p| p.incarnation) {
                self.at(delay, Event::Topics { slot, incarnation, count });
            }
        }
    }
}
