//! What must be true: after every step, at every commit, and at the end.

use kafka_proto::id::TopicPartition;
use kafka_proto::membership::State;

use super::process::owns;
use super::{TOPIC, World};

impl World {
    /// The coordinator takes a commit: it must not go back, must cover only what was worked on, and nobody else may own
    /// the partition.
    pub(super) fn commit(&mut self, slot: usize, incarnation: u64, offsets: Vec<(TopicPartition, i64)>) {
        for (partition, offset) in offsets {
            let before = self.coordinator.committed.get(&partition).copied().unwrap_or(0);
            if offset < before {
                self.fail(&format!("member {slot} moved the commit of {partition} back from {before} to {offset}"));
            }
            let log = &self.log[usize::try_from(partition.partition).expect("a small number")];
            if let Some(missed) = log[..usize::try_from(offset).expect("a small number")].iter().position(|done| !done)
            {
                self.fail(&format!(
                    "member {slot} committed {partition} at {offset}, but {missed} was never delivered"
                ));
            }
            for (other, process) in self.processes.iter().enumerate() {
                let Some(process) = process else { continue };
                if (other, process.incarnation) != (slot, incarnation) && owns(process, &partition, self.now) {
                    self.fail(&format!("member {slot} committed {partition}, which {other} owns"));
                }
            }
            self.coordinator.committed.insert(partition, offset);
            self.note("commits accepted");
        }
    }

    /// At most one live owner of each partition, paused processes included: they would act on waking.
    pub(super) fn check_owners(&self) {
        let mut owners = vec![None; self.log.len()];
        for (slot, process) in self.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            if process.machine.fenced_after().is_none_or(|fence| self.now >= fence) {
                continue;
            }
            for partition in process.machine.owned() {
                let owner = usize::try_from(partition.partition).ok().and_then(|partition| owners.get_mut(partition));
                if let Some(other) = owner.expect("a partition of the topic").replace(slot) {
                    self.fail(&format!("{partition} has two owners, {other} and {slot}"));
                }
            }
        }
    }

    pub(super) fn check_everything_arrived(&self) {
        for (partition, log) in self.log.iter().enumerate() {
            if let Some(missed) = log.iter().position(|done| !done) {
                self.fail(&format!("offset {missed} of partition {partition} was never delivered; {}", self.states()));
            }
            let name = TopicPartition::new(TOPIC, i32::try_from(partition).expect("a small number"));
            let committed = self.coordinator.committed.get(&name).copied().unwrap_or(0);
            if committed != i64::try_from(log.len()).expect("a small number") {
                self.fail(&format!("{name} is committed at {committed} of {}; {}", log.len(), self.states()));
            }
        }
        for process in self.processes.iter().flatten() {
            if process.machine.state() != &State::Stable {
                self.fail(&format!("the group did not settle; {}", self.states()));
            }
        }
    }

    pub(super) fn states(&self) -> String {
        let shown = self.processes.iter().flatten().map(|p| {
            let owned: Vec<i32> = p.machine.owned().iter().map(|p| p.partition).collect();
            format!("{}@{} {owned:?}", p.machine.state().name(), p.machine.generation())
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}
